//! SSL_GET's TLS: the handshake, and precise words for one that fails.
//!
//! Here: from a connection to a TLS session. Not here: request and answer (`http`), certificates and keys
//! of this host (`crate::tls`), reading a server's first octets (`hello`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use rustls::pki_types::{IpAddr as TlsIp, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::hello::{self, Look, look, version_name};
use super::shown::shown;
use crate::connect::{connect, seconds, words};
use crate::state::Outcome;
use crate::tls::TlsClient;
use crate::types::{Connection, HttpCheck, TlsCheck, Url};

/// A TLS session with a server, and what its certificate warns of.
pub(super) struct Session {
    /// For request and answer.
    pub stream: TlsStream<Teed<TcpStream>>,
    /// The certificate expires soon.
    pub warning: Option<Arc<str>>,
}

/// Makes the handshake on a connection, until `end`.
///
/// # Errors
/// The outcome of the check.
pub(super) async fn handshake(
    http: &HttpCheck,
    tls: &TlsCheck,
    url: &Url,
    client: &TlsClient,
    stream: TcpStream,
    end: Instant,
) -> Result<Session, Outcome> {
    let sent = url.server_name.as_deref().and_then(server_name);
    let Some((config, name)) = choose(http, tls, url, client, sent.as_ref()) else {
        return Err(Outcome::unknown("no certificates of authorities are loaded for `verify`"));
    };
    let teed = Teed { inner: stream, seen: Vec::new() };
    let connecting = TlsConnector::from(config).connect(name.clone(), teed).into_fallible();
    match timeout_at(end, connecting).await {
        Ok(Ok(stream)) => {
            let warning = tls.expiry_warning.and_then(|days| {
                let certificate = stream.get_ref().1.peer_certificates()?.first()?;
                expiry(certificate, days, SystemTime::now())
            });
            Ok(Session { stream, warning: warning.map(Into::into) })
        }
        Ok(Err((error, teed))) => {
            let sent = sent.as_ref().and_then(dns_name);
            Err(Outcome::bad(failure(&http.connection, &error, &teed.seen, &name, sent, end).await))
        }
        Err(_) => {
            let limit = seconds(http.connection.timeout);
            Err(Outcome::bad(format!("TLS handshake not complete after {limit}")))
        }
    }
}

/// Settings, and the name that they verify; it is also sent if it is one that can be.
fn choose(
    http: &HttpCheck,
    tls: &TlsCheck,
    url: &Url,
    client: &TlsClient,
    sent: Option<&ServerName<'static>>,
) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
    let settings = client.settings();
    let address = ServerName::IpAddress(TlsIp::from(http.connection.target.ip()));
    if !tls.verify {
        // No name goes out for an address (RFC 6066 §3).
        return Some((settings.any, sent.cloned().unwrap_or(address)));
    }
    let (named, nameless) = settings.verifying?;
    match sent {
        Some(name) => Some((named, name.clone())),
        None => Some((nameless, url.host.as_deref().and_then(server_name).unwrap_or(address))),
    }
}

/// A host as TLS has it: without the port that a `Host` may have.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    let name = |text: &str| ServerName::try_from(text.to_owned()).ok();
    let inner = host.strip_prefix('[').and_then(|rest| rest.split(']').next());
    name(inner.unwrap_or(host)).or_else(|| name(host.rsplit_once(':')?.0))
}

fn dns_name<'a>(name: &'a ServerName<'static>) -> Option<&'a str> {
    match name {
        ServerName::DnsName(name) => Some(name.as_ref()),
        _ => None,
    }
}

/// Why a handshake failed; where the server only refused, a second question says what it is.
async fn failure(
    connection: &Connection,
    error: &io::Error,
    seen: &[u8],
    name: &ServerName<'static>,
    sent: Option<&str>,
    end: Instant,
) -> String {
    let first = look(seen);
    match first {
        Look::NotTls => return format!("no TLS: the server answered \"{}\"", shown(seen)),
        Look::Hello { version, .. } if version < 0x0303 => return only(version),
        _ => {}
    }
    let Some(tls) = inner(error) else {
        return match (error.kind(), first) {
            (io::ErrorKind::UnexpectedEof, Look::Little) => {
                "connection closed by the server in the TLS handshake".to_owned()
            }
            (io::ErrorKind::UnexpectedEof, _) => {
                "connection closed in the middle of the TLS handshake".to_owned()
            }
            _ => format!("{} in the TLS handshake", words(error)),
        };
    };
    match tls {
        rustls::Error::InvalidCertificate(error) => format!("certificate: {}", certificate(error, name)),
        rustls::Error::AlertReceived(alert) => {
            // After its ServerHello it is not the version and not the ciphers.
            if !matches!(first, Look::Alert(_)) {
                return refused(*alert);
            }
            match probe(connection, sent, end).await {
                Some(Look::Hello { version, .. }) if version < 0x0303 => only(version),
                Some(Look::Hello { version, cipher }) if !known(cipher) => {
                    format!(
                        "no common cipher: with {} the server would take {cipher:#06x}",
                        version_name(version)
                    )
                }
                _ => refused(*alert),
            }
        }
        error => format!("TLS handshake failed: {error}"),
    }
}

fn only(version: u16) -> String {
    format!("the server offers only {}, TLS 1.2 or 1.3 is needed", version_name(version))
}

/// An alert in the handshake, or after it.
pub(super) fn refused(alert: AlertDescription) -> String {
    let name = alert_name(alert);
    match alert {
        AlertDescription::HandshakeFailure
        | AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            format!("the server refused with TLS alert {name}: does it want a client certificate (`SSL`)?")
        }
        AlertDescription::UnrecognisedName => {
            format!("the server refused with TLS alert {name}: see `enable_sni` and `sni_name`")
        }
        _ => format!("the server refused with TLS alert {name}"),
    }
}

/// `handshake_failure`, as the RFC writes it.
fn alert_name(alert: AlertDescription) -> String {
    if alert == AlertDescription::UnrecognisedName {
        return "unrecognized_name".to_owned();
    }
    let mut name = String::new();
    let text = format!("{alert:?}");
    let mut before = 'A';
    for letter in text.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
        before = letter;
    }
    name
}

fn certificate(error: &CertificateError, name: &ServerName<'static>) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is not for {}", name.to_str())
        }
        CertificateError::UnknownIssuer => "no authority of `ca` (or of the system) has signed it".to_owned(),
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        error => error.to_string(),
    }
}

/// What rustls says in an error of a TLS stream.
pub(super) fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Cipher suites that the handshake itself offers.
fn known(cipher: u16) -> bool {
    rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.iter().any(|suite| u16::from(suite.suite()) == cipher)
}

/// Asks on a connection of its own with everything that servers ever had.
async fn probe(connection: &Connection, name: Option<&str>, end: Instant) -> Option<Look> {
    let question = hello::question(std::array::from_fn(|_| fastrand::u8(..)), name);
    let asking = async {
        let mut stream = connect(connection).await.ok()?;
        stream.write_all(&question).await.ok()?;
        let mut seen = Vec::with_capacity(hello::ENOUGH);
        while seen.len() < hello::ENOUGH && look(&seen) == Look::Little {
            if (&mut stream).take(room(&seen)).read_buf(&mut seen).await.ok()? == 0 {
                break;
            }
        }
        Some(look(&seen))
    };
    timeout_at(end, asking).await.ok()?
}

fn room(seen: &[u8]) -> u64 {
    u64::try_from(hello::ENOUGH.saturating_sub(seen.len())).unwrap_or_default()
}

/// What is to be said of a certificate that expires within `days`, or has.
fn expiry(certificate: &[u8], days: u32, now: SystemTime) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let end = certificate.validity().not_after;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let left = end.timestamp() - i64::try_from(now.as_secs()).ok()?;
    let date = end.to_datetime().date();
    let day = |seconds: i64| {
        let days = seconds / DAY;
        format!("{days} {}", if days == 1 { "day" } else { "days" })
    };
    match left {
        ..0 if -left < DAY => Some(format!("certificate has expired, on {date}")),
        ..0 => Some(format!("certificate expired {} ago, on {date}", day(-left))),
        0.. if left > i64::from(days) * DAY => None,
        0.. if left < DAY => Some(format!("certificate expires within a day, on {date}")),
        _ => Some(format!("certificate expires in {}, on {date}", day(left))),
    }
}

const DAY: i64 = 86_400;

/// A connection of which the first octets received are kept.
pub(super) struct Teed<S> {
    inner: S,
    seen: Vec<u8>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Teed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let done = Pin::new(&mut this.inner).poll_read(context, buffer);
        let room = hello::ENOUGH.saturating_sub(this.seen.len());
        if room > 0 {
            let new = buffer.filled().get(before..).unwrap_or_default();
            this.seen.extend(new.iter().take(room));
        }
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Teed<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "tls/tests.rs"]
mod tests;
