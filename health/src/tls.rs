//! What SSL_GET needs for TLS: the `SSL` block's files, and settings shared by all checks.
//!
//! Here: reading the files, client settings with and without verification. Not here: a conversation
//! (`check::tls`), how a key is decrypted (`pem`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::pem::{self, KeyError};

/// The `SSL` block.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Pass phrase of the key.
    pub password: Option<String>,
    /// Certificates of authorities.
    pub ca: Option<PathBuf>,
    /// Client certificate and those that lead to its authority.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFileError {
    /// Keyword of the `SSL` block; empty for the system's certificates.
    pub keyword: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keyword = self.keyword;
        if !keyword.is_empty() {
            write!(f, "`{keyword}` of `SSL`: ")?;
        }
        write!(f, "{}: {}", self.file.display(), self.problem)
    }
}

impl std::error::Error for TlsFileError {}

/// Client settings; one of each kind for all checks.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Any certificate is taken.
    pub(crate) any: Arc<ClientConfig>,
    /// The chain and the name are verified; with and without a server name sent.
    pub(crate) verifying: Option<(Arc<ClientConfig>, Arc<ClientConfig>)>,
}

/// The settings of the running configuration, which a reload replaces.
#[derive(Debug)]
pub struct TlsClient(RwLock<TlsSettings>);

impl TlsClient {
    /// With these settings.
    pub fn new(settings: TlsSettings) -> Self {
        TlsClient(RwLock::new(settings))
    }

    /// Checks that start from now on use these; returns what held before.
    pub fn replace(&self, settings: TlsSettings) -> TlsSettings {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), settings)
    }

    /// A copy of what holds now; cheap.
    pub(crate) fn settings(&self) -> TlsSettings {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for TlsSettings {
    /// Without client certificate and verification.
    fn default() -> Self {
        let any = any(None).expect("the provider has the versions that are asked for");
        TlsSettings { any: Arc::new(any), verifying: None }
    }
}

/// Client certificate and key.
type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl TlsSettings {
    /// Reads the files. `verify`: some check wants the server's certificate verified. Blocking.
    ///
    /// # Errors
    /// The first file that is not there, cannot be decoded or decrypted, or does not go with another.
    pub fn load(files: &TlsFiles, verify: bool) -> Result<Self, TlsFileError> {
        let own = own(files)?;
        let roots = match &files.ca {
            Some(file) => Some(authorities("ca", file)?),
            None if verify => Some(system_authorities()?),
            None => None,
        };
        let provider = provider();
        let mismatch = |error: rustls::Error| TlsFileError {
            keyword: "key",
            file: files.key.clone().or(files.certificate.clone()).unwrap_or_default(),
            problem: format!("does not go with `certificate`: {error}"),
            remedy: "give the key of the first certificate in that file",
        };
        let any = Arc::new(any(own.as_ref()).map_err(mismatch)?);
        let verifying = match roots.filter(|_| verify) {
            None => None,
            Some(roots) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| TlsFileError {
                        keyword: "ca",
                        file: files.ca.clone().unwrap_or_default(),
                        problem: error.to_string(),
                        remedy: "give a PEM file of certificates of authorities",
                    })?;
                let named = config(verifier, own.as_ref()).map_err(mismatch)?;
                let mut nameless = named.clone();
                nameless.enable_sni = false;
                Some((Arc::new(named), Arc::new(nameless)))
            }
        };
        Ok(TlsSettings { any, verifying })
    }
}

/// Certificate and key; neither without the other.
fn own(files: &TlsFiles) -> Result<Option<Own>, TlsFileError> {
    let certificates = match &files.certificate {
        None => None,
        Some(file) => Some(certificates("certificate", file)?),
    };
    let key = match &files.key {
        None => None,
        Some(file) => Some(key(file, files.password.as_deref())?),
    };
    Ok(certificates.zip(key))
}

fn read(keyword: &'static str, file: &Path) -> Result<Vec<pem::Section>, TlsFileError> {
    let wrong = |problem: String, remedy| TlsFileError { keyword, file: file.to_owned(), problem, remedy };
    let metadata = std::fs::metadata(file);
    if metadata.as_ref().is_ok_and(|metadata| !metadata.is_file() || metadata.len() > LARGEST_FILE) {
        return Err(wrong("no file, or one larger than 16 MiB".to_owned(), "name a PEM file"));
    }
    let text = std::fs::read(file)
        .map_err(|error| wrong(crate::connect::words(&error), "check the path and its rights"))?;
    pem::sections(&text).map_err(|problem| wrong(problem, "write the file anew as PEM"))
}

fn certificates(keyword: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates = pem::certificates(&read(keyword, file)?);
    let wrong = |problem: String| TlsFileError {
        keyword,
        file: file.to_owned(),
        problem,
        remedy: "`openssl x509 -in FILE -text` shows what is in it",
    };
    if certificates.is_empty() {
        return Err(wrong("has no certificate in PEM".to_owned()));
    }
    for certificate in &certificates {
        if x509_parser::parse_x509_certificate(certificate).is_err() {
            return Err(wrong("has a certificate that cannot be decoded".to_owned()));
        }
    }
    Ok(certificates)
}

fn key(file: &Path, password: Option<&str>) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    pem::key(&read("key", file)?, password).map_err(|error| {
        let (problem, remedy) = match error {
            KeyError::None => ("has no key in PEM", "name the file of the certificate's key"),
            KeyError::NoPassword => ("the key is encrypted", "give its pass phrase with `password`"),
            KeyError::WrongPassword => ("the key does not open with `password`", "correct the pass phrase"),
            KeyError::Encryption => (
                "the key is encrypted in a way that is not supported",
                "`openssl pkcs8 -topk8 -v2 aes256 -in FILE -out NEW` encrypts it anew",
            ),
        };
        TlsFileError { keyword: "key", file: file.to_owned(), problem: problem.to_owned(), remedy }
    })
}

fn authorities(keyword: &'static str, file: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    let (added, _odd) = roots.add_parsable_certificates(certificates(keyword, file)?);
    if added == 0 {
        return Err(TlsFileError {
            keyword,
            file: file.to_owned(),
            problem: "has no certificate of an authority that can be used".to_owned(),
            remedy: "give a PEM file of certificates of authorities",
        });
    }
    Ok(roots)
}

/// What the distribution has for everybody.
fn system_authorities() -> Result<RootCertStore, TlsFileError> {
    let there = SYSTEM.iter().map(Path::new).find(|file| file.is_file());
    match there {
        Some(file) => authorities("", file),
        None => Err(TlsFileError {
            keyword: "",
            file: SYSTEM.first().into_iter().collect(),
            problem: "`verify` needs certificates of authorities, and this system has none".to_owned(),
            remedy: "install ca-certificates, or give `ca` in the `SSL` block",
        }),
    }
}

/// Debian and Arch; Red Hat; SUSE; Alpine.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const LARGEST_FILE: u64 = 16 * 1024 * 1024;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn any(own: Option<&Own>) -> Result<ClientConfig, rustls::Error> {
    config(Arc::new(AnyCertificate(provider())), own)
}

fn config(verifier: Arc<dyn ServerCertVerifier>, own: Option<&Own>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
    };
    // Each check is to see that the server can make a whole handshake, and its certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes any certificate, as keepalived does.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "tls/tests.rs"]
mod tests;
