use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::chown;

use super::*;

/// What can be read at once, without waiting.
fn read(path: &Path) -> String {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).expect("opened");
    let mut octets = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = file.read(&mut buffer) {
        octets.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(octets).expect("UTF-8")
}

fn dir() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("fifo");
    (dir, path)
}

#[test]
fn made_written_and_removed() {
    let (_dir, path) = dir();
    let fifo = Fifo::open(&path, None).expect("made");
    let meta = fs::symlink_metadata(&path).expect("there");
    assert!(meta.file_type().is_fifo());
    assert_eq!(meta.permissions().mode() & 0o7133, 0, "0644 less the umask");
    // Before anybody reads.
    fifo.write("VS [10.0.0.1]:tcp:80 UP\n");
    fifo.write("RS [10.0.0.2]:tcp:80 [10.0.0.1]:tcp:80 DOWN\n");
    assert_eq!(read(&path), "VS [10.0.0.1]:tcp:80 UP\nRS [10.0.0.2]:tcp:80 [10.0.0.1]:tcp:80 DOWN\n");
    drop(fifo);
    assert!(!path.exists());
}

#[test]
fn one_that_was_there_stays() {
    let (_dir, path) = dir();
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).expect("made");
    let fifo = Fifo::open(&path, None).expect("opened");
    fifo.write("line\n");
    assert_eq!(read(&path), "line\n");
    drop(fifo);
    assert!(path.exists());
}

#[test]
fn what_is_no_fifo_is_refused_by_name_and_not_touched() {
    let (dir, path) = dir();
    let elsewhere = dir.path().join("elsewhere");
    mkfifo(&elsewhere, Mode::S_IRWXU).expect("made");
    type Make<'a> = Box<dyn Fn() + 'a>;
    let makes: [(&str, Make<'_>); 4] = [
        ("a file", Box::new(|| fs::write(&path, "precious").expect("written"))),
        ("a directory", Box::new(|| fs::create_dir(&path).expect("made"))),
        // Also one that leads to a FIFO: whoever can change it could have lines written elsewhere.
        ("a symbolic link", Box::new(|| symlink(&elsewhere, &path).expect("linked"))),
        ("a socket", Box::new(|| drop(std::os::unix::net::UnixListener::bind(&path).expect("bound")))),
    ];
    for (what, make) in makes {
        make();
        let text = Fifo::open(&path, None).expect_err(what).to_string();
        let want = format!("{} is not a FIFO but {what}: remove it, or name another path", path.display());
        assert_eq!(text, want);
        if what == "a file" {
            assert_eq!(fs::read_to_string(&path).expect("read"), "precious");
        }
        assert!(fs::symlink_metadata(&path).is_ok());
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
    let missing = dir.path().join("no/fifo");
    let text = Fifo::open(&missing, None).expect_err("no directory").to_string();
    assert!(text.starts_with(&format!("{} cannot be made: ", missing.display())), "{text}");
}

#[test]
fn whose_it_is() {
    if !geteuid().is_root() {
        // Who is not root cannot give a FIFO away.
        return;
    }
    let (_dir, path) = dir();
    mkfifo(&path, Mode::S_IRWXU).expect("made");
    chown(&path, Some(Uid::from_raw(12345)), None).expect("chown");
    let text = Fifo::open(&path, None).expect_err("another's").to_string();
    assert!(text.contains("belongs to user 12345"), "{text}");
    Fifo::open(&path, Some((1, 1))).expect_err("still another's");
    let fifo = Fifo::open(&path, Some((12345, 1))).expect("that of the user at the keyword");
    drop(fifo);
    assert!(path.exists());
    fs::remove_file(&path).expect("removed");
    let _fifo = Fifo::open(&path, Some((12345, 12346))).expect("made");
    let meta = fs::symlink_metadata(&path).expect("there");
    assert_eq!((meta.uid(), meta.gid()), (12345, 12346));
}

#[test]
fn without_a_reader_lines_are_lost_whole_and_counted() {
    let (_dir, path) = dir();
    let fifo = Fifo::open(&path, None).expect("made");
    let line = format!("{}\n", "x".repeat(99));
    let size = fcntl(&fifo.file, FcntlArg::F_GETPIPE_SZ).expect("size");
    let fits = usize::try_from(size).expect("a size") / line.len();
    for _ in 0..fits + 50 {
        fifo.write(&line);
    }
    let (lost, text) = (usize::try_from(fifo.lost()).expect("a count"), read(&path));
    assert!(lost >= 50, "{lost}");
    assert_eq!(text.len(), (fits + 50 - lost) * line.len());
    assert!(text.lines().all(|one| one.len() == 99), "no line is torn");
    fifo.write("again\n");
    assert_eq!((fifo.lost(), read(&path).as_str()), (0, "again\n"));
    // Longer than what is written at once or not at all.
    fifo.write(&"y".repeat(libc::PIPE_BUF + 1));
    assert_eq!((fifo.lost(), read(&path).as_str()), (1, ""));
}

#[test]
fn one_that_was_replaced_is_not_removed() {
    let (_dir, path) = dir();
    let fifo = Fifo::open(&path, None).expect("made");
    assert!(fifo.is_in_place());
    fs::remove_file(&path).expect("removed");
    assert!(!fifo.is_in_place());
    fs::write(&path, "another's").expect("written");
    assert!(!fifo.is_in_place());
    drop(fifo);
    assert_eq!(fs::read_to_string(&path).expect("read"), "another's");
}
