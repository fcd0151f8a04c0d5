//! Blocks of `config::track` as text.

use std::time::Duration;

use lbd_vrrp::Weight;

use super::Writer;
use crate::config::{
    BfdConsumers, BfdInstance, Config, LinkbeatMethod, ProcessMatch, TrackFile, TrackProcess, VrrpScript,
};

pub(super) fn write(writer: &mut Writer<'_>, config: &Config) {
    writer.lines(
        "linkbeat_interfaces",
        config.linkbeat_interfaces.iter().map(|link| {
            let method = link.method.map(|method| match method {
                LinkbeatMethod::Mii => "MII",
                LinkbeatMethod::Ethtool => "ETHTOOL",
                LinkbeatMethod::Ioctl => "IOCTL",
            });
            std::iter::once(link.interface.clone()).chain(method.map(str::to_owned)).collect()
        }),
    );
    writer.lines(
        "interface_up_down_delays",
        config
            .link_delays
            .iter()
            .map(|link| vec![link.interface.clone(), super::seconds(link.down), super::seconds(link.up)]),
    );
    for (name, found) in &config.vrrp_scripts {
        writer.block("vrrp_script", [name], |writer| script(writer, found));
    }
    for (name, found) in &config.track_processes {
        writer.block("vrrp_track_process", [name], |writer| process(writer, found));
    }
    for (name, found) in &config.track_files {
        writer.block("track_file", [name], |writer| file(writer, found));
    }
    for (name, found) in &config.bfd_instances {
        writer.block("bfd_instance", [name], |writer| bfd(writer, found));
    }
}

/// A line that tracks something. Its weight is all there is: what is tracked is written without one
/// of its own.
pub(super) fn line(name: &str, weight: Weight) -> Vec<String> {
    let mut words = vec![name.to_owned(), "weight".to_owned(), weight.value.to_string()];
    if weight.reverse {
        words.push("reverse".to_owned());
    }
    words
}

fn script(writer: &mut Writer<'_>, script: &VrrpScript) {
    writer.script("script", Some(&script.script));
    writer.seconds("interval", script.interval);
    writer.seconds("timeout", script.timeout);
    writer.value("rise", script.rise);
    writer.value("fall", script.fall);
}

fn process(writer: &mut Writer<'_>, process: &TrackProcess) {
    writer.line("process", &process.command);
    match process.matching {
        ProcessMatch::Name => {}
        ProcessMatch::Program => writer.flag("full_command", true),
        ProcessMatch::Exact => writer.flag("param_match", true),
        ProcessMatch::Initial => writer.value("param_match", "initial"),
        ProcessMatch::Partial => writer.value("param_match", "partial"),
    }
    // None at all is said by the maximum.
    writer.maybe("quorum", Some(process.quorum).filter(|quorum| *quorum > 0));
    writer.maybe("quorum_max", process.quorum_max);
    // No delay cannot be said.
    for (keyword, delay) in [("terminate_delay", process.terminate_delay), ("fork_delay", process.fork_delay)]
    {
        writer.maybe(keyword, Some(delay).filter(|delay| !delay.is_zero()).map(super::seconds));
    }
}

fn file(writer: &mut Writer<'_>, file: &TrackFile) {
    writer.value("file", &file.path);
    if let Some(init) = file.init {
        let overwrite = init.overwrite.then(|| "overwrite".to_owned());
        writer.line("init_file", std::iter::once(init.value.to_string()).chain(overwrite));
    }
}

fn bfd(writer: &mut Writer<'_>, bfd: &BfdInstance) {
    writer.value("neighbor_ip", bfd.neighbor);
    writer.maybe("source_ip", bfd.source);
    writer.value("min_rx", milliseconds(bfd.min_rx));
    writer.value("min_tx", milliseconds(bfd.min_tx));
    writer.value("idle_tx", milliseconds(bfd.idle_tx));
    writer.value("multiplier", bfd.multiplier);
    writer.flag("passive", bfd.passive);
    writer.value("ttl", bfd.ttl);
    writer.value("max_hops", bfd.max_hops.map_or("-1".to_owned(), |hops| hops.to_string()));
    writer.switch("multihop", bfd.multihop);
    writer.flag("vrrp", bfd.consumers == BfdConsumers::Vrrp);
    writer.flag("checker", bfd.consumers == BfdConsumers::Checkers);
}

/// Milliseconds with as many decimals as they need, at most three.
fn milliseconds(time: Duration) -> String {
    super::seconds(time * 1000)
}
