//! Reading the configuration and looking at this host with it: what `-t` prints, what a start and a
//! reload accept.
//!
//! Here: the file, interfaces, scripts, files of keys, names of routing tables and the like → one list of
//! diagnostics. Not here: what is done with them.

mod keys;
mod names;
pub mod report;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use lbd_grammar::config::Config;
use lbd_grammar::{Diagnostic, Kind, LoadOptions, Severity, Sources, Spans};
use lbd_health::{CheckKind, TlsFileError, TlsFiles, TlsSettings};

use crate::namespace::Namespace;
use crate::script::disabled::drop_disabled;
use crate::script::security::{self, FindingKind};

/// A configuration that was read, whether it can run or not.
pub struct Checked {
    /// `None` when a diagnostic is an error.
    pub config: Option<Arc<Config>>,
    /// For SSL_GET, from the files of the `SSL` block.
    pub tls: Option<TlsSettings>,
    /// In the order of the files; what this host lacks comes last.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts, for rendering.
    pub sources: Sources,
}

/// Which diagnostics a caller cares for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lints {
    /// Findings that only lbd makes are shown and count for nothing.
    Shown,
    /// They count (`--strict`).
    Count,
}

/// What `-i` and `-e` mean for reading: without `-i` it is the host's name up to the first dot that
/// `@ID` lines are compared with.
pub fn load_options(config_id: Option<String>, all_config: bool) -> LoadOptions {
    LoadOptions { config_id: config_id.or_else(short_host_name), all_config }
}

/// `None` if the host has no name that is text.
fn short_host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    name.split('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Whose interfaces a configuration is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Those of the network namespace that lbd would run in: of this name (`-s`), else what net_namespace
    /// says.
    Starting(Option<String>),
    /// Those of the namespace that this process is in.
    Here,
}

/// Reads the configuration at `path` and holds it against this host as a start would. Blocking: file I/O,
/// user look-ups.
pub fn check(path: &Path, options: &LoadOptions) -> Checked {
    check_at(path, options, &Place::Starting(None))
}

/// The same at another place.
pub fn check_at(path: &Path, options: &LoadOptions, place: &Place) -> Checked {
    let began = std::time::Instant::now();
    let mut loaded = lbd_grammar::load(path, options);
    tracing::debug!("{} read in {} ms", path.display(), began.elapsed().as_millis());
    let mut diagnostics = loaded.diagnostics;
    let mut tls = None;
    if let Some(config) = &mut loaded.config {
        let namespace = match place {
            Place::Starting(None) => config.process.namespace.as_deref().map(|name| (name, "net_namespace")),
            Place::Starting(Some(name)) => Some((name.as_str(), "-s")),
            Place::Here => None,
        };
        diagnostics.extend(interfaces(config, &loaded.spans, namespace));
        diagnostics.extend(keys::read(config, &loaded.spans));
        diagnostics.extend(names::resolve(config, &loaded.spans));
        let findings = security::check(config);
        drop_disabled(config, &findings);
        for finding in findings {
            let span = finding.script.as_ref().and_then(|script| loaded.spans.script(script));
            let kind = match finding.kind {
                _ if finding.disabled => Kind::Repaired,
                FindingKind::PathSearch => Kind::Lint,
                _ => Kind::ScriptSecurity,
            };
            diagnostics.push(Diagnostic::warning(kind, span, finding.message).help(finding.remedy));
        }
    }
    if let Some(config) = &loaded.config {
        match tls_settings(config) {
            Ok(settings) => tls = settings,
            // keepalived's checkers end on it; so nothing begins with it, and what runs stays.
            Err(error) => {
                diagnostics.push(
                    Diagnostic::error(Kind::BadValue, loaded.spans.tls(), error.to_string())
                        .help(error.remedy),
                );
                loaded.config = None;
            }
        }
    }
    // The active key of a virtual router cannot be read.
    if diagnostics.iter().any(|one| one.severity == Severity::Error) {
        loaded.config = None;
    }
    Checked { config: loaded.config.map(Arc::new), tls, diagnostics, sources: loaded.sources }
}

/// Interfaces that are not there, and the namespace (its name, and what named it) if it is not.
fn interfaces(config: &Config, spans: &Spans, namespace: Option<(&str, &str)>) -> Vec<Diagnostic> {
    let missing = || -> Vec<&str> {
        config.interfaces().into_iter().filter(|name| nix::net::if_::if_nametoindex(*name).is_err()).collect()
    };
    let (missing, there) = match namespace {
        None => (missing(), "on this host"),
        Some((name, by)) => match Namespace::named(name).run(missing) {
            Ok(missing) => (missing, "in the network namespace"),
            Err(error) => {
                let span = spans.namespace().filter(|_| by == "net_namespace");
                let message = format!("{by}: {error}");
                return vec![if error.is_missing() {
                    Diagnostic::error(Kind::Fatal, span, message).label("lbd would run elsewhere without it")
                } else {
                    Diagnostic::warning(Kind::Lint, span, message)
                        .label("whether interfaces are there is not known")
                        .help("ask as root")
                }];
            }
        },
    };
    let said = missing.into_iter().map(|name| {
        let message = format!("interface {name} does not exist");
        let help = format!(
            "`ip link` lists the interfaces; instances that need {name} stay in FAULT until it appears, static \
             entries wait for it"
        );
        Diagnostic::warning(Kind::MissingInterface, spans.interface(name), message)
            .label(format!("not {there}"))
            .help(help)
    });
    said.collect()
}

/// Reads what SSL_GETs need; nothing where there are none, as keepalived does.
fn tls_settings(config: &Config) -> Result<Option<TlsSettings>, TlsFileError> {
    let checks = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let mut checks = checks.flat_map(|real| &real.checks).filter_map(|check| match &check.kind {
        CheckKind::Http(http) => http.tls.as_ref(),
        _ => None,
    });
    let Some(first) = checks.next() else { return Ok(None) };
    let verify = first.verify || checks.any(|tls| tls.verify);
    let files = config.tls.as_ref().map(|block| TlsFiles {
        password: block.password.clone(),
        ca: block.ca.as_ref().map(Into::into),
        certificate: block.certificate.as_ref().map(Into::into),
        key: block.key.as_ref().map(Into::into),
    });
    TlsSettings::load(&files.unwrap_or_default(), verify).map(Some)
}

impl Checked {
    /// Takes what did not change from the configuration that runs ([`Config::share`]). As long as nobody
    /// else holds this one.
    pub fn share(&mut self, running: &Config) {
        if let Some(config) = self.config.as_mut().and_then(Arc::get_mut) {
            config.share(running);
        }
    }

    /// Exit status of the config test (keepalived(8)): 0 clean, 3 cannot run, 4 runs after something
    /// was ignored or repaired, 5 scripts without script security.
    pub fn exit_code(&self, lints: Lints) -> u8 {
        let code = lbd_grammar::exit_code(&self.diagnostics);
        let strict = lints == Lints::Count && self.diagnostics.iter().any(|one| one.kind == Kind::Lint);
        // The first that applies in the order 3, 4, 5.
        if strict && code != 3 { 4 } else { code }
    }

    /// The diagnostics as text for a terminal or a file.
    pub fn render(&self, styled: bool) -> String {
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            text.push_str(&lbd_grammar::render(diagnostic, &self.sources, styled));
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        text
    }

    /// The errors alone, a line each; empty when it can run.
    pub fn errors(&self) -> String {
        let lines: Vec<String> = self
            .diagnostics
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .map(|one| one.summary(&self.sources))
            .collect();
        lines.join("\n")
    }

    /// What was ignored because it is wrong (a bad value, an unknown keyword), as text that does not
    /// depend on its line: what of it is new shows what a change of the file broke.
    pub fn mistakes(&self) -> impl Iterator<Item = (&str, String)> + '_ {
        let wrong = |one: &&Diagnostic| matches!(one.kind, Kind::BadValue | Kind::UnknownKeyword);
        self.diagnostics.iter().filter(wrong).map(|one| (one.message.as_str(), one.summary(&self.sources)))
    }

    /// The warnings, a line each.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.diagnostics
            .iter()
            .filter(|one| one.severity == Severity::Warning)
            .map(|one| one.summary(&self.sources))
    }
}

/// Appends to the log file of `-t` or of reload_check_config. Blocking.
///
/// # Errors
/// What the system says; also if it is a link.
pub fn append(path: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        // Of a FIFO nobody is waited for.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_not_there_stops_a_start_and_no_reload() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("lb.conf");
        std::fs::write(&path, "net_namespace lbd-no-such\n").expect("file");
        let options = load_options(None, false);
        for (place, want) in [
            (Place::Starting(None), Some("lb.conf:1:1: net_namespace: there is no network namespace")),
            (Place::Starting(Some("lbd-none".into())), Some("-s: there is no network namespace")),
            (Place::Here, None),
        ] {
            let checked = check_at(&path, &options, &place);
            assert_eq!(checked.config.is_some(), want.is_none(), "{place:?}");
            let errors = checked.errors();
            assert!(want.is_none_or(|want| errors.contains(want)), "{place:?}: {errors}");
            assert_eq!(errors.contains("`ip netns add lbd-no"), want.is_some(), "{place:?}: {errors}");
            assert_eq!(checked.exit_code(Lints::Shown), if want.is_some() { 3 } else { 0 }, "{place:?}");
        }
    }

    #[test]
    fn without_an_id_it_is_the_host_name_up_to_the_first_dot() {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host has a name");
        let short = name.trim().split('.').next().unwrap_or_default();
        assert_eq!(load_options(None, false).config_id.as_deref(), Some(short));
        let options = load_options(Some("lb1.example".into()), true);
        assert_eq!((options.config_id.as_deref(), options.all_config), (Some("lb1.example"), true));
    }
}
