"""Certificates by how long they are still valid and who issued them, how often they are replaced, and what is wrong with them."""

from panels import bars, increase, lines, or_zero, row, selector, stat, table, total

UID = "tlsight-certificates"
TITLE = "tlsight / Certificates"
DESCRIPTION = "Leaf certificates that were shown, by how long they are valid and who issued them; rotations; weak and wrong ones."

DAY = 86400
# Several agents see one certificate.
EACH = f"max by (subject, issuer, serial) ({selector('tlsight_certificate_not_after_timestamp_seconds')})"
PLACES = ("subject", "issuer", "serial", "side", "namespace", "workload", "server_name")
SEEN = "A certificate counts for one to two days after it was last seen (metrics.certificate_retention)."
WRONG = 'rule_id=~"certificate_.*"'


def _count(condition):
    return or_zero(f"count({EACH} - time() {condition})")


ROWS = (
    row(
        "Now",
        stat("Certificates", f"Different leaf certificates seen lately, of servers and of clients. {SEEN}", "short", _count("> -Inf")),
        stat("Expired", f"Certificates seen lately whose last day is over. {SEEN}", "short", _count("<= 0"),
             ((None, "green"), (1, "dark-red"))),
        stat("Within 7 days", "Certificates that are valid for less than 7 days from now, and not over.", "short",
             f"{or_zero(f'count(({EACH} - time() > 0) < 7 * {DAY})')}", ((None, "green"), (1, "dark-red"))),
        stat("Within 30 days",
             "Certificates that are valid for less than 30 days from now, and not over. Short-lived ones are always among them.",
             "short", f"{or_zero(f'count(({EACH} - time() > 0) < 30 * {DAY})')}", ((None, "green"), (1, "dark-orange"))),
        stat("Next to end", "Time until the next certificate ends, of those that are still valid.", "s",
             f"min({EACH} - time() > 0)", ((None, "dark-red"), (7 * DAY, "dark-orange"), (30 * DAY, "green"))),
        stat("Something wrong", f"Findings about certificates that stand now: expired, expiring, weak, untrusted, revoked ...",
             "short", or_zero(total(selector("tlsight_findings", WRONG))), ((None, "green"), (1, "dark-orange"))),
    ),
    row(
        "By days left",
        table(
            "Certificates by time left",
            f"Leaf certificates seen lately, the one that ends first on top; below zero it is over. {SEEN}", "s",
            f"max by ({', '.join(PLACES)}) ({selector('tlsight_certificate_not_after_timestamp_seconds')}) - time()",
            {
                "subject": "Subject", "issuer": "Issuer", "serial": "Serial number", "side": "Shown by", "namespace": "Namespace",
                "workload": "Workload", "server_name": "Asked for as",
            },
            "Time left", instant=True, descending=False,
            steps=((None, "dark-red"), (7 * DAY, "dark-orange"), (30 * DAY, "green")),
        ),
        bars(
            "How many have how long", "Certificates by the time they are still valid.", "short",
            [
                (_count("<= 0"), "over"),
                (or_zero(f"count(({EACH} - time() > 0) < 7 * {DAY})"), "less than 7 days"),
                (or_zero(f"count(({EACH} - time() >= 7 * {DAY}) < 30 * {DAY})"), "7 to 30 days"),
                (or_zero(f"count(({EACH} - time() >= 30 * {DAY}) < 90 * {DAY})"), "30 to 90 days"),
                (_count(f">= 90 * {DAY}"), "90 days and more"),
            ],
            calc="lastNotNull", width=8,
            colors={"over": "dark-red", "less than 7 days": "dark-red", "7 to 30 days": "dark-orange"}, steps=((None, "green"),),
        ),
        lines(
            "Time left, by workload",
            "Time until the first certificate of each workload ends; it jumps up where one was renewed.", "s",
            (f"min by (namespace, workload, side) ({selector('tlsight_certificate_not_after_timestamp_seconds')}) - time()",
             "{{namespace}} {{workload}} ({{side}})"),
            width=16, minimum=None,
        ),
    ),
    row(
        "Issuers and rotations",
        bars(
            "By issuer", f"Different certificates seen lately, by who issued them. {SEEN}", "short",
            (f"count by (issuer) ({EACH})", "{{issuer}}"), calc="lastNotNull", width=12,
        ),
        lines(
            "Rotations", "Certificates that took the place of an older one, in each step of the time shown.", "short",
            (total(increase("tlsight_certificates_replaced_total"), "side", "namespace", "workload"),
             "{{namespace}} {{workload}} ({{side}})"), width=12,
        ),
    ),
    row(
        "Weak and wrong",
        lines(
            "What is wrong",
            "Findings about certificates, by rule: weak keys and signatures, expired, untrusted, for another name ... docs/findings.md "
            "says what each means.", "short",
            (total(selector("tlsight_findings", WRONG), "rule_id"), "{{rule_id}}"), width=10,
        ),
        table(
            "Where", "Findings about certificates that stand now, and who shows the certificate.", "short",
            total(selector("tlsight_findings", WRONG), "severity", "rule_id", "server_namespace", "server_workload",
                  "client_namespace", "client_workload"),
            {
                "severity": "Severity", "rule_id": "Rule", "server_namespace": "Server's namespace", "server_workload": "Server",
                "client_namespace": "Client's namespace", "client_workload": "Client",
            },
            "Findings", width=14, height=8, instant=True,
        ),
    ),
)
