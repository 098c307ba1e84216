//! `tlsight policy`: what documents expect of connections, and why.

pub(super) mod files;
pub(super) mod print;
mod subject;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_core::policy::documents::{Documents, Limits, Loaded, PolicySettings, Problem, Severity};
use clap::{Args, Subcommand};

use self::files::Files;
use self::subject::SubjectArgs;
use super::output::Format;
use super::rules::{self, RuleFiles};
use crate::exit::{Exit, Failure};
use crate::rego::{self, RegoRules};

/// Arguments of `tlsight policy`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Reads tlsight's own TlsightPolicy and the TLS policies of Istio, Linkerd, Kuma and App Mesh, and
passes over every other kind. Files are YAML or JSON, with one or several documents; of a folder, all
*.yaml, *.yml and *.json below it that name a kind; `-` is standard input. `check` looks at rules of
one's own in *.rego files too (docs/rego.md). docs/policy.md tells what a TlsightPolicy may say, and
which document wins."
)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Tell what is wrong with policy documents and rules in Rego, with file, line, field and reason
    Check(CheckArgs),
    /// Tell which expectation applies to a connection, from which document, and why
    Explain(Box<ExplainArgs>),
}

/// Arguments of `tlsight policy check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tlsight policy check policies/                       everything in a folder
  kubectl get peerauthentications -A -o yaml | tlsight policy check -

Exits with 0 when all documents count, with 1 when one has an error (or, with --strict, a warning),
with 3 or 4 when all or some of the files could not be read.")]
struct CheckArgs {
    /// Files and folders; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Warnings count as errors
    #[arg(long)]
    strict: bool,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    settings: SettingsArgs,
}

/// Arguments of `tlsight policy explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tlsight policy explain -f policies/ --namespace shop --workload deployment/web --label app=web --port 8080
  tlsight policy explain -f policies/ --process nginx --address 192.0.2.1 --port 443
  tlsight policy explain -f policies/ --host api.example.com --port 443 --client-namespace shop

Exits with 0 whether or not something is expected, and with 4 when not every document counts.")]
struct ExplainArgs {
    /// Files and folders; `-` is standard input
    #[arg(short, long = "file", required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    subject: SubjectArgs,

    /// Also show every rule that is not about this connection
    #[arg(long)]
    all: bool,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    settings: SettingsArgs,
}

/// What the documents do not say themselves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Meshes")]
struct SettingsArgs {
    /// Istio's root namespace
    #[arg(long, value_name = "NAME", default_value = "istio-system")]
    istio_root_namespace: String,
    /// Namespace of Linkerd's control plane
    #[arg(long, value_name = "NAME", default_value = "linkerd")]
    linkerd_namespace: String,
    /// Linkerd's trust domain
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    linkerd_trust_domain: String,
    /// Namespace of Kuma's control plane
    #[arg(long, value_name = "NAME", default_value = "kuma-system")]
    kuma_system_namespace: String,
    /// The cluster's DNS domain
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
}

impl SettingsArgs {
    fn settings(&self) -> PolicySettings {
        PolicySettings {
            istio_root_namespace: self.istio_root_namespace.clone(),
            linkerd_namespace: self.linkerd_namespace.clone(),
            linkerd_trust_domain: self.linkerd_trust_domain.clone(),
            kuma_system_namespace: self.kuma_system_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
        }
    }
}

/// Runs what was asked for.
pub(super) fn run(args: &PolicyArgs) -> Result<Exit, Failure> {
    match &args.command {
        PolicyCommand::Check(args) => check(args),
        PolicyCommand::Explain(args) => explain(args),
    }
}

fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let (rules, documents): (Vec<PathBuf>, Vec<PathBuf>) =
        args.files.iter().cloned().partition(|path| rules::is_rule(path));
    let (mut loaded, mut files) = load(&documents, &args.settings);
    let folders = folders_of(&documents);
    let rules = RuleFiles::read(&rules.into_iter().chain(folders).collect::<Vec<_>>());
    files.read += u64::try_from(rules.files.len()).unwrap_or(u64::MAX);
    files.unreadable += rules.unreadable;
    if files.read == 0 && files.unreadable == 0 {
        for folder in folders_of(&args.files) {
            loaded.problems.push(nothing_in(&folder, "holds no policy documents and no rules"));
        }
    }
    let packages = match RegoRules::load(&rules.files, rego::Options::default()) {
        Ok(rules) => {
            loaded.problems.extend_from_slice(rules.warnings());
            rules.packages().count()
        }
        Err(problems) => {
            loaded.problems.extend(problems);
            0
        }
    };
    print::check(&loaded, &files, (!rules.files.is_empty()).then_some(packages), args.output)?;
    let bad = loaded.problems.iter().any(|p| args.strict || p.severity == Severity::Error);
    Ok(match files.exit() {
        Exit::Ok if bad || loaded.counters.problems_over_limit > 0 => Exit::Failure,
        exit => exit,
    })
}

fn folders_of(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().filter(|path| path.is_dir()).cloned().collect()
}

fn nothing_in(path: &Path, reason: &str) -> Problem {
    Problem {
        severity: Severity::Warning,
        document: Arc::from(path.display().to_string()),
        place: None,
        resource: None,
        field: None,
        reason: reason.to_owned(),
    }
}

fn explain(args: &ExplainArgs) -> Result<Exit, Failure> {
    let (loaded, files) = load(&args.files, &args.settings);
    if files.exit() == Exit::InputUnreadable {
        return Ok(Exit::InputUnreadable);
    }
    let subject = args.subject.subject()?;
    let explanation = loaded.set.explain(&subject.target());
    print::problems_to_stderr(&loaded);
    print::explanation(&explanation, args.all, args.output)?;
    let whole = files.exit() == Exit::Ok && loaded.problems.iter().all(|p| p.severity != Severity::Error);
    Ok(if whole { Exit::Ok } else { Exit::InputPartlyUnreadable })
}

/// Reads everything; what cannot be opened is said on standard error.
fn load(paths: &[PathBuf], settings: &SettingsArgs) -> (Loaded, Files) {
    let limits = Limits::default();
    let mut documents = Documents::new(settings.settings(), limits);
    let files = Files::read(paths, &limits, &mut |name, text| documents.add_text(name, &text));
    (documents.finish(), files)
}
