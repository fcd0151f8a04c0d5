//! One step of `cargo verify`: a program whose output is shown as it comes and read line by line, with a time limit.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lbd_integration::{netns, process, wait};

/// Between two looks at whether the program still runs.
const LOOK: Duration = Duration::from_millis(100);
/// For output that is still in the pipes when the program has ended. A daemon that outlived its test may hold them open for ever.
const DRAIN: Duration = Duration::from_secs(2);

/// A program to run.
pub struct Step {
    title: String,
    limit: Duration,
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

impl Step {
    /// `program` without arguments, ended after `limit`.
    pub fn new(title: &str, limit: Duration, program: &str) -> Self {
        Self {
            title: title.to_owned(),
            limit,
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            folder: None,
        }
    }

    /// The cargo that runs this program, with `args`.
    pub fn cargo(title: &str, limit: Duration, args: &[&str]) -> Self {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        Self::new(title, limit, &cargo).args(args)
    }

    /// More arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A folder other than the workspace's to run it in.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// What it is called in the output.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Runs it to its end, or until its own limit or `end`, whichever is first; `line` gets each line of its standard output.
    ///
    /// # Errors
    /// When it cannot be started, fails, or runs out of time; all that it started is killed then.
    pub fn run(&self, root: &Path, end: Option<Instant>, mut line: impl FnMut(&str)) -> Result<()> {
        let own = Instant::now() + self.limit;
        let end = end.map_or(own, |end| end.min(own));
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.as_deref().unwrap_or(root))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| self.program.clone())?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            pass_on(stdout, io::stdout(), Some(sender.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            pass_on(stderr, io::stderr(), None);
        }
        drop(sender);

        let mut open = true;
        let mut ended = None;
        let status = loop {
            if open {
                match lines.recv_timeout(LOOK) {
                    Ok(text) => line(&text),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => open = false,
                }
            } else {
                wait::pause(LOOK);
            }
            if ended.is_none() {
                ended = child.try_wait()?.map(|status| (status, Instant::now()));
            }
            match ended {
                Some((status, at)) if !open || at.elapsed() > DRAIN => break status,
                None if Instant::now() >= end => {
                    give_up(&mut child)?;
                    bail!("not done in time; ended");
                }
                _ => {}
            }
        };
        if !status.success() {
            bail!("{status}");
        }
        Ok(())
    }
}

/// Kills it with all that it started, and removes the networks of test beds among that.
fn give_up(child: &mut Child) -> Result<()> {
    let pid = process::pid_of(child);
    let all = process::tree(pid);
    process::crash(pid);
    child.wait()?;
    for pid in all {
        netns::sweep(pid.as_raw().unsigned_abs());
    }
    Ok(())
}

/// Copies `from` to `to` as it comes, and its lines to `lines`.
fn pass_on(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    lines: Option<Sender<String>>,
) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut octets = Vec::new();
        while from.read_until(b'\n', &mut octets).is_ok_and(|n| n > 0) {
            if !octets.ends_with(b"\n") {
                // What others print next begins on a line of its own.
                octets.push(b'\n');
            }
            let _ = to.write_all(&octets).and_then(|()| to.flush());
            if let Some(lines) = &lines {
                let _ = lines.send(String::from_utf8_lossy(&octets).trim_end().to_owned());
            }
            octets.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Result<()>, Vec<String>) {
        let mut seen = Vec::new();
        let step = Step::new("shell", limit, "/bin/sh").args(&["-c", script]).env("WORD", "three");
        let result = step.run(Path::new("/"), None, |line| seen.push(line.to_owned()));
        (result, seen)
    }

    #[test]
    fn every_line_is_seen_and_the_status_told() {
        let minute = Duration::from_secs(60);
        let (result, seen) = shell("echo one; echo two >&2; printf $WORD", minute);
        assert!(result.is_ok());
        assert_eq!(seen, ["one", "three"]);
        let (result, seen) = shell("for i in 1 2 3 4 5 6 7 8 9; do echo $i; done; exit 3", minute);
        assert!(result.is_err_and(|error| error.to_string().contains('3')));
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_its_children() {
        let start = Instant::now();
        let (result, seen) = shell("sleep 60 & echo $!; wait", Duration::from_secs(1));
        assert!(result.is_err_and(|error| error.to_string().contains("time")));
        assert!(start.elapsed() < Duration::from_secs(20));
        let gone = lbd_integration::wait::until("end of the child", Duration::from_secs(5), || {
            (!Path::new(&format!("/proc/{}/exe", seen.first()?)).exists()).then_some(())
        });
        assert!(gone.is_ok(), "{gone:?}");
    }

    #[test]
    fn an_open_pipe_does_not_hold_up_the_end() {
        let start = Instant::now();
        let (result, _) = shell("sleep 30 & exit 0", Duration::from_secs(25));
        assert!(result.is_ok());
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
