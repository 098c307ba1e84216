//! Every field of recorded hellos, and hellos that are wrong.

use super::{RECORDINGS, events_of};
use crate::tls::codepoints::*;
use crate::tls::event::TlsEvent;
use crate::tls::fingerprint::{ja3, ja4};
use crate::tls::{ClientHello, Downgrade, ServerHello};

fn client_hellos(name: &str) -> Vec<ClientHello> {
    let (name, bytes) = RECORDINGS.iter().find(|(recorded, _)| *recorded == name).unwrap();
    let hello = |event| if let TlsEvent::ClientHello(hello) = event { Some(*hello) } else { None };
    events_of(name, &[bytes]).into_iter().filter_map(hello).collect()
}

fn server_hellos(name: &str) -> Vec<ServerHello> {
    let (name, bytes) = RECORDINGS.iter().find(|(recorded, _)| *recorded == name).unwrap();
    let hello = |event| match event {
        TlsEvent::ServerHello(hello) | TlsEvent::HelloRetryRequest(hello) => Some(*hello),
        _ => None,
    };
    events_of(name, &[bytes]).into_iter().filter_map(hello).collect()
}

/// The body of a recorded first ClientHello.
fn body(name: &str) -> Vec<u8> {
    RECORDINGS
        .iter()
        .find(|(recorded, _)| *recorded == name)
        .map(|(_, bytes)| bytes[9..5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]))].to_vec())
        .unwrap()
}

#[test]
fn chrome_131() {
    let hello = client_hellos("chrome131.client").remove(0);
    let expected = ClientHello {
        sslv2: false,
        legacy_version: ProtocolVersion::TLS_1_2,
        random: hello.random,
        session_id: hello.session_id.clone(),
        cipher_suites: [
            0x2A2A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014,
            0x9C, 0x9D, 0x2F, 0x35,
        ]
        .map(CipherSuite)
        .to_vec(),
        sslv2_ciphers: vec![],
        compression_methods: vec![CompressionMethod::NULL],
        extensions: hello.extensions.clone(),
        server_name: Some("chrome.test".to_owned()),
        supported_versions: vec![
            hello.supported_versions[0],
            ProtocolVersion::TLS_1_3,
            ProtocolVersion::TLS_1_2,
        ],
        supported_groups: vec![
            hello.supported_groups[0],
            NamedGroup::X25519_MLKEM768,
            NamedGroup::X25519,
            NamedGroup::SECP256R1,
            NamedGroup::SECP384R1,
        ],
        key_share_groups: vec![hello.supported_groups[0], NamedGroup::X25519_MLKEM768, NamedGroup::X25519],
        ec_point_formats: vec![EcPointFormat::UNCOMPRESSED],
        signature_algorithms: vec![
            SignatureScheme::ECDSA_SECP256R1_SHA256,
            SignatureScheme::RSA_PSS_RSAE_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::ECDSA_SECP384R1_SHA384,
            SignatureScheme::RSA_PSS_RSAE_SHA384,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PSS_RSAE_SHA512,
            SignatureScheme::RSA_PKCS1_SHA512,
        ],
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        psk_key_exchange_modes: vec![PskKeyExchangeMode::PSK_DHE_KE],
        psk_identities: None,
        early_data: false,
        encrypted_client_hello: true,
        session_ticket_len: Some(0),
        session_ticket: None,
        extended_master_secret: true,
        malformed: None,
    };
    assert_eq!(hello, expected);
    assert_eq!(hello.session_id.len(), 32);
    assert!(hello.supported_versions[0].is_grease() && hello.supported_groups[0].is_grease());
    let plain: Vec<String> =
        hello.extensions.iter().filter(|found| !found.is_grease()).map(|found| found.0.to_string()).collect();
    assert_eq!(plain.join("-"), "23-18-11-65037-45-43-27-0-65281-5-16-51-10-35-17513-13");
    assert_eq!(hello.offered_versions(), [ProtocolVersion::TLS_1_3, ProtocolVersion::TLS_1_2]);
    // As published for Chrome 124 to 131.
    assert_eq!(ja4::hash(&hello), "t13d1516h2_8daaf6152771_02713d6af862");
}

/// As tshark has them.
#[test]
fn ja3_of_every_recording() {
    for (name, expected) in [
        ("chrome131.client", "07f8b3d13359b8f420ce5b15b2144c5e"),
        ("tls12_anonymous_dhe.client", "899f5bad27022a9433015e9fb0ff4321"),
        ("tls12_declined.client", "871a754af286dfb70c1b53c6887c62e0"),
        ("tls12_mutual.client", "0353bcd6b2d4de22c7f73a34e62efe05"),
        ("tls13_early_data.client", "24f7cdd06e16ad467d45bc4196a60c7a"),
        ("tls13_early_data_retry.client", "80a6a9f04c7c4b9c95aff7c11d3e6841"),
        ("tls13_hello_retry.client", "d7d477dd98b3fab865d1970dc88a3b9c"),
        ("tls13_mutual.client", "5a1edc7f170af1014fc65c994878e63c"),
    ] {
        assert_eq!(ja3::hash(&client_hellos(name)[0]), expected, "{name}");
    }
    assert_eq!(
        ja3::hash(&client_hellos("tls13_early_data_retry.client")[1]),
        "7f9e4300ffb937ba6ae71247aec59f12"
    );
}

#[test]
fn a_hello_with_early_data_offers_its_psk() {
    let hello = client_hellos("tls13_early_data.client").remove(0);
    assert_eq!((hello.psk_identities, hello.early_data), (Some(1), true));
    let server = server_hellos("tls13_early_data.server").remove(0);
    assert_eq!(server.selected_psk, Some(0));
    assert_eq!(server.negotiated_version(), ProtocolVersion::TLS_1_3);
}

#[test]
fn hello_retry_request_names_the_group_and_the_second_hello_uses_it() {
    let clients = client_hellos("tls13_hello_retry.client");
    let groups: Vec<_> = clients.iter().map(|hello| hello.key_share_groups.clone()).collect();
    assert_eq!(groups, [[NamedGroup::X25519], [NamedGroup::SECP384R1]]);
    let servers = server_hellos("tls13_hello_retry.server");
    let said: Vec<_> =
        servers.iter().map(|hello| (hello.is_hello_retry_request(), hello.key_share_group)).collect();
    assert_eq!(said, [(true, Some(NamedGroup::SECP384R1)), (false, Some(NamedGroup::SECP384R1))]);
    assert!(servers.iter().all(|hello| hello.malformed.is_none()));
}

#[test]
fn a_tls12_server_hello() {
    let hello = server_hellos("tls12_mutual.server").remove(0);
    let expected = ServerHello {
        legacy_version: ProtocolVersion::TLS_1_2,
        random: hello.random,
        session_id: vec![],
        cipher_suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        compression_method: CompressionMethod::NULL,
        extensions: hello.extensions.clone(),
        selected_version: None,
        key_share_group: None,
        selected_psk: None,
        alpn: Some(b"h2".to_vec()),
        session_ticket: true,
        extended_master_secret: true,
        malformed: None,
    };
    assert_eq!(hello, expected);
    assert!(hello.has(ExtensionType::STATUS_REQUEST) && hello.has(ExtensionType::RENEGOTIATION_INFO));
    assert_eq!((hello.negotiated_version(), hello.downgrade()), (ProtocolVersion::TLS_1_2, None));
    let mut marked = hello.clone();
    marked.random[24..].copy_from_slice(b"DOWNGRD\x01");
    assert_eq!(marked.downgrade(), Some(Downgrade::Tls12));
    marked.random[31] = 0;
    assert_eq!(marked.downgrade(), Some(Downgrade::Tls11OrBelow));
}

#[test]
fn a_resumed_tls12_handshake_shows_its_ticket_and_session_id() {
    let client = client_hellos("tls12_resumed.client").remove(0);
    let server = server_hellos("tls12_resumed.server").remove(0);
    assert!(client.session_ticket_len.is_some_and(|len| len > 0));
    assert_eq!((client.session_id.len(), client.session_id == server.session_id), (32, true));
}

/// Of every prefix of a hello everything in front of the cut is kept, or the cut is named.
#[test]
fn every_prefix_of_a_hello_names_what_is_missing() {
    for name in ["chrome131.client", "tls13_early_data.client", "tls12_mutual.client"] {
        let body = body(name);
        let whole = ClientHello::parse(&body).unwrap();
        assert_eq!(whole.malformed, None);
        for len in 0..body.len() {
            match ClientHello::parse(&body[..len]) {
                Err(error) => assert!(error.reason().starts_with("truncated_"), "{name} {len}: {error}"),
                // Without extensions the hello may end behind the compression methods.
                Ok(hello) if hello.malformed.is_none() => assert!(hello.extensions.is_empty()),
                Ok(hello) => {
                    assert!(hello.malformed.unwrap().starts_with("truncated_"), "{name} {len}");
                    assert_eq!(hello.cipher_suites, whole.cipher_suites);
                    assert!(whole.extensions.starts_with(&hello.extensions));
                }
            }
        }
    }
}

/// A hello with nothing but the given extension block.
fn with_extensions(block: &[u8]) -> ClientHello {
    let fixed = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    ClientHello::parse(&[&fixed, block].concat()).unwrap()
}

#[test]
fn a_bad_extension_leaves_the_others_readable() {
    // An odd list of groups, then a readable list of versions.
    let hello = with_extensions(&[0, 16, 0, 10, 0, 5, 0, 3, 0, 29, 0, 0, 43, 0, 3, 2, 3, 4]);
    assert_eq!(hello.malformed, Some("invalid_supported_groups"));
    assert_eq!(hello.supported_versions, [ProtocolVersion::TLS_1_3]);
    assert_eq!(hello.extensions, [ExtensionType::SUPPORTED_GROUPS, ExtensionType::SUPPORTED_VERSIONS]);
}

#[test]
fn names_what_is_wrong_with_an_extension() {
    for (block, reason) in [
        (&[0, 8, 0, 23, 0, 0, 0, 23, 0, 0][..], "duplicate_extension"),
        (&[0, 4, 0, 23, 0, 0, 9], "trailing_bytes_in_client_hello"),
        (&[0, 5, 0, 23, 0, 0], "truncated_extensions"),
        (&[0], "truncated_extensions"),
        (&[0, 5, 0, 43, 0, 2, 2], "truncated_extension"),
        (&[0, 6, 0, 43, 0, 2, 2, 3], "truncated_supported_versions"),
        (&[0, 8, 0, 43, 0, 4, 2, 3, 4, 9], "trailing_bytes_in_supported_versions"),
        (&[0, 7, 0, 0, 0, 3, 0, 1, 9], "truncated_server_name"),
        (&[0, 10, 0, 0, 0, 6, 0, 4, 0, 0, 1, b' '], "invalid_server_name"),
        (&[0, 10, 0, 0, 0, 6, 0, 4, 1, 0, 1, b'a'], "invalid_server_name"),
        (&[0, 9, 0, 16, 0, 5, 0, 3, 4, b'h', b'2'], "truncated_alpn"),
        (&[0, 8, 0, 51, 0, 4, 0, 2, 0, 29], "truncated_key_share"),
        (&[0, 6, 0, 41, 0, 2, 0, 0], "truncated_psk_binders"),
        (&[0, 7, 0, 45, 0, 3, 1, 1, 1], "trailing_bytes_in_psk_key_exchange_modes"),
    ] {
        assert_eq!(with_extensions(block).malformed, Some(reason), "{block:?}");
    }
}

#[test]
fn rejects_what_cannot_be_a_hello() {
    let reason = |body: &[u8]| ClientHello::parse(body).unwrap_err().reason();
    assert_eq!(reason(&[3]), "truncated_legacy_version");
    assert_eq!(reason(&[3, 3, 1]), "truncated_random");
    let fixed = [&[3, 3][..], &[7; 32]].concat();
    assert_eq!(reason(&fixed), "truncated_session_id");
    assert_eq!(reason(&[&fixed[..], &[9, 1]].concat()), "truncated_session_id");
    assert_eq!(reason(&[&fixed[..], &[33], &[0; 33]].concat()), "invalid_session_id");
    assert_eq!(reason(&[&fixed[..], &[0, 0, 3, 0, 1, 2]].concat()), "invalid_cipher_suites");
    let hello = ClientHello::parse(&[&fixed[..], &[0, 0, 0]].concat()).unwrap();
    assert_eq!(hello.malformed, Some("truncated_compression_methods"));
    let reason = |body: &[u8]| ServerHello::parse(body).unwrap_err().reason();
    assert_eq!(reason(&[&fixed[..], &[0, 0x13]].concat()), "truncated_cipher_suite");
    assert_eq!(reason(&[&fixed[..], &[0, 0x13, 1]].concat()), "truncated_compression_method");
}

/// RFC 5246 appendix E.2, built by hand: no client that still sends it could be had.
#[test]
fn a_hello_in_ssl_2_0_format() {
    let mut bytes = vec![0x80, 0x2E, 1, 3, 1, 0, 9, 0, 0, 0, 28, 0, 0, 0x2F, 1, 0, 0x80, 0, 0, 0xFF];
    bytes.extend(101..=128);
    let after = [21, 3, 1, 0, 2, 2, 40];
    let events = events_of("", &[&bytes, &after]);
    let mut random = [0; 32];
    random[4..].copy_from_slice(&bytes[20..]);
    let hello = ClientHello {
        sslv2: true,
        legacy_version: ProtocolVersion::TLS_1_0,
        random,
        cipher_suites: vec![
            CipherSuite::TLS_RSA_WITH_AES_128_CBC_SHA,
            CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV,
        ],
        sslv2_ciphers: vec![Sslv2Cipher::RC4_128_WITH_MD5],
        ..ClientHello::default()
    };
    let alert = TlsEvent::Alert(AlertLevel::FATAL, AlertDescription::HANDSHAKE_FAILURE);
    assert_eq!(events, [TlsEvent::ClientHello(Box::new(hello)), alert]);
    // One that offers SSL 2.0 only is followed by records of a kind that is not read.
    bytes[3..5].copy_from_slice(&[0, 2]);
    assert_eq!(events_of("", &[&bytes, &after]).len(), 1);
}
