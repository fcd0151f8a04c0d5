//! `lbctl plan`: says what a reload then does, and does nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Ctx;
use super::steering::{self, generation, lbctl, load, refused, writes};
use crate::director::Director;
use crate::topology::{Lab, host};
use crate::{ipvsadm, step, wait};

const BEFORE: &str = "\
virtual_server 10.0.0.100 80 {
  lb_algo rr
  lb_kind NAT
  protocol TCP
  real_server 10.1.0.21 80 {
    weight 1
  }
  real_server 10.1.0.22 80 {
    weight 2
  }
  real_server 10.1.0.23 80 {
    weight 3
  }
}
virtual_server 10.0.0.101 443 {
  lb_algo rr
  lb_kind NAT
  protocol TCP
  persistence_timeout 300
  real_server 10.1.0.21 443 {
    weight 1
  }
  real_server 10.1.0.22 443 {
    weight 1
  }
}
virtual_server 10.0.0.102 53 {
  lb_algo rr
  lb_kind NAT
  protocol UDP
  drain_timeout 20
  real_server 10.1.0.21 53 {
    weight 1
  }
  real_server 10.1.0.22 53 {
    weight 1
  }
}
virtual_server fwmark 7 {
  lb_algo wlc
  lb_kind NAT
  real_server 10.1.0.21 80 {
    weight 1
  }
}
";

/// Another scheduler, weight, method and threshold; servers and services that come and go; one that drains.
const AFTER: &str = "\
global_defs {
  lvs_timeouts tcp 700 tcpfin 70 udp 170
}
virtual_server 10.0.0.100 80 {
  lb_algo wlc
  lb_kind NAT
  protocol TCP
  real_server 10.1.0.21 80 {
    weight 5
  }
  real_server 10.1.0.23 80 {
    weight 3
    uthreshold 100
    lthreshold 50
  }
  real_server 10.1.0.24 80 {
    weight 4
  }
}
virtual_server 10.0.0.102 53 {
  lb_algo rr
  lb_kind NAT
  protocol UDP
  drain_timeout 20
  real_server 10.1.0.22 53 {
    weight 1
  }
}
virtual_server fwmark 7 {
  lb_algo wlc
  lb_kind DR
  real_server 10.1.0.21 80 {
    weight 1
  }
}
virtual_server fwmark 8 {
  lb_algo rr
  lb_kind NAT
  real_server 10.1.0.21 80 {
    weight 1
  }
  real_server 10.1.0.22 80 {
    weight 1
  }
}
";

/// Operation, service, real server.
type Operation = (String, String, Option<String>);

/// Everything that a plan must leave alone.
#[derive(Debug, PartialEq, Eq)]
struct Untouched {
    rules: BTreeSet<String>,
    timeouts: Vec<u32>,
    writes: u64,
    generation: u64,
    virtual_servers: Value,
}

fn untouched(director: &Director<'_>) -> Result<Untouched> {
    let mut virtual_servers = director.peek()?["virtual_servers"].clone();
    for server in virtual_servers.as_array_mut().into_iter().flatten() {
        server["traffic"].take();
    }
    Ok(Untouched {
        rules: ipvsadm::rules(director.ns())?,
        timeouts: ipvsadm::timeouts(director.ns())?,
        writes: writes(director)?,
        generation: generation(director)?,
        virtual_servers,
    })
}

/// Services and, with a name, their servers; with all that they are.
type Objects = BTreeMap<(String, Option<String>), Vec<String>>;

/// What ipvsadm's rules say of a table.
fn objects(rules: &BTreeSet<String>) -> Result<Objects> {
    let mut objects = Objects::new();
    for rule in rules {
        let words: Vec<&str> = rule.split_whitespace().collect();
        let service = |kind: &str, key: &str| match kind {
            "-f" => format!("FWM {key} inet"),
            "-u" => format!("UDP {key}"),
            _ => format!("TCP {key}"),
        };
        let (key, is) = match words.as_slice() {
            ["-A", kind, key, is @ ..] => ((service(kind, key), None), is),
            ["-a", kind, key, "-r", server, is @ ..] => {
                ((service(kind, key), Some((*server).to_owned())), is)
            }
            ["thresholds", protocol, key, server, is @ ..] => {
                ((format!("{protocol} {key}"), Some((*server).to_owned())), is)
            }
            _ => bail!("a rule of ipvsadm that is not known: {rule}"),
        };
        objects.entry(key).or_default().extend(is.iter().map(|word| (*word).to_owned()));
    }
    Ok(objects)
}

/// The operations that make one table the other.
fn operations(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Result<Vec<Operation>> {
    let (before, after) = (objects(before)?, objects(after)?);
    let mut operations = Vec::new();
    let mut all: Vec<_> = before.keys().chain(after.keys()).collect();
    all.sort_unstable();
    all.dedup();
    for key in all {
        let what = if key.1.is_some() { "server" } else { "service" };
        let verb = match (before.get(key), after.get(key)) {
            (None, _) => "add",
            // The servers of a service go with it.
            (Some(_), None) if key.1.is_some() && !after.contains_key(&(key.0.clone(), None)) => continue,
            (Some(_), None) => "remove",
            (Some(before), Some(after)) if before != after => "change",
            _ => continue,
        };
        operations.push((format!("{verb}-{what}"), key.0.clone(), key.1.clone()));
    }
    operations.sort();
    Ok(operations)
}

fn planned(plan: &Value) -> Result<Vec<Operation>> {
    let list = plan["operations"].as_array().context("no operations")?;
    let text = |one: &Value, field: &str| one[field].as_str().map(str::to_owned);
    let mut planned = list
        .iter()
        .map(|one| {
            let (operation, service) = (text(one, "operation"), text(one, "service"));
            Ok((operation.context("operation")?, service.context("service")?, text(one, "real_server")))
        })
        .collect::<Result<Vec<_>>>()?;
    planned.sort();
    Ok(planned)
}

fn plan_json(director: &Director<'_>, file: &str, exit: i32) -> Result<Value> {
    let output = lbctl(director, &["plan", "--json", file])?;
    ensure!(output.status.code() == Some(exit), "lbctl plan --json: {output:?}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
}

pub fn plan(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm"])?;
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let mut director = ctx.director("a", lab.host("a"), BEFORE)?;
    director.start_and_wait()?;
    wait::until_ok("the table", ctx.slack(), || {
        let rules = ipvsadm::rules(director.ns())?.len();
        ensure!(rules == 4 + 8, "{rules} rules");
        Ok::<_, anyhow::Error>(())
    })?;
    let before = untouched(&director)?;
    let same = |what: &str| -> Result<()> {
        let now = untouched(&director)?;
        ensure!(now == before, "{what} changed something: {now:#?}, before {before:#?}");
        Ok(())
    };

    let file = director.path("after.conf");
    let name = file.display().to_string();
    fs::write(&file, AFTER)?;
    let plan = plan_json(&director, &name, 0)?;
    let text = director.lbctl(&["plan", &name])?;
    step!("{text}");
    let relative = steering::command(&director, &["plan", "after.conf"])?
        .current_dir(file.parent().context("a folder")?)
        .output()?;
    ensure!(String::from_utf8_lossy(&relative.stdout) == text, "by its relative name: {relative:?}");
    ensure!(director.lbctl(&["plan"])?.contains("would not change the IPVS table"), "of the file that runs");
    same("a plan")?;

    let broken = director.path("broken.conf");
    fs::write(&broken, AFTER.replace("lb_algo wlc", "lb_algo wlcc }}}"))?;
    let name_of_broken = broken.display().to_string();
    let said = refused(&director, &["plan", &name_of_broken])?;
    step!("{said}");
    ensure!(said.contains("broken.conf:5") && said.contains("would change nothing"), "{said}");
    let refusal = plan_json(&director, &name_of_broken, 1)?;
    ensure!(
        refusal["ok"] == false
            && refusal["message"].as_str().is_some_and(|message| message.contains("broken.conf:5"))
            && planned(&refusal)?.is_empty(),
        "{refusal:#}"
    );
    refused(&director, &["plan", "/nowhere/lbd.conf"])?;
    same("a plan that is refused")?;

    load(&director, AFTER)?;
    let after = untouched(&director)?;
    let (want, have) = (operations(&before.rules, &after.rules)?, planned(&plan)?);
    ensure!(have == want, "planned {have:#?}, done {want:#?}");
    ensure!(have.len() == 12, "{} operations: {have:#?}", have.len());
    ensure!(plan["ok"] == true && plan["draining"] == 1, "{plan:#}");
    ensure!(
        plan["other"]
            .as_array()
            .is_some_and(|other| other.iter().any(|one| one.as_str().is_some_and(|one| one.contains("700")))),
        "the timeouts are not among {}",
        plan["other"]
    );
    // The timeouts are one write.
    let count = after.writes - before.writes;
    ensure!(count == have.len() as u64 + 1, "{} operations and the timeouts, {count} writes", have.len());
    for operation in plan["operations"].as_array().into_iter().flatten() {
        let words = operation["text"].as_str().context("text")?;
        ensure!(text.contains(words), "{words:?} is not in {text}");
    }
    let again = plan_json(&director, &name, 0)?;
    ensure!(planned(&again)?.is_empty(), "planned after the reload: {again:#}");
    director.stop().map(drop)
}
