//! The format of a scenario file: configurations, servers, steps, and the differences that are known.
//!
//! Here: text to values. Not here: the words of a step (`action`), what it does (`drive`). The format is described in
//! `integration/differential/README.md`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::action::Action;

/// A scenario file.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Its name, without the extension.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// What is looked at.
    pub subject: Subject,
    /// Time without a change after which a step has come to its end: longer than any delay of the configuration.
    pub quiet: Duration,
    /// Real servers.
    pub servers: Vec<Server>,
    /// Other routers.
    pub peers: Vec<Peer>,
    /// Scripts of checks, by name.
    pub scripts: Vec<String>,
    /// Tracked files and what is in them at first.
    pub files: Vec<(String, String)>,
    /// Configurations by name; the first one has none.
    pub configs: BTreeMap<String, String>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// What a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Virtual servers: the table of IPVS.
    Checkers,
    /// Virtual routers: addresses, routes, rules, links.
    Vrrp,
}

/// A router at the other end of a link, which says what the steps tell it to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name in the steps.
    pub name: String,
    /// Its address, which decides the link.
    pub source: Ipv4Addr,
    /// Virtual router.
    pub vrid: u8,
    /// Addresses in its advertisements.
    pub addresses: Vec<Ipv4Addr>,
}

/// A server that checks ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name in the steps.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it is there from the beginning.
    pub up: bool,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Accepts connections.
    Tcp,
    /// Answers each request with its status and body.
    Http,
    /// Greets with its code, answers HELO and QUIT.
    Smtp,
    /// Answers each query with its response code.
    Dns,
    /// Answers each datagram with its body.
    Udp,
    /// Has an address, and answers echo requests.
    Host,
}

/// Links of a daemon that routes.
pub const LINKS: [&str; 2] = ["eth0", "eth1"];

/// Something that happens, and what may differ after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Line in the file.
    pub line: usize,
    /// As it stands there.
    pub text: String,
    /// What happens, all at once.
    pub actions: Vec<Action>,
    /// Time without a change after which it has ended, when it is not the file's.
    pub quiet: Option<Duration>,
    /// Whether nothing may change.
    pub unchanged: bool,
    /// Whether the order of what is told is left to chance: by several checks at once.
    pub unordered: bool,
    /// Lines that may be there or not, without their sign.
    pub chance: Vec<String>,
    /// Differences, as [`record::differences`](super::record::differences) writes them.
    pub differs: Vec<String>,
    /// Why they are there.
    pub because: String,
}

/// A line without indent, its number, and the lines with indent that follow.
struct Statement<'t> {
    number: usize,
    line: &'t str,
    body: Vec<(usize, &'t str)>,
}

impl File {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that is not understood, with its number.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut file = Self {
            name: name.to_owned(),
            about: String::new(),
            subject: Subject::Checkers,
            quiet: Duration::from_millis(1500),
            servers: Vec::new(),
            peers: Vec::new(),
            scripts: Vec::new(),
            files: Vec::new(),
            configs: BTreeMap::new(),
            steps: Vec::new(),
        };
        for statement in statements(text)? {
            let number = statement.number;
            file.statement(statement).with_context(|| format!("line {number}"))?;
        }
        file.check()?;
        Ok(file)
    }

    fn statement(&mut self, statement: Statement<'_>) -> Result<()> {
        let words: Vec<&str> = statement.line.split_whitespace().collect();
        let (keyword, rest) = words.split_first().context("an empty statement")?;
        if !matches!(*keyword, "config" | "step") {
            ensure!(statement.body.is_empty(), "`{keyword}` takes no indented lines");
        }
        match (*keyword, rest) {
            ("about", [_, ..]) => self.about = rest.join(" "),
            ("vrrp", []) => self.subject = Subject::Vrrp,
            ("quiet", [seconds]) => self.quiet = quiet(seconds)?,
            ("peer", [name, source, vrid, addresses @ ..]) => {
                ensure!(self.peers.iter().all(|peer| peer.name != *name), "{name} is there twice");
                self.peers.push(Peer {
                    name: (*name).to_owned(),
                    source: source.parse().context("an address of its own")?,
                    vrid: vrid.parse().context("a virtual_router_id")?,
                    addresses: addresses
                        .iter()
                        .map(|address| address.parse())
                        .collect::<Result<_, _>>()
                        .context("addresses of IPv4")?,
                });
            }
            ("server", [name, kind, address, state @ ..]) => {
                let up = match state {
                    [] => true,
                    ["down"] => false,
                    _ => bail!("a server is there from the beginning, or `down`"),
                };
                let kind = kind_of(kind)?;
                let address = match kind {
                    Kind::Host => SocketAddr::new(address.parse().context("an address")?, 0),
                    _ => address.parse().context("ADDRESS:PORT")?,
                };
                ensure!(self.server(name).is_none(), "{name} is there twice");
                self.servers.push(Server { name: (*name).to_owned(), kind, address, up });
            }
            ("script", [name]) => self.scripts.push((*name).to_owned()),
            ("file", [name, value]) => self.files.push(((*name).to_owned(), (*value).to_owned())),
            ("config", name) => {
                let lines: String = statement.body.iter().map(|(_, line)| format!("{line}\n")).collect();
                ensure!(!lines.is_empty(), "a configuration without lines");
                ensure!(
                    self.configs.insert(name.join(" "), lines).is_none(),
                    "a configuration is there twice"
                );
            }
            ("step", [_, ..]) => {
                let text = statement.line.trim_start_matches("step").trim();
                self.steps.push(step(statement.number, text, &statement.body)?);
            }
            _ => bail!("`{}` is not understood", statement.line),
        }
        Ok(())
    }

    /// The server of that name.
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Names that are not there would be noticed only when the step's turn comes.
    fn check(&self) -> Result<()> {
        ensure!(!self.about.is_empty(), "no `about`");
        ensure!(self.configs.contains_key(""), "no `config`");
        let mut running = false;
        for step in &self.steps {
            for action in &step.actions {
                ensure!(
                    action.of().is_none_or(|subject| subject == self.subject),
                    "line {}: the file is about {:?}, `{}` is not",
                    step.line,
                    self.subject,
                    step.text
                );
                let (what, there) = match action {
                    Action::Down(name)
                    | Action::Up(name)
                    | Action::Status(name, ..)
                    | Action::Body(name, ..)
                    | Action::Mute(name)
                    | Action::Unmute(name) => (format!("server {name}"), self.server(name).is_some()),
                    Action::Exit(name, _) | Action::Fail(name, _) => {
                        (format!("script {name}"), self.scripts.contains(name))
                    }
                    Action::Write(name, _) => {
                        (format!("file {name}"), self.files.iter().any(|(file, _)| file == name))
                    }
                    Action::Reload(name) => {
                        (format!("configuration {name}"), running && self.configs.contains_key(name))
                    }
                    Action::Start => ("daemon at rest".to_owned(), !std::mem::replace(&mut running, true)),
                    Action::Stop => ("daemon that runs".to_owned(), std::mem::replace(&mut running, false)),
                    Action::Advert(name, _) | Action::Silent(name) => {
                        (format!("peer {name}"), self.peers.iter().any(|peer| peer.name == *name))
                    }
                    Action::Cut(link) | Action::Join(link) => {
                        (format!("link {link}"), LINKS.contains(&link.as_str()))
                    }
                    Action::AddAddress(_) | Action::RemoveAddress(_) | Action::Ip(_) | Action::Wait => {
                        continue;
                    }
                };
                ensure!(there, "line {}: no {what} for `{}`", step.line, step.text);
            }
        }
        ensure!(self.steps.iter().any(|step| step.actions.contains(&Action::Start)), "nothing is started");
        Ok(())
    }
}

/// Lines grouped by their indent. Comments begin with `#` in the first column; within a configuration they are its own.
fn statements(text: &str) -> Result<Vec<Statement<'_>>> {
    let mut statements: Vec<Statement<'_>> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line.trim_end())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            let owner =
                statements.last_mut().with_context(|| format!("line {number}: belongs to nothing"))?;
            owner.body.push((number, line.trim_start()));
        } else {
            statements.push(Statement { number, line, body: Vec::new() });
        }
    }
    Ok(statements)
}

fn kind_of(word: &str) -> Result<Kind> {
    Ok(match word {
        "tcp" => Kind::Tcp,
        "http" => Kind::Http,
        "smtp" => Kind::Smtp,
        "dns" => Kind::Dns,
        "udp" => Kind::Udp,
        "host" => Kind::Host,
        _ => bail!("no kind of server: {word}"),
    })
}

fn quiet(seconds: &str) -> Result<Duration> {
    let seconds: f64 = seconds.parse().context("seconds")?;
    ensure!((0.2..=20.0).contains(&seconds), "0.2 to 20 seconds");
    Ok(Duration::from_secs_f64(seconds))
}

fn step(number: usize, text: &str, body: &[(usize, &str)]) -> Result<Step> {
    let mut step = Step {
        line: number,
        text: text.to_owned(),
        actions: text.split(';').map(Action::parse).collect::<Result<_>>()?,
        quiet: None,
        unchanged: false,
        unordered: false,
        chance: Vec::new(),
        differs: Vec::new(),
        because: String::new(),
    };
    for (number, line) in body {
        match line.split_once(' ') {
            None if *line == "unchanged" => step.unchanged = true,
            None if *line == "unordered" => step.unordered = true,
            Some(("quiet", seconds)) => step.quiet = Some(quiet(seconds)?),
            Some(("~", line)) => step.chance.push(line.to_owned()),
            Some(("-" | "+", _)) => step.differs.push((*line).to_owned()),
            Some(("because", reason)) => {
                if !step.because.is_empty() {
                    step.because.push(' ');
                }
                step.because.push_str(reason);
            }
            _ => bail!("line {number}: `{line}` is not understood"),
        }
    }
    ensure!(
        step.differs.is_empty() == step.because.is_empty(),
        "a difference has a reason (`because`), and a reason a difference (`-`, `+`)"
    );
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A comment.
about   one server
quiet   0.5
server  a http 10.1.0.1:80
server  b dns [fd00:1::2]:53 down
server  c host 10.2.0.3
script  check
file    load 0

config
    # a comment of the configuration
    virtual_server 10.0.9.1 80 {
    }
config other
    ! nothing

step start
    unordered
step down a; status a 503 /x; write load -3
step reload other
    - fifo RS x
    because README
    because has the row
step exit check 4
    quiet 3
    unchanged
step stop
";

    #[test]
    fn a_file_is_read() {
        let file = File::parse("01-x", TEXT).expect("a file");
        assert_eq!((file.about.as_str(), file.quiet), ("one server", Duration::from_millis(500)));
        assert_eq!(
            file.servers.iter().map(|server| (server.kind, server.up)).collect::<Vec<_>>(),
            [(Kind::Http, true), (Kind::Dns, false), (Kind::Host, true)]
        );
        assert_eq!(file.configs[""], "# a comment of the configuration\nvirtual_server 10.0.9.1 80 {\n}\n");
        assert_eq!(file.configs["other"], "! nothing\n");
        assert_eq!(
            file.steps[1].actions,
            [
                Action::Down("a".to_owned()),
                Action::Status("a".to_owned(), 503, Some("/x".to_owned())),
                Action::Write("load".to_owned(), "-3".to_owned())
            ]
        );
        assert!(file.steps[0].unordered && !file.steps[0].unchanged && file.steps[3].unchanged);
        assert_eq!((file.steps[3].quiet, file.steps[0].quiet), (Some(Duration::from_secs(3)), None));
        assert_eq!(
            (file.steps[2].differs.as_slice(), file.steps[2].because.as_str()),
            (["- fifo RS x".to_owned()].as_slice(), "README has the row")
        );
    }

    const ROUTERS: &str = "\
about   one router
vrrp
peer    p 10.0.0.2 51 10.0.0.100 10.0.0.101
config
    vrrp_instance V {
    }

step start
step advert p 200; cut eth1
    ~ fifo INSTANCE x
step advert p 0; silent p; join eth1
step ip route del 10.8.0.0/16
step stop
";

    #[test]
    fn a_file_about_routers_is_read() {
        let file = File::parse("01-x", ROUTERS).expect("a file");
        assert_eq!(file.subject, Subject::Vrrp);
        let [peer] = file.peers.as_slice() else { panic!("{:?}", file.peers) };
        assert_eq!((peer.source, peer.vrid, peer.addresses.len()), (Ipv4Addr::new(10, 0, 0, 2), 51, 2));
        assert_eq!(
            file.steps[1].actions,
            [Action::Advert("p".to_owned(), 200), Action::Cut("eth1".to_owned())]
        );
        assert_eq!(file.steps[1].chance, ["fifo INSTANCE x"]);
        assert_eq!(file.steps[3].actions, [Action::Ip("route del 10.8.0.0/16".to_owned())]);
        for (name, from, to, want) in [
            ("an unknown peer", "advert p 200", "advert q 200", "no peer q"),
            ("an unknown link", "cut eth1", "cut eth7", "no link eth7"),
            ("an action of the other subject", "silent p", "address add 10.0.0.9", "is about Vrrp"),
            ("and the other way round", "vrrp\n", "", "is about Checkers"),
            ("a priority that cannot be", "advert p 200", "advert p 256", "a priority"),
        ] {
            let error = File::parse("x", &ROUTERS.replacen(from, to, 1)).expect_err(name);
            assert!(format!("{error:#}").contains(want), "{name}: {error:#}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (name, from, to, want) in [
            ("an unknown statement", "script  check", "skript check", "line 7: `skript check`"),
            ("an unknown server", "down a", "down z", "no server z"),
            ("an unknown configuration", "reload other", "reload more", "no configuration more"),
            ("an unknown script", "exit check 4", "exit chekc 4", "no script chekc"),
            ("an unknown file", "write load", "write laod", "no file laod"),
            (
                "a difference without a reason",
                "    because README\n    because has the row\n",
                "",
                "has a reason",
            ),
            ("an unknown note", "    unchanged", "    unchangd", "`unchangd` is not understood"),
            ("started twice", "exit check 4", "start", "no daemon at rest"),
            ("stopped twice", "exit check 4", "stop", "no daemon that runs"),
            ("no about", "about   one server", "", "no `about`"),
            ("two servers of one name", "server  c", "server  a", "a is there twice"),
        ] {
            assert_ne!(TEXT.replace(from, to), TEXT, "{name}");
            let error = File::parse("x", &TEXT.replacen(from, to, 1)).expect_err(name);
            assert!(format!("{error:#}").contains(want), "{name}: {error:#}");
        }
    }
}
