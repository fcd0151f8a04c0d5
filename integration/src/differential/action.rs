//! What a step of a scenario file can do, and its words.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use super::file::Subject;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The daemon starts.
    Start,
    /// The daemon is stopped, in order.
    Stop,
    /// A server goes away.
    Down(String),
    /// A server comes back.
    Up(String),
    /// A server's status, everywhere or for a path.
    Status(String, u16, Option<String>),
    /// A server's body, everywhere or for a path.
    Body(String, String, Option<String>),
    /// A server takes what comes and answers nothing.
    Mute(String),
    /// It answers again.
    Unmute(String),
    /// What a script ends with.
    Exit(String, u8),
    /// How many of its next runs a script fails.
    Fail(String, u8),
    /// What is in a tracked file.
    Write(String, String),
    /// The daemon reads another configuration.
    Reload(String),
    /// An address appears on the director.
    AddAddress(IpAddr),
    /// An address of the director goes away.
    RemoveAddress(IpAddr),
    /// A peer sends advertisements of that priority from now on; of 0 it sends one, and nothing more.
    Advert(String, u8),
    /// A peer sends nothing more.
    Silent(String),
    /// The other end of a link goes down.
    Cut(String),
    /// It comes up again.
    Join(String),
    /// A command of iproute2, without the word `ip`, where the daemon is.
    Ip(String),
    /// Nothing: time passes.
    Wait,
}

impl Action {
    /// Reads an action as it stands behind `step`.
    ///
    /// # Errors
    /// When it is none, or lacks a word.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let own = |word: &&str| (*word).to_owned();
        let path = |words: &[&str]| match words {
            [] => Ok(None),
            [path] => Ok(Some(own(path))),
            _ => bail!("`{text}`: one path"),
        };
        Ok(match words.as_slice() {
            ["start"] => Self::Start,
            ["stop"] => Self::Stop,
            ["down", name] => Self::Down(own(name)),
            ["up", name] => Self::Up(own(name)),
            ["status", name, code, rest @ ..] => {
                Self::Status(own(name), code.parse().context("a status")?, path(rest)?)
            }
            ["body", name, body, rest @ ..] => Self::Body(own(name), own(body), path(rest)?),
            ["mute", name] => Self::Mute(own(name)),
            ["unmute", name] => Self::Unmute(own(name)),
            ["exit", name, code] => Self::Exit(own(name), code.parse().context("an exit status")?),
            ["fail", name, runs] => Self::Fail(own(name), runs.parse().context("a number of runs")?),
            ["write", name, value] => Self::Write(own(name), own(value)),
            ["reload", name @ ..] => Self::Reload(name.join(" ")),
            ["address", "add", address] => Self::AddAddress(address.parse().context("an address")?),
            ["address", "remove", address] => Self::RemoveAddress(address.parse().context("an address")?),
            ["advert", name, priority] => Self::Advert(own(name), priority.parse().context("a priority")?),
            ["silent", name] => Self::Silent(own(name)),
            ["cut", link] => Self::Cut(own(link)),
            ["join", link] => Self::Join(own(link)),
            ["ip", command @ ..] if !command.is_empty() => Self::Ip(command.join(" ")),
            ["wait"] => Self::Wait,
            _ => bail!("`{text}` is no action"),
        })
    }

    /// What a file must be about to have it; `None`: about anything.
    pub fn of(&self) -> Option<Subject> {
        match self {
            Self::Down(_)
            | Self::Up(_)
            | Self::Status(..)
            | Self::Body(..)
            | Self::Mute(_)
            | Self::Unmute(_)
            | Self::AddAddress(_)
            | Self::RemoveAddress(_) => Some(Subject::Checkers),
            Self::Advert(..) | Self::Silent(_) | Self::Cut(_) | Self::Join(_) | Self::Ip(_) => {
                Some(Subject::Vrrp)
            }
            Self::Start
            | Self::Stop
            | Self::Exit(..)
            | Self::Fail(..)
            | Self::Write(..)
            | Self::Reload(_)
            | Self::Wait => None,
        }
    }
}
