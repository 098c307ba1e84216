//! Policies at the edges of the language. Each is the body of one package.

/// A policy, and inputs of its own where it has any.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rules: &'static str,
    pub(crate) inputs: &'static [&'static str],
}

const fn case(name: &'static str, rules: &'static str, inputs: &'static [&'static str]) -> Case {
    Case { name, rules, inputs }
}

/// What is no connection.
pub(crate) const INPUTS: &[&str] = &[
    "{}",
    "null",
    "[]",
    "\"text\"",
    "0",
    r#"{"tls.established": "yes", "tlsight.scope": ["node"], "tls.protocol.version": 1.2}"#,
    r#"{"a\"b\\c": 1, "__proto__": {"x": 1}, "": "", "\u0000": "\u0000", "tls.client.hash.sha256": null}"#,
    r#"{"n": 9007199254740993, "f": 1e300, "small": 1e-300, "neg": -0.0, "tls.client.hash.sha256": {}}"#,
];

/// Cases in which the two differ, and why that is so.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    (
        "values of different types in order",
        "rego-cpp puts types in another order than OPA: null, booleans, numbers, strings ...",
    ),
    ("texts beyond ASCII", "rego-cpp changes the case of ASCII letters alone"),
    ("cutting texts", "rego-cpp makes other texts of a negative number in another base, and of a reversal"),
    ("texts made by a pattern", "regorus has no %t"),
    ("networks", "regorus has no net.cidr_intersects"),
    ("times", "regorus has no time.add_date"),
    ("objects", "rego-cpp does not join what is inside of objects"),
    ("texts and numbers compared", "rego-cpp compares values of different types by their text"),
    ("regular expressions beyond ASCII", "rego-cpp does not know classes of Unicode"),
    ("a default in a text", "rego-cpp does not escape what it writes"),
    ("sets", "regorus takes braces behind `if` for a body"),
    ("a number that is none fails", "rego-cpp reads hexadecimal digits"),
    ("input in the place of another", "rego-cpp fails where regorus replaces the input"),
];

const NOTHING: &[&str] = &["{}"];

pub(crate) const CASES: &[Case] = &[
    case(
        "a set holds equal things once",
        r#"
findings contains {"message": sprintf("%v", [x])} if some x in [1, 1, "1", "1", true, null]
"#,
        NOTHING,
    ),
    case(
        "integers beyond 2^53",
        r#"
findings contains {"message": "sum", "v": 9007199254740992 + 1}
findings contains {"message": "product", "v": 3037000500 * 3037000500}
findings contains {"message": "difference", "v": -9223372036854775807 - 2}
"#,
        NOTHING,
    ),
    case(
        "division and remainder",
        r#"
findings contains {"message": "a", "v": 7 / 2}
findings contains {"message": "b", "v": 6 / 2}
findings contains {"message": "c", "v": 7 % 3}
findings contains {"message": "d", "v": -7 % 3}
findings contains {"message": "e", "v": 1 / 3 * 3}
"#,
        NOTHING,
    ),
    case(
        "division by nothing fails",
        r#"
findings contains {"message": "x", "v": 1 / input.n}
"#,
        &[r#"{"n": 0}"#, r#"{"n": 4}"#, "{}"],
    ),
    case(
        "remainder of a fraction fails",
        r#"
findings contains {"message": "x", "v": input.n % 2}
"#,
        &[r#"{"n": 1.5}"#, r#"{"n": 5}"#],
    ),
    case(
        "rounding",
        r#"
findings contains {"message": "x", "in": n, "v": [ceil(n), floor(n), round(n), abs(n)]} if {
	some n in [0, 0.5, 1.5, -0.5, -1.5, 2.4999, -7]
}
"#,
        NOTHING,
    ),
    case(
        "undefined is not false",
        r#"
findings contains {"message": "no key"} if not input.nokey
findings contains {"message": "key is false"} if input.key == false
findings contains {"message": "key"} if input.key
findings contains {"message": "null is not undefined"} if not is_null(input.key)
"#,
        &[
            "{}",
            r#"{"key": false}"#,
            r#"{"key": null}"#,
            r#"{"key": 0}"#,
            r#"{"key": ""}"#,
            r#"{"key": true}"#,
        ],
    ),
    case(
        "values of different types in order",
        r#"
findings contains {"message": "less", "a": a, "b": b} if {
	all := [null, false, true, -1, 0, 1.5, "", "a", [], [1], {}, {"a": 1}]
	some i, a in all
	some j, b in all
	i > j
	not b < a
}
findings contains {"message": "sorted", "v": sort([{"a": 1}, "b", 2, null, [0], true, 1.5, "a", false, {}])}
"#,
        NOTHING,
    ),
    case(
        "numbers equal what they are worth",
        r#"
findings contains {"message": "equal"} if 1 == 1.0
findings contains {"message": "in"} if 2 in {1.0, 2.0}
findings contains {"message": "unify"} if {"a": 1, "b": [2, x]} = {"a": 1.0, "b": [2, 3]}
findings contains {"message": "not text"} if not "1" == 1
"#,
        NOTHING,
    ),
    case(
        "texts beyond ASCII",
        r#"
t := "Ünïcödé🦀ß"
findings contains {"message": "x", "v": [count(t), upper(t), lower(t), substring(t, 6, 2), indexof(t, "🦀"), reverse]} if {
	reverse := strings.reverse(t)
}
findings contains {"message": "y", "v": [split(t, ""), trim(t, "Üß"), replace(t, "ö", "oe"), contains(t, "🦀")]}
"#,
        NOTHING,
    ),
    case(
        "cutting texts",
        r#"
findings contains {"message": "0", "v": substring("abc", 1, -1)}
findings contains {"message": "1", "v": substring("abc", 0, 10)}
findings contains {"message": "2", "v": trim_left("xxa", "x")}
findings contains {"message": "3", "v": trim_right("axx", "x")}
findings contains {"message": "4", "v": trim_prefix("aab", "a")}
findings contains {"message": "5", "v": trim_suffix("baa", "a")}
findings contains {"message": "6", "v": trim_space(" \t a\n")}
findings contains {"message": "7", "v": split("a,,b", ",")}
findings contains {"message": "8", "v": concat("-", ["a", "b"])}
findings contains {"message": "9", "v": concat("", {"b", "a"})}
findings contains {"message": "10", "v": startswith("abc", "")}
findings contains {"message": "11", "v": endswith("abc", "bc")}
findings contains {"message": "12", "v": indexof("abc", "z")}
findings contains {"message": "13", "v": indexof_n("abab", "b")}
findings contains {"message": "14", "v": format_int(255, 16)}
findings contains {"message": "15", "v": format_int(-5, 2)}
findings contains {"message": "16", "v": strings.replace_n({"a": "1", "b": "2"}, "abc")}
"#,
        NOTHING,
    ),
    case(
        "a text cut outside of it fails",
        r#"
findings contains {"message": substring("abc", input.from, 1)}
"#,
        &[r#"{"from": -1}"#, r#"{"from": 1}"#],
    ),
    case(
        "texts made by a pattern",
        r#"
findings contains {"message": sprintf("%d %05d %x %s %v %t %%", [42, 42, 255, "s", "v", true])}
findings contains {"message": sprintf("%v %v %v", [[1, "a"], {"k": [true, null]}, {1, 2}])}
findings contains {"message": sprintf("%.2f %v", [3.14159, 0.1])}
"#,
        NOTHING,
    ),
    case(
        "regular expressions",
        r#"
findings contains {"message": "0", "v": regex.match(`^spiffe://[^/]+/ns/(\w+)$`, "spiffe://td/ns/shop")}
findings contains {"message": "1", "v": regex.match("a.c", "abc")}
findings contains {"message": "2", "v": regex.find_n("[0-9]+", "a1b22c333", 2)}
findings contains {"message": "3", "v": regex.split(",\\s*", "a, b,c")}
findings contains {"message": "4", "v": regex.replace("ab12", "[0-9]", "x")}
findings contains {"message": "5", "v": regex.find_all_string_submatch_n("a(x*)b", "-axxb-ab-", -1)}
"#,
        NOTHING,
    ),
    case(
        "a regular expression that is none fails",
        r#"
findings contains {"message": "x"} if regex.match(input.p, "a")
"#,
        &[r#"{"p": "("}"#, r#"{"p": "a"}"#],
    ),
    case(
        "names with wildcards",
        r#"
findings contains {"message": "0", "v": glob.match("*.example.com", ["."], "a.example.com")}
findings contains {"message": "1", "v": glob.match("*.example.com", ["."], "a.b.example.com")}
findings contains {"message": "2", "v": glob.match("**.example.com", ["."], "a.b.example.com")}
findings contains {"message": "3", "v": glob.match("*:80", [":"], "a:80")}
findings contains {"message": "4", "v": glob.match("{a,b}c", [], "bc")}
findings contains {"message": "5", "v": glob.match("[a-c]?", [], "b1")}
findings contains {"message": "6", "v": glob.match("*", [], "")}
"#,
        NOTHING,
    ),
    case(
        "networks",
        r#"
findings contains {"message": "0", "v": net.cidr_contains("10.0.0.0/8", "10.255.0.1")}
findings contains {"message": "1", "v": net.cidr_contains("10.0.0.0/8", "10.1.0.0/16")}
findings contains {"message": "2", "v": net.cidr_contains("10.0.0.0/16", "10.0.0.0/8")}
findings contains {"message": "3", "v": net.cidr_contains("2001:db8::/32", "2001:db8:1::1")}
findings contains {"message": "4", "v": net.cidr_contains("0.0.0.0/0", "1.2.3.4")}
findings contains {"message": "5", "v": net.cidr_intersects("10.0.0.0/8", "10.1.0.0/16")}
findings contains {"message": "6", "v": net.cidr_intersects("10.0.0.0/8", "11.0.0.0/8")}
findings contains {"message": "7", "v": net.cidr_is_valid("10.0.0.0/33")}
findings contains {"message": "8", "v": net.cidr_is_valid("::/0")}
"#,
        NOTHING,
    ),
    case(
        "a network that is none fails",
        r#"
findings contains {"message": "x"} if net.cidr_contains(input.net, "10.0.0.1")
"#,
        &[r#"{"net": "10.0.0.0/99"}"#, r#"{"net": "nowhere"}"#, r#"{"net": "10.0.0.0/24"}"#],
    ),
    case(
        "times",
        r#"
findings contains {"message": "0", "v": time.parse_rfc3339_ns("2024-02-29T12:00:00.123456789Z")}
findings contains {"message": "1", "v": time.parse_rfc3339_ns("2024-02-29T12:00:00+14:00")}
findings contains {"message": "2", "v": time.parse_rfc3339_ns("1969-12-31T23:59:59Z")}
findings contains {"message": "3", "v": time.date(1709208000000000000)}
findings contains {"message": "4", "v": time.clock(1709208000123456789)}
findings contains {"message": "5", "v": time.weekday(1709208000000000000)}
findings contains {"message": "6", "v": time.add_date(1709208000000000000, 1, 0, 1)}
findings contains {"message": "7", "v": time.parse_duration_ns("1h2m3.5s")}
"#,
        NOTHING,
    ),
    case(
        "a time that is none fails",
        r#"
findings contains {"message": "x", "v": time.parse_rfc3339_ns(input.at)}
"#,
        &[
            r#"{"at": "soon"}"#,
            r#"{"at": "2024-02-30T00:00:00Z"}"#,
            r#"{"at": "2024-01-01"}"#,
            r#"{"at": "2024-01-01T00:00:00Z"}"#,
        ],
    ),
    case(
        "every and some",
        r#"
findings contains {"message": "all"} if {
	every x in input.l { x > 0 }
}
findings contains {"message": "some", "v": i} if {
	some i, x in input.l
	x > 1
}
findings contains {"message": "keys", "v": k} if {
	some k, v in input.o
	v == null
}
findings contains {"message": "member"} if 2 in input.l
findings contains {"message": "pair"} if "a", null in input.o
"#,
        &[
            r#"{"l": [], "o": {}}"#,
            r#"{"l": [1, 2], "o": {"a": null, "b": 1}}"#,
            r#"{"l": [0]}"#,
            "{}",
            r#"{"l": {"x": 3}, "o": [null]}"#,
        ],
    ),
    case(
        "comprehensions",
        r#"
findings contains {"message": "x", "v": [a, count(s), o]} if {
	a := [z | some x in [1, 2]; some y in [3, 4]; z := x * y]
	s := {y | some x in numbers.range(1, 9); y := x % 2}
	o := {k: v | some k, v in {"b": 1, "a": [2]}}
}
findings contains {"message": "nested", "v": [[y | some y in x; y > 1] | some x in [[1, 2], [], [3]]]}
"#,
        NOTHING,
    ),
    case(
        "one key of an object with two values fails",
        r#"
findings contains {"message": "x", "v": {k: v | some v in input.l; k := "k"}}
"#,
        &[r#"{"l": [1, 2]}"#, r#"{"l": [1, 1]}"#, r#"{"l": []}"#],
    ),
    case(
        "two values of one rule fail",
        r#"
mode := "a" if input.a
mode := "b" if input.b
findings contains {"message": mode}
"#,
        &[r#"{"a": true, "b": true}"#, r#"{"a": true}"#, r#"{"b": true}"#, "{}"],
    ),
    case(
        "functions with several bodies",
        r#"
grade(n) := "high" if n > 10
grade(n) := "low" if n <= 10
f(1) := "one"
f(x) := "other" if x != 1
g(x) := y if { y := x + 1; y > 5 } else := 0
findings contains {"message": "x", "v": [grade(11), grade(10), f(1), f(2), g(1), g(9)]}
"#,
        NOTHING,
    ),
    case(
        "defaults and else",
        r#"
default level := "none"
level := "high" if input.n > 10 else := "middle" if input.n > 5 else := "low" if input.n > 0
findings contains {"message": level}
"#,
        &[r#"{"n": 11}"#, r#"{"n": 6}"#, r#"{"n": 1}"#, r#"{"n": 0}"#, "{}"],
    ),
    case(
        "objects",
        r#"
o := {"a": {"b": [1, {"c": 2}]}, "x.y": 3}
findings contains {"message": "0", "v": object.get(o, ["a", "b", 1, "c"], 0)}
findings contains {"message": "1", "v": object.get(o, "none", "d")}
findings contains {"message": "2", "v": object.union(o, {"a": {"z": 1}})}
findings contains {"message": "3", "v": object.remove(o, ["a"])}
findings contains {"message": "4", "v": object.filter(o, ["x.y"])}
findings contains {"message": "5", "v": object.keys(o)}
findings contains {"message": "6", "v": o["x.y"]}
findings contains {"message": "7", "v": object.union_n([{"a": 1}, {"b": 2}, {"a": 3}])}
findings contains {"message": "8", "v": json.remove(o, ["a/b"])}
findings contains {"message": "9", "v": object.subset({"a": 1, "b": 2}, {"a": 1})}
"#,
        NOTHING,
    ),
    case(
        "walking through an object",
        r#"
findings contains {"message": "paths", "p": p} if walk({"a": {"b": [1, {"c": 2}]}}, [p, 2])
"#,
        NOTHING,
    ),
    case(
        "texts and numbers compared",
        r#"
findings contains {"message": "more"} if input.n > 10
findings contains {"message": "not more"} if not input.n > 10
"#,
        &[r#"{"n": "a"}"#, r#"{"n": 11}"#, r#"{"n": null}"#, "{}"],
    ),
    case(
        "regular expressions beyond ASCII",
        r#"
findings contains {"message": "letters", "v": regex.match(`\p{L}+`, "ß")}
findings contains {"message": "a line end", "v": regex.match("a.c", "a\nc")}
"#,
        NOTHING,
    ),
    case(
        "false of a function",
        r#"
findings contains {"message": "x", "v": v} if v := regex.is_valid("(")
findings contains {"message": "y", "v": v} if v := startswith("a", "b")
"#,
        NOTHING,
    ),
    case(
        "a part of the input in the place of another",
        r#"
wanted if input.n > 3
findings contains {"message": "key"} if wanted with input.n as 5
"#,
        &[r#"{"n": 1}"#, "{}"],
    ),
    case(
        "a default in a text",
        r#"
name := object.get(input, "name", "nobody")
findings contains {"message": sprintf("called %s", [name])}
"#,
        &[r#"{"name": "a"}"#, "{}"],
    ),
    case(
        "rules that are objects",
        r#"
by_port[port] contains name if some [port, name] in [[443, "a"], [443, "b"], [80, "c"]]
names[name] := port if some [port, name] in [[443, "a"], [80, "c"]]
findings contains {"message": sprintf("%d", [port]), "v": by_port[port]} if some port, _ in by_port
findings contains {"message": "names", "v": names}
"#,
        NOTHING,
    ),
    case(
        "sets",
        r#"
a := {1, 2, 3}
b := {3, 4}
findings contains {"message": "x", "v": [a & b, a | b, a - b, b - a, count(set()), intersection({a, b}), union({a, b})]}
findings contains {"message": "in"} if {3} - b == set()
"#,
        NOTHING,
    ),
    case(
        "lists",
        r#"
l := [3, 1, 2]
findings contains {"message": "0", "v": array.concat(l, [9])}
findings contains {"message": "1", "v": array.slice(l, 1, 9)}
findings contains {"message": "2", "v": array.slice(l, -1, 1)}
findings contains {"message": "3", "v": array.reverse(l)}
findings contains {"message": "4", "v": sort(l)}
findings contains {"message": "5", "v": sum(l)}
findings contains {"message": "6", "v": product(l)}
findings contains {"message": "7", "v": max(l)}
findings contains {"message": "8", "v": min(l)}
findings contains {"message": "9", "v": count(l)}
findings contains {"message": "10", "v": l[0]}
findings contains {"message": "11", "v": numbers.range(3, 1)}
findings contains {"message": "12", "v": sum([])}
findings contains {"message": "13", "v": product([])}
findings contains {"message": "of nothing"} if not max([])
findings contains {"message": "beyond"} if not l[3]
"#,
        NOTHING,
    ),
    case(
        "types and conversions",
        r#"
findings contains {"message": "x", "t": [type_name(v) | some v in [1, "a", null, true, [], {}, set()]]}
findings contains {"message": "n", "v": [to_number("1.5"), to_number("-7"), to_number(true), to_number(null), to_number(3)]}
findings contains {"message": "is", "v": [is_string(1), is_number(1.5), is_boolean(false), is_array([]), is_object({}), is_set({1})]}
"#,
        NOTHING,
    ),
    case(
        "a number that is none fails",
        r#"
findings contains {"message": "x", "v": to_number(input.t)}
"#,
        &[r#"{"t": "0x10"}"#, r#"{"t": "ten"}"#, r#"{"t": ""}"#, r#"{"t": "1e3"}"#],
    ),
    case(
        "input in the place of another",
        r#"
wanted if input.n > 3
findings contains {"message": "outer"} if wanted
findings contains {"message": "inner"} if wanted with input as {"n": 4}
"#,
        &[r#"{"n": 9}"#, r#"{"n": 1}"#, "{}"],
    ),
    case(
        "a rule that needs itself fails",
        r#"
a if b
b if a
findings contains {"message": "x"} if a
"#,
        NOTHING,
    ),
    case(
        "findings that are a list",
        r#"
findings := [{"message": "b"}, {"message": "a"}, {"message": "b"}]
"#,
        NOTHING,
    ),
    case(
        "findings that are no list",
        r#"
findings := {"message": "b"} if input.o
findings := "text" if input.t
"#,
        &[r#"{"o": true}"#, r#"{"t": true}"#, "{}"],
    ),
    case(
        "applies that is no truth value",
        r#"
applies := input.a
findings contains {"message": "x"}
"#,
        &[r#"{"a": true}"#, r#"{"a": false}"#, r#"{"a": 1}"#, r#"{"a": null}"#, "{}"],
    ),
    case(
        "keys that are strange",
        r#"
findings contains {"message": k, "v": v} if some k, v in input
"#,
        &[
            r#"{"a\"b\\c": 1, "": 2, "\u0000": 3, "\ud83e\udd80": 4, "\u2028": 5, "__proto__": 6}"#,
            "[]",
            "[7]",
        ],
    ),
    case(
        "numbers of the input",
        r#"
findings contains {"message": "x", "v": input.n + 0, "is": input.n == input.m}
"#,
        &[
            r#"{"n": 1e2, "m": 100}"#,
            r#"{"n": -0.0, "m": 0}"#,
            r#"{"n": 9007199254740993, "m": 9007199254740992}"#,
            r#"{"n": 0.1, "m": 0.10}"#,
            r#"{"n": 18446744073709551616, "m": 1}"#,
        ],
    ),
    case(
        "texts as they are written",
        r#"
findings contains {"message": `a\n"b`}
findings contains {"message": "a\n\"b\t\u00e9\\"}
"#,
        NOTHING,
    ),
    case(
        "bits, and JSON in texts",
        r#"
findings contains {"message": "0", "v": json.marshal({"b": [1, null], "a": "x"})}
findings contains {"message": "1", "v": json.unmarshal("{\"a\": [1, 2.5]}")}
findings contains {"message": "2", "v": json.is_valid("{")}
findings contains {"message": "3", "v": bits.and(12, 10)}
findings contains {"message": "4", "v": bits.or(12, 10)}
findings contains {"message": "5", "v": bits.xor(12, 10)}
findings contains {"message": "6", "v": bits.lsh(1, 4)}
findings contains {"message": "7", "v": bits.rsh(16, 2)}
"#,
        NOTHING,
    ),
];
