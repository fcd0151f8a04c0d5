use proptest::prelude::*;

use super::*;

const PLAIN: &str = include_str!("keys/sec1.pem");

/// All files of one key, as OpenSSL wrote them; the pass phrase is `secret`.
#[test]
fn keys() {
    let plain = &sections(PLAIN.as_bytes()).expect("PEM")[0].der;
    let pkcs8 = &sections(include_bytes!("keys/pkcs8.pem")).expect("PEM")[0].der;
    for (name, text, encrypted, want) in [
        ("SEC1", PLAIN, false, plain),
        ("PKCS #8", include_str!("keys/pkcs8.pem"), false, pkcs8),
        ("PKCS #8, AES-256", include_str!("keys/pkcs8-aes-256-cbc.pem"), true, pkcs8),
        ("PKCS #8, AES-128", include_str!("keys/pkcs8-aes-128-cbc.pem"), true, pkcs8),
        ("PKCS #8, 3DES", include_str!("keys/pkcs8-des3.pem"), true, pkcs8),
        ("PKCS #8, 3DES, SHA-1", include_str!("keys/pkcs8-des3-sha1.pem"), true, pkcs8),
        ("PKCS #8, scrypt", include_str!("keys/pkcs8-scrypt.pem"), true, pkcs8),
        ("AES-128", include_str!("keys/sec1-aes128.pem"), true, plain),
        ("AES-192", include_str!("keys/sec1-aes192.pem"), true, plain),
        ("AES-256", include_str!("keys/sec1-aes256.pem"), true, plain),
        ("3DES", include_str!("keys/sec1-des3.pem"), true, plain),
        ("DES", include_str!("keys/sec1-des.pem"), true, plain),
    ] {
        let sections = sections(text.as_bytes()).expect(name);
        let found = key(&sections, Some("secret")).expect(name);
        assert_eq!(found.secret_der(), &want[..], "{name}");
        if encrypted {
            assert_eq!(key(&sections, None).expect_err(name), KeyError::NoPassword, "{name}");
            assert_eq!(key(&sections, Some("wrong")).expect_err(name), KeyError::WrongPassword, "{name}");
        }
    }
}

#[test]
fn keys_that_cannot_be_had() {
    for (name, text, want) in [
        ("empty", "", KeyError::None),
        ("a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KeyError::None),
        ("PBES1", include_str!("keys/pkcs8-pbes1.pem"), KeyError::Encryption),
        ("another cipher", include_str!("keys/sec1-camellia.pem"), KeyError::Encryption),
        (
            "no vector",
            "-----BEGIN EC PRIVATE KEY-----\nDEK-Info: AES-128-CBC\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
            KeyError::Encryption,
        ),
        (
            "a short vector",
            "-----BEGIN EC PRIVATE KEY-----\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
            KeyError::WrongPassword,
        ),
    ] {
        let sections = sections(text.as_bytes()).expect(name);
        assert_eq!(key(&sections, Some("secret")).expect_err(name), want, "{name}");
    }
}

#[test]
fn files() {
    let one = "-----BEGIN A-----\r\nAAEC\r\n-----END A-----\r\n";
    let a = Section { label: "A".into(), encryption: None, der: vec![0, 1, 2] };
    for (name, text, want) in [
        ("nothing", String::new(), Ok(vec![])),
        ("text alone", "Certificate:\n  Data:\n".to_owned(), Ok(vec![])),
        ("one", one.to_owned(), Ok(vec![a.clone()])),
        ("two with text between", format!("x\n{one}subject=y\n{one}"), Ok(vec![a.clone(), a])),
        ("no end", "-----BEGIN A-----\nAAEC\n".to_owned(), Err("`A` has no end".to_owned())),
        (
            "another end",
            "-----BEGIN A-----\nAAEC\n-----END B-----\n".to_owned(),
            Err("`A` has no end".to_owned()),
        ),
        ("no base64", one.replace("AAEC", "A*EC"), Err("`A` is no base64".to_owned())),
    ] {
        assert_eq!(sections(text.as_bytes()), want, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets(text in prop::collection::vec(any::<u8>(), 0..300), password in "[a-z]{0,5}") {
        prop_assert!(law(&text));
        if let Ok(sections) = sections(&text) {
            let _no_matter = (certificates(&sections), key(&sections, Some(&password)));
        }
    }

    /// A damaged key is refused, or it is another one; never a panic.
    #[test]
    fn damaged_keys(at in 0_usize..314, octet in any::<u8>()) {
        let mut text = include_bytes!("keys/sec1-aes128.pem").to_vec();
        text[at] = octet;
        prop_assert!(law(&text));
        if let Ok(sections) = sections(&text) {
            let _no_matter = key(&sections, Some("secret"));
        }
    }
}
