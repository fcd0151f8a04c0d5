//! The top level of a file.
//!
//! Here: its rows, and the order in which blocks are lowered. Not here: the blocks.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use lbd_health::ScriptId;

use super::{
    Context, Part, Row, Table, address, bfd, file, global, group, instance, later, link, many, process,
    resolve, route, row, rule, script, server_group, tls, tracking, virtual_server,
};
use crate::blocks::Blocks;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::lint;
use crate::source::Sources;
use crate::spans::Spans;
use crate::tree::{self, Statement};

/// What the top level collects.
#[derive(Default)]
pub(crate) struct Root {
    pub instances: Vec<instance::Found>,
    pub groups: group::Groups,
    /// Virtual servers that were read and are not part of the configuration yet.
    pub servers: Vec<virtual_server::Found>,
    /// All the rest, where it belongs.
    pub config: Config,
}

/// What the rows below fill.
type B = Root;

pub(crate) static TABLE: Table<Root> =
    Table { name: "", part: Part::Process, rows: &[ROWS, global::PROCESS_ROWS] };

const ROWS: &[Row<Root>] = &[
    // Lowered before everything else.
    row("global_defs", "{ … }", "Settings for the whole process.", |_: &mut B, _| {}).opens("global_defs"),
    row("vrrp_instance", "NAME { … }", "A virtual router.", |b: &mut B, c| instance::lower(b, c))
        .opens("vrrp_instance")
        .by(Part::Vrrp),
    row("vrrp_script", "NAME { … }", "A program that instances track.", |_: &mut B, c| script::lower(c))
        .block()
        .example("script \"/usr/local/bin/check_web\"\ninterval 2\nfall 3"),
    row(
        "virtual_server",
        "ADDR [PORT] | fwmark N | group NAME { … }",
        "A virtual service.",
        |b: &mut B, c| {
            virtual_server::lower(b, c);
        },
    )
    .opens("virtual_server")
    .example("real_server 192.0.2.10 80 { }"),
    row("vrrp_sync_group", "NAME { … }", "Instances that are master together.", group::sync_group)
        .opens("vrrp_sync_group")
        .by(Part::Vrrp),
    row(
        "track_group",
        "NAME { … }",
        "Instances that track the interfaces of static entries.",
        group::track_group,
    )
    .opens("track_group")
    .by(Part::Vrrp),
    row(
        "garp_group",
        "{ … }",
        "Interfaces with gaps of their own between gratuitous ARPs.",
        group::garp_group,
    )
    .opens("garp_group")
    .by(Part::Vrrp),
    row(
        "static_ipaddress",
        "{ ADDR[/LEN] … }",
        "Addresses that are there as long as lbd runs.",
        |b: &mut B, c| b.config.static_addresses.extend(address::static_addresses(c)),
    )
    .opens("virtual_ipaddress")
    .by(Part::Network)
    .example("192.0.2.1/24 dev eth0"),
    row("static_routes", "{ ROUTE … }", "Routes that are there as long as lbd runs.", |b: &mut B, c| {
        b.config.static_routes.extend(route::routes(c, true))
    })
    .opens("virtual_routes")
    .by(Part::Network)
    .example("198.51.100.0/24 via 192.0.2.254 dev eth0"),
    row("static_rules", "{ RULE … }", "Rules that are there as long as lbd runs.", |b: &mut B, c| {
        b.config.static_rules.extend(rule::rules(c, true));
    })
    .opens("virtual_rules")
    .by(Part::Network)
    .example("from 192.0.2.0/24 table 100 preference 50"),
    row(
        "linkbeat_interfaces",
        "{ IF [MII|ETHTOOL|IOCTL] … }",
        "Interfaces whose link is polled every second; they are up only with link.",
        link::linkbeat,
    )
    .block()
    .by(Part::Vrrp)
    .example("eth0\neth1 ETHTOOL"),
    row(
        "interface_up_down_delays",
        "{ IF DOWN [UP] … }",
        "How many seconds an interface is down, or up, before that counts.",
        link::delays,
    )
    .block()
    .by(Part::Vrrp)
    .example("eth0 1.5 0.5"),
    row("vrrp_track_process", "NAME { … }", "A process that instances track.", process::lower)
        .opens("vrrp_track_process")
        .by(Part::Vrrp)
        .example("process nginx\nweight 10"),
    row("track_file", "NAME { … }", "A file with a number that is tracked.", file::lower)
        .by(Part::Checks)
        .opens("track_file")
        .example("file /run/priority\nweight 1"),
    row("vrrp_track_file", "NAME { … }", "Old name of track_file.", file::lower)
        .by(Part::Checks)
        .opens("track_file")
        .example("file /run/priority\nweight 1"),
    later("bfd_instance", "NAME { … }", "A BFD session.", "there is no such session", bfd::lower)
        .opens("bfd_instance")
        .example("neighbor_ip 192.0.2.1\nmin_rx 50\nmin_tx 50"),
    row("SSL", "{ … }", "Client certificate and authorities of SSL_GET.", tls::lower)
        .by(Part::Checks)
        .opens("SSL")
        .example("certificate /etc/ssl/client.pem\nkey /etc/ssl/private/client.pem"),
    row(
        "virtual_server_group",
        "NAME { ADDR[-END|/MASK] [PORT] | fwmark N [inet|inet6] … }",
        "Several virtual services.",
        server_group::lower,
    )
    .block()
    .example("192.0.2.10 80\nfwmark 7 inet"),
];

/// Lowers a whole configuration. Each block of the tree goes as soon as it is lowered.
pub(crate) fn lower(
    sources: &Sources,
    definitions: &[String],
    diagnostics: Vec<Diagnostic>,
) -> (Config, Vec<Diagnostic>, Spans) {
    let blocks = Blocks::new(sources);
    let mut context = Context::new(sources, definitions);
    context.diagnostics = diagnostics;
    let is_server = |index: usize| blocks.keyword(index) == virtual_server::TABLE.name;
    let mut statements: Vec<Option<Statement>> = (0..blocks.len())
        .map(|index| if is_server(index) { None } else { blocks.parsed(index, &mut context) })
        .collect();
    for statement in statements.iter().flatten() {
        look_ahead(&mut context, std::slice::from_ref(statement));
    }

    context.global_built_in = global::TABLE.defaults(&mut context);
    let mut global = global::GlobalBuilder::new(&context.global_built_in);
    for statement in statements.iter().flatten() {
        let word = tree::words(sources, statement.head).0.first().map(|word| word.text);
        if let (Some("global_defs"), Some(body)) = (word, &statement.body) {
            global::TABLE.run(&mut global, &body.statements, &mut context);
        }
    }
    global.settle(&mut context);
    context.global = global;
    context.virtual_server_built_in = Arc::new(virtual_server::TABLE.defaults(&mut context));
    context.check_built_in = Arc::new(virtual_server::check_defaults(&mut context));

    let mut root = TABLE.defaults(&mut context);
    // Virtual servers refer to groups wherever these stand.
    let is_group = |statement: &Statement| sources.text(statement.head).starts_with("virtual_server_group");
    for statement in statements.iter().flatten().filter(|statement| is_group(statement)) {
        TABLE.one(&mut root, statement, &mut context);
    }
    let mut servers: Vec<usize> = Vec::new();
    for (index, statement) in statements.iter_mut().enumerate() {
        if is_server(index) {
            servers.push(index);
            continue;
        }
        many::lower(&blocks, &std::mem::take(&mut servers), &mut root, &mut context);
        if let Some(statement) = statement.take().filter(|statement| !is_group(statement)) {
            TABLE.one(&mut root, &statement, &mut context);
        }
    }
    many::lower(&blocks, &servers, &mut root, &mut context);

    let Root { mut instances, groups, mut config, servers: _ } = root;
    resolve::group::resolve(groups, &mut instances, &mut config, &mut context);
    config.vrrp_instances = instance::conflicts(instances, &mut context);
    link::limit(&mut config, &mut context);
    script::report_unused(&mut context);
    config.global = context.global.clone().resolved(&context);
    config.scripts = std::mem::take(&mut context.scripts);
    config.vrrp_scripts = objects(&mut context.vrrp_scripts);
    config.track_processes = objects(&mut context.track_processes);
    config.track_files = objects(&mut context.track_files);
    config.bfd_instances = objects(&mut context.bfd_instances);
    resolve::references(&mut config, &mut context);
    forget_unused_scripts(&mut config);
    for found in lint::check(&config, &context.spans, &blocks, &context.diagnostics) {
        context.report(found);
    }
    (config, context.diagnostics, context.spans)
}

/// What is tracked, without the weights: the lines that track it have them.
fn objects<T>(found: &mut IndexMap<Arc<str>, (T, lbd_vrrp::Weight)>) -> IndexMap<Arc<str>, T> {
    std::mem::take(found).into_iter().map(|(name, (object, _))| (name, object)).collect()
}

/// Notes what may be referred to before it is reached.
fn look_ahead<'s>(context: &mut Context<'s>, statements: &[Statement]) {
    let sources: &'s Sources = context.sources;
    for statement in statements {
        if let Some(body) = &statement.body {
            look_ahead(context, &body.statements);
        }
        // A look at the text is cheaper than its words.
        let text = sources.text(statement.head);
        if !tracking::Object::may_begin(text) && !text.contains("track_script") {
            continue;
        }
        let (words, _) = tree::words(sources, statement.head);
        let mut words = words.into_iter();
        let (first, second) = (words.next(), words.next());
        if let (Some("track_script"), Some(body)) = (first.map(|word| word.text), &statement.body) {
            let lines = body.statements.iter().map(|line| tree::words(sources, line.head).0);
            context.tracked.extend(lines.filter_map(|words| words.first().map(|word| word.text)));
        }
        // Without a block it refers to one.
        let object = first.filter(|_| statement.body.is_some());
        if let (Some(object), Some(name)) = (object.and_then(|word| tracking::Object::of(word.text)), second)
        {
            context.tracked_places.entry((object, name.text)).or_insert(name.span);
        }
    }
}

/// A vrrp_script that nothing tracks and scripts of blocks that were left out are not part of the
/// configuration.
fn forget_unused_scripts(config: &mut Config) {
    let of_instances = config.vrrp_instances.iter().flat_map(|instance| &instance.router.trackers);
    let of_groups = config.sync_groups.values().flat_map(|group| &group.trackers);
    let tracked: HashSet<&str> = of_instances.chain(of_groups).map(|(tracker, _)| &*tracker.name).collect();
    config.vrrp_scripts.retain(|name, _| tracked.contains(&**name));
    let mut used: HashSet<ScriptId> = HashSet::new();
    used.extend(config.global.scripts().cloned());
    used.extend(config.vrrp_scripts.values().map(|script| script.script.clone()));
    for instance in &config.vrrp_instances {
        used.extend(instance.notify.scripts().cloned());
    }
    used.extend(config.sync_groups.values().flat_map(|group| group.notify.scripts()).cloned());
    used.extend(config.virtual_servers.iter().flat_map(|server| server.scripts()).cloned());
    config.scripts.retain(|id, _| used.contains(id));
}
