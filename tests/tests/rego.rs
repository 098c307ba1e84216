//! Rules of one's own mean what they mean elsewhere: the same policies and inputs, evaluated here and by rego-cpp. Whole
//! results are equal, or the difference is listed with its reason.

#[path = "rego/cases.rs"]
mod cases;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tlsight::rego::{Options, RegoRules, RuleFile};
use tlsight_tests::tools::{peer_source, repository, venv};

use cases::{CASES, Case, DIFFERENT, INPUTS};

/// A policy, its packages, and inputs as text.
struct Asked {
    name: String,
    files: Vec<RuleFile>,
    packages: Vec<String>,
    inputs: Vec<String>,
}

/// What somebody says of one input: `Err` where the package fails.
type Says = Result<Map<String, Value>, String>;

/// What rego-cpp says: nothing, where it ended or wrote what is no JSON.
type Other = Result<Says, String>;

fn connection() -> Value {
    let text = std::fs::read_to_string(repository().join("docs/examples/rego/connection.json"));
    serde_json::from_str(&text.expect("an example")).expect("JSON")
}

/// The example of a connection, and what else may be in the place of one.
fn inputs() -> Vec<String> {
    let with = |changes: Value| {
        let mut connection = connection();
        let object = connection.as_object_mut().expect("an object");
        object.extend(changes.as_object().expect("an object").clone());
        connection.to_string()
    };
    let mut inputs = vec![
        connection().to_string(),
        with(json!({"tls.protocol.version": "1.2", "tlsight.scope": "node", "tls.established": true})),
        with(json!({
            "tls.client.hash.sha256": "AB", "tls.client.subject": "CN=\"quoted\\\" \u{1f980}",
            "tls.client.not_before": "2024-02-28T23:59:59+14:00", "tls.client.not_after": "2026-03-01T00:00:00.5Z",
            "tlsight.client.san": ["a.example", "spiffe://td/x"], "client.address": "10.20.255.255",
        })),
        with(json!({
            "tls.client.hash.sha256": "AB", "tls.client.not_before": "2024-01-01T00:00:00Z",
            "tls.client.not_after": "2024-01-08T00:00:00.000000001Z", "tlsight.client.san": [], "client.address": "2001:db8:21::1",
        })),
        with(
            json!({"tls.client.hash.sha256": "AB", "tls.client.not_before": "soon", "client.address": "nowhere"}),
        ),
    ];
    inputs.extend(INPUTS.iter().map(|input| (*input).to_owned()));
    inputs
}

fn examples() -> Asked {
    let folder = repository().join("docs/examples/rego");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("examples").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let is_rule = |path: &&std::path::PathBuf| path.extension().is_some_and(|extension| extension == "rego");
    let stem = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let rules: Vec<_> = paths.iter().filter(is_rule).collect();
    Asked {
        name: "docs/examples/rego".to_owned(),
        packages: rules.iter().map(|path| stem(path)).collect(),
        files: rules
            .iter()
            .map(|path| RuleFile {
                name: path.display().to_string(),
                text: std::fs::read_to_string(path).expect("a rule"),
            })
            .collect(),
        inputs: inputs(),
    }
}

fn asked(case: &Case) -> Asked {
    let text = format!("package tlsight.rules.p\n\n{}\n", case.rules);
    let own = case.inputs.iter().map(|input| (*input).to_owned());
    Asked {
        name: case.name.to_owned(),
        files: vec![RuleFile { name: case.name.to_owned(), text }],
        packages: vec!["p".to_owned()],
        inputs: if case.inputs.is_empty() { inputs() } else { own.collect() },
    }
}

/// What rego-cpp says: of each policy, input and package.
fn others(asked: &[Asked]) -> Vec<Vec<Vec<Other>>> {
    let case = |asked: &Asked| {
        let modules: Map<String, Value> =
            asked.files.iter().map(|file| (file.name.clone(), json!(file.text))).collect();
        json!({"modules": modules, "packages": asked.packages, "inputs": asked.inputs})
    };
    let cases = json!({"cases": asked.iter().map(case).collect::<Vec<_>>()});
    let mut python = Command::new(venv("python3"));
    python.arg(peer_source("python/rego.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.stderr(Stdio::piped()).spawn().expect("python3 starts");
    // It reads all of it before it writes.
    child.stdin.take().expect("piped").write_all(cases.to_string().as_bytes()).expect("write");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Vec<Vec<Vec<Map<String, Value>>>> =
        serde_json::from_slice(&output.stdout).expect("what it said is JSON");
    let says = |mut said: Map<String, Value>| {
        for key in ["crashed", "unreadable"] {
            if let Some(what) = said.remove(key) {
                return Err(format!("{key}: {what}"));
            }
        }
        Ok(match said.remove("error") {
            Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
            None => Ok(said),
        })
    };
    let inputs = |inputs: Vec<Vec<Map<String, Value>>>| {
        inputs.into_iter().map(|packages| packages.into_iter().map(says).collect()).collect()
    };
    said.into_iter().map(inputs).collect()
}

/// What is said here.
fn ours(asked: &Asked) -> Vec<Vec<Says>> {
    // As long as it takes: nothing is measured here.
    let options = Options { time_limit: Duration::from_secs(20), ..Options::default() };
    let mut rules = match RegoRules::load(&asked.files, options) {
        Ok(rules) => rules,
        // Wrong for every input.
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let failed = || asked.packages.iter().map(|_| Err(problems.join("\n"))).collect();
            return asked.inputs.iter().map(|_| failed()).collect();
        }
    };
    let mut of = |input: &String| {
        let said = rules.said_of(input).expect("the input is JSON");
        assert!(said.iter().map(|(package, _)| package).eq(&asked.packages));
        said.into_iter().map(|(_, says)| says.map(normal)).collect()
    };
    asked.inputs.iter().map(&mut of).collect()
}

/// The findings alone, in an order; what the package is not about has none. Numbers are what they are worth.
fn normal(findings: Option<Value>) -> Map<String, Value> {
    let mut out = Map::new();
    if let Some(findings) = findings {
        out.insert("findings".to_owned(), sorted(worth(findings)));
    }
    out
}

/// The same of what rego-cpp says.
fn normal_of_other(mut said: Map<String, Value>) -> Map<String, Value> {
    let findings = said.remove("findings").unwrap_or_else(|| json!([]));
    normal((!said.contains_key("about")).then_some(findings))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut items) => {
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other,
    }
}

/// 2.0 is 2.
fn worth(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => json!(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(worth).collect(),
        Value::Object(entries) => entries.into_iter().map(|(key, value)| (key, worth(value))).collect(),
        other => other,
    }
}

/// Where the two differ, case by case.
fn differences(asked: &[Asked]) -> Vec<String> {
    let others = others(asked);
    assert_eq!(others.len(), asked.len());
    let mut differ = Vec::new();
    for (asked, others) in asked.iter().zip(others) {
        let mut said_something = false;
        for ((input, ours), others) in asked.inputs.iter().zip(ours(asked)).zip(others) {
            for ((package, ours), other) in asked.packages.iter().zip(ours).zip(others) {
                let is_empty =
                    |said: &Map<String, Value>| *said == normal(Some(json!([]))) || said.is_empty();
                said_something |= ours.as_ref().map_or(true, |said| !is_empty(said));
                let other = other.map(|said| said.map(normal_of_other));
                let same = match (&ours, &other) {
                    (Ok(ours), Ok(Ok(other))) => ours == other,
                    // Each has its own words for what is wrong.
                    (Err(_), Ok(Err(_))) => true,
                    _ => false,
                };
                if !same {
                    let what = format!("here: {ours:?}\n  there: {other:?}\n  input: {input}");
                    differ.push(format!("{} ({package})\n  {what}", asked.name));
                }
            }
        }
        if !said_something {
            differ.push(format!("{} (all)\n  nothing comes of it here, whatever the input", asked.name));
        }
    }
    differ
}

#[test]
fn examples_of_the_documentation_mean_the_same_elsewhere() {
    // What rego-cpp writes of a default in a text is no JSON: that is among the listed differences.
    let is_listed = |text: &String| text.contains("unreadable: ") && text.contains("without a subject");
    let differ: Vec<String> =
        differences(&[examples()]).into_iter().filter(|text| !is_listed(text)).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn strange_rules_mean_the_same_elsewhere() {
    let asked: Vec<Asked> = CASES.iter().map(asked).collect();
    assert!(asked.len() >= 20);
    let differ = differences(&asked);
    let is_listed = |text: &String| DIFFERENT.iter().any(|(name, _)| text.starts_with(&format!("{name} (")));
    let (listed, unlisted): (Vec<String>, Vec<String>) = differ.into_iter().partition(is_listed);
    assert!(unlisted.is_empty(), "{}", unlisted.join("\n"));
    for (name, reason) in DIFFERENT {
        let differs = listed.iter().any(|text| text.starts_with(&format!("{name} (")));
        assert!(differs, "{name} is the same by now, and was listed: {reason}");
    }
}
