#!/usr/bin/env python3
"""Records captures from cases of the live tests: the same programs, talking over the loopback interface without an agent.

    tests/captures/record_live.py

Needs root, dumpcap, tshark, editcap and what the live tests need. Afterwards bless the golden files and read the difference
(see README.md).
"""

import os
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent

CAPTURES = {
    "stacks": [
        "matrix::curl_to_nginx::tls13_sends",
        "matrix::python_to_node::tls12_sends",
        "matrix::asyncio_to_go::tls13_declines",
        "matrix::node_to_envoy::tls13_sends",
        "matrix::go_to_rustls::tls13_sends",
        "matrix::java_to_caddy::tls13_declines",
        "matrix::java_to_java::tls12_sends",
        "matrix::java_to_openssl::tls13_sends",
        "matrix::gnutls_to_gnutls::tls13_sends",
        "matrix::gnutls_to_java::tls13_notasked",
        "matrix::rustls_to_openssl::tls13_declines",
        "matrix::rustls_to_asyncio::tls12_declines",
        "matrix::openssl_to_java::tls13_declines",
        "matrix::go_to_python::tls12_notasked",
    ],
    "hellos": [
        "hello::retry_asked_of_go_optional",
        "hello::retry_asked_of_java_never",
        "hello::retry_asked_by_gnutls",
        "hello::post_quantum_go_to_go",
        "hello::post_quantum_rustls_to_caddy",
        "hello::no_server_name_from_gnutls_tls12",
        "hello::alpn_java_to_openssl_tls12",
        "hello::one_byte_a_segment_to_java_tls13",
        "hello::chain_with_intermediate_tls12",
    ],
    "resumed": [
        "resumption::go_to_nginx::tls12_ticket_of_mutual_tls",
        "resumption::python_to_go::tls13_ticket",
        "resumption::java_to_java::tls13_ticket_of_mutual_tls",
        "resumption::openssl_to_nginx::tls12_session_id",
        "resumption::early_data_accepted",
        "resumption::early_data_rejected",
    ],
    "refused": [
        "alerts::expired_client_certificate_refused_by_go_tls12",
        "alerts::expired_client_certificate_refused_by_go_tls13",
        "alerts::missing_client_certificate_refused_by_java_tls13",
        "alerts::missing_client_certificate_refused_by_asyncio_tls12",
        "alerts::untrusted_client_certificate_refused_by_rustls_tls12",
        "alerts::untrusted_server_refused_by_curl_tls13",
        "alerts::untrusted_server_refused_by_go_tls13",
        "alerts::no_common_version_by_gnutls",
        "alerts::no_common_protocol_by_rustls",
    ],
    "upgrades": [
        "starttls::postgresql_without_tls",
        "starttls::postgresql_refuses_tls",
        "starttls::postgresql_sends_tls12",
        "starttls::postgresql_declines_tls13",
        "starttls::mariadb_without_tls",
        "starttls::mariadb_tls12",
        "starttls::mariadb_sends_tls13",
        "starttls::smtp_without_tls",
        "starttls::smtp_s_client_tls12",
        "starttls::smtp_python_client",
        "plaintext::ssh_is_encrypted_not_tls",
        "plaintext::server_speaks_first",
        "plaintext::text_of_no_known_protocol",
        "plaintext::binary_of_no_known_protocol_is_unknown",
    ],
}


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="record-live-"))
    everything, cases, shuffled = work / "all.pcapng", work / "cases", work / "shuffled.pcapng"
    command = ["dumpcap", "-q", "-i", "lo", "-f", "tcp", "-B", "64", "-w", str(everything)]
    recorder = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in recorder.stderr:
        if line.startswith("File:"):
            break
    environment = os.environ | {
        "TLSIGHT_TESTS_PEERS_ONLY": "1",
        "TLSIGHT_RECORDED_CASES": str(cases),
        "TLSIGHT_RECORDED_SHUFFLE": str(shuffled),
    }
    # All of them in one process, which gives every case an address of its own. `cli` is about the agent.
    test = ["cargo", "test", "--quiet", "-p", "tlsight-tests", "--test", "live", "--", "--skip", "cli::"]
    try:
        subprocess.run(test, env=environment, check=True, cwd=HERE, stdout=subprocess.DEVNULL)
    finally:
        recorder.terminate()
        recorder.wait(10)
    addresses = {}
    for line in cases.read_text().splitlines():
        name, address = line.split("\t")
        addresses.setdefault(name, []).append(address)
    for capture, chosen in CAPTURES.items():
        wanted = " ".join(address for name in chosen for address in addresses[name])
        write(everything, capture, f"ip.addr in {{{wanted.replace(' ', ', ')}}}")
    write(shuffled, "shuffled", "tcp.stream < 8")


def write(recorded, name, display_filter):
    """Only what is wanted, and nothing that describes the machine."""
    part = recorded.with_name(f"{name}-part.pcapng")
    subprocess.run(["tshark", "-r", recorded, "-Y", display_filter, "-w", part], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["editcap", "-F", "pcapng", part, HERE / f"{name}.pcapng"], check=True)


if __name__ == "__main__":
    main()
