//! `sockaddr_ll`, which no safe constructor offers.

#![allow(unsafe_code, reason = "socket2 lets a sockaddr be written only through a pointer")]

use std::io;

use socket2::SockAddr;

/// The address that sends a complete frame out of the interface of `index`.
///
/// # Errors
/// None in practice: the closure below does not fail.
pub(super) fn of(index: i32) -> io::Result<SockAddr> {
    let family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let size = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the storage is zeroed, aligned for every sockaddr and larger than a sockaddr_ll; all
    // of its fields are integers, for which zeros are valid; the length is what was written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = &mut *storage.cast::<libc::sockaddr_ll>();
            link.sll_family = family;
            link.sll_ifindex = index;
            *length = size;
            Ok(())
        })?
    };
    Ok(address)
}
