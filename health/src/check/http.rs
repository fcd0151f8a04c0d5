//! HTTP_GET and SSL_GET: one url is asked, its status, digest and text compared.
//!
//! Here: the request's octets, reading the answer within bounds, the verdict. Not here: what the octets
//! of an answer mean (`answer`), patterns (`regex`), the handshake (`tls`), which url is next (`state`).
//!
//! No HTTP library on purpose: the path goes out as it is configured (a library refuses blanks
//! and quotes in it), the answer is read to its end whatever its framing says, and the digest is over raw
//! octets; broken chunking or headers that a library refuses are no failure for keepalived's users.

use std::fmt::{Display, Write as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{Answer, MAX_HEADER, first_line};
use super::shown::shown;
use super::{regex, tls};
use crate::connect::{connect, seconds, words};
use crate::state::Outcome;
use crate::tls::TlsClient;
use crate::types::{HttpCheck, HttpProtocol, StatusSet, Url};

/// Largest answer, in octets. Of it at most [`regex::MAX_BODY`] are kept, and only for a pattern; the
/// bound is on work.
pub const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// The whole answer may take this many times connect_timeout. keepalived gives each read
/// connect_timeout anew and so waits for a trickling server for ever.
pub const ANSWER_TIMEOUTS: u32 = 10;

/// Asks one url; an index that does not exist asks the first.
pub async fn run(http: &HttpCheck, url: usize, client: &TlsClient) -> Outcome {
    let Some(url) = http.urls.get(url).or(http.urls.first()) else {
        return Outcome::unknown("no url configured");
    };
    let mut outcome = ask(http, url, client).await;
    if http.urls.len() > 1 {
        outcome.reason = Arc::from(format!("{}: {}", shown(url.path.as_bytes()), outcome.reason));
    }
    outcome
}

async fn ask(http: &HttpCheck, url: &Url, client: &TlsClient) -> Outcome {
    let limit = http.connection.timeout;
    let end = Instant::now() + limit;
    let stream = match connect(&http.connection).await {
        Ok(stream) => stream,
        Err(error) => return error.into(),
    };
    let Some(tls) = &http.tls else {
        let end = Ending { whole: limit.saturating_mul(ANSWER_TIMEOUTS), cut: Cut::Ends };
        return converse(http, url, stream, end).await;
    };
    match tls::handshake(http, tls, url, client, stream, end).await {
        Err(outcome) => outcome,
        // keepalived gives connect_timeout to connection and handshake, and again to request and answer.
        Ok(tls::Session { stream, warning }) => {
            let cut = if url.tls_compliant { Cut::Fails } else { Cut::Ends };
            converse(http, url, stream, Ending { whole: limit, cut }).await.warned(warning)
        }
    }
}

/// How an answer may end.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// Limit of the whole answer.
    whole: Duration,
    cut: Cut,
}

/// What a TLS connection is that ends without close_notify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// A normal end.
    Ends,
    /// An error (tls_compliant).
    Fails,
}

/// The octets of the request, in keepalived's order and case.
pub fn request(http: &HttpCheck, url: &Url) -> Vec<u8> {
    let (version, close) = match http.protocol {
        HttpProtocol::V1_0 => ("1.0", ""),
        HttpProtocol::V1_0Close => ("1.0", "Connection: close\r\n"),
        HttpProtocol::V1_1 => ("1.1", "Connection: close\r\n"),
    };
    // SocketAddr writes IPv6 in brackets and the port always.
    let host: &dyn Display = url.host.as_ref().map_or(&http.connection.target, |host| host);
    format!("GET {} HTTP/{version}\r\nUser-Agent: KeepAliveClient\r\n{close}Host: {host}\r\n\r\n", url.path)
        .into_bytes()
}

/// Request and answer on a connection.
async fn converse(
    http: &HttpCheck,
    url: &Url,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ending: Ending,
) -> Outcome {
    let limit = http.connection.timeout;
    let sending = async {
        stream.write_all(&request(http, url)).await?;
        stream.flush().await
    };
    match timeout(limit, sending).await {
        Ok(Ok(())) => {}
        // A server that answers and closes before it has read: its answer is still to be read.
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Ok(Err(error)) => return Outcome::bad(said(&error)),
        Err(_) => return Outcome::bad(format!("request not taken after {}", seconds(limit))),
    }
    let keep = if url.regex.is_some() { regex::MAX_BODY } else { 0 };
    let answer = match read(&mut stream, limit, ending, Answer::new(url.digest.is_some(), keep)).await {
        Ok(answer) => answer,
        Err(reason) => return Outcome::bad(reason),
    };
    if ending.cut == Cut::Fails {
        // The server has said goodbye; so do we, and don't insist on being heard.
        let _gone = timeout(limit, stream.shutdown()).await;
    }
    drop(stream);
    judge(url, answer).await
}

/// An error of the connection in words, also those of TLS.
fn said(error: &io::Error) -> String {
    match tls::inner(error) {
        Some(rustls::Error::AlertReceived(alert)) => tls::refused(*alert),
        Some(error) => format!("TLS: {error}"),
        None => words(error),
    }
}

/// Reads to the end; the error is the reason.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    limit: Duration,
    ending: Ending,
    mut answer: Answer,
) -> Result<Answer, String> {
    let end = Instant::now() + ending.whole;
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        match timeout_at(end.min(Instant::now() + limit), stream.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return Ok(answer),
            Ok(Ok(_)) => {}
            // TLS: closed without close_notify.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                if ending.cut == Cut::Ends {
                    return Ok(answer);
                }
                let octets = answer.length();
                return Err(format!(
                    "connection closed without close_notify (tls_compliant) after {octets} octets"
                ));
            }
            // keepalived 2.2.7 fails a server that resets, after a complete answer too (observed).
            Ok(Err(error)) if answer.length() > 0 => {
                return Err(format!("{} after {} octets", said(&error), answer.length()));
            }
            Ok(Err(error)) => return Err(said(&error)),
            Err(_) if answer.length() == 0 => return Err(format!("no answer after {}", seconds(limit))),
            Err(_) if Instant::now() >= end => {
                return Err(format!("answer not complete after {}", seconds(ending.whole)));
            }
            Err(_) => {
                return Err(format!(
                    "answer stopped after {} octets: connection still open, nothing for {}",
                    answer.length(),
                    seconds(limit)
                ));
            }
        }
        if answer.feed(&buffer).is_err() {
            return Err(format!("header larger than {} KiB", MAX_HEADER / 1024));
        }
        if answer.length() > MAX_ANSWER {
            return Err(format!("answer larger than {} MiB", MAX_ANSWER / 1024 / 1024));
        }
    }
}

/// Status first, then digest, then pattern.
async fn judge(url: &Url, mut answer: Answer) -> Outcome {
    if answer.length() == 0 {
        return Outcome::bad("no data received");
    }
    if !answer.has_header() {
        return Outcome::bad(format!(
            "connection closed within the header, after {} octets",
            answer.length()
        ));
    }
    let Some(status) = answer.status() else {
        return Outcome::bad(format!(
            "no status code in the first line \"{}\"",
            shown(first_line(answer.header()))
        ));
    };
    let wanted = match &url.status {
        Some(set) => set.0.contains(&status),
        None => (200..=299).contains(&status),
    };
    if !wanted {
        return Outcome::bad(format!("status {status}, wanted {}", status_text(url.status.as_ref())));
    }
    let mut reason = format!("status {status}");
    match answer.content_length() {
        // Told, not judged, as keepalived does.
        Some(length) if length != answer.body_length() => {
            let _infallible =
                write!(reason, " (body of {} octets, Content-Length {length})", answer.body_length());
        }
        _ => {}
    }
    let (body, cut) = answer.take_body();
    if let (Some(want), Some(got)) = (url.digest, answer.digest()) {
        if want != got {
            return Outcome::bad(format!("digest {} differs from {}", hex(&got), hex(&want)));
        }
        reason.push_str(", digest as wanted");
    }
    if let Some(pattern) = &url.regex {
        match regex::check(pattern, body, cut).await {
            Ok(found) => {
                let _infallible = write!(reason, ", {found}");
            }
            Err(outcome) => return outcome,
        }
    }
    Outcome::good(reason)
}

const READ_BUFFER: usize = 16 * 1024;

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _infallible = write!(text, "{octet:02x}");
        text
    })
}

/// `200-299`, `200, 301-303`.
fn status_text(set: Option<&StatusSet>) -> String {
    let Some(set) = set else { return "200-299".into() };
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &code in &set.0 {
        match ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(code) => *end = code,
            _ => ranges.push((code, code)),
        }
    }
    let parts: Vec<String> = ranges
        .iter()
        .map(|&(start, end)| if start == end { start.to_string() } else { format!("{start}-{end}") })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
