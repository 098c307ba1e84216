//! Options of the Kubernetes API.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Switch};
use crate::enrich::Kubernetes;

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
    pub fn over(&self, config: &Config) -> Option<Kubernetes> {
        let config = &config.kubernetes;
        if config.enabled == Some(Switch::Off) {
            return None;
        }
        let kubeconfig = self.kubeconfig.clone().or_else(|| config.kubeconfig.clone());
        Kubernetes::find(kubeconfig, self.node_name.clone().or_else(|| config.node_name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::kubernetes::Source;

    #[test]
    fn flags_count_for_more_than_the_file() {
        let found = |flag: Option<&str>, enabled: Switch| {
            let kubernetes = crate::config::Kubernetes {
                enabled: Some(enabled),
                kubeconfig: Some("/a".into()),
                node_name: Some("a".to_owned()),
            };
            let config = Config { kubernetes, ..Config::default() };
            let args = KubernetesArgs { kubeconfig: None, node_name: flag.map(str::to_owned) };
            args.over(&config).map(|found| (found.source, found.node))
        };
        let named = |node: &str| Some((Source::File("/a".into()), Some(node.to_owned())));
        assert_eq!(found(Some("b"), Switch::On), named("b"));
        assert_eq!(found(None, Switch::On), named("a"));
        assert_eq!(found(Some("b"), Switch::Off), None);
    }
}
