//! Numbers of the names in routes and rules, from the host's own tables (rt_tables and the like, /etc/protocols),
//! read while the configuration is.
//!
//! Here: the files, and what becomes of a line whose name is unknown. Not here: names that mean the same on every
//! host (`lbd_grammar`).

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lbd_grammar::config::{Config, LinkMode, NameTable, Named, Realms, Route, RouteTable, Rule, RuleAction};
use lbd_grammar::{Diagnostic, Kind, Spans};

/// Where iproute2 keeps what this host adds, and what comes with it.
const ETC: &str = "/etc/iproute2";
const USR: [&str; 2] = ["/usr/share/iproute2", "/usr/lib/iproute2"];
const PROTOCOLS: &str = "/etc/protocols";
/// Most octets of a file that are read: the largest of them has a few thousand.
const LONGEST: u64 = 1 << 20;

/// Puts numbers in place of all names; lines with an unknown one are left out with a warning. Blocking: file I/O.
pub(super) fn resolve(config: &mut Config, spans: &Spans) -> Vec<Diagnostic> {
    let global = &config.global;
    let one = |dir: &Option<String>| dir.as_ref().map(|dir| vec![PathBuf::from(dir)]);
    let mut names = Names {
        etc: one(&global.iproute_etc_dir).unwrap_or_else(|| vec![ETC.into()]),
        usr: one(&global.iproute_usr_dir).unwrap_or_else(|| USR.map(PathBuf::from).to_vec()),
        ..Names::default()
    };
    for instance in &mut config.vrrp_instances {
        instance.routes.retain_mut(|route| names.route(route));
        instance.rules.retain_mut(|rule| names.rule(rule));
        match &mut instance.link {
            LinkMode::Plain => {}
            LinkMode::Vmac(vmac) => names.group(&mut vmac.group),
            LinkMode::Ipvlan(ipvlan) => names.group(&mut ipvlan.group),
        }
    }
    config.static_routes.retain_mut(|route| names.route(route));
    config.static_rules.retain_mut(|rule| names.rule(rule));
    let unknown = std::mem::take(&mut names.unknown);
    unknown.iter().map(|(table, name)| names.report(*table, name, spans)).collect()
}

/// The tables, each read when it is asked for first.
#[derive(Default)]
struct Names {
    etc: Vec<PathBuf>,
    usr: Vec<PathBuf>,
    known: HashMap<NameTable, HashMap<String, u64>>,
    unknown: BTreeSet<(NameTable, String)>,
}

impl Names {
    /// Whether every name of it is known.
    fn route(&mut self, route: &mut Route) -> bool {
        let mut known = match &mut route.table {
            Some(RouteTable::Table(table)) => self.number(NameTable::Tables, table),
            Some(RouteTable::Vrf(_)) | None => true,
        };
        known &= self.number(NameTable::Protocols, &mut route.protocol);
        if let Some(scope) = &mut route.scope {
            known &= self.number(NameTable::Scopes, scope);
        }
        if let Some(tos) = &mut route.tos {
            known &= self.number(NameTable::Services, tos);
        }
        let of_hops = route.next_hops.iter_mut().filter_map(|hop| hop.realms.as_mut());
        for realms in route.realms.iter_mut().chain(of_hops) {
            known &= self.realms(realms);
        }
        known
    }

    fn rule(&mut self, rule: &mut Rule) -> bool {
        let mut known = match &mut rule.action {
            RuleAction::Table(table) => self.number(NameTable::Tables, table),
            _ => true,
        };
        known &= self.number(NameTable::Protocols, &mut rule.protocol);
        if let Some(tos) = &mut rule.tos {
            known &= self.number(NameTable::Services, tos);
        }
        if let Some(group) = &mut rule.suppress_group {
            known &= self.number(NameTable::Groups, group);
        }
        if let Some(protocol) = &mut rule.ip_protocol {
            known &= self.number(NameTable::IpProtocols, protocol);
        }
        if let Some(realms) = &mut rule.realms {
            known &= self.realms(realms);
        }
        known
    }

    fn realms(&mut self, realms: &mut Realms) -> bool {
        let mut known = self.number(NameTable::Realms, &mut realms.destination);
        if let Some(source) = &mut realms.source {
            known &= self.number(NameTable::Realms, source);
        }
        known
    }

    /// Puts the number in place of the name of a link group; without one the parent's is used.
    fn group(&mut self, group: &mut Option<String>) {
        let Some(name) = group.take() else { return };
        let mut named = name.parse::<u32>().map_or(Named::Name(name), Named::Number);
        if self.number(NameTable::Groups, &mut named) {
            *group = Some(named.to_string());
        }
    }

    /// Puts the number in place of a name, if there is one that fits.
    fn number<T: TryFrom<u64>>(&mut self, table: NameTable, named: &mut Named<T>) -> bool {
        let Named::Name(name) = named else { return true };
        let number = self.of(table).get(name).copied().and_then(|number| T::try_from(number).ok());
        match number {
            Some(number) => *named = Named::Number(number),
            None => {
                self.unknown.insert((table, std::mem::take(name)));
                return false;
            }
        }
        true
    }

    fn of(&mut self, table: NameTable) -> &HashMap<String, u64> {
        let Names { etc, usr, known, .. } = self;
        known.entry(table).or_insert_with(|| match table.file() {
            Some(file) => iproute(etc, usr, file),
            None => protocols(Path::new(PROTOCOLS)),
        })
    }

    fn report(&mut self, table: NameTable, name: &str, spans: &Spans) -> Diagnostic {
        let what = match table {
            NameTable::Tables => "routing table",
            NameTable::Scopes => "scope",
            NameTable::Protocols => "routing protocol",
            NameTable::Realms => "realm",
            NameTable::Services => "type of service",
            NameTable::Groups => "group of interfaces",
            NameTable::IpProtocols => "IP protocol",
        };
        let file = match table.file() {
            Some(file) => self.etc.first().cloned().unwrap_or_default().join(file),
            None => PathBuf::from(PROTOCOLS),
        };
        let (found, file) = (self.of(table).get(name).copied(), file.display());
        let (message, help) = match (found, table) {
            (Some(number), _) => (
                format!("the {what} `{name}` is {number} on this host, which is too large"),
                "write a number that fits".to_owned(),
            ),
            (None, NameTable::IpProtocols) => (
                format!("this host knows no {what} `{name}`"),
                format!("write its number; {file} lists the names"),
            ),
            (None, _) => (
                format!("this host knows no {what} `{name}`"),
                format!("add a line `NUMBER {name}` to {file}, or write the number"),
            ),
        };
        Diagnostic::warning(Kind::BadValue, spans.name(table, name), message)
            .label("routes and rules that name it are left out, own interfaces are in their parent's group")
            .help(help)
    }
}

/// As iproute2 looks for them: the host's file in place of the package's, then all files of the directories beside
/// them, of which one of the host stands in place of one of the package with its name; what comes later counts.
fn iproute(etc: &[PathBuf], usr: &[PathBuf], file: &str) -> HashMap<String, u64> {
    let mut names = HashMap::new();
    let whole = etc.iter().chain(usr).find_map(|dir| read(&dir.join(file)));
    names.extend(whole.iter().flat_map(|text| text.lines()).filter_map(number_and_name));
    let beside = |dirs: &[PathBuf]| -> Vec<PathBuf> {
        let dirs = dirs.iter().map(|dir| dir.join(format!("{file}.d")));
        dirs.flat_map(|dir| additions(&dir)).collect()
    };
    let (own, packaged) = (beside(etc), beside(usr));
    let replaced: BTreeSet<OsString> =
        own.iter().filter_map(|path| path.file_name()).map(Into::into).collect();
    let packaged =
        packaged.iter().filter(|path| path.file_name().is_some_and(|name| !replaced.contains(name)));
    for text in packaged.chain(&own).filter_map(|path| read(path)) {
        names.extend(text.lines().filter_map(number_and_name));
    }
    names
}

/// The files NAME.conf of a directory, in order.
fn additions(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    paths.sort();
    paths
}

/// `NUMBER NAME`, with or without a comment.
fn number_and_name(line: &str) -> Option<(String, u64)> {
    let mut words = line.split('#').next()?.split_whitespace();
    let (number, name) = (words.next()?, words.next()?);
    let number = match number.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => number.parse(),
    };
    Some((name.to_owned(), number.ok()?))
}

/// `NAME NUMBER ALIAS …`
fn protocols(path: &Path) -> HashMap<String, u64> {
    let mut names = HashMap::new();
    for line in read(path).iter().flat_map(|text| text.lines()) {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let [name, number, aliases @ ..] = words.as_slice() else { continue };
        let Ok(number) = number.parse() else { continue };
        for name in [name].into_iter().chain(aliases) {
            names.entry((*name).to_owned()).or_insert(number);
        }
    }
    names
}

/// The text of a file, as far as there is one.
fn read(path: &Path) -> Option<String> {
    // A FIFO would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut octets = Vec::new();
    file.take(LONGEST).read_to_end(&mut octets).ok()?;
    Some(String::from_utf8_lossy(&octets).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Lints, check, load_options};
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("directory");
        fs::write(path, text).expect("file");
    }

    #[test]
    fn the_hosts_own_tables_come_first() {
        let dir = tempfile::tempdir().expect("directory");
        let (etc, usr) = (dir.path().join("etc"), dir.path().join("usr"));
        let number = |name: &str| {
            iproute(std::slice::from_ref(&etc), std::slice::from_ref(&usr), "rt_tables").get(name).copied()
        };
        assert_eq!(number("blue"), None, "there are no files");
        write(&usr, "rt_tables", "100 blue # colours\n0x65\tred\n#102 grey\nx green\n103\n");
        assert_eq!((number("blue"), number("red")), (Some(100), Some(101)));
        assert_eq!((number("grey"), number("green")), (None, None));
        write(&etc, "rt_tables", "200 blue\n");
        assert_eq!((number("blue"), number("red")), (Some(200), None), "in place of the other");
        write(&usr, "rt_tables.d/a.conf", "300 red\n301 pink\n");
        write(&usr, "rt_tables.d/b.conf", "302 brown\n");
        write(&usr, "rt_tables.d/c.txt", "303 black\n");
        assert_eq!((number("red"), number("brown"), number("black")), (Some(300), Some(302), None));
        write(&etc, "rt_tables.d/a.conf", "400 red\n401 blue\n");
        assert_eq!((number("red"), number("pink"), number("blue")), (Some(400), None, Some(401)));
    }

    #[test]
    fn protocols_have_aliases() {
        let dir = tempfile::tempdir().expect("directory");
        write(dir.path(), "protocols", "# comment\nip\t0\tIP\t# pseudo\nl2tp 115 L2TP\nodd\n");
        let names = protocols(&dir.path().join("protocols"));
        assert_eq!((names.get("L2TP"), names.get("ip"), names.get("odd")), (Some(&115), Some(&0), None));
    }

    #[test]
    fn a_line_with_an_unknown_name_is_left_out_and_said_once() {
        let dir = tempfile::tempdir().expect("directory");
        let etc = dir.path().join("etc");
        write(&etc, "rt_tables", "100 blue\n5000 large\n");
        write(&etc, "rt_protos", "77 mine\n300 toolarge\n");
        write(&etc, "rt_realms", "5 five\n");
        write(&etc, "rt_dsfield", "0x10 lowdelay\n");
        write(&etc, "rt_scopes", "99 near\n");
        write(&etc, "group", "7 outside\n");
        let text = format!(
            "global_defs {{\n iproute_etc_dir {}\n iproute_usr_dir /nonexistent\n}}\nstatic_routes {{\n \
             10.0.0.0/8 dev lo table blue scope near tos lowdelay realms five/5 protocol mine no_track\n \
             10.1.0.0/16 dev lo table green\n 10.2.0.0/16 dev lo table green\n \
             10.3.0.0/16 dev lo protocol toolarge no_track\n}}\nstatic_rules {{\n \
             table large preference 5 suppress_ifgroup outside tos lowdelay realms five protocol mine no_track\n \
             ipproto nothing preference 6 nop\n ipproto tcp preference 7 nop\n}}\n",
            etc.display()
        );
        let path = dir.path().join("lbd.conf");
        fs::write(&path, text).expect("file");
        let checked = check(&path, &load_options(None, false));
        let config = checked.config.as_ref().expect("it can run");
        let routes: Vec<String> = config.static_routes.iter().map(ToString::to_string).collect();
        assert_eq!(
            routes,
            ["unicast 10.0.0.0/8 prepend dev lo table 100 protocol 77 scope 99 tos 16 realms 5/5 no_track"]
        );
        let rules: Vec<String> = config.static_rules.iter().map(ToString::to_string).collect();
        assert_eq!(
            rules,
            [
                "from all to all preference 5 tos 16 realms 5 suppress_ifgroup 7 protocol 77 table 5000 no_track",
                "from all to all preference 7 protocol 18 ipproto 6 nop"
            ]
        );
        let said: Vec<String> = checked.diagnostics.iter().map(|one| one.summary(&checked.sources)).collect();
        let at = |line: &str| format!("{}:{line}", path.display());
        assert_eq!(
            said,
            [
                at(&format!(
                    "7:27: this host knows no routing table `green`; add a line `NUMBER green` to {}/rt_tables, or write the number",
                    etc.display()
                )),
                at(
                    "9:30: the routing protocol `toolarge` is 300 on this host, which is too large; write a number that fits"
                ),
                at(
                    "13:10: this host knows no IP protocol `nothing`; write its number; /etc/protocols lists the names"
                ),
            ]
        );
        assert_eq!(checked.exit_code(Lints::Shown), 4);
        assert_eq!(checked.mistakes().count(), 3, "a reload does not take what has become wrong");
    }
}
