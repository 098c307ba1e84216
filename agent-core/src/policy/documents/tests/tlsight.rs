//! tlsight's own documents.

use std::sync::Arc;

use super::problems;
use crate::identity::{Container, Party, ProcessDetails};
use crate::policy::expectation::{AllowedClients, Mode};
use crate::policy::target::Target;
use crate::policy::testing::{pod, read_well, served};

fn policy(name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "---\napiVersion: tlsight.dev/v1alpha1\nkind: TlsightPolicy\nmetadata:\n  name: {name}\nspec:\n{spec}"
    )
}

fn mode(text: &str, target: &Target<'_>) -> Option<Mode> {
    let set = read_well(text);
    let decided = set.decide(target).cloned();
    assert_eq!(set.explain(target).expectation, decided);
    decided.map(|e| e.mode)
}

fn process(path: &str, unit: Option<&str>) -> Party {
    let details = ProcessDetails {
        executable_path: Some(path.to_owned()),
        systemd_unit: unit.map(str::to_owned),
        ..ProcessDetails::default()
    };
    Party { process: Some(Arc::new(details)), ..Party::default() }
}

#[test]
fn an_exception_for_processes_is_judged_by_name_and_in_doubt_where_nothing_tells() {
    let server = Party::default();
    let named = |name: Option<&str>, path: Option<&str>| {
        let details = ProcessDetails {
            name: name.map(str::to_owned),
            executable_path: path.map(str::to_owned),
            ..ProcessDetails::default()
        };
        Party { process: Some(Arc::new(details)), ..Party::default() }
    };
    let (curl, wget, nobody) = (named(Some("curl"), None), named(Some("wget"), None), Party::default());
    let read = named(Some("wget"), Some("/usr/bin/wget"));
    for (from, client, is_here, expected) in [
        ("processes: [curl]", &curl, true, (Mode::Permissive, false)),
        ("processes: [curl]", &wget, true, (Mode::Strict, false)),
        ("processes: [curl]", &nobody, true, (Mode::Strict, true)),
        ("processes: [curl]", &nobody, false, (Mode::Strict, false)),
        ("processes: [/usr/bin/curl]", &curl, true, (Mode::Strict, true)),
        ("processes: [/usr/bin/curl]", &read, true, (Mode::Strict, false)),
        ("systemdUnits: [backup.service]", &curl, true, (Mode::Strict, true)),
        ("systemdUnits: [backup.service]", &read, true, (Mode::Strict, false)),
        ("containers: [backup]", &curl, true, (Mode::Strict, true)),
        // Something else about the client is known to be other.
        ("processes: [curl]\n    addresses: [10.0.0.0/8]", &nobody, true, (Mode::Strict, false)),
    ] {
        let text = policy("p", &format!("expect: strict\nexceptions:\n- from:\n    {from}"));
        let target = Target {
            client: Some(client),
            client_address: "192.0.2.1".parse().ok(),
            client_is_here: is_here,
            ..Target::new(&server, 1)
        };
        let got = (mode(&text, &target).expect("something"), read_well(&text).is_in_doubt(&target));
        assert_eq!(got, expected, "{from} {client:?} {is_here}");
    }
    // An exception that is no milder, and one that would not count, leave no doubt.
    let target = Target { client: Some(&nobody), client_is_here: true, ..Target::new(&server, 1) };
    let strict = policy("p", "expect: strict\nexceptions:\n- from: {processes: [curl]}\n  expect: strict");
    assert!(!read_well(&strict).is_in_doubt(&target));
    let narrower = policy("a", "expect: strict\nexceptions:\n- from: {processes: [curl]}")
        + &policy("b", "selector: {ports: [1], addresses: [192.0.2.2]}\nexpect: strict");
    let at = Target { address: "192.0.2.2".parse().ok(), ..target };
    assert!(!read_well(&narrower).is_in_doubt(&at));
}

#[test]
fn policy_without_selector_is_about_everything() {
    let nobody = Party::default();
    assert_eq!(mode(&policy("all", "expect: tls"), &Target::new(&nobody, 1)), Some(Mode::Tls));
}

#[test]
fn each_selector_selects_what_it_names() {
    let web = served("shop", "web", &[("app", "web"), ("tier", "front")]);
    let nginx = process("/usr/sbin/nginx", Some("nginx.service"));
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let boxed = Party {
        container: Some(Arc::new(Container { id: id.to_owned(), runtime: None })),
        ..Party::default()
    };
    let at = |party, address: &str| Target { address: address.parse().ok(), ..Target::new(party, 8080) };
    let (web, nginx, boxed) = (at(&web, "10.1.0.1"), at(&nginx, "192.0.2.1"), at(&boxed, "2001:db8::1"));
    let cases = [
        ("{namespaces: [shop]}", [true, false, false]),
        ("{namespaces: [other]}", [false, false, false]),
        ("{namespaces: [other, sh*]}", [true, false, false]),
        ("{workload: {name: web}}", [true, false, false]),
        ("{workload: {kind: deployment, name: 'w*'}}", [true, false, false]),
        ("{workload: {kind: StatefulSet}}", [false, false, false]),
        ("{podLabels: {matchLabels: {app: web, tier: front}}}", [true, false, false]),
        ("{podLabels: {matchLabels: {app: web, tier: back}}}", [false, false, false]),
        ("{podLabels: {matchExpressions: [{key: tier, operator: Exists}]}}", [true, false, false]),
        ("{services: [web]}", [true, false, false]),
        ("{services: [api]}", [false, false, false]),
        ("{processes: [nginx]}", [false, true, false]),
        ("{processes: [/usr/sbin/*]}", [false, true, false]),
        ("{processes: [/usr/bin/nginx]}", [false, false, false]),
        ("{systemdUnits: [nginx.service]}", [false, true, false]),
        ("{containers: [0123456789ab]}", [false, false, true]),
        ("{containers: ['0123']}", [false, false, false]),
        ("{addresses: [10.0.0.0/8, '2001:db8::1']}", [true, false, true]),
        ("{ports: [8080]}", [true, true, true]),
        ("{ports: ['8000-8100', 9]}", [true, true, true]),
        ("{ports: ['8081-8100']}", [false, false, false]),
        ("{namespaces: [shop], ports: [9]}", [false, false, false]),
    ];
    for (selector, expected) in cases {
        let text = policy("p", &format!("selector: {selector}\nexpect: strict"));
        let set = read_well(&text);
        let got = [web, nginx, boxed].map(|target| set.decide(&target).is_some());
        assert_eq!(got, expected, "{selector}");
    }
}

#[test]
fn ports_by_name_need_the_name_to_be_known() {
    let web = pod("shop", "web", &[]);
    let text = policy("p", "selector: {ports: [admin-http]}\nexpect: strict");
    let target = Target::new(&web, 8080);
    assert_eq!(mode(&text, &target), None);
    assert_eq!(mode(&text, &Target { port_name: Some("admin-http"), ..target }), Some(Mode::Strict));
}

#[test]
fn ports_override_and_inherit_what_they_leave_out() {
    let text = policy(
        "p",
        "selector: {namespaces: [shop]}
expect: strict
trust: shop-ca
allowedClients: {spiffeIds: ['spiffe://shop/*']}
ports:
  '9090': {expect: permissive}
  8443: {trust: other-ca}
  9000-9010: {expect: disable}",
    );
    let set = read_well(&text);
    let web = pod("shop", "web", &[]);
    let at = |port| {
        let e = set.decide(&Target::new(&web, port)).unwrap();
        (e.mode, e.trust.as_deref(), e.allowed_clients.is_some(), e.origin.field.as_str(), e.origin.line)
    };
    assert_eq!(at(80), (Mode::Strict, Some("shop-ca"), true, "spec.expect", Some(8)));
    assert_eq!(at(9090), (Mode::Permissive, Some("shop-ca"), true, "spec.ports.9090.expect", Some(12)));
    assert_eq!(at(8443), (Mode::Strict, Some("other-ca"), true, "spec.ports.8443", Some(13)));
    assert_eq!(at(9005), (Mode::Disable, Some("shop-ca"), false, "spec.ports.9000-9010.expect", Some(14)));
}

#[test]
fn allowed_clients_are_kept_as_written() {
    let text = policy(
        "p",
        "expect: strict\nallowedClients: {subjects: ['CN=a,O=b'], sans: [a.example, '*.b'], spiffeIds: ['spiffe://t/a']}",
    );
    let nobody = Party::default();
    let set = read_well(&text);
    let allowed = set.decide(&Target::new(&nobody, 1)).unwrap().allowed_clients.clone().unwrap();
    let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let expected = AllowedClients {
        subjects: owned(&["CN=a,O=b"]),
        sans: owned(&["a.example", "*.b"]),
        spiffe_ids: owned(&["spiffe://t/a"]),
        ..AllowedClients::default()
    };
    assert_eq!(*allowed, expected);
}

#[test]
fn exceptions_are_for_clients_and_ports_and_beat_ports() {
    let text = policy(
        "p",
        "selector: {namespaces: [shop]}
expect: strict
ports: {'9090': {expect: tls}}
exceptions:
  - from: {namespaces: [monitoring]}
    reason: scraped without a certificate
  - from: {addresses: [10.9.0.0/16]}
    ports: [80]
    expect: tls
  - ports: [7]
    expect: disable",
    );
    let (web, monitor, other) =
        (pod("shop", "web", &[]), pod("monitoring", "prometheus", &[]), pod("a", "b", &[]));
    let from = |client, port| Target { client: Some(client), ..Target::new(&web, port) };
    let address = |port| Target { client_address: "10.9.1.1".parse().ok(), ..Target::new(&web, port) };
    let cases = [
        (from(&monitor, 9090), Mode::Permissive),
        (from(&monitor, 80), Mode::Permissive),
        (from(&other, 9090), Mode::Tls),
        (from(&other, 80), Mode::Strict),
        (address(80), Mode::Tls),
        (address(81), Mode::Strict),
        (Target::new(&web, 7), Mode::Disable),
        (Target::new(&web, 80), Mode::Strict),
    ];
    for (i, (target, expected)) in cases.into_iter().enumerate() {
        assert_eq!(mode(&text, &target), Some(expected), "case {i}");
    }
}

#[test]
fn narrower_policies_win_and_ties_go_by_conditions_age_and_name() {
    let web = pod("shop", "web", &[("app", "web"), ("tier", "front")]);
    let target = Target { address: "10.1.2.3".parse().ok(), ..Target::new(&web, 80) };
    // Each wins against all before it.
    let ladder = [
        "expect: strict",
        "selector: {ports: [80]}\nexpect: tls",
        "selector: {addresses: [10.0.0.0/8]}\nexpect: permissive",
        "selector: {addresses: [10.1.0.0/16]}\nexpect: disable",
        "selector: {namespaces: [shop], addresses: [10.0.0.0/8]}\nexpect: strict",
        "selector: {namespaces: [shop], ports: [80]}\nexpect: tls",
        "selector: {podLabels: {matchLabels: {app: web}}}\nexpect: permissive",
        "selector: {namespaces: [shop], podLabels: {matchLabels: {app: web}}}\nexpect: strict",
        "selector: {namespaces: [shop], podLabels: {matchLabels: {app: web, tier: front}}}\nexpect: disable",
        "selector: {workload: {name: web}, ports: [80]}\nexpect: tls",
    ];
    for n in 1..=ladder.len() {
        let mut text: Vec<String> =
            ladder[..n].iter().enumerate().map(|(i, spec)| policy(&format!("p{i}"), spec)).collect();
        let winner = |text: &[String]| read_well(&text.concat()).decide(&target).unwrap().origin.name.clone();
        let expected = format!("p{}", n - 1);
        assert_eq!(winner(&text), expected);
        text.reverse();
        assert_eq!(winner(&text), expected, "the order of documents does not matter");
    }
    let young =
        policy("a", "expect: tls").replace("name: a", "name: a\n  creationTimestamp: 2026-02-01T00:00:00Z");
    let old = policy("b", "expect: strict")
        .replace("name: b", "name: b\n  creationTimestamp: 2026-01-01T00:00:00Z");
    let ageless = policy("0", "expect: permissive").replace("name: 0", "name: '0'");
    assert_eq!(mode(&[young.clone(), old, ageless.clone()].concat(), &target), Some(Mode::Strict));
    assert_eq!(mode(&[ageless.clone(), young].concat(), &target), Some(Mode::Tls));
    assert_eq!(
        mode(&[policy("1", "expect: tls").replace("name: 1", "name: '1'"), ageless].concat(), &target),
        Some(Mode::Permissive)
    );
}

#[test]
fn namespace_of_the_policy_bounds_it() {
    let text = policy("p", "expect: strict").replace("name: p", "name: p\n  namespace: shop");
    assert_eq!(mode(&text, &Target::new(&pod("shop", "web", &[]), 1)), Some(Mode::Strict));
    assert_eq!(mode(&text, &Target::new(&pod("other", "web", &[]), 1)), None);
}

#[test]
fn what_is_wrong_is_told_with_place_field_and_reason() {
    let head = "p.yaml:";
    let cases = [
        (
            "expect: strikt",
            "7:11: error: TlsightPolicy p: spec.expect: must be strict, tls, permissive or disable",
        ),
        (
            "expect: 1",
            "7:11: error: TlsightPolicy p: spec.expect: must be a string, not a number: put it in quotes",
        ),
        ("{}", "7:3: error: TlsightPolicy p: spec: needs `expect`: strict, tls, permissive or disable"),
        (
            "ports: {'80': {trust: a}}",
            "7:17: error: TlsightPolicy p: spec.ports.80: needs `expect`, because the policy has none",
        ),
        (
            "expect: tls\nports: {'70000': {expect: tls}}",
            "8:20: error: TlsightPolicy p: spec.ports.70000: must be a port from 1 to 65535, a range as 9000-9100, or the name of a port",
        ),
        (
            "expect: tls\nselector: {ports: [0]}",
            "8:22: error: TlsightPolicy p: spec.selector.ports[0]: must be a port from 1 to 65535, a range as 9000-9100, or the name of a port",
        ),
        (
            "expect: tls\nselector: {ports: ['90-80']}",
            "8:22: error: TlsightPolicy p: spec.selector.ports[0]: must be a port from 1 to 65535, a range as 9000-9100, or the name of a port",
        ),
        (
            "expect: tls\nselector: {namespaces: []}",
            "8:26: error: TlsightPolicy p: spec.selector.namespaces: must not be empty: leave it out to select all",
        ),
        (
            "expect: tls\nselector: {namespaces: shop}",
            "8:26: error: TlsightPolicy p: spec.selector.namespaces: must be a list, not a string",
        ),
        (
            "expect: tls\nselector: {Namespaces: [a]}",
            "8:14: error: TlsightPolicy p: spec.selector.Namespaces: unknown field; did you mean `namespaces`?",
        ),
        (
            "expect: tls\nselector: {workload: {}}",
            "8:24: error: TlsightPolicy p: spec.selector.workload: needs `kind` or `name`",
        ),
        (
            "expect: tls\nselector: {podLabels: {}}",
            "8:25: error: TlsightPolicy p: spec.selector.podLabels: needs `matchLabels` or `matchExpressions`",
        ),
        (
            "expect: tls\nselector: {podLabels: {matchLabels: {a: 1}}}",
            "8:43: error: TlsightPolicy p: spec.selector.podLabels.matchLabels.a: a label's value must be a string, not a number: put it in quotes",
        ),
        (
            "expect: tls\nselector: {podLabels: {matchExpressions: [{key: a, operator: in}]}}",
            "8:64: error: TlsightPolicy p: spec.selector.podLabels.matchExpressions[0].operator: must be In, NotIn, Exists or DoesNotExist",
        ),
        (
            "expect: tls\nselector: {podLabels: {matchExpressions: [{key: a, operator: In}]}}",
            "8:45: error: TlsightPolicy p: spec.selector.podLabels.matchExpressions[0]: needs `values` with this operator",
        ),
        (
            "expect: tls\nselector: {addresses: [10.0.0.0/33]}",
            "8:26: error: TlsightPolicy p: spec.selector.addresses[0]: has more prefix bits than the address has",
        ),
        (
            "expect: tls\nexceptions: [{reason: x}]",
            "8:16: error: TlsightPolicy p: spec.exceptions[0]: needs `from` or `ports`: an exception for everything is none",
        ),
        (
            "expect: tls\nallowedClients: {}",
            "8:19: error: TlsightPolicy p: spec.allowedClients: names nobody: say who with subjects, sans or spiffeIds, or leave it out",
        ),
        (
            "expect: tls\nallowedClients: {spiffeIds: [a]}",
            "8:31: error: TlsightPolicy p: spec.allowedClients.spiffeIds: every one must begin with spiffe://",
        ),
        (
            "expect: tls\nallowedClients: {spiffeIds: ['spiffe://a/ns/*/sa/b', 'spiffe://a/*'], sans: ['*.b']}",
            "8:32: warning: TlsightPolicy p: spec.allowedClients.spiffeIds[0]: only one `*`, at its beginning or its end, \
             stands for any rest: this means `*` itself",
        ),
        (
            "expect: disable\nallowedClients: {sans: [a]}",
            "8:19: error: TlsightPolicy p: spec.allowedClients: nobody shows a certificate where TLS is disabled",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(problems(&policy("p", spec)), [format!("{head}{expected}")], "{spec}");
    }
    let text = policy("p", "expect: tls");
    let cases = [
        (
            text.replace("v1alpha1", "v2"),
            "2:13: error: TlsightPolicy p: apiVersion: unknown version; there is tlsight.dev/v1alpha1",
        ),
        (
            text.replace("TlsightPolicy", "Tls"),
            "3:7: error: Tls p: kind: unknown kind in tlsight.dev; there is TlsightPolicy",
        ),
        (text.replace("name: p", "labels: {}"), "5:3: error: TlsightPolicy: metadata: has no `name`"),
        (text.replace("spec:", "sepc:").replace("expect: tls", "a: b"), ""),
    ];
    for (text, expected) in cases.iter().filter(|(_, expected)| !expected.is_empty()) {
        assert_eq!(problems(text), [format!("{head}{expected}")], "{text}");
    }
    assert_eq!(
        problems(&cases[3].0),
        [
            "p.yaml:6:1: error: TlsightPolicy p: sepc: unknown field; there are: apiVersion, kind, metadata, spec, status",
            "p.yaml:2:1: error: TlsightPolicy p: has no `spec`",
        ]
    );
}

#[test]
fn policy_with_an_error_does_not_count_at_all() {
    // Without the label that could not be read it would be about every pod.
    let text = policy("p", "expect: strict\nselector: {podLabels: {matchLabels: {a: 1}}}");
    assert!(crate::policy::testing::read(&text).is_empty());
}

#[test]
fn subjects_that_nobody_can_have_are_warned_of() {
    let warned = |pattern: &str| {
        let text = policy("p", &format!("expect: strict\nallowedClients:\n  subjects: ['{pattern}']"));
        let found = problems(&text);
        assert!(found.iter().all(|p| p.contains("warning") && p.contains("can never match")), "{found:?}");
        !found.is_empty()
    };
    for (pattern, expected) in [
        ("CN=client,O=Example", false),
        ("CN=client,O=Example\\, Inc", false),
        ("CN=cl*", false),
        ("*,O=Example", false),
        ("CN=client,O*", false),
        ("*", false),
        ("CN = client", true),
        ("CN=client, O=Example", true),
        ("/O=Example/CN=client", true),
        ("client", true),
    ] {
        assert_eq!(warned(pattern), expected, "{pattern}");
    }
}
