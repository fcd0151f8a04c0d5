//! global_defs and the keywords of the top level as text.

use std::time::Duration;

use super::{Writer, seconds};
use crate::config::{
    Buffer, Config, DynamicInterfaces, Fifo, FlushOnStop, Global, IncludeCheck, IpvsNamespace, MailHost,
    Process, ReceiveBuffers, ReloadFile, Scheduling, ScriptUser, SyncDaemon,
};

pub(super) fn process(writer: &mut Writer<'_>, process: &Process) {
    let Process {
        namespace,
        ipvs_namespace,
        namespace_with_ipsets,
        pid_dir,
        instance,
        child_wait_time,
        linkbeat_polling,
    } = process;
    writer.maybe("net_namespace", namespace.as_ref());
    match ipvs_namespace {
        None => {}
        Some(IpvsNamespace::Initial) => writer.flag("net_namespace_ipvs", true),
        Some(IpvsNamespace::Named(name)) => writer.value("net_namespace_ipvs", name),
    }
    writer.flag("namespace_with_ipsets", *namespace_with_ipsets);
    writer.maybe("instance", instance.as_ref());
    writer.flag("use_pid_dir", *pid_dir);
    writer.value("child_wait_time", child_wait_time.as_secs());
    writer.flag("linkbeat_use_polling", *linkbeat_polling);
}

pub(super) fn global(writer: &mut Writer<'_>, global: &Global) {
    writer.block::<&str>("global_defs", [], |writer| {
        names(writer, global);
        mail(writer, global);
        scripts(writer, global);
        vrrp(writer, global);
        garp(writer, global);
        filter(writer, global);
        scheduling(writer, global);
        lvs(writer, global);
        snmp(writer, global);
        files(writer, global);
    });
}

fn names(writer: &mut Writer<'_>, global: &Global) {
    let names = &global.process_names;
    writer.maybe("router_id", global.router_id.as_ref());
    writer.flag("process_names", names.standard);
    writer.maybe("process_name", names.parent.as_ref());
    writer.maybe("vrrp_process_name", names.vrrp.as_ref());
    writer.maybe("checker_process_name", names.checker.as_ref());
    writer.maybe("bfd_process_name", names.bfd.as_ref());
}

fn mail(writer: &mut Writer<'_>, global: &Global) {
    let mail = &global.mail;
    writer.maybe("notification_email_from", mail.from.as_ref());
    writer.lines("notification_email", mail.to.iter().map(|address| vec![address.clone()]));
    if let Some(server) = &mail.server {
        let host = match &server.host {
            MailHost::Address(address) => address.to_string(),
            MailHost::Name(name) => name.clone(),
        };
        writer.line("smtp_server", [host, server.port.to_string()]);
    }
    writer.maybe("smtp_helo_name", mail.helo.as_ref());
    writer.value("smtp_connect_timeout", mail.connect_timeout.as_secs());
    writer.maybe("smtp_alert", mail.alert);
    writer.maybe("smtp_alert_vrrp", mail.alert_vrrp);
    writer.maybe("smtp_alert_checker", mail.alert_checker);
    writer.flag("no_email_faults", mail.no_faults);
    writer.switch("no_checker_emails", mail.no_checkers);
    writer.switch("checker_log_all_failures", global.log_all_failures);
}

fn scripts(writer: &mut Writer<'_>, global: &Global) {
    // What has no user of its own stands before script_user.
    programs(writer, global, false);
    fifos(writer, global, false);
    if let Some(user) = &global.script_user {
        writer.line("script_user", user.words());
    }
    programs(writer, global, true);
    fifos(writer, global, true);
    writer.flag("enable_script_security", global.script_security);
    writer.switch("use_symlink_paths", global.symlink_paths);
    writer.switch("set_supplementary_groups", global.supplementary_groups);
    writer.value("startup_script_timeout", global.life.startup_timeout.as_secs());
    writer.value("shutdown_script_timeout", global.life.shutdown_timeout.as_secs());
    writer.switch("rs_init_notifies", global.announce_initial_servers);
    writer.maybe("notify_script_timeout", global.notify_timeout.map(|limit| limit.as_secs()));
    writer.switch("vrrp_notify_priority_changes", global.fifos.priority_changes);
    writer.flag("fifo_write_vrrp_states_on_reload", global.fifos.states_on_reload);
}

/// The FIFOs that have a user, or those that have none.
fn fifos(writer: &mut Writer<'_>, global: &Global, with_user: bool) {
    for (keyword, fifo) in [
        ("notify_fifo", &global.fifos.all),
        ("vrrp_notify_fifo", &global.fifos.vrrp),
        ("lvs_notify_fifo", &global.fifos.lvs),
    ] {
        if let Some(Fifo { path, user, .. }) = fifo
            && user.is_some() == with_user
        {
            let user = user.iter().flat_map(ScriptUser::words);
            writer.line(keyword, std::iter::once(path.clone()).chain(user));
        }
    }
}

/// The scripts that have a user, or those that have none.
fn programs(writer: &mut Writer<'_>, global: &Global, with_user: bool) {
    fn reader(fifo: &Option<Fifo>) -> Option<&lbd_health::ScriptId> {
        fifo.as_ref()?.script.as_ref()
    }
    let config: &Config = writer.config;
    for (keyword, script) in [
        ("startup_script", global.life.startup.as_ref()),
        ("shutdown_script", global.life.shutdown.as_ref()),
        ("notify_fifo_script", reader(&global.fifos.all)),
        ("vrrp_notify_fifo_script", reader(&global.fifos.vrrp)),
        ("lvs_notify_fifo_script", reader(&global.fifos.lvs)),
    ] {
        let user = script.and_then(|id| config.scripts.get(id)).and_then(|script| script.user.as_ref());
        if user.is_some() == with_user {
            writer.script(keyword, script);
        }
    }
}

fn vrrp(writer: &mut Writer<'_>, global: &Global) {
    let vrrp = &global.vrrp;
    match global.dynamic_interfaces {
        DynamicInterfaces::No => {}
        DynamicInterfaces::Yes => writer.flag("dynamic_interfaces", true),
        DynamicInterfaces::AllowChanges => writer.value("dynamic_interfaces", "allow_if_changes"),
    }
    writer.value("default_interface", &global.default_interface);
    writer.flag("disable_local_igmp", global.disable_local_igmp);
    writer.value("vrrp_version", vrrp.version.number());
    writer.switch("vrrp_strict", vrrp.strict);
    writer.value("vrrp_mcast_group4", vrrp.group4);
    writer.value("vrrp_mcast_group6", vrrp.group6);
    writer.flag("v3_checksum_as_v2", vrrp.v3_checksum_as_v2);
    writer.value("vrrp_down_timer_adverts", vrrp.down_timer_adverts);
    writer.switch("vrrp_lower_prio_no_advert", vrrp.lower_priority_no_advert);
    writer.switch("vrrp_higher_prio_send_advert", vrrp.higher_priority_send_advert);
    writer.flag("vrrp_check_unicast_src", vrrp.check_unicast_source);
    writer.switch("vrrp_skip_check_adv_addr", vrrp.skip_address_check);
    writer.switch("vrrp_owner_ignore_adverts", vrrp.owner_ignore_adverts);
    for (keyword, delay) in
        [("vrrp_startup_delay", vrrp.startup_delay), ("vrrp_delay_after_boot", vrrp.delay_after_boot)]
    {
        // No delay cannot be said.
        writer.maybe(keyword, (delay > Duration::ZERO).then(|| seconds(delay)));
    }
    writer.flag("log_unknown_vrids", vrrp.log_unknown_vrids);
    let policy = vrrp.receive_buffers.map(|policy| match policy {
        ReceiveBuffers::Adverts => "ADVERT".to_owned(),
        ReceiveBuffers::Mtu => "MTU".to_owned(),
        ReceiveBuffers::Bytes(bytes) => bytes.to_string(),
    });
    writer.maybe("vrrp_rx_bufs_policy", policy);
    writer.value("vrrp_rx_bufs_multiplier", vrrp.receive_buffers_multiplier);
    writer.value("vmac_prefix", &vrrp.vmac_prefix);
    writer.value("vmac_addr_prefix", &vrrp.vmac_addr_prefix);
}

fn garp(writer: &mut Writer<'_>, global: &Global) {
    let garp = &global.vrrp.garp;
    writer.value("vrrp_garp_master_delay", garp.delay.as_secs());
    writer.value("vrrp_garp_master_repeat", garp.repeat);
    writer.value("vrrp_garp_master_refresh", garp.refresh.as_secs());
    writer.value("vrrp_garp_master_refresh_repeat", garp.refresh_repeat);
    writer.value("vrrp_garp_lower_prio_delay", garp.lower_priority_delay.as_secs());
    writer.value("vrrp_garp_lower_prio_repeat", garp.lower_priority_repeat);
    writer.seconds("vrrp_garp_interval", global.vrrp.garp_interval);
    writer.seconds("vrrp_gna_interval", global.vrrp.neighbour_interval);
    if let Some(extra) = global.vrrp.garp_extra {
        let all = extra.all.then(|| "all".to_owned());
        writer.line("vrrp_garp_extra_if", all.into_iter().chain([extra.interval.as_secs().to_string()]));
    }
}

fn filter(writer: &mut Writer<'_>, global: &Global) {
    if let Some(chains) = &global.iptables {
        writer.line("vrrp_iptables", std::iter::once(&chains.input).chain(&chains.output));
    }
    let sets = global.ipsets.as_ref().map(|sets| sets.names());
    writer.line("vrrp_ipsets", sets.into_iter().flatten());
    writer.maybe("nftables", global.nftables.table.as_ref());
    writer.value("nftables_priority", global.nftables.priority);
    writer.flag("nftables_ifindex", global.nftables.by_index);
    writer.flag("nftables_counters", global.nftables.counters);
    writer.maybe("nftables_ipvs", global.nftables_ipvs.table.as_ref());
    writer.value("nftables_ipvs_priority", global.nftables_ipvs.priority);
    writer.value("nftables_ipvs_start_fwmark", global.nftables_ipvs.first_mark);
}

fn scheduling(writer: &mut Writer<'_>, global: &Global) {
    let all = &global.scheduling;
    for (name, process) in [("vrrp", &all.vrrp), ("checker", &all.checker), ("bfd", &all.bfd)] {
        let Scheduling { nice, no_swap, realtime, cpus, realtime_limit } = process;
        writer.value(&format!("{name}_priority"), nice);
        writer.flag(&format!("{name}_no_swap"), *no_swap);
        writer.maybe(&format!("{name}_rt_priority"), *realtime);
        if !cpus.is_empty() {
            writer.line(&format!("{name}_cpu_affinity"), cpus);
        }
        writer.value(&format!("{name}_rlimit_rttime"), realtime_limit.as_micros());
    }
    writer.value("max_auto_priority", all.most_automatic);
    writer.value("min_auto_priority_delay", all.automatic_delay.as_micros());
}

fn lvs(writer: &mut Writer<'_>, global: &Global) {
    let timeouts = &global.lvs_timeouts;
    let said = [("tcp", timeouts.tcp), ("tcpfin", timeouts.tcp_fin), ("udp", timeouts.udp)];
    let said: Vec<String> = said
        .into_iter()
        .filter(|(_, value)| *value > 0)
        .flat_map(|(name, value)| [name.to_owned(), value.to_string()])
        .collect();
    if !said.is_empty() {
        writer.line("lvs_timeouts", said);
    }
    writer.flag("lvs_flush", global.lvs_flush);
    match global.lvs_flush_on_stop {
        FlushOnStop::No => {}
        FlushOnStop::Table => writer.flag("lvs_flush_on_stop", true),
        FlushOnStop::Services => writer.value("lvs_flush_on_stop", "VS"),
    }
    if let Some(SyncDaemon { interface, instance, id, max_length, port, ttl, group }) = &global.sync_daemon {
        let option = |name: &str, value: Option<String>| value.map(|value| [name.to_owned(), value]);
        let options = [
            option("inst", instance.as_ref().map(ToString::to_string)),
            option("id", Some(id.to_string())),
            option("maxlen", max_length.map(|value| value.to_string())),
            option("port", port.map(|value| value.to_string())),
            option("ttl", ttl.map(|value| value.to_string())),
            option("group", group.map(|value| value.to_string())),
        ];
        let options = options.into_iter().flatten().flatten();
        writer.line("lvs_sync_daemon", std::iter::once(interface.clone()).chain(options));
    }
}

fn snmp(writer: &mut Writer<'_>, global: &Global) {
    let snmp = &global.snmp;
    writer.maybe("snmp_socket", snmp.socket.as_ref());
    writer.flag("enable_traps", snmp.traps);
    writer.flag("enable_snmp_vrrp", snmp.vrrp);
    writer.flag("enable_snmp_rfcv2", snmp.rfc2);
    writer.flag("enable_snmp_rfcv3", snmp.rfc3);
    writer.flag("enable_snmp_checker", snmp.checker);
    writer.seconds("snmp_vs_stats_update_interval", snmp.virtual_server_interval);
    writer.seconds("snmp_rs_stats_update_interval", snmp.real_server_interval);
    writer.flag("enable_dbus", global.dbus.enabled);
    writer.value("dbus_service_name", &global.dbus.service_name);
    writer.value("dbus_no_interface_name", &global.dbus.no_interface_name);
    let buffers = &global.netlink;
    for (keyword, Buffer { bytes, force }) in [
        ("vrrp_netlink_cmd_rcv_bufs", buffers.vrrp_command),
        ("vrrp_netlink_monitor_rcv_bufs", buffers.vrrp_monitor),
        ("process_monitor_rcv_bufs", buffers.process_monitor),
        ("lvs_netlink_cmd_rcv_bufs", buffers.lvs_command),
        ("lvs_netlink_monitor_rcv_bufs", buffers.lvs_monitor),
    ] {
        writer.maybe(keyword, bytes);
        writer.switch(&format!("{keyword}_force"), force);
    }
}

fn files(writer: &mut Writer<'_>, global: &Global) {
    writer.value("umask", format!("{:#05o}", global.umask).replacen("0o", "0", 1));
    writer.maybe("random_seed", global.random_seed);
    if let Some(check) = &global.reload.check {
        writer.line("reload_check_config", &check.log);
    }
    writer.maybe("reload_time_file", global.reload.time_file.as_ref());
    writer.flag("reload_repeat", global.reload.repeat);
    match &global.reload.file {
        None => {}
        Some(ReloadFile::BesidePidFile) => writer.flag("reload_file", true),
        Some(ReloadFile::Path(path)) => writer.value("reload_file", path),
    }
    include_check(writer, global.include_check);
    writer.maybe("config_save_dir", global.save_dir.as_ref());
    writer.maybe("tmp_config_directory", global.temporary_dir.as_ref());
    writer.maybe("iproute_usr_dir", global.iproute_usr_dir.as_ref());
    writer.maybe("iproute_etc_dir", global.iproute_etc_dir.as_ref());
    writer.switch("data_use_instance", global.dumps.with_instance);
    writer.value("json_version", global.dumps.json_version);
    writer.maybe("state_dump_file", global.dumps.state.as_ref());
    writer.maybe("stats_dump_file", global.dumps.stats.as_ref());
    writer.maybe("json_dump_file", global.dumps.json.as_ref());
}

/// The first word sets `read` and itself.
fn include_check(writer: &mut Writer<'_>, checks: IncludeCheck) {
    let IncludeCheck { read, matched, wildcard, brace } = checks;
    if checks == IncludeCheck::default() {
        return;
    }
    let more =
        [(!read, "-read"), (matched, "+match"), (wildcard, "+wildcard_match"), (brace, "+brace_match")];
    let more = more.into_iter().filter(|(said, _)| *said).map(|(_, word)| word);
    writer.line("include_check", std::iter::once("read").chain(more));
}
