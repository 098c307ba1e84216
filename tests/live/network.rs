//! Two network namespaces: on a clean wire, with a packet filter that drops, and through a shuffler that loses,
//! duplicates, delays and reorders. The verdicts must be those of a clean wire.

use std::net::SocketAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use tlsight_tests::child::{Child, command};
use tlsight_tests::expect::Owner;
use tlsight_tests::host::free_port;
use tlsight_tests::netns::{Namespace, Pair};
use tlsight_tests::peers::{Ask, ClientConfig, ClientStack, ServerConfig, ServerStack, Version};
use tlsight_tests::pki::pki;
use tlsight_tests::run::case;
use tlsight_tests::tools::{peer_source, venv};
use tlsight_tests::verdict::check_all;

use crate::support::{client_chain_length, full_handshake, only_success, server_identity};

const LIMIT: Duration = Duration::from_secs(20);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("network::between_namespaces", || {
        let pair = Pair::direct();
        connections(&pair, 1);
    }));
    trials.push(case("network::loss_by_packet_filter", || {
        let pair = Pair::direct();
        for (end, every) in [(&pair.client, "7"), (&pair.server, "5")] {
            // Only segments with payload: 0x18 is PSH and ACK, which every last one of a write carries.
            let rule = ["-A", "INPUT", "-p", "tcp", "--tcp-flags", "PSH,ACK", "PSH,ACK", "-m", "statistic"];
            let which = ["--mode", "nth", "--every", every, "--packet", "0", "-j", "DROP"];
            end.run(&[&["iptables"], &rule[..], &which[..]].concat());
        }
        connections(&pair, 6);
        let dropped = pair.server.run(&["iptables", "-L", "INPUT", "-v", "-x", "-n"]);
        assert!(!dropped.contains("\n       0        0 DROP"), "nothing was dropped:\n{dropped}");
    }));
    for seed in 1..=3 {
        trials.push(case(format!("network::shuffled_{seed}"), move || {
            let middle = Namespace::new("m");
            let pair = Pair::through(&middle);
            for end in [&pair.client, &pair.server] {
                let script = peer_source("python/no_offload.py");
                end.run(&[&venv("python3").to_string_lossy(), &script.to_string_lossy(), "veth0"]);
            }
            let shuffler = command(
                venv("python3"),
                [peer_source("python/shuffler.py").into_os_string(), seed.to_string().into()],
            );
            let shuffler = Child::spawn(middle.enter(&shuffler));
            shuffler.wait_for_line("forwarding", LIMIT);
            let recorder = record(&pair.server, seed);
            connections(&pair, 6);
            if let Some(recorder) = recorder {
                recorder.signal(libc::SIGINT);
                recorder.finish(LIMIT);
            }
        }));
    }
}

/// What arrives, recorded into `TLSIGHT_RECORDED_SHUFFLE` (see `tests/captures/record_live.py`).
fn record(server: &Namespace, seed: u32) -> Option<Child> {
    let file = std::env::var_os("TLSIGHT_RECORDED_SHUFFLE").filter(|_| seed == 1)?;
    let mut dumpcap = command("dumpcap", ["-q", "-i", "veth0", "-f", "tcp", "-w"]);
    dumpcap.arg(file);
    let recorder = Child::spawn(server.enter(&dumpcap));
    recorder.wait_for_line("File:", LIMIT);
    Some(recorder)
}

/// `rounds` times four connections between the namespaces: TLS 1.2 and 1.3, with and without a client certificate.
fn connections(pair: &Pair, rounds: usize) {
    for (stack, client) in [(ServerStack::Go, ClientStack::OpenSsl), (ServerStack::OpenSsl, ClientStack::Go)]
    {
        let port = free_port();
        let config = ServerConfig::new(Ask::Optional, server_identity(stack));
        let server = Child::spawn(pair.server.enter(&stack.command_line(&config, port)));
        server.wait_for_line(if stack == ServerStack::Go { "listening" } else { "ACCEPT" }, LIMIT);
        let at = SocketAddr::from((pair.server_address, port));
        let mut expected = Vec::new();
        for _ in 0..rounds {
            for version in [Version::Tls12, Version::Tls13] {
                for identity in [None, Some(&pki().client)] {
                    let config = ClientConfig { identity, ..ClientConfig::new(at).version(version) };
                    let ran = client.run_in(Some(&pair.client), &config);
                    let certificate = if identity.is_some() { "sent" } else { "declined" };
                    let mut expect = full_handshake(client, version, certificate, only_success(&ran), stack);
                    expect.client = Owner::Process(ran.pid, executable(client).to_owned());
                    expect.server = Owner::Process(server.pid, server_executable(stack).to_owned());
                    if let Some(identity) = identity {
                        expect.add_client_chain(stack.is_probed(), identity, client_chain_length(client));
                    }
                    expected.push(expect);
                }
            }
        }
        check_all(at, &expected);
    }
}

/// `ip` has replaced itself by these when they connect; at the time they were started it had not.
fn executable(client: ClientStack) -> &'static str {
    match client {
        ClientStack::Go => "go-peer",
        _ => "openssl",
    }
}

fn server_executable(stack: ServerStack) -> &'static str {
    match stack {
        ServerStack::Go => "go-peer",
        _ => "openssl",
    }
}
