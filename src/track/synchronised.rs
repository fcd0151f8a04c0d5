//! preempt_sync_time, preempt_sync_share: after a start a master of a lower priority is let be until enough of its
//! connections are known here.
//!
//! Here: when that is (pure), and the task that looks every second. Not here: what it means for a virtual router
//! (`lbd_vrrp`), connection synchronisation itself (`director::sync`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use lbd_grammar::config::PreemptSync;
use lbd_ipvs::SyncState;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::control::snapshot::{Parts, Shared};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Time for the peer's answer.
const PEER_LIMIT: Duration = Duration::from_secs(2);
/// Longest answer of the peer, in octets: some hundred thousand real servers.
const LONGEST: usize = 64 << 20;

/// What is known at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// For how long the kernel has been receiving connections.
    pub synchronised: Option<Duration>,
    /// Connections here and at the peer.
    pub connections: Option<(u64, u64)>,
}

/// Why a virtual router need not wait any longer; `None` while it must. `waited`: since the start.
pub fn over(rule: &PreemptSync, waited: Duration, look: &Look) -> Option<String> {
    if waited >= rule.limit {
        return Some(format!("the limit of {} s is over", rule.limit.as_secs()));
    }
    if let (Some(time), Some(synchronised)) = (rule.time, look.synchronised)
        && synchronised >= time
    {
        return Some(format!("connections have been synchronised for {} s", time.as_secs()));
    }
    if let (Some((percent, _)), Some((here, there))) = (&rule.share, look.connections)
        && u128::from(here) * 100 >= u128::from(there) * u128::from(*percent)
    {
        return Some(format!("{here} connections are known here, the peer has {there}"));
    }
    None
}

/// Looks until no virtual router waits any longer, and tells `hold` each time that one need not any more which
/// still do.
pub async fn run(
    rules: Vec<(Arc<str>, PreemptSync)>,
    started: Instant,
    shared: Arc<Shared>,
    hold: impl Fn(BTreeSet<Arc<str>>),
) {
    let mut waiting: BTreeMap<Arc<str>, PreemptSync> = rules.into_iter().collect();
    let mut since: Option<Instant> = None;
    let mut silent = BTreeSet::new();
    while !waiting.is_empty() {
        tokio::time::sleep(LOOK).await;
        let Parts { sync, .. } = shared.parts().clone();
        let receives = sync.is_some_and(|sync| sync.status().running.contains_key(&SyncState::Backup));
        since = if receives { since.or(Some(Instant::now())) } else { None };
        let here = connections(&shared).await;
        let mut peers: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for url in waiting.values().filter_map(|rule| rule.share.as_ref()).map(|(_, url)| url) {
            if !peers.contains_key(url) {
                let there = ask(url, &mut silent).await;
                peers.insert(url.clone(), there);
            }
        }
        let before = waiting.len();
        waiting.retain(|name, rule| {
            let there = rule.share.as_ref().and_then(|(_, url)| peers.get(url).copied().flatten());
            let look =
                Look { synchronised: since.map(|since| since.elapsed()), connections: here.zip(there) };
            let why = over(rule, started.elapsed(), &look);
            if let Some(why) = &why {
                info!(instance = %name, "({name}) may take over from a lower priority: {why}");
            }
            why.is_none()
        });
        if waiting.len() != before {
            hold(waiting.keys().cloned().collect());
        }
    }
}

/// Connections in this host's table; `None` where there is none.
async fn connections(shared: &Shared) -> Option<u64> {
    let checkers = shared.parts().checkers.clone()?;
    let (servers, _) = checkers.status().await.ok()?;
    let real = servers.iter().flat_map(|server| &server.real_servers);
    Some(real.map(|real| u64::from(real.active_connections) + u64::from(real.inactive_connections)).sum())
}

async fn ask(url: &str, silent: &mut BTreeSet<String>) -> Option<u64> {
    let answer = tokio::time::timeout(PEER_LIMIT, fetch(url)).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", PEER_LIMIT.as_secs())));
    match answer {
        Ok(count) => {
            silent.remove(url);
            Some(count)
        }
        Err(error) => {
            if silent.insert(url.to_owned()) {
                warn!(
                    url,
                    error, "preempt_sync_share: the peer's status cannot be had; asking again every second"
                );
            }
            None
        }
    }
}

/// What of a status is looked at.
#[derive(Debug, Deserialize)]
struct PeerStatus {
    virtual_servers: Vec<PeerService>,
}

#[derive(Debug, Deserialize)]
struct PeerService {
    real_servers: Vec<PeerServer>,
}

#[derive(Debug, Deserialize)]
struct PeerServer {
    active_connections: u64,
    inactive_connections: u64,
}

fn count(body: &[u8]) -> Result<u64, String> {
    let status: PeerStatus = serde_json::from_slice(body).map_err(|error| format!("no status: {error}"))?;
    let real = status.virtual_servers.iter().flat_map(|server| &server.real_servers);
    Ok(real.fold(0, |sum: u64, one| {
        sum.saturating_add(one.active_connections).saturating_add(one.inactive_connections)
    }))
}

async fn fetch(url: &str) -> Result<u64, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let uri: Uri = url.parse().map_err(|error| text(&error))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    // Ends with this, also when the peer is waited for no longer.
    let mut talking = JoinSet::new();
    talking.spawn(async move {
        let _ended = connection.await;
    });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header("Host", authority).header("Connection", "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| text(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("status {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    count(&body.map_err(|error| text(&error))?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn when_it_is_over() {
        let secs = Duration::from_secs;
        let time = PreemptSync { time: Some(secs(30)), ..PreemptSync::default() };
        let share = PreemptSync { share: Some((80, "http://p/".into())), ..PreemptSync::default() };
        let both = PreemptSync { time: Some(secs(30)), ..share.clone() };
        let short = PreemptSync { limit: secs(5), ..time.clone() };
        let synchronised = |seconds| Look { synchronised: Some(secs(seconds)), ..Look::default() };
        let counted = |here, there| Look { connections: Some((here, there)), ..Look::default() };
        let nothing = Look::default();
        for (name, rule, waited, look, want) in [
            ("nothing is known", &time, 10, nothing, false),
            ("not long enough", &time, 60, synchronised(29), false),
            ("long enough", &time, 60, synchronised(30), true),
            ("counts are not asked for", &time, 60, counted(100, 100), false),
            ("the limit", &time, 300, nothing, true),
            ("another limit", &short, 5, synchronised(4), true),
            ("too few", &share, 10, counted(79, 100), false),
            ("enough", &share, 10, counted(80, 100), true),
            ("the peer has none", &share, 10, counted(0, 0), true),
            ("very many", &share, 10, counted(u64::MAX, u64::MAX), true),
            ("time is not asked for", &share, 60, synchronised(60), false),
            ("the first of both", &both, 10, counted(9, 10), true),
            ("the other of both", &both, 40, synchronised(31), true),
        ] {
            assert_eq!(over(rule, secs(waited), &look).is_some(), want, "{name}");
        }
    }

    /// A peer that answers so.
    async fn peer(answer: String) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            let _some = stream.read(&mut request).await;
            let _gone = stream.write_all(answer.as_bytes()).await;
        });
        format!("http://{address}/status")
    }

    #[tokio::test]
    async fn the_peer_is_asked() {
        let body = r#"{"virtual_servers":[{"real_servers":[
            {"active_connections":3,"inactive_connections":4,"more":true},{"active_connections":1,"inactive_connections":0}]}]}"#;
        let ok = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for (name, answer, want) in [
            ("a status", ok, Some(8)),
            ("an error", "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".into(), None),
            ("no status", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".into(), None),
            ("no HTTP", "hello\r\n".into(), None),
            ("cut off", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".into(), None),
        ] {
            let url = peer(answer).await;
            let mut silent = BTreeSet::new();
            assert_eq!(ask(&url, &mut silent).await, want, "{name}");
            assert_eq!(silent.is_empty(), want.is_some(), "{name}: told");
        }
    }
}
