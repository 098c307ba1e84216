//! Observations for the tests of exporters.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_core::event::{Bytes, CloseKind, Process, TlsLibrary};
use agent_core::net::{ConnId, Endpoint, FiveTuple, Side};
use agent_core::observation::{
    AlertFact, ClientCertificate, NotTied, Observation, Phase, ProcessCertificates, Reason, Security, Source,
    StartTls, TlsFacts,
};
use agent_core::time::Timestamp;
use agent_core::tls::codepoints::{AlertDescription, AlertLevel, CipherSuite, NamedGroup, ProtocolVersion};
use agent_core::tls::fingerprint::Fingerprints;
use agent_core::x509::{CertificateSummary, ExtendedKeyUsage, OcspResponse, San};

/// 2026-01-02T03:04:05.123456789Z
pub(crate) const TIME: Timestamp = Timestamp(1_767_323_045_123_456_789);

fn end(addr: &str, port: u16) -> Endpoint {
    Endpoint::new(addr.parse::<IpAddr>().unwrap(), port)
}

/// Plaintext HTTP with nothing but what every observation has.
pub(crate) fn plaintext() -> Observation {
    Observation {
        conn: ConnId(7),
        time: TIME,
        phase: Phase::Verdict,
        tuple: FiveTuple { local: end("10.0.0.1", 40000), peer: end("10.0.0.2", 80) },
        local_side: Some(Side::Client),
        process: None,
        security: Security::Plaintext,
        source: Some(Source::Wire),
        reason: None,
        protocol: Some("http"),
        starttls: None,
        proxy_protocol: None,
        tls: None,
        bytes: None,
        closed: None,
        duration: None,
    }
}

fn certificate(name: &str) -> Arc<CertificateSummary> {
    Arc::new(CertificateSummary {
        sha256: [0xab; 32],
        der: Arc::from([0x30, 0].as_slice()),
        subject: Some(format!("CN={name}")),
        issuer: Some("CN=ca".to_owned()),
        sans: vec![San::Dns(name.to_owned()), San::Uri("spiffe://td/x".to_owned())],
        serial: Some("0A1B".to_owned()),
        not_before: Some(1_767_225_600),
        not_after: Some(1_775_001_600),
        key_algorithm: Some("EC".to_owned()),
        key_bits: Some(256),
        curve: Some("P-256".to_owned()),
        signature_algorithm: Some("ecdsa-with-SHA256".to_owned()),
        extended_key_usage: Some(vec![ExtendedKeyUsage::ServerAuth]),
        is_ca: true,
        self_issued: false,
        self_signed_hint: true,
        problems: vec!["bad_san"],
        ..CertificateSummary::default()
    })
}

/// Mutual TLS with every fact there is.
pub(crate) fn everything() -> Observation {
    Observation {
        phase: Phase::Final,
        tuple: FiveTuple { local: end("::1", 443), peer: end("::1", 40001) },
        local_side: Some(Side::Server),
        process: Some(Arc::new(Process { pid: 42, executable_name: "nginx".to_owned() })),
        security: Security::Mtls,
        source: Some(Source::Wire),
        reason: Some(Reason::ClientIdentityUnknown),
        protocol: Some("smtp"),
        starttls: Some(StartTls::Upgraded),
        proxy_protocol: Some(2),
        tls: Some(Arc::new(TlsFacts {
            negotiated_version: Some(ProtocolVersion::TLS_1_2),
            sslv2_hello: true,
            cipher: Some(CipherSuite(0xc02b)),
            group: Some(NamedGroup(29)),
            established: Some(true),
            resumed: Some(false),
            next_protocol: Some("h2".to_owned()),
            offered_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            server_name: Some("a.example".to_owned()),
            offered_versions: vec![ProtocolVersion::TLS_1_3, ProtocolVersion::TLS_1_2],
            offered_ciphers: vec![CipherSuite(0x1301), CipherSuite(0xc02b)],
            offered_groups: vec![NamedGroup(4588), NamedGroup(29)],
            ech_offered: true,
            resumption_offered: true,
            early_data_offered: true,
            hello_retry_request: true,
            fingerprints: Some(Box::new(Fingerprints::known(
                "0123456789abcdef0123456789abcdef",
                "t13d0203h2_000000000000_000000000000",
            ))),
            alert: Some(AlertFact {
                sender: Side::Client,
                content: Some((AlertLevel::WARNING, AlertDescription::BAD_CERTIFICATE)),
            }),
            client_certificate: ClientCertificate::Sent,
            server_chain: vec![certificate("a.example"), certificate("ca")],
            client_chain: vec![certificate("alice")],
            server_chain_not_kept: true,
            client_chain_not_kept: false,
            ocsp_response: Some(Arc::new(OcspResponse::from(vec![1, 2]))),
            handshake_started: Some(Timestamp(TIME.0 + 1_000_000)),
            handshake_duration: Some(Duration::from_micros(12_345)),
            malformed: Some("bad_record"),
        })),
        bytes: Some(Bytes { egress: 2000, ingress: 1000 }),
        closed: Some(CloseKind::Finished),
        duration: Some(Duration::from_millis(1500)),
        ..plaintext()
    }
}

/// Certificates of one side, or of either, that are not tied.
pub(crate) fn process_certificates(peer: Option<Side>) -> ProcessCertificates {
    ProcessCertificates {
        time: TIME,
        process: Arc::new(Process { pid: 42, executable_name: "nginx".to_owned() }),
        library: TlsLibrary::GnuTls,
        peer,
        chain: vec![certificate("b.example"), certificate("ca")],
        reason: NotTied::SeveralConnections,
    }
}
