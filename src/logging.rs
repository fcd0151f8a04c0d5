//! The log: one line per event on standard error, written by a thread of its own.
//!
//! Here: levels, the form of a line, the bounded queue. Not here: what is logged (`event` and whoever
//! has something to say), syslog, files. A thread that logs never waits for the log's reader: when
//! [`QUEUE`] lines wait, further ones are dropped, counted, and the count is logged later.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::linux::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Environment variable with a filter that replaces `-D`'s, such as `warn,lbd_vrrp=trace`.
pub const FILTER_VARIABLE: &str = "LBD_LOG";
/// Lines that may wait for the writer.
pub const QUEUE: usize = 8192;
/// Longest line, in octets; the rest is cut off with a note.
pub const MAX_LINE: usize = 64 * 1024;
/// How long the last lines may take at exit.
pub const FLUSH_TIME: Duration = Duration::from_secs(1);

/// Keeps the log going; dropped at exit, it waits up to [`FLUSH_TIME`] for the last lines.
#[derive(Debug)]
pub struct LogGuard {
    queue: Queue,
    stop: Arc<AtomicBool>,
    finished: Receiver<()>,
}

/// Starts the log of this process; `detail` is the number of `-D`: 0 info, 1 debug, more trace, for
/// lbd's own crates, and warnings of others. Panics are logged too.
///
/// # Errors
/// The thread could not be started, or a log was set before.
pub fn start(detail: u8) -> io::Result<LogGuard> {
    let form = Form::of_stderr();
    // Lines that wait together go out together.
    let (queue, guard) = spawn_writer(form, QUEUE, BufWriter::with_capacity(MAX_LINE, io::stderr()))?;
    let wanted = std::env::var(FILTER_VARIABLE).ok();
    let (filter, complaint) = filter(detail, wanted.as_deref());
    let subscriber = tracing_subscriber::registry().with(Lines { form, queue }.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    std::panic::set_hook(Box::new(|panic| {
        let current = thread::current();
        tracing::error!(thread = current.name().unwrap_or("unnamed"), "{panic}");
    }));
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
    Ok(guard)
}

impl LogGuard {
    /// Lines dropped so far because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // A full queue needs no waking: the writer looks at `stop` when it has emptied it.
        let _full = self.queue.sender.try_send(None);
        let _late = self.finished.recv_timeout(FLUSH_TIME);
    }
}

/// The filter, and what to say when the wanted one cannot be read.
fn filter(detail: u8, wanted: Option<&str>) -> (EnvFilter, Option<String>) {
    let own = match detail {
        0 => "warn,lbd=info",
        1 => "warn,lbd=debug",
        _ => "warn,lbd=trace",
    };
    // A directive's target is a prefix: `lbd` is lbd_vrrp too.
    let build = |text: &str| EnvFilter::builder().parse(text);
    match wanted.filter(|text| !text.is_empty()).map(|text| (text, build(text))) {
        Some((_, Ok(filter))) => (filter, None),
        Some((text, Err(error))) => (
            EnvFilter::new(own),
            Some(format!(
                "{FILTER_VARIABLE}={text:?} cannot be read ({error}): `{own}` is used; write it like that"
            )),
        ),
        None => (EnvFilter::new(own), None),
    }
}

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `<6>`: the journal takes the priority from it (sd-daemon(3)) and knows the time.
    Journal,
    /// RFC 3339 time in UTC and the level.
    Dated {
        /// Levels in colour.
        colour: bool,
    },
}

impl Form {
    fn of_stderr() -> Self {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        if is_journal(&stream) {
            Form::Journal
        } else {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            Form::Dated { colour }
        }
    }

    fn begin(self, level: Level, now: SystemTime) -> String {
        let (priority, colour) = match level {
            Level::ERROR => (3, "31"),
            Level::WARN => (4, "33"),
            Level::INFO => (6, "32"),
            Level::DEBUG | Level::TRACE => (7, "2"),
        };
        match self {
            Form::Journal => format!("<{priority}>"),
            Form::Dated { colour: false } => {
                format!("{} {level:<5} ", humantime::format_rfc3339_millis(now))
            }
            Form::Dated { colour: true } => {
                format!("{} \x1b[{colour}m{level:<5}\x1b[0m ", humantime::format_rfc3339_millis(now))
            }
        }
    }

    /// What a further line of the same event begins with; indented, so that text from outside cannot
    /// pass for an event.
    fn go_on(self, begin: &str) -> &str {
        match self {
            Form::Journal => begin,
            Form::Dated { .. } => "",
        }
    }
}

/// Whether standard error is the stream that `JOURNAL_STREAM` (device:inode) names; children of a
/// service inherit the variable, but not always the stream (systemd.exec(5)).
fn is_journal(stream: &str) -> bool {
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino())
}

/// Makes a line of each event.
struct Lines {
    form: Form,
    queue: Queue,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.queue.put(line(self.form, event, SystemTime::now()));
    }
}

fn line(form: Form, event: &Event<'_>, now: SystemTime) -> String {
    let mut words = Words::default();
    event.record(&mut words);
    let level = *event.metadata().level();
    let begin = form.begin(level, now);
    let mut line = begin.clone();
    if level >= Level::DEBUG {
        let _written = write!(line, "{}: ", event.metadata().target());
    }
    let fields = words.fields.as_str();
    for part in [words.message.as_str(), fields] {
        for character in part.chars() {
            match character {
                '\n' => {
                    line.push('\n');
                    line.push_str(form.go_on(&begin));
                    line.push_str("  ");
                }
                '\t' => line.push('\t'),
                // Text from outside must not steer a terminal.
                control if control.is_control() => line.extend(control.escape_default()),
                other => line.push(other),
            }
        }
    }
    if line.len() > MAX_LINE {
        let cut = line.floor_char_boundary(MAX_LINE);
        let left_out = line.len() - cut;
        line.truncate(cut);
        let _written = write!(line, "… ({left_out} octets left out)");
    }
    line.push('\n');
    line
}

/// The message and ` name=value` for each field.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _written = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value)
        } else {
            self.record_debug(field, &value)
        }
    }
}

/// The way to the writer: never waits.
#[derive(Clone, Debug)]
struct Queue {
    sender: SyncSender<Option<String>>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    fn put(&self, line: String) {
        if self.sender.try_send(Some(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn spawn_writer(
    form: Form,
    capacity: usize,
    output: impl Write + Send + 'static,
) -> io::Result<(Queue, LogGuard)> {
    let (sender, lines) = sync_channel(capacity);
    let (finish, finished) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let queue = Queue { sender, dropped: Arc::default() };
    let writer = Writer { form, output, lines, dropped: Arc::clone(&queue.dropped), reported: 0 };
    let stopping = Arc::clone(&stop);
    thread::Builder::new().name("lbd-log".to_owned()).spawn(move || {
        writer.run(&stopping);
        let _nobody_waits = finish.send(());
    })?;
    Ok((queue.clone(), LogGuard { queue, stop, finished }))
}

struct Writer<W> {
    form: Form,
    output: W,
    lines: Receiver<Option<String>>,
    dropped: Arc<AtomicU64>,
    /// What was said of `dropped`.
    reported: u64,
}

impl<W: Write> Writer<W> {
    fn run(mut self, stop: &AtomicBool) {
        loop {
            match self.lines.recv_timeout(IDLE) {
                Ok(Some(line)) => self.write(&line),
                Ok(None) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Emptied before the count is said, so that it stands after the lines that got through.
            while let Ok(more) = self.lines.try_recv() {
                if let Some(line) = more {
                    self.write(&line);
                }
            }
            self.report_dropped();
            let _unwritable = self.output.flush();
            if stop.load(Ordering::Acquire) {
                break;
            }
        }
    }

    fn write(&mut self, line: &str) {
        if self.output.write_all(line.as_bytes()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn report_dropped(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped == self.reported {
            return;
        }
        let text = format!(
            "{}{} lines of the log were dropped: its reader is too slow\n",
            self.form.begin(Level::WARN, SystemTime::now()),
            dropped - self.reported
        );
        // Not written: said with the next ones.
        if self.output.write_all(text.as_bytes()).is_ok() {
            self.reported = dropped;
        }
    }
}

/// How long the writer waits for a line before it looks at the count of dropped ones.
const IDLE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// An output that can be made to block, as a pipe with a slow reader does.
    #[derive(Clone, Default)]
    struct Pipe(Arc<(Mutex<Inner>, Condvar)>);

    #[derive(Default)]
    struct Inner {
        blocked: bool,
        text: Vec<u8>,
    }

    impl Pipe {
        fn block(&self, on: bool) {
            self.0.0.lock().expect("lock").blocked = on;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().expect("lock").text.clone()).expect("text")
        }
    }

    impl Write for Pipe {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            let mut inner =
                self.0.1.wait_while(self.0.0.lock().expect("lock"), |inner| inner.blocked).expect("lock");
            inner.text.extend_from_slice(data);
            Ok(data.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const PLAIN: Form = Form::Dated { colour: false };

    /// What is logged by `speak`, without the times.
    fn logged(form: Form, filter: EnvFilter, speak: impl FnOnce()) -> String {
        let pipe = Pipe::default();
        let (queue, guard) = spawn_writer(form, 64, pipe.clone()).expect("thread");
        let subscriber = tracing_subscriber::registry().with(Lines { form, queue }.with_filter(filter));
        tracing::subscriber::with_default(subscriber, speak);
        drop(guard);
        pipe.text()
    }

    #[test]
    fn lines_for_the_journal() {
        let text = logged(Form::Journal, EnvFilter::new("trace"), || {
            tracing::error!("broken");
            tracing::warn!(target: "lbd::x", peer = %"10.0.0.1", ttl = 3, why = "too low", "dropped");
            tracing::info!("two\nlines");
            tracing::debug!(target: "lbd_vrrp::engine", late = ?Some(1), "tick");
            tracing::info!(from = %"x\u{1b}[2J\r\n<0>forged\u{9b}", "outside");
        });
        assert_eq!(
            text,
            "<3>broken\n<4>dropped peer=10.0.0.1 ttl=3 why=\"too low\"\n<6>two\n<6>  lines\n\
             <7>lbd_vrrp::engine: tick late=Some(1)\n\
             <6>outside from=x\\u{1b}[2J\\r\n<6>  <0>forged\\u{9b}\n"
        );
    }

    #[test]
    fn lines_for_people_have_the_time_and_the_level() {
        let text = logged(PLAIN, EnvFilter::new("info"), || tracing::info!("hello\nthere"));
        let (time, rest) = text.split_once(' ').expect("time");
        assert_eq!(rest, "INFO  hello\n  there\n");
        assert_eq!(time.len(), "2026-11-03T12:00:00.123Z".len());
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
        assert_eq!(
            Form::Dated { colour: true }.begin(Level::WARN, SystemTime::UNIX_EPOCH),
            "1970-01-01T00:00:00.000Z \x1b[33mWARN \x1b[0m "
        );
    }

    #[test]
    fn levels_by_detail_and_by_variable() {
        let speak = || {
            tracing::info!(target: "lbd", "A");
            tracing::debug!(target: "lbd_vrrp::engine", "B");
            tracing::trace!(target: "lbd::daemon", "C");
            tracing::info!(target: "hyper", "D");
            tracing::warn!(target: "netlink_proto", "E");
        };
        for (detail, wanted, want, complains) in [
            (0, None, "AE", false),
            (1, None, "ABE", false),
            (2, None, "ABCE", false),
            (9, None, "ABCE", false),
            (0, Some(""), "AE", false),
            (0, Some("trace"), "ABCDE", false),
            (2, Some("error"), "", false),
            (0, Some("lbd=nonsense"), "AE", true),
        ] {
            let (filter, complaint) = filter(detail, wanted);
            let text = logged(Form::Journal, filter, speak);
            let got: String = text.lines().filter_map(|line| line.chars().last()).collect();
            assert_eq!(got, want, "{detail} {wanted:?}");
            assert_eq!(complaint.is_some(), complains, "{complaint:?}");
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_is_dropped_is_counted_and_said() {
        let pipe = Pipe::default();
        pipe.block(true);
        let (queue, guard) = spawn_writer(Form::Journal, 4, pipe.clone()).expect("thread");
        for number in 0..100 {
            queue.put(format!("{number}\n")); // would hang here
        }
        let dropped = guard.dropped();
        // Four wait, and the writer may have taken one.
        assert!((95..=96).contains(&dropped), "{dropped}");
        pipe.block(false);
        drop(guard);
        let text = pipe.text();
        assert!(text.starts_with("0\n1\n2\n3\n"), "{text}");
        assert!(
            text.ends_with(&format!("<4>{dropped} lines of the log were dropped: its reader is too slow\n"))
        );
        queue.put("after the end\n".to_owned());
    }

    #[test]
    fn the_end_does_not_wait_for_ever() {
        let pipe = Pipe::default();
        pipe.block(true);
        let (queue, guard) = spawn_writer(Form::Journal, 1, pipe.clone()).expect("thread");
        queue.put("x\n".to_owned());
        let begin = std::time::Instant::now();
        drop(guard);
        assert!(begin.elapsed() < FLUSH_TIME * 10, "{:?}", begin.elapsed());
        assert_eq!(pipe.0.0.lock().expect("lock").text, b"");
        pipe.block(false);
    }

    #[test]
    fn long_lines_are_cut() {
        let text =
            logged(Form::Journal, EnvFilter::new("info"), || tracing::info!("{}", "ä".repeat(MAX_LINE)));
        assert!(text.len() < MAX_LINE + 64);
        assert!(text.ends_with("octets left out)\n"), "{}", text.len());
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let stderr = std::fs::metadata("/proc/self/fd/2").expect("stderr");
        assert!(is_journal(&format!("{}:{}", stderr.st_dev(), stderr.st_ino())));
        for other in ["", "8:1", "x"] {
            assert!(!is_journal(other), "{other}");
        }
    }
}
