//! config_save_dir: the configuration before and after each reload, as `lbctl config` shows it.
//!
//! Files are `lbd.conf.PID.N.pre` and `.post`, for the Nth reload of process PID; of all such files of the
//! folder the latest [`KEPT`] stay. Passwords are masked. Not here: when.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lbd_grammar::Secrets;
use lbd_grammar::config::Config;
use tokio::task::JoinHandle;
use tracing::warn;

/// Files that stay: those of twenty reloads.
pub(super) const KEPT: usize = 40;
/// How long a reload waits for them.
const LIMIT: Duration = Duration::from_secs(5);

/// Saves one pair at a time.
#[derive(Debug, Default)]
pub(super) struct Saver {
    reloads: u64,
    under_way: Option<JoinHandle<()>>,
}

impl Saver {
    /// Makes the folder, mode 0700.
    pub async fn prepare(&mut self, directory: &str) {
        let directory = PathBuf::from(directory);
        self.run(move || {
            if let Err(error) = make(&directory) {
                warn!("config_save_dir {}: {error}", directory.display());
            }
        })
        .await;
    }

    /// Writes both. What fails is said, and changes nothing.
    pub async fn save(&mut self, directory: &str, before: Arc<Config>, after: Arc<Config>) {
        let directory = PathBuf::from(directory);
        self.reloads += 1;
        let name = format!("{PREFIX}{}.{}", std::process::id(), self.reloads);
        self.run(move || {
            let saved = make(&directory)
                .and_then(|()| write(&directory.join(format!("{name}.pre")), &before))
                .and_then(|()| write(&directory.join(format!("{name}.post")), &after))
                .and_then(|()| prune(&directory, KEPT));
            if let Err(error) = saved {
                warn!("config_save_dir {}: {error}; this reload is not kept there", directory.display());
            }
        })
        .await;
    }

    /// A file system that does not answer has one thread of ours, and delays nothing for long.
    async fn run(&mut self, job: impl FnOnce() + Send + 'static) {
        if self.under_way.as_ref().is_some_and(|job| !job.is_finished()) {
            warn!("config_save_dir: a file system does not answer; this reload is not kept there");
            return;
        }
        let job = self.under_way.insert(tokio::task::spawn_blocking(job));
        let _late = tokio::time::timeout(LIMIT, job).await;
    }
}

const PREFIX: &str = "lbd.conf.";

fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        // Whatever the umask.
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o700)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, config: &Config) -> io::Result<()> {
    // Of a process that had this number before.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Never into what somebody put there meanwhile.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&lbd_grammar::octets(&lbd_grammar::dump(config, Secrets::Masked)))
}

/// Removes our files but for the latest.
fn prune(directory: &Path, kept: usize) -> io::Result<()> {
    let mut ours = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(number) else { continue };
        let meta = entry.metadata()?;
        if meta.is_file() {
            // Of the same moment the later reload.
            ours.push((meta.modified()?, number, entry.path()));
        }
    }
    ours.sort();
    let surplus = ours.len().saturating_sub(kept);
    ours.into_iter().take(surplus).try_for_each(|(.., path)| fs::remove_file(path))
}

/// N of `lbd.conf.PID.N.pre` and `lbd.conf.PID.N.post`.
fn number(name: &str) -> Option<u64> {
    let is_number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = name.strip_prefix(PREFIX)?.split('.');
    let _pid: u64 = words.next().filter(is_number)?.parse().ok()?;
    let number = words.next().filter(is_number)?.parse().ok()?;
    matches!((words.next(), words.next()), (Some("pre" | "post"), None)).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn which_files_are_ours() {
        for (name, want) in [
            ("lbd.conf.1.2.pre", Some(2)),
            ("lbd.conf.4194304.18446744073709551615.post", Some(u64::MAX)),
            ("lbd.conf", None),
            ("lbd.conf.1.2", None),
            ("lbd.conf.1.pre", None),
            ("lbd.conf.1.x.pre", None),
            ("lbd.conf.1.+2.pre", None),
            ("lbd.conf.1..pre", None),
            ("lbd.conf.1.2.pre.gz", None),
            ("keepalived.conf.1.2.pre", None),
        ] {
            assert_eq!(number(name), want, "{name}");
        }
    }

    #[tokio::test]
    async fn reloads_are_kept_in_bounds_and_without_passwords() {
        let outer = tempfile::tempdir().expect("directory");
        let directory = outer.path().join("saved");
        let config = |router_id: &str| {
            let text = format!(
                "global_defs {{\nrouter_id {router_id}\n}}\nvrrp_instance V {{\ninterface eth0\nvirtual_router_id 7\n\
                 authentication {{\nauth_type PASS\nauth_pass hush\n}}\n}}\n"
            );
            Arc::new(lbd_grammar::load_str("c", &text).config.expect("it can run"))
        };
        let mut saver = Saver::default();
        let path = directory.to_str().expect("a name");
        saver.prepare(path).await;
        assert_eq!(fs::metadata(&directory).expect("made").mode() & 0o7777, 0o700);
        fs::write(directory.join("other"), "").expect("another's file");
        for number in 0..25 {
            saver.save(path, config(&format!("r{number}")), config(&format!("r{}", number + 1))).await;
        }
        let names: Vec<String> = fs::read_dir(&directory)
            .expect("listed")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        assert_eq!(names.len(), KEPT + 1, "{names:?}");
        assert!(names.iter().any(|name| name == "other"));
        let read = |number: u32, which: &str| {
            let name = format!("lbd.conf.{}.{number}.{which}", std::process::id());
            let path = directory.join(name);
            fs::read_to_string(&path).map(|text| (text, fs::metadata(&path).expect("there").mode() & 0o7777))
        };
        assert!(read(5, "post").is_err(), "the oldest are gone");
        let (before, mode) = read(25, "pre").expect("the latest is there");
        let (after, _) = read(25, "post").expect("the latest is there");
        assert!(before.contains("router_id r24\n") && after.contains("router_id r25\n"), "{before}{after}");
        assert!(!before.contains("hush"), "{before}");
        assert_eq!(mode, 0o600);
    }
}
