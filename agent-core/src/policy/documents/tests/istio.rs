//! Istio's documents: every mode and how it is inherited, and what clients do.

use super::problems;
use crate::identity::{Party, Workload};
use crate::net::Side;
use crate::policy::expectation::Mode;
use crate::policy::explain::{Loss, Outcome};
use crate::policy::target::Target;
use crate::policy::testing::{pod, read, read_well, served};
use std::sync::Arc;

/// `created` is a day in January; 0: not known.
fn pa(namespace: &str, name: &str, created: u8, spec: &str) -> String {
    let created = match created {
        0 => String::new(),
        day => format!(", creationTimestamp: '2026-01-{day:02}T00:00:00Z'"),
    };
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {{name: {name}, namespace: {namespace}{created}}}\nspec: {spec}\n"
    )
}

fn dr(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn decide(text: &str, target: &Target<'_>) -> Option<(Mode, String)> {
    let set = read_well(text);
    let decided = set.decide(target).cloned();
    assert_eq!(set.explain(target).expectation, decided);
    decided.map(|e| (e.mode, e.origin.name.clone()))
}

#[test]
fn every_mode_means_what_istio_says() {
    let web = pod("shop", "web", &[]);
    let modes = [
        ("{mtls: {mode: STRICT}}", Mode::Strict),
        ("{mtls: {mode: PERMISSIVE}}", Mode::Permissive),
        ("{mtls: {mode: DISABLE}}", Mode::Disable),
        ("{mtls: {mode: UNSET}}", Mode::Permissive),
        ("{mtls: {}}", Mode::Permissive),
        ("{}", Mode::Permissive),
    ];
    for (spec, mode) in modes {
        for namespace in ["shop", "istio-system"] {
            let decided = decide(&pa(namespace, "p", 0, spec), &Target::new(&web, 80));
            assert_eq!(decided, Some((mode, String::from("p"))), "{spec}");
        }
    }
}

#[test]
fn workload_beats_namespace_beats_mesh() {
    let text = [
        pa("istio-system", "mesh", 1, "{mtls: {mode: STRICT}}"),
        pa("shop", "namespace", 2, "{mtls: {mode: PERMISSIVE}}"),
        pa("shop", "workload", 3, "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}}"),
    ]
    .concat();
    let of = |namespace, app| {
        let party = pod(namespace, "x", &[("app", app)]);
        decide(&text, &Target::new(&party, 80)).map(|(_, name)| name)
    };
    assert_eq!(of("shop", "web").as_deref(), Some("workload"));
    assert_eq!(of("shop", "api").as_deref(), Some("namespace"));
    assert_eq!(of("other", "web").as_deref(), Some("mesh"));
}

#[test]
fn unset_is_inherited_level_by_level_and_port_by_port() {
    let web = pod("shop", "web", &[("app", "web")]);
    let mesh = pa("istio-system", "mesh", 0, "{mtls: {mode: STRICT}}");
    let unset = pa("shop", "namespace", 0, "{mtls: {mode: UNSET}}");
    let workload = pa(
        "shop",
        "workload",
        0,
        "{selector: {matchLabels: {app: web}}, portLevelMtls: {8080: {mode: DISABLE}, 8081: {mode: UNSET}, 8082: {}}}",
    );
    let text = [mesh, unset, workload].concat();
    let at = |port| decide(&text, &Target::new(&web, port));
    assert_eq!(at(8080), Some((Mode::Disable, String::from("workload"))));
    for port in [80, 8081, 8082] {
        assert_eq!(at(port), Some((Mode::Strict, String::from("mesh"))), "{port}");
    }
    // A port that says UNSET takes the workload's own mode first.
    let text = pa(
        "shop",
        "workload",
        0,
        "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {'8081': {mode: UNSET}}}",
    );
    let set = read_well(&text);
    let expectation = set.decide(&Target::new(&web, 8081)).unwrap();
    assert_eq!((expectation.mode, expectation.origin.field.as_str()), (Mode::Strict, "spec.mtls.mode"));
}

#[test]
fn oldest_of_a_level_counts_alone() {
    let web = pod("shop", "web", &[("app", "web")]);
    let old = pa("shop", "z-old", 1, "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}");
    let young = pa(
        "shop",
        "a-young",
        2,
        "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}, portLevelMtls: {8080: {mode: DISABLE}}}",
    );
    for text in [format!("{old}{young}"), format!("{young}{old}")] {
        for port in [80, 8080] {
            let decided = decide(&text, &Target::new(&web, port));
            assert_eq!(decided, Some((Mode::Strict, String::from("z-old"))), "not even its ports count");
        }
    }
    // The oldest one says UNSET: the namespace applies, not the younger one.
    let unset = old.replace("STRICT", "UNSET");
    let namespace = pa("shop", "namespace", 9, "{mtls: {mode: PERMISSIVE}}");
    let decided = decide(&[unset, young, namespace].concat(), &Target::new(&web, 80));
    assert_eq!(decided, Some((Mode::Permissive, String::from("namespace"))));
    // As old as each other, or of unknown age: by name.
    let two = [pa("shop", "b", 0, "{mtls: {mode: STRICT}}"), pa("shop", "a", 0, "{mtls: {mode: DISABLE}}")];
    assert_eq!(decide(&two.concat(), &Target::new(&web, 80)), Some((Mode::Disable, String::from("a"))));
    // And an explanation does not speak of ages that nobody told.
    for (created, expected) in [([0, 0], Loss::Name), ([2, 2], Loss::Name), ([2, 1], Loss::Younger)] {
        let [loser, winner] = created;
        let two = [
            pa("shop", "b", loser, "{mtls: {mode: STRICT}}"),
            pa("shop", "a", winner, "{mtls: {mode: DISABLE}}"),
        ];
        let explained = read_well(&two.concat()).explain(&Target::new(&web, 80));
        let lost = explained.considered.iter().find(|rule| rule.origin.name == "b").map(|rule| rule.outcome);
        assert_eq!(lost, Some(Outcome::Loses(expected)), "{created:?}");
    }
}

#[test]
fn only_what_a_mesh_can_protect_is_meant() {
    let text = pa("istio-system", "mesh", 0, "{mtls: {mode: STRICT}}");
    let host_network =
        Workload { namespace: String::from("shop"), host_network: true, ..Workload::default() };
    let host_network = Party { workload: Some(Arc::new(host_network)), ..Party::default() };
    assert_eq!(decide(&text, &Target::new(&host_network, 80)), None);
    assert_eq!(decide(&text, &Target::new(&Party::default(), 80)), None);
    let service = Party { workload: None, ..served("shop", "web", &[]) };
    assert!(decide(&text, &Target::new(&service, 80)).is_some());
}

#[test]
fn empty_selector_is_none_and_one_in_the_root_namespace_selects_nothing() {
    let web = pod("shop", "web", &[("app", "web")]);
    let text = pa("shop", "p", 0, "{selector: {matchLabels: {}}, mtls: {mode: STRICT}}");
    assert!(decide(&text, &Target::new(&web, 80)).is_some());
    let text = pa("istio-system", "p", 0, "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}");
    assert!(read(&text).is_empty());
    assert_eq!(
        problems(&text),
        ["p.yaml:5:18: warning: PeerAuthentication istio-system/p: spec.selector: \
          Istio passes over selectors in its root namespace: this applies to nothing"]
    );
}

#[test]
fn root_namespace_is_a_setting() {
    use crate::policy::documents::{Documents, Limits, PolicySettings};
    let settings = PolicySettings { istio_root_namespace: String::from("mesh"), ..PolicySettings::default() };
    let mut documents = Documents::new(settings, Limits::default());
    documents.add_text("p", &pa("mesh", "p", 0, "{mtls: {mode: STRICT}}"));
    let web = pod("shop", "web", &[]);
    assert!(documents.finish().set.decide(&Target::new(&web, 80)).is_some());
}

#[test]
fn what_istio_refuses_is_told_with_place_field_and_reason() {
    let title = "PeerAuthentication shop/p";
    let cases = [
        (
            "{mtls: {mode: strict}}",
            "5:21: error: T: spec.mtls.mode: must be STRICT, PERMISSIVE, DISABLE or UNSET",
        ),
        (
            "{portLevelMtls: {80: {mode: STRICT}}}",
            "5:23: error: T: spec.portLevelMtls: needs a `selector`: Istio refuses ports for a whole mesh or namespace",
        ),
        (
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {}}",
            "5:56: error: T: spec.portLevelMtls: must have at least one port",
        ),
        (
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}",
            "5:63: error: T: spec.portLevelMtls.http: must be a port number from 1 to 65535",
        ),
        (
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: STRICT}}}",
            "5:60: error: T: spec.portLevelMtls.0: must be a port number from 1 to 65535",
        ),
        (
            "{selector: {matchLabels: {a: 1}}}",
            "5:36: error: T: spec.selector.matchLabels.a: a label's value must be a string, not a number: put it in quotes",
        ),
        ("[1]", "5:7: error: T: spec: must be a mapping, not a list"),
        (
            "{mtls: {mode: STRICT}, portLevelMTLS: {}}",
            "5:30: warning: T: spec.portLevelMTLS: unknown field; did you mean `portLevelMtls`?",
        ),
    ];
    for (spec, expected) in cases {
        let expected = format!("p.yaml:{}", expected.replace("T:", &format!("{title}:")));
        assert_eq!(problems(&pa("shop", "p", 0, spec)), [expected], "{spec}");
    }
    let text = pa("shop", "p", 0, "{}");
    assert_eq!(
        problems(&text.replace("io/v1", "io/v9").replace(", namespace: shop", "")),
        ["p.yaml:2:13: error: PeerAuthentication p: apiVersion: unknown version; there are: v1, v1beta1"]
    );
    assert_eq!(
        problems(&text.replace(", namespace: shop", "")),
        [
            "p.yaml:4:11: warning: PeerAuthentication p: metadata.namespace: has no `namespace`: taken to be in `default`, as kubectl does"
        ]
    );
}

fn client_mode(text: &str, target: &Target<'_>) -> Option<(Mode, String)> {
    let set = read_well(text);
    set.decide_side(target, Side::Client).map(|e| (e.mode, e.origin.name.clone()))
}

#[test]
fn clients_do_what_destination_rules_say() {
    let (web, client) = (served("shop", "web", &[]), pod("shop", "client", &[]));
    let target = Target { client: Some(&client), ..Target::new(&web, 80) };
    let modes = [
        ("DISABLE", Mode::Disable),
        ("SIMPLE", Mode::Tls),
        ("MUTUAL, credentialName: c", Mode::Strict),
        ("ISTIO_MUTUAL", Mode::Strict),
    ];
    for (mode, expected) in modes {
        for host in ["web", "web.shop.svc.cluster.local", "'*.shop.svc.cluster.local'", "'*.local'", "'*'"] {
            let text =
                dr("shop", "d", &format!("{{host: {host}, trafficPolicy: {{tls: {{mode: {mode}}}}}}}"));
            assert_eq!(client_mode(&text, &target), Some((expected, String::from("d"))), "{host}");
        }
    }
    for host in ["api", "web.other.svc.cluster.local", "'*.other.svc.cluster.local'", "'*.com'"] {
        let text = dr("shop", "d", &format!("{{host: {host}, trafficPolicy: {{tls: {{mode: SIMPLE}}}}}}"));
        assert_eq!(client_mode(&text, &target), None, "{host}");
    }
    let nothing = dr("shop", "d", "{host: web, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}");
    assert_eq!(client_mode(&nothing, &target), None);
}

#[test]
fn external_hosts_are_known_by_the_name_asked_for() {
    let (server, client) = (Party::default(), pod("shop", "client", &[]));
    let target = Target { client: Some(&client), host: Some("api.example.com"), ..Target::new(&server, 443) };
    let rule = |name, host: &str, mode| {
        dr("shop", name, &format!("{{host: '{host}', trafficPolicy: {{tls: {{mode: {mode}}}}}}}"))
    };
    let text = [
        rule("all", "*", "DISABLE"),
        rule("wild", "*.com", "DISABLE"),
        rule("longer", "*.example.com", "SIMPLE"),
    ];
    assert_eq!(decide(&text.concat(), &target), Some((Mode::Tls, String::from("longer"))));
    let text = [text.concat(), rule("exact", "api.example.com", "ISTIO_MUTUAL")].concat();
    assert_eq!(decide(&text, &target), Some((Mode::Strict, String::from("exact"))));
}

#[test]
fn rules_are_looked_for_near_the_client_first_and_where_they_are_exported_to() {
    let (web, client, stranger) =
        (served("shop", "web", &[]), pod("a", "client", &[]), pod("b", "client", &[]));
    let from = |client| Target { client: Some(client), ..Target::new(&web, 80) };
    let rule = |namespace, extra: &str, mode| {
        dr(
            namespace,
            namespace,
            &format!("{{host: web.shop.svc.cluster.local{extra}, trafficPolicy: {{tls: {{mode: {mode}}}}}}}"),
        )
    };
    let text = [
        rule("istio-system", "", "DISABLE"),
        rule("shop", "", "ISTIO_MUTUAL"),
        rule("a", "", "SIMPLE"),
        rule("c", "", "DISABLE"),
    ]
    .concat();
    let of = |text: &str, client| client_mode(text, &from(client)).map(|(_, name)| name);
    assert_eq!(of(&text, &client).as_deref(), Some("a"));
    assert_eq!(of(&text, &stranger).as_deref(), Some("shop"));
    let private = text.replace(
        "local, trafficPolicy: {tls: {mode: ISTIO",
        "local, exportTo: ['.'], trafficPolicy: {tls: {mode: ISTIO",
    );
    assert_ne!(private, text);
    assert_eq!(of(&private, &stranger).as_deref(), Some("istio-system"));
    let named = private.replace("exportTo: ['.']", "exportTo: [b]");
    assert_eq!(of(&named, &stranger).as_deref(), Some("shop"));
    let unknown = Target::new(&web, 80);
    assert_eq!(client_mode(&text, &unknown).map(|(_, name)| name).as_deref(), Some("shop"));
}

#[test]
fn nothing_is_expected_of_clients_that_have_no_sidecar() {
    let text = dr("istio-system", "all", "{host: '*.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}");
    let web = served("shop", "web", &[]);
    let from = |client: &Party| client_mode(&text, &Target { client: Some(client), ..Target::new(&web, 80) });
    assert_eq!(from(&pod("a", "client", &[])), Some((Mode::Strict, String::from("all"))));
    // From outside of the cluster; a node's own program, kubelet say; a pod on its node's network.
    let node = Party { node: Some("node-1".into()), ..Party::default() };
    let mut host = pod("a", "client", &[]);
    if let Some(workload) = &mut host.workload {
        std::sync::Arc::make_mut(workload).host_network = true;
    }
    for client in [Party::default(), node, host] {
        assert_eq!(from(&client), None, "{client:?}");
    }
}

#[test]
fn the_sidecars_own_ports_are_left_alone() {
    let text = pa("istio-system", "mesh", 1, "{mtls: {mode: STRICT}}");
    let web = served("shop", "web", &[]);
    let mode = |port| decide(&text, &Target::new(&web, port)).map(|(mode, _)| mode);
    assert_eq!([8080, 15_008].map(mode), [Some(Mode::Strict); 2]);
    assert_eq!([15_020, 15_021, 15_090].map(mode), [None; 3]);
}

#[test]
fn workload_selectors_ports_and_weaker_subsets_narrow_a_rule() {
    let web = served("shop", "web", &[("version", "v1")]);
    let (legacy, client) = (pod("shop", "legacy", &[("app", "legacy")]), pod("shop", "client", &[]));
    let text = [
        dr(
            "shop",
            "general",
            "{host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, portLevelSettings: [
               {port: {number: 8443}, tls: {mode: SIMPLE}}, {port: {number: 9000}, loadBalancer: {}}]}}",
        ),
        dr("shop", "selected", "{host: web, workloadSelector: {matchLabels: {app: legacy}}, trafficPolicy: {tls: {mode: DISABLE}}}"),
    ]
    .concat();
    let at =
        |client, port| Target { client: Some(client), dialled_port: Some(port), ..Target::new(&web, 80) };
    let of = |client, port| client_mode(&text, &at(client, port)).map(|(mode, _)| mode);
    assert_eq!(
        [of(&client, 80), of(&client, 8443), of(&client, 9000)],
        [Some(Mode::Strict), Some(Mode::Tls), None]
    );
    assert_eq!(of(&legacy, 80), Some(Mode::Disable));
    let subset = |base, subset| {
        let text = dr(
            "shop",
            "d",
            &format!(
                "{{host: web, trafficPolicy: {{tls: {{mode: {base}}}}}, subsets: [{{name: v1, labels: {{version: v1}}, \
             trafficPolicy: {{tls: {{mode: {subset}}}}}}}]}}"
            ),
        );
        client_mode(&text, &at(&client, 80)).map(|(mode, _)| mode)
    };
    assert_eq!(subset("ISTIO_MUTUAL", "DISABLE"), Some(Mode::Disable));
    assert_eq!(subset("DISABLE", "ISTIO_MUTUAL"), Some(Mode::Disable));
}

#[test]
fn stricter_end_decides() {
    let (web, client) = (served("shop", "web", &[]), pod("shop", "client", &[]));
    let target = Target { client: Some(&client), ..Target::new(&web, 80) };
    let both = |server, client| {
        let server = pa("shop", "server", 0, &format!("{{mtls: {{mode: {server}}}}}"));
        let client =
            dr("shop", "client", &format!("{{host: web, trafficPolicy: {{tls: {{mode: {client}}}}}}}"));
        decide(&format!("{server}{client}"), &target).map(|(_, name)| name)
    };
    assert_eq!(both("STRICT", "DISABLE").as_deref(), Some("server"));
    assert_eq!(both("PERMISSIVE", "ISTIO_MUTUAL").as_deref(), Some("client"));
    assert_eq!(both("STRICT", "ISTIO_MUTUAL").as_deref(), Some("server"));
}

#[test]
fn destination_rules_that_istio_refuses_are_told() {
    let title = "DestinationRule shop/d";
    let cases = [
        ("{trafficPolicy: {}}", "5:7: error: T: spec: needs a `host`"),
        (
            "{host: 'a.*.b'}",
            "5:14: error: T: spec.host: may have a wildcard only as its first label: *.example.com",
        ),
        (
            "{host: a, trafficPolicy: {tls: {}}}",
            "5:38: error: T: spec.trafficPolicy.tls: needs a `mode`: DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL",
        ),
        (
            "{host: a, trafficPolicy: {tls: {mode: TLS}}}",
            "5:45: error: T: spec.trafficPolicy.tls.mode: must be DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL",
        ),
        (
            "{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}",
            "5:38: error: T: spec.trafficPolicy.tls: MUTUAL needs `clientCertificate` and `privateKey`, or a `credentialName`",
        ),
        (
            "{host: a, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, privateKey: k}}}",
            "5:71: warning: T: spec.trafficPolicy.tls.privateKey: does not count: ISTIO_MUTUAL uses Istio's own certificates",
        ),
        (
            "{host: a, trafficPolicy: {portLevelSettings: [{tls: {mode: SIMPLE}}]}}",
            "5:53: error: T: spec.trafficPolicy.portLevelSettings[0]: needs a `port.number`",
        ),
    ];
    for (spec, expected) in cases {
        let expected = format!("p.yaml:{}", expected.replace("T:", &format!("{title}:")));
        assert_eq!(problems(&dr("shop", "d", spec)), [expected], "{spec}");
    }
}

#[test]
fn a_mode_that_stands_in_the_wrong_place_is_told() {
    for (spec, expected) in [
        ("{mtls: STRICT}", "error: PeerAuthentication shop/p: spec.mtls: must be a mapping, not a string"),
        (
            "{mtls: {mod: STRICT}}",
            "warning: PeerAuthentication shop/p: spec.mtls.mod: unknown field; there are: mode",
        ),
    ] {
        let told = problems(&pa("shop", "p", 0, spec));
        assert!(matches!(told.as_slice(), [one] if one.ends_with(expected)), "{spec}: {told:?}");
    }
}
