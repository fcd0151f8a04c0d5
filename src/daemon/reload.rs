//! A reload: the file is read again, and what it says is applied unless it is wrong.
//!
//! Not here: applying (`Daemon::apply`).

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use lbd_grammar::config::Config;
use tracing::{error, info, warn};

use super::begin::identity;
use super::{Daemon, Failure, around, give_back};
use crate::control::ReloadOutcome;
use crate::control::snapshot::Request;
use crate::loading::{self, Checked, Place};
use crate::reload_time::Watcher;

/// How long a reload waits for its file.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// How long it waits for the log file of reload_check_config.
const LOG_LIMIT: Duration = Duration::from_secs(5);

impl Daemon {
    /// Reads the file again. A configuration that cannot run changes nothing.
    pub(super) async fn reload(&mut self) -> ReloadOutcome {
        let path = self.options.config_path();
        let running = self.config.clone();
        let reading =
            Self::read(&path, &self.options, Some(running.clone()), Place::Here, self.reload_file());
        // A file system that does not answer must not keep every later reload waiting.
        let read = tokio::time::timeout(READ_LIMIT, reading).await.unwrap_or_else(|_| {
            let (path, seconds) = (path.display(), READ_LIMIT.as_secs());
            Err(Failure::Run(format!(
                "{path} was not read within {seconds} s: see to its file system, or to the name service, and reload again"
            )))
        });
        let outcome = match read {
            Ok(checked) => {
                let taken = self.take(&checked).await;
                self.log_check(&running, &checked, taken.as_ref().err()).await;
                taken.map(|()| checked.warnings().collect())
            }
            Err(failure) => Err(failure),
        };
        match (&outcome, &self.config.global.save_dir) {
            (Ok(_), Some(directory)) => self.saver.save(directory, running, self.config.clone()).await,
            _ => drop(running),
        }
        let mut status = self.shared.config.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(warnings) => {
                give_back();
                status.generation += 1;
                status.loaded_at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
                status.last_error = None;
                for warning in &warnings {
                    warn!("{warning}");
                }
                info!(generation = status.generation, "configuration reloaded");
                ReloadOutcome { ok: true, generation: status.generation, message: String::new(), warnings }
            }
            Err(failure) => {
                let message = failure.to_string();
                error!("reload refused, the running configuration stays: {message}");
                status.last_error = Some(message.clone());
                ReloadOutcome { ok: false, generation: status.generation, message, warnings: Vec::new() }
            }
        }
    }

    /// reload_check_config: what was found goes to its log file, too.
    async fn log_check(&self, running: &Config, checked: &Checked, refused: Option<&Failure>) {
        let check = running.global.reload.check.as_ref();
        let Some(log) = check.and_then(|check| check.log.clone()) else { return };
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let path = self.options.config_path();
        let end = match refused {
            None => "taken".to_owned(),
            Some(failure) => format!("refused: {failure}"),
        };
        let text = format!("{now} reload of {}: {end}\n{}", path.display(), checked.render(false));
        let log = PathBuf::from(log);
        let path = log.clone();
        let append = move || {
            if let Err(error) = loading::append(&path, &text) {
                warn!("reload_check_config {}: {error}", path.display());
            }
        };
        if !around::within(LOG_LIMIT, append).await {
            warn!("reload_check_config {}: its file system does not answer", log.display());
        }
    }

    /// Applies a configuration unless it is wrong. A start goes on without what it must ignore, as
    /// keepalived does; a reload has something better to go on with, and refuses what has become wrong.
    async fn take(&mut self, checked: &Checked) -> Result<(), Failure> {
        let Some(config) = &checked.config else {
            return Err(Failure::Configuration(checked.errors()));
        };
        self.acceptable(checked, config)?;
        let tls_before = checked.tls.clone().map(|tls| self.tools.tls.replace(tls));
        if let Err(failure) = self.apply(config).await {
            if let Some(before) = tls_before {
                self.tools.tls.replace(before);
            }
            self.restore().await;
            return Err(failure);
        }
        self.mistakes = checked.mistakes().map(|(message, _)| message.to_owned()).collect();
        *self.shared.router_id.lock().unwrap_or_else(PoisonError::into_inner) =
            config.global.router_id.clone();
        *self.shared.running.lock().unwrap_or_else(PoisonError::into_inner) = config.clone();
        self.config = config.clone();
        self.follow();
        self.adjust_threads(config);
        self.watch_reload_time();
        Ok(())
    }

    /// Whether a reload may take this configuration.
    pub(super) fn acceptable(&self, checked: &Checked, config: &Config) -> Result<(), Failure> {
        let known = |message: &str| self.mistakes.contains(message);
        let new: Vec<String> =
            checked.mistakes().filter(|(message, _)| !known(message)).map(|(_, summary)| summary).collect();
        if !new.is_empty() {
            return Err(Failure::Configuration(new.join("\n")));
        }
        let (running, wanted) = (&self.config, config);
        let (is, would_be) = (identity(&self.options, running), identity(&self.options, wanted));
        let changed = [
            ("net_namespace", is.namespace != would_be.namespace),
            ("instance", is.instance != would_be.instance),
            ("net_namespace_ipvs", running.process.ipvs_namespace != wanted.process.ipvs_namespace),
            ("disable_local_igmp", running.global.disable_local_igmp != wanted.global.disable_local_igmp),
        ];
        match changed.iter().find(|(_, changed)| *changed) {
            None => Ok(()),
            Some((keyword, _)) => Err(Failure::Configuration(format!(
                "{keyword} is another than at the start: it cannot change by a reload; restart lbd, or write it as \
                 it was"
            ))),
        }
    }

    /// reload_time_file of the configuration that runs.
    pub(super) fn watch_reload_time(&mut self) {
        let reload = &self.config.global.reload;
        let Some(path) = &reload.time_file else {
            self.reload_time = None;
            return;
        };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        if self.reload_time.as_ref().is_some_and(|watcher| watcher.is_for(&path, reload.repeat)) {
            return;
        }
        let requests = self.shared.requests.clone();
        let ask = move || {
            let (asker, _nobody_waits) = tokio::sync::oneshot::channel();
            // On the watcher's thread, which may wait for a reload under way.
            let _stopping = requests.blocking_send(Request::Reload(asker));
        };
        self.reload_time = Watcher::start(path, reload.repeat, ask)
            .inspect_err(|error| warn!(%error, "reload_time_file is not watched"))
            .ok();
    }
}
