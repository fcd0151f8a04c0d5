//! Connections of checkers: source address, port, interface, firewall mark, time limit.
//!
//! Here: the socket until it is connected. Not here: what is said on it (`check`).

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::sockopt::{IpBindAddressNoPort, Ipv4RecvErr, Ipv6RecvErr};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::dial::dial;
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
/// [`ConnectError::Ours`] when the socket cannot be made, bound or marked, when ports or descriptors have
/// run out, and when this host itself forbids the connection; [`ConnectError::Theirs`] for everything
/// the network or the server answers.
pub async fn connect(connection: &Connection) -> Result<TcpStream, ConnectError> {
    let socket = begun(connection)?;
    let connecting = async {
        let stream = TcpStream::from_std(socket.into())?;
        stream.writable().await?;
        Ok(match stream.take_error()? {
            None => Ok(stream),
            Some(error) => Err(error),
        })
    };
    within(connection, connecting).await
}

/// Connects within `connection.timeout` and closes: a connection is possible.
///
/// # Errors
/// As [`connect`].
pub async fn reach(connection: &Connection) -> Result<(), ConnectError> {
    let socket = begun(connection)?;
    within(connection, async { dial(socket).await.map(|error| error.map_or(Ok(()), Err)) }).await
}

/// A connection under way.
fn begun(connection: &Connection) -> Result<Socket, ConnectError> {
    let socket = socket(connection)?;
    match socket.connect(&connection.target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(judge(connection, &error)),
        _ => Ok(socket),
    }
}

/// `connecting` fails as this host does; what it comes to is what the network says.
async fn within<T>(
    connection: &Connection,
    connecting: impl Future<Output = io::Result<io::Result<T>>>,
) -> Result<T, ConnectError> {
    match timeout(connection.timeout, connecting).await {
        Ok(Ok(said)) => said.map_err(|error| ConnectError::Theirs(refusal(&error))),
        Ok(Err(error)) => Err(judge(connection, &error)),
        Err(_) => Err(ConnectError::Theirs(format!("connect timeout after {}", seconds(connection.timeout)))),
    }
}

/// Why there is no connection, as the network says it. What would be a missing right in a call of this
/// host is what a firewall answers over IPv6 (RFC 4443 §3.1, codes 1, 5 and 6).
fn refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EACCES) => "prohibited by a router or filter".into(),
        _ => words(error),
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

/// What an error of connecting or sending says: about this host or about the server.
pub(crate) fn judge(connection: &Connection, error: &io::Error) -> ConnectError {
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
        // The last is epoll's, see fs.epoll.max_user_watches.
        Some(
            libc::EMFILE
                | libc::ENFILE
                | libc::ENOBUFS
                | libc::ENOMEM
                | libc::EPERM
                | libc::EACCES
                | libc::ENOSPC
        )
    )
}

fn socket(connection: &Connection) -> Result<Socket, ConnectError> {
    let socket = marked(connection, Type::STREAM, None)?;
    if let Some(source) = source(connection) {
        if source.port() == 0 {
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
        bind(&socket, source)?;
    }
    Ok(socket)
}

/// A UDP socket connected to the target; its port is random unless bind_port fixes it.
///
/// ICMP errors of all kinds come back as errors of its reads: [`icmp_words`].
///
/// # Errors
/// As of [`connect`]; [`ConnectError::Theirs`] where no route leads to the target.
pub fn datagram(connection: &Connection) -> Result<Datagram<'_>, ConnectError> {
    let socket = marked(connection, Type::DGRAM, None)?;
    if let Some(source) = source(connection) {
        if source.port() != 0 {
            // Several checks may share a fixed port: what the targets send goes by the connected address.
            socket.set_reuse_address(true).map_err(ours(&"cannot set SO_REUSEADDR"))?;
        }
        bind(&socket, source)?;
    }
    match connection.target {
        SocketAddr::V4(_) => nix::sys::socket::setsockopt(&socket, Ipv4RecvErr, &true),
        SocketAddr::V6(_) => nix::sys::socket::setsockopt(&socket, Ipv6RecvErr, &true),
    }
    .map_err(io::Error::from)
    .map_err(ours(&"cannot set IP_RECVERR"))?;
    socket.connect(&connection.target.into()).map_err(|error| judge(connection, &error))?;
    let socket = UdpSocket::from_std(socket.into()).map_err(ours(&"cannot wait for the socket"))?;
    Ok(Datagram { socket, connection })
}

/// A UDP socket that hears one target.
#[derive(Debug)]
pub struct Datagram<'c> {
    socket: UdpSocket,
    connection: &'c Connection,
}

impl Datagram<'_> {
    /// Sends one datagram.
    ///
    /// # Errors
    /// As of [`datagram`]; [`ConnectError::Ours`] also for a datagram that is too large to send.
    pub async fn send(&self, octets: &[u8]) -> Result<(), ConnectError> {
        match self.socket.send(octets).await {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                Err(ConnectError::Ours(format!("{} octets are too long for a datagram", octets.len())))
            }
            Err(error) => Err(judge(self.connection, &error)),
        }
    }

    /// Receives one datagram; what is longer than `buffer` is lost.
    ///
    /// # Errors
    /// What an ICMP message said ([`icmp_words`]).
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (length, from) = self.socket.recv_from(buffer).await?;
            // Between bind and connect the socket hears everybody.
            if same_end(from, self.connection.target) {
                return Ok(length);
            }
        }
    }
}

/// Scope and flow of an IPv6 address don't count: a target has none.
fn same_end(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip() == other.ip() && one.port() == other.port()
}

/// An error that ICMP brought back, in words: `port unreachable (ICMP)`.
pub fn icmp_words(error: &io::Error) -> String {
    let what = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "port unreachable",
        Some(libc::EHOSTUNREACH | libc::EHOSTDOWN | libc::ENONET) => "host unreachable",
        Some(libc::ENETUNREACH) => "network unreachable",
        Some(libc::ENOPROTOOPT) => "protocol unreachable",
        Some(libc::EACCES) => "prohibited by a router or filter",
        Some(libc::EMSGSIZE) => "too long for the path",
        _ => return words(error),
    };
    format!("{what} (ICMP)")
}

/// A raw ICMP socket of the target's family, to be shared by all checks with the same bindings.
///
/// # Errors
/// [`ConnectError::Ours`]; the text names the right that is missing.
pub fn icmp(connection: &Connection) -> Result<Socket, ConnectError> {
    let protocol = match connection.target {
        SocketAddr::V4(_) => Protocol::ICMPV4,
        SocketAddr::V6(_) => Protocol::ICMPV6,
    };
    let socket = marked(connection, Type::RAW, Some(protocol))?;
    if let Some(address) = connection.bind_address {
        bind(&socket, SocketAddr::new(address, 0))?;
    }
    Ok(socket)
}

/// A socket with bind_if and fwmark.
fn marked(connection: &Connection, kind: Type, protocol: Option<Protocol>) -> Result<Socket, ConnectError> {
    let what = if kind == Type::RAW {
        "cannot make a raw ICMP socket (needs CAP_NET_RAW)"
    } else {
        "cannot make a socket"
    };
    let socket = Socket::new(Domain::for_address(connection.target), kind.nonblocking(), protocol)
        .map_err(ours(&what))?;
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
    Ok(socket)
}

/// bindto and bind_port, if there is one of them.
fn source(connection: &Connection) -> Option<SocketAddr> {
    if connection.bind_address.is_none() && connection.bind_port.is_none() {
        return None;
    }
    let address = connection.bind_address.unwrap_or(match connection.target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    });
    Some(SocketAddr::new(address, connection.bind_port.map_or(0, std::num::NonZeroU16::get)))
}

fn bind(socket: &Socket, source: SocketAddr) -> Result<(), ConnectError> {
    socket
        .bind(&source.into())
        .map_err(ours(&format_args!("cannot bind to {source} (bindto): is the address on this host?")))
}

fn ours(what: &dyn Display) -> impl FnOnce(io::Error) -> ConnectError {
    move |error| ConnectError::Ours(format!("{what}: {}", words(&error)))
}

#[cfg(test)]
#[path = "connect/tests.rs"]
mod tests;
