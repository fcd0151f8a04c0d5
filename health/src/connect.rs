//! Connections of checkers: source address, port, interface, firewall mark, time limit.
//!
//! Here: the socket until it is connected. Not here: what is said on it (`check`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::types::Connection;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// A problem of this host: says nothing about the server.
    Ours(String),
    /// The server does not take the connection.
    Theirs(String),
}

/// Connects within `connection.timeout`.
///
/// # Errors
/// [`ConnectError::Ours`] when the socket cannot be made, bound or marked, and when ports or
/// descriptors have run out; [`ConnectError::Theirs`] for everything the network or the server answers.
pub async fn connect(connection: &Connection) -> Result<TcpStream, ConnectError> {
    let socket = socket(connection)?;
    match timeout(connection.timeout, socket.connect(connection.target)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(judge(connection, &error)),
        Err(_) => Err(ConnectError::Theirs(format!("connect timeout after {}", seconds(connection.timeout)))),
    }
}

/// A duration as reasons show it: `3 s`, `0.5 s`.
pub fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// An error of the system in words, without its number.
pub fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset by the server".into(),
        io::ErrorKind::ConnectionAborted => "connection aborted".into(),
        io::ErrorKind::HostUnreachable => "no route to the host".into(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".into(),
        io::ErrorKind::TimedOut => "connection timed out in the network".into(),
        _ => match error.raw_os_error() {
            Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
            None => error.to_string(),
        },
    }
}

fn judge(connection: &Connection, error: &io::Error) -> ConnectError {
    match error.kind() {
        // With IP_BIND_ADDRESS_NO_PORT the port is chosen here; a fixed one may still be in use.
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => ConnectError::Ours(format!(
            "no local port free for a connection to {}: {}; see net.ipv4.ip_local_port_range",
            connection.target,
            words(error)
        )),
        _ if out_of_resources(error) => ConnectError::Ours(words(error)),
        _ => ConnectError::Theirs(words(error)),
    }
}

fn out_of_resources(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EPERM | libc::EACCES)
    )
}

fn socket(connection: &Connection) -> Result<TcpSocket, ConnectError> {
    let ours = |what: &dyn std::fmt::Display| {
        let what = what.to_string();
        move |error: io::Error| ConnectError::Ours(format!("{what}: {}", words(&error)))
    };
    let target = connection.target;
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), None)
        .map_err(ours(&"cannot make a socket"))?;
    if let Some(interface) = &connection.bind_interface {
        socket
            .bind_device(Some(interface.as_bytes()))
            .map_err(ours(&format_args!("cannot bind to interface {interface} (bind_if)")))?;
    }
    if let Some(mark) = connection.fwmark {
        socket
            .set_mark(mark.get())
            .map_err(ours(&format_args!("cannot set firewall mark {mark} (needs CAP_NET_ADMIN)")))?;
    }
    if connection.bind_address.is_some() || connection.bind_port.is_some() {
        let address = connection.bind_address.unwrap_or(match target {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        });
        let port = connection.bind_port.map_or(0, std::num::NonZeroU16::get);
        let source = SocketAddr::new(address, port);
        if port == 0 {
            // The port is chosen at connect, when the other end is known: one source port then serves
            // many servers, and thousands of checks don't run out of ports.
            nix::sys::socket::setsockopt(&socket, IpBindAddressNoPort, &true)
                .map_err(io::Error::from)
                .map_err(ours(&"cannot set IP_BIND_ADDRESS_NO_PORT"))?;
        } else {
            // A fixed port must be free again for the next check: no TIME_WAIT, so close resets.
            socket.set_reuse_address(true).map_err(ours(&"cannot set SO_REUSEADDR"))?;
            socket.set_linger(Some(Duration::ZERO)).map_err(ours(&"cannot set SO_LINGER"))?;
        }
        socket
            .bind(&source.into())
            .map_err(ours(&format_args!("cannot bind to {source} (bindto): is the address on this host?")))?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}
