//! Files of HMAC keys (`key ID file:PATH` of auth_hmac), read while the configuration is, so that nobody
//! waits for them later, and a reload takes what they hold then.
//!
//! Here: the files, and what becomes of a configuration that names bad ones. Not here: the forms of a key
//! (`lbd_grammar::hmac_key`). No key is ever part of a message.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lbd_grammar::config::Config;
use lbd_grammar::{Diagnostic, Kind, Spans, hmac_key};
use lbd_vrrp::{Authentication, HmacKey};

/// Longest file in octets: the longest key has 133.
const LONGEST: u64 = 4096;

/// A file that was read.
struct Found {
    key: HmacKey,
    /// Permission bits.
    mode: u32,
}

/// Puts what the files hold in place of their names. Blocking: file I/O.
///
/// A key whose file is bad is left out with a warning; when it is the one that signs, that is an error,
/// since the virtual router must not go on without. A file that others than its owner may read is used
/// and warned of, as keepalived does.
pub(super) fn read(config: &mut Config, spans: &Spans) -> Vec<Diagnostic> {
    let mut files: HashMap<PathBuf, Result<Found, String>> = HashMap::new();
    let mut diagnostics = Vec::new();
    for instance in &mut config.vrrp_instances {
        let router = &mut instance.router;
        let Authentication::Hmac(hmac) = &mut router.authentication else { continue };
        let span = spans.instance(&router.name);
        let active = hmac.active;
        hmac.keys.retain_mut(|(id, key)| {
            let HmacKey::File(path) = key else { return true };
            let path = std::mem::take(path);
            let shown = path.display().to_string();
            let is_new = !files.contains_key(&path);
            let found = files.entry(path).or_insert_with_key(|path| read_file(path));
            match found {
                Ok(found) => {
                    if is_new && found.mode & 0o066 != 0 {
                        let message = format!(
                            "key {id}: the file {shown} may be read or changed by others than its owner (mode {:04o})",
                            found.mode
                        );
                        diagnostics.push(
                            Diagnostic::warning(Kind::ScriptSecurity, span, message)
                                .help(format!("`chmod 600 {shown}`")),
                        );
                    }
                    *key = found.key.clone();
                    true
                }
                Err(why) => {
                    let message = format!("key {id}: the file {shown} {why}");
                    let bad = if *id == active {
                        Diagnostic::error(Kind::BadValue, span, message)
                            .label("nothing could be signed with its active_key")
                    } else {
                        Diagnostic::warning(Kind::BadValue, span, message).label("the key is left out")
                    };
                    diagnostics.push(bad.help(
                        "it holds a key and nothing else: 32 to 64 octets of text, or 64 to 128 hexadecimal digits \
                         after `hex:`",
                    ));
                    false
                }
            }
        });
    }
    diagnostics
}

/// Why a file cannot be used, as what is said after its name.
fn read_file(path: &Path) -> Result<Found, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    // A FIFO would be waited for.
    let file: File =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err("is not a regular file".into());
    }
    let mut octets = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() > usize::try_from(LONGEST).unwrap_or(usize::MAX) {
        return Err(format!("is longer than {LONGEST} octets"));
    }
    let line = octets.strip_suffix(b"\n").unwrap_or(&octets);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"file:") {
        return Err("names another file".into());
    }
    Ok(Found { key: hmac_key(line)?, mode: meta.mode() & 0o7777 })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::{Checked, Lints, check, load_options};
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    /// A configuration in a directory with files of keys, as it is checked.
    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new() -> Self {
            Bench(tempfile::tempdir().expect("directory"))
        }

        fn file(&self, name: &str, text: &[u8], mode: u32) {
            let path = self.0.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        }

        /// One instance with a `key` line each; the first number is the active one.
        fn check(&self, keys: &[(u8, &str)]) -> Checked {
            let dir = self.0.path().display();
            let lines: String =
                keys.iter().map(|(id, name)| format!("  key {id} file:{dir}/{name}\n")).collect();
            let active = keys.first().map_or(1, |(id, _)| *id);
            let text = format!(
                "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n  10.0.0.1\n }}\n \
                 auth_hmac {{\n{lines}  active_key {active}\n }}\n}}\n"
            );
            let path = self.0.path().join("lbd.conf");
            fs::write(&path, text).expect("written");
            check(&path, &load_options(None, false))
        }
    }

    fn keys(checked: &Checked) -> Vec<(u8, HmacKey)> {
        let config = checked.config.as_ref().expect("it can run");
        let Authentication::Hmac(hmac) = &config.vrrp_instances[0].router.authentication else {
            panic!("auth_hmac")
        };
        hmac.keys.iter().map(|(id, key)| (id.get(), key.clone())).collect()
    }

    /// What was said of keys, without the directory.
    fn said(bench: &Bench, checked: &Checked) -> String {
        let dir = format!("{}/", bench.0.path().display());
        let of_keys = checked.diagnostics.iter().filter(|one| one.message.starts_with("key "));
        of_keys.map(|one| one.message.replace(&dir, "")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_a_file_may_hold() {
        let text = || Ok(HmacKey::Text(KEY.as_bytes().to_vec()));
        let digits = format!("hex:{}", "aB".repeat(32));
        let odd = format!("hex:{}a", "aB".repeat(32));
        let tail = |end: &str| format!("{KEY}{end}").into_bytes();
        let (full, over) = (vec![b'k'; 64], vec![b'k'; 65]);
        for (name, content, want) in [
            ("text", tail(""), text()),
            ("a newline at its end", tail("\n"), text()),
            ("written elsewhere", tail("\r\n"), text()),
            ("one newline is cut", tail("\n\n"), Ok(HmacKey::Text(tail("\n")))),
            ("hex", digits.into_bytes(), Ok(HmacKey::Hex(vec![0xab; 32]))),
            ("any octets", vec![0xff; 32], Ok(HmacKey::Text(vec![0xff; 32]))),
            ("the longest", full.clone(), Ok(HmacKey::Text(full))),
            ("too long", over, Err("has 65 octets")),
            ("too short", b"short".to_vec(), Err("has 5 octets")),
            ("empty", Vec::new(), Err("has 0 octets")),
            ("an odd digit", odd.into_bytes(), Err("is not pairs of hexadecimal digits")),
            ("another file", b"file:/etc/shadow".to_vec(), Err("names another file")),
            ("more than a key could have", vec![b'k'; 5000], Err("is longer than 4096 octets")),
        ] {
            let bench = Bench::new();
            bench.file("key", &content, 0o600);
            let found = read_file(&bench.0.path().join("key")).map(|found| found.key);
            assert_eq!(found, want.map_err(str::to_owned), "{name}");
        }
        let dir = tempfile::tempdir().expect("directory");
        let why = |path: &Path| read_file(path).err().unwrap_or_default();
        assert_eq!(why(dir.path()), "is not a regular file");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("FIFO");
        assert_eq!(why(&fifo), "is not a regular file", "and it is not waited for");
        assert!(why(&dir.path().join("none")).starts_with("cannot be read: No such file"));
    }

    #[test]
    fn keys_take_the_place_of_their_files() {
        let bench = Bench::new();
        bench.file("one", KEY.as_bytes(), 0o600);
        bench.file("two", format!("hex:{}\n", "01".repeat(32)).as_bytes(), 0o400);
        let checked = bench.check(&[(1, "one"), (9, "two")]);
        assert_eq!(said(&bench, &checked), "");
        let want = [(1, HmacKey::Text(KEY.as_bytes().to_vec())), (9, HmacKey::Hex(vec![1; 32]))];
        assert_eq!(keys(&checked), want);
    }

    #[test]
    fn a_bad_file_costs_its_key_and_the_active_one_the_configuration() {
        let bench = Bench::new();
        bench.file("good", KEY.as_bytes(), 0o600);
        bench.file("bad", b"SECRET", 0o600);
        let checked = bench.check(&[(1, "good"), (2, "bad"), (3, "none")]);
        assert_eq!(keys(&checked), [(1, HmacKey::Text(KEY.as_bytes().to_vec()))]);
        let none = "key 3: the file none cannot be read: No such file or directory (os error 2)";
        assert_eq!(said(&bench, &checked), format!("key 2: the file bad has 6 octets\n{none}"));
        assert_eq!(checked.exit_code(Lints::Shown), 4);
        // A reload does not take what has become wrong.
        assert_eq!(checked.mistakes().count(), 2);
        let checked = bench.check(&[(2, "bad"), (1, "good")]);
        assert!(checked.config.is_none());
        assert_eq!(checked.exit_code(Lints::Shown), 3);
        assert!(checked.errors().contains("key 2: the file"), "{}", checked.errors());
        assert!(!checked.render(false).contains("SECRET"), "{}", checked.render(false));
    }

    #[test]
    fn a_file_that_others_may_read_is_used_and_told_once() {
        for mode in [0o640, 0o604, 0o620] {
            let bench = Bench::new();
            bench.file("open", KEY.as_bytes(), mode);
            let checked = bench.check(&[(1, "open"), (2, "open")]);
            assert_eq!(keys(&checked).len(), 2);
            let want = format!(
                "key 1: the file open may be read or changed by others than its owner (mode {mode:04o})"
            );
            assert_eq!(said(&bench, &checked), want);
            assert_eq!(checked.mistakes().count(), 0, "a reload takes it");
        }
    }
}
