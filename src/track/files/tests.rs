use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use lbd_grammar::config::{InitFile, TrackFile};
use lbd_grammar::load_str;
use tempfile::TempDir;

use super::*;

/// A configuration in which a FILE_CHECK refers to each file.
fn config(files: &[(&str, &Path)]) -> Config {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (name, path) in files {
        let _infallible = writeln!(text, "track_file {name} {{\n file \"{}\"\n}}", path.display());
    }
    text.push_str("virtual_server 192.0.2.1 80 {\n lb_algo rr\n lb_kind DR\n protocol TCP\n");
    text.push_str(" real_server 192.0.2.2 80 {\n");
    for (name, _) in files {
        let _infallible = writeln!(text, "FILE_CHECK {{\n track_file {name}\n }}");
    }
    text.push_str(" }\n}\n");
    load_str("c", &text).config.expect("a configuration")
}

struct Bench {
    folder: TempDir,
    files: TrackedFiles,
}

impl Bench {
    fn new() -> Self {
        Bench { folder: tempfile::tempdir().expect("folder"), files: TrackedFiles::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    async fn track(&self, names: &[&str]) {
        let paths: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        let files: Vec<(&str, &Path)> = names
            .iter()
            .zip(&paths)
            .map(|(name, path)| (name.split('/').next_back().unwrap_or(name), path.as_path()))
            .collect();
        self.files.track(&config(&files)).await;
    }

    fn watch(&self, name: &str) -> Number {
        Number(self.files.watch(name).expect("tracked"))
    }
}

struct Number(watch::Receiver<Option<i64>>);

impl Number {
    fn now(&self) -> Option<i64> {
        *self.0.borrow()
    }

    async fn becomes(&mut self, wanted: i64, what: &str) {
        let waits = self.0.wait_for(|number| *number == Some(wanted));
        let ended = tokio::time::timeout(Duration::from_secs(20), waits).await.map(|found| found.is_ok());
        assert_eq!(ended, Ok(true), "{what}: {:?}", self.now());
    }
}

#[tokio::test]
async fn a_file_over_its_life() {
    let bench = Bench::new();
    bench.write("f", "5\n");
    bench.track(&["f"]).await;
    let mut number = bench.watch("f");
    assert_eq!(number.now(), Some(5), "read before the start goes on");
    for (text, wanted) in [("10", 10), ("junk", 0), ("-3 x", -3), ("", 0), ("0x10", 16)] {
        bench.write("f", text);
        number.becomes(wanted, text).await;
    }
    fs::remove_file(bench.path("f")).expect("removed");
    number.becomes(0, "removed").await;
    bench.write("f", "6");
    number.becomes(6, "there again").await;
    bench.write("new", "7");
    fs::rename(bench.path("new"), bench.path("f")).expect("renamed");
    number.becomes(7, "replaced").await;
    fs::rename(bench.path("f"), bench.path("old")).expect("renamed");
    number.becomes(0, "renamed away").await;
    fs::hard_link(bench.path("old"), bench.path("f")).expect("linked");
    number.becomes(7, "another name of a file").await;
    fs::remove_file(bench.path("f")).expect("removed");
    number.becomes(0, "removed again").await;
    fs::create_dir(bench.path("f")).expect("made");
    fs::remove_dir(bench.path("f")).expect("removed");
    bench.write("f", "8");
    number.becomes(8, "after a directory").await;
}

#[tokio::test]
async fn out_of_range_leaves_the_number_before() {
    let bench = Bench::new();
    bench.write("f", "5");
    bench.write("g", "99999999999");
    bench.track(&["f", "g"]).await;
    let mut number = bench.watch("f");
    assert_eq!(bench.watch("g").now(), Some(0), "no number before");
    bench.write("f", "2147483649");
    // What comes after is seen after it.
    bench.write("g", "1");
    bench.watch("g").becomes(1, "g").await;
    assert_eq!(number.now(), Some(5));
    bench.write("f", "-2147483648");
    number.becomes(-2_147_483_648, "f").await;
}

#[tokio::test]
async fn directories_that_come_go_and_change() {
    let bench = Bench::new();
    bench.track(&["a/b/f"]).await;
    let mut number = bench.watch("f");
    assert_eq!(number.now(), Some(0), "nothing is there");
    fs::create_dir_all(bench.path("a/b")).expect("made");
    bench.write("a/b/f", "1");
    number.becomes(1, "the directories came").await;
    fs::rename(bench.path("a"), bench.path("x")).expect("renamed");
    number.becomes(0, "a directory was renamed").await;
    bench.write("x/b/f", "2");
    fs::rename(bench.path("x"), bench.path("a")).expect("renamed");
    number.becomes(2, "and back").await;
    fs::remove_dir_all(bench.path("a")).expect("removed");
    number.becomes(0, "removed").await;
    bench.write("a", "no directory");
    fs::remove_file(bench.path("a")).expect("removed");
    fs::create_dir_all(bench.path("a/b")).expect("made");
    bench.write("a/b/f", "3");
    number.becomes(3, "made again").await;
}

/// As in a Kubernetes volume: the file is a link into a directory, which is a link that is replaced.
#[tokio::test]
async fn links_are_followed_at_each_change() {
    let bench = Bench::new();
    for (folder, text) in [("v1", "1"), ("v2", "2")] {
        fs::create_dir(bench.path(folder)).expect("made");
        bench.write(&format!("{folder}/f"), text);
    }
    symlink("v1", bench.path("data")).expect("linked");
    symlink("data/f", bench.path("f")).expect("linked");
    bench.track(&["f"]).await;
    let mut number = bench.watch("f");
    assert_eq!(number.now(), Some(1));
    symlink("v2", bench.path("data2")).expect("linked");
    fs::rename(bench.path("data2"), bench.path("data")).expect("replaced");
    number.becomes(2, "the directory's link was replaced").await;
    bench.write("v2/f", "22");
    number.becomes(22, "where it leads to").await;
    fs::remove_file(bench.path("f")).expect("removed");
    bench.write("f", "9");
    number.becomes(9, "a file instead of the link").await;
    fs::remove_file(bench.path("f")).expect("removed");
    symlink("f", bench.path("f")).expect("linked");
    number.becomes(0, "a link to itself").await;
}

#[tokio::test]
async fn what_is_no_file_is_not_waited_for() {
    let bench = Bench::new();
    nix::unistd::mkfifo(&bench.path("f"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    fs::create_dir(bench.path("g")).expect("made");
    bench.track(&["f", "g"]).await;
    assert_eq!((bench.watch("f").now(), bench.watch("g").now()), (Some(0), Some(0)));
    let large = vec![b'0'; 8 << 20];
    fs::write(bench.path("h"), large).expect("written");
    bench.track(&["f", "h"]).await;
    assert_eq!(bench.watch("h").now(), Some(0), "only its beginning is read");
    assert!(bench.files.watch("g").is_none(), "tracked no more");
}

/// The kernel tells nobody of changes in /proc.
#[tokio::test]
async fn a_file_of_the_kernels_own_is_read_now_and_then() {
    let bench = Bench::new();
    // The name of this very thread.
    let own = format!("/proc/self/task/{}/comm", nix::unistd::gettid());
    fs::write(&own, "17").expect("a name");
    symlink(&own, bench.path("name")).expect("linked");
    bench.track(&["name"]).await;
    let mut name = bench.watch("name");
    assert_eq!(name.now(), Some(17));
    fs::write(&own, "-4").expect("a name");
    name.becomes(-4, "the file").await;
    // A file of the disk again.
    fs::remove_file(bench.path("name")).expect("removed");
    bench.write("name", "5");
    name.becomes(5, "the other file").await;
}

#[tokio::test]
async fn a_reload_changes_what_is_watched() {
    let bench = Bench::new();
    assert!(bench.files.watch("f").is_none());
    bench.files.track(&config(&[])).await;
    assert!(lock(&bench.files.worker).is_none(), "no thread without files");
    bench.write("f", "1");
    bench.write("other", "2");
    bench.track(&["f"]).await;
    let mut number = bench.watch("f");
    bench.files.track(&config(&[("f", &bench.path("other"))])).await;
    assert_eq!(number.now(), Some(2), "the same name, another path");
    bench.write("f", "3");
    bench.write("other", "4");
    number.becomes(4, "the new path").await;
    bench.files.track(&config(&[])).await;
    let gone = tokio::time::timeout(Duration::from_secs(20), number.0.changed()).await;
    assert!(matches!(gone, Ok(Err(_))), "its receivers are told");
}

#[tokio::test]
async fn many_files_in_a_busy_directory() {
    let bench = Bench::new();
    let names: Vec<String> = (0..50).map(|index| format!("f{index}")).collect();
    bench.track(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut numbers: Vec<Number> = names.iter().map(|name| bench.watch(name)).collect();
    for round in 1..=40 {
        for name in &names {
            bench.write(name, &round.to_string());
        }
        for index in 0..100 {
            bench.write(&format!("noise{index}"), "x");
        }
    }
    for (name, number) in names.iter().zip(&mut numbers) {
        number.becomes(40, name).await;
    }
}

#[test]
fn places_on_the_way() {
    let folder = tempfile::tempdir().expect("folder");
    let root = folder.path().canonicalize().expect("a path");
    fs::create_dir_all(root.join("d/e")).expect("made");
    symlink("../d/e", root.join("d/up")).expect("linked");
    let at = |path: &str| -> Vec<(PathBuf, OsString)> {
        let places = places(&root.join(path));
        let inside = places.into_iter().filter(|place| place.directory.starts_with(&root));
        inside.map(|place| (place.directory, place.name)).collect()
    };
    let place = |directory: &str, name: &str| {
        let directory = if directory.is_empty() { root.clone() } else { root.join(directory) };
        (directory, OsString::from(name))
    };
    assert_eq!(at("d/e/f"), [place("", "d"), place("d", "e"), place("d/e", "f")]);
    assert_eq!(at("x/y/z"), [place("", "x")], "what is not there leads nowhere");
    assert_eq!(at("d/../d/e/f"), [place("", "d"), place("", "d"), place("d", "e"), place("d/e", "f")]);
    assert_eq!(
        at("d/up/f"),
        [place("", "d"), place("d", "up"), place("", "d"), place("d", "e"), place("d/e", "f")]
    );
    symlink("two", root.join("one")).expect("linked");
    symlink("one", root.join("two")).expect("linked");
    assert!(at("one").len() <= 42, "a loop ends");
}

#[test]
fn files_are_written_at_start() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("there"), "8").expect("written");
    fs::write(path("again"), "8888888").expect("written");
    symlink(path("target"), path("link")).expect("linked");
    fs::write(path("target"), "8").expect("written");
    let file = |name: &str, init| TrackFile { path: path(name).display().to_string(), init };
    let init = |value, overwrite| Some(InitFile { value, overwrite });
    initialize(&[
        file("none", None),
        file("new", init(7, false)),
        file("negative", init(-3, true)),
        file("there", init(7, false)),
        file("again", init(7, true)),
        file("link", init(7, true)),
        file("no/directory", init(7, true)),
    ]);
    let text = |name: &str| fs::read_to_string(path(name)).ok();
    assert_eq!(text("none"), None);
    assert_eq!(text("new").as_deref(), Some("7\n"));
    assert_eq!(text("negative").as_deref(), Some("-3\n"));
    assert_eq!(text("there").as_deref(), Some("8"), "only if it is missing");
    assert_eq!(text("again").as_deref(), Some("7\n"), "overwrite");
    assert_eq!(text("target").as_deref(), Some("8"), "links are not followed");
    let mode = fs::metadata(path("new")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Files that nothing but VRRP refers to.
#[tokio::test]
async fn files_of_virtual_routers_and_groups() {
    let bench = Bench::new();
    let text = |tracked: &str, by_group: &str| {
        let file =
            |name: &str| format!("track_file {name} {{\n file \"{}\"\n}}\n", bench.path(name).display());
        format!(
            "{}{}{}vrrp_sync_group G {{\n group {{\n V\n }}\n{by_group}\n}}\n\
             vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n{tracked}\n}}\n",
            file("a"),
            file("b"),
            file("c")
        )
    };
    bench.write("a", "1");
    bench.write("b", "2");
    let config = load_str("c", &text("track_file {\n a weight 0\n }", "track_file {\n b\n }"));
    bench.files.track(&config.config.expect("a configuration")).await;
    assert_eq!((bench.watch("a").now(), bench.watch("b").now()), (Some(1), Some(2)));
    assert!(bench.files.watch("c").is_none(), "nothing refers to it");
    let mut number = bench.watch("a");
    bench.write("a", "5");
    number.becomes(5, "a").await;
}
