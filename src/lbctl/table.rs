//! `lbctl status` for people.
//!
//! Here: a [`Status`] as text, the same for the same `now`. Not here: where it comes from.

use std::time::Duration;

use super::Look;
use crate::control::status::{
    CheckState, CheckStatus, ForeignStatus, InstanceStatus, RealServerState, RealServerStatus, StaticStatus,
    Status, SyncDaemonStatus, SyncGroupStatus, VirtualServerState, VirtualServerStatus, VrrpStatus,
};

/// The whole answer.
pub fn render(status: &Status, look: Look) -> String {
    let mut page = Page { text: String::new(), look };
    page.head(status);
    page.virtual_servers(&status.virtual_servers);
    page.instances(&status.vrrp.instances);
    page.sync_groups(&status.vrrp.sync_groups);
    page.fixed(&status.vrrp.static_entries);
    page.foreign(&status.vrrp.foreign);
    page.text
}

/// `text` without control characters but line ends and tabs: results of checks come from outside and
/// must not steer the terminal.
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => clean.push(character),
            control if control.is_control() => clean.extend(control.escape_default()),
            other => clean.push(other),
        }
    }
    clean
}

/// `12s`, `3m12s`, `2h05m`, `4d02h`.
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// How something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Warn => Some("33"),
            Tone::Bad => Some("31"),
            Tone::Dim => Some("2"),
        }
    }
}

/// A word or some with its tone.
struct Cell {
    text: String,
    tone: Tone,
}

fn cell(text: impl Into<String>) -> Cell {
    toned(text, Tone::Plain)
}

fn toned(text: impl Into<String>, tone: Tone) -> Cell {
    Cell { text: text.into(), tone }
}

/// A line of a table: columns, or a remark between the rows.
enum Row {
    Columns(Vec<Cell>),
    Remark(Cell),
}

struct Page {
    text: String,
    look: Look,
}

impl Page {
    fn head(&mut self, status: &Status) {
        let config = &status.config;
        let uptime = Duration::try_from_secs_f64(status.uptime_s).unwrap_or_default();
        let router_id = status.router_id.as_ref().map(|id| format!(" on {id}")).unwrap_or_default();
        self.line(&cell(format!(
            "lbd {}{router_id}, up {}, configuration generation {} of {}, loaded {}",
            status.version,
            short(uptime),
            config.generation,
            config.path,
            match self.since(&config.loaded_at) {
                age if age == config.loaded_at || age == NEVER => age,
                age => format!("{age} ago"),
            }
        )));
        if let Some(error) = &config.last_error {
            self.line(&toned("The last reload was refused; the configuration before it goes on:", Tone::Bad));
            self.text.push_str(&indented(&clean(error.trim_end())));
        }
        let ipvs = &status.ipvs;
        self.line(&cell(format!(
            "IPVS: {} writes, {} dumps, {} errors, {} repaired",
            ipvs.writes, ipvs.dumps, ipvs.errors, ipvs.drift_repaired
        )));
        if let Some(error) = &ipvs.last_error {
            self.line(&toned(format!("IPVS: {error}"), Tone::Bad));
        }
        // The first is the one that was just told.
        for refused in ipvs.refused.iter().skip(1) {
            self.line(&toned(format!("  refused: {refused}"), Tone::Bad));
        }
        self.losses(&status.vrrp);
        for daemon in &ipvs.sync_daemons {
            let SyncDaemonStatus { role, interface, id } = daemon;
            self.line(&cell(format!("Connection synchronisation: {role} on {interface}, id {id}")));
        }
        if let Some(error) = &ipvs.sync_error {
            self.line(&toned(format!("Connection synchronisation: {error}"), Tone::Bad));
        }
        for leaving in &ipvs.leaving {
            let connections = match leaving.connections {
                Some(connections) => format!("{connections} connections"),
                None => "its connections".to_owned(),
            };
            let (server, of) = (&leaving.real_server, &leaving.virtual_server);
            self.line(&toned(
                format!(
                    "{server} has left {of} and waits for {connections}, until {} at most",
                    leaving.until
                ),
                Tone::Warn,
            ));
        }
    }

    /// Datagrams of VRRP that were lost on this host.
    fn losses(&mut self, vrrp: &VrrpStatus) {
        let lost = [
            (vrrp.send_errors, "adverts or gratuitous ARP could not be sent"),
            (vrrp.receive_overflows, "datagrams came while the receive buffer was full"),
            (vrrp.malformed, "datagrams were cut short or no IP at all"),
        ];
        let lost: Vec<String> = lost
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !lost.is_empty() {
            self.line(&toned(format!("VRRP: {}", lost.join(", ")), Tone::Warn));
        }
    }

    fn virtual_servers(&mut self, servers: &[VirtualServerStatus]) {
        if servers.is_empty() {
            return;
        }
        let mut rows =
            vec![heads(&["VIRTUAL SERVER", "STATE", "WEIGHT", "ACTIVE", "INACTIVE", "SINCE", "CHECKS"])];
        for server in servers {
            let (state, tone) = match server.state {
                VirtualServerState::Up => ("up", Tone::Good),
                VirtualServerState::Sorry => ("sorry", Tone::Warn),
                VirtualServerState::Down => ("down", Tone::Bad),
            };
            rows.push(Row::Columns(vec![
                cell(&server.id),
                toned(state, tone),
                cell(server.alive_weight.to_string()),
                cell(""),
                cell(""),
                cell(""),
                cell(about(server)),
            ]));
            rows.extend(server.real_servers.iter().map(|real| self.real_server(real)));
        }
        self.table(&rows);
    }

    fn real_server(&self, real: &RealServerStatus) -> Row {
        let checks: Vec<String> = real.checks.iter().map(check).collect();
        let weight = real.slow_start.as_ref().map_or(real.effective_weight, |slow| slow.weight);
        Row::Columns(vec![
            cell(format!("  {}", real.address)),
            self.state(real),
            cell(now_of(weight, real.weight)),
            cell(real.active_connections.to_string()),
            cell(real.inactive_connections.to_string()),
            cell(self.since(&real.since)),
            cell(if checks.is_empty() { "none".to_owned() } else { checks.join("; ") }),
        ])
    }

    /// The state, with what makes it so besides the checks.
    fn state(&self, real: &RealServerStatus) -> Cell {
        let (state, tone) = match real.state {
            RealServerState::Up => ("up", Tone::Good),
            RealServerState::Down => ("down", Tone::Bad),
            RealServerState::Inhibited => ("inhibited", Tone::Bad),
            RealServerState::Drained => ("drained", Tone::Warn),
            RealServerState::Unknown => ("unknown", Tone::Dim),
        };
        let left = |until: &str| match humantime::parse_rfc3339_weak(until) {
            Ok(until) => short(until.duration_since(self.look.now).unwrap_or_default()),
            Err(_) => until.to_owned(),
        };
        if let Some(order) = &real.order {
            return toned(format!("{state}, by {order}"), if tone == Tone::Good { Tone::Warn } else { tone });
        }
        if real.kept {
            return toned("fails, kept", Tone::Bad);
        }
        if let Some(until) = &real.held_until {
            return toned(format!("held out, {} left", left(until)), Tone::Warn);
        }
        match &real.slow_start {
            Some(slow) => toned(format!("{state}, slow start, {} left", left(&slow.until)), tone),
            None => toned(state, tone),
        }
    }

    fn instances(&mut self, instances: &[InstanceStatus]) {
        if instances.is_empty() {
            return;
        }
        let mut rows = vec![heads(&[
            "VRRP INSTANCE",
            "INTERFACE",
            "VRID",
            "STATE",
            "SINCE",
            "PRIORITY",
            "MASTER",
            "ADVERTS IN/OUT",
            "ADDRESSES",
        ])];
        for instance in instances {
            let addresses = match instance.addresses.split_at_checked(ADDRESSES) {
                Some((first, rest)) if !rest.is_empty() => {
                    format!("{} and {} more", first.join(" "), rest.len())
                }
                _ => instance.addresses.join(" "),
            };
            rows.push(Row::Columns(vec![
                cell(&instance.name),
                cell(&instance.interface),
                cell(format!("{} v{} {}", instance.vrid, instance.version, instance.family)),
                toned(&instance.state, vrrp_tone(&instance.state)),
                cell(self.since(&instance.since)),
                cell(now_of(u32::from(instance.effective_priority), u32::from(instance.priority))),
                cell(match (&instance.master, instance.master_priority) {
                    (Some(master), Some(priority)) => format!("{master} ({priority})"),
                    (Some(master), None) => master.clone(),
                    (None, _) => NEVER.to_owned(),
                }),
                cell(format!("{}/{}", instance.adverts_received, instance.adverts_sent)),
                cell(addresses),
            ]));
            rows.extend(sum(instance).map(|text| Row::Remark(toned(text, Tone::Dim))));
            rows.extend(
                instance
                    .fault_reasons
                    .iter()
                    .map(|reason| Row::Remark(toned(format!("  fault: {reason}"), Tone::Bad))),
            );
            rows.extend(missing(instance.missing.clone()));
            if instance.repaired > 0 {
                let text = format!("  put back after others removed it: {} times", instance.repaired);
                rows.push(Row::Remark(toned(text, Tone::Warn)));
            }
            rows.extend(instance.conditions.iter().map(|condition| {
                let detail = if condition.detail.is_empty() { "" } else { ": " };
                Row::Remark(toned(
                    format!(
                        "  {} for {}{detail}{}",
                        condition.name,
                        self.since(&condition.since),
                        condition.detail
                    ),
                    if condition.name == "split_brain" { Tone::Bad } else { Tone::Warn },
                ))
            }));
            if !instance.adverts_dropped.is_empty() {
                let causes: Vec<String> = instance
                    .adverts_dropped
                    .iter()
                    .map(|(cause, count)| format!("{cause} {count}"))
                    .collect();
                rows.push(Row::Remark(toned(
                    format!("  adverts dropped: {}", causes.join(", ")),
                    Tone::Warn,
                )));
            }
        }
        self.table(&rows);
    }

    fn sync_groups(&mut self, groups: &[SyncGroupStatus]) {
        if groups.is_empty() {
            return;
        }
        let mut rows = vec![heads(&["SYNC GROUP", "STATE", "SINCE", "MEMBERS"])];
        rows.extend(groups.iter().map(|group| {
            Row::Columns(vec![
                cell(&group.name),
                toned(&group.state, vrrp_tone(&group.state)),
                cell(self.since(&group.since)),
                cell(group.members.join(" ")),
            ])
        }));
        self.table(&rows);
    }

    /// What is static, in numbers, and what of it is missing.
    fn fixed(&mut self, fixed: &StaticStatus) {
        let kinds = [("addresses", &fixed.addresses), ("routes", &fixed.routes), ("rules", &fixed.rules)];
        if kinds.iter().all(|(_, entries)| entries.is_empty()) {
            return;
        }
        let mut rows = vec![heads(&["STATIC", "PRESENT", "REPAIRED"])];
        for (kind, entries) in kinds.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            let present = entries.iter().filter(|entry| entry.present).count();
            let tone = if present == entries.len() { Tone::Good } else { Tone::Bad };
            let repaired: u64 = entries.iter().map(|entry| entry.repaired).sum();
            rows.push(Row::Columns(vec![
                cell(kind),
                toned(format!("{present} of {}", entries.len()), tone),
                cell(repaired.to_string()),
            ]));
            let absent = entries.iter().filter(|entry| !entry.present).map(|entry| match &entry.error {
                Some(error) => format!("{}: {error}", entry.entry),
                None => entry.entry.clone(),
            });
            rows.extend(missing(absent.collect()));
        }
        self.table(&rows);
    }

    fn foreign(&mut self, foreign: &[ForeignStatus]) {
        if foreign.is_empty() {
            return;
        }
        let mut rows = vec![heads(&["NOT CONFIGURED HERE", "INTERFACE", "SOURCE", "LAST HEARD", "ADVERTS"])];
        rows.extend(foreign.iter().take(FOREIGN).map(|one| {
            Row::Columns(vec![
                cell(format!("VRID {} {}", one.vrid, one.family)),
                cell(&one.interface),
                cell(&one.source),
                cell(self.since(&one.last_at)),
                cell(one.adverts.to_string()),
            ])
        }));
        if let Some(more) = foreign.len().checked_sub(FOREIGN).filter(|more| *more > 0) {
            rows.push(Row::Remark(cell(format!("and {more} more"))));
        }
        self.table(&rows);
    }

    /// An empty line, then the rows with aligned columns.
    fn table(&mut self, rows: &[Row]) {
        let mut widths: Vec<usize> = Vec::new();
        for row in rows {
            let Row::Columns(cells) = row else { continue };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(one_line(&cell.text).chars().count());
            }
        }
        self.text.push('\n');
        for row in rows {
            match row {
                Row::Remark(remark) => self.line(remark),
                Row::Columns(cells) => {
                    // Spaces wait for the next word, so that no line ends in them.
                    let mut gap = 0;
                    for (width, cell) in widths.iter().zip(cells) {
                        let text = one_line(&cell.text);
                        let length = text.chars().count();
                        if length > 0 {
                            self.text.extend(std::iter::repeat_n(' ', gap));
                            gap = 0;
                            self.paint(&text, cell.tone);
                        }
                        gap += width - length + GAP;
                    }
                    self.text.push('\n');
                }
            }
        }
    }

    fn line(&mut self, cell: &Cell) {
        self.paint(&one_line(&cell.text), cell.tone);
        self.text.push('\n');
    }

    fn paint(&mut self, text: &str, tone: Tone) {
        match tone.code().filter(|_| self.look.colour) {
            Some(code) => self.text.extend(["\x1b[", code, "m", text, "\x1b[0m"]),
            None => self.text.push_str(text),
        }
    }

    /// Time from an RFC 3339 time to now; what is no such time is shown as it is.
    fn since(&self, at: &str) -> String {
        match humantime::parse_rfc3339_weak(at) {
            // Clocks are set: what lies in the future began just now.
            Ok(at) => short(self.look.now.duration_since(at).unwrap_or_default()),
            Err(_) if at.is_empty() => NEVER.to_owned(),
            Err(_) => at.to_owned(),
        }
    }
}

/// Shown for a time that there is not.
const NEVER: &str = "-";
/// Columns are this far apart.
const GAP: usize = 2;
/// Addresses of an instance that are shown.
const ADDRESSES: usize = 4;
/// Virtual routers that are not configured here that are shown.
const FOREIGN: usize = 8;

/// Missing entries of an instance, or of a kind, that are shown.
const MISSING: usize = 8;

/// What is not in the kernel, the first ones.
fn missing(what: Vec<String>) -> impl Iterator<Item = Row> {
    let more = what.len().checked_sub(MISSING).filter(|more| *more > 0);
    let lines = what.into_iter().take(MISSING).map(|what| format!("  missing: {what}"));
    let lines = lines.chain(more.map(|more| format!("  missing: {more} more")));
    lines.map(|line| Row::Remark(toned(line, Tone::Bad)))
}

fn heads(names: &[&str]) -> Row {
    Row::Columns(names.iter().map(|name| toned(*name, Tone::Dim)).collect())
}

fn vrrp_tone(state: &str) -> Tone {
    match state {
        "MASTER" => Tone::Good,
        "FAULT" => Tone::Bad,
        "INIT" => Tone::Dim,
        _ => Tone::Plain,
    }
}

/// What is not in the columns of a virtual server.
fn about(server: &VirtualServerStatus) -> String {
    let mut about = format!("{} {}, quorum {}", server.scheduler, server.forwarding, server.quorum);
    if server.persistence_timeout_s > 0 {
        about.push_str(&format!(", persistent {} s", server.persistence_timeout_s));
    }
    if let Some(sorry) = &server.sorry_server {
        let active = if sorry.active { " answers" } else { "" };
        about.push_str(&format!(", sorry server {}{active}", sorry.address));
    }
    about
}

/// `TCP_CHECK up: connected (0.4 ms)`
fn check(check: &CheckStatus) -> String {
    let state = match check.state {
        CheckState::Up => "up",
        CheckState::Down => "down",
        CheckState::Unknown => "not run yet",
    };
    let mut text = format!("{} {state}", check.kind);
    if let Some(result) = &check.last_result {
        text.push_str(&format!(": {result}"));
    }
    if let Some(latency) = check.latency_ms {
        text.push_str(&format!(" ({latency:.1} ms)"));
    }
    text
}

/// What makes the effective priority, where it is another than the one set.
pub(super) fn sum(instance: &InstanceStatus) -> Option<String> {
    let (set, effective) = (i64::from(instance.priority), i64::from(instance.effective_priority));
    // An older lbd does not say why.
    if set == effective || instance.priority_contributions.is_empty() {
        return None;
    }
    let mut text = format!("  priority {set}");
    let mut total = set;
    for one in instance.priority_contributions.iter().filter(|one| one.contribution != 0) {
        let sign = if one.contribution < 0 { '-' } else { '+' };
        let points = one.contribution.unsigned_abs();
        text.push_str(&format!(" {sign} {points} ({} {} {})", one.kind, one.name, one.state));
        total += i64::from(one.contribution);
    }
    let kept = if total == effective { "" } else { ", the limit" };
    text.push_str(&format!(" = {effective}{kept}"));
    Some(text)
}

/// The value that holds, and the one set when it is another.
fn now_of(now: u32, set: u32) -> String {
    if now == set { now.to_string() } else { format!("{now} (set {set})") }
}

fn one_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
