//! The daemon's end of the control socket.
//!
//! Here: the socket, its lock, the limits, the routes. Not here: what the answers are made from
//! ([`Backend`]), the other end ([`super::client`]).

use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::body::Body as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::plan::{Plan, PlanRequest};
use super::status::Status;
use super::{HandoverStarted, Problem, ReloadOutcome, ServerDone, ServerOrder};
use crate::lock::{LockError, LockedFile};
use crate::pid_file::{of_pid, remedy};
use lbd_grammar::Secrets;

/// A future of an answer.
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// What the API shows and steers; the daemon's.
pub trait Backend: Send + Sync + 'static {
    /// How things are now.
    fn status(&self) -> Answer<Status>;
    /// Reads the configuration again. Runs to its end even if the asker has gone.
    fn reload(&self) -> Answer<ReloadOutcome>;
    /// The configuration that runs, as text. May take long without holding others up.
    fn config(&self, secrets: Secrets) -> Answer<String>;
    /// Has a real server drained, taken out or back; an error says what is wrong with the names.
    fn server(&self, order: ServerOrder) -> Answer<Result<ServerDone, String>>;
    /// What a reload would do; an error says why that cannot be told.
    fn plan(&self, request: PlanRequest) -> Answer<Result<Plan, String>>;
    /// Ends lbd and leaves everything in the kernel; an error says why not.
    fn handover(&self) -> Answer<Result<HandoverStarted, String>>;
}

/// Connections served at once; more wait in the listen queue.
pub const MAX_CONNECTIONS: usize = 32;
/// Longest request head, in octets.
pub const MAX_HEAD: usize = 16 * 1024;
/// Longest request body, in octets.
pub const MAX_BODY: u64 = 64 * 1024;
const MAX_BODY_LENGTH: usize = 64 * 1024;
/// Time in which the head of a request must come.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time after which a connection is closed, whatever it does. Longer than a reload takes.
pub const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// Time that answers under way get when the server stops.
pub const STOP_TIME: Duration = Duration::from_secs(1);

/// The bound socket; removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: StdListener,
    path: PathBuf,
    /// Dropped after the socket is removed, so that no other daemon's socket can be hit.
    _lock: LockedFile,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon serves it.
    #[error(
        "control socket {}: lbd is running already{}; stop it first, or give this one its own --control-socket, \
         --state-file and --pid", .path.display(), of_pid(*.pid)
    )]
    InUse {
        /// The socket.
        path: PathBuf,
        /// The other's process id, if known.
        pid: Option<u32>,
    },
    /// Something that must not be removed is in its place.
    #[error("control socket {}: another kind of file is there; remove it or use --control-socket", .0.display())]
    NotASocket(PathBuf),
    /// Longer than a socket's address can be.
    #[error(
        "control socket {}: longer than the 107 octets that the system allows; use a shorter --control-socket",
        .0.display()
    )]
    TooLong(PathBuf),
    /// The system refused.
    #[error("control socket {}: {}; {}", .path.display(), .source, remedy(.source))]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    /// Whether it failed for missing rights (exit status 4).
    pub fn is_rights(&self) -> bool {
        matches!(self, BindError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl ControlSocket {
    /// Makes the socket, mode 0600, and missing directories above it, mode 0755. `PATH.lock` tells a
    /// daemon that runs from a socket that a dead one left, which is replaced. Needs no runtime.
    ///
    /// # Errors
    /// [`BindError`], with the remedy in its text.
    pub fn bind(path: &Path) -> Result<ControlSocket, BindError> {
        let fail = |source| BindError::Io { path: path.to_owned(), source };
        let address = SockAddr::unix(path).map_err(|_| BindError::TooLong(path.to_owned()))?;
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = LockedFile::acquire(Path::new(&lock_path), 0o600).map_err(|error| match error {
            LockError::Held { holder } => BindError::InUse { path: path.to_owned(), pid: holder },
            LockError::NotAFile => BindError::NotASocket(PathBuf::from(&lock_path)),
            LockError::Io(source) => fail(source),
        })?;
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fail)?;
        socket.bind(&address).map_err(fail)?;
        // Nobody can connect before listen(), so nobody gets in before the mode is set.
        let ready = fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .and_then(|()| socket.listen(LISTEN_QUEUE))
            .and_then(|()| socket.set_nonblocking(true));
        if let Err(source) = ready {
            let _gone = fs::remove_file(path);
            return Err(fail(source));
        }
        Ok(ControlSocket { listener: socket.into(), path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until `shutdown` ends; answers under way get [`STOP_TIME`]. Then the socket is removed.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub async fn serve(
        self,
        backend: Arc<dyn Backend>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let router = router(backend);
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            tokio::select! {
                () = &mut shutdown => break,
                Some(_ended) = connections.join_next() => {}
                (slot, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        let router = router.clone();
                        connections.spawn(async move {
                            let _slot = slot;
                            connection(stream, router).await;
                        });
                    }
                    Err(error) => {
                        // Out of file descriptors, most likely: it will not be better at once.
                        tracing::warn!(%error, "control socket: a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        let _left = timeout(STOP_TIME, async { while connections.join_next().await.is_some() {} }).await;
        Ok(())
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

const LISTEN_QUEUE: i32 = 128;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Removes what a dead daemon left; only the holder of the lock may ask.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let fail = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fail(error)),
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket(path.to_owned())),
        // A daemon whose lock file was removed by hand still answers.
        Ok(_) if StdStream::connect(path).is_ok() => {
            Err(BindError::InUse { path: path.to_owned(), pid: None })
        }
        Ok(_) => fs::remove_file(path).map_err(fail),
    }
}

async fn connection(stream: UnixStream, router: Router) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_TIME, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "control socket: connection ended early"),
        Err(_) => tracing::debug!("control socket: connection closed, its time is over"),
    }
}

fn router(backend: Arc<dyn Backend>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/config", get(config))
        .route("/v1/server", post(server))
        .route("/v1/plan", post(plan))
        .route("/v1/handover", post(handover))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "wrong method"))
        .fallback(async || {
            problem(
                StatusCode::NOT_FOUND,
                "no such path; there are GET /v1/status, GET /v1/config, POST /v1/reload, POST /v1/plan, POST /v1/server and \
                 POST /v1/handover",
            )
        })
        .layer(from_fn(limit_body))
        .layer(DefaultBodyLimit::max(MAX_BODY_LENGTH))
        .with_state(backend)
}

async fn status(State(backend): State<Arc<dyn Backend>>) -> Response {
    finish(backend.status(), json).await
}

async fn reload(State(backend): State<Arc<dyn Backend>>) -> Response {
    finish(backend.reload(), json).await
}

async fn config(State(backend): State<Arc<dyn Backend>>, RawQuery(query): RawQuery) -> Response {
    let secrets = match query.as_deref() {
        None | Some("secrets=0") => Secrets::Masked,
        Some("secrets=1") => Secrets::Shown,
        Some(_) => {
            return problem(StatusCode::BAD_REQUEST, "only ?secrets=0 or ?secrets=1 may follow the path");
        }
    };
    // A string is answered as text/plain.
    finish(backend.config(secrets), IntoResponse::into_response).await
}

async fn server(
    State(backend): State<Arc<dyn Backend>>,
    order: Result<Json<ServerOrder>, JsonRejection>,
) -> Response {
    let order = match order {
        Ok(Json(order)) => order,
        Err(error) => {
            let text = format!(
                "{}; wanted is {{\"virtual_server\": …, \"real_server\": …, \"action\": \"drain\"}}",
                error.body_text()
            );
            return problem(error.status(), &text);
        }
    };
    let shown = |answer: Result<ServerDone, String>| match answer {
        Ok(done) => json(done),
        Err(error) => problem(StatusCode::NOT_FOUND, &error),
    };
    finish(backend.server(order), shown).await
}

async fn plan(
    State(backend): State<Arc<dyn Backend>>,
    request: Result<Json<PlanRequest>, JsonRejection>,
) -> Response {
    match request {
        Ok(Json(request)) => finish(backend.plan(request), possible).await,
        Err(error) => {
            let text =
                format!("{}; wanted is {{}} or {{\"file\": \"/etc/lbd/new.conf\"}}", error.body_text());
            problem(error.status(), &text)
        }
    }
}

async fn handover(State(backend): State<Arc<dyn Backend>>) -> Response {
    finish(backend.handover(), possible).await
}

/// What could not be done now.
fn possible<T: serde::Serialize>(answer: Result<T, String>) -> Response {
    match answer {
        Ok(done) => json(done),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error),
    }
}

/// As [`Json`], whose buffer takes twice the time: a status may be of ten megabytes.
fn json<T: serde::Serialize>(answer: T) -> Response {
    match serde_json::to_vec(&answer) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// On a task of its own: an asker who goes away must not stop it half-way, and a panic in it must
/// not end the connection without an answer.
async fn finish<T: Send + 'static>(answer: Answer<T>, shown: fn(T) -> Response) -> Response {
    match tokio::spawn(answer).await {
        Ok(answer) => shown(answer),
        Err(error) => {
            tracing::error!(%error, "control socket: a request failed");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the request failed inside lbd; see its log")
        }
    }
}

/// A long body is refused by what it announces; one that does not say is cut off by the handler that reads it.
async fn limit_body(request: Request, next: Next) -> Response {
    if request.body().size_hint().lower() > MAX_BODY {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 65536 octets");
    }
    next.run(request).await
}

fn problem(status: StatusCode, error: &str) -> Response {
    (status, Json(Problem { error: error.to_owned() })).into_response()
}
