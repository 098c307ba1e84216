//! Options of the audit log.

use std::path::PathBuf;

use clap::Args;

use crate::audit::{AuditLog, Format, Options, Rotation, Target};
use crate::config::{Audit, Config};
use crate::exit::{Exit, Failure};

/// The file name that means standard output.
const STANDARD_OUTPUT: &str = "-";

/// Who showed which certificate, and what became of it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Audit log")]
pub struct AuditArgs {
    /// Append a JSON line to this file for each connection on which the client showed a certificate; `-` is standard
    /// output, which then has nothing else in it
    #[arg(long, value_name = "FILE", env = "TLSIGHT_AUDIT_LOG")]
    pub audit_log: Option<PathBuf>,

    /// Whose names the audit log uses [default: otel]
    #[arg(long, value_enum, value_name = "FORMAT", env = "TLSIGHT_AUDIT_FORMAT")]
    pub audit_format: Option<Format>,

    /// Size at which the file gives way to the next, 0: never [default: 104857600]
    #[arg(long, value_name = "BYTES", env = "TLSIGHT_AUDIT_MAX_SIZE")]
    pub audit_max_size: Option<u64>,

    /// Files that are kept besides the one that is written [default: 5]
    #[arg(long, value_name = "N", env = "TLSIGHT_AUDIT_KEEP")]
    pub audit_keep: Option<u32>,
}

impl AuditArgs {
    /// What flags, environment, file and defaults come to, as a file says it.
    pub fn settle(&self, file: Audit) -> Audit {
        let Some(log) = self.audit_log.clone().or(file.log) else { return Audit::default() };
        let default = Rotation::default();
        Audit {
            log: Some(log),
            format: self.audit_format.or(file.format).or(Some(Format::default())),
            max_size: self.audit_max_size.or(file.max_size).or(default.max_size),
            keep: self.audit_keep.or(file.keep).or(Some(default.keep)),
        }
    }

    /// Opens the log that flags, environment and file ask for, if they do. `waits`: see [`Options::waits`].
    ///
    /// # Errors
    /// [`Failure`] when the file cannot be opened.
    pub fn open(&self, config: &Config, waits: bool) -> Result<Option<AuditLog>, Failure> {
        let Some(options) = self.over(config, waits) else { return Ok(None) };
        AuditLog::open(&options).map(Some).map_err(|e| {
            let name = match &options.target {
                Target::File(path) => path.display().to_string(),
                Target::StandardOutput => STANDARD_OUTPUT.to_owned(),
            };
            Failure::new(Exit::OutputFailed, format!("open the audit log {name}"), e)
        })
    }

    /// The file that is written, where there is one.
    pub fn file(&self, config: &Config) -> Option<PathBuf> {
        let path = self.audit_log.clone().or_else(|| config.audit.log.clone())?;
        (path.as_os_str() != STANDARD_OUTPUT).then_some(path)
    }

    fn over(&self, config: &Config, waits: bool) -> Option<Options> {
        let config = &config.audit;
        let path = self.audit_log.clone().or_else(|| config.log.clone())?;
        let default = Rotation::default();
        let max_size = self.audit_max_size.or(config.max_size).or(default.max_size);
        Some(Options {
            target: match path.as_os_str() == STANDARD_OUTPUT {
                true => Target::StandardOutput,
                false => Target::File(path),
            },
            format: self.audit_format.or(config.format).unwrap_or_default(),
            rotation: Rotation {
                max_size: max_size.filter(|size| *size > 0),
                keep: self.audit_keep.or(config.keep).unwrap_or(default.keep),
            },
            waits,
            ..Options::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_count_for_more_than_the_file_and_the_file_for_more_than_defaults() {
        let none = AuditArgs::default();
        assert_eq!(none.over(&Config::default(), false), None);
        let audit =
            Audit { log: Some("a.log".into()), format: Some(Format::Ecs), max_size: Some(0), keep: Some(2) };
        let config = Config { audit, ..Config::default() };
        let by_file = Options {
            target: Target::File("a.log".into()),
            format: Format::Ecs,
            rotation: Rotation { max_size: None, keep: 2 },
            waits: true,
            ..Options::default()
        };
        assert_eq!(none.over(&config, true), Some(by_file));
        let flags = AuditArgs {
            audit_log: Some("-".into()),
            audit_format: Some(Format::Otel),
            audit_max_size: Some(9),
            audit_keep: Some(0),
        };
        let by_flags = Options {
            target: Target::StandardOutput,
            rotation: Rotation { max_size: Some(9), keep: 0 },
            ..Options::default()
        };
        assert_eq!(flags.over(&config, false), Some(by_flags));
    }
}
