//! Selection over many documents of all dialects.

use std::time::Instant;

use crate::identity::Party;
use crate::policy::explain::Outcome;
use crate::policy::target::Target;
use crate::policy::testing::{read_well, served};

/// A generator that needs no crate: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % n
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const NAMESPACES: &[&str] = &["a", "b", "istio-system"];
const LABELS: &[&str] = &["x", "y", "z"];

fn document(random: &mut Random, i: usize) -> String {
    let (namespace, label) = (random.of(NAMESPACES), random.of(LABELS));
    let mode = random.of(&["STRICT", "PERMISSIVE", "DISABLE", "UNSET"]);
    let created = match random.below(3) {
        0 => String::new(),
        day => format!(", creationTimestamp: '2026-01-0{day}T00:00:00Z'"),
    };
    let metadata = format!("metadata: {{name: n{i}, namespace: {namespace}{created}}}");
    let host = random.of(&["x", "y.a.svc.cluster.local", "'*.b.svc.cluster.local'", "'*'"]);
    let expect = random.of(&["strict", "tls", "permissive", "disable"]);
    let body = match random.below(5) {
        0 => format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n{metadata}\nspec: {{mtls: {{mode: {mode}}}}}"
        ),
        1 if namespace != "istio-system" => format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n{metadata}\nspec: {{selector: {{matchLabels: \
             {{app: {label}}}}}, mtls: {{mode: {mode}}}, portLevelMtls: {{80: {{mode: {mode}}}}}}}"
        ),
        2 => format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n{metadata}\n\
             spec: {{host: {host}, trafficPolicy: {{tls: {{mode: SIMPLE}}}}}}"
        ),
        3 => format!(
            "apiVersion: tlsight.dev/v1alpha1\nkind: TlsightPolicy\n{metadata}\nspec: {{selector: {{podLabels: \
             {{matchLabels: {{app: {label}}}}}}}, expect: {expect}, exceptions: [{{from: {{namespaces: [{namespace}]}}}}]}}"
        ),
        _ => format!(
            "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\n{metadata}\n\
             spec: {{podSelector: {{matchLabels: {{app: {label}}}}}, port: 80, accessPolicy: all-authenticated}}"
        ),
    };
    format!("---\n{body}\n")
}

#[test]
fn decision_is_what_the_explanation_says_and_does_not_depend_on_the_order_of_documents() {
    let mut random = Random(7);
    for round in 0..60 {
        let mut documents: Vec<String> = (0..12).map(|i| document(&mut random, i)).collect();
        let set = read_well(&documents.concat());
        documents.reverse();
        let reversed = read_well(&documents.concat());
        for _ in 0..20 {
            let label = random.of(LABELS);
            let server = served(random.of(&["a", "b", "c"]), label, &[("app", label)]);
            let client = served(random.of(NAMESPACES), "client", &[]);
            let port = if random.below(2) == 0 { 80 } else { 81 };
            let target = Target { client: Some(&client), ..Target::new(&server, port) };
            let decided = set.decide(&target);
            let explanation = set.explain(&target);
            assert_eq!(decided, explanation.expectation.as_ref(), "round {round}");
            let applied: Vec<_> = explanation
                .considered
                .iter()
                .filter(|rule| matches!(rule.outcome, Outcome::Applies | Outcome::Default))
                .map(|rule| &rule.origin)
                .collect();
            assert_eq!(applied, decided.iter().map(|e| &e.origin).collect::<Vec<_>>(), "round {round}");
            assert_eq!(explanation.considered.len(), set.rules().len());
            // Lines differ; documents do not.
            let of = |e: Option<&crate::policy::expectation::Expectation>| {
                e.map(|e| (e.mode, e.origin.name.clone(), e.origin.field.clone()))
            };
            assert_eq!(of(reversed.decide(&target)), of(decided), "round {round}");
        }
    }
}

#[test]
fn every_target_has_an_answer() {
    let mut random = Random(3);
    let set = read_well(&(0..30).map(|i| document(&mut random, i)).collect::<String>());
    let nobody = Party::default();
    for host in [None, Some(""), Some("."), Some("*"), Some("a..svc."), Some("outbound_._._."), Some("ü.svc")]
    {
        let target = Target { host, client: Some(&nobody), ..Target::new(&nobody, 0) };
        assert_eq!(set.decide(&target), set.explain(&target).expectation.as_ref());
    }
    let empty = super::PolicySet::default();
    assert!(empty.is_empty() && empty.decide(&Target::new(&nobody, 1)).is_none());
    assert!(empty.explain(&Target::new(&nobody, 1)).considered.is_empty());
}

#[test]
fn decisions_over_a_thousand_documents_take_microseconds() {
    let documents: String = (0..1_000)
        .map(|i| {
            format!(
                "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: n{i}, namespace: \
                 ns{}}}\nspec: {{selector: {{matchLabels: {{app: a{i}}}}}, mtls: {{mode: STRICT}}}}\n",
                i % 20
            )
        })
        .collect();
    let set = read_well(&documents);
    let server = served("ns7", "web", &[("app", "a507"), ("pod-template-hash", "abc"), ("tier", "x")]);
    let target = Target::new(&server, 80);
    let looked_at = set.candidates(&target).count();
    assert!(looked_at <= 5, "{looked_at} rules were looked at");
    let start = Instant::now();
    let rounds = 10_000_u32;
    for _ in 0..rounds {
        assert!(set.decide(&target).is_some());
    }
    // 10,000 a second are asked for; this machine may be busy, and the build without optimization.
    let each = start.elapsed() / rounds;
    assert!(each.as_micros() < 100, "{each:?} a decision");
}
