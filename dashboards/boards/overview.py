"""What share of connections is plaintext, TLS and mutual TLS, how that moves, and whose connections they are."""

from panels import address, bars, lines, or_zero, pie, rate, row, selector, share, stat, table, total

UID = "tlsight-overview"
TITLE = "tlsight / Overview"
DESCRIPTION = "What share of all connections is plaintext, TLS and mutual TLS, how that moves, and whose connections they are."

CONNECTIONS = "tlsight_connections_total"
# A hop from an application to its own sidecar never leaves the pod.
BEYOND_POD = 'scope!="pod"'
ENDS = "A connection counts at each end that an agent sees, once its protection is proven. Hops inside a pod are left out."


def _share(security):
    return share(total(rate(CONNECTIONS, f'security="{security}"', BEYOND_POD)), total(rate(CONNECTIONS, BEYOND_POD)))


def _share_of(security, name, steps):
    return stat(
        f"{name} share", f"Share of connections that are {name}: mean over the time shown. {ENDS}", "percentunit",
        _share(security), steps, calc="mean", decimals=1,
    )


ROWS = (
    row(
        "Now",
        _share_of("plaintext", "plaintext", ((None, "green"), (0.0001, "red"))),
        _share_of("tls", "TLS", ((None, "blue"),)),
        _share_of("mtls", "mutual TLS", ((None, "green"),)),
        stat("Connections", f"Connections a second. {ENDS}", "cps", total(rate(CONNECTIONS, BEYOND_POD))),
        stat(
            "Critical findings", "Findings of severity critical that stand now. The dashboard Mismatches lists them.", "short",
            or_zero(total(selector("tlsight_findings", 'severity="critical"'))), ((None, "green"), (1, "dark-red")),
        ),
        stat(
            "Certificates that end within 30 days",
            "Leaf certificates seen lately that have less than 30 days left or none. The dashboard Certificates lists them.",
            "short",
            or_zero("count(max by (subject, issuer, serial) ("
                    + selector("tlsight_certificate_not_after_timestamp_seconds") + ") - time() < 30 * 86400)"),
            ((None, "green"), (1, "dark-orange")),
        ),
    ),
    row(
        "How it moves",
        lines(
            "Protection of connections", f"New connections by how they are protected, as shares of all. {ENDS}", "cps",
            (total(rate(CONNECTIONS, BEYOND_POD), "security"), "{{security}}"), stack="percent",
        ),
        lines(
            "Bytes", "Payload bytes of TCP connections by how those are protected, counted when a connection ends.", "Bps",
            (total(rate("tlsight_connection_bytes_total", BEYOND_POD), "security"), "{{security}}"), stack="normal",
        ),
    ),
    row(
        "What kind",
        pie(
            "All connections", f"Connections by how they are protected, mean over the time shown. {ENDS}", "cps",
            (total(rate(CONNECTIONS, BEYOND_POD), "security"), "{{security}}"), width=6,
        ),
        lines(
            "By distance and protection",
            "How far connections go (loopback, pod, node, cluster, external) and how they are protected. Hops inside a pod "
            "are shown here.", "cps",
            (total(rate(CONNECTIONS), "scope", "security"), "{{scope}} {{security}}"), width=6, colors={},
        ),
        bars(
            "What is spoken in plaintext",
            f"Protocols on connections that are plaintext, by their first bytes; without a name where it is none that tlsight knows. {ENDS}",
            "cps", (total(rate(CONNECTIONS, 'security="plaintext"', BEYOND_POD), "protocol"), "{{protocol}}"), width=6,
            steps=((None, "red"),),
        ),
        bars(
            "Why unknown",
            "Connections that ended without a proven verdict, by reason: no_data sent nothing, handshake_failed got no further.",
            "cps", (total(rate("tlsight_connections_unknown_total"), "reason"), "{{reason}}"), width=6,
            steps=((None, "#8e8e8e"),),
        ),
    ),
    row(
        "Who",
        table(
            "Servers",
            f"Who is called, on which port, and how the connections are protected: mean over the time shown. {ENDS}", "cps",
            total(rate(CONNECTIONS, BEYOND_POD), "server_namespace", "server_workload", "server_port", "security"),
            {"server_namespace": "Namespace", "server_workload": "Server", "server_port": "Port", "security": "Observed"},
            "Connections", width=12, link=("Server", "What is wrong", address("tlsight-mismatches")),
        ),
        table(
            "Who talks plaintext", f"Clients and servers of plaintext connections: mean over the time shown. {ENDS}", "cps",
            total(rate(CONNECTIONS, 'security="plaintext"', BEYOND_POD), "client_namespace", "client_workload",
                  "server_namespace", "server_workload", "server_port", "protocol"),
            {
                "client_namespace": "From namespace", "client_workload": "Client", "server_namespace": "To namespace",
                "server_workload": "Server", "server_port": "Port", "protocol": "Protocol",
            },
            "Connections", width=12, link=("Server", "What is wrong", address("tlsight-mismatches")),
        ),
    ),
)
