//! A gRPC server with nothing but the health service (`grpc.health.v1.Health/Check`), over HTTP/2 without TLS.

use std::io;

use bytes::Bytes;
use h2::server;
use http::{HeaderMap, HeaderValue, Response};

use super::stream::Behaviour;

/// What the service says of itself: a number of `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// 1
    Serving,
    /// 2
    NotServing,
    /// No such service: gRPC's status 5.
    NotFound,
    /// No health service at all: gRPC's status 12.
    Unimplemented,
}

/// Answers each call with `health`.
pub fn grpc(health: Health) -> Behaviour {
    Behaviour::new(move |stream| {
        stream.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let mut connection = server::handshake(stream).await.map_err(io::Error::other)?;
            while let Some(call) = connection.accept().await {
                let (_call, answer) = call.map_err(io::Error::other)?;
                respond(answer, health).map_err(io::Error::other)?;
            }
            Ok(())
        })
    })
}

fn respond(mut answer: server::SendResponse<Bytes>, health: Health) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let (octets, status) = match health {
        // Not compressed, two octets: field 1 (serving status), its number.
        Health::Serving => (Bytes::from_static(&[0, 0, 0, 0, 2, 0x08, 1]), "0"),
        Health::NotServing => (Bytes::from_static(&[0, 0, 0, 0, 2, 0x08, 2]), "0"),
        Health::NotFound => (Bytes::new(), "5"),
        Health::Unimplemented => (Bytes::new(), "12"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let mut body = answer.send_response(head, false)?;
    if !octets.is_empty() {
        body.send_data(octets, false)?;
    }
    body.send_trailers(trailers)
}
