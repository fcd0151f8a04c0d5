//! Octets on the wire: parse takes anything, emit computes counts, lengths and checksums.

pub mod advert;
pub mod arp;
pub mod datagram;
pub mod ipv4;

/// Octets read front to back.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` octets.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// The next 16 bits, big endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }
}

/// The Internet checksum (RFC 1071) of `octets`: 0 over a message that holds its right checksum.
pub fn checksum(octets: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    for pair in octets.chunks(2) {
        let word = match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            [high] => u16::from_be_bytes([*high, 0]),
            _ => 0,
        };
        sum += u64::from(word);
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// Writes the checksum of `octets` at `at`, where zeros are.
pub(crate) fn fill_checksum(octets: &mut [u8], at: usize) {
    let sum = checksum(octets).to_be_bytes();
    if let Some(field) = octets.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *field = sum;
    }
}

#[cfg(test)]
pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_vectors() {
        for (name, octets, want) in [
            ("nothing", &[][..], 0xffff),
            ("RFC 1071 §3", &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], !0xddf2),
            ("odd length", &[0x01], 0xfeff),
        ] {
            assert_eq!(checksum(octets), want, "{name}");
        }
    }
}
