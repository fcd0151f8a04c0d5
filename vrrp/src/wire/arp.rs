//! Gratuitous ARP: a request in which both addresses are the virtual one (RFC 826; RFC 3768 §6.4.1).

use std::net::Ipv4Addr;

/// Hardware address of an Ethernet interface.
pub type Mac = [u8; 6];
/// The Ethernet broadcast address.
pub const BROADCAST: Mac = [0xff; 6];
/// Octets of the frame.
pub const FRAME: usize = 42;

/// The Ethernet frame that tells a link that `address` is at `mac`.
///
/// A request with the broadcast address as target hardware address, as keepalived sends it.
pub fn gratuitous_request(mac: Mac, address: Ipv4Addr) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let parts: [&[u8]; 9] = [
        &BROADCAST,
        &mac,
        &[0x08, 0x06],             // EtherType ARP
        &[0, 1, 0x08, 0x00, 6, 4], // Ethernet, IPv4, lengths
        &[0, 1],                   // request
        &mac,
        &address.octets(),
        &BROADCAST,
        &address.octets(),
    ];
    for (place, octet) in frame.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *octet;
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;

    #[test]
    fn frame() {
        let frame = gratuitous_request([2, 0, 0, 0, 0, 7], Ipv4Addr::new(10, 0, 0, 100));
        let want = "ffffffffffff020000000007080600010800060400010200000000070a000064ffffffffffff0a000064";
        assert_eq!(frame.to_vec(), hex(want));
    }
}
