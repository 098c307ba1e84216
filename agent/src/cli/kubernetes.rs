//! Options of the Kubernetes API.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Switch};
use crate::enrich::Kubernetes;
use crate::exit::{Exit, Failure};

/// Where names of pods and Services come from.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// Kubernetes: this file says how to reach the API server (found without it in a pod)
    #[arg(long, value_name = "FILE", env = "TLSIGHT_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Kubernetes: name of this node (the host's name by default)
    #[arg(long, value_name = "NAME", env = "TLSIGHT_NODE_NAME")]
    pub node_name: Option<String>,
}

impl KubernetesArgs {
    /// What flags, environment, file and the surroundings come to; `None`: no Kubernetes.
    ///
    /// # Errors
    /// [`Failure`] when the file that was named cannot be read: nobody would be told later that every name is missing.
    pub fn over(&self, config: &Config) -> Result<Option<Kubernetes>, Failure> {
        let config = &config.kubernetes;
        if config.enabled == Some(Switch::Off) {
            return Ok(None);
        }
        let kubeconfig = self.kubeconfig.clone().or_else(|| config.kubeconfig.clone());
        if let Some(path) = &kubeconfig {
            let doing = || format!("read the kubeconfig {}", path.display());
            fs::read(path).map_err(|e| Failure::new(Exit::InputUnreadable, doing(), e))?;
        }
        Ok(Kubernetes::find(kubeconfig, self.node_name.clone().or_else(|| config.node_name.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::kubernetes::Source;

    #[test]
    fn flags_count_for_more_than_the_file() {
        let file = std::env::current_exe().expect("a file that can be read");
        let found = |flag: Option<&str>, enabled: Switch| {
            let kubernetes = crate::config::Kubernetes {
                enabled: Some(enabled),
                kubeconfig: Some(file.clone()),
                node_name: Some("a".to_owned()),
            };
            let config = Config { kubernetes, ..Config::default() };
            let args = KubernetesArgs { kubeconfig: None, node_name: flag.map(str::to_owned) };
            args.over(&config).expect("readable").map(|found| (found.source, found.node))
        };
        let named = |node: &str| Some((Source::File(file.clone()), Some(node.to_owned())));
        assert_eq!(found(Some("b"), Switch::On), named("b"));
        assert_eq!(found(None, Switch::On), named("a"));
        assert_eq!(found(Some("b"), Switch::Off), None);
    }

    #[test]
    fn a_kubeconfig_that_cannot_be_read_is_named_at_the_start() {
        for path in ["/nosuch/kubeconfig", "/tmp"] {
            let args = KubernetesArgs { kubeconfig: Some(path.into()), node_name: None };
            let failure = args.over(&Config::default()).expect_err(path);
            assert_eq!(failure.exit, Exit::InputUnreadable);
            assert!(
                failure.to_string().starts_with(&format!("cannot read the kubeconfig {path}: ")),
                "{failure}"
            );
            let off = crate::config::Kubernetes { enabled: Some(Switch::Off), ..Default::default() };
            assert_eq!(args.over(&Config { kubernetes: off, ..Config::default() }).ok(), Some(None));
        }
    }
}
