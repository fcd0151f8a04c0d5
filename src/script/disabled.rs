//! A configuration without its disabled scripts.
//!
//! As keepalived, lbd goes on without a script that cannot or must not be run, and without what
//! depends on it: a tracker that could only ever fail would hold its virtual router in FAULT, a
//! checker its server down. The operator is told by [`super::security::check`].

use std::sync::Arc;

use std::collections::HashSet;

use lbd_grammar::config::{Config, VirtualServer};
use lbd_health::ScriptId;

use super::security::Finding;

/// Removes every script that `findings` disable, with the trackers, checkers and notifications that
/// would run it.
pub fn drop_disabled(config: &mut Config, findings: &[Finding]) {
    let gone: HashSet<&ScriptId> = findings
        .iter()
        .filter(|finding| finding.disabled)
        .filter_map(|finding| finding.script.as_ref())
        .collect();
    if gone.is_empty() {
        return;
    }
    let clear = |script: &mut Option<ScriptId>| {
        if script.as_ref().is_some_and(|id| gone.contains(id)) {
            *script = None;
        }
    };
    config.scripts.retain(|id, _| !gone.contains(id));
    config.global.scripts_mut().for_each(clear);
    config.vrrp_scripts.retain(|_, script| !gone.contains(&script.script));
    for instance in &mut config.vrrp_instances {
        instance.router.trackers.retain(|(tracker, _)| config.vrrp_scripts.contains_key(&tracker.name));
    }
    for group in config.sync_groups.values_mut() {
        group.trackers.retain(|(tracker, _)| config.vrrp_scripts.contains_key(&tracker.name));
    }
    let instances = config.vrrp_instances.iter_mut().map(|instance| &mut instance.notify);
    for notify in instances.chain(config.sync_groups.values_mut().map(|group| &mut group.notify)) {
        for script in [
            &mut notify.master,
            &mut notify.backup,
            &mut notify.fault,
            &mut notify.stop,
            &mut notify.deleted,
            &mut notify.any,
            &mut notify.master_rx_lower_priority,
        ] {
            clear(script);
        }
    }
    config.virtual_servers.iter_mut().for_each(|server| drop_from(Arc::make_mut(server), &gone));
}

fn drop_from(server: &mut VirtualServer, gone: &HashSet<&ScriptId>) {
    let clear = |script: &mut Option<ScriptId>| {
        *script = script.take_if(|id| !gone.contains(id));
    };
    clear(&mut server.quorum_up);
    clear(&mut server.quorum_down);
    for real in &mut server.real_servers {
        clear(&mut real.notify_up);
        clear(&mut real.notify_down);
        real.checks.retain(|check| check.kind.script().is_none_or(|script| !gone.contains(script)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lbd_grammar::config::{Fifo, Global, Script, VrrpNotify, VrrpScript};
    use lbd_health::{Check, CheckKind, MiscCheck, Schedule};
    use lbd_ipvs::{Protocol, ServiceId};
    use lbd_vrrp::{TrackerId, Weight};

    use super::super::security::FindingKind;
    use super::*;
    use crate::notify::fixtures;

    fn id(name: &str) -> ScriptId {
        ScriptId(name.into())
    }

    fn misc(script: &str) -> Arc<Check> {
        let second = Duration::from_secs(1);
        let schedule = Schedule {
            delay_loop: second,
            retry: 0,
            delay_before_retry: second,
            warmup: second,
            alpha: false,
            log_all_failures: false,
        };
        let misc = MiscCheck { script: id(script), timeout: second, dynamic: false };
        Arc::new(Check { schedule, kind: CheckKind::Misc(misc) })
    }

    fn finding(script: &str, disabled: bool) -> Finding {
        Finding {
            script: Some(id(script)),
            message: String::new(),
            remedy: String::new(),
            disabled,
            kind: FindingKind::NotExecutable,
        }
    }

    fn config() -> Config {
        let mut config = Config::default();
        for name in ["up", "down", "qup", "qdown", "chk", "good", "any"] {
            config.scripts.insert(id(name), Script { argv: vec![name.into()], user: None });
        }
        let weight = Weight { value: 0, reverse: false };
        let notify = VrrpNotify { master: Some(id("good")), any: Some(id("any")), ..VrrpNotify::default() };
        let mut instance = fixtures::instance("VI_1", notify);
        for name in ["chk", "good"] {
            let second = Duration::from_secs(1);
            let script = VrrpScript { script: id(name), interval: second, timeout: second, fall: 1, rise: 1 };
            config.vrrp_scripts.insert(Arc::from(name), script);
            instance.router.trackers.push((TrackerId::script(name), weight));
        }
        config.global.life.startup = Some(id("any"));
        config.global.life.shutdown = Some(id("good"));
        let fifo = |reader: &str| Fifo { path: "/f".into(), user: None, script: Some(id(reader)) };
        config.global.fifos.all = Some(fifo("chk"));
        config.global.fifos.lvs = Some(fifo("good"));
        config.vrrp_instances.push(instance);
        let service = ServiceId::Addr { protocol: Protocol::Tcp, vip: ([10, 0, 0, 1], 80).into() };
        let mut server = fixtures::virtual_server(service, ([10, 0, 0, 2], 80).into());
        server.real_servers[0].checks = vec![misc("chk"), misc("good")];
        config.virtual_servers.push(server.into());
        config
    }

    #[test]
    fn what_depends_on_a_disabled_script_goes_with_it() {
        let mut config = config();
        let findings: Vec<Finding> = ["chk", "any", "down", "qup"].map(|name| finding(name, true)).into();
        drop_disabled(&mut config, &findings);
        assert_eq!(config.scripts.keys().map(|id| &*id.0).collect::<Vec<_>>(), ["up", "qdown", "good"]);
        assert_eq!(config.vrrp_scripts.keys().map(|name| &**name).collect::<Vec<_>>(), ["good"]);
        let instance = &config.vrrp_instances[0];
        assert_eq!(instance.router.trackers.len(), 1);
        assert_eq!((&instance.notify.master, &instance.notify.any), (&Some(id("good")), &None));
        let Global { life, fifos, .. } = &config.global;
        assert_eq!((&life.startup, &life.shutdown), (&None, &Some(id("good"))));
        let reader = |fifo: &Option<Fifo>| fifo.as_ref().map(|fifo| fifo.script.clone());
        assert_eq!((reader(&fifos.all), reader(&fifos.lvs)), (Some(None), Some(Some(id("good")))));
        let server = &config.virtual_servers[0];
        assert_eq!((&server.quorum_up, &server.quorum_down), (&None, &Some(id("qdown"))));
        let real = &server.real_servers[0];
        assert_eq!((&real.notify_up, &real.notify_down), (&Some(id("up")), &None));
        assert_eq!(real.checks, [misc("good")]);
    }

    #[test]
    fn what_is_only_reported_stays() {
        let mut same = config();
        drop_disabled(&mut same, &[finding("chk", false), finding("any", false)]);
        assert_eq!(same, config());
    }
}
