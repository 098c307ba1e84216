//! Any text as policy documents, and any question about them.
#![no_main]

use std::sync::Arc;

use agent_core::identity::{Party, ServiceRef, Workload};
use agent_core::policy::documents::{Documents, Limits, PolicySettings};
use agent_core::policy::target::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let limits = Limits { rules: 2_000, problems: 50, ..Limits::default() };
    let mut documents = Documents::new(PolicySettings::default(), limits);
    documents.add_text("fuzz", text);
    let loaded = documents.finish();
    assert!(loaded.problems.len() <= limits.problems);
    // A pod that the rules themselves may be about.
    let mut workload =
        Workload { namespace: "default".into(), kind: "Deployment".into(), ..Workload::default() };
    for rule in loaded.set.rules().iter().take(4) {
        let server = &rule.selector.server;
        workload.labels.extend(server.labels.equal.iter().cloned());
        if let Some(namespace) = server.namespaces.first() {
            workload.namespace = namespace.text().to_owned();
        }
    }
    let service = ServiceRef { namespace: workload.namespace.clone(), name: "web".into() };
    let pod =
        Party { workload: Some(Arc::new(workload)), service: Some(Arc::new(service)), ..Party::default() };
    let nobody = Party::default();
    for (server, host) in [(&pod, None), (&nobody, Some("web.default.svc.cluster.local"))] {
        let target = Target { host, client: Some(&pod), ..Target::new(server, 8080) };
        let explanation = loaded.set.explain(&target);
        assert_eq!(loaded.set.decide(&target), explanation.expectation.as_ref());
        assert_eq!(explanation.considered.len(), loaded.set.rules().len());
    }
});
