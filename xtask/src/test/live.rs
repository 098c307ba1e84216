//! The tests that load BPF programs. The live tests: real servers and clients, observed through the kernel by the release
//! build of the agent. The probe tests: what single programs hand over, through the agent's own loader.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::pypi;
use crate::{places, sh};

/// Package and name of a test target that needs root and a kernel that cooperates.
pub(crate) type Target = (&'static str, &'static str);

/// Real programs, watched by the agent.
pub(super) const LIVE: Target = ("tlsight-tests", "live");
/// A Kubernetes node, watched by the agent.
pub(crate) const KUBE: Target = ("tlsight-tests", "kube");
/// Alerts and dashboards, with Prometheus and Alertmanager.
pub(super) const ALERTS: Target = ("tlsight-tests", "alerts");
/// The programs in TLS libraries.
pub(super) const PROBES: Target = ("agent", "probes");

/// What tests are told through the environment.
pub(crate) struct Surroundings {
    program: PathBuf,
    path: OsString,
}

impl Surroundings {
    pub(crate) fn new(program: PathBuf) -> Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        let dirs = std::iter::once(pypi::venv().join("bin")).chain(env::split_paths(&path)).chain(system);
        Ok(Self { program, path: env::join_paths(dirs).context("putting PATH together")? })
    }

    fn variables(&self) -> [(&'static str, OsString); 3] {
        [
            ("TLSIGHT_BIN", self.program.clone().into()),
            ("TLSIGHT_TOOLS", places::tools().into()),
            ("PATH", self.path.clone()),
        ]
    }

    pub(super) fn apply(&self, cmd: &mut Command) {
        cmd.envs(self.variables());
    }
}

/// Compiles a test target and returns the executable.
pub(crate) fn build((package, test): Target) -> Result<PathBuf> {
    let mut cmd = sh::command(places::cargo());
    cmd.args(["test", "--no-run", "--package", package, "--test", test])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(places::root())
        .stderr(std::process::Stdio::inherit());
    let messages = sh::capture(&mut cmd)?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message.pointer("/target/name")? == test;
        let executable = message.get("executable")?.as_str()?;
        is_it.then(|| PathBuf::from(executable))
    });
    executables.next_back().with_context(|| format!("cargo built no test target named `{test}`"))
}

/// One run over all of a target's cases, as root.
pub(super) fn command(
    executable: &Path,
    filter: Option<&str>,
    surroundings: &Surroundings,
) -> Result<Command> {
    // How much of a flood: what a test is asked for in the environment gets through sudo too.
    let flood = env::var_os("TLSIGHT_FLOOD").map(|count| ("TLSIGHT_FLOOD", count));
    let mut cmd = as_root(executable, surroundings, flood.as_slice())?;
    cmd.args(filter);
    Ok(cmd)
}

/// A program of the tests, as root and with its surroundings.
pub(crate) fn as_root(
    program: &Path,
    surroundings: &Surroundings,
    more: &[(&'static str, OsString)],
) -> Result<Command> {
    let variables = surroundings.variables().into_iter().chain(more.iter().cloned());
    let mut cmd = if sh::is_root() {
        let mut cmd = sh::command(program);
        cmd.envs(variables);
        cmd
    } else {
        // sudo clears the environment: what the tests need is named again behind it.
        let mut cmd = sh::as_root("env", "load BPF programs")?;
        for (name, value) in variables {
            let mut assignment = OsString::from(name);
            assignment.push("=");
            assignment.push(value);
            cmd.arg(assignment);
        }
        cmd.arg(program);
        cmd
    };
    cmd.current_dir(places::root().join("tests"));
    Ok(cmd)
}
