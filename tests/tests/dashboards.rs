//! Dashboards, rules, alerts and runbooks hold to what Grafana's and Prometheus' own tools ask for, and to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tlsight::export::prometheus::descriptors;
use tlsight_tests::child::command;
use tlsight_tests::tools::{repository, scratch_dir};

const RUNBOOKS: &str = "https://github.com/tlsight/tlsight/blob/main/docs/runbooks/";

fn folder() -> PathBuf {
    repository().join("dashboards")
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = all.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == ending));
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// The dashboards by the names of their files.
fn dashboards() -> BTreeMap<String, Value> {
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).expect("read");
        (name(&file), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
    };
    let all: BTreeMap<String, Value> = files(&folder(), "json").into_iter().map(read).collect();
    assert_eq!(all.len(), 5, "{:?}", all.keys());
    all
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key} in {value:#}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value:#}"))
}

/// All panels that show something, with the name of the dashboard and their title.
fn panels() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (file, dashboard) in dashboards() {
        for panel in list(&dashboard, "panels").iter().filter(|panel| panel["type"] != "row") {
            all.push((format!("{file}: {}", text(panel, "title")), panel.clone()));
        }
    }
    all
}

/// All queries, with where they stand.
fn queries() -> Vec<(String, String)> {
    let of = |(place, panel): (String, Value)| {
        let targets = list(&panel, "targets").to_vec();
        assert!(!targets.is_empty(), "{place}: no query");
        targets.into_iter().map(move |target| (place.clone(), text(&target, "expr").to_owned()))
    };
    panels().into_iter().flat_map(of).collect()
}

fn rules(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("prometheus").join(file)).expect("read");
    let parsed: Value = serde_saphyr::from_str(&text).expect("YAML");
    list(&parsed, "groups").iter().flat_map(|group| list(group, "rules").to_vec()).collect()
}

fn alerts() -> Vec<Value> {
    rules("alerts.yaml")
}

fn promtool(arguments: &[&str]) -> Output {
    let mut promtool = command("promtool", arguments);
    promtool.current_dir(folder().join("prometheus"));
    promtool.output().expect("no promtool: run `cargo xtask setup --tests`")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Metrics in a query, each with what stands between its braces.
fn selectors(query: &str) -> Vec<(String, Option<String>)> {
    const OURS: [&str; 4] = ["tlsight_", "process_", "up", "scrape_"];
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let (mut rest, mut quoted) = (query, false);
    while let Some(c) = rest.chars().next() {
        quoted ^= c == '"';
        let word = &rest[..rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())];
        if quoted || word.is_empty() {
            rest = &rest[c.len_utf8()..];
            continue;
        }
        rest = &rest[word.len()..];
        if OURS.iter().any(|ours| word.starts_with(ours)) {
            let braces = rest.strip_prefix('{').map(|inside| {
                let mut quoted = false;
                let end = inside.find(|c: char| {
                    quoted ^= c == '"';
                    c == '}' && !quoted
                });
                inside[..end.expect("closed")].to_owned()
            });
            found.push((word.to_owned(), braces));
        }
    }
    assert!(!found.is_empty(), "no metric in {query}");
    found
}

#[test]
fn dashboards_are_as_their_source_writes_them() {
    let output = command("python3", [folder().join("generate.py").as_os_str(), "--check".as_ref()]).output();
    let output = output.expect("python3");
    assert!(output.status.success(), "run dashboards/generate.py: {}", said(&output));
}

#[test]
fn dashboards_are_classic_json_that_nobody_edits_in_place() {
    let mut uids = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let kind = ["schemaVersion", "editable", "id", "tags"].map(|key| dashboard[key].clone());
        assert_eq!(kind, [json!(42), json!(false), Value::Null, json!(["tlsight"])], "{file}");
        assert_eq!(text(&dashboard, "uid"), file);
        assert!(uids.insert(file.clone()));
        assert!(text(&dashboard, "title").starts_with("tlsight / "), "{file}");
        assert!(text(&dashboard, "description").ends_with('.'), "{file}");
        assert!(dashboard.get("__inputs").is_none(), "{file} asks for a data source when it is imported");
    }
}

#[test]
fn variables_choose_data_source_job_and_instance() {
    for (file, dashboard) in dashboards() {
        let variables = list(&dashboard["templating"], "list");
        let names: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
        assert_eq!(names, ["datasource", "job", "instance"], "{file}");
        assert_eq!(
            (&variables[0]["type"], &variables[0]["query"]),
            (&json!("datasource"), &json!("prometheus"))
        );
        for variable in &variables[1..] {
            let kind =
                ["type", "multi", "includeAll", "allValue", "refresh"].map(|key| variable[key].clone());
            assert_eq!(kind, [json!("query"), json!(true), json!(true), json!(".+"), json!(2)], "{file}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{file}");
        }
    }
}

#[test]
fn every_panel_has_a_title_a_description_a_unit_and_the_chosen_data_source() {
    for (place, panel) in panels() {
        assert!(!text(&panel, "title").is_empty(), "{place}");
        assert!(text(&panel, "description").ends_with('.'), "{place}: its description is no sentence");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{place}");
        let sources = list(&panel, "targets").iter().chain([&panel]).map(|part| &part["datasource"]);
        for source in sources {
            assert_eq!(source, &json!({"type": "prometheus", "uid": "${datasource}"}), "{place}");
        }
        let names: BTreeSet<&str> = list(&panel, "targets").iter().map(|t| text(t, "refId")).collect();
        assert_eq!(names.len(), list(&panel, "targets").len(), "{place}: two queries of one name");
    }
}

#[test]
fn panels_stand_beside_each_other() {
    for (file, dashboard) in dashboards() {
        let (mut taken, mut ids) = (BTreeMap::new(), BTreeSet::new());
        for panel in list(&dashboard, "panels") {
            let title = text(panel, "title");
            assert!(
                ids.insert(panel["id"].as_u64().expect("an id")),
                "{file}: {title} has the id of another"
            );
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{file}: {title} is wider than the grid");
            for cell in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))) {
                let before = taken.insert(cell, title);
                assert_eq!(before, None, "{file}: {title} stands on another");
            }
        }
        // A gap between rows would look like a panel that is missing.
        let bottom = taken.keys().map(|(_, y)| *y).max().expect("a panel");
        let empty = (0..=bottom).find(|y| !taken.keys().any(|(_, at)| at == y));
        assert_eq!(empty, None, "{file}");
    }
}

#[test]
fn every_query_is_about_the_chosen_agents() {
    for (place, query) in queries() {
        for (metric, braces) in selectors(&query) {
            let braces = braces.unwrap_or_else(|| panic!("{place}: {metric} of all agents"));
            for matcher in [r#"job=~"$job""#, r#"instance=~"$instance""#] {
                assert!(braces.contains(matcher), "{place}: {metric} without {matcher}");
            }
        }
    }
}

#[test]
fn every_query_looks_back_as_far_as_the_scrape_interval_asks_for() {
    for (place, query) in queries() {
        let ranges = query.split('[').skip(1).map(|rest| rest.split(']').next().unwrap_or_default());
        for range in ranges.filter(|range| !range.starts_with(['^', ' '])) {
            assert_eq!(range, "$__rate_interval", "{place}: {query}");
        }
    }
}

#[test]
fn counters_are_shown_as_what_they_grow_by() {
    let grows =
        |metric: &str| ["_total", "_bucket", "_sum", "_count"].iter().any(|end| metric.ends_with(end));
    for (place, query) in queries() {
        for metric in selectors(&query).into_iter().map(|(metric, _)| metric).filter(|metric| grows(metric)) {
            let bare = query.matches(&format!("{metric}{{")).count();
            let within: usize =
                ["rate", "increase"].iter().map(|f| query.matches(&format!("{f}({metric}{{")).count()).sum();
            assert_eq!(within, bare, "{place}: {metric} outside of rate or increase");
        }
    }
}

#[test]
fn dashboards_lead_to_each_other() {
    let all = dashboards();
    for (file, dashboard) in &all {
        let links: BTreeSet<&str> = list(dashboard, "links").iter().map(|link| text(link, "url")).collect();
        let others: Vec<String> =
            all.keys().filter(|other| *other != file).map(|o| format!("/d/{o}")).collect();
        assert_eq!(links, others.iter().map(String::as_str).collect(), "{file}");
        for link in list(dashboard, "links") {
            let kept = ["keepTime", "includeVars"].map(|key| link[key].clone());
            assert_eq!(kept, [json!(true), json!(true)], "{file}: {link}");
        }
        let whole = dashboard.to_string();
        for target in whole.split("/d/").skip(1) {
            let uid = target.split(['?', '"']).next().unwrap_or_default();
            assert!(all.contains_key(uid), "{file}: a link to {uid}");
        }
    }
}

#[test]
fn one_protection_has_one_colour() {
    let expected = BTreeMap::from([
        ("plaintext", json!("red")),
        ("tls", json!("blue")),
        ("mtls", json!("green")),
        ("unknown", json!("#8e8e8e")),
    ]);
    let mut colored = 0;
    for (place, panel) in panels() {
        let overrides = list(&panel["fieldConfig"], "overrides");
        let fixed: BTreeMap<&str, &Value> = overrides
            .iter()
            .filter(|of| of["properties"][0]["id"] == "color")
            .map(|of| {
                (
                    of["matcher"]["options"].as_str().unwrap_or_default(),
                    &of["properties"][0]["value"]["fixedColor"],
                )
            })
            .collect();
        let by_security = list(&panel, "targets").iter().any(|t| t["legendFormat"] == "{{security}}");
        for (security, color) in &expected {
            match fixed.get(security) {
                Some(found) => assert_eq!(*found, color, "{place}"),
                None => assert!(!by_security, "{place}: no colour for {security}"),
            }
            colored += usize::from(by_security);
        }
    }
    assert!(colored > 8, "no panel shows protections");
}

/// Labels that a query sums by, and those between its braces.
fn labels(query: &str) -> BTreeSet<String> {
    let lists =
        query.split(" by (").skip(1).map(|rest| rest.split(')').next().unwrap_or_default().to_owned());
    let mut labels: BTreeSet<String> =
        lists.flat_map(|list| list.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect();
    for braces in selectors(query).into_iter().filter_map(|(_, braces)| braces) {
        let matchers =
            braces.split('"').step_by(2).map(|part| part.trim_matches([',', ' ', '=', '~', '!']).to_owned());
        labels.extend(matchers.filter(|label| !label.is_empty()));
    }
    labels
}

#[test]
fn queries_and_alerts_ask_for_metrics_and_labels_that_the_agent_has() {
    let known: BTreeMap<&str, BTreeSet<&str>> = descriptors()
        .map(|metric| (metric.name, metric.labels.iter().map(|label| label.name).collect()))
        .collect();
    let expressions = ["rules.yaml", "alerts.yaml"].into_iter().flat_map(rules).map(|rule| {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).expect("a name").to_owned();
        (name, text(&rule, "expr").to_owned())
    });
    for (place, query) in queries().into_iter().chain(expressions) {
        let mut allowed = BTreeSet::from(["job", "instance", "le"]);
        for (metric, _) in selectors(&query) {
            let parts = ["_bucket", "_sum", "_count"].iter().find_map(|part| metric.strip_suffix(part));
            let of = known.get(&*metric).or_else(|| known.get(parts?));
            match of {
                Some(labels) => allowed.extend(labels),
                None => assert!(["up", "scrape_duration_seconds"].contains(&&*metric), "{place}: {metric}"),
            }
        }
        let unknown: Vec<String> =
            labels(&query).into_iter().filter(|label| !allowed.contains(&**label)).collect();
        assert!(unknown.is_empty(), "{place}: no metric of {query} has {unknown:?}");
    }
}

#[test]
fn legends_name_labels_that_their_query_leaves() {
    for (place, panel) in panels() {
        for target in list(&panel, "targets") {
            let (legend, kept) = (text(target, "legendFormat"), labels(text(target, "expr")));
            let named = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or_default());
            for label in named {
                assert!(kept.contains(label), "{place}: {label} in {legend}");
            }
        }
    }
}

#[test]
fn prometheus_understands_every_query() {
    let rule = |(number, (_, query)): (usize, (String, String))| {
        let expr = query.replace("$__rate_interval", "1m").replace("$job", ".+").replace("$instance", ".+");
        json!({"record": format!("panel:query:{number}"), "expr": expr})
    };
    let rules: Vec<Value> = queries().into_iter().enumerate().map(rule).collect();
    let count = rules.len();
    // JSON is YAML.
    let file = scratch_dir("queries").join("rules.yaml");
    std::fs::write(&file, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string())
        .expect("write");
    let output = promtool(&["check", "rules", &file.to_string_lossy()]);
    let said = said(&output);
    assert!(output.status.success() && said.contains(&format!("SUCCESS: {count} rules found")), "{said}");
}

#[test]
fn prometheus_understands_rules_and_alerts() {
    let output = promtool(&["check", "rules", "rules.yaml", "alerts.yaml"]);
    let said = said(&output);
    assert!(output.status.success() && said.matches("SUCCESS").count() == 2, "{said}");
}

#[test]
fn recording_rules_are_named_by_level_metric_and_operations() {
    for rule in rules("rules.yaml") {
        let name: Vec<&str> = text(&rule, "record").split(':').collect();
        assert!(name.len() == 3 && name.iter().all(|part| !part.is_empty()), "{name:?}");
        assert!(text(&rule, "expr").contains(name[1]), "{name:?}");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    for alert in alerts() {
        let name = text(&alert, "alert");
        let words = name.strip_prefix("Tlsight").unwrap_or_else(|| panic!("{name}"));
        assert!(
            words.starts_with(|c: char| c.is_ascii_uppercase()) && words.chars().all(char::is_alphanumeric)
        );
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"], "severity")), "{name}");
        let annotations = alert["annotations"].as_object().expect("a map").keys().map(String::as_str);
        let annotations: BTreeSet<&str> = annotations.collect();
        assert_eq!(annotations, BTreeSet::from(["description", "runbook_url", "summary"]), "{name}");
        assert_eq!(text(&alert["annotations"], "runbook_url"), format!("{RUNBOOKS}{name}.md"));
        assert!(text(&alert["annotations"], "description").ends_with('.'), "{name}");
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let folder = repository().join("docs/runbooks");
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for alert in alerts() {
        let severity = text(&alert["labels"], "severity").to_owned();
        all.entry(text(&alert, "alert").to_owned()).or_default().insert(severity);
    }
    let mut books: BTreeSet<String> = files(&folder, "md").iter().map(|file| name(file)).collect();
    assert!(books.remove("README"));
    assert_eq!(books, all.keys().cloned().collect());
    let index = std::fs::read_to_string(folder.join("README.md")).expect("read");
    for (name, severities) in all {
        let book = std::fs::read_to_string(folder.join(format!("{name}.md"))).expect("read");
        let headings: Vec<&str> = book.lines().filter(|line| line.starts_with('#')).collect();
        let expected =
            [format!("# {name}"), "## What it means".into(), "## How to look".into(), "## What to do".into()];
        assert_eq!(headings, expected);
        let severity = book.lines().find(|line| line.starts_with("Severity: ")).expect("a severity");
        let row = format!(
            "| [{name}]({name}.md) | {} |",
            severities.iter().cloned().collect::<Vec<_>>().join(", ")
        );
        assert!(index.contains(&row), "no {row}");
        assert!(severities.iter().all(|s| severity.contains(s.as_str())), "{name}: {severity}");
        assert!(book.contains("It resolves "), "{name} does not say when it is over");
    }
}

#[test]
fn every_alert_fires_is_silent_and_resolves_in_the_tests_of_its_rule() {
    let output = promtool(&["test", "rules", "alerts_test.yaml"]);
    assert!(output.status.success(), "{}", said(&output));
    let file = folder().join("prometheus/alerts_test.yaml");
    let cases: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).expect("read")).expect("YAML");
    for alert in alerts() {
        let (name, severity) = (text(&alert, "alert"), &alert["labels"]["severity"]);
        let (mut resolves, mut silent) = (false, false);
        for case in list(&cases, "tests") {
            let of = list(case, "alert_rule_test").iter().filter(|test| test["alertname"] == name);
            let fires: Vec<bool> = of
                .map(|test| {
                    let expected = list(test, "exp_alerts");
                    expected.iter().any(|alert| &alert["exp_labels"]["severity"] == severity)
                })
                .collect();
            let first = fires.iter().position(|fires| *fires);
            resolves |=
                first.is_some_and(|first| fires.get(first..).is_some_and(|rest| rest.contains(&false)));
            silent |= !fires.is_empty() && first.is_none();
        }
        assert!(resolves, "{name} ({severity}): no case in which it fires and then resolves");
        assert!(silent, "{name} ({severity}): no case of something innocent");
    }
}

#[test]
fn the_tests_of_rules_notice_an_alert_that_never_fires_and_one_that_always_does() {
    let dir = scratch_dir("broken-alerts");
    let source = folder().join("prometheus");
    for file in ["rules.yaml", "alerts_test.yaml"] {
        std::fs::copy(source.join(file), dir.join(file)).expect("copy");
    }
    let whole: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(source.join("alerts.yaml")).expect("read"))
            .expect("YAML");
    for (group, of) in list(&whole, "groups").iter().enumerate() {
        for (rule, alert) in list(of, "rules").iter().enumerate() {
            for expr in ["vector(1) > 1", "vector(1)"] {
                let mut broken = whole.clone();
                broken["groups"][group]["rules"][rule]["expr"] = json!(expr);
                std::fs::write(dir.join("alerts.yaml"), broken.to_string()).expect("write");
                let mut promtool = Command::new("promtool");
                let output = promtool.args(["test", "rules", "alerts_test.yaml"]).current_dir(&dir).output();
                let output = output.expect("promtool");
                assert_eq!(output.status.code(), Some(1), "{}: {expr}: {}", alert["alert"], said(&output));
            }
        }
    }
}
