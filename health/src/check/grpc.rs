//! GRPC_CHECK: `grpc.health.v1.Health/Check` over HTTP/2 without TLS.
//!
//! Here: the request, reading the answer within bounds, the verdict. Not here: the two messages
//! (`grpc::message`, pure), TLS (a server that only speaks that fails).

pub mod message;

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, Method, Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use self::message::{MAX_ANSWER, Serving};
use super::shown::shown;
use crate::connect::{connect, seconds, words};
use crate::state::Outcome;
use crate::types::GrpcCheck;

/// All headers of an answer together, in octets, each with 32 more (RFC 9113 §6.5.2).
pub const MAX_HEADERS: u32 = 16 * 1024;

/// Asks once. After the connect the whole answer may take connect_timeout.
pub async fn run(check: &GrpcCheck) -> Outcome {
    let request = match request(check) {
        Ok(request) => request,
        Err(reason) => return Outcome::unknown(reason),
    };
    let stream = match connect(&check.connection).await {
        Ok(stream) => stream,
        Err(error) => return error.into(),
    };
    let limit = check.connection.timeout;
    let body = message::request(&check.service).into();
    match timeout_at(Instant::now() + limit, ask(stream, request, body)).await {
        Ok(Ok(serving)) => judge(serving),
        Ok(Err(reason)) => Outcome::bad(reason),
        Err(_) => Outcome::bad(format!("no whole answer after {}", seconds(limit))),
    }
}

/// Whether a text can be the authority of a request (RFC 3986 §3.2): a host, maybe with a port.
pub fn is_authority(text: &str) -> bool {
    text.len() <= 255 && !text.contains('@') && text.parse::<Authority>().is_ok()
}

fn request(check: &GrpcCheck) -> Result<Request<()>, String> {
    let target = check.connection.target.to_string();
    let authority = check.authority.as_deref().unwrap_or(&target);
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(PATH).build();
    let request = uri.and_then(|uri| {
        Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("lbd/", env!("CARGO_PKG_VERSION")))
            .body(())
    });
    request.map_err(|error| format!("\"{authority}\" cannot be the authority of a request: {error}"))
}

const PATH: &str = "/grpc.health.v1.Health/Check";

/// The whole exchange; the error is the reason.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<()>,
    body: Bytes,
) -> Result<Serving, String> {
    let handshake = Builder::new()
        .enable_push(false)
        .max_header_list_size(MAX_HEADERS)
        .max_concurrent_reset_streams(1)
        .handshake::<_, Bytes>(stream);
    let (sender, connection) = handshake.await.map_err(|error| said(&error))?;
    let answer = pin!(exchange(sender, request, body));
    alongside(answer, connection).await
}

/// Runs `work` with the connection that it needs beside it. When the connection ends first, the work
/// ends of it.
async fn alongside<T>(mut work: std::pin::Pin<&mut impl Future<Output = T>>, connection: impl Future) -> T {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        done = &mut work => return done,
        _ended = &mut connection => {}
    }
    work.await
}

async fn exchange(sender: SendRequest<Bytes>, request: Request<()>, body: Bytes) -> Result<Serving, String> {
    let mut sender = sender.ready().await.map_err(|error| said(&error))?;
    let (response, mut sending) = sender.send_request(request, false).map_err(|error| said(&error))?;
    sending.send_data(body, true).map_err(|error| said(&error))?;
    let (head, mut body) = response.await.map_err(|error| said(&error))?.into_parts();
    let head = Response::from_parts(head, ());
    refused(&head)?;
    let mut octets = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| said(&error))?;
        if octets.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("answer larger than {MAX_ANSWER} octets"));
        }
        octets.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len()).map_err(|error| said(&error))?;
    }
    let trailers = body.trailers().await.map_err(|error| said(&error))?.unwrap_or_default();
    if !trailers.contains_key(&STATUS) {
        return Err("the answer ends without grpc-status".into());
    }
    status(&trailers)?;
    message::answer(&octets).map_err(|error| error.to_string())
}

const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// An answer that is none of gRPC, or only a status.
fn refused(head: &Response<()>) -> Result<(), String> {
    if head.status() != http::StatusCode::OK {
        return Err(format!("HTTP status {}, wanted 200", head.status().as_u16()));
    }
    let kind = head.headers().get("content-type").map(http::HeaderValue::as_bytes).unwrap_or_default();
    if !kind.starts_with(b"application/grpc") {
        return Err(format!("content-type \"{}\", wanted application/grpc", shown(kind)));
    }
    status(head.headers())
}

/// What grpc-status says, where there is one.
fn status(headers: &HeaderMap) -> Result<(), String> {
    let Some(status) = headers.get(&STATUS).map(http::HeaderValue::as_bytes) else { return Ok(()) };
    if status == b"0" {
        return Ok(());
    }
    let number = std::str::from_utf8(status).ok().and_then(|status| status.parse::<usize>().ok());
    let mut reason = match number.and_then(|number| message::STATUS_NAMES.get(number)) {
        Some(name) => format!("grpc-status {} ({name})", shown(status)),
        None => format!("grpc-status {}", shown(status)),
    };
    if let Some(text) = headers.get("grpc-message").filter(|text| !text.is_empty()) {
        reason.push_str(&format!(": {}", shown(&message::percent_decoded(text.as_bytes()))));
    }
    Err(reason)
}

fn judge(serving: Serving) -> Outcome {
    match serving {
        Serving::Serving => Outcome::good("SERVING"),
        other => Outcome::bad(format!("status {other}, wanted SERVING")),
    }
}

/// An error of HTTP/2 in words.
fn said(error: &h2::Error) -> String {
    if let Some(error) = error.get_io() {
        return match error.kind() {
            // The last is the library's, for an end within a frame.
            ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof | ErrorKind::Other => CLOSED.into(),
            _ => words(error),
        };
    }
    match error.reason() {
        Some(reason) if error.is_go_away() && error.is_remote() => {
            format!("the server ends the connection: {}", name(reason))
        }
        Some(reason) if error.is_reset() && error.is_remote() => {
            format!("the server refuses the request: {}", name(reason))
        }
        Some(reason) => format!("what the server sends is not HTTP/2: {}", name(reason)),
        None => format!("HTTP/2: {error}"),
    }
}

const CLOSED: &str = "connection closed before the answer was complete";

/// As RFC 9113 §7 writes it.
fn name(reason: h2::Reason) -> String {
    format!("{reason:?}")
}

#[cfg(test)]
#[path = "grpc/tests.rs"]
mod tests;
