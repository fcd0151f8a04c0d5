//! The first stage of a start: the configuration is read, and the process goes into the network namespace
//! that it names, before there is any thread or socket of the second stage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lbd_grammar::config::Config;

use super::around::Mark;
use super::{Daemon, Failure};
use crate::loading::{self, Checked, Place};
use crate::namespace::{Namespace, NamespaceError};
use crate::options::Options;
use crate::paths::Identity;
use crate::signals::Signals;

/// How long the threads that read may take to end when all is read.
const END_LIMIT: Duration = Duration::from_secs(5);

/// What the first stage found.
pub(super) struct Begun {
    /// When it began.
    pub started: Instant,
    pub checked: Checked,
    /// Can run.
    pub config: Arc<Config>,
    pub identity: Identity,
    /// What could not be had of the namespace's view of the file system.
    pub complaints: Vec<String>,
}

/// Reads the configuration and goes where it says; `None` when told to stop meanwhile.
pub(super) fn begin(options: &Options) -> Result<Option<Begun>, Failure> {
    let started = Instant::now();
    let Some(checked) = read(options)? else { return Ok(None) };
    let Some(config) = checked.config.clone() else {
        return Err(Failure::Configuration(checked.errors()));
    };
    let identity = identity(options, &config);
    let complaints = match &identity.namespace {
        Some(name) => {
            let by = if options.namespace.is_some() { "-s" } else { "net_namespace" };
            Namespace::named(name).enter().map_err(|error| failure(by, &error))?
        }
        None => Vec::new(),
    };
    Ok(Some(Begun { started, checked, config, identity, complaints }))
}

/// What tells this lbd from others.
pub(super) fn identity(options: &Options, config: &Config) -> Identity {
    let process = &config.process;
    Identity {
        namespace: options.namespace.clone().or_else(|| process.namespace.clone()),
        instance: process.instance.clone(),
    }
}

fn failure(by: &str, error: &NamespaceError) -> Failure {
    let text = format!("{by}: {error}");
    match error {
        error if error.is_missing() => Failure::Configuration(text),
        error if error.is_rights() => Failure::Rights(text),
        _ => Failure::Run(text),
    }
}

/// On a runtime that is gone when this returns: its threads are in the namespace of before.
fn read(options: &Options) -> Result<Option<Checked>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Run(format!("no runtime: {error}")))?;
    let read = runtime.block_on(async {
        let mut signals = Signals::new().map_err(|error| Failure::Run(format!("signals: {error}")))?;
        let (path, place) = (options.config_path(), Place::Starting(options.namespace.clone()));
        // A file on a dead network file system may never come.
        tokio::select! {
            checked = Daemon::read(&path, options, None, place, None) => checked.map(Some),
            () = signals.stop(options.ignore_sigint) => Ok(None),
        }
    });
    match &read {
        Ok(None) => runtime.shutdown_background(),
        _ => runtime.shutdown_timeout(END_LIMIT),
    }
    read
}

impl Daemon {
    /// Reads a configuration; what it has in common with `running` is held once. Meanwhile there is the file
    /// `mark`.
    pub(super) async fn read(
        path: &Path,
        options: &Options,
        running: Option<Arc<Config>>,
        place: Place,
        mark: Option<PathBuf>,
    ) -> Result<Checked, Failure> {
        let path = path.to_owned();
        let options = loading::load_options(options.config_id.clone(), options.all_config);
        let reading = move || {
            let _meanwhile = mark.and_then(|path| Mark::of_reload_file(&path));
            let mut checked = loading::check_at(&path, &options, &place);
            if let Some(running) = running {
                checked.share(&running);
            }
            checked
        };
        tokio::task::spawn_blocking(reading)
            .await
            .map_err(|error| Failure::Run(format!("reading the configuration: {error}")))
    }
}
