"""TLS handshakes: what was agreed on, how many resist a quantum computer, how many fail and why, and how long they take."""

from panels import bars, heatmap, lines, pie, rate, row, share, stat, table, total

UID = "tlsight-handshakes"
TITLE = "tlsight / Handshakes"
DESCRIPTION = "TLS handshakes: versions, cipher suites, groups and the share that is post-quantum; failures; how long they take."

HANDSHAKES = "tlsight_tls_handshakes_total"
FAILURES = "tlsight_tls_handshake_failures_total"
DURATION = "tlsight_tls_handshake_duration_seconds"
# ML-KEM and its hybrids, by their IANA names, and the drafts that came before.
POST_QUANTUM = 'tls_group=~".*(MLKEM|Kyber).*"'
ENDS = "A handshake counts at each end that an agent sees."


def _share(*matchers):
    return share(total(rate(HANDSHAKES, *matchers)), total(rate(HANDSHAKES)))


def _quantile(q):
    return f"histogram_quantile({q}, {total(rate(DURATION + '_bucket'), 'le')})"


def _by(label, title, description, width=8):
    return lines(title, f"{description} {ENDS}", "cps", (total(rate(HANDSHAKES), label), f"{{{{{label}}}}}"), width=width,
                 stack="normal")


ROWS = (
    row(
        "Now",
        stat("Handshakes", f"TLS handshakes a second that were seen and completed. {ENDS}", "cps", total(rate(HANDSHAKES))),
        stat(
            "Failed", "Share of handshakes that failed: mean over the time shown.", "percentunit",
            share(total(rate(FAILURES)), f"({total(rate(FAILURES))} or vector(0)) + {total(rate(HANDSHAKES))}"),
            ((None, "green"), (0.01, "dark-orange"), (0.1, "dark-red")), calc="mean", decimals=1,
        ),
        stat("TLS 1.3", "Share of handshakes that agreed on TLS 1.3: mean over the time shown.", "percentunit",
             _share('tls_protocol_version="1.3"'), ((None, "blue"),), calc="mean", decimals=1),
        stat("Before TLS 1.2", "Share of handshakes that agreed on a version older than TLS 1.2 (RFC 8996): mean over the time shown.",
             "percentunit", _share('tls_protocol_version=~"1.0|1.1|2|3"'), ((None, "green"), (0.0001, "dark-orange")), calc="mean",
             decimals=1),
        stat("Post-quantum",
             "Share of handshakes whose keys come from ML-KEM or a hybrid with it: what is recorded today stays secret. Mean over the "
             "time shown.", "percentunit", _share(POST_QUANTUM), ((None, "blue"),), calc="mean", decimals=1),
        stat("95 % take at most", "95th percentile of the time from the first ClientHello to the end of the handshake.", "s",
             _quantile(0.95)),
    ),
    row(
        "What was agreed on",
        _by("tls_protocol_version", "Versions", "Handshakes by the version agreed on; 3 and 2 are SSL."),
        _by("tls_cipher", "Cipher suites", "Handshakes by cipher suite, by its IANA name."),
        _by("tls_group", "Groups", "Handshakes by group of the key exchange; none with RSA key transport and where a PSK stands alone."),
        lines(
            "Post-quantum share", "Share of handshakes whose keys come from ML-KEM or a hybrid with it, at clients and at servers.",
            "percentunit",
            [(share(total(rate(HANDSHAKES, POST_QUANTUM, f'role="{role}"')), total(rate(HANDSHAKES, f'role="{role}"'))), role)
             for role in ("client", "server")],
            width=8, maximum=1,
        ),
        pie("ALPN", f"Protocols that were chosen by ALPN; TLS 1.3 encrypts the choice, so those have no name. {ENDS}", "cps",
            (total(rate(HANDSHAKES), "tls_next_protocol"), "{{tls_next_protocol}}")),
        lines("Resumption", f"Handshakes that resumed a session, and full ones. {ENDS}", "cps",
              (total(rate(HANDSHAKES), "tls_resumed"), "resumed: {{tls_resumed}}"), width=8, stack="normal"),
    ),
    row(
        "Failures",
        lines(
            "Why handshakes fail",
            "Handshakes that failed, by the alert that ended them; handshake_failed where that was encrypted. docs/findings.md says what "
            "to do about each (handshake_failed).", "cps",
            (total(rate(FAILURES), "error_type"), "{{error_type}}"),
        ),
        table(
            "Whose handshakes fail", "Clients and servers of handshakes that failed: mean over the time shown.", "cps",
            total(rate(FAILURES), "client_namespace", "client_workload", "server_namespace", "server_workload", "error_type"),
            {
                "client_namespace": "From namespace", "client_workload": "Client", "server_namespace": "To namespace",
                "server_workload": "Server", "error_type": "Why",
            },
            "Failures", width=12, height=8,
        ),
    ),
    row(
        "How long they take",
        lines(
            "Duration", "Time from the first ClientHello to the end of the handshake: the median, and what 95 and 99 of 100 stay below.",
            "s", [(_quantile(q), name) for q, name in ((0.5, "50 %"), (0.95, "95 %"), (0.99, "99 %"))], width=8,
        ),
        lines(
            "Mean duration, by version", "Mean time of a handshake by version and by whether a session was resumed.", "s",
            (f"{total(rate(DURATION + '_sum'), 'tls_protocol_version', 'tls_resumed')} / "
             f"({total(rate(DURATION + '_count'), 'tls_protocol_version', 'tls_resumed')} > 0)",
             "{{tls_protocol_version}}, resumed: {{tls_resumed}}"), width=8,
        ),
        heatmap("Durations", "How many handshakes took how long.", "s", total(rate(DURATION + "_bucket"), "le"), width=8),
    ),
    row(
        "Names",
        bars(
            "Names asked for", "Handshakes by the name that the client asked for (SNI), the twenty most frequent; other is what exceeds "
            "metrics.max_values.", "cps", (f"topk(20, {total(rate(HANDSHAKES), 'server_name')})", "{{server_name}}"), width=24,
        ),
    ),
)
