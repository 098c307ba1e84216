//! tlsight's own documents: `tlsight.dev/v1alpha1`, kind `TlsightPolicy`. docs/policy.md tells what they may say.

use std::sync::Arc;

use super::field::Field;
use super::problem::{Problems, Severity};
use super::resource::Resource;
use super::schema::label_selector;
use super::{Dialect, PolicySettings};
use crate::policy::expectation::{AllowedClients, Expectation, Mode};
use crate::policy::rule::{Effect, Level, Rule};
use crate::policy::selector::{PartySelector, Pattern, PortMatch};

const GROUP: &str = "tlsight.dev";
const VERSION: &str = "v1alpha1";
const KIND: &str = "TlsightPolicy";

/// Resources read so far, as rules: none names another.
#[derive(Debug, Default)]
pub(super) struct Tlsight {
    rules: Vec<Rule>,
}

impl Dialect for Tlsight {
    fn claims(&self, resource: &Resource<'_>) -> bool {
        // Everything in the group is meant for us: what is not known there is an error.
        resource.group() == GROUP
    }

    fn add(&mut self, resource: &Resource<'_>, number: u32, _: &PolicySettings, problems: &mut Problems) {
        let before = problems.errors();
        let rules = read(resource, number, problems);
        if problems.errors() == before {
            self.rules.extend(rules);
        }
    }

    fn finish(self: Box<Self>, _: &PolicySettings, _: &mut Problems) -> Vec<Rule> {
        self.rules
    }
}

fn read(resource: &Resource<'_>, number: u32, problems: &mut Problems) -> Vec<Rule> {
    if let Some(kind) = resource.root.get("kind").filter(|_| resource.kind != KIND) {
        problems.error(&kind, format!("unknown kind in {GROUP}; there is {KIND}"));
        return Vec::new();
    }
    if let Some(version) = resource.root.get("apiVersion").filter(|_| resource.version() != VERSION) {
        problems.error(&version, format!("unknown version; there is {GROUP}/{VERSION}"));
        return Vec::new();
    }
    resource.root.only(&["apiVersion", "kind", "metadata", "spec", "status"], Severity::Error, problems);
    let named = resource.is_named(problems);
    let Some(spec) = resource.spec(problems).filter(|_| named) else { return Vec::new() };
    spec.only(
        &["selector", "expect", "ports", "allowedClients", "trust", "exceptions"],
        Severity::Error,
        problems,
    );
    let mut reader = Reader { resource, number, rules: Vec::new() };
    reader.policy(&spec, problems);
    reader.rules
}

/// What a policy, or a part of it, says.
#[derive(Clone, Debug, Default)]
struct Terms {
    mode: Option<Mode>,
    allowed_clients: Option<Arc<AllowedClients>>,
    trust: Option<Arc<str>>,
}

struct Reader<'a> {
    resource: &'a Resource<'a>,
    number: u32,
    rules: Vec<Rule>,
}

impl Reader<'_> {
    fn policy(&mut self, spec: &Field<'_>, problems: &mut Problems) {
        let (server, ports) = self.selector(spec, problems);
        let terms = terms(spec, &Terms::default(), problems);
        let overrides = spec.get("ports");
        let exceptions = spec.list("exceptions", problems);
        match (terms.mode, spec.get("expect"), &overrides) {
            (Some(mode), Some(expect), _) => self.rule(&server, &ports, mode, &terms, &expect),
            (None, None, None) => problems.error(spec, "needs `expect`: strict, tls, permissive or disable"),
            _ => {}
        }
        for (key, field) in overrides.map(|ports| ports.entries(problems)).unwrap_or_default() {
            let port = port_match(key);
            if port.is_none() {
                problems.error(&field, PORT);
            }
            if !field.expect_map(problems) {
                continue;
            }
            field.only(&["expect", "allowedClients", "trust"], Severity::Error, problems);
            let terms = self::terms(&field, &terms, problems);
            match (port, terms.mode) {
                (Some(port), Some(mode)) => {
                    let at = field.get("expect").unwrap_or_else(|| field.clone());
                    self.rule(&server, &[port], mode, &terms, &at);
                }
                (_, None) => problems.error(&field, "needs `expect`, because the policy has none"),
                _ => {}
            }
        }
        for exception in exceptions {
            self.exception(&server, &ports, &exception, problems);
        }
    }

    /// Reads whom the policy is about.
    fn selector(&self, spec: &Field<'_>, problems: &mut Problems) -> (PartySelector, Vec<PortMatch>) {
        let Some(selector) = spec.map("selector", problems) else {
            let namespaces = self.resource.namespace.map(Pattern::new).into_iter().collect();
            return (PartySelector { namespaces, ..PartySelector::default() }, Vec::new());
        };
        selector.only(&[PARTY, &["services", "ports"]].concat(), Severity::Error, problems);
        let mut server = party(&selector, problems);
        server.services = patterns(&selector, "services", problems);
        if let Some(namespace) = self.resource.namespace {
            if let Some(field) = selector.get("namespaces") {
                problems.error(
                    &field,
                    "the policy is in a namespace (metadata.namespace), and is about that one only",
                );
            }
            server.namespaces = vec![Pattern::new(namespace)];
        }
        (server, ports(&selector, problems))
    }

    fn exception(
        &mut self,
        server: &PartySelector,
        ports: &[PortMatch],
        field: &Field<'_>,
        problems: &mut Problems,
    ) {
        if !field.expect_map(problems) {
            return;
        }
        field.only(
            &["from", "ports", "expect", "allowedClients", "trust", "reason"],
            Severity::Error,
            problems,
        );
        let client = field.map("from", problems).map(|from| {
            from.only(PARTY, Severity::Error, problems);
            party(&from, problems)
        });
        let own_ports = self::ports(field, problems);
        let client = client.unwrap_or_default();
        if client.is_empty() && own_ports.is_empty() {
            problems.error(field, "needs `from` or `ports`: an exception for everything is none");
            return;
        }
        let _ = field.text("reason", problems);
        let terms = terms(field, &Terms::default(), problems);
        let mode = terms.mode.unwrap_or(Mode::Permissive);
        let at = field.get("expect").unwrap_or_else(|| field.clone());
        self.rule(server, if own_ports.is_empty() { ports } else { &own_ports }, mode, &terms, &at);
        if let Some(rule) = self.rules.last_mut() {
            rule.exception = true;
            rule.selector.client = client;
        }
    }

    fn rule(
        &mut self,
        server: &PartySelector,
        ports: &[PortMatch],
        mode: Mode,
        terms: &Terms,
        at: &Field<'_>,
    ) {
        let origin = self.resource.origin(KIND, self.resource.namespace, at);
        let expectation = Expectation {
            mode,
            allowed_clients: terms.allowed_clients.clone(),
            trust: terms.trust.clone(),
            origin,
        };
        let mut rule = Rule::new(Effect::Expect(expectation));
        rule.level = level(server);
        rule.port = !ports.is_empty();
        rule.conditions = conditions(server);
        rule.created = self.resource.created.map(str::to_owned);
        rule.order = (0, self.number, u32::try_from(self.rules.len()).unwrap_or(u32::MAX));
        rule.selector.server = server.clone();
        rule.selector.ports = ports.to_vec();
        self.rules.push(rule);
    }
}

/// How narrow a selector is. A network is as wide as a namespace, unless it is one address.
fn level(server: &PartySelector) -> Level {
    let single = !server.networks.is_empty() && server.networks.iter().all(|n| n.is_single());
    let broad = PartySelector {
        namespaces: server.namespaces.clone(),
        networks: server.networks.clone(),
        ..PartySelector::default()
    };
    match (single || *server != broad, broad.is_empty()) {
        (true, _) => Level::Workload,
        (false, false) => Level::Namespace,
        (false, true) => Level::Mesh,
    }
}

/// More conditions are narrower, then longer prefixes are.
fn conditions(server: &PartySelector) -> u16 {
    let prefix = server.networks.iter().map(|n| u16::from(n.prefix())).min().unwrap_or(0);
    server.conditions().saturating_mul(256).saturating_add(prefix)
}

/// The fields that select an end.
const PARTY: &[&str] =
    &["namespaces", "workload", "podLabels", "processes", "systemdUnits", "containers", "addresses"];

fn party(field: &Field<'_>, problems: &mut Problems) -> PartySelector {
    let mut party = PartySelector {
        namespaces: patterns(field, "namespaces", problems),
        processes: patterns(field, "processes", problems),
        systemd_units: patterns(field, "systemdUnits", problems),
        containers: patterns(field, "containers", problems),
        ..PartySelector::default()
    };
    if let Some(workload) = field.map("workload", problems) {
        workload.only(&["kind", "name"], Severity::Error, problems);
        party.workload_kind = workload.text("kind", problems).map(str::to_owned);
        party.workload_name = workload.text("name", problems).map(Pattern::new);
        if party.workload_kind.is_none() && party.workload_name.is_none() {
            problems.error(&workload, "needs `kind` or `name`");
        }
    }
    if let Some(labels) = field.get("podLabels") {
        let before = problems.errors();
        party.labels = label_selector(&labels, problems);
        if party.labels.is_empty() && problems.errors() == before {
            problems.error(&labels, "needs `matchLabels` or `matchExpressions`");
        }
    }
    for address in list(field, "addresses", problems) {
        match address.as_text(problems).map(str::parse) {
            Some(Ok(network)) => party.networks.push(network),
            Some(Err(reason)) => problems.error(&address, reason),
            None => {}
        }
    }
    party
}

/// The items of a list that must not be empty where it is there: an empty one would select nothing, or everything.
fn list<'a>(field: &Field<'a>, key: &str, problems: &mut Problems) -> Vec<Field<'a>> {
    let Some(list) = field.get(key) else { return Vec::new() };
    let before = problems.errors();
    let items = list.items(problems);
    if items.is_empty() && problems.errors() == before {
        problems.error(&list, "must not be empty: leave it out to select all");
    }
    items
}

fn patterns(field: &Field<'_>, key: &str, problems: &mut Problems) -> Vec<Pattern> {
    list(field, key, problems).iter().filter_map(|item| item.as_text(problems)).map(Pattern::new).collect()
}

const PORT: &str = "must be a port from 1 to 65535, a range as 9000-9100, or the name of a port";

fn ports(field: &Field<'_>, problems: &mut Problems) -> Vec<PortMatch> {
    let mut ports = Vec::new();
    for item in list(field, "ports", problems) {
        use super::node::Value;
        let port = match &item.node().value {
            Value::Integer(number) => port_match(&number.to_string()),
            Value::Text(text) => port_match(text),
            _ => None,
        };
        match port {
            Some(port) => ports.push(port),
            None => problems.error(&item, PORT),
        }
    }
    ports
}

fn port_match(text: &str) -> Option<PortMatch> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        return (first <= last).then_some(PortMatch::Number(first, last));
    }
    // RFC 6335 section 5.1 names of services, as Kubernetes has them.
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (!text.is_empty() && text.len() <= 15 && text.chars().all(word)).then(|| PortMatch::Name(text.to_owned()))
}

/// Reads what is expected; what is not said there is as `outer` has it.
fn terms(field: &Field<'_>, outer: &Terms, problems: &mut Problems) -> Terms {
    let mode = field.get("expect").and_then(|expect| {
        let mode = match expect.as_text(problems)? {
            "strict" => Some(Mode::Strict),
            "tls" => Some(Mode::Tls),
            "permissive" => Some(Mode::Permissive),
            "disable" => Some(Mode::Disable),
            _ => None,
        };
        if mode.is_none() {
            problems.error(&expect, "must be strict, tls, permissive or disable");
        }
        mode
    });
    let mode = mode.or(outer.mode);
    let allowed = field.map("allowedClients", problems);
    if let (Some(Mode::Disable), Some(allowed)) = (mode, &allowed) {
        problems.error(allowed, "nobody shows a certificate where TLS is disabled");
    }
    let allowed = allowed.map(|allowed| Arc::new(allowed_clients(&allowed, problems)));
    Terms {
        mode,
        // Who may call is inherited only by what can tell who calls.
        allowed_clients: allowed
            .or_else(|| outer.allowed_clients.clone().filter(|_| mode != Some(Mode::Disable))),
        trust: field.text("trust", problems).map(Arc::from).or_else(|| outer.trust.clone()),
    }
}

fn allowed_clients(field: &Field<'_>, problems: &mut Problems) -> AllowedClients {
    field.only(&["subjects", "sans", "spiffeIds"], Severity::Error, problems);
    let texts = |key: &str, problems: &mut Problems| -> Vec<String> {
        let items = list(field, key, problems);
        let text = |item: &Field<'_>| {
            let text = item.as_text(problems)?;
            let rest = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
            if rest.contains('*') {
                problems.warning(
                    item,
                    "only one `*`, at its beginning or its end, stands for any rest: this means `*` itself",
                );
            }
            Some(text.to_owned())
        };
        items.iter().filter_map(text).collect()
    };
    let allowed = AllowedClients {
        subjects: texts("subjects", problems),
        sans: texts("sans", problems),
        spiffe_ids: texts("spiffeIds", problems),
        ..AllowedClients::default()
    };
    if allowed == AllowedClients::default() {
        problems.error(field, "names nobody: say who with subjects, sans or spiffeIds, or leave it out");
    }
    let items = field.get("subjects").map(|list| list.items(problems)).unwrap_or_default();
    for (item, subject) in items.iter().zip(&allowed.subjects) {
        if let Some(form) = bad_subject(subject) {
            problems.warning(item, format!("can never match: {form}"));
        }
    }
    if let Some(ids) = field.get("spiffeIds")
        && allowed.spiffe_ids.iter().any(|id| !id.starts_with("spiffe://"))
    {
        problems.error(&ids, "every one must begin with spiffe://");
    }
    allowed
}

/// What subjects are never written like: they are compared with RFC 4514, without spaces around `,` and `=`.
fn bad_subject(pattern: &str) -> Option<&'static str> {
    const FORM: &str = "subjects are written as in RFC 4514: CN=client,O=Example";
    // The part that a star cuts may be anything.
    let (is_cut_first, is_cut_last) = (pattern.starts_with('*'), pattern.ends_with('*'));
    let parts = parts(pattern.trim_matches('*'));
    let last = parts.len().saturating_sub(1);
    let is_wrong = |(i, part): (usize, &&str)| {
        if i == 0 && is_cut_first {
            return false;
        }
        let kind = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        match part.split_once('=') {
            Some((name, value)) => name.is_empty() || !name.chars().all(kind) || value.starts_with(' '),
            None => !(i == last && is_cut_last && part.chars().all(kind)),
        }
    };
    parts.iter().enumerate().any(is_wrong).then_some(FORM)
}

/// The parts of a name, which `,` and `+` separate where no `\\` stands before them.
fn parts(name: &str) -> Vec<&str> {
    let (mut parts, mut from, mut is_escaped) = (Vec::new(), 0, false);
    for (at, c) in name.char_indices() {
        if !is_escaped && (c == ',' || c == '+') {
            parts.push(name.get(from..at).unwrap_or_default());
            from = at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    parts.push(name.get(from..).unwrap_or_default());
    parts
}
