//! `lbctl plan`: asks the parts what a reload would do.

use std::path::PathBuf;
use std::time::Duration;

use super::start::settings;
use super::{Daemon, Failure};
use crate::control::plan::{Plan, PlanRequest};
use crate::control::snapshot::Parts;
use crate::director::actor::{DirectorPlan, plan_start};
use crate::director::owner::{self, Preview};
use crate::loading::Place;
use crate::planning;

/// How long a file that is only planned with may take to be read.
const READ_LIMIT: Duration = Duration::from_secs(30);

impl Daemon {
    /// What a reload with a file would do. Does nothing.
    pub(super) async fn plan(&self, request: PlanRequest) -> Result<Plan, String> {
        let path = request.file.map_or_else(|| self.options.config_path(), PathBuf::from);
        if !path.is_absolute() {
            return Err(format!("{}: an absolute path is needed", path.display()));
        }
        // It may be any file, on a dead network file system too.
        let reading = Self::read(&path, &self.options, None, Place::Here, None);
        let checked = tokio::time::timeout(READ_LIMIT, reading)
            .await
            .map_err(|_| format!("{} was not read within {} s", path.display(), READ_LIMIT.as_secs()))?
            .map_err(|failure| failure.to_string())?;
        let file = path.display().to_string();
        let refused =
            |failure: Failure| Plan { file: file.clone(), message: failure.to_string(), ..Plan::default() };
        let Some(config) = &checked.config else {
            return Ok(refused(Failure::Configuration(checked.errors())));
        };
        if let Err(failure) = self.acceptable(&checked, config) {
            return Ok(refused(failure));
        }
        let settings = settings(config);
        let Parts { owner, checkers, .. } = self.shared.parts().clone();
        let (director, preview) = match (checkers, owner) {
            (Some(checkers), Some(owner)) => {
                let director =
                    checkers.director().plan(config.clone()).await.map_err(|error| error.to_string())?;
                let preview = owner.preview(director.parts.clone(), settings).await;
                (director, preview)
            }
            _ if self.options.parts.checkers && !config.virtual_servers.is_empty() => {
                let director = plan_start(config, &self.tools);
                let (options, parts) = (self.owner_options(settings), director.parts.clone());
                let previewing =
                    tokio::task::spawn_blocking(move || owner::preview_of_start(options, parts)).await;
                (director, previewing.map_err(|error| error.to_string())?)
            }
            _ => (DirectorPlan::default(), Ok(Preview::default())),
        };
        let Preview { ops, have, timeouts } = preview.map_err(|error| error.to_string())?;
        Ok(Plan {
            file,
            ok: true,
            message: String::new(),
            warnings: checked.warnings().collect(),
            operations: ops.iter().map(|op| planning::operation(op, &have)).collect(),
            draining: director.draining,
            checks: director.checks,
            vrrp: planning::routers(
                self.setup(&self.config).instances.iter(),
                self.setup(config).instances.iter(),
            ),
            other: planning::others(&self.config, config, timeouts),
        })
    }
}
