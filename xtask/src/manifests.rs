//! `cargo xtask manifests`: what the chart comes to with its own values, as plain manifests, for those who have no Helm.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::setup::{self, Consent, helm};
use crate::{places, sh};

/// What to do.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only say whether they are as the chart is; exit code 1 if not
    #[arg(long)]
    check: bool,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
}

/// Kubernetes that the manifests are for: the oldest one with a field for AppArmor's profile.
const KUBERNETES: &str = "1.30.0";

const NAMESPACE: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: tlsight
  labels:
    # The node's process ids, its control groups, and capabilities.
    pod-security.kubernetes.io/enforce: privileged
";

/// File, what is in it, values, and templates; all of them where none is named.
const FILES: &[(&str, &str, &[&str], &[&str])] = &[
    ("tlsight.yaml", "The agent on every node: kubectl apply -f deploy/manifests/tlsight.yaml", &[], &[]),
    (
        "prometheus-operator.yaml",
        "Scraping, recording rules and alerts, where there is a Prometheus operator",
        &["podMonitor.enabled=true", "prometheusRule.enabled=true"],
        &["templates/podmonitor.yaml", "templates/prometheusrule.yaml"],
    ),
];

/// Writes or compares them.
pub(crate) fn main(args: &Args) -> Result<()> {
    setup::for_charts(Consent::from_yes(args.yes))?;
    let helm = helm::find().context("there is no Helm: run `cargo xtask setup --tests`")?;
    let mut stale = Vec::new();
    for (name, about, values, templates) in FILES {
        let path = places::root().join("deploy/manifests").join(name);
        let text = render(&helm, name, about, values, templates)?;
        if fs::read_to_string(&path).ok().as_ref() == Some(&text) {
            continue;
        }
        if args.check {
            stale.push(path.display().to_string());
        } else {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
            }
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            eprintln!("written: {}", path.display());
        }
    }
    if !stale.is_empty() {
        bail!("not as the chart is any more: {} (run `cargo xtask manifests`)", stale.join(", "));
    }
    Ok(())
}

/// The chart.
fn chart() -> PathBuf {
    places::root().join("deploy/chart/tlsight")
}

fn render(helm: &Path, name: &str, about: &str, values: &[&str], templates: &[&str]) -> Result<String> {
    let mut cmd = sh::command(helm);
    cmd.args(["template", "tlsight"]).arg(chart());
    cmd.args(["--namespace", "tlsight", "--kube-version", KUBERNETES]);
    for value in values {
        cmd.args(["--set", value]);
    }
    for template in templates {
        cmd.args(["--show-only", template]);
    }
    let rendered = sh::capture(&mut cmd)?;
    // Nobody manages these with Helm.
    let is_kept = |line: &&str| {
        let line = line.trim_start();
        !["# Source: ", "app.kubernetes.io/managed-by:", "helm.sh/chart:"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let body: String = rendered.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect();
    let head = format!(
        "# {about}\n# Made of deploy/chart/tlsight by `cargo xtask manifests`: change the chart, not this file.\n"
    );
    let first = if name == "tlsight.yaml" { NAMESPACE } else { "" };
    Ok(format!("{head}{first}{body}"))
}
