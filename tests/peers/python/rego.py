"""What rego-cpp says of policies: reads {"cases": [{"modules": {NAME: TEXT}, "packages": [NAME], "inputs": [JSON]}]} from
standard input, and writes for each case, input and package {"findings": V} (absent: undefined), {"about": false},
{"error": TEXT}, {"unreadable": TEXT} or {"crashed": SIGNAL}."""

import datetime
import ipaddress
import itertools
import json
import os
import re
import sys

from regopy import Interpreter

RULE = re.compile(r"^(?:default )?(applies|findings)\b", re.MULTILINE)


# Functions that this library does not have, or that fail here: Python's own say what they give, for all texts of a
# policy and its input. What is none of them fails, as it does where the function is there.
LACKING = re.compile(r"\b(?:net\.(cidr_contains|cidr_intersects|cidr_is_valid)|time\.(parse_rfc3339_ns))\(")
ORACLE = """package oracle

cidr_contains(a, b) := data.known.contains[a][b]
cidr_contains(a, b) := to_number("no network") if not is_boolean(data.known.contains[a][b])
cidr_intersects(a, b) := data.known.intersects[a][b]
cidr_intersects(a, b) := to_number("no network") if not is_boolean(data.known.intersects[a][b])
cidr_is_valid(a) := data.known.valid[a]
parse_rfc3339_ns(t) := data.known.times[t]
parse_rfc3339_ns(t) := to_number("no time") if not is_number(data.known.times[t])
"""
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def network(text):
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def nanoseconds(text):
    parts = RFC3339.fullmatch(text)
    if parts is None:
        return None
    try:
        at = datetime.datetime.fromisoformat(parts[1] + parts[3].replace("Z", "+00:00"))
    except ValueError:
        return None
    seconds = (at - EPOCH) // datetime.timedelta(seconds=1)
    return seconds * 10**9 + int((parts[2] or "0").ljust(9, "0"))


def known(texts):
    networks = {text: network(text) for text in texts}
    table = {
        "contains": {},
        "intersects": {},
        "valid": {text: net is not None and "/" in text for text, net in networks.items()},
        "times": {text: at for text in texts if (at := nanoseconds(text)) is not None},
    }
    for (a, of), (b, other) in itertools.product(networks.items(), repeat=2):
        if of is not None and other is not None:
            is_same = of.version == other.version
            table["contains"].setdefault(a, {})[b] = is_same and other.subnet_of(of)
            table["intersects"].setdefault(a, {})[b] = is_same and of.overlaps(other)
    return table


def query(interpreter, path):
    output = interpreter.query(path)
    if not output.ok():
        raise RuntimeError("a function, a conflict, or something that is not there")
    text = str(output)
    if text == "undefined":
        return []
    expressions = json.loads(text)
    if isinstance(expressions, list):
        expressions = expressions[0] if expressions else {}
    return expressions.get("expressions", [])[:1]


def say(case, package, text):
    interpreter = Interpreter()
    interpreter.strict_built_in_errors = True
    said = {}
    try:
        modules = case["modules"].values()
        if any(LACKING.search(module) for module in modules):
            interpreter.add_data({"known": known({found for m in [*modules, text] for found in TEXT.findall(m)})})
            interpreter.add_module("oracle", ORACLE)
        for name, module in case["modules"].items():
            interpreter.add_module(name, LACKING.sub(lambda m: f"data.oracle.{m[1] or m[2]}(", module))
        interpreter.set_input_term(text)
        rules = {rule for module in case["modules"].values() for rule in RULE.findall(module)}
        for rule in sorted(rules):
            for value in query(interpreter, f'data.tlsight.rules["{package}"].{rule}'):
                said[rule] = value
            if rule == "applies" and said.pop("applies", None) is not True:
                return {"about": False}
    except json.JSONDecodeError as error:
        # What is wrong, or what is no JSON although it should be.
        kind = "unreadable" if error.doc.startswith("{") else "error"
        return {kind: error.doc[:400]}
    except Exception as error:
        return {"error": " ".join(str(error).split())[:400]}
    return said


def say_apart(*asked):
    """In a process of its own: some policies end it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as out:
            json.dump(say(*asked), out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if os.WIFEXITED(status) else {"crashed": os.WTERMSIG(status)}


def main():
    # The library writes what is wrong with a policy to standard output.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cases = json.load(sys.stdin)["cases"]
    json.dump(
        [[[say_apart(case, package, text) for package in case["packages"]] for text in case["inputs"]] for case in cases],
        out,
    )


if __name__ == "__main__":
    main()
