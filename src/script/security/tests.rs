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
}

impl Users for People {
    fn find(&self, user: &ScriptUser) -> Result<Identity, String> {
        let uid = match user.user.as_str() {
            "root" => 0,
            "www" => 33,
            DEFAULT_USER if self.default_user => 999,
            other => return Err(format!("user `{other}` does not exist")),
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

const ROOT: People = People { own: (0, 0), default_user: false, may_change: true };

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
            Some((NotExecutable, "/usr/bin/nosuch: No such file")),
        ),
        (
            "missing directory",
            "/nosuch/x",
            "root",
            missing.clone(),
            Some((NotExecutable, "/nosuch: No such file")),
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
        ("by a supplementary group", "/usr/bin/team", "www", ok("/usr/bin/team"), None),
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
    let with_default = People { own: (0, 0), default_user: true, may_change: true };
    let user = People { own: (1000, 1000), default_user: true, may_change: true };
    let bound = People { own: (0, 0), default_user: false, may_change: false };
    let (rights, create) = ("run lbd as root with CAP_SETUID and CAP_SETGID", "create the user or group");
    for (name, people, user, want, remedy) in [
        ("default user", &with_default, None, Some((999, Some(vec![999]))), ""),
        ("no default user: root, without groups", &ROOT, None, Some((0, Some(vec![]))), ""),
        ("named", &with_default, Some("www"), Some((33, Some(vec![33, 44]))), ""),
        ("lbd is not root: as lbd", &user, None, Some((1000, None)), ""),
        ("lbd is not root and cannot change", &user, Some("www"), None, rights),
        ("root without the capabilities", &bound, Some("www"), None, rights),
        ("root without the capabilities stays root", &bound, Some("root"), Some((0, Some(vec![0]))), ""),
        ("unknown user", &with_default, Some("nosuch"), None, create),
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
