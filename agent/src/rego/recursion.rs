//! Functions that call themselves, directly or through others. Rego has no recursion; the interpreter notices that of rules
//! when it comes to it, but follows functions until the stack ends, and the agent with it. So they are looked for before.

use std::collections::{BTreeMap, BTreeSet};

use agent_core::policy::documents::{Place, Problem};
use regorus::Engine;
use serde_json::Value as Json;

/// A function: where it is defined first, and the functions that it calls.
#[derive(Debug)]
struct Function {
    file: String,
    place: Option<Place>,
    calls: BTreeSet<String>,
}

/// Every function that comes back to itself, each once, with the way that it takes.
pub(super) fn problems(engine: &Engine) -> Vec<Problem> {
    let functions = functions(engine);
    let mut told = BTreeSet::new();
    let mut problems = Vec::new();
    for (name, function) in &functions {
        if told.contains(name) {
            continue;
        }
        let Some(way) = way_back(&functions, name) else { continue };
        let names: Vec<&str> = way.iter().chain([&name]).map(|name| short(name)).collect();
        let reason = format!("{} calls itself ({}): Rego has no recursion", short(name), names.join(" -> "));
        problems.push(super::load::error(&function.file, function.place, reason));
        told.extend(way.into_iter().cloned());
    }
    problems
}

fn short(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// The functions on the shortest way from one back to itself, itself first.
fn way_back<'a>(functions: &'a BTreeMap<String, Function>, from: &'a String) -> Option<Vec<&'a String>> {
    let mut before: BTreeMap<&String, &String> = BTreeMap::new();
    let mut reached = std::collections::VecDeque::from([from]);
    while let Some(at) = reached.pop_front() {
        for next in functions.get(at).into_iter().flat_map(|function| &function.calls) {
            if next == from {
                let mut way = vec![at];
                while let Some(previous) = way.last().and_then(|last| before.get(*last)) {
                    way.push(previous);
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(next) {
                before.insert(next, at);
                reached.push_back(next);
            }
        }
    }
    None
}

/// All functions by their full names: `data.PACKAGE.NAME`.
fn functions(engine: &Engine) -> BTreeMap<String, Function> {
    // What is nested deeper than JSON is read has no functions that could be seen.
    let modules: Vec<Json> =
        engine.get_ast_as_json().ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut functions = BTreeMap::new();
    for module in &modules {
        let (source, ast) = (at(module, "/source"), at(module, "/ast"));
        let Some(package) = path(at(ast, "/package/refr")) else { continue };
        let imports = imports(ast, at(source, "/contents").as_str().unwrap_or_default());
        for rule in at(ast, "/rules").as_array().into_iter().flatten() {
            let head = [at(rule, "/Spec/head/Func"), at(rule, "/Default")];
            let head = head.into_iter().find(|head| !head.is_null());
            let Some((head, name)) = head.and_then(|head| Some((head, path(at(head, "/refr"))?))) else {
                continue;
            };
            let number = |key: &str| at(head, key).as_u64().and_then(|n| u32::try_from(n).ok());
            let place =
                number("/span/line").zip(number("/span/col")).map(|(line, column)| Place { line, column });
            let file = at(source, "/file").as_str().unwrap_or_default().to_owned();
            let function = functions.entry(format!("data.{package}.{name}")).or_insert_with(|| Function {
                file,
                place,
                calls: BTreeSet::new(),
            });
            calls(rule, &mut |name| {
                function.calls.insert(full(&name, &package, &imports));
            });
        }
    }
    functions
}

/// What a module calls by other names than their own.
fn imports(ast: &Json, text: &str) -> BTreeMap<String, String> {
    let one = |import: &Json| {
        let path = path(at(import, "/refr"))?;
        let place = |key: &str| at(import, key).as_u64().and_then(|n| usize::try_from(n).ok());
        let alias = place("/as/start").zip(place("/as/end")).and_then(|(start, end)| text.get(start..end));
        Some((alias.unwrap_or(short(&path)).to_owned(), path))
    };
    at(ast, "/imports").as_array().into_iter().flatten().filter_map(one).collect()
}

/// The full name of a function that a module calls by this name.
fn full(name: &str, package: &str, imports: &BTreeMap<String, String>) -> String {
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    match (first, imports.get(first), rest) {
        ("data", ..) => name.to_owned(),
        (_, Some(path), Some(rest)) => format!("{path}.{rest}"),
        (_, Some(path), None) => path.clone(),
        (_, None, _) => format!("data.{package}.{name}"),
    }
}

/// The name of every function that is called somewhere in this.
fn calls(node: &Json, take: &mut impl FnMut(String)) {
    match node {
        Json::Object(fields) => {
            if let Some(name) = fields.get("Call").and_then(|call| path(at(call, "/fcn"))) {
                take(name);
            }
            fields.values().for_each(|field| calls(field, take));
        }
        Json::Array(items) => items.iter().for_each(|item| calls(item, take)),
        _ => {}
    }
}

/// `a.b.c` of such a reference; `None` where a part of it is computed.
fn path(node: &Json) -> Option<String> {
    if let Some(variable) = at(node, "/Var/value").as_str() {
        return Some(variable.to_owned());
    }
    let (before, last) = match (node.get("RefDot"), node.get("RefBrack")) {
        (Some(dot), _) => (at(dot, "/refr"), at(dot, "/field/1")),
        (_, Some(bracket)) => (at(bracket, "/refr"), at(bracket, "/index/String/value")),
        (None, None) => return None,
    };
    Some(format!("{}.{}", path(before)?, last.as_str()?))
}

/// The value at a place (RFC 6901), null where there is none.
fn at<'a>(node: &'a Json, place: &str) -> &'a Json {
    node.pointer(place).unwrap_or(&Json::Null)
}
