//! TLS servers: one that works with a certificate of its own making, and those that speak too old a version or none at all.
//!
//! ```text
//! record: type 1 | version 2 | length 2 | octets          type 21 alert, 22 handshake (RFC 5246 §6.2.1)
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::stream::Behaviour;
use super::talk::drain;

/// TLS 1.0 and 1.1 as their records say it.
pub const TLS_1_0: [u8; 2] = [3, 1];
/// See [`TLS_1_0`].
pub const TLS_1_1: [u8; 2] = [3, 2];

/// What a working server answers, to be changed while it runs.
#[derive(Clone, Debug)]
pub struct Page(Arc<Mutex<(u16, String)>>);

impl Page {
    /// Status and body.
    pub fn new(status: u16, body: &str) -> Self {
        Self(Arc::new(Mutex::new((status, body.to_owned()))))
    }

    /// Changes them from the next request on.
    pub fn set(&self, status: u16, body: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.to_owned());
    }
}

/// HTTPS with a certificate for `name` that is signed by itself and ends with the year `last_year`.
///
/// # Errors
/// When no key or certificate can be made.
pub fn https(name: &str, last_year: i32, page: &Page) -> Result<Behaviour> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(last_year, 12, 31);
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let (config, page) = (Arc::new(config), page.clone());
    Ok(Behaviour::new(move |tcp| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut tls = rustls::StreamOwned::new(connection, tcp);
        let mut reader = BufReader::new(&mut tls);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let (status, body) = page.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let length = body.len();
        write!(tls, "HTTP/1.1 {status} Bed\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
        tls.conn.send_close_notify();
        tls.flush()
    }))
}

/// A certificate of its own making for `name`, in PEM, whose key is lost at once: an authority that has signed nothing else.
///
/// # Errors
/// When no key or certificate can be made.
pub fn certificate(name: &str) -> Result<String> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params.self_signed(&key)?.pem())
}

/// A server that knows nothing newer than `version`: it answers with a ServerHello of that version.
pub fn old(version: [u8; 2]) -> Behaviour {
    Behaviour::new(move |mut stream| {
        let _hello = stream.read(&mut [0; 4096])?;
        // Version, 32 octets of random, no session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression (RFC 4346 §7.4.1.3).
        let mut hello = version.to_vec();
        hello.extend([7; 32]);
        hello.extend([0, 0x00, 0x2f, 0]);
        let length = u8::try_from(hello.len()).unwrap_or(u8::MAX);
        let mut handshake = vec![2, 0, 0, length];
        handshake.extend(hello);
        stream.write_all(&record(22, version, &handshake))?;
        drain(&mut stream)
    })
}

/// A server that refuses each hello with the fatal alert of this number (70 protocol_version, 40 handshake_failure).
pub fn alert(number: u8) -> Behaviour {
    Behaviour::new(move |mut stream| {
        let _hello = stream.read(&mut [0; 4096])?;
        stream.write_all(&record(21, TLS_1_1, &[2, number]))
    })
}

fn record(kind: u8, version: [u8; 2], octets: &[u8]) -> Vec<u8> {
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[kind, version[0], version[1], length[0], length[1]], octets].concat()
}
