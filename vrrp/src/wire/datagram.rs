//! A received IP datagram, whichever way the kernel gives it: a raw IPv4 socket with its header, a raw
//! IPv6 socket without.
//!
//! Here: what later checks need of both. Not here: the headers' layout (`ipv4`, `ipv6`).

use std::net::{IpAddr, Ipv6Addr};

use super::ipv4::{self, HeaderError};

/// A datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Protocol of the payload: 112 or, with IPv4, 51.
    pub protocol: u8,
    /// The IPv4 header, which the Authentication Header covers.
    pub header: Option<ipv4::Header>,
    /// What follows the IP header.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads an IPv4 datagram with its header.
    ///
    /// # Errors
    /// [`HeaderError`]
    pub fn of_ipv4(octets: &'a [u8]) -> Result<Self, HeaderError> {
        let (header, payload) = ipv4::Header::parse(octets)?;
        Ok(Datagram {
            source: header.source.into(),
            destination: header.destination.into(),
            hop_limit: header.ttl,
            protocol: header.protocol,
            header: Some(header),
            payload,
        })
    }

    /// A VRRP message in an IPv6 datagram, as a raw socket and its ancillary data give it.
    pub fn of_ipv6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, payload: &'a [u8]) -> Self {
        Datagram {
            source: source.into(),
            destination: destination.into(),
            hop_limit,
            protocol: ipv4::VRRP,
            header: None,
            payload,
        }
    }
}
