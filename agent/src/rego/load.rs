//! From texts to an engine that is ready, or to what is wrong with them, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use agent_core::policy::documents::{Place, Problem, Severity};
use regorus::Engine;
use regorus::languages::rego::compiler::{Compiler, CompilerError};
use regorus::rvm::Instruction;
use regorus::rvm::program::{Program, SpanInfo};
use regorus::utils::limits::ExecutionTimerConfig;

use super::{functions, recursion, unreadable};

/// Packages that are asked for findings are directly below this one; all others only help.
const BELOW: [&str; 2] = ["tlsight", "rules"];
/// The rule that gives the findings of a package.
const FINDINGS: &str = "findings";
/// The rule that says whether a package is about a connection at all.
const APPLIES: &str = "applies";
/// Bytes of the name of a package.
const NAME: usize = 64;
/// Packages that are asked.
const PACKAGES: usize = 256;
/// How often the clock is read while a rule runs: each so many steps of the interpreter.
const STEPS: NonZeroU32 = match NonZeroU32::new(64) {
    Some(steps) => steps,
    None => NonZeroU32::MIN,
};
/// Keys that only the last line of a connection has.
const FINAL_ONLY: [&str; 4] = ["tlsight.phase", "tlsight.bytes", "tlsight.close", "tlsight.duration_ms"];

/// A file with a policy in Rego.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// Its name, for messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A package that is asked for findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// The last part of its name.
    pub(super) name: String,
    /// Path of the findings.
    pub(super) findings: String,
    /// Path of the rule that says whether it is about a connection, where it has one.
    pub(super) applies: Option<String>,
}

/// Policies that were read.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) packages: Vec<Package>,
    /// Names that nothing stands behind.
    pub(super) warnings: Vec<Problem>,
    /// A policy mentions what is known of a connection only when it is over.
    pub(super) wants_final: bool,
}

/// Reads all files. Everything that is wrong with them is told, not only the first thing.
pub(super) fn load(files: &[RuleFile], time_limit: Duration) -> Result<Loaded, Vec<Problem>> {
    let mut engine = Engine::new();
    // A rule that divides by zero or reads a date that is none should be noticed, not be silent for ever.
    engine.set_strict_builtin_errors(true);
    // They would go to standard error.
    engine.set_gather_prints(true);
    if let Err(cause) = functions::replace(&mut engine) {
        return Err(vec![problem("", &cause)]);
    }
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for file in files {
        if !names.insert(&file.name) {
            problems.push(error(&file.name, None, "is given twice".to_owned()));
        } else if let Some((place, reason)) = unreadable::problem(&file.text) {
            problems.push(error(&file.name, Some(place), reason));
        } else if let Err(cause) = engine.add_policy(file.name.clone(), file.text.clone()) {
            problems.push(problem(&file.name, &cause));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let recursive = recursion::problems(&engine);
    if !recursive.is_empty() {
        return Err(recursive);
    }
    // Looks at how statements depend on each other: what is unsafe, recursive or in conflict is found here.
    if let Err(cause) = engine.eval_query("true".to_owned(), false) {
        let first = files.first().map_or("", |file| &file.name);
        return Err(vec![problem(first, &cause)]);
    }
    let packages = packages(&engine)?;
    let warnings = warnings(&mut engine, &packages);
    engine.set_execution_timer_config(ExecutionTimerConfig { limit: time_limit, check_interval: STEPS });
    let wants_final = files.iter().any(|file| FINAL_ONLY.iter().any(|key| file.text.contains(key)));
    Ok(Loaded { engine, packages, warnings, wants_final })
}

/// The packages that are asked, by name. Several files may share one.
fn packages(engine: &Engine) -> Result<Vec<Package>, Vec<Problem>> {
    let rows = engine.get_policy_package_components().map_err(|cause| vec![problem("", &cause)])?;
    let mut problems = Vec::new();
    let mut found: BTreeMap<String, (String, bool, bool)> = BTreeMap::new();
    for row in rows {
        let (file, components) = (row.source_file, row.components);
        let below = components
            .split_first_chunk::<2>()
            .and_then(|([a, b], rest)| ([a.as_str(), b.as_str()] == BELOW).then_some(rest));
        // Deeper ones help the one above them.
        let Some([name]) = below else { continue };
        let has_good_name = (1..=NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if !has_good_name {
            let reason = format!(
                "package tlsight.rules[{name:?}]: its name becomes part of an id and may have letters, digits, `_` and `-`, \
                 at most {NAME}"
            );
            problems.push(error(&file, None, reason));
            continue;
        }
        let has = |rule: &str| engine.has_declared_rule_rooted_at(&file, rule).unwrap_or(false);
        let (findings, applies) = (has(FINDINGS), has(APPLIES));
        let entry = found.entry(name.clone()).or_insert_with(|| (file, false, false));
        entry.1 |= findings;
        entry.2 |= applies;
    }
    for (name, (file, has_findings, _)) in &found {
        if !has_findings {
            let reason =
                format!("package tlsight.rules.{name} has no rule `{FINDINGS}`: nobody would hear of it");
            problems.push(error(file, None, reason));
        }
    }
    if found.len() > PACKAGES {
        let reason = format!("there are {} packages of rules, more than {PACKAGES}", found.len());
        problems.push(error("", None, reason));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let path = |name: &str, rule: &str| format!("data.tlsight.rules[\"{name}\"].{rule}");
    let package = |(name, (_, _, applies)): (String, (String, bool, bool))| Package {
        findings: path(&name, FINDINGS),
        applies: applies.then(|| path(&name, APPLIES)),
        name,
    };
    Ok(found.into_iter().map(package).collect())
}

/// Variables and functions that there are not, or that are left out: the interpreter notices when it comes to them, or not at
/// all. The compiler of the same crate does so now; of what it says nothing else counts, for it is the interpreter that runs
/// policies.
fn warnings(engine: &mut Engine, packages: &[Package]) -> Vec<Problem> {
    let mut warnings: Vec<Problem> = Vec::new();
    for path in packages.iter().flat_map(|package| std::iter::once(&package.findings).chain(&package.applies))
    {
        let Ok(policy) = engine.compile_with_entrypoint(&path.as_str().into()) else { continue };
        let found = match Compiler::compile_from_policy(&policy, &[path]) {
            Ok(program) => left_out(&program),
            Err(cause) => match cause.error {
                CompilerError::UndefinedVariable { .. } | CompilerError::UnknownFunction { .. } => {
                    Some(problem("", &cause))
                }
                _ => None,
            },
        };
        let warning = found.map(|problem| Problem { severity: Severity::Warning, ..problem });
        warnings.extend(warning.filter(|warning| !warnings.contains(warning)));
    }
    warnings
}

/// The first call of a function that fails in any case.
fn left_out(program: &Program) -> Option<Problem> {
    let one = |(instruction, span): (&Instruction, &Option<SpanInfo>)| {
        let Instruction::BuiltinCall { params_index } = instruction else { return None };
        let called = program.instruction_data.get_builtin_call_params(*params_index)?;
        let name = program.get_builtin_info(called.builtin_index)?.name.as_str();
        let span = span.as_ref()?;
        let number = |n: usize| u32::try_from(n).ok();
        // Its place is that of the bracket behind the name.
        let column = span.column.saturating_sub(name.len());
        let place = number(span.line).zip(number(column)).map(|(line, column)| Place { line, column });
        let file = program.get_source_name(span.source_index)?;
        let is_left_out = functions::LEFT_OUT.contains(&name);
        is_left_out.then(|| error(file, place, format!("Function that is left out: '{name}'")))
    };
    program.instructions.iter().zip(&program.instruction_spans).find_map(one)
}

pub(super) fn error(file: &str, place: Option<Place>, reason: String) -> Problem {
    Problem { severity: Severity::Error, document: file.into(), place, resource: None, field: None, reason }
}

/// What the engine has against a file. Its messages are several lines for a terminal, with the place in the first:
/// `--> FILE:LINE:COLUMN`.
fn problem(file: &str, cause: &impl ToString) -> Problem {
    let text = cause.to_string();
    let place = text.lines().find_map(|line| line.trim_start().strip_prefix("--> ")).and_then(|at| {
        let mut parts = at.rsplitn(3, ':');
        let column = parts.next()?.trim().parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        Some((parts.next()?.to_owned(), Place { line, column }))
    });
    let reason = reason(&text);
    match place {
        Some((file, place)) => error(&file, Some(place), reason),
        None => error(file, None, reason),
    }
}

/// The sentence in such a message.
pub(super) fn reason(text: &str) -> String {
    let sentence = text.rsplit_once("error: ").map_or(text, |(_, sentence)| sentence);
    let words: Vec<&str> = sentence.split_whitespace().collect();
    words.join(" ")
}
