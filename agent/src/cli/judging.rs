//! Options of policy and findings, and where other settings come from.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use agent_core::policy::documents::{Documents, Limits, Severity};
use agent_core::policy::set::PolicySet;
use clap::Args;
use clap::builder::FalseyValueParser;

use super::policy::files::Files;
use super::policy::print::problems_to_stderr;
use crate::config::{Config, Policy, Switch, Trust};
use crate::enrich::kubernetes::PolicyFiles;
use crate::exit::{Exit, Failure};
use crate::export::text::visible;
use crate::judging::Judging;
use crate::trust::{self, CLUSTER_CA};

/// Where settings come from that no flag gives.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// Read settings from a YAML file; the environment and flags count for more
    #[arg(long, value_name = "FILE", env = "TLSIGHT_CONFIG")]
    pub config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be read or is wrong.
    pub fn load(&self) -> Result<Config, Failure> {
        Config::load(self.config.as_deref())
    }
}

/// What is expected, and what counts as wrong.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Policy and findings")]
pub struct JudgingArgs {
    /// Hold connections against the policy documents in this file or folder (see `tlsight policy`); may be given again
    #[arg(long = "policy", value_name = "FILE", env = "TLSIGHT_POLICY", value_delimiter = ',')]
    pub policies: Vec<PathBuf>,

    /// Trust the authorities in this PEM file or folder too; policies call them by NAME (without one, by the name of the
    /// file); may be given again
    #[arg(long = "ca-bundle", value_name = "[NAME=]FILE", env = "TLSIGHT_CA_BUNDLE", value_delimiter = ',')]
    pub ca_bundles: Vec<Bundle>,

    /// Do not trust the authorities that this system trusts
    #[arg(long, env = "TLSIGHT_NO_SYSTEM_ROOTS", value_parser = FalseyValueParser::new())]
    pub no_system_roots: bool,
}

/// A bundle of authorities, as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What policies call it.
    pub name: String,
    /// A file or folder.
    pub path: PathBuf,
}

impl FromStr for Bundle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named =
            text.split_once('=').filter(|(name, _)| !name.contains('/') || name.starts_with("spiffe://"));
        let (name, path) = match named {
            Some((name, path)) => (name.to_owned(), PathBuf::from(path)),
            None => {
                let path = PathBuf::from(text);
                let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
                (name.unwrap_or_default(), path)
            }
        };
        if name.is_empty() || path.as_os_str().is_empty() {
            return Err("expected FILE or NAME=FILE".to_owned());
        }
        Ok(Self { name, path })
    }
}

impl JudgingArgs {
    /// What flags, environment and file come to, as a file says it.
    pub fn settle_policy(&self, file: Policy) -> Policy {
        let files = if self.policies.is_empty() { file.files } else { self.policies.clone() };
        Policy { files, ..file }
    }

    /// The same of authorities.
    pub fn settle_trust(&self, file: Trust) -> Trust {
        let off = self.no_system_roots || file.system_roots == Some(Switch::Off);
        let mut bundles: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for bundle in &self.ca_bundles {
            bundles.entry(bundle.name.clone()).or_default().push(bundle.path.clone());
        }
        Trust {
            system_roots: Some(if off { Switch::Off } else { Switch::On }),
            bundles: if bundles.is_empty() { file.bundles } else { bundles },
        }
    }

    /// What flags, environment, file and defaults come to. `in_cluster`: where this is a pod, the authority of its cluster is
    /// trusted too.
    ///
    /// # Errors
    /// [`Failure`] when something cannot be read, or a document or setting is wrong. What is wrong with documents is told on
    /// standard error as `tlsight policy check` does.
    pub fn build(&self, config: &Config, in_cluster: bool) -> Result<Judging, Failure> {
        let mut judging = Judging::new(config.findings.clone())
            .map_err(|e| Failure::new(Exit::Usage, "use the settings of findings", e))?;
        self.trust(config, in_cluster, &mut judging)?;
        let (policies, files) = self.policies(config)?;
        for name in unknown_bundles(&policies, &judging) {
            note(format_args!(
                "a policy names the bundle {name}, which is not configured (--ca-bundle {name}=FILE)"
            ));
        }
        judging.set_policies(Arc::new(policies));
        judging.set_policy_files(files);
        Ok(judging)
    }

    fn policies(&self, config: &Config) -> Result<(PolicySet, PolicyFiles), Failure> {
        let paths = if self.policies.is_empty() { &config.policy.files } else { &self.policies };
        let limits = Limits::default();
        let settings = config.policy.settings();
        let mut documents = Documents::new(settings.clone(), limits);
        let mut texts = Vec::new();
        let files = Files::read(paths, &limits, &mut |name, text| {
            documents.add_text(name, &text);
            texts.push((name.to_owned(), text));
        });
        let loaded = documents.finish();
        problems_to_stderr(&loaded);
        let errors = loaded.problems.iter().filter(|p| p.severity == Severity::Error).count();
        if files.unreadable > 0 {
            let cause = format!("{} cannot be read", plural(files.unreadable, "file"));
            return Err(Failure::new(Exit::InputUnreadable, "go by the policies", cause));
        }
        let errors =
            u64::try_from(errors).unwrap_or(u64::MAX).saturating_add(loaded.counters.problems_over_limit);
        if errors > 0 {
            // Some of the documents are another policy than all of them.
            let cause = format!("{} in the documents", plural(errors, "error"));
            return Err(
                Failure::new(Exit::Failure, "go by the policies", cause).hint("tlsight policy check FILE...")
            );
        }
        Ok((loaded.set, PolicyFiles { texts, settings, limits }))
    }

    fn trust(&self, config: &Config, in_cluster: bool, judging: &mut Judging) -> Result<(), Failure> {
        if !self.no_system_roots && config.trust.system_roots != Some(Switch::Off) {
            let roots = trust::system();
            for problem in roots.problems.iter().take(3) {
                note(format_args!("roots of the system: {problem}"));
            }
            judging.set_system_roots(roots.certificates);
        }
        let mut bundles: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
        if self.ca_bundles.is_empty() {
            let configured = config.trust.bundles.iter();
            bundles.extend(configured.map(|(name, files)| (name.as_str(), paths(files))));
        } else {
            for bundle in &self.ca_bundles {
                bundles.entry(&bundle.name).or_default().push(&bundle.path);
            }
        }
        let cluster = Path::new(CLUSTER_CA);
        if in_cluster && cluster.is_file() {
            bundles.entry("kubernetes").or_insert_with(|| vec![cluster]);
        }
        for (name, files) in bundles {
            let mut certificates = Vec::new();
            for file in files {
                let more = trust::bundle(file)
                    .map_err(|e| Failure::new(Exit::InputUnreadable, format!("take the bundle {name}"), e))?;
                certificates.extend(more);
            }
            let loaded = judging.set_bundle(name, certificates);
            if loaded.unreadable > 0 {
                let bad = plural(u64::try_from(loaded.unreadable).unwrap_or(u64::MAX), "certificate");
                note(format_args!("the bundle {name}: {bad} cannot be read, {} can", loaded.roots));
            }
        }
        Ok(())
    }
}

fn paths(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

/// Bundles that policies name and nobody configured: what they are about cannot be judged.
fn unknown_bundles(policies: &PolicySet, judging: &Judging) -> Vec<Arc<str>> {
    let named = policies.rules().iter().filter_map(|rule| rule.effect.expectation().trust.as_ref());
    let mut unknown: Vec<Arc<str>> =
        named.filter(|name| !judging.judge().has_bundle(name)).cloned().collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn note(text: fmt::Arguments<'_>) {
    // Nobody is left to tell when standard error is gone too.
    let _ = writeln!(io::stderr(), "tlsight: {}", visible(&text.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_named_by_their_file_or_as_told() {
        let bundle = |text: &str| text.parse::<Bundle>().map(|b| (b.name, b.path.display().to_string()));
        let named = |name: &str, path: &str| Ok((name.to_owned(), path.to_owned()));
        assert_eq!(bundle("/etc/shop-ca.pem"), named("shop-ca", "/etc/shop-ca.pem"));
        assert_eq!(bundle("shop=/etc/ca.pem"), named("shop", "/etc/ca.pem"));
        assert_eq!(bundle("spiffe://example.org=td.pem"), named("spiffe://example.org", "td.pem"));
        assert_eq!(bundle("./a=b.pem"), named("a=b", "./a=b.pem"));
        for bad in ["", "=", "shop=", "=ca.pem"] {
            assert!(bundle(bad).is_err(), "{bad}");
        }
    }
}
