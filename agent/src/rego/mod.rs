//! Rules that users write themselves, in Rego. docs/rego.md is their reference.
//!
//! Every package directly below `tlsight.rules` is asked for its `findings`; the input is the object that `-o json`
//! prints of the connection. A package that fails or runs too long costs nobody else anything: it is named, counted and
//! passed over, and after some failures in a row it is not asked for a while. No I/O; the interpreter reads the clock to
//! know when a rule has run too long.

mod functions;
mod load;
mod memory;
mod pause;
mod recursion;
mod result;
#[cfg(test)]
mod tests;
mod unreadable;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agent_core::identity::Sighting;
use agent_core::observation::{Observation, Phase, Security};
use agent_core::policy::about::{About, Subjects};
use agent_core::policy::documents::Problem;
use agent_core::policy::finding::{Evidence, Finding, Judgement, RuleId};
use agent_core::time::Timestamp;
use regorus::{Engine, LimitError};
use serde_json::Value as Json;

pub use self::load::RuleFile;
use self::load::{Loaded, Package};
use self::memory::{Memory, Told};
use self::pause::Pause;
use self::result::{Found, Kind, Results};
use crate::export::json::write_judged;
use crate::judging::{Judged, Opinion, OwnRules};

/// What rules say of themselves is kept for whoever prints it: so many messages.
const MESSAGES: usize = 64;
/// Ids that the findings of one package may have: they become labels of metrics.
const IDS: usize = 64;
/// What to do about a finding whose rule does not say.
const ADVICE: &str = "This is a rule of your own: see the policy that it is named after.";

/// How rules are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Time that one package may take for one connection.
    pub time_limit: Duration,
    /// Failures in a row after which a package is not asked for a minute, and each time for twice as long, an hour at most,
    /// until it goes well again.
    pub max_failures: u32,
    /// Connections whose findings are remembered, so that rules run only when something new is known of one.
    pub max_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { time_limit: Duration::from_millis(20), max_failures: 10, max_connections: 65_536 }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that the packages were asked about, each time something new was known of one.
    pub evaluations: u64,
    /// Sightings with nothing new in them.
    pub unchanged: u64,
    /// Times that a package failed.
    pub failed: u64,
    /// Times that a package ran too long.
    pub timed_out: u64,
    /// Times that a package was not asked because it had failed too often shortly before.
    pub skipped: u64,
    /// Findings that do not look as they should.
    pub bad_findings: u64,
    /// Findings beyond what one package may find on one connection.
    pub findings_over_bound: u64,
    /// Findings beyond the ids that one package may use.
    pub ids_over_bound: u64,
    /// Findings about a certificate that was not shown.
    pub without_subject: u64,
    /// Texts that were shortened, and evidence that was left out.
    pub cut: u64,
    /// Connections forgotten before they ended: if they are seen again, rules run again and findings count twice.
    pub connections_evicted: u64,
}

/// A package and how it fares.
#[derive(Debug)]
struct Asked {
    package: Package,
    /// What it may find, as far as it has: the ids it used and what they were about.
    known: Vec<(RuleId, Kind)>,
    failed: u64,
    pause: Pause,
    said_bad: bool,
}

/// The findings of a package, nothing where it is not about the connection, or why it failed.
pub type PackageSays = Result<Option<Json>, String>;

/// Rules in Rego, ready to be asked.
pub struct RegoRules {
    engine: Engine,
    asked: Vec<Asked>,
    options: Options,
    warnings: Vec<Problem>,
    wants_final: bool,
    memory: Memory,
    counters: Counters,
    messages: VecDeque<String>,
    line: Vec<u8>,
}

impl RegoRules {
    /// Reads policies.
    ///
    /// # Errors
    /// Everything that is wrong with them, with file, line and column.
    pub fn load(files: &[RuleFile], options: Options) -> Result<Self, Vec<Problem>> {
        let Loaded { engine, packages, warnings, wants_final } = load::load(files, options.time_limit)?;
        let asked = |package| Asked {
            package,
            known: Vec::new(),
            failed: 0,
            pause: Pause::default(),
            said_bad: false,
        };
        Ok(Self {
            engine,
            asked: packages.into_iter().map(asked).collect(),
            memory: Memory::new(options.max_connections),
            options,
            warnings,
            wants_final,
            counters: Counters::default(),
            messages: VecDeque::new(),
            line: Vec::with_capacity(2048),
        })
    }

    /// The packages that are asked, by the last part of their names.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.asked.iter().map(|asked| asked.package.name.as_str())
    }

    /// What the author of a policy may not have meant: a variable or a function that there is not.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// What somebody should know of a rule: it failed for the first time, is not asked for a while, or does not fail any more. `None` when there is
    /// nothing (more).
    pub fn poll_message(&mut self) -> Option<String> {
        self.messages.pop_front()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        Counters { connections_evicted: self.memory.evicted(), ..self.counters }
    }

    /// What each package says of an input as it stands, whatever became of it before; `Ok(None)` where it is not about it.
    /// For those who compare it with what other implementations say.
    ///
    /// # Errors
    /// The input is no JSON.
    pub fn said_of(&mut self, input: &str) -> Result<Vec<(String, PackageSays)>, String> {
        let input = regorus::Value::from_json_str(input).map_err(|cause| cause.to_string())?;
        self.engine.set_input(input);
        let said = self.asked.iter().map(|asked| {
            let says = evaluate(&mut self.engine, &asked.package).map_err(|failed| failed.reason);
            (asked.package.name.clone(), says)
        });
        Ok(said.collect())
    }

    /// Asks every package about a connection; those that have nothing to say of it, or failed, give nothing.
    fn ask(&mut self, input: regorus::Value, now: Timestamp) -> Said {
        self.counters.evaluations += 1;
        self.engine.set_input(input);
        let mut said = Said::default();
        for (index, asked) in self.asked.iter_mut().enumerate() {
            if asked.pause.is_on(now) {
                self.counters.skipped += 1;
                said.skipped = true;
                said.unanswered.push(index);
                continue;
            }
            let value = evaluate(&mut self.engine, &asked.package);
            if value.is_ok() && asked.pause.success() {
                push(&mut self.messages, format!("rule rego:{} does not fail any more", asked.package.name));
            }
            // What `print` printed is for those who develop with another tool.
            drop(self.engine.take_prints());
            match value {
                Ok(None) => {}
                Ok(Some(value)) => {
                    let results = Results::of(value);
                    self.counters.cut += results.cut;
                    self.counters.findings_over_bound += results.over_bound;
                    self.counters.bad_findings += u64::try_from(results.bad.len()).unwrap_or(u64::MAX);
                    if let Some(bad) = results.bad.first()
                        && !std::mem::replace(&mut asked.said_bad, true)
                    {
                        let text = format!("rule rego:{}: {bad}", asked.package.name);
                        push(&mut self.messages, text);
                    }
                    said.found.push((index, results.found));
                }
                Err(failure) => {
                    said.unanswered.push(index);
                    self.counters.failed += 1;
                    self.counters.timed_out += u64::from(failure.timed_out);
                    asked.failed += 1;
                    let name = &asked.package.name;
                    let times = self.options.max_failures;
                    if let Some(pause) = asked.pause.failure(now, times) {
                        let text = format!(
                            "rule rego:{name} failed {times} times in a row and is not asked for {} min: {}",
                            pause.as_secs() / 60,
                            failure.reason
                        );
                        push(&mut self.messages, text);
                    } else if asked.failed == 1 {
                        push(&mut self.messages, format!("rule rego:{name} failed: {}", failure.reason));
                    }
                }
            }
        }
        said
    }

    /// Makes opinions of what packages said: new findings, those that stand, and subjects that are fine.
    fn opinions(
        &mut self,
        said: Said,
        input: &regorus::Value,
        judged: &Judged<'_>,
        subjects: &Subjects,
        told: &mut Told,
    ) -> Vec<Opinion> {
        let mut opinions = Vec::new();
        let before = std::mem::take(&mut told.raised);
        // Of packages that did not answer nothing else is known.
        for asked in said.unanswered.iter().filter_map(|index| self.asked.get(*index)) {
            for old in before.iter().filter(|old| asked.known.iter().any(|key| old.is(key))) {
                told.raised.push(old.clone());
                opinions.push(Opinion::Stands(old.rule.clone(), old.severity));
            }
        }
        for (index, found) in said.found {
            let Some(asked) = self.asked.get_mut(index) else { continue };
            let mut raised = Vec::new();
            for found in found {
                let rule = rule_id(&asked.package.name, found.id.as_deref());
                let Some(about) = subject(found.about, judged, subjects) else {
                    self.counters.without_subject += 1;
                    continue;
                };
                let key = (rule, found.about);
                if !asked.known.contains(&key) {
                    if asked.known.len() >= IDS {
                        self.counters.ids_over_bound += 1;
                        continue;
                    }
                    asked.known.push(key.clone());
                }
                // Several of one rule about the same are one finding.
                if raised.contains(&key) {
                    continue;
                }
                let severity = found.severity;
                told.raised.push(memory::Raised { rule: key.0.clone(), kind: key.1, severity });
                let judgement = Judgement::Raised(finding(&key.0, found, about, input));
                opinions.push(match before.iter().any(|old| old.is(&key)) {
                    true => Opinion::Changed(key.0.clone(), judgement),
                    false => Opinion::New(key.0.clone(), judgement),
                });
                raised.push(key);
            }
            // Nothing is proven of a connection that is unknown.
            if judged.sighting.observation.security == Security::Unknown {
                continue;
            }
            for (place, key) in asked.known.iter().enumerate() {
                let place = (index, place);
                if raised.contains(key) || told.good.contains(&place) {
                    continue;
                }
                if let Some(about) = subject(key.1, judged, subjects) {
                    told.good.push(place);
                    opinions.push(Opinion::New(key.0.clone(), Judgement::Good(about)));
                }
            }
        }
        opinions
    }
}

impl OwnRules for RegoRules {
    fn judge(&mut self, judged: &Judged<'_>, now: Timestamp) -> Vec<Opinion> {
        let o = &judged.sighting.observation;
        let Some(subjects) = Subjects::of(judged.sighting) else { return Vec::new() };
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let sighting =
            if self.wants_final { Cow::Borrowed(judged.sighting) } else { timeless(judged.sighting) };
        // Writing to memory does not fail.
        let written = write_judged(&mut line, &Judged { sighting: &sighting, ..*judged });
        let mut told = self.memory.take(o.conn);
        let digest = self.memory.digest(&line);
        let opinions = if written.is_err() {
            Vec::new()
        } else if told.digest == Some(digest) {
            self.counters.unchanged += 1;
            told.raised.iter().map(|old| Opinion::Stands(old.rule.clone(), old.severity)).collect()
        } else {
            told.digest = Some(digest);
            // What was written is JSON.
            let input = std::str::from_utf8(&line).ok().map(regorus::Value::from_json_str);
            match input {
                Some(Ok(input)) => {
                    let said = self.ask(input.clone(), now);
                    if said.skipped {
                        // Who was not asked now is asked when there is an occasion.
                        told.digest = None;
                    }
                    self.opinions(said, &input, judged, &subjects, &mut told)
                }
                _ => Vec::new(),
            }
        };
        if o.phase == Phase::Verdict {
            self.memory.put(o.conn, told);
        }
        self.line = line;
        opinions
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let c = RegoRules::counters(self);
        let all = [
            ("rego.packages", u64::try_from(self.asked.len()).unwrap_or(u64::MAX)),
            ("rego.evaluations", c.evaluations),
            ("rego.unchanged", c.unchanged),
            ("rego.failed", c.failed),
            ("rego.timed_out", c.timed_out),
            ("rego.skipped", c.skipped),
            ("rego.bad_findings", c.bad_findings),
            ("rego.findings_over_bound", c.findings_over_bound),
            ("rego.ids_over_bound", c.ids_over_bound),
            ("rego.without_subject", c.without_subject),
            ("rego.cut", c.cut),
            ("rego.connections_evicted", c.connections_evicted),
        ];
        let failed = self.asked.iter().filter(|asked| asked.failed > 0);
        let failed = failed.map(|asked| (format!("rego.failed.{}", asked.package.name), asked.failed));
        all.into_iter().map(|(name, n)| (name.to_owned(), n)).chain(failed).collect()
    }

    fn poll_message(&mut self) -> Option<String> {
        RegoRules::poll_message(self)
    }
}

/// What packages found, by their index.
#[derive(Default)]
struct Said {
    found: Vec<(usize, Vec<Found>)>,
    /// Those that failed, or were not asked.
    unanswered: Vec<usize>,
    /// Some were not asked, for a while.
    skipped: bool,
}

struct Failed {
    timed_out: bool,
    reason: String,
}

/// What a package finds; `None` where it is not about the connection.
fn evaluate(engine: &mut Engine, package: &Package) -> Result<Option<Json>, Failed> {
    let mut rule = |path: &str| {
        engine.eval_rule(path.to_owned()).map_err(|cause| {
            let limit = cause.downcast_ref::<LimitError>();
            let timed_out = matches!(limit, Some(LimitError::TimeLimitExceeded { .. }));
            let reason = match timed_out {
                true => "it ran longer than rules may".to_owned(),
                false => load::reason(&cause.to_string()),
            };
            Failed { timed_out, reason }
        })
    };
    if let Some(applies) = &package.applies
        && rule(applies)? != regorus::Value::Bool(true)
    {
        return Ok(None);
    }
    let value = rule(&package.findings)?;
    if value == regorus::Value::Undefined || value.as_set().is_ok_and(|set| set.is_empty()) {
        return Ok(Some(Json::Array(Vec::new())));
    }
    let bad = |reason: String| Failed { timed_out: false, reason };
    let text = value.to_json_str().map_err(|cause| bad(cause.to_string()))?;
    serde_json::from_str(&text).map(Some).map_err(|cause| bad(cause.to_string()))
}

fn push(messages: &mut VecDeque<String>, text: String) {
    if messages.len() < MESSAGES {
        messages.push_back(text);
    }
}

/// `rego:PACKAGE`, or `rego:PACKAGE/ID` of findings that have one.
fn rule_id(package: &str, id: Option<&str>) -> RuleId {
    RuleId::Own(match id {
        Some(id) => format!("rego:{package}/{id}").into(),
        None => format!("rego:{package}").into(),
    })
}

fn subject(kind: Kind, judged: &Judged<'_>, subjects: &Subjects) -> Option<About> {
    use agent_core::net::Side;
    let tls = judged.sighting.observation.tls.as_deref();
    let certificate = |side| {
        let tls = tls?;
        let chain = if side == Side::Server { &tls.server_chain } else { &tls.client_chain };
        Some(subjects.certificate(side, chain.first()?, tls.server_name.as_deref()))
    };
    match kind {
        Kind::Connection => Some(subjects.hop()),
        Kind::Server => Some(About::Target(Arc::clone(&subjects.target))),
        Kind::ServerCertificate => certificate(Side::Server),
        Kind::ClientCertificate => certificate(Side::Client),
    }
}

fn finding(rule: &RuleId, found: Found, about: About, input: &regorus::Value) -> Finding {
    // Who and where, so that a rule need not say it each time.
    const ALWAYS: [&str; 6] = [
        "client.address",
        "server.address",
        "server.port",
        "tlsight.role",
        "tlsight.security",
        "tls.protocol.version",
    ];
    let mut evidence = Evidence::default();
    for key in ALWAYS {
        match &input[&regorus::Value::from(key)] {
            regorus::Value::String(text) => evidence.set(key, text.to_string()),
            other => {
                if let Ok(number) = other.as_i64() {
                    evidence.set(key, number);
                }
            }
        }
    }
    for (key, value) in found.evidence.iter() {
        evidence.set(key.to_owned(), value.clone());
    }
    Finding {
        rule: rule.clone(),
        severity: found.severity,
        about,
        evidence,
        summary: found.message,
        advice: found.advice.map_or(Cow::Borrowed(ADVICE), Cow::Owned),
        turn: None,
    }
}

/// The same without what is known only when the connection is over. Policies that do not mention these keys see no
/// difference, and need not be asked again.
fn timeless(sighting: &Sighting) -> Cow<'_, Sighting> {
    let o = &sighting.observation;
    if o.phase == Phase::Verdict {
        return Cow::Borrowed(sighting);
    }
    let observation =
        Observation { phase: Phase::Verdict, bytes: None, closed: None, duration: None, ..o.clone() };
    Cow::Owned(Sighting { observation, ..sighting.clone() })
}

/// The value of evidence as JSON, for the tests.
#[cfg(test)]
fn evidence_json(evidence: &Evidence) -> Json {
    let json = |value| serde_json::to_value(value).unwrap_or(Json::Null);
    Json::Object(evidence.iter().map(|(key, value)| (key.to_owned(), json(value))).collect())
}

/// A value as what a package found.
#[cfg(fuzzing)]
pub fn fuzz_results(value: Json) {
    let _ = Results::of(value);
}
