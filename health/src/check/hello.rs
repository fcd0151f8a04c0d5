//! The first octets of a TLS conversation, looked at so that a failure can say what the server is.
//!
//! Here: the question to servers that refuse ours, reading the beginning of an answer. Any octets are
//! taken. Not here: TLS itself (rustls), sockets (`tls`).

/// Octets of an answer that are enough for a look.
pub const ENOUGH: usize = 256;

/// What a server's first octets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing, or too little to tell.
    Little,
    /// A ServerHello (RFC 5246 §7.4.1.3): the version and cipher suite that it chose.
    Hello {
        /// 0x0300 is SSL 3.0, 0x0303 TLS 1.2 (and 1.3, which says so elsewhere).
        version: u16,
        /// As registered by IANA.
        cipher: u16,
    },
    /// An alert (RFC 8446 §6), by its number.
    Alert(u8),
    /// Something else in TLS.
    Other,
    /// No TLS.
    NotTls,
}

/// Looks at the beginning of what a server sent.
pub fn look(octets: &[u8]) -> Look {
    let [kind, rest @ ..] = octets else { return Look::Little };
    if !matches!(kind, 20..=23) {
        return Look::NotTls;
    }
    match rest {
        [] => Look::Little,
        [3, ..] => record(*kind, rest.get(4..).unwrap_or_default()),
        _ => Look::NotTls,
    }
}

/// What follows the five octets of a record's header.
fn record(kind: u8, body: &[u8]) -> Look {
    match (kind, body) {
        (21, [_level, description, ..]) => Look::Alert(*description),
        (21, _) | (22, []) => Look::Little,
        // ServerHello: type, length (3), version (2), random (32), session (1 + n), cipher (2).
        (22, [2, _, _, _, major, minor, rest @ ..]) => {
            let chosen = rest.get(32..).and_then(|rest| {
                let (session, rest) = rest.split_first()?;
                rest.get(usize::from(*session)..)?.first_chunk::<2>()
            });
            match chosen {
                Some(cipher) => Look::Hello {
                    version: u16::from_be_bytes([*major, *minor]),
                    cipher: u16::from_be_bytes(*cipher),
                },
                None => Look::Little,
            }
        }
        (22, [2, ..]) => Look::Little,
        _ => Look::Other,
    }
}

/// Name of a version.
pub fn version_name(version: u16) -> String {
    match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301 => "TLS 1.0".to_owned(),
        0x0302 => "TLS 1.1".to_owned(),
        0x0303 => "TLS 1.2".to_owned(),
        other => format!("TLS version {other:#06x}"),
    }
}

/// A ClientHello (RFC 5246 §7.4.1.2) that servers of twenty years understand: what they choose from it
/// says what they are. It offers what the handshake itself does not; nothing is ever encrypted with it.
///
/// `name` is the server name to send; one that does not fit into 255 octets is left out.
pub fn question(random: [u8; 32], name: Option<&str>) -> Vec<u8> {
    let mut extensions = Vec::new();
    let name = name.map(str::as_bytes).filter(|name| !name.is_empty() && name.len() <= 255);
    if let Some(name) = name {
        let mut entry = vec![0];
        entry.extend(vector16(name));
        extension(&mut extensions, 0, &vector16(&entry));
    }
    extension(&mut extensions, 10, &vector16(&words(&GROUPS)));
    extension(&mut extensions, 11, &[1, 0]);
    extension(&mut extensions, 13, &vector16(&words(&SIGNATURES)));
    let mut hello = vec![3, 3];
    hello.extend(random);
    hello.push(0);
    hello.extend(vector16(&words(&SUITES)));
    hello.extend([1, 0]);
    hello.extend(vector16(&extensions));
    // Handshake: client_hello with 24 bits of length; record: TLS 1.0, which all servers take here.
    let mut message = vec![1, 0];
    message.extend(vector16(&hello));
    let mut record = vec![22, 3, 1];
    record.extend(vector16(&message));
    record
}

/// Whether a look, once it tells something, tells the same however much more follows: the property that
/// the fuzz target and a property test share.
pub fn settles(octets: &[u8]) -> bool {
    let mut told = Look::Little;
    (0..=octets.len()).all(|end| {
        let now = look(octets.get(..end).unwrap_or_default());
        let same = told == Look::Little || told == now;
        told = now;
        same
    })
}

/// Cipher suites of [`question`]: ECDHE and RSA with AES-GCM, AES-CBC, 3DES and RC4, DHE with AES.
const SUITES: [u16; 32] = [
    0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0x009e, 0x009f, 0x009c, 0x009d, 0xc023, 0xc024, 0xc027,
    0xc028, 0x0067, 0x006b, 0x003c, 0x003d, 0xc009, 0xc00a, 0xc013, 0xc014, 0x0033, 0x0039, 0x002f, 0x0035,
    0xc012, 0xc008, 0x0016, 0x000a, 0x0005, 0x0004,
];
const GROUPS: [u16; 4] = [29, 23, 24, 25];
const SIGNATURES: [u16; 12] =
    [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201, 0x0202];

fn words(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// With its length in two octets before it; all lengths here are far below the limit.
fn vector16(octets: &[u8]) -> Vec<u8> {
    let mut vector = u16::try_from(octets.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    vector.extend_from_slice(octets);
    vector
}

fn extension(extensions: &mut Vec<u8>, kind: u16, body: &[u8]) {
    extensions.extend(kind.to_be_bytes());
    extensions.extend(vector16(body));
}

#[cfg(test)]
#[path = "hello/tests.rs"]
mod tests;
