use std::collections::BTreeMap;

use super::*;

/// A file system of rows: path, owner, group, mode with type, target of a link.
#[derive(Default)]
struct Fake(BTreeMap<PathBuf, (Stat, Option<PathBuf>)>);

const DIR: u32 = libc::S_IFDIR;
const FILE: u32 = libc::S_IFREG;

impl Fake {
    fn with(mut self, path: &str, uid: u32, gid: u32, mode: u32) -> Self {
        self.0.insert(path.into(), (Stat { uid, gid, mode }, None));
        self
    }

    fn link(mut self, path: &str, uid: u32, target: &str) -> Self {
        let stat = Stat { uid, gid: uid, mode: libc::S_IFLNK | 0o777 };
        self.0.insert(path.into(), (stat, Some(target.into())));
        self
    }
}

impl Files for Fake {
    fn lstat(&self, path: &Path) -> io::Result<Stat> {
        self.0.get(path).map(|(stat, _)| *stat).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.0
            .get(path)
            .and_then(|(_, target)| target.clone())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    }

    fn search_path(&self) -> Vec<PathBuf> {
        vec!["/sbin".into(), "/usr/bin".into()]
    }
}

/// Knows `www` (33, groups 33 and 44) and, if told, the default user (999).
struct People {
    own: (u32, u32),
    default_user: bool,
    may_change: bool,
    /// The name service knows nothing of the default user.
    silent: bool,
}

impl Users for People {
    fn find(&self, user: &ScriptUser) -> Result<Identity, NoUser> {
        let uid = match user.user.as_str() {
            "root" => 0,
            "www" => 33,
            DEFAULT_USER if self.default_user => 999,
            "unanswered" => return Err(NoUser::Unknown("user `unanswered`".into(), Errno::EIO)),
            DEFAULT_USER if self.silent => {
                return Err(NoUser::Unknown(format!("user `{DEFAULT_USER}`"), Errno::EIO));
            }
            other => return Err(NoUser::Missing(format!("user `{other}`"))),
        };
        Ok(Identity { uid, gid: uid, groups: if uid == 33 { vec![33, 44] } else { vec![uid] } })
    }

    fn own(&self) -> (u32, u32) {
        self.own
    }

    fn may_change(&self) -> bool {
        self.may_change
    }
}

/// A sound system with merged /usr.
fn host() -> Fake {
    Fake::default()
        .with("/", 0, 0, DIR | 0o755)
        .with("/usr", 0, 0, DIR | 0o755)
        .with("/usr/bin", 0, 0, DIR | 0o755)
        .with("/usr/bin/true", 0, 0, FILE | 0o755)
        .with("/etc", 0, 0, DIR | 0o755)
        .with("/etc/plain", 0, 0, FILE | 0o644)
        .with("/tmp", 0, 0, DIR | 0o1777)
        .with("/tmp/mine", 33, 33, DIR | 0o755)
        .with("/tmp/mine/x", 0, 0, FILE | 0o755)
        .with("/tmp/root", 0, 0, FILE | 0o755)
        .with("/home", 0, 0, DIR | 0o755)
        .with("/home/www", 33, 33, DIR | 0o700)
        .with("/home/www/x", 33, 33, FILE | 0o755)
        .with("/srv", 0, 0, DIR | 0o777)
        .with("/srv/x", 0, 0, FILE | 0o755)
        .with("/opt", 0, 50, DIR | 0o775)
        .with("/opt/x", 0, 0, FILE | 0o755)
        .with("/usr/bin/open", 0, 0, FILE | 0o757)
        .with("/usr/bin/team", 0, 44, FILE | 0o750)
        .with("/usr/bin/suid", 33, 0, FILE | 0o2755)
        .link("/bin", 0, "usr/bin")
        .link("/usr/bin/hop", 0, "/home/www/hop")
        .link("/home/www/hop", 33, "/usr/bin/true")
        .link("/usr/bin/up", 0, "../bin/./true")
        .link("/usr/bin/loop", 0, "loop")
}

fn script(argv: &[&str], user: Option<&str>) -> Script {
    Script {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        user: user.map(|user| ScriptUser::new(user, None)),
    }
}

fn judge(enforce: bool, people: &People, argv: &[&str], user: Option<&str>) -> Verdict {
    let global = Global { script_security: enforce, ..Global::default() };
    let script = script(argv, user);
    Judge::new(&host(), people, &global).judge(&script.id(), &script)
}

const ROOT: People = People { own: (0, 0), default_user: false, may_change: true, silent: false };

#[test]
fn rules() {
    use FindingKind::{Insecure, NotExecutable, PathSearch, User};
    let ok = |path: &str| Ok(PathBuf::from(path));
    let missing = Err(ScriptError::NotExecutable);
    let insecure = Err(ScriptError::Insecure);
    // name, command, user, enforced: what is run; findings with a part of their text.
    for (name, command, user, want, found) in [
        ("sound", "/usr/bin/true", "root", ok("/usr/bin/true"), None),
        ("merged usr", "/bin/true", "root", ok("/usr/bin/true"), None),
        ("relative link", "/usr/bin/up", "root", ok("/usr/bin/true"), None),
        ("dots", "/usr//bin/../bin/./true", "root", ok("/usr/bin/true"), None),
        ("by PATH", "true", "root", ok("/usr/bin/true"), Some((PathSearch, "/usr/bin/true"))),
        ("not in PATH", "nosuch", "root", missing.clone(), Some((NotExecutable, "not found in PATH"))),
        (
            "missing",
            "/usr/bin/nosuch",
            "root",
            missing.clone(),
            Some((NotExecutable, "/usr/bin/nosuch does not exist")),
        ),
        (
            "missing directory",
            "/nosuch/x",
            "root",
            missing.clone(),
            Some((NotExecutable, "/nosuch does not exist")),
        ),
        (
            "not executable",
            "/etc/plain",
            "root",
            missing.clone(),
            Some((NotExecutable, "may not execute /etc/plain")),
        ),
        ("a directory", "/etc", "root", missing.clone(), Some((NotExecutable, "/etc is not a regular file"))),
        (
            "a loop of links",
            "/usr/bin/loop",
            "root",
            missing.clone(),
            Some((NotExecutable, "symbolic links")),
        ),
        (
            "file of another",
            "/home/www/x",
            "root",
            insecure.clone(),
            Some((Insecure, "/home/www belongs to user 33")),
        ),
        (
            "link through another's directory",
            "/usr/bin/hop",
            "root",
            insecure.clone(),
            Some((Insecure, "/home/www belongs")),
        ),
        (
            "directory open to all",
            "/srv/x",
            "root",
            insecure.clone(),
            Some((Insecure, "/srv can be written by everybody")),
        ),
        (
            "directory open to a group",
            "/opt/x",
            "root",
            insecure.clone(),
            Some((Insecure, "/opt can be written by group 50")),
        ),
        (
            "file open to all",
            "/usr/bin/open",
            "root",
            insecure.clone(),
            Some((Insecure, "/usr/bin/open can be written")),
        ),
        ("sticky directory", "/tmp/root", "root", ok("/tmp/root"), None),
        (
            "another's in a sticky one",
            "/tmp/mine/x",
            "root",
            insecure.clone(),
            Some((Insecure, "/tmp/mine belongs")),
        ),
        ("as their own user", "/home/www/x", "www", ok("/home/www/x"), None),
        ("open to all, but not root", "/srv/x", "www", ok("/srv/x"), None),
        (
            "by a supplementary group that it does not have",
            "/usr/bin/team",
            "www",
            missing.clone(),
            Some((NotExecutable, "user 33 may not execute /usr/bin/team")),
        ),
        (
            "setgid root is as root",
            "/usr/bin/suid",
            "www",
            insecure.clone(),
            Some((Insecure, "/usr/bin/suid belongs")),
        ),
        (
            "unknown user",
            "/usr/bin/true",
            "nosuch",
            missing.clone(),
            Some((User, "user `nosuch` does not exist")),
        ),
        ("through the shell", "</etc/plain", "root", ok("/bin/sh"), None),
    ] {
        let (run, findings) = judge(true, &ROOT, &[command], Some(user));
        assert_eq!(run.map(|run| run.path), want, "{name}");
        match found {
            None => assert_eq!(findings, [], "{name}"),
            Some((kind, text)) => {
                let [finding] = findings.as_slice() else { panic!("{name}: {findings:?}") };
                assert_eq!((finding.kind, finding.disabled), (kind, want.is_err()), "{name}");
                assert!(finding.message.contains(text), "{name}: {}", finding.message);
                assert!(!finding.remedy.is_empty());
            }
        }
        let (lax, findings) = judge(false, &ROOT, &[command], Some(user));
        let only_told = want == insecure;
        assert_eq!(lax.is_ok(), want.is_ok() || only_told, "{name}, not enforced");
        if only_told {
            assert!(findings.iter().all(|finding| !finding.disabled), "{name}, not enforced");
        }
    }
}

#[test]
fn not_executable_for_its_user() {
    let people = ROOT;
    let global = Global {
        script_security: true,
        script_user: Some(ScriptUser::new("www", None)),
        ..Global::default()
    };
    let files = host().with("/usr/bin/root-only", 0, 0, FILE | 0o700).with("/etc", 0, 0, DIR | 0o700).with(
        "/etc/x",
        0,
        0,
        FILE | 0o755,
    );
    for (path, text) in [
        ("/usr/bin/root-only", "user 33 may not execute /usr/bin/root-only"),
        ("/etc/x", "user 33 may not pass the directory /etc"),
    ] {
        let script = script(&[path], None);
        let (run, findings) = Judge::new(&files, &people, &global).judge(&script.id(), &script);
        assert_eq!(run, Err(ScriptError::NotExecutable));
        assert!(findings[0].message.contains(text), "{}", findings[0].message);
    }
}

#[test]
fn identities() {
    let with_default = People { own: (0, 0), default_user: true, may_change: true, silent: false };
    let user = People { own: (1000, 1000), default_user: true, may_change: true, silent: false };
    let bound = People { own: (0, 0), default_user: false, may_change: false, silent: false };
    let silent = People { silent: true, ..ROOT };
    let service = "see to the name service";
    let (rights, create) = ("run lbd as root with CAP_SETUID and CAP_SETGID", "create the user or group");
    for (name, people, user, want, remedy) in [
        ("default user", &with_default, None, Some((999, Some(vec![]))), ""),
        ("no default user: root", &ROOT, None, Some((0, Some(vec![]))), ""),
        ("named", &with_default, Some("www"), Some((33, Some(vec![]))), ""),
        ("lbd is not root: as lbd", &user, None, Some((1000, None)), ""),
        ("lbd is not root and cannot change", &user, Some("www"), None, rights),
        ("root without the capabilities", &bound, Some("www"), None, rights),
        ("root without the capabilities stays root", &bound, Some("root"), Some((0, Some(vec![]))), ""),
        ("unknown user", &with_default, Some("nosuch"), None, create),
        ("a user that is not told of", &with_default, Some("unanswered"), None, service),
        ("a default user that is not told of is not taken for none", &silent, None, None, service),
    ] {
        let (run, findings) = judge(false, people, &["/usr/bin/true", "-x"], user);
        assert_eq!(findings.is_empty(), want.is_some(), "{name}");
        assert!(findings.iter().all(|found| found.remedy.starts_with(remedy)), "{name}: {findings:?}");
        let run = run.ok();
        assert_eq!(run.as_ref().map(|run| (run.uid, run.groups.clone())), want, "{name}");
        if let Some(run) = run {
            assert_eq!(run.argv, ["/usr/bin/true", "-x"], "{name}");
        }
    }
}

#[test]
fn supplementary_groups_are_asked_for() {
    let person = |group| Some(ScriptUser::new("www", group));
    for (name, set, default, user, want) in [
        ("not", false, None, person(None), vec![]),
        ("by the keyword", true, None, person(None), vec![33, 44]),
        ("by a colon", false, None, person(Some(":")), vec![33, 44]),
        ("by a colon before the group", false, None, person(Some(":www")), vec![33, 44]),
        ("by script_user", false, person(Some(":")), None, vec![33, 44]),
        ("the script's own user has none of script_user's", false, person(Some(":")), person(None), vec![]),
    ] {
        let global = Global { supplementary_groups: set, script_user: default, ..Global::default() };
        let script = Script { argv: vec!["/usr/bin/true".into()], user };
        let (run, _) = Judge::new(&host(), &ROOT, &global).judge(&script.id(), &script);
        assert_eq!(run.expect("it runs").groups, Some(want), "{name}");
    }
    // What only a supplementary group may execute.
    let files = host().with("/usr/bin/true", 0, 44, FILE | 0o750);
    for (set, runs) in [(false, false), (true, true)] {
        let global = Global { supplementary_groups: set, ..Global::default() };
        let script = Script { argv: vec!["/usr/bin/true".into()], user: person(None) };
        let (run, _) = Judge::new(&files, &ROOT, &global).judge(&script.id(), &script);
        assert_eq!(run.is_ok(), runs, "{set}");
    }
}

#[test]
fn links_are_run_as_written_when_asked_for() {
    for (as_written, name, want) in [
        (false, "/bin/true", "/usr/bin/true"),
        (true, "/bin/true", "/bin/true"),
        (true, "true", "/usr/bin/true"),
    ] {
        let global = Global { symlink_paths: as_written, ..Global::default() };
        let script = script(&[name], None);
        let (run, _) = Judge::new(&host(), &ROOT, &global).judge(&script.id(), &script);
        assert_eq!(run.expect("it runs").path, Path::new(want), "{as_written} {name}");
    }
}

#[test]
fn configurations() {
    let script = script(&["/usr/bin/env"], Some("root"));
    let mut config = Config::default();
    assert_eq!(check(&config), []);
    config.scripts.insert(script.id(), script);
    let findings = check(&config);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].kind, &findings[0].script), (FindingKind::NoScriptSecurity, &None));
    config.global.script_security = true;
    assert_eq!(check(&config), [], "root's own program");
}

/// One finding for one script, which names what is wrong and what to do about it.
#[test]
fn what_is_said() {
    let missing = "install the program or correct its path";
    // command, user, its message without the end that depends on enforcement, the remedy
    for (command, user, message, remedy) in [
        (
            "/usr/bin/nosuch",
            "root",
            "script `/usr/bin/nosuch` is disabled: /usr/bin/nosuch does not exist",
            missing,
        ),
        ("/nosuch/x", "root", "script `/nosuch/x` is disabled: /nosuch does not exist", missing),
        (
            "/etc/plain",
            "www",
            "script `/etc/plain` is disabled: user 33 may not execute /etc/plain",
            "chmod a+rx /etc/plain",
        ),
        ("/etc", "root", "script `/etc` is disabled: /etc is not a regular file", "name a program"),
        (
            "/srv/x",
            "root",
            "script `/srv/x` is not secure: /srv can be written by everybody",
            "chmod o-w /srv",
        ),
        (
            "/opt/x",
            "root",
            "script `/opt/x` is not secure: /opt can be written by group 50",
            "chmod g-w /opt",
        ),
        (
            "/usr/bin/open",
            "root",
            "script `/usr/bin/open` is not secure: /usr/bin/open can be written by everybody",
            "chmod o-w /usr/bin/open",
        ),
        (
            "/home/www/x",
            "root",
            "script `/home/www/x` is not secure: /home/www belongs to user 33, not to root",
            "move the program to a directory of root's, or have user 33 run it",
        ),
        (
            "/usr/bin/theirs",
            "root",
            "script `/usr/bin/theirs` is not secure: /usr/bin/theirs belongs to user 33, not to root",
            "chown -h root /usr/bin/theirs",
        ),
        (
            "/usr/bin/hop",
            "root",
            "script `/usr/bin/hop` is not secure: /home/www belongs to user 33, not to root",
            "move the program to a directory of root's, or have user 33 run it",
        ),
        (
            "/usr/bin/true",
            "nosuch",
            "script `/usr/bin/true` is disabled: user `nosuch` does not exist",
            "create the user or group, or name another one with `script_user` or `user`",
        ),
    ] {
        for enforce in [true, false] {
            let end = match (message.contains("not secure"), enforce) {
                (false, _) => "",
                (true, true) => "; the script is disabled",
                (true, false) => "; others can make root run anything",
            };
            let files = host().with("/usr/bin/theirs", 33, 33, FILE | 0o755);
            let global = Global { script_security: enforce, ..Global::default() };
            let script = script(&[command, "argument"], Some(user));
            let (_, findings) = Judge::new(&files, &ROOT, &global).judge(&script.id(), &script);
            let [finding] = findings.as_slice() else { panic!("{command}: {findings:?}") };
            assert_eq!(finding.message, format!("{message}{end}"));
            assert_eq!(finding.remedy, remedy, "{command}");
            assert_eq!(finding.script, Some(script.id()), "{command}");
        }
    }
}

/// Wherever a script can be named: one finding, at its place, and nothing of it is left where it cannot run.
#[test]
fn every_place_is_examined() {
    let text = "global_defs {\n enable_script_security\n script_user root\n\
         startup_script /nosuch/1\n shutdown_script /nosuch/2\n\
         notify_fifo /run/a\n notify_fifo_script /nosuch/3\n\
         vrrp_notify_fifo /run/b\n vrrp_notify_fifo_script /nosuch/4\n\
         lvs_notify_fifo /run/c\n lvs_notify_fifo_script /nosuch/5\n}\n\
         vrrp_script s {\n script /nosuch/6\n}\n\
         vrrp_sync_group G {\n group {\n V\n W\n }\n notify_master /nosuch/7\n notify_backup /nosuch/8\n\
         notify_fault /nosuch/9\n notify_stop /nosuch/10\n notify /nosuch/11\n}\n\
         vrrp_instance V {\n interface lo0\n virtual_router_id 1\n no_virtual_ipaddress\n\
         track_script {\n s\n }\n\
         notify_master /nosuch/12\n notify_backup /nosuch/13\n notify_fault /nosuch/14\n notify_stop /nosuch/15\n\
         notify_deleted /nosuch/16\n notify /nosuch/17\n notify_master_rx_lower_pri /nosuch/18\n}\n\
         vrrp_instance W {\n interface lo0\n virtual_router_id 2\n no_virtual_ipaddress\n}\n\
         virtual_server 10.0.0.1 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n\
         quorum_up /nosuch/19\n quorum_down /nosuch/20\n\
         real_server 10.0.0.2 80 {\n notify_up /nosuch/21\n notify_down /nosuch/22\n\
         MISC_CHECK {\n misc_path /nosuch/23\n }\n }\n}\n\
         virtual_server_group H {\n 10.0.0.7 80\n}\n\
         virtual_server group H {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n quorum_up /nosuch/24\n\
         real_server 10.0.0.2 80 {\n notify_up /nosuch/25\n MISC_CHECK {\n misc_path /nosuch/26\n }\n }\n}\n";
    let loaded = lbd_grammar::load_str("c", text);
    let mut config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    let found = check(&config);
    let mut messages: Vec<&str> = found.iter().map(|one| one.message.as_str()).collect();
    let mut want: Vec<String> =
        (1..=26).map(|n| format!("script `/nosuch/{n}` is disabled: /nosuch does not exist")).collect();
    messages.sort_unstable();
    want.sort_unstable();
    assert_eq!(messages, want);
    for one in &found {
        let script = one.script.as_ref().expect("a finding about a script");
        let place = loaded.spans.script(script).expect("the place of the script");
        assert!(one.message.contains(loaded.sources.text(place)), "{}", one.message);
    }
    crate::script::disabled::drop_disabled(&mut config, &found);
    let left = lbd_grammar::dump(&config, lbd_grammar::Secrets::Shown);
    assert!(!left.contains("/nosuch"), "{left}");
}
