//! Server and client together over a socket in a temporary directory.

use std::future;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lbd_grammar::Secrets;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::client::{Client, ClientError};
use super::plan::{Plan, PlanRequest};
use super::server::{Answer, Backend, BindError, ControlSocket};
use super::status::Status;
use super::{HandoverStarted, Problem, ReloadOutcome, ServerDone, ServerOrder};

/// A daemon that counts its reloads; `held` makes them wait for `go`.
#[derive(Default)]
struct Fake {
    reloads: Arc<AtomicU64>,
    held: bool,
    started: Arc<Notify>,
    go: Arc<Notify>,
    panics: bool,
}

impl Backend for Fake {
    fn status(&self) -> Answer<Status> {
        let panics = self.panics;
        Box::pin(async move {
            assert!(!panics, "a mistake inside lbd");
            Status { version: "9.9.9".into(), uptime_s: 1.5, ..Status::default() }
        })
    }

    fn config(&self, secrets: Secrets) -> Answer<String> {
        let panics = self.panics;
        Box::pin(async move {
            assert!(!panics, "a mistake inside lbd");
            format!("{}{secrets:?}\n", "# as large as thousands of servers\n".repeat(200_000))
        })
    }

    fn server(&self, order: ServerOrder) -> Answer<Result<ServerDone, String>> {
        Box::pin(async move {
            if order.virtual_server == "mail" {
                return Err("there is no virtual server `mail`; there are `web`".to_owned());
            }
            let message = format!("{:?}", order.action);
            let ServerOrder { virtual_server, real_server, .. } = order;
            Ok(ServerDone { virtual_server, real_server, message })
        })
    }

    fn plan(&self, request: PlanRequest) -> Answer<Result<Plan, String>> {
        Box::pin(
            async move { Ok(Plan { file: request.file.unwrap_or_default(), ok: true, ..Plan::default() }) },
        )
    }

    fn handover(&self) -> Answer<Result<HandoverStarted, String>> {
        // Of a process that has ended.
        Box::pin(async { Ok(HandoverStarted { pid: u32::MAX }) })
    }

    fn reload(&self) -> Answer<ReloadOutcome> {
        let (reloads, held) = (Arc::clone(&self.reloads), self.held);
        let (started, go) = (Arc::clone(&self.started), Arc::clone(&self.go));
        Box::pin(async move {
            started.notify_one();
            if held {
                go.notified().await;
            }
            let generation = reloads.fetch_add(1, Ordering::Relaxed) + 2;
            go.notify_one();
            ReloadOutcome { ok: true, generation, ..ReloadOutcome::default() }
        })
    }
}

struct Server {
    dir: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(backend: Fake) -> Server {
        let dir = tempfile::tempdir().expect("directory");
        let socket = ControlSocket::bind(&dir.path().join("run/control.sock")).expect("socket");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            socket.serve(Arc::new(backend), stopped).await.expect("served");
        });
        Server { dir, stop, task }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("run/control.sock")
    }

    async fn stop(self) -> tempfile::TempDir {
        let _stopping = self.stop.send(());
        tokio::time::timeout(LIMIT, self.task).await.expect("stops in time").expect("no panic");
        self.dir
    }

    /// Sends octets as they are and reads to the end.
    async fn raw(&self, request: Vec<u8>) -> String {
        let path = self.path();
        let exchange = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).expect("connected");
            stream.set_read_timeout(Some(LIMIT)).expect("limit");
            // The server may answer and close before it has read all.
            let _sent = stream.write_all(&request);
            let mut answer = Vec::new();
            let _ended = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        });
        exchange.await.expect("no panic")
    }
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn status_and_reload_come_through_and_the_socket_goes_with_the_server() {
    let server = Server::start(Fake::default());
    let client = Client::new(&server.path());
    let status = client.status().await.expect("status");
    assert_eq!((status.version.as_str(), status.uptime_s), ("9.9.9", 1.5));
    assert_eq!(client.reload().await.expect("outcome").generation, 2);
    assert_eq!(client.reload().await.expect("outcome").generation, 3);
    let path = server.path();
    let mode = |path: &Path| std::fs::metadata(path).expect("file").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    let directory = server.stop().await;
    let left: Vec<_> = std::fs::read_dir(directory.path().join("run")).expect("directory").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn anything_else_is_answered_with_a_problem() {
    let server = Server::start(Fake::default());
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes();
    let order_of = |kind: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "POST /v1/server HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let order = |kind: &str, body: &str| order_of(kind, body.as_bytes());
    let chunked = |body: &str| {
        let head = "POST /v1/server HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
        format!("{head}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes()
    };
    for (name, request, status, words) in [
        ("unknown path", get("/v2/status"), "404", "POST /v1/reload"),
        ("wrong method", get("/v1/reload"), "405", "wrong method"),
        (
            "wrong method",
            b"POST /v1/config HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
            "405",
            "",
        ),
        ("neither yes nor no", get("/v1/config?secrets=yes"), "400", "?secrets=1"),
        ("twice", get("/v1/config?secrets=0&secrets=1"), "400", ""),
        (
            "long body",
            b"POST /v1/reload HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 70000\r\n\r\n"
                .to_vec(),
            "413",
            "65536",
        ),
        ("no JSON", order("application/json", "drain all of them"), "400", "\"action\""),
        ("no order", order("application/json", "[1, 2]"), "422", "\"action\""),
        (
            "no action",
            order("application/json", "{\"virtual_server\": \"web\", \"real_server\": \"x\"}"),
            "422",
            "action",
        ),
        (
            "unknown action",
            order(
                "application/json",
                "{\"virtual_server\": \"web\", \"real_server\": \"x\", \"action\": \"reboot\"}",
            ),
            "422",
            "reboot",
        ),
        (
            "weight below zero",
            order(
                "application/json",
                "{\"virtual_server\": \"web\", \"real_server\": \"x\", \"action\": \"weight\", \"weight\": -1}",
            ),
            "422",
            "wanted is",
        ),
        ("not said to be JSON", order("text/plain", "{}"), "415", "wanted is"),
        (
            "an order in octets that are no text",
            order_of("application/json", b"\xff\xfe{"),
            "400",
            "wanted is",
        ),
        (
            "an order that is too long and does not say so",
            chunked(&format!("{{\"virtual_server\": \"{}\"", "x".repeat(70_000))),
            "413",
            "wanted is",
        ),
        ("long head", get(&"x".repeat(20_000)), "4", ""),
        ("not HTTP", b"\x16\x03\x01hello\r\n\r\n".to_vec(), "400", ""),
    ] {
        let answer = server.raw(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if !words.is_empty() {
            let problem: Problem = serde_json::from_str(body).expect(name);
            assert!(problem.error.contains(words), "{name}: {problem:?}");
        }
    }
    Client::new(&server.path()).status().await.expect("it still serves");
    server.stop().await;
}

#[tokio::test]
async fn a_panic_in_the_daemon_is_answered() {
    let server = Server::start(Fake { panics: true, ..Fake::default() });
    let client = Client::new(&server.path());
    for answer in [client.status().await.map(drop), client.config(Secrets::Masked).await.map(drop)] {
        match answer {
            Err(ClientError::Problem { status, .. }) => assert_eq!(status.as_u16(), 500),
            other => panic!("{other:?}"),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_configuration_is_plain_text_without_secrets_unless_asked_for() {
    let server = Server::start(Fake::default());
    let client = Client::new(&server.path());
    for (path, secrets) in [
        ("/v1/config", Secrets::Masked),
        ("/v1/config?secrets=0", Secrets::Masked),
        ("/v1/config?secrets=1", Secrets::Shown),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = server.raw(request.into_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/plain"), "{head}");
        assert!(body.len() > 4_000_000 && body.ends_with(&format!("\n{secrets:?}\n")), "{path}");
        assert!(client.config(secrets).await.expect("text") == body.as_bytes(), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_reload_goes_on_when_its_asker_has_gone() {
    let fake = Fake { held: true, ..Fake::default() };
    let (reloads, started, go) = (Arc::clone(&fake.reloads), Arc::clone(&fake.started), Arc::clone(&fake.go));
    let server = Server::start(fake);
    let client = Client::new(&server.path());
    tokio::select! {
        gone = client.reload() => panic!("answered early: {gone:?}"),
        () = started.notified() => {} // drops the request
    }
    // The server saw the end of that connection before it answered on a later one.
    for _ in 0..3 {
        client.status().await.expect("status");
    }
    go.notify_one();
    let done = async {
        while reloads.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, done).await.expect("the reload was done");
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn silent_connections_do_not_keep_others_out_for_good_nor_the_server_from_stopping() {
    let server = Server::start(Fake::default());
    let silent: Vec<UnixStream> = (0..super::server::MAX_CONNECTIONS)
        .map(|_| UnixStream::connect(server.path()).expect("connected"))
        .collect();
    let client = Client::new(&server.path());
    // All slots are taken until HEAD_TIME is over.
    tokio::time::timeout(LIMIT, client.status()).await.expect("in time").expect("status");
    server.stop().await;
    drop(silent);
}

#[test]
fn a_second_daemon_is_told_from_a_stale_socket() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("control.sock");
    let first = ControlSocket::bind(&path).expect("first");
    let error = ControlSocket::bind(&path).expect_err("second");
    assert!(
        matches!(error, BindError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("running already (pid ") && text.contains("--control-socket"), "{text}");
    drop(first);
    assert!(!path.exists());

    drop(UnixListener::bind(&path).expect("left by a dead process"));
    assert!(path.exists());
    drop(ControlSocket::bind(&path).expect("the stale socket is replaced"));

    let _answers = UnixListener::bind(&path).expect("served by another, whose lock file was removed");
    let error = ControlSocket::bind(&path).expect_err("in use");
    assert!(matches!(error, BindError::InUse { pid: None, .. }), "{error:?}");
    assert!(path.exists());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("precious");
    std::fs::write(&path, "data").expect("file");
    assert!(matches!(ControlSocket::bind(&path), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).expect("file"), "data");
    let long = dir.path().join("x".repeat(120));
    assert!(matches!(ControlSocket::bind(&long), Err(BindError::TooLong(_))));
    let error = ControlSocket::bind(Path::new("/dev/null/control.sock")).expect_err("no directory");
    assert!(error.to_string().starts_with("control socket /dev/null/control.sock: "), "{error}");
}

#[tokio::test]
async fn the_client_says_what_to_do() {
    let dir = tempfile::tempdir().expect("directory");
    let missing = dir.path().join("missing.sock");
    let dead = dir.path().join("dead.sock");
    drop(UnixListener::bind(&dead).expect("socket"));
    let other = dir.path().join("other.sock");
    let listener = UnixListener::bind(&other).expect("socket");
    let talker = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().expect("connection");
        stream.write_all(b"220 mail.example ESMTP\r\n").expect("sent");
    });
    for (path, words) in [
        (&missing, "is lbd running (`systemctl status lbd`)? Another place is named with --socket"),
        (&dead, "nobody answers there"),
        (&other, "is this the control socket of an lbd"),
    ] {
        let text = Client::new(path).status().await.expect_err(words).to_string();
        assert!(text.starts_with(&path.display().to_string()), "{text}");
        assert!(text.contains(words), "{text}");
    }
    talker.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_answer_is_given_up() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("hangs.sock");
    let _listener = UnixListener::bind(&path).expect("socket");
    let client = Client::new(&path);
    let error = tokio::select! {
        answer = client.status() => answer.expect_err("no answer"),
        () = future::pending() => unreachable!("pending"),
    };
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("no answer within 15 s"), "{error}");
}
