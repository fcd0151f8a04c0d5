use proptest::prelude::*;

use super::*;

fn read(pieces: &[&[u8]]) -> Answer {
    let mut answer = Answer::new(true, 0);
    for piece in pieces {
        answer.feed(piece).expect("within bounds");
    }
    answer
}

fn md5(octets: &[u8]) -> [u8; 16] {
    Md5::digest(octets).into()
}

#[test]
fn statuses() {
    for (name, header, want) in [
        ("usual", &b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
        ("empty reason with its blank", b"HTTP/1.0 404 \r\n", Some(404)),
        ("no blank after the code", b"HTTP/1.1 200\r\n", None),
        ("two digits", b"HTTP/1.1 20 OK\r\n", None),
        ("four digits", b"HTTP/1.1 2000 OK\r\n", None),
        ("two blanks before", b"HTTP/1.1  200 OK\r\n", None),
        ("not HTTP at all", b"SSH-2.0-x 200 y\r\n", Some(200)),
        ("second line does not count", b"HTTP/1.1\r\nX: 200 y\r\n", None),
        ("letters", b"HTTP/1.1 2OO OK\r\n", None),
        ("empty", b"", None),
        ("only a blank", b" ", None),
        ("largest", b"X 999 \n", Some(999)),
    ] {
        assert_eq!(status(header), want, "{name}");
    }
}

#[test]
fn content_lengths() {
    for (name, header, want) in [
        ("usual", &b"H\r\nContent-Length: 5\r\n\r\n"[..], Some(5)),
        ("no blank", b"Content-Length:5\r\n", Some(5)),
        ("newline alone", b"Content-Length: 5\n", Some(5)),
        ("other case", b"content-length: 5\r\n", None),
        ("blank behind", b"Content-Length: 5 \r\n", None),
        ("inside another name", b"X-Content-Length: 5\r\n", Some(5)),
        ("first counts", b"Content-Length: 5\r\nContent-Length: 6\r\n", Some(5)),
        ("first is broken", b"Content-Length: x\r\nContent-Length: 6\r\n", None),
        ("negative", b"Content-Length: -5\r\n", None),
        ("empty", b"Content-Length: \r\n", None),
        ("cut", b"Content-Length: 5", None),
        ("largest", b"Content-Length: 18446744073709551615\r\n", Some(u64::MAX)),
        ("too large", b"Content-Length: 18446744073709551616\r\n", None),
    ] {
        assert_eq!(content_length(header), want, "{name}");
    }
}

#[test]
fn digests_are_over_raw_octets() {
    let chunked = b"5\r\nhello\r\n0\r\n\r\n";
    for (name, header, body, want) in [
        ("plain", "HTTP/1.1 200 OK\r\n\r\n", &b"hello"[..], md5(b"hello")),
        ("empty", "HTTP/1.1 200 OK\r\n\r\n", b"", md5(b"")),
        ("chunk sizes count", "H 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked, md5(chunked)),
        ("cut at Content-Length", "H 200 OK\r\nContent-Length: 3\r\n\r\n", b"hello", md5(b"hel")),
        ("shorter than Content-Length", "H 200 OK\r\nContent-Length: 9\r\n\r\n", b"hello", md5(b"hello")),
        (
            "Content-Length in the body",
            "H 200 OK\r\n\r\n",
            b"Content-Length: 1\r\n",
            md5(b"Content-Length: 1\r\n"),
        ),
    ] {
        assert_eq!(read(&[header.as_bytes(), body]).digest(), Some(want), "{name}");
    }
}

#[test]
fn header_is_bounded() {
    let mut answer = Answer::new(false, 0);
    let mut fed = 0;
    while answer.feed(b"X: y\r\n").is_ok() {
        fed += 6;
        assert!(fed <= MAX_HEADER);
    }
    assert!(answer.header().len() <= MAX_HEADER + 4);
    let huge = vec![b'x'; 10 * MAX_HEADER];
    assert_eq!(Answer::new(false, 0).feed(&huge), Err(HeaderTooLong));
    let mut just = vec![b'x'; MAX_HEADER];
    just.extend_from_slice(b"\r\n\r\nbody");
    let mut answer = Answer::new(false, 0);
    assert_eq!(answer.feed(&just), Ok(()));
    assert_eq!((answer.has_header(), answer.body_length()), (true, 4));
}

/// Octets that often hold header ends and lengths.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"Content-Length: ".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
        "[0-9]{1,21}\r?\n?".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn pieces_make_no_difference(octets in octets(), cuts in prop::collection::vec(1_usize..9, 1..200)) {
        let whole = read(&[&octets]);
        let mut cut = Answer::new(true, 0);
        let mut rest = octets.as_slice();
        for size in cuts {
            let (piece, later) = rest.split_at(size.min(rest.len()));
            cut.feed(piece).unwrap();
            rest = later;
        }
        cut.feed(rest).unwrap();
        prop_assert_eq!(cut.header(), whole.header());
        prop_assert_eq!(cut.status(), whole.status());
        prop_assert_eq!(cut.content_length(), whole.content_length());
        prop_assert_eq!(cut.length(), u64::try_from(octets.len()).unwrap());
        // The obvious way, over the whole text.
        if let Some(end) = header_end(&octets) {
            let (header, body) = octets.split_at(end);
            let counted = content_length(header).map_or(body.len(), |n| body.len().min(usize::try_from(n).unwrap_or(usize::MAX)));
            prop_assert_eq!(whole.digest(), Some(md5(&body[..counted])));
            prop_assert_eq!(cut.digest(), Some(md5(&body[..counted])));
        } else {
            prop_assert!(!whole.has_header());
        }
    }

    #[test]
    fn cut_in_two(octets in octets(), cut in 0_usize..300) {
        prop_assert!(agrees_when_cut(&octets, cut));
    }

    #[test]
    fn status_is_three_digits_as_written(code in 0_u16..1000, reason in "[ -~]{0,10}") {
        let line = format!("HTTP/1.1 {code:03} {reason}\r\n");
        prop_assert_eq!(status(line.as_bytes()), Some(code));
    }
}
