//! Where names of pods and Services come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Switch;

/// The Kubernetes API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// Whether it is asked where it can be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<Switch>,
    /// How to reach it; found without it in a pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of this node; the host's name without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
}

impl Kubernetes {
    /// With defaults in place of what is absent.
    #[must_use]
    pub fn settled(self) -> Self {
        Self { enabled: self.enabled.or(Some(Switch::On)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn reads_every_key() {
        let text = "kubernetes: {enabled: off, kubeconfig: /etc/kube.conf, node_name: node-1}";
        let kubernetes = Kubernetes {
            enabled: Some(Switch::Off),
            kubeconfig: Some("/etc/kube.conf".into()),
            node_name: Some("node-1".to_owned()),
        };
        assert_eq!(Config::parse(text), Ok(Config { kubernetes, ..Config::default() }));
    }
}
