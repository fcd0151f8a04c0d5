//! Why the daemon could not start or go on, and the exit status of that.

use lbd_ipvs::IpvsError;

use crate::control::server::BindError;
use crate::namespace::NamespaceError;
use crate::options::{EXIT_CONFIG, EXIT_FAILED, EXIT_RIGHTS};
use crate::pid_file::PidFileError;
use crate::router::RouterError;

/// Why the daemon could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot run.
    #[error("{0}")]
    Configuration(String),
    /// Rights are missing.
    #[error("{0}")]
    Rights(String),
    /// Anything else.
    #[error("{0}")]
    Run(String),
}

impl Failure {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failure::Configuration(_) => EXIT_CONFIG,
            Failure::Rights(_) => EXIT_RIGHTS,
            Failure::Run(_) => EXIT_FAILED,
        }
    }

    fn of(error: &impl std::fmt::Display, is_rights: bool) -> Self {
        if is_rights { Failure::Rights(error.to_string()) } else { Failure::Run(error.to_string()) }
    }
}

impl From<IpvsError> for Failure {
    fn from(error: IpvsError) -> Self {
        Failure::of(&error, error.is_permission())
    }
}

/// Of the table's.
impl From<NamespaceError> for Failure {
    fn from(error: NamespaceError) -> Self {
        Failure::of(&format_args!("net_namespace_ipvs: {error}"), error.is_rights())
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Failure::of(&error, error.is_rights())
    }
}

impl From<PidFileError> for Failure {
    fn from(error: PidFileError) -> Self {
        Failure::of(&error, error.is_rights())
    }
}

impl From<RouterError> for Failure {
    fn from(error: RouterError) -> Self {
        Failure::of(&error, error.is_rights())
    }
}
