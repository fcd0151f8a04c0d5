use proptest::prelude::*;

use super::*;

/// A ServerHello as servers send it.
fn server_hello(version: [u8; 2], session: usize, cipher: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.push(u8::try_from(session).unwrap());
    hello.extend(vec![9; session]);
    hello.extend(cipher);
    hello.push(0);
    let mut record = vec![22, 3, 1, 0, u8::try_from(hello.len() + 4).unwrap(), 2, 0, 0];
    record.push(u8::try_from(hello.len()).unwrap());
    record.extend(hello);
    record
}

#[test]
fn looks() {
    let hello = |version, session| server_hello(version, session, [0xc0, 0x13]);
    let chosen = |version| Look::Hello { version, cipher: 0xc013 };
    for (name, octets, want) in [
        ("nothing", vec![], Look::Little),
        ("TLS 1.0", hello([3, 1], 32), chosen(0x0301)),
        ("TLS 1.1 without session", hello([3, 2], 0), chosen(0x0302)),
        ("SSL 3.0", hello([3, 0], 32), chosen(0x0300)),
        ("TLS 1.2", hello([3, 3], 32), chosen(0x0303)),
        ("cut in the session", hello([3, 3], 32)[..50].to_vec(), Look::Little),
        ("cut before the cipher's end", hello([3, 3], 0)[..45].to_vec(), Look::Little),
        ("alert", vec![21, 3, 1, 0, 2, 2, 40], Look::Alert(40)),
        ("alert, cut", vec![21, 3, 1, 0, 2, 2], Look::Little),
        ("another handshake message", vec![22, 3, 3, 0, 4, 11, 0, 0, 0], Look::Other),
        ("data", vec![23, 3, 3, 0, 1, 1], Look::Other),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n".to_vec(), Look::NotTls),
        ("SSH", b"SSH-2.0-x\r\n".to_vec(), Look::NotTls),
        ("first octet alone", vec![22], Look::Little),
        ("another major version", vec![22, 4, 0], Look::NotTls),
        ("SSL 2.0", vec![0x80, 0x2e, 4], Look::NotTls),
    ] {
        assert_eq!(look(&octets), want, "{name}");
    }
}

#[test]
fn versions_have_names() {
    let names = [0x0300, 0x0301, 0x0302, 0x0303, 0x0305].map(version_name);
    assert_eq!(names, ["SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS version 0x0305"]);
}

/// Lengths of the question add up, with and without a name.
#[test]
fn the_question_is_well_formed() {
    let long = "x".repeat(300);
    for (name, sent) in
        [(None, false), (Some("www.example.net"), true), (Some(""), false), (Some(&*long), false)]
    {
        let record = question([5; 32], name);
        let length = |at: usize| usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
        assert_eq!((record[..3].to_vec(), length(3)), (vec![22, 3, 1], record.len() - 5), "{name:?}");
        assert_eq!((record[5], record[6], length(7)), (1, 0, record.len() - 9), "{name:?}");
        assert_eq!(record[9..11], [3, 3], "TLS 1.2");
        assert_eq!((record[43], length(44)), (0, 2 * SUITES.len()), "{name:?}");
        let extensions = 46 + 2 * SUITES.len() + 2;
        assert_eq!(length(extensions), record.len() - extensions - 2, "{name:?}");
        let has = record.windows(15).any(|window| window == b"www.example.net");
        assert_eq!(has, sent, "{name:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_looked_at(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(settles(&octets));
    }

    #[test]
    fn beginnings_of_tls_too(
        kind in 20_u8..24, minor in 0_u8..5, rest in prop::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..300),
    ) {
        let mut octets = vec![kind, 3, minor];
        octets.extend(rest);
        prop_assert!(settles(&octets));
    }

    #[test]
    fn what_a_server_chose_is_read(version in any::<u8>(), session in 0_usize..33, cipher in any::<[u8; 2]>()) {
        let octets = server_hello([3, version], session, cipher);
        let want = Look::Hello { version: u16::from_be_bytes([3, version]), cipher: u16::from_be_bytes(cipher) };
        prop_assert_eq!(look(&octets), want);
    }
}
