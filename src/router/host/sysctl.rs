//! Settings below /proc/sys/net that virtual routers need, with what was there before.
//!
//! Here: which, making them, setting them back. Not here: when, and where it is written down what was there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Wants;
use super::plan::{Kind, Seen, Settled};

/// A path below /proc/sys, and a value.
type Pair = (String, String);

/// For a macvlan with a virtual hardware address, which shares its link with its parent: each answers only for
/// its own addresses, and packets from the parent's addresses may come in.
const MACVLAN: [(&str, &str); 4] =
    [("arp_ignore", "1"), ("accept_local", "1"), ("rp_filter", "0"), ("promote_secondaries", "1")];
/// The same where the virtual router is of IPv6.
const MACVLAN_SIX: [(&str, &str); 1] = [("arp_ignore", "1")];
/// For the parent of a macvlan: it neither answers for the virtual addresses nor asks in their name, which would
/// have hosts learn its hardware address for them.
const PARENT: [(&str, &str); 3] = [("arp_ignore", "1"), ("arp_filter", "1"), ("arp_announce", "2")];
const PROMOTE: &str = "promote_secondaries";
const RP_FILTER: &str = "rp_filter";
/// Whether memberships of groups of the link are reported (Linux 4.3).
const IGMP_REPORTS: &str = "net/ipv4/igmp_link_local_mcast_reports";
/// An own interface has the addresses that it is given (`IN6_ADDR_GEN_MODE_NONE` of linux/if_link.h). Of a router
/// advertisement each director would make itself the same one of the hardware address that they share, and send
/// what leaves the host from it.
const GIVEN_ADDRESSES: [(&str, &str); 3] = [("addr_gen_mode", "1"), ("accept_ra", "0"), ("autoconf", "0")];
/// What stands in the place of interfaces.
const NO_INTERFACES: [&str; 2] = ["all", "default"];

/// Which settings are needed, interfaces by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Parents of macvlans.
    parents: BTreeSet<String>,
    promoted: BTreeSet<String>,
    /// Own interfaces.
    own: BTreeSet<String>,
    /// `all` may have no rp_filter.
    loose: bool,
    quiet_igmp: bool,
}

impl Needs {
    /// Of what is wanted, as far as there is anything to set.
    pub fn of(wants: &Wants, seen: &[Seen]) -> Self {
        let is_there = |name: &String| seen.iter().any(|one| one.name == *name);
        let mut needs = Needs { quiet_igmp: wants.quiet_igmp, ..Needs::default() };
        for one in wants.links.iter().filter(|one| is_there(&one.link.parent)) {
            let kind = Kind::of(&one.link);
            needs.own.insert(one.link.name.clone());
            needs.loose |= kind == Kind::Macvlan;
            if kind != Kind::Ipvlan {
                needs.parents.insert(one.link.parent.clone());
            }
        }
        needs.promoted = wants.promote.iter().filter(|name| is_there(name)).cloned().collect();
        needs
    }

    /// Whether a setting that was changed is still to be so.
    fn covers(&self, key: &str) -> bool {
        if key == IGMP_REPORTS {
            return self.quiet_igmp;
        }
        let Some((interface, name)) = of_interface(key) else { return false };
        self.own.contains(interface)
            || name == RP_FILTER && self.loose
            || name == PROMOTE && self.promoted.contains(interface)
            || self.parents.contains(interface) && PARENT.iter().any(|(one, _)| *one == name)
    }
}

/// Settings that were changed.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    root: PathBuf,
    /// By their path below /proc/sys, as they were.
    before: BTreeMap<String, String>,
}

/// A setting that is not as it is to be, and is to be set back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    key: String,
    value: String,
    /// It was as it was before lbd until now.
    first: bool,
}

/// A setting that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {value}: {source}")]
pub(super) struct Failure {
    pub key: String,
    value: String,
    source: io::Error,
}

impl Settings {
    /// With what an earlier process left changed.
    pub fn new(before: BTreeMap<String, String>) -> Self {
        Settings { root: "/proc/sys".into(), before }
    }

    /// What is to be set back.
    pub fn before(&self) -> &BTreeMap<String, String> {
        &self.before
    }

    /// Compares with what there is. What is to be changed counts as changed from here on, so that it can be written
    /// down before [`Settings::carry_out`].
    pub fn compare(&mut self, needs: &Needs) -> (Vec<Change>, Vec<Failure>) {
        let (mut changes, mut failures) = (Vec::new(), Vec::new());
        if needs.loose
            && let Err(source) = self.loosen(&needs.own, &mut changes)
        {
            failures.push(Failure { key: all_rp_filter(), value: "0".into(), source });
        }
        let of_parent = |parent: &String| {
            let parent = parent.clone();
            PARENT.map(move |(name, value)| (ipv4(&parent, name), value.to_owned()))
        };
        let promoted = needs.promoted.iter().map(|name| (ipv4(name, PROMOTE), "1".to_owned()));
        let igmp = needs.quiet_igmp.then(|| (IGMP_REPORTS.to_owned(), "0".to_owned()));
        for (key, value) in needs.parents.iter().flat_map(of_parent).chain(promoted).chain(igmp) {
            match self.read(&key) {
                Ok(now) if now == value => {}
                Ok(now) => changes.push(self.change(key, value, now)),
                // The interface is gone by now.
                Err(source) if of_interface(&key).is_some() && source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => failures.push(Failure { key, value, source }),
            }
        }
        (changes, failures)
    }

    /// The same of settings of an interface that somebody else made.
    pub fn compare_own(&mut self, name: &str, settled: Settled) -> (Vec<Change>, Vec<Failure>) {
        let (mut changes, mut failures) = (Vec::new(), Vec::new());
        for (key, value) in own(name, settled) {
            match self.read(&key) {
                Ok(now) if now == value => {}
                Ok(now) => changes.push(self.change(key, value, now)),
                Err(error) if is_optional(&key, &error) => {}
                Err(source) => failures.push(Failure { key, value, source }),
            }
        }
        (changes, failures)
    }

    /// Makes changes, in order.
    pub fn carry_out(&mut self, changes: Vec<Change>) -> Vec<Failure> {
        let mut failures: Vec<Failure> = Vec::new();
        for Change { key, value, first } in changes {
            // Not before every interface filters for itself.
            let waits = key == all_rp_filter() && failures.iter().any(|one| one.key.ends_with(RP_FILTER));
            let done = if waits {
                Err(io::Error::other("not every interface could be given what it says"))
            } else {
                fs::write(self.place(&key), &value)
            };
            let Err(source) = done else { continue };
            if first {
                self.before.remove(&key);
            }
            // The interface is gone by now.
            if source.kind() != io::ErrorKind::NotFound {
                failures.push(Failure { key, value, source });
            }
        }
        failures
    }

    /// Makes the settings of an interface that is ours: with it they are gone.
    pub fn settle(&self, name: &str, settled: Settled) -> Vec<Failure> {
        let set = |(key, value): Pair| match fs::write(self.place(&key), &value) {
            Err(source) if !is_optional(&key, &source) => Some(Failure { key, value, source }),
            _ => None,
        };
        own(name, settled).into_iter().filter_map(set).collect()
    }

    /// Sets back what is needed no more.
    pub fn set_back(&mut self, needs: &Needs) -> Vec<Failure> {
        let mut failures = Vec::new();
        let root = self.root.clone();
        self.before.retain(|key, value| {
            if needs.covers(key) {
                return true;
            }
            match fs::write(root.join(key.as_str()), value.as_str()) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    failures.push(Failure { key: key.clone(), value: value.clone(), source });
                    true
                }
                _ => false,
            }
        });
        failures
    }

    /// Another interface of the name is not as this one was.
    pub fn forget_gone(&mut self, is_there: impl Fn(&str) -> bool) {
        self.before.retain(|key, _| {
            of_interface(key).is_none_or(|(name, _)| NO_INTERFACES.contains(&name) || is_there(name))
        });
    }

    /// The kernel takes the stricter of an interface's and of `all`'s rp_filter, so that no macvlan could be without:
    /// moves what `all` says to each interface, and to those that are still to come.
    fn loosen(&mut self, own: &BTreeSet<String>, changes: &mut Vec<Change>) -> io::Result<()> {
        let all = self.read(&all_rp_filter())?;
        if all == "0" {
            return Ok(());
        }
        for entry in fs::read_dir(self.place("net/ipv4/conf"))? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name == "all" || own.contains(&name) {
                continue;
            }
            let key = ipv4(&name, RP_FILTER);
            // 2 is looser than 1, and the kernel takes the larger.
            match self.read(&key) {
                Ok(now) if now < all => changes.push(self.change(key, all.clone(), now)),
                _ => {}
            }
        }
        changes.push(self.change(all_rp_filter(), "0".into(), all));
        Ok(())
    }

    fn change(&mut self, key: String, value: String, now: String) -> Change {
        let first = !self.before.contains_key(&key);
        if first {
            self.before.insert(key.clone(), now);
        }
        Change { key, value, first }
    }

    fn read(&self, key: &str) -> io::Result<String> {
        Ok(fs::read_to_string(self.place(key))?.trim().to_owned())
    }

    fn place(&self, key: &str) -> PathBuf {
        self.root.join(Path::new(key))
    }
}

/// The settings of an own interface.
fn own(name: &str, Settled { kind, ipv6 }: Settled) -> Vec<Pair> {
    let four: &[(&str, &str)] = match kind {
        Kind::Macvlan => &MACVLAN,
        Kind::MacvlanSix => &MACVLAN_SIX,
        Kind::Ipvlan => &[],
    };
    let mut all: Vec<Pair> =
        four.iter().map(|(setting, value)| (ipv4(name, setting), (*value).to_owned())).collect();
    let disable = if ipv6 { "0" } else { "1" };
    // Before IPv6 is switched on.
    let six = GIVEN_ADDRESSES.into_iter().chain([("disable_ipv6", disable)]);
    all.extend(six.map(|(setting, value)| (format!("net/ipv6/conf/{name}/{setting}"), value.to_owned())));
    all
}

/// A system may be without IPv6.
fn is_optional(key: &str, error: &io::Error) -> bool {
    key.starts_with("net/ipv6/") && error.kind() == io::ErrorKind::NotFound
}

/// The key of an interface's setting; a name may have a dot, which is no separator here.
fn ipv4(interface: &str, setting: &str) -> String {
    format!("net/ipv4/conf/{interface}/{setting}")
}

fn all_rp_filter() -> String {
    ipv4("all", RP_FILTER)
}

/// Interface and name of an interface's setting.
fn of_interface(key: &str) -> Option<(&str, &str)> {
    let rest = key.strip_prefix("net/ipv4/conf/").or_else(|| key.strip_prefix("net/ipv6/conf/"))?;
    rest.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings in a directory of files.
    struct Bench {
        settings: Settings,
        directory: tempfile::TempDir,
    }

    impl Bench {
        fn new(all: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().expect("directory");
            let settings = Settings { root: directory.path().into(), before: BTreeMap::new() };
            let bench = Bench { settings, directory };
            for (key, value) in all {
                let place = bench.directory.path().join(key);
                fs::create_dir_all(place.parent().expect("parent")).expect("directory");
                bench.put(key, value);
            }
            bench
        }

        fn put(&self, key: &str, value: &str) {
            fs::write(self.directory.path().join(key), value).expect("setting");
        }

        fn get(&self, key: &str) -> String {
            fs::read_to_string(self.directory.path().join(key)).expect("setting").trim().to_owned()
        }

        /// As the thread does it; what was written down before anything was changed.
        fn have(&mut self, needs: &Needs) -> BTreeMap<String, String> {
            let (changes, failures) = self.settings.compare(needs);
            assert!(failures.is_empty(), "{failures:?}");
            let written = self.settings.before().clone();
            let failures = self.settings.carry_out(changes);
            assert!(failures.is_empty(), "{failures:?}");
            let failures = self.settings.set_back(needs);
            assert!(failures.is_empty(), "{failures:?}");
            written
        }
    }

    fn names(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    const IGMP: &str = "net/ipv4/igmp_link_local_mcast_reports";

    fn bench() -> Bench {
        let mut all: Vec<(String, &str)> = vec![(IGMP.to_owned(), "1\n")];
        for (interface, filter) in
            [("all", "1"), ("default", "0"), ("eth0", "0"), ("eth1", "2"), ("vrrp.5", "0")]
        {
            all.push((ipv4(interface, RP_FILTER), filter));
            for name in ["arp_ignore", "arp_filter", "arp_announce", PROMOTE] {
                all.push((ipv4(interface, name), "0"));
            }
        }
        let all: Vec<(&str, &str)> = all.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        Bench::new(&all)
    }

    fn macvlan() -> Needs {
        Needs { parents: names(&["eth0"]), own: names(&["vrrp.5"]), loose: true, ..Needs::default() }
    }

    #[test]
    fn what_is_needed_no_more_is_set_back() {
        let mut bench = bench();
        let all = Needs { promoted: names(&["eth1"]), quiet_igmp: true, ..macvlan() };
        let values = |bench: &Bench| {
            let ipv4 = |interface, name| bench.get(&ipv4(interface, name));
            [
                ipv4("eth0", "arp_ignore"),
                ipv4("eth0", "arp_announce"),
                ipv4("eth1", PROMOTE),
                ipv4("all", RP_FILTER),
                ipv4("default", RP_FILTER),
                ipv4("eth0", RP_FILTER),
                ipv4("eth1", RP_FILTER),
                ipv4("vrrp.5", RP_FILTER),
                bench.get(IGMP),
            ]
            .concat()
        };
        let before = "000100201";
        assert_eq!(values(&bench), before);
        for (name, needs, want) in [
            ("everything", all.clone(), "121011200"),
            ("the same", all.clone(), "121011200"),
            ("IGMP as it was", Needs { quiet_igmp: false, ..all.clone() }, "121011201"),
            ("no macvlan", Needs { promoted: names(&["eth1"]), ..Needs::default() }, "001100201"),
            ("nothing", Needs::default(), before),
        ] {
            bench.have(&needs);
            assert_eq!(values(&bench), want, "{name}");
        }
        assert!(bench.settings.before().is_empty());
    }

    #[test]
    fn what_was_there_is_written_down_before_it_is_changed() {
        let mut bench = bench();
        let written = bench.have(&Needs { quiet_igmp: true, ..macvlan() });
        assert_eq!(written, *bench.settings.before());
        assert_eq!(written.get(IGMP).map(String::as_str), Some("1"));
        assert_eq!(written.get("net/ipv4/conf/all/rp_filter").map(String::as_str), Some("1"));
        assert_eq!(written.len(), 7, "{written:?}");

        // The process dies; the next one finds everything as it needs it, and sets back what the first one found.
        bench.settings = Settings { before: written, ..bench.settings };
        bench.have(&Needs { quiet_igmp: true, ..macvlan() });
        bench.have(&Needs::default());
        assert_eq!((bench.get(IGMP), bench.get("net/ipv4/conf/all/rp_filter")), ("1".into(), "1".into()));
    }

    #[test]
    fn what_cannot_be_changed_is_not_set_back() {
        let mut bench = bench();
        // Nobody writes to a directory, not even root.
        let key = ipv4("eth0", RP_FILTER);
        let (changes, _) = bench.settings.compare(&macvlan());
        fs::remove_file(bench.directory.path().join(&key)).expect("removed");
        fs::create_dir(bench.directory.path().join(&key)).expect("directory");
        let failures = bench.settings.carry_out(changes);
        let keys: Vec<&str> = failures.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["net/ipv4/conf/eth0/rp_filter", "net/ipv4/conf/all/rp_filter"]);
        assert_eq!(bench.get("net/ipv4/conf/all/rp_filter"), "1", "not while an interface is without");
        let before = bench.settings.before();
        assert!(
            !before.contains_key(&key) && !before.contains_key("net/ipv4/conf/all/rp_filter"),
            "{before:?}"
        );
        assert!(before.contains_key("net/ipv4/conf/eth0/arp_ignore"));
    }

    #[test]
    fn another_interface_of_the_name_is_not_set_back_to_what_the_first_one_was() {
        let mut bench = bench();
        bench.put("net/ipv4/conf/eth0/arp_ignore", "2");
        bench.have(&macvlan());
        bench.settings.forget_gone(|name| name != "eth0");
        bench.put("net/ipv4/conf/eth0/arp_ignore", "0");
        bench.have(&macvlan());
        bench.have(&Needs::default());
        assert_eq!(bench.get("net/ipv4/conf/eth0/arp_ignore"), "0");
        assert_eq!(bench.get("net/ipv4/conf/all/rp_filter"), "1", "of no interface");
    }
}
