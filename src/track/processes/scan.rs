//! What /proc says of processes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::census::Looks;

/// Octets of a command line that are read: those beyond cannot be written in a configuration.
const MOST: u64 = 65_536;

/// The numbers of all processes.
pub(super) fn processes(root: &Path) -> io::Result<Vec<i32>> {
    let number = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(std::fs::read_dir(root)?.filter_map(number).collect())
}

/// What a process looks like; `None` if it has ended. `arguments`: its command line is needed as well.
pub(super) fn looks(root: &Path, process: i32, arguments: bool) -> Option<Looks> {
    let directory = root.join(process.to_string());
    let name = name(&read(&directory.join("stat"))?)?.to_vec();
    let arguments = if arguments { words(&read(&directory.join("cmdline"))?) } else { Vec::new() };
    Some(Looks { name, arguments })
}

/// The name in `PID (NAME) STATE …`, in which there may be anything; `None` of one that waits for its parent
/// only to be told that it has ended.
fn name(stat: &[u8]) -> Option<&[u8]> {
    let open = stat.iter().position(|octet| *octet == b'(')?;
    let close = stat.iter().rposition(|octet| *octet == b')')?;
    let name = stat.get(open + 1..close)?;
    let state = stat.get(close + 2)?;
    (!matches!(state, b'Z' | b'X')).then_some(name)
}

/// Each ends with a NUL.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    if line.is_empty() {
        return Vec::new();
    }
    line.split(|octet| *octet == 0).map(<[u8]>::to_vec).collect()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path).ok()?.take(MOST).read_to_end(&mut octets).ok()?;
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (stat, want) in [
            (&b"12 (nginx) S 1 12"[..], Some(&b"nginx"[..])),
            (b"12 (a (b) c) R 1", Some(b"a (b) c")),
            (b"12 () S 1", Some(b"")),
            (b"12 (gone) Z 1 12", None),
            (b"12 (gone) X", None),
            (b"12 (cut", None),
            (b"12 (cut)", None),
            (b")(", None),
            (b"", None),
        ] {
            assert_eq!(name(stat), want, "{}", String::from_utf8_lossy(stat));
        }
    }

    #[test]
    fn command_lines() {
        for (line, want) in [
            (&b"nginx\0-g\0daemon off;\0"[..], vec!["nginx", "-g", "daemon off;"]),
            (b"nginx: master process", vec!["nginx: master process"]),
            (b"a\0\0b\0", vec!["a", "", "b"]),
            (b"", vec![]),
            (b"\0", vec![]),
        ] {
            let want: Vec<Vec<u8>> = want.into_iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(words(line), want, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn this_process() {
        let (root, own) = (Path::new("/proc"), i32::try_from(std::process::id()).expect("number"));
        assert!(processes(root).expect("/proc").contains(&own));
        let looks = looks(root, own, true).expect("it lives");
        let arguments: Vec<Vec<u8>> = std::env::args().map(String::into_bytes).collect();
        assert_eq!(looks.arguments, arguments);
        assert!(!looks.name.is_empty());
        assert_eq!(super::looks(root, 0, false), None);
    }
}
