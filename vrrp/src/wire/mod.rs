//! Octets on the wire: parse takes anything, emit computes counts, lengths and checksums.

pub mod advert;
pub mod ah;
pub mod arp;
pub mod datagram;
pub mod ipv4;
pub mod ipv6;
pub mod ndisc;
pub mod pseudo;

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
    fold(sum(octets))
}

/// Sum of the 16-bit words of `octets`, for [`fold`]; sums may be added up, as long as only the last
/// is of an odd number of octets.
///
/// Words of 32 bits are summed in the host's byte order (RFC 1071 §2 B and C); below 16 GiB of octets
/// nothing is carried out of 64 bits.
pub(crate) fn sum(octets: &[u8]) -> u64 {
    let (chunks, rest) = octets.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    chunks.iter().chain([&last]).fold(0, |sum: u64, chunk| {
        let word = u64::from_ne_bytes(*chunk);
        sum.wrapping_add(word >> 32).wrapping_add(word & 0xffff_ffff)
    })
}

/// The checksum of what was summed up.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::from_be(u16::try_from(sum).unwrap_or(u16::MAX))
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn checksum_is_that_of_words_one_by_one(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut sum = 0_u32;
            for pair in octets.chunks(2) {
                sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
                sum = (sum >> 16) + (sum & 0xffff);
            }
            prop_assert_eq!(u32::from(checksum(&octets)), 0xffff ^ sum);
        }
    }
}
