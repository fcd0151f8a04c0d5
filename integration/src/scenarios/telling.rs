//! What is told of changes, to whom and in which order: lines of lvs_notify_fifo, scripts, mails.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Ctx;
use super::behind::{self, VIP};
use crate::director::Daemon;
use crate::fifo::{Fifo, Script, executable};
use crate::servers::Server;
use crate::servers::mail::Mailbox;
use crate::{step, table, wait};

const ONE: &str = "10.1.0.21:80";
const TWO: &str = "10.1.0.22:80";
const KEY: &str = "TCP 10.0.0.100:80";

/// A real server that has each of its changes told to `script`.
fn real(address: &str, name: &str, script: &Script) -> String {
    let path = script.path();
    behind::real_server(
        address,
        &format!(
            "notify_up \"{path} {name} up\"\n    notify_down \"{path} {name} down\"\n    TCP_CHECK {{\n    }}"
        ),
    )
}

pub fn telling(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(2)?;
    let dir = tempfile::Builder::new().prefix("lbd-telling-").tempdir()?;
    let fifo = Fifo::new(&dir.path().join("fifo"))?;
    // One for each object: what is told of two objects may overlap.
    let scripts = ["r1", "r2", "quorum"]
        .map(|name| Script::logging(dir.path(), name))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let [s1, s2, sq] = scripts.as_slice() else { bail!("three scripts") };
    let mailbox = Mailbox::start(lab.host("m"), "10.0.0.30:25")?;
    let mut one = Server::start(lab.host("r1"), "r1", "0.0.0.0:80")?;
    let mut two = Server::start(lab.host("r2"), "r2", "0.0.0.0:80")?;
    let inside = format!(
        "  omega\n  quorum_up \"{quorum} up\"\n  quorum_down \"{quorum} down\"\n{}{}",
        real(ONE, "r1", s1),
        real(TWO, "r2", s2),
        quorum = sq.path()
    );
    let global = "router_id LB1\n  script_user root\n  enable_script_security\n  notification_email {\n    ops@bed.test\n    \
                  night@bed.test\n  }\n  notification_email_from lb@bed.test\n  smtp_server 10.0.0.30\n  smtp_connect_timeout 5\n  smtp_alert_checker";
    let config = |fifo: &str| {
        format!(
            "global_defs {{\n  {global}\n  {fifo}\n}}\n\
             vrrp_instance VI_1 {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  priority 150\n  advert_int 1\n  smtp_alert\n  \
             virtual_ipaddress {{\n    10.0.0.99/32\n  }}\n}}\n{}",
            behind::virtual_server(&format!("{VIP} 80"), "TCP", &inside)
        )
    };
    let ns = lab.host("a");
    let limit = behind::found_out(ctx, Duration::from_secs(1));
    let mut director =
        ctx.director("a", ns, &config(&format!("lvs_notify_fifo {}", fifo.path().display())))?;
    if ctx.daemon == Daemon::Lbd {
        // A relay that is busy is asked again.
        mailbox.refuse(1);
    }
    director.start_and_wait()?;
    table::expect_dests(ns, KEY, &[ONE, TWO], behind::START)?;
    let rs = |number: u32, word: &str| format!("RS [10.1.0.2{number}]:tcp:80 [{VIP}]:tcp:80 {word}");
    let vs = |word: &str| format!("VS [{VIP}]:tcp:80 {word}");
    let mail_rs = |number: u32, word: &str| {
        format!("[LB1] Realserver [10.1.0.2{number}]:tcp:80 of virtual server [{VIP}]:tcp:80 - {word}")
    };
    fifo.expect(&vs("UP"), 1, limit)?;
    mailbox.expect("[LB1] VRRP Instance VI_1 - Entering MASTER state", behind::START)?;
    wait::pause(Duration::from_millis(1500));

    one.close();
    fifo.expect(&rs(1, "DOWN"), 1, limit)?;
    two.close();
    fifo.expect(&vs("DOWN"), 1, limit)?;
    one.open()?;
    fifo.expect(&vs("UP"), 2, limit)?;
    two.open()?;
    fifo.expect(&rs(2, "UP"), 1, limit)?;
    mailbox.expect(&mail_rs(2, "UP"), limit)?;
    ensure!(director.stop()?.success(), "the stop failed");
    fifo.expect(&vs("DOWN"), 2, limit).context("omega")?;
    sq.expect("down", 2, limit)?;
    for script in [s1, s2] {
        wait::until("the last word of a real server", limit, || (script.lines().len() == 3).then_some(()))?;
    }

    let lines = fifo.lines();
    step!("lines: {lines:#?}");
    let of = |of: &str| -> Vec<&str> {
        lines
            .iter()
            .filter(|line| line.starts_with(of))
            .filter_map(|line| line.split(' ').next_back())
            .collect()
    };
    ensure!(of("VS ") == ["UP", "DOWN", "UP", "DOWN"], "the virtual server's lines");
    ensure!(of("RS [10.1.0.21]:tcp:80 ") == ["DOWN", "UP", "DOWN"], "r1's lines");
    ensure!(of("RS [10.1.0.22]:tcp:80 ") == ["DOWN", "UP", "DOWN"], "r2's lines");
    // While it ran, what happened first was told first, of all objects.
    let running: Vec<String> =
        vec![vs("UP"), rs(1, "DOWN"), rs(2, "DOWN"), vs("DOWN"), rs(1, "UP"), vs("UP"), rs(2, "UP")];
    ensure!(lines.starts_with(&running), "the order over all objects, want {running:#?}");
    for (script, want) in [
        (s1, ["r1 down", "r1 up", "r1 down"].as_slice()),
        (s2, &["r2 down", "r2 up", "r2 down"]),
        (sq, &["up", "down", "up", "down"]),
    ] {
        let (mut have, mut want) = (script.lines(), want.to_vec());
        if ctx.daemon == Daemon::Keepalived {
            // It lets scripts overtake each other.
            have.sort();
            want.sort_unstable();
        }
        ensure!(have == want, "{}: {:?}, want {want:?}", script.path(), script.lines());
    }

    let subjects = mailbox.subjects();
    step!("subjects: {subjects:#?}");
    for (subject, count) in [
        (mail_rs(1, "DOWN"), 1),
        (mail_rs(2, "DOWN"), 1),
        (mail_rs(1, "UP"), 1),
        (mail_rs(2, "UP"), 1),
        (format!("[LB1] Virtualserver [{VIP}]:tcp:80 - DOWN"), 1),
        (format!("[LB1] Virtualserver [{VIP}]:tcp:80 - UP"), 1),
        ("[LB1] VRRP Instance VI_1 - Entering MASTER state".to_owned(), 1),
    ] {
        let seen = subjects.iter().filter(|seen| **seen == subject).count();
        // At the start and at the stop there may be more of them.
        ensure!(seen >= count, "{subject:?} came {seen} times, want {count}");
    }
    let mail = mailbox.expect(&mail_rs(1, "DOWN"), Duration::ZERO)?;
    step!("{mail:#?}");
    ensure!(
        mail.from == "lb@bed.test" && mail.to == ["ops@bed.test", "night@bed.test"],
        "envelope: {mail:?}"
    );
    ensure!(
        mail.field("From").contains("lb@bed.test") && mail.field("To").contains("night@bed.test"),
        "{mail:?}"
    );
    ensure!(!mail.field("Date").is_empty() && !mail.body.is_empty(), "{mail:?}");

    // The same lines through a script that the daemon runs.
    let log = dir.path().join("through");
    let through = executable(dir.path(), "reader", &format!("exec cat \"$1\" >{}", log.display()))?;
    let second = dir.path().join("second");
    director.configure(&config(&format!(
        "lvs_notify_fifo {}\n  lvs_notify_fifo_script {}",
        second.display(),
        through.display()
    )))?;
    director.start_and_wait()?;
    wait::until_ok("a line that went through the script", behind::START, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default().replace('\0', "");
        if text.lines().any(|line| line == vs("UP")) { Ok(()) } else { Err(format!("{text:?}")) }
    })?;
    ensure!(director.stop()?.success(), "the stop failed");
    ensure!(!second.exists(), "the daemon left the FIFO that it made");
    Ok(())
}

/// no_checker_emails, checker_log_all_failures: a server with two checkers, of which one changes nothing while the other fails.
pub fn checkers_told(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(1)?;
    let ns = lab.host("a");
    let mailbox = Mailbox::start(lab.host("m"), "10.0.0.30:25")?;
    let mut one = Server::start(lab.host("r1"), "r1", "0.0.0.0:80")?;
    let mut other = Server::start(lab.host("r1"), "r1", "0.0.0.0:81")?;
    let limit = behind::found_out(ctx, Duration::from_secs(2));
    let checks = "TCP_CHECK {\n    }\n    TCP_CHECK {\n      connect_port 81\n    }";
    let server = behind::virtual_server(&format!("{VIP} 80"), "TCP", &behind::real_server(ONE, checks));
    for (id, keywords, want, all_failures) in [
        ("LB1", "no_checker_emails\n  checker_log_all_failures", ["DOWN", "UP"].as_slice(), true),
        ("LB2", "", &["DOWN", "DOWN", "DOWN", "UP"], false),
    ] {
        let config = format!(
            "global_defs {{\n  router_id {id}\n  smtp_server 10.0.0.30\n  notification_email {{\n    ops@bed.test\n  }}\n  \
             smtp_alert_checker\n  {keywords}\n}}\n{server}"
        );
        let mut director = ctx.director("a", ns, &config)?;
        director.start_and_wait()?;
        table::expect_dests(ns, KEY, &[ONE], behind::START)?;
        let told = || -> Vec<String> {
            let subjects = mailbox.subjects();
            let of_server =
                subjects.iter().filter_map(|one| one.strip_prefix(&format!("[{id}] Realserver ")));
            of_server.filter_map(|one| Some(one.rsplit_once(' ')?.1.to_owned())).collect()
        };
        // What one checker found is what the other finds too: only the first and the last change the server.
        let states = |want: [&str; 2]| {
            wait::until_ok("both checkers", limit, || {
                let status = director.status()?;
                let server = behind::server(&status, KEY, ONE)?;
                let states = [0, 1].map(|at| server["checks"][at]["state"].as_str().unwrap_or_default());
                ensure!(states == want, "{states:?}, want {want:?}");
                Ok::<_, anyhow::Error>(())
            })
        };
        states(["up", "up"])?;
        step!("at the start: {:?}", told());
        one.close();
        states(["down", "up"])?;
        other.close();
        states(["down", "down"])?;
        // Long enough for another try that changes nothing.
        wait::pause(behind::DELAY_LOOP * 2);
        one.open()?;
        states(["up", "down"])?;
        other.open()?;
        states(["up", "up"])?;
        wait::until_ok("mails", limit, || {
            let now = told();
            ensure!(now == want, "{now:?}, want {want:?}");
            Ok::<_, anyhow::Error>(())
        })?;
        let log = director.log();
        let tries = log
            .lines()
            .filter(|line| line.contains("TCP_CHECK of [10.1.0.21]:tcp:80 of VS ") && line.contains("INFO"));
        let tries: Vec<&str> = tries.filter(|line| line.contains(" failed")).collect();
        ensure!(tries.is_empty() != all_failures, "{keywords}: {tries:#?}");
        ensure!(director.stop()?.success(), "the stop failed");
    }
    Ok(())
}
