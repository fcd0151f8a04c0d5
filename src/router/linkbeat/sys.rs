//! ioctls about links, for which neither std nor nix has a safe form. The only unsafe code of the linkbeat.
//!
//! `SIOCDEVPRIVATE`, which MII was asked by before Linux 2.6, is left out: today it means whatever a driver likes,
//! for a bond to give up its first port.
#![allow(unsafe_code, reason = "each call has its SAFETY comment")]

use std::os::fd::{AsRawFd, OwnedFd};

use lbd_grammar::config::LinkbeatMethod;
use libc::{Ioctl, c_char};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::Driver;

/// linux/sockios.h
const SIOCGIFFLAGS: Ioctl = 0x8913;
const SIOCETHTOOL: Ioctl = 0x8946;
const SIOCGMIIPHY: Ioctl = 0x8947;
const SIOCGMIIREG: Ioctl = 0x8948;
/// linux/ethtool.h
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GLINK: u32 = 0x0a;
/// linux/mii.h: the register for the state of the link, and the bit that says that there is one.
const MII_BMSR: u16 = 1;
const BMSR_LSTATUS: u16 = 0x0004;
/// linux/if.h
const IFF_UP: u16 = 0x1;
const IFF_RUNNING: u16 = 0x40;

/// `IFNAMSIZ`, with the NUL at the end.
type Name = [c_char; 16];

/// `struct ifreq` with something in its union. Not smaller than the kernel's, which it copies whole.
#[repr(C)]
struct Request<T> {
    name: Name,
    value: T,
    rest: [u64; 3],
}

/// `struct mii_ioctl_data`
#[derive(Clone, Copy)]
#[repr(C)]
struct Mii {
    phy: u16,
    register: u16,
    value_in: u16,
    value_out: u16,
}

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// A socket to ask about interfaces of the network namespace of the thread that opens it.
#[derive(Debug)]
pub(super) struct LinkSocket(OwnedFd);

impl LinkSocket {
    pub fn open() -> std::io::Result<Self> {
        Ok(LinkSocket(socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?))
    }

    /// The bit is held back once after a link was lost, so that the second reading is the one that counts.
    fn mii(&self, name: Name) -> nix::Result<bool> {
        let none = Mii { phy: 0, register: 0, value_in: 0, value_out: 0 };
        let mut request = Request { name, value: none, rest: [0; 3] };
        // SAFETY: the kernel reads and writes a struct ifreq whose union holds a struct mii_ioctl_data; the
        // request is at least as large, of the same layout, and lives longer than the call.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCGMIIPHY, &raw mut request) })?;
        request.value.register = MII_BMSR;
        for _ in 0..2 {
            // SAFETY: as above.
            Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCGMIIREG, &raw mut request) })?;
        }
        match request.value.value_out {
            // No PHY is there: all bits are what the bus rests at.
            0 | u16::MAX => Err(Errno::EOPNOTSUPP),
            status => Ok(status & BMSR_LSTATUS != 0),
        }
    }

    fn ethtool(&self, name: Name) -> nix::Result<bool> {
        let mut value = Value { command: ETHTOOL_GLINK, data: 0 };
        let mut request = Request { name, value: &raw mut value, rest: [0; 3] };
        // SAFETY: the kernel reads a struct ifreq whose union holds a pointer; the request is at least as large
        // and of the same layout. Behind the pointer it writes a struct ethtool_value, as the command there
        // says. Both live longer than the call.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL, &raw mut request) })?;
        Ok(value.data != 0)
    }

    fn flags(&self, name: Name) -> nix::Result<bool> {
        let mut request = Request { name, value: 0_u16, rest: [0; 3] };
        // SAFETY: the kernel reads and writes a struct ifreq whose union holds a short; the request is at least
        // as large, of the same layout, and lives longer than the call.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCGIFFLAGS, &raw mut request) })?;
        Ok(request.value & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING)
    }
}

impl Driver for LinkSocket {
    fn beat(&self, interface: &str, method: LinkbeatMethod) -> nix::Result<bool> {
        let name = name(interface)?;
        match method {
            LinkbeatMethod::Mii => self.mii(name),
            LinkbeatMethod::Ethtool => self.ethtool(name),
            LinkbeatMethod::Ioctl => self.flags(name),
        }
    }

    fn name(&self, interface: &str) -> nix::Result<String> {
        let name = name(interface)?;
        let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
        let mut request = Request { name, value: &raw mut info, rest: [0; 3] };
        // SAFETY: as in `ethtool`, with a struct ethtool_drvinfo behind the pointer: 196 octets, of which the
        // first 36 are named here.
        Errno::result(unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL, &raw mut request) })?;
        let driver = info.driver.split(|octet| *octet == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(driver).into_owned())
    }
}

/// As the kernel takes it. Of a name that is too long there is no interface.
fn name(interface: &str) -> nix::Result<Name> {
    let mut name: Name = [0; 16];
    let (octets, room) = (interface.as_bytes(), name.len() - 1);
    if octets.len() > room || octets.contains(&0) {
        return Err(Errno::ENODEV);
    }
    for (to, octet) in name.iter_mut().zip(octets) {
        *to = c_char::from_ne_bytes([*octet]);
    }
    Ok(name)
}
