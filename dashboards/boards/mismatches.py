"""What policy expects and what was seen instead, of which service, and who breaks it."""

from panels import bars, increase, lines, or_zero, rate, row, selector, share, stat, table, total

UID = "tlsight-mismatches"
TITLE = "tlsight / Mismatches"
DESCRIPTION = "What policy expects of connections and what was seen instead, for each service, and who breaks it."

CONNECTIONS = "tlsight_connections_total"
FINDINGS = "tlsight_findings"
JUDGED = ('expectation!=""', 'security!="unknown"')

BROKEN = " or ".join((
    rate(CONNECTIONS, 'expectation="strict"', 'security=~"plaintext|tls"'),
    rate(CONNECTIONS, 'expectation="tls"', 'security="plaintext"'),
    rate(CONNECTIONS, 'expectation="disable"', 'security=~"tls|mtls"'),
))
MODES = "strict expects mutual TLS, tls at least TLS, permissive anything, disable plaintext."
TARGET = {"server_namespace": "To namespace", "server_workload": "Server"}
CLIENT = {"client_namespace": "From namespace", "client_workload": "Client"}

ROWS = (
    row(
        "Now",
        stat(
            "Critical findings", "Findings of severity critical that stand now.", "short",
            or_zero(total(selector(FINDINGS, 'severity="critical"'))), ((None, "green"), (1, "dark-red")),
        ),
        stat(
            "Warnings", "Findings of severity warning that stand now.", "short",
            or_zero(total(selector(FINDINGS, 'severity="warning"'))), ((None, "green"), (1, "dark-orange")),
        ),
        stat(
            "Not as expected", f"Connections a second that are protected otherwise than policy expects. {MODES}", "cps",
            or_zero(total(BROKEN)), ((None, "green"), (0.0001, "dark-orange")),
        ),
        stat(
            "As expected",
            "Share of the connections of which policy speaks that are protected as it expects: mean over the time shown.",
            "percentunit", "1 - " + share(total(BROKEN), total(rate(CONNECTIONS, *JUDGED))),
            ((None, "dark-orange"), (1, "green")), calc="mean", decimals=1,
        ),
        stat(
            "Policy speaks of", "Share of all connections of which a policy says how they must be protected.", "percentunit",
            share(total(rate(CONNECTIONS, 'expectation!=""')), total(rate(CONNECTIONS))), ((None, "text"),), calc="mean",
            decimals=1,
        ),
        stat(
            "Plaintext findings",
            "Hops that are plaintext where policy expects TLS, or where there is no policy and they go further than "
            "findings.plaintext_traffic.without_policy allows.", "short",
            or_zero(total(selector(FINDINGS, 'rule_id=~"plaintext_traffic|starttls_not_used"'))),
            ((None, "green"), (1, "red")),
        ),
    ),
    row(
        "Expected and observed",
        lines(
            "Not as expected", f"Connections that are protected otherwise than policy expects, by what is expected and what is seen. {MODES}",
            "cps", (total(BROKEN, "expectation", "security"), "{{expectation}}, but {{security}}"), colors={},
        ),
        lines(
            "Of which no policy speaks", "Connections without an expectation, by how they are protected.", "cps",
            (total(rate(CONNECTIONS, 'expectation=""'), "security"), "{{security}}"), stack="normal",
        ),
    ),
    row(
        "Services",
        table(
            "Expected and observed, by service",
            f"Connections to each service by what policy expects and how they are protected: mean over the time shown. {MODES}",
            "cps", total(rate(CONNECTIONS, *JUDGED), *TARGET, "server_port", "expectation", "security"),
            {**TARGET, "server_port": "Port", "expectation": "Expected", "security": "Observed"}, "Connections", width=12,
        ),
        table(
            "Who breaks it",
            "Clients whose connections are protected otherwise than policy expects: mean over the time shown. Once these are moved "
            "over, the server may refuse what is left.", "cps",
            total(BROKEN, *CLIENT, *TARGET, "server_port", "expectation", "security"),
            {**CLIENT, **TARGET, "server_port": "Port", "expectation": "Expected", "security": "Observed"}, "Connections",
            width=12,
        ),
    ),
    row(
        "Findings",
        bars(
            "By rule", "Findings that stand now, by rule; docs/findings.md says what each means and what to do.", "short",
            (total(selector(FINDINGS), "rule_id"), "{{rule_id}}"), width=8, calc="lastNotNull", steps=((None, "dark-orange"),),
        ),
        lines(
            "By severity", "Findings that stand, over time.", "short",
            (total(selector(FINDINGS), "severity"), "{{severity}}"), width=8, stack="normal",
        ),
        lines(
            "Raised and cleared", "Findings raised and cleared in each step of the time shown.", "short",
            [(total(increase("tlsight_findings_raised_total")), "raised"),
             (total(increase("tlsight_findings_cleared_total")), "cleared")],
            width=8, colors={"raised": "dark-orange", "cleared": "green"},
        ),
        table(
            "Findings that stand",
            "What is wrong now, where, and whose connections show it. Two agents that see the same count it twice.", "short",
            total(selector(FINDINGS), "severity", "rule_id", *CLIENT, *TARGET),
            {"severity": "Severity", "rule_id": "Rule", **CLIENT, **TARGET}, "Findings", instant=True,
        ),
    ),
)
