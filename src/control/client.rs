//! `lbctl`'s end of the control socket.
//!
//! Here: one request and its answer, with time and size limits, and errors that say what to do. Not
//! here: the command line and how an answer is shown (`crate::lbctl`).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use lbd_grammar::Secrets;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::plan::{Plan, PlanRequest};
use super::status::Status;
use super::{HandoverStarted, Problem, ReloadOutcome, ServerDone, ServerOrder};

/// Time in which the socket must accept.
pub const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time for the status.
pub const STATUS_TIME: Duration = Duration::from_secs(15);
/// Time for the configuration, which may be of many megabytes.
pub const CONFIG_TIME: Duration = Duration::from_secs(30);
/// Time for a reload: reading a large configuration and changing the kernel.
pub const RELOAD_TIME: Duration = Duration::from_secs(100);
/// Time in which a daemon that hands over has ended.
pub const HANDOVER_TIME: Duration = Duration::from_secs(15);
const HANDOVER_LOOK: Duration = Duration::from_millis(5);
/// Longest answer, in octets: 5,000 virtual servers with ten real servers each are about 30 MiB.
pub const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// Asks one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing there.
    #[error(
        "{}: no such socket; is lbd running (`systemctl status lbd`)? Another place is named with --socket",
        .0.display()
    )]
    NoSocket(PathBuf),
    /// Nobody listens.
    #[error(
        "{}: nobody answers there; lbd has died or is not running (`systemctl status lbd`). Another place is named \
         with --socket", .0.display()
    )]
    Refused(PathBuf),
    /// Not allowed.
    #[error("{}: permission denied; run lbctl as root", .0.display())]
    Denied(PathBuf),
    /// Not within the limit.
    #[error(
        "{}: no answer within {} s; lbd hangs or is overloaded: see its log (`journalctl -u lbd`)",
        .path.display(), .limit.as_secs()
    )]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// Connected, but what came back is no answer.
    #[error("{}: {}; is this the control socket of an lbd of this version?", .path.display(), .what)]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What came back.
        what: String,
    },
    /// The daemon says no.
    #[error("{}: lbd answered {}: {}", .path.display(), .status.as_u16(), .error)]
    Problem {
        /// The socket.
        path: PathBuf,
        /// HTTP status.
        status: StatusCode,
        /// Its words.
        error: String,
    },
    /// The system refused.
    #[error("{}: {}", .path.display(), .source)]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Client {
    /// A client of the daemon at `socket`; connects with each request.
    pub fn new(socket: &Path) -> Self {
        Client { socket: socket.to_owned() }
    }

    /// `GET /v1/status`
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.decode(&self.status_text().await?)
    }

    /// `GET /v1/status` as the daemon wrote it: fields that this lbctl does not know are kept.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn status_text(&self) -> Result<Bytes, ClientError> {
        self.ask(Method::GET, "/v1/status", STATUS_TIME).await
    }

    /// `POST /v1/reload`; a refused configuration is an answer, not an error.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn reload(&self) -> Result<ReloadOutcome, ClientError> {
        self.decode(&self.ask(Method::POST, "/v1/reload", RELOAD_TIME).await?)
    }

    /// `GET /v1/config`: the configuration that runs, as text.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn config(&self, secrets: Secrets) -> Result<Bytes, ClientError> {
        let path = match secrets {
            Secrets::Masked => "/v1/config?secrets=0",
            Secrets::Shown => "/v1/config?secrets=1",
        };
        self.ask(Method::GET, path, CONFIG_TIME).await
    }

    /// `POST /v1/server`
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Problem`] where a name is not known.
    pub async fn server(&self, order: &ServerOrder) -> Result<ServerDone, ClientError> {
        let body = serde_json::to_vec(order).map_err(|error| self.no_answer(error.to_string()))?;
        self.decode(&self.send(Method::POST, "/v1/server", body.into(), STATUS_TIME).await?)
    }

    /// `POST /v1/plan`; what would be refused is an answer, not an error.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, ClientError> {
        let body = serde_json::to_vec(request).map_err(|error| self.no_answer(error.to_string()))?;
        self.decode(&self.send(Method::POST, "/v1/plan", body.into(), RELOAD_TIME).await?)
    }

    /// `POST /v1/handover`, and waits until the process has ended.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::TimedOut`] when it still runs after [`HANDOVER_TIME`].
    pub async fn handover(&self) -> Result<HandoverStarted, ClientError> {
        let started: HandoverStarted =
            self.decode(&self.ask(Method::POST, "/v1/handover", STATUS_TIME).await?)?;
        let program = PathBuf::from(format!("/proc/{}/exe", started.pid));
        // One that has ended and that nobody has waited for has no program any more. Where the process cannot be
        // seen, its socket must do: behind it may be the next one already.
        let seen = program.read_link().is_ok();
        let ended = async {
            while if seen {
                program.read_link().is_ok()
            } else {
                UnixStream::connect(&self.socket).await.is_ok()
            } {
                tokio::time::sleep(HANDOVER_LOOK).await;
            }
        };
        timeout(HANDOVER_TIME, ended)
            .await
            .map_err(|_| ClientError::TimedOut { path: self.socket.clone(), limit: HANDOVER_TIME })?;
        Ok(started)
    }

    /// Reads the JSON of an answer.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`]
    pub fn decode<T: DeserializeOwned>(&self, text: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(text)
            .map_err(|error| self.no_answer(format!("not the JSON expected ({error})")))
    }

    /// Sends one request and reads the answer, all of it within `limit`.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
    ) -> Result<Bytes, ClientError> {
        self.send(method, path, Bytes::new(), limit).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, ClientError> {
        let timed_out = |limit| ClientError::TimedOut { path: self.socket.clone(), limit };
        let stream = timeout(CONNECT_TIME.min(limit), UnixStream::connect(&self.socket))
            .await
            .map_err(|_| timed_out(CONNECT_TIME.min(limit)))?
            .map_err(|source| self.connect_error(source))?;
        timeout(limit, self.exchange(stream, method, path, body)).await.map_err(|_| timed_out(limit))?
    }

    async fn exchange(
        &self,
        stream: UnixStream,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, ClientError> {
        let failed = |error: hyper::Error| self.no_answer(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "lbd")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.no_answer(error.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| self.no_answer(error.to_string()))?
                .to_bytes();
            Ok((status, body))
        };
        tokio::pin!(answer, connection);
        // The connection is driven beside the request, and both are dropped together at the time limit.
        let (status, body) = tokio::select! {
            biased;
            done = &mut answer => done?,
            // Its end or error reaches the request too: that one says what happened.
            _ended = &mut connection => answer.await?,
        };
        if status.is_success() {
            return Ok(body);
        }
        let error = serde_json::from_slice::<Problem>(&body)
            .map_or_else(|_| "without saying why".to_owned(), |problem| problem.error);
        Err(ClientError::Problem { path: self.socket.clone(), status, error })
    }

    fn connect_error(&self, source: io::Error) -> ClientError {
        let path = self.socket.clone();
        match source.kind() {
            io::ErrorKind::NotFound => ClientError::NoSocket(path),
            io::ErrorKind::ConnectionRefused => ClientError::Refused(path),
            io::ErrorKind::PermissionDenied => ClientError::Denied(path),
            _ => ClientError::Io { path, source },
        }
    }

    fn no_answer(&self, what: String) -> ClientError {
        ClientError::NoAnswer { path: self.socket.clone(), what }
    }
}
