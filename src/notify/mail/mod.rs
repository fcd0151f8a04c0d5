//! Alert mail.
//!
//! Here: who gets a mail when, and its words. Not here: its octets (`message`), waiting and trying
//! again (`outbox`), the talk with the relay (`smtp`).

mod message;
pub mod outbox;
mod smtp;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lbd_grammar::config::{Config, MailServer};
use lbd_vrrp::State;
use nix::unistd::{User, gethostname, getuid};

use super::line::{Facts, real_server, virtual_server, way};
use super::plan::Object;
use crate::event::{Cause, Event};

/// Where mail goes and what all of it has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// smtp_server
    pub server: MailServer,
    /// notification_email_from
    pub from: String,
    /// notification_email, at least one.
    pub to: Vec<String>,
    /// smtp_helo_name
    pub helo: String,
    /// smtp_connect_timeout: of the connect and of each answer.
    pub limit: Duration,
    /// router_id
    pub router_id: String,
}

/// A mail to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its subject.
    pub subject: String,
    /// One line.
    pub body: String,
    /// When it happened.
    pub at: SystemTime,
    /// Of the configuration of that time.
    pub settings: Arc<Settings>,
}

/// What this host is called, where the configuration does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Who lbd runs as.
    pub user: String,
}

impl Host {
    /// Blocking: the user is looked up.
    pub fn here() -> Self {
        let name = gethostname().ok().and_then(|name| name.into_string().ok());
        let user = User::from_uid(getuid()).ok().flatten().map(|user| user.name);
        Host { name: name.unwrap_or_else(|| "localhost".into()), user: user.unwrap_or_else(|| "lbd".into()) }
    }
}

/// The rules of a configuration, and what was mailed last.
#[derive(Debug, Default)]
pub struct Rules {
    /// `None`: no mail at all.
    settings: Option<Arc<Settings>>,
    no_faults: bool,
    no_checkers: bool,
    /// How each virtual router and each sync group was mailed last.
    told: HashMap<Object, Told>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Entering(State),
    Stopping,
    Deleted,
}

impl Rules {
    /// Takes a configuration.
    pub fn update(&mut self, config: &Config, host: Option<&Host>) {
        let mail = &config.global.mail;
        let name = || host.map_or("localhost", |host| host.name.as_str());
        let user = || host.map_or("lbd", |host| host.user.as_str());
        self.no_faults = mail.no_faults;
        self.no_checkers = mail.no_checkers;
        self.settings = mail.server.clone().filter(|_| !mail.to.is_empty()).map(|server| {
            Arc::new(Settings {
                server,
                from: mail.from.clone().unwrap_or_else(|| format!("{}@{}", user(), name())),
                to: mail.to.clone(),
                helo: mail.helo.clone().unwrap_or_else(|| name().to_owned()),
                limit: mail.connect_timeout,
                router_id: config.global.router_id.clone().unwrap_or_else(|| name().to_owned()),
            })
        });
    }

    /// The mail that `event` asks for.
    pub fn letter(&mut self, event: &Event, facts: &Facts) -> Option<Letter> {
        let (what, state, body) = self.words(event, facts)?;
        let settings = self.settings.clone()?;
        let subject = format!("[{}] {what} - {state}", settings.router_id);
        Some(Letter { subject, body, at: SystemTime::now(), settings })
    }

    /// What it is about, the state, the body.
    fn words(&mut self, event: &Event, facts: &Facts) -> Option<(String, &'static str, String)> {
        match event {
            Event::Vrrp { to: State::Initialize, .. } => None,
            Event::Vrrp { instance, to, priority, reason, .. } => {
                self.tell(Object::Instance(instance.clone()), Told::Entering(*to), facts)?;
                let body = format!("Entered {to} state with priority {priority}{}.", because(reason));
                Some((vrrp(instance), entering(*to), body))
            }
            Event::VrrpStopped { instance, deleted: false, .. } => {
                self.tell(Object::Instance(instance.clone()), Told::Stopping, facts)?;
                Some((vrrp(instance), "Stopping", "lbd stops.".into()))
            }
            Event::VrrpStopped { instance, .. } => {
                let told = if facts.tells_deleted { Told::Deleted } else { Told::Entering(State::Fault) };
                let already = !facts.tells_deleted && facts.state == Some(State::Fault);
                let object = Object::Instance(instance.clone());
                let news = !already && self.tell(object.clone(), told, facts).is_some();
                self.told.remove(&object);
                let state = if facts.tells_deleted { "Deleted" } else { entering(State::Fault) };
                let body = "It is no longer in the configuration.".to_owned();
                news.then(|| (vrrp(instance), state, body))
            }
            Event::VrrpGroup { to: State::Initialize, .. } => None,
            Event::VrrpGroup { group, to, reason, .. } => {
                self.tell(Object::Group(group.clone()), Told::Entering(*to), facts)?;
                let body = format!("All its virtual routers entered {to} state{}.", because(reason));
                Some((sync_group(group), entering(*to), body))
            }
            Event::VrrpGroupStopped { group, deleted: false } => {
                self.tell(Object::Group(group.clone()), Told::Stopping, facts)?;
                Some((sync_group(group), "Stopping", "lbd stops.".into()))
            }
            Event::VrrpGroupStopped { group, .. } => {
                self.told.remove(&Object::Group(group.clone()));
                None
            }
            Event::Checker { service, address, check, up, server_up, server_changed, reason } => {
                if !facts.mail || self.no_checkers && !server_changed {
                    return None;
                }
                let server = real_server(service, *address);
                let found = if *up { "succeeded" } else { "failed" };
                let body = format!("{check} of {server} {found}{}.", because(reason));
                let virtual_server = virtual_server(service, facts.sequence);
                Some((real(&server, &virtual_server), way(*server_up), body))
            }
            // What results made of it was mailed for the checker.
            Event::RealServer { cause: Cause::Result | Cause::Start, .. } => None,
            Event::RealServer { service, address, up, cause, reason, .. } => {
                let body = match cause {
                    Cause::Removed => format!("Removed{}.", because(reason)),
                    Cause::Operator => format!("By the operator{}.", because(reason)),
                    Cause::Rule => format!("By a rule of the configuration{}.", because(reason)),
                    _ => format!("lbd stops{}.", because(reason)),
                };
                let virtual_server = virtual_server(service, facts.sequence);
                facts.mail.then(|| (real(&real_server(service, *address), &virtual_server), way(*up), body))
            }
            Event::Quorum { service, up, weight, needed, sorry_server, cause } => {
                let gained = if *up { "Gained" } else { "Lost" };
                let sorry = sorry_server.map(|sorry| {
                    let sorry = real_server(service, sorry);
                    format!("; sorry server {sorry} {}", if *up { "leaves" } else { "takes over" })
                });
                let body = match cause {
                    Cause::Stop => "lbd stops.".into(),
                    Cause::Removed => "It is no longer in the configuration.".into(),
                    Cause::Result | Cause::Start | Cause::Operator | Cause::Rule => format!(
                        "{gained} the quorum: live weight {weight}, needed {needed}{}.",
                        sorry.unwrap_or_default()
                    ),
                };
                let what = format!("Virtualserver {}", virtual_server(service, facts.sequence));
                facts.mail.then(|| (what, way(*up), body))
            }
            Event::VrrpLowerPriority { .. }
            | Event::VrrpPriority { .. }
            | Event::VrrpCondition { .. }
            | Event::VrrpForeign { .. }
            | Event::Script { .. }
            | Event::Weight { .. }
            | Event::CheckFailed { .. }
            | Event::CheckWarning { .. }
            | Event::Left { .. }
            | Event::Drift { .. }
            | Event::DriftUntold { .. }
            | Event::Sync { .. } => None,
        }
    }

    /// Notes how a virtual router or a sync group is mailed, unless it is not, or was so last time.
    fn tell(&mut self, object: Object, told: Told, facts: &Facts) -> Option<()> {
        let fault = told == Told::Entering(State::Fault);
        if !facts.mail || self.no_faults && fault || self.told.get(&object) == Some(&told) {
            return None;
        }
        self.told.insert(object, told);
        Some(())
    }
}

fn vrrp(instance: &str) -> String {
    format!("VRRP Instance {instance}")
}

fn sync_group(group: &str) -> String {
    format!("VRRP Group {group}")
}

fn real(server: &str, virtual_server: &str) -> String {
    format!("Realserver {server} of virtual server {virtual_server}")
}

fn entering(state: State) -> &'static str {
    match state {
        State::Master => "Entering MASTER state",
        State::Backup => "Entering BACKUP state",
        State::Fault => "Entering FAULT state",
        State::Initialize => "Entering INIT state",
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

#[cfg(test)]
mod tests;
