//! What an agent's line means: its words, and what they add up to over time.
//!
//! Here: plain values. Not here: sockets. The words are those of HAProxy's agent-check; what a line does
//! not mention stays as it was.

use crate::check::shown::shown;
use crate::state::{Contribution, Outcome, Verdict};
use crate::types::{Check, CheckKind};

/// What an agent said, over all its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Down, and why: the description that came with it.
    down: Option<Box<str>>,
    /// Down, or under maintenance, since before its first line (alpha, another process): a word about
    /// either ends it.
    down_before: bool,
    /// Without weight, by `drain` or `0%`, since before its first line: a word about either ends it.
    drained_before: bool,
    admin: Admin,
    /// Part of the configured weight.
    percent: Option<u32>,
}

/// What the operator of the server wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    /// `ready`: traffic.
    #[default]
    Ready,
    /// `drain`: no new connections.
    Drain,
    /// `maint`: no connections.
    Maint,
}

/// One line, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `up`; or `down`, `stopped`, `fail`, `failed`. Of several the last.
    pub up: Option<bool>,
    /// `ready`, `drain`, `maint`.
    pub admin: Option<Admin>,
    /// `N%`, at most [`Answer::MOST`].
    pub percent: Option<u32>,
    /// `maxconn:N`, which IPVS has no use for.
    pub maxconn: bool,
    /// The first word that is none of these, as far as it can be shown.
    pub unknown: Option<String>,
    /// What follows a `#`, as far as it can be shown.
    pub description: String,
}

impl Answer {
    /// Largest percentage; what is above counts as this.
    pub const MOST: u32 = 25_600;

    /// Reads a line without its end; any octets are taken. Words stand between blanks and commas, in any
    /// case.
    pub fn read(line: &[u8]) -> Self {
        let mut answer = Answer::default();
        let mut rest = line;
        while let Some((&first, after)) = rest.split_first() {
            if is_between(first) {
                rest = after;
                continue;
            }
            if first == b'#' {
                answer.description = shown(after.trim_ascii());
                break;
            }
            let end = rest.iter().position(|octet| is_between(*octet)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            answer.word(word);
        }
        answer
    }

    fn word(&mut self, word: &[u8]) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("up") {
            self.up = Some(true);
        } else if ["down", "stopped", "fail", "failed"].into_iter().any(is) {
            self.up = Some(false);
        } else if is("ready") {
            self.admin = Some(Admin::Ready);
        } else if is("drain") {
            self.admin = Some(Admin::Drain);
        } else if is("maint") {
            self.admin = Some(Admin::Maint);
        } else if let Some(percent) = percent(word) {
            self.percent = Some(percent);
        } else if is_maxconn(word) {
            self.maxconn = true;
        } else {
            self.unknown.get_or_insert_with(|| shown(word));
        }
    }

    /// Whether it says anything about the server.
    pub fn says_something(&self) -> bool {
        self.up.is_some() || self.admin.is_some() || self.percent.is_some()
    }
}

impl Agent {
    /// Of a checker that was up or down before the first line, with this contribution; `None` if it has
    /// no agent.
    pub fn of(check: &Check, up: bool, contribution: Contribution) -> Option<Self> {
        let percent = match contribution {
            Contribution::Percent(percent) => Some(percent),
            Contribution::None | Contribution::Weight(_) | Contribution::Add(_) => None,
        };
        matches!(check.kind, CheckKind::Agent(_)).then(|| Agent {
            down_before: !up,
            drained_before: percent == Some(0),
            percent: percent.filter(|percent| *percent > 0),
            ..Agent::default()
        })
    }

    /// Takes a line; what the agent says now, in all.
    pub fn take(&mut self, line: &[u8]) -> Outcome {
        let answer = Answer::read(line);
        if !answer.says_something() {
            let said = if line.trim_ascii().is_empty() {
                "an empty line".to_owned()
            } else {
                format!("\"{}\"", shown(line))
            };
            return self.silent(&format!("{said} says nothing about the server"));
        }
        if answer.up.is_some() || answer.admin.is_some() {
            self.down_before &= answer.up != Some(true) && answer.admin != Some(Admin::Ready);
        }
        self.drained_before &= answer.admin.is_none() && answer.percent.is_none();
        match answer.up {
            Some(true) => self.down = None,
            Some(false) => self.down = Some(answer.description.as_str().into()),
            None => {}
        }
        self.admin = answer.admin.unwrap_or(self.admin);
        self.percent = answer.percent.or(self.percent);
        let mut reason = self.state();
        // Of `down` it is there already.
        if !answer.description.is_empty() && answer.up != Some(false) {
            reason.push_str(&format!(": {}", answer.description));
        }
        if answer.maxconn {
            reason.push_str(" (maxconn ignored)");
        }
        if let Some(unknown) = &answer.unknown {
            reason.push_str(&format!(" (\"{unknown}\" ignored)"));
        }
        Outcome { verdict: self.verdict(), reason: reason.into(), warning: None }
    }

    /// No line came, or none that says anything: all stays as it is.
    pub fn silent(&self, why: &str) -> Outcome {
        Outcome::silent(format!("no answer of the agent: {why}; the server stays as it is"))
    }

    fn verdict(&self) -> Verdict {
        if self.down_before || self.down.is_some() || self.admin == Admin::Maint {
            return Verdict::Bad;
        }
        if self.drained_before {
            return Verdict::Good(Contribution::Percent(0));
        }
        Verdict::Good(match (self.admin, self.percent) {
            (Admin::Drain, _) => Contribution::Percent(0),
            (_, Some(percent)) => Contribution::Percent(percent),
            (_, None) => Contribution::None,
        })
    }

    /// All that counts, in words.
    fn state(&self) -> String {
        let mut words = Vec::new();
        match self.admin {
            Admin::Maint => words.push("maintenance (agent)".to_owned()),
            Admin::Drain => words.push("drain (agent)".to_owned()),
            Admin::Ready if self.drained_before => words.push("drain, as before (agent)".to_owned()),
            Admin::Ready => {}
        }
        match &self.down {
            Some(why) if why.is_empty() => words.push("down (agent)".to_owned()),
            Some(why) => words.push(format!("down (agent): {why}")),
            None if self.down_before => words.push("down until the agent says up or ready".to_owned()),
            None if words.is_empty() => words.push("up (agent)".to_owned()),
            None => {}
        }
        if let Some(percent) = self.percent {
            words.insert(usize::from(!words.is_empty()), format!("weight {percent}%"));
        }
        words.join(", ")
    }
}

fn is_between(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b',')
}

fn percent(word: &[u8]) -> Option<u32> {
    let digits = word.strip_suffix(b"%").filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0_u32, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(digit).min(Answer::MOST))
    })
}

fn is_maxconn(word: &[u8]) -> bool {
    const NAME: &[u8] = b"maxconn:";
    word.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}
