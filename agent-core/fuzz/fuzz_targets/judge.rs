//! Any bytes as the chain and the stapled response of a handshake, before every rule.
#![no_main]

use std::net::IpAddr;
use std::sync::Arc;

use agent_core::identity::{Party, Sighting};
use agent_core::net::{ConnId, Endpoint, FiveTuple, Side};
use agent_core::observation::{Observation, Phase, Security, Source, TlsFacts};
use agent_core::policy::judge::Judge;
use agent_core::policy::settings::Settings;
use agent_core::time::Timestamp;
use agent_core::x509::summarize;
use libfuzzer_sys::fuzz_target;

// Four bytes of time, then certificates and at last a response, each behind its length in two bytes.
fuzz_target!(|input: &[u8]| {
    let Some((secs, mut rest)) = input.split_at_checked(4) else { return };
    let mut parts = Vec::new();
    while let Some((len, more)) = rest.split_at_checked(2) {
        let len = usize::from(u16::from_be_bytes([len[0], len[1]])).min(more.len());
        let (part, after) = more.split_at(len);
        parts.push(part);
        rest = after;
    }
    let Some((response, certificates)) = parts.split_last() else { return };
    let chain: Vec<_> = certificates.iter().map(|der| Arc::new(summarize(der))).collect();
    let mut judge = Judge::new(Settings::default()).expect("the defaults are within their bounds");
    judge.trust().set_system(certificates.last().map(|der| der.to_vec()));
    judge.trust().set_bundle("own".into(), certificates.get(1).map(|der| der.to_vec()));
    let end = |port| Endpoint::new(IpAddr::from([192, 0, 2, 1]), port);
    let secs = u32::from_be_bytes([secs[0], secs[1], secs[2], secs[3]]);
    let time = Timestamp::from_secs(secs.into());
    let observation = Observation {
        conn: ConnId(1),
        time,
        phase: Phase::Verdict,
        tuple: FiveTuple { local: end(40_000), peer: end(443) },
        local_side: Some(Side::Client),
        process: None,
        security: Security::Mtls,
        source: Some(Source::Wire),
        reason: None,
        protocol: None,
        starttls: None,
        proxy_protocol: None,
        tls: Some(Arc::new(TlsFacts {
            established: Some(true),
            server_name: Some("server.test".to_owned()),
            server_chain: chain.clone(),
            client_chain: chain,
            ocsp_response: Some(Arc::new(agent_core::x509::OcspResponse::from(response.to_vec()))),
            ..TlsFacts::default()
        })),
        bytes: None,
        closed: None,
        duration: None,
    };
    let sighting = Sighting { observation, local: Party::default(), peer: Party::default(), scope: None };
    let raised = judge.judge(&sighting, None, time);
    assert!(raised.len() <= judge.ledger().len(), "what is raised stands");
    while judge.poll_output().is_some() {}
    while let Some(due) = judge.poll_deadline() {
        judge.handle_timeout(due);
        assert!(judge.poll_deadline().is_none_or(|next| next > due), "time goes on");
    }
    assert!(judge.ledger().is_empty(), "silence clears everything");
});
