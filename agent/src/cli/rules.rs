//! Options of one's own rules, and the files they are in.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_core::policy::documents::Problem;
use clap::Args;

use crate::config::{Config, Rules, parse_duration};
use crate::exit::{Exit, Failure};
use crate::export::text::visible;
use crate::rego::{Options, RegoRules, RuleFile};

/// How deep folders are searched, how many files are read, and how much of each.
const DEPTH: usize = 16;
const FILES: usize = 1000;
const BYTES: u64 = 1 << 20;

/// Rules of one's own.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Policy and findings")]
pub struct RulesArgs {
    /// Also judge by the policies in this Rego file, or in all *.rego below this folder (docs/rego.md); may be given again
    #[arg(long = "rules", value_name = "FILE|DIR", env = "TLSIGHT_RULES", value_delimiter = ',')]
    pub rules: Vec<PathBuf>,

    /// Time that one package of rules may take for one connection [default: 20ms]
    #[arg(long, value_name = "TIME", env = "TLSIGHT_RULES_TIME_LIMIT", value_parser = parse_duration)]
    pub rules_time_limit: Option<Duration>,
}

impl RulesArgs {
    /// What flags, environment, file and defaults come to, as a file says it.
    pub fn settle(&self, file: Rules) -> Rules {
        let default = Options::default();
        Rules {
            files: if self.rules.is_empty() { file.files } else { self.rules.clone() },
            time_limit: self.rules_time_limit.or(file.time_limit).or(Some(default.time_limit)),
            max_failures: file.max_failures.or(Some(default.max_failures)),
        }
    }

    /// The rules that flags, environment and file ask for, if they do.
    ///
    /// # Errors
    /// [`Failure`] when a file cannot be read, or is wrong. What is wrong is told on standard error.
    pub fn build(&self, config: &Config) -> Result<Option<RegoRules>, Failure> {
        let config = &config.rules;
        let paths = if self.rules.is_empty() { &config.files } else { &self.rules };
        if paths.is_empty() {
            return Ok(None);
        }
        let read = RuleFiles::read(paths);
        let default = Options::default();
        let options = Options {
            time_limit: self.rules_time_limit.or(config.time_limit).unwrap_or(default.time_limit),
            max_failures: config.max_failures.unwrap_or(default.max_failures).max(1),
            ..default
        };
        if read.unreadable > 0 {
            let cause = format!("{} of the files cannot be read", read.unreadable);
            return Err(Failure::new(Exit::InputUnreadable, "go by one's own rules", cause));
        }
        let tell = |problems: &[Problem]| {
            for problem in problems {
                super::say(&visible(&problem.to_string()));
            }
        };
        match RegoRules::load(&read.files, options) {
            Ok(rules) => {
                tell(rules.warnings());
                Ok(Some(rules))
            }
            Err(problems) => {
                tell(&problems);
                let cause = format!("{} in the policies", plural(problems.len(), "error"));
                let failure = Failure::new(Exit::Failure, "go by one's own rules", cause);
                Err(failure.hint("tlsight policy check FILE..."))
            }
        }
    }
}

fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Files of rules. What cannot be read is told on standard error.
#[derive(Debug, Default)]
pub(super) struct RuleFiles {
    pub(super) files: Vec<RuleFile>,
    pub(super) unreadable: u64,
}

/// A file of rules, by its name.
pub(super) fn is_rule(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("rego"))
}

impl RuleFiles {
    /// Reads files, and those below folders in order of names.
    pub(super) fn read(paths: &[PathBuf]) -> Self {
        let mut files = Self::default();
        for path in paths {
            files.path(path, 0);
        }
        files
    }

    fn path(&mut self, path: &Path, depth: usize) {
        if path.is_dir() {
            return self.folder(path, depth);
        }
        let name = path.display().to_string();
        if self.files.len() >= FILES {
            return self.fail(&name, &format!("there are more than {FILES} files"));
        }
        match text(path) {
            Ok(text) => self.files.push(RuleFile { name, text }),
            Err(error) => self.fail(&name, &error),
        }
    }

    fn folder(&mut self, folder: &Path, depth: usize) {
        let name = folder.display().to_string();
        if depth >= DEPTH {
            return self.fail(&name, &format!("folders nest deeper than {DEPTH}"));
        }
        let entries = match super::folder::entries(folder) {
            Ok(entries) => entries,
            Err(error) => return self.fail(&name, &error),
        };
        // Tests are for those who write rules.
        let is_test = |path: &Path| path.to_string_lossy().ends_with("_test.rego");
        let is_wanted = |path: &PathBuf| path.is_dir() || is_rule(path) && !is_test(path);
        for path in entries.into_iter().filter(is_wanted) {
            self.path(&path, depth + 1);
        }
    }

    fn fail(&mut self, name: &str, cause: &dyn std::fmt::Display) {
        self.unreadable += 1;
        super::report(&Failure::new(Exit::InputUnreadable, format!("read {name}"), cause));
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(BYTES + 1).read_to_string(&mut text)?;
    match u64::try_from(text.len()).is_ok_and(|n| n > BYTES) {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB")),
        false => Ok(text),
    }
}
