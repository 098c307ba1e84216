use std::time::Duration;

use agent_core::identity::{Party, Scope};
use agent_core::net::ConnId;
use agent_core::observation::TlsFacts;
use agent_core::policy::finding::Severity;
use agent_core::policy::ledger::{Change, Cleared, Standing};
use agent_core::policy::settings::Settings;
use agent_core::tls::codepoints::ProtocolVersion;
use serde_json::json;

use super::*;
use crate::export::sample;
use crate::judging::Judging;

fn file(name: &str, text: &str) -> RuleFile {
    RuleFile { name: name.to_owned(), text: text.to_owned() }
}

/// The policies of docs/rego.md.
fn examples() -> Vec<RuleFile> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/rego");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rego"));
    paths.sort();
    assert_eq!(paths.len(), 2);
    paths
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            file(name, &std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn load(files: &[RuleFile]) -> RegoRules {
    // Machines that build are slow at times.
    let options = Options { time_limit: Duration::from_secs(10), ..Options::default() };
    RegoRules::load(files, options).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// One package `t` with this body.
fn rules(body: &str) -> RegoRules {
    load(&[file("t.rego", &format!("package tlsight.rules.t\n{body}"))])
}

fn problems(files: &[RuleFile]) -> Vec<String> {
    match RegoRules::load(files, Options::default()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn ask(rules: &mut RegoRules, input: &Json) -> Vec<Found> {
    ask_at(rules, input, Timestamp::from_secs(1000))
}

fn ask_at(rules: &mut RegoRules, input: &Json, now: Timestamp) -> Vec<Found> {
    rules
        .ask(regorus::Value::from(input.clone()), now)
        .found
        .into_iter()
        .flat_map(|(_, found)| found)
        .collect()
}

fn connection() -> Json {
    serde_json::from_str(include_str!("../../../docs/examples/rego/connection.json")).unwrap()
}

fn with(mut input: Json, changes: &[(&str, Json)]) -> Json {
    for (key, value) in changes {
        match value {
            Json::Null => input.as_object_mut().unwrap().remove(*key),
            value => input.as_object_mut().unwrap().insert((*key).to_owned(), value.clone()),
        };
    }
    input
}

#[test]
fn the_examples_find_what_they_say() {
    let mut rules = load(&examples());
    assert_eq!(rules.packages().collect::<Vec<_>>(), ["internal_tls13", "workload_certificates"]);
    let found = ask(&mut rules, &connection());
    let brief: Vec<_> = found
        .iter()
        .map(|f| (f.id.as_deref(), f.severity.as_str(), f.message.as_str(), evidence_json(&f.evidence)))
        .collect();
    assert_eq!(
        brief,
        [
            (
                None,
                "warning",
                "TLS 1.2 inside the cluster, where 1.3 is the rule",
                json!({
                    "tls.cipher": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                    "tlsight.client.supported_versions": ["TLS 1.2"],
                }),
            ),
            (
                Some("long_lived"),
                "warning",
                "the client certificate CN=cart is valid for 90 days, more than 7",
                json!({"days": 90, "tls.client.issuer": "CN=ca"}),
            ),
            (
                Some("no_spiffe_id"),
                "information",
                "the client certificate CN=cart has no SPIFFE id",
                json!({}),
            ),
        ]
    );
    assert_eq!(rules.counters(), Counters { evaluations: 1, ..Counters::default() });
}

#[test]
fn the_examples_leave_the_innocent_alone() {
    let mut rules = load(&examples());
    let new = [("tls.protocol.version", json!("1.3"))];
    let good = [
        ("tls.client.not_after", json!("2026-01-08T00:00:00Z")),
        ("tlsight.client.san", json!(["cart.shop.svc", "spiffe://shop/cart"])),
    ];
    let outside = [("tlsight.scope", json!("external"))];
    let partner = [("client.address", json!("10.20.3.4"))];
    let nobody = [("tls.client.hash.sha256", Json::Null)];
    let about = |changes: &[&[(&str, Json)]], rules: &mut RegoRules| {
        let input = changes.iter().fold(connection(), |input, changes| with(input, changes));
        ask(rules, &input).len()
    };
    assert_eq!(about(&[&new, &good], &mut rules), 0);
    assert_eq!(about(&[&outside, &partner], &mut rules), 0);
    assert_eq!(about(&[&new, &nobody], &mut rules), 0);
    assert_eq!(about(&[&good], &mut rules), 1);
    assert_eq!(rules.counters().failed, 0);
}

#[test]
fn what_is_wrong_with_policies_is_told_with_its_place() {
    let good = "package tlsight.rules.good\nfindings contains {\"message\": \"m\"} if input.x\n";
    for (name, text, expected) in [
        ("parse.rego", "package tlsight.rules.a\nfindings contains {\n", "parse.rego:3:1: error: "),
        ("no.rego", "# nothing\n", "no.rego:"),
        (
            "deep.rego",
            "package tlsight.rules.a\nx := [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1\n",
            "deep.rego:2:18: error: brackets are nested deeper than 12",
        ),
        (
            "unsafe.rego",
            "package tlsight.rules.a\nfindings contains {\"message\": \"m\"} if helper(1)\nhelper(n) if y > n\n",
            "unsafe.rego:3:14: error: ",
        ),
        (
            "silent.rego",
            "package tlsight.rules.a\nfound contains 1\n",
            "silent.rego: error: package tlsight.rules.a has no rule `findings`",
        ),
        (
            "name.rego",
            "package tlsight.rules[\"a b\"]\nfindings contains {\"message\": \"m\"}\n",
            "name.rego: error: package tlsight.rules[\"a b\"]: its name becomes part of an id",
        ),
    ] {
        let told = problems(&[file("good.rego", good), file(name, text)]);
        assert!(matches!(told.as_slice(), [one] if one.starts_with(expected)), "{name}: {told:#?}");
    }
    assert_eq!(problems(&[file("a", good), file("a", good)]), ["a: error: is given twice"]);
    // Of several broken files each is told.
    assert_eq!(problems(&[file("a", "package"), file("b", "package"), file("c", good)]).len(), 2);
    assert_eq!(problems(&[file("good.rego", good)]), Vec::<String>::new());
    assert_eq!(problems(&[]), Vec::<String>::new());
}

#[test]
fn names_that_nothing_stands_behind_are_warned_of() {
    for (body, expected) in [
        (
            "findings contains {\"message\": x} if {\n\tinput.y\n}\n",
            "t.rego:2:31: warning: Undefined variable: 'x'",
        ),
        (
            "findings contains {\"message\": \"m\"} if no_such(input.y)\n",
            "t.rego:2:39: warning: Unknown function: 'no_such'",
        ),
        (
            "findings contains {\"message\": \"m\"} if no.such(input.y)\n",
            "t.rego:2:39: warning: Unknown function: 'no.such'",
        ),
        (
            "findings contains {\"message\": \"m\"} if f(input.y)\nf(x) if units.parse_bytes(x) > 1\n",
            "t.rego:3:9: warning: Function that is left out: 'units.parse_bytes'",
        ),
    ] {
        let rules = rules(body);
        let told: Vec<String> = rules.warnings().iter().map(ToString::to_string).collect();
        assert!(matches!(told.as_slice(), [one] if one.starts_with(expected)), "{body}: {told:#?}");
    }
    assert_eq!(load(&examples()).warnings(), []);
    // One of one's own may have the name.
    let own = "findings contains {\"message\": \"m\"} if units.parse(input.y) > 1\n";
    let library = "package units\nparse(x) := to_number(x)\n";
    let rules = load(&[
        file("units.rego", library),
        file("t.rego", &format!("package tlsight.rules.t\nimport data.units\n{own}")),
    ]);
    assert_eq!(rules.warnings(), []);
}

#[test]
fn other_packages_only_help() {
    let mut rules = load(&[
        file("lib.rego", "package shop.names\nis_ours(name) if endswith(name, \".shop\")\n"),
        file("deep.rego", "package tlsight.rules.t.deep\nfindings contains {\"message\": \"nobody asks\"}\n"),
        file(
            "t.rego",
            "package tlsight.rules.t\nimport data.shop.names\n\
             findings contains {\"message\": m} if {\n  names.is_ours(input.name)\n  m := \"ours\"\n}\n",
        ),
    ]);
    assert_eq!(rules.packages().collect::<Vec<_>>(), ["t"]);
    assert_eq!(ask(&mut rules, &json!({"name": "a.shop"})).len(), 1);
    assert_eq!(ask(&mut rules, &json!({"name": "a.bank"})).len(), 0);
}

#[test]
fn a_rule_that_fails_costs_the_others_nothing_and_is_not_asked_for_ever() {
    let options = Options { max_failures: 3, time_limit: Duration::from_secs(10), ..Options::default() };
    let bad = "package tlsight.rules.bad\nn := 1 if input.fail\nn := 2\nfindings contains {\"message\": \"m\"} if n == 2\n";
    let good = "package tlsight.rules.good\nfindings contains {\"message\": \"good\"}\n";
    let mut rules = RegoRules::load(&[file("bad.rego", bad), file("good.rego", good)], options).ok().unwrap();
    let (fail, fine) = (json!({"fail": true}), json!({}));
    assert_eq!(ask(&mut rules, &fail).len(), 1);
    let message = rules.poll_message().unwrap();
    assert!(message.starts_with("rule rego:bad failed: ") && message.contains("conflict"), "{message}");
    // One that goes well begins the count anew.
    assert_eq!(ask(&mut rules, &fine).len(), 2);
    for _ in 0..2 {
        assert_eq!(ask(&mut rules, &fail).len(), 1);
    }
    assert_eq!(rules.poll_message(), None);
    assert_eq!(ask(&mut rules, &fail).len(), 1);
    let message = rules.poll_message().unwrap();
    assert!(
        message.starts_with("rule rego:bad failed 3 times in a row and is not asked for 1 min: "),
        "{message}"
    );
    assert_eq!(ask(&mut rules, &fine).len(), 1);
    assert_eq!(rules.counters(), Counters { evaluations: 6, failed: 4, skipped: 1, ..Counters::default() });
    let named = OwnRules::counters(&rules);
    assert!(named.contains(&("rego.failed.bad".to_owned(), 4)), "{named:?}");
    // What made it fail may be over.
    assert_eq!(ask_at(&mut rules, &fine, Timestamp::from_secs(1060)).len(), 2);
    assert_eq!(rules.poll_message().as_deref(), Some("rule rego:bad does not fail any more"));
}

#[test]
fn a_rule_that_runs_too_long_is_stopped() {
    let text = "package tlsight.rules.slow\nfindings contains {\"message\": \"m\"} if {\n\
                some i in numbers.range(1, 5000)\n  some j in numbers.range(1, 5000)\n  i * j == -1\n}\n";
    let options = Options { time_limit: Duration::from_millis(5), ..Options::default() };
    let mut rules = RegoRules::load(&[file("slow.rego", text)], options).ok().unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(ask(&mut rules, &json!({})), []);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(rules.counters(), Counters { evaluations: 1, failed: 1, timed_out: 1, ..Counters::default() });
    assert_eq!(rules.poll_message().as_deref(), Some("rule rego:slow failed: it ran longer than rules may"));
}

#[test]
fn calls_with_results_without_bound_are_failures() {
    for (call, reason) in [
        ("numbers.range(1, 1000000000)", "makes a list of 1000000000 numbers, more than 100000"),
        ("numbers.range(1000000000, -5)", "makes a list of 1000000006 numbers, more than 100000"),
        ("numbers.range_step(0, 9000000000, 2)", "makes a list of 4500000001 numbers, more than 100000"),
        ("numbers.range_step(0, 9, 0)", "step must be a positive integer"),
        (r#"to_number("0e55255296")"#, "a number is longer than any that is read"),
        (r#"json.unmarshal("[1e55255296]")"#, "a number is longer than any that is read"),
        (r#"to_number("ten")"#, "could not parse string as number"),
        (r#"units.parse("1e55255296K")"#, "units.parse is left out"),
        ("bits.lsh(1, 1000000000)", "shifts by 1000000000, which is not between 0 and 63"),
        ("net.cidr_expand(\"10.0.0.0/8\")", "10.0.0.0/8 has more than 100000 addresses"),
        ("net.cidr_expand(\"2001:db8::/32\")", "2001:db8::/32 has more than 100000 addresses"),
    ] {
        let mut rules = rules(&format!("findings contains {{\"message\": \"m\"}} if {call} != 1"));
        let begun = std::time::Instant::now();
        assert_eq!(ask(&mut rules, &json!({})), [], "{call}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{call}: {:?}", begun.elapsed());
        let message = rules.poll_message().unwrap();
        assert_eq!(message, format!("rule rego:t failed: {reason}"));
    }
}

#[test]
fn functions_with_bounds_of_ours_say_what_the_interpreters_say() {
    for (call, result) in [
        ("numbers.range(1, 3)", "[1, 2, 3]"),
        (r#"[to_number(x) | some x in ["12", "-1.5e3", 7, true, null]]"#, "[12, -1500, 7, 1, 0]"),
        (r#"json.unmarshal("{\"a\": [1e2]}").a[0]"#, "100"),
        (r#"[json.is_valid("{}"), json.is_valid("1e55255296"), json.is_valid("{")]"#, "[true, false, false]"),
        ("numbers.range(1, -1)", "[1, 0, -1]"),
        ("numbers.range(5, 5)", "[5]"),
        ("numbers.range_step(0, 5, 2)", "[0, 2, 4]"),
        ("numbers.range_step(5, 0, 2)", "[5, 3, 1]"),
        ("bits.lsh(5, 3)", "40"),
        ("net.cidr_expand(\"192.0.2.5/30\")", r#"["192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"]"#),
        ("net.cidr_expand(\"2001:db8::9/127\")", r#"["2001:db8::8", "2001:db8::9"]"#),
    ] {
        let body = format!("findings contains {{\"message\": \"m\"}} if {call} == {result}");
        assert_eq!(ask(&mut rules(&body), &json!({})).len(), 1, "{call}");
        let mut engine = regorus::Engine::new();
        let own = engine.eval_query(format!("{call} == {result}"), false).unwrap();
        assert_eq!(own.result[0].expressions[0].value, regorus::Value::Bool(true), "{call}");
    }
}

#[test]
fn functions_that_call_themselves_are_refused() {
    let asked = "findings contains {\"message\": \"m\"} if f(input.n)\n";
    for (body, reason) in [
        ("f(x) := f(x)\n", "t.rego:3:1: error: f calls itself (f -> f)"),
        (
            "f(x) := g(x)\ng(x) := f(x - 1) if x > 0\ng(0) := 1\n",
            "t.rego:3:1: error: f calls itself (f -> g -> f)",
        ),
        (
            "f(x) := n if {\n  n := count([y | some y in x; data.tlsight.rules.t[\"f\"](y)])\n}\n",
            "t.rego:3:1: error: f calls itself (f -> f)",
        ),
        ("f(x) := b.g(x)\n", "helpers.rego:3:1: error: g calls itself (g -> f -> g)"),
    ] {
        let text = format!("package tlsight.rules.t\nimport data.helpers as b\n{body}{asked}");
        let helpers = "package helpers\nimport data.tlsight.rules.t\ng(x) := t.f(x)\n";
        let told = problems(&[file("t.rego", &text), file("helpers.rego", helpers)]);
        // The helper that calls it is part of the circle only where it is called by it.
        assert_eq!(told, [format!("{reason}: Rego has no recursion")], "{body}");
    }
    // A name that comes again is no recursion.
    let fine =
        format!("package tlsight.rules.t\nimport data.helpers\nf(x) := helpers.f(helpers.g(x))\n{asked}");
    let helpers = "package helpers\nf(x) := x\ng(x) := f(f(x))\n";
    assert_eq!(problems(&[file("t.rego", &fine), file("h.rego", helpers)]), Vec::<String>::new());
}

#[test]
fn errors_of_functions_are_failures() {
    let mut rules = rules("findings contains {\"message\": \"m\"} if time.parse_rfc3339_ns(input.date) > 0");
    assert_eq!(ask(&mut rules, &json!({})), []);
    assert_eq!(rules.counters().failed, 0);
    assert_eq!(ask(&mut rules, &json!({"date": "soon"})), []);
    assert_eq!(rules.counters().failed, 1);
}

#[test]
fn findings_that_look_wrong_are_named_once_and_counted() {
    let mut rules = rules("findings contains {\"msg\": \"m\"}\nfindings contains {\"message\": \"m\"}");
    assert_eq!(ask(&mut rules, &json!({})).len(), 1);
    assert_eq!(ask(&mut rules, &json!({})).len(), 1);
    assert_eq!(rules.counters().bad_findings, 2);
    assert_eq!(rules.poll_message().as_deref(), Some("rule rego:t: a finding has no field \"msg\""));
    assert_eq!(rules.poll_message(), None);
}

/// The tool with one package of rules in it.
struct Bench {
    judging: Judging,
    now: Timestamp,
}

impl Bench {
    fn new(rules: RegoRules) -> Self {
        let mut judging = Judging::new(Settings::default()).unwrap();
        judging.add_rules(Box::new(rules));
        Self { judging, now: sample::TIME }
    }

    /// The ids of own rules after this sighting.
    fn see(&mut self, sighting: &Sighting) -> Vec<String> {
        self.now = self.now + Duration::from_secs(1);
        let judged = self.judging.look(sighting, self.now);
        assert_eq!(judged.findings.len(), judged.severities.len());
        let own = judged.findings.iter().filter(|rule| matches!(rule, RuleId::Own(_)));
        own.map(ToString::to_string).collect()
    }

    fn standing(&self) -> Vec<&Standing> {
        let standing = self.judging.judge().ledger().standing();
        standing.filter(|s| matches!(s.finding.rule, RuleId::Own(_))).collect()
    }

    fn counter(&self, name: &str) -> u64 {
        let named = self.judging.named_counters();
        named.iter().find(|(known, _)| known == name).map(|(_, n)| *n).unwrap()
    }
}

fn sighting(conn: u64, phase: Phase, version: ProtocolVersion) -> Sighting {
    let mut observation = Observation { conn: ConnId(conn), phase, reason: None, ..sample::everything() };
    if phase == Phase::Verdict {
        (observation.bytes, observation.closed, observation.duration) = (None, None, None);
    }
    tls(&mut observation).negotiated_version = Some(version);
    Sighting { observation, local: Party::default(), peer: Party::default(), scope: Some(Scope::Cluster) }
}

fn tls(observation: &mut Observation) -> &mut TlsFacts {
    observation.tls_mut().unwrap()
}

const OLD: ProtocolVersion = ProtocolVersion::TLS_1_2;
const NEW: ProtocolVersion = ProtocolVersion::TLS_1_3;

#[test]
fn findings_are_one_each_and_clear_by_good_connections() {
    let mut bench = Bench::new(load(&examples()[..1]));
    let id = ["rego:internal_tls13"];
    assert_eq!(bench.see(&sighting(1, Phase::Verdict, OLD)), id);
    // The end brings nothing new that these rules could see: they are not run, and the line names it all the same.
    assert_eq!(bench.see(&sighting(1, Phase::Final, OLD)), id);
    assert_eq!((bench.counter("rego.evaluations"), bench.counter("rego.unchanged")), (1, 1));
    assert_eq!(bench.see(&sighting(2, Phase::Final, OLD)), id);
    let standing = bench.standing();
    let [one] = standing.as_slice() else { panic!("{standing:?}") };
    assert_eq!((one.count, one.finding.severity), (2, Severity::Warning));
    assert_eq!(one.finding.about.to_string(), "a client in this cluster -> [::1]:443");
    assert_eq!(one.finding.summary, "TLS 1.2 inside the cluster, where 1.3 is the rule");
    assert_eq!(
        evidence_json(&one.finding.evidence),
        json!({
            "client.address": "::1", "server.address": "a.example", "server.port": 443, "tlsight.role": "server",
            "tlsight.security": "mtls", "tls.protocol.version": "1.2",
            "tls.cipher": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "tlsight.client.supported_versions": ["TLS 1.3", "TLS 1.2"],
        })
    );
    // One that the rule is not about clears nothing, one that is fine does after a while.
    let outside = Sighting { scope: Some(Scope::External), ..sighting(3, Phase::Final, NEW) };
    assert_eq!(bench.see(&outside), [""; 0]);
    assert_eq!(bench.see(&sighting(4, Phase::Verdict, NEW)), [""; 0]);
    assert_eq!(bench.standing().len(), 1);
    while bench.judging.poll_output().is_some() {}
    bench.judging.handle_timeout(bench.now + Duration::from_secs(600));
    assert!(bench.standing().is_empty());
    let cleared = std::iter::from_fn(|| bench.judging.poll_output()).any(|news| {
        matches!(news, agent_core::policy::judge::Output::Finding(Change::Cleared(s, Cleared::Good)) if s.finding.rule.as_str() == id[0])
    });
    assert!(cleared);
}

#[test]
fn a_changed_verdict_is_judged_anew_and_counts_once() {
    let mut bench = Bench::new(rules(
        "findings contains {\"message\": input[\"tlsight.security\"], \"severity\": s} if {\n\
         s := {\"mtls\": \"warning\", \"plaintext\": \"critical\"}[input[\"tlsight.security\"]]\n}",
    ));
    let mut sighting = sighting(1, Phase::Verdict, OLD);
    assert_eq!(bench.see(&sighting), ["rego:t"]);
    assert_eq!(bench.see(&sighting), ["rego:t"]);
    sighting.observation.security = Security::Plaintext;
    assert_eq!(bench.see(&sighting), ["rego:t"]);
    assert_eq!((bench.counter("rego.evaluations"), bench.counter("rego.unchanged")), (2, 1));
    let standing = bench.standing();
    assert_eq!((standing[0].count, standing[0].finding.severity), (1, Severity::Critical));
    assert_eq!(standing[0].finding.summary, "plaintext");
    assert_eq!(standing[0].finding.advice, ADVICE);
    // Unknown proves nothing, and clears nothing.
    sighting.observation.security = Security::Unknown;
    assert_eq!(bench.see(&sighting), [""; 0]);
    bench.judging.handle_timeout(bench.now + Duration::from_secs(600));
    assert_eq!(bench.standing().len(), 1);
}

#[test]
fn rules_that_want_to_know_how_it_ended_are_asked_at_the_end() {
    let body = "findings contains {\"message\": \"many\"} if input[\"tlsight.bytes.client\"] > 999";
    let mut bench = Bench::new(rules(body));
    assert_eq!(bench.see(&sighting(1, Phase::Verdict, OLD)), [""; 0]);
    assert_eq!(bench.see(&sighting(1, Phase::Final, OLD)), ["rego:t"]);
    assert_eq!(bench.counter("rego.evaluations"), 2);
}

#[test]
fn findings_are_about_what_they_say() {
    let body = "findings contains {\"message\": about, \"id\": about, \"about\": about} if {\n\
                some about in [\"connection\", \"server\", \"server_certificate\", \"client_certificate\"]\n}";
    let mut bench = Bench::new(rules(body));
    assert_eq!(bench.see(&sighting(1, Phase::Final, OLD)).len(), 4);
    let about: Vec<String> = bench.standing().iter().map(|s| s.finding.about.to_string()).collect();
    assert_eq!(
        about,
        [
            "certificate spiffe://td/x of a client in this cluster",
            "a client in this cluster -> [::1]:443",
            "[::1]:443",
            "certificate of [::1]:443 for a.example",
        ]
    );
    let mut without = sighting(2, Phase::Final, OLD);
    tls(&mut without.observation).client_chain.clear();
    assert_eq!(bench.see(&without).len(), 3);
    assert_eq!(bench.counter("rego.without_subject"), 1);
}

#[test]
fn ids_of_findings_are_bounded_because_they_become_labels() {
    let mut bench = Bench::new(rules(
        "findings contains {\"message\": \"m\", \"id\": sprintf(\"c%d\", [input[\"tlsight.connection\"]])}",
    ));
    for conn in 0..80 {
        let seen = bench.see(&sighting(conn, Phase::Final, OLD)).len();
        assert_eq!(seen, usize::from(conn < 64));
    }
    assert_eq!(bench.counter("rego.ids_over_bound"), 16);
}

#[test]
fn forgotten_connections_are_counted() {
    let options = Options { max_connections: 2, time_limit: Duration::from_secs(10), ..Options::default() };
    let text = "package tlsight.rules.t\nfindings contains {\"message\": \"m\"}\n";
    let mut bench = Bench::new(RegoRules::load(&[file("t.rego", text)], options).ok().unwrap());
    for conn in 0..3 {
        bench.see(&sighting(conn, Phase::Verdict, OLD));
    }
    assert_eq!(bench.counter("rego.connections_evicted"), 1);
}

#[test]
fn rules_see_what_json_shows_and_what_others_found() {
    let body =
        "findings contains {\"message\": \"known\"} if \"not_quantum_safe\" in input[\"tlsight.findings\"]";
    let mut bench = Bench::new(rules(body));
    assert_eq!(bench.see(&sighting(1, Phase::Final, OLD)), ["rego:t"]);
}

#[test]
fn what_print_prints_goes_nowhere() {
    let mut rules = rules("findings contains {\"message\": \"m\"} if print(\"hello\")");
    assert_eq!(ask(&mut rules, &json!({})).len(), 1);
}

#[test]
fn who_was_not_asked_of_a_connection_is_asked_when_the_pause_is_over() {
    let text = "package tlsight.rules.t\nn := 1 if input[\"tls.protocol.version\"] == \"1.2\"\nn := 2\n\
                findings contains {\"message\": \"m\"} if n == 2\n";
    let options = Options { max_failures: 2, time_limit: Duration::from_secs(10), ..Options::default() };
    let mut bench = Bench::new(RegoRules::load(&[file("t.rego", text)], options).ok().unwrap());
    assert_eq!(bench.see(&sighting(1, Phase::Verdict, NEW)), ["rego:t"]);
    assert_eq!(bench.see(&sighting(2, Phase::Final, OLD)), [""; 0]);
    assert_eq!(bench.see(&sighting(3, Phase::Final, OLD)), [""; 0]);
    // It is not asked any more, and what it said before stands.
    assert_eq!(bench.see(&sighting(4, Phase::Verdict, NEW)), [""; 0]);
    assert_eq!(bench.see(&sighting(1, Phase::Verdict, OLD)), ["rego:t"]);
    assert_eq!((bench.counter("rego.failed"), bench.counter("rego.skipped")), (2, 2));
    bench.now = bench.now + Duration::from_secs(60);
    assert_eq!(bench.see(&sighting(4, Phase::Final, NEW)), ["rego:t"]);
    assert_eq!(bench.see(&sighting(1, Phase::Final, NEW)), ["rego:t"]);
    assert_eq!(bench.standing().iter().map(|s| s.count).collect::<Vec<_>>(), [2]);
}
