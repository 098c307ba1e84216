//! How results are printed, for people and for programs.

use std::fmt::Write as _;
use std::io::{self, Write};

use agent_core::policy::documents::{Loaded, Problem, Severity};
use agent_core::policy::expectation::{AllowedClients, Expectation, Mode, Origin};
use agent_core::policy::explain::{Considered, Explanation, Outcome};
use agent_core::policy::selector::Mismatch;
use serde_json::{Map, Value, json};

use super::files::Files;
use crate::cli::output::Format;
use crate::exit::Failure;
use crate::export::json::to_line;
use crate::export::text::visible;

/// Prints what is wrong with documents.
pub(super) fn check(
    loaded: &Loaded,
    files: &Files,
    packages: Option<usize>,
    format: Format,
) -> Result<(), Failure> {
    let count = |severity| loaded.problems.iter().filter(|p| p.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let text = match format {
        Format::Table => {
            let mut text = String::new();
            for problem in &loaded.problems {
                let _ = writeln!(text, "{}", visible(&problem.to_string()));
            }
            let counters = &loaded.counters;
            let packages = packages.map(|n| match n {
                1 => "1 package of rules, ".to_owned(),
                n => format!("{n} packages of rules, "),
            });
            let _ = writeln!(
                text,
                "{}, {}, {}{} passed over: {}, {}",
                plural(files.read, "file"),
                plural(counters.resources, "policy document"),
                packages.unwrap_or_default(),
                counters.resources_ignored,
                plural(errors as u64, "error"),
                plural(warnings as u64, "warning"),
            );
            if counters.problems_over_limit > 0 {
                let _ =
                    writeln!(text, "{} more are not shown", plural(counters.problems_over_limit, "problem"));
            }
            text
        }
        Format::Json => {
            let counters: Map<String, Value> =
                loaded.counters.named().iter().map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
            let mut result = json!({
                "files": files.read,
                "files_unreadable": files.unreadable,
                "errors": errors,
                "warnings": warnings,
                "problems": loaded.problems.iter().map(problem).collect::<Vec<_>>(),
                "ignored": loaded.ignored,
                "counters": counters,
            });
            if let (Some(n), Some(object)) = (packages, result.as_object_mut()) {
                object.insert("packages".to_owned(), json!(n));
            }
            to_line(&result)
        }
    };
    out(&text)
}

/// Says on standard error what is wrong with documents that an explanation is made of.
pub(in crate::cli) fn problems_to_stderr(loaded: &Loaded) {
    for problem in &loaded.problems {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(io::stderr(), "tlsight: {}", visible(&problem.to_string()));
    }
}

/// Prints an explanation.
pub(super) fn explanation(explanation: &Explanation, all: bool, format: Format) -> Result<(), Failure> {
    let shown: Vec<&Considered> =
        explanation.considered.iter().filter(|rule| all || is_near(rule.outcome)).collect();
    let text = match format {
        Format::Table => human(explanation, &shown),
        Format::Json => {
            let considered: Vec<Value> = shown.iter().map(|rule| considered(rule)).collect();
            to_line(&json!({
                "expectation": explanation.expectation.as_ref().map(expectation),
                "considered": considered,
            }))
        }
    };
    out(&text)
}

/// Whether a rule tells something about the connection: it matches, or misses by a little.
fn is_near(outcome: Outcome) -> bool {
    match outcome {
        Outcome::DoesNotMatch(mismatch) => {
            matches!(mismatch, Mismatch::Port | Mismatch::PortName | Mismatch::Client | Mismatch::NotInMesh)
        }
        _ => true,
    }
}

fn human(explanation: &Explanation, shown: &[&Considered]) -> String {
    let mut text = String::new();
    let is_chosen = |rule: &&&Considered| matches!(rule.outcome, Outcome::Applies | Outcome::Default);
    match &explanation.expectation {
        None => text.push_str("Nothing is expected: no document is about this connection.\n"),
        Some(expectation) => {
            let _ = writeln!(text, "{}: {}", expectation.mode.as_str(), meaning(expectation.mode));
            let _ = writeln!(text, "  from     {}", visible(&place(&expectation.origin)));
            if let Some(rule) = shown.iter().find(is_chosen) {
                let _ = writeln!(text, "  because  {} ({})", rule.outcome.why(), kind(rule));
            }
            if let Some(allowed) = &expectation.allowed_clients {
                let _ = writeln!(text, "  clients  {}", visible(&clients(allowed)));
            }
            if let Some(trust) = &expectation.trust {
                let _ = writeln!(text, "  trust    {}", visible(trust));
            }
        }
    }
    let others: Vec<_> = shown.iter().filter(|rule| !is_chosen(rule)).collect();
    if !others.is_empty() {
        text.push_str("\nAlso considered:\n");
    }
    for rule in others {
        let mode = rule.mode.map_or("inherited", Mode::as_str);
        let _ = writeln!(text, "  {mode:<10}  {}", visible(&place(&rule.origin)));
        let _ = writeln!(text, "              {} ({})", rule.outcome.why(), kind(rule));
    }
    text
}

/// `istio, workload, one port`.
fn kind(rule: &Considered) -> String {
    let mut text = format!("{}, {} level", rule.dialect, rule.level.as_str());
    if rule.port {
        text.push_str(", by port");
    }
    if rule.exception {
        text.push_str(", exception");
    }
    if rule.side == agent_core::net::Side::Client {
        text.push_str(", client side");
    }
    text
}

const fn meaning(mode: Mode) -> &'static str {
    match mode {
        Mode::Disable => "plaintext only",
        Mode::Permissive => "anything goes",
        Mode::Tls => "at least TLS",
        Mode::Strict => "mutual TLS only",
    }
}

/// `policies/istio.yaml:7  PeerAuthentication shop/web  spec.mtls.mode`.
fn place(origin: &Origin) -> String {
    let line = origin.line.map(|line| format!(":{line}")).unwrap_or_default();
    let namespace = origin.namespace.as_deref().map(|n| format!("{n}/")).unwrap_or_default();
    let field = if origin.field.is_empty() { "(no spec)" } else { &origin.field };
    format!("{}{line}  {} {namespace}{}  {field}", origin.document, origin.kind, origin.name)
}

fn clients(allowed: &AllowedClients) -> String {
    let kinds = [("subject", &allowed.subjects), ("SAN", &allowed.sans), ("SPIFFE id", &allowed.spiffe_ids)];
    let all: Vec<String> = kinds
        .iter()
        .flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind} {name}")))
        .collect();
    let permissions: Vec<String> = allowed.permissions.0.iter().map(|p| place(&p.origin)).collect();
    match (all.is_empty(), permissions.is_empty()) {
        (false, _) => all.join(", "),
        (true, true) => String::from("nobody"),
        (true, false) => format!("as {}", permissions.join(", ")),
    }
}

fn problem(problem: &Problem) -> Value {
    object([
        ("severity", json!(problem.severity.as_str())),
        ("document", json!(problem.document.as_ref())),
        ("line", json!(problem.place.map(|place| place.line))),
        ("column", json!(problem.place.map(|place| place.column))),
        ("resource", json!(problem.resource)),
        ("field", json!(problem.field)),
        ("reason", json!(problem.reason)),
    ])
}

fn expectation(expectation: &Expectation) -> Value {
    let allowed = expectation.allowed_clients.as_deref().map(|allowed| {
        let permissions: Vec<String> = allowed.permissions.0.iter().map(|p| place(&p.origin)).collect();
        let mut lists =
            json!({"subjects": allowed.subjects, "sans": allowed.sans, "spiffe_ids": allowed.spiffe_ids});
        if let Some(lists) = lists.as_object_mut().filter(|_| !permissions.is_empty()) {
            lists.insert("permissions".to_owned(), json!(permissions));
        }
        lists
    });
    object([
        ("mode", json!(expectation.mode.as_str())),
        ("allowed_clients", json!(allowed)),
        ("trust", json!(expectation.trust.as_deref())),
        ("origin", origin(&expectation.origin)),
    ])
}

fn considered(rule: &Considered) -> Value {
    object([
        ("outcome", json!(rule.outcome.as_str())),
        ("why", json!(rule.outcome.why())),
        ("mode", json!(rule.mode.map(Mode::as_str))),
        ("dialect", json!(rule.dialect)),
        ("level", json!(rule.level.as_str())),
        ("port", json!(rule.port)),
        ("exception", json!(rule.exception)),
        ("side", json!(rule.side.as_str())),
        ("origin", origin(&rule.origin)),
    ])
}

fn origin(origin: &Origin) -> Value {
    object([
        ("document", json!(origin.document.as_ref())),
        ("line", json!(origin.line)),
        ("kind", json!(origin.kind)),
        ("namespace", json!(origin.namespace)),
        ("name", json!(origin.name)),
        ("field", json!(Some(&origin.field).filter(|field| !field.is_empty()))),
    ])
}

/// An object; what is not known is absent.
fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let known = entries.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(known.map(|(key, value)| (key.to_owned(), value)).collect())
}

fn plural(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::output("standard output", &error))
}
