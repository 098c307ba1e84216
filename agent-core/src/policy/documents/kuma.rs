//! Kuma: the mTLS of a `Mesh`, `MeshTLS`, which narrows it, and `MeshTrafficPermission`, which says who may call; as Kubernetes objects or in the universal form.
//! <https://kuma.io/docs/latest/policies/mutual-tls/>, <https://kuma.io/docs/latest/policies/meshtls/>

mod permission;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::field::Field;
use super::node::Value;
use super::problem::{Problems, Severity};
use super::resource::Resource;
use super::{Dialect, PolicySettings};
use crate::policy::expectation::{AllowedClients, Expectation, Mode, Origin};
use crate::policy::permission::{Permission, Permissions};
use crate::policy::rule::{Effect, Level, Rule};
use crate::policy::selector::{Pattern, PortMatch, Requirement, Selector};

const MESH: &str = "Mesh";
const MESH_TLS: &str = "MeshTLS";
/// The label by which a pod says which mesh it is in; without it, it is in the default one.
const MESH_LABEL: &str = "kuma.io/mesh";
const DEFAULT_MESH: &str = "default";

/// Resources read so far: a policy counts only in a mesh that has mTLS.
#[derive(Debug, Default)]
pub(super) struct Kuma {
    meshes: Vec<Mesh>,
    policies: Vec<(String, Rule)>,
    /// With the mesh they are in, and how narrow they are.
    permissions: Vec<(String, (Level, bool), Permission)>,
}

/// A mesh, and what its mTLS asks for; `None`: it has none.
#[derive(Debug)]
struct Mesh {
    name: String,
    mtls: Option<(Mode, Arc<Origin>)>,
    created: Option<String>,
    number: u32,
}

impl Dialect for Kuma {
    fn claims(&self, resource: &Resource<'_>) -> bool {
        matches!(resource.group(), "kuma.io" | "")
            && matches!(resource.kind, MESH | MESH_TLS | permission::KIND)
            && {
                // The universal form has a `type` and no version.
                !resource.api_version.is_empty() || resource.root.get("type").is_some()
            }
    }

    fn add(
        &mut self,
        resource: &Resource<'_>,
        number: u32,
        settings: &PolicySettings,
        problems: &mut Problems,
    ) {
        let before = problems.errors();
        if !resource.is_named(problems) {
            return;
        }
        if let Some(version) = resource.root.get("apiVersion").filter(|_| resource.version() != "v1alpha1") {
            problems.error(&version, "unknown version; there is kuma.io/v1alpha1");
            return;
        }
        if resource.kind == MESH {
            let mesh = mesh(resource, number, problems);
            self.meshes.extend(mesh.filter(|_| problems.errors() == before));
        } else if resource.kind == permission::KIND {
            let permission = traffic_permission(resource, settings, problems);
            self.permissions.extend(permission.filter(|_| problems.errors() == before));
        } else {
            let rules = mesh_tls(resource, number, settings, problems);
            if problems.errors() == before {
                self.policies.extend(rules);
            }
        }
    }

    fn finish(self: Box<Self>, _: &PolicySettings, _: &mut Problems) -> Vec<Rule> {
        let names: Vec<String> = self.meshes.iter().map(|mesh| mesh.name.clone()).collect();
        let permitted = permitted(self.permissions, &names);
        let mut rules = Vec::new();
        for mesh in &self.meshes {
            let Some((mode, origin)) = &mesh.mtls else { continue };
            let mut rule = rule(*mode, Arc::clone(origin));
            rule.created.clone_from(&mesh.created);
            rule.order = (0, mesh.number, 0);
            in_mesh(&mut rule.selector, &mesh.name, &names);
            allow(&mut rule, permitted.get(&mesh.name));
            rules.push(rule);
        }
        for (mesh, mut rule) in self.policies {
            let known = self.meshes.iter().find(|m| m.name == mesh);
            // In a mesh without mTLS there is nothing to narrow.
            if known.is_none_or(|mesh| mesh.mtls.is_some()) {
                in_mesh(&mut rule.selector, &mesh, &names);
                allow(&mut rule, permitted.get(&mesh));
                rules.push(rule);
            }
        }
        rules
    }
}

/// Narrows a selector to the pods of a mesh. Where there is only one, it is everybody's.
fn in_mesh(selector: &mut Selector, mesh: &str, all: &[String]) {
    let others: Vec<String> = all.iter().filter(|name| *name != mesh).cloned().collect();
    let labels = &mut selector.server.labels;
    if mesh == DEFAULT_MESH && !others.is_empty() {
        labels.requirements.push(Requirement::NotIn(MESH_LABEL.to_owned(), others));
    } else if mesh != DEFAULT_MESH && !(others.is_empty() && all.len() == 1) {
        labels.equal.push((MESH_LABEL.to_owned(), mesh.to_owned()));
    }
}

/// Who may call, by mesh.
fn permitted(
    mut permissions: Vec<(String, (Level, bool), Permission)>,
    meshes: &[String],
) -> BTreeMap<String, Arc<AllowedClients>> {
    // The widest first; among those that are as wide, as they come.
    permissions.sort_by_key(|(_, narrow, _)| *narrow);
    let mut by_mesh: BTreeMap<String, Vec<Permission>> = BTreeMap::new();
    for (mesh, _, mut permission) in permissions {
        in_mesh(&mut permission.selector, &mesh, meshes);
        by_mesh.entry(mesh).or_default().push(permission);
    }
    let clients = |list| AllowedClients { permissions: Permissions(list), ..AllowedClients::default() };
    by_mesh.into_iter().map(|(mesh, list)| (mesh, Arc::new(clients(list)))).collect()
}

/// Who may call is the same whatever says that mTLS is asked for.
fn allow(rule: &mut Rule, clients: Option<&Arc<AllowedClients>>) {
    if let Effect::Expect(expectation) = &mut rule.effect {
        expectation.allowed_clients = clients.cloned();
    }
}

fn rule(mode: Mode, origin: Arc<Origin>) -> Rule {
    let expectation = Expectation { mode, allowed_clients: None, trust: None, origin };
    let mut rule = Rule::new(Effect::Expect(expectation));
    rule.selector.in_mesh = true;
    rule
}

fn mesh(resource: &Resource<'_>, number: u32, problems: &mut Problems) -> Option<Mesh> {
    // The universal form has no `spec`.
    let spec = resource.root.get("spec").unwrap_or_else(|| resource.root.clone());
    let mut mesh = Mesh {
        name: resource.name?.to_owned(),
        mtls: None,
        created: resource.created.map(str::to_owned),
        number,
    };
    let Some(mtls) = spec.map("mtls", problems) else { return Some(mesh) };
    mtls.only(&["enabledBackend", "backends", "skipValidation"], Severity::Warning, problems);
    let backends = mtls.list("backends", problems);
    for backend in &backends {
        if backend.text("name", problems).is_none() {
            problems.error(backend, "needs a `name`");
        }
        if let Some(mode) = backend.get("mode") {
            let _ = self::mode(&mode, ["STRICT", "PERMISSIVE"], problems);
        }
    }
    // Backends of which none is enabled are mTLS that is off.
    let enabled = mtls.get("enabledBackend").filter(|field| field.node().value != Value::Text(String::new()));
    let Some(enabled) = enabled else { return Some(mesh) };
    let name = enabled.as_text(problems)?;
    let Some(backend) = backends.iter().find(|backend| backend.text("name", problems) == Some(name)) else {
        problems.error(&enabled, "names none of the `backends`");
        return None;
    };
    let (mode, at) = match backend.get("mode") {
        Some(field) => (self::mode(&field, ["STRICT", "PERMISSIVE"], problems)?, field),
        None => (Mode::Strict, enabled),
    };
    mesh.mtls = Some((mode, resource.origin(MESH, None, &at)));
    Some(mesh)
}

/// Strict or permissive, in one of Kuma's spellings.
fn mode(field: &Field<'_>, [strict, permissive]: [&str; 2], problems: &mut Problems) -> Option<Mode> {
    match field.as_text(problems)? {
        text if text == strict => Some(Mode::Strict),
        text if text == permissive => Some(Mode::Permissive),
        _ => {
            problems.error(field, format!("must be {strict} or {permissive}"));
            None
        }
    }
}

/// The mesh that a policy is in, and a rule for the targets that it is about; `None` where those cannot be told.
fn template(
    resource: &Resource<'_>,
    kind: &'static str,
    spec: &Field<'_>,
    settings: &PolicySettings,
    problems: &mut Problems,
) -> Option<(String, Rule)> {
    spec.only(&["targetRef", "from", "rules"], Severity::Warning, problems);
    let mesh = match resource.root.get("mesh") {
        Some(mesh) => mesh.as_text(problems),
        None => resource.root.at(&["metadata", "labels", MESH_LABEL]).and_then(|mesh| mesh.as_text(problems)),
    };
    let mesh = mesh.unwrap_or(DEFAULT_MESH).to_owned();
    let mut template = rule(Mode::Strict, resource.origin(kind, resource.namespace, spec));
    // As wide as its mesh, it still narrows it.
    template.conditions = 1;
    // In the namespace of the control plane a policy is about the whole mesh, elsewhere about its own namespace.
    if let Some(namespace) = resource.namespace.filter(|n| *n != settings.kuma_system_namespace) {
        template.selector.server.namespaces = vec![Pattern::new(namespace)];
        template.level = Level::Namespace;
    }
    if let Some(target) = spec.map("targetRef", problems)
        && !narrow(&mut template, &target, problems)
    {
        return None;
    }
    Some((mesh, template))
}

/// A `MeshTrafficPermission`, with the mesh it is in and how narrow it is.
fn traffic_permission(
    resource: &Resource<'_>,
    settings: &PolicySettings,
    problems: &mut Problems,
) -> Option<(String, (Level, bool), Permission)> {
    let spec = resource.spec(problems)?;
    let (mesh, template) = template(resource, permission::KIND, &spec, settings, problems)?;
    let permission = permission::read(resource, &spec, &mesh, &template, problems);
    Some((mesh, (template.level, template.port), permission))
}

/// The rules of a `MeshTLS`, with the mesh they are in.
fn mesh_tls(
    resource: &Resource<'_>,
    number: u32,
    settings: &PolicySettings,
    problems: &mut Problems,
) -> Vec<(String, Rule)> {
    let Some(spec) = resource.spec(problems) else { return Vec::new() };
    let Some((mesh, template)) = template(resource, MESH_TLS, &spec, settings, problems) else {
        return Vec::new();
    };
    let mut parts = spec.list("rules", problems);
    for from in spec.list("from", problems) {
        let kind = from.at(&["targetRef", "kind"]);
        if kind.as_ref().and_then(|kind| kind.as_text(problems)) != Some("Mesh") {
            problems.error(&from, "must have a `targetRef` of kind Mesh: who calls makes no difference");
        }
        parts.push(from);
    }
    if parts.is_empty() {
        problems.error(&spec, "needs `rules` or `from`");
    }
    let mut rules = Vec::new();
    for part in parts {
        // Versions and ciphers alone say nothing about who has to use TLS.
        let Some(field) = part.at(&["default", "mode"]) else { continue };
        let Some(mode) = mode(&field, ["Strict", "Permissive"], problems) else { continue };
        let mut rule = template.clone();
        rule.effect = self::rule(mode, resource.origin(MESH_TLS, resource.namespace, &field)).effect;
        rule.created = resource.created.map(str::to_owned);
        rule.order = (0, number, u32::try_from(rules.len()).unwrap_or(u32::MAX));
        rules.push((mesh.clone(), rule));
    }
    rules
}

/// Narrows a rule to what a `targetRef` names; `false`, and a warning, where that cannot be told.
fn narrow(rule: &mut Rule, target: &Field<'_>, problems: &mut Problems) -> bool {
    let server = &mut rule.selector.server;
    let kind = target.text("kind", problems);
    let name = target.text("name", problems);
    let pairs = |key: &str, problems: &mut Problems| {
        target.get(key).map(|tags| super::schema::match_labels(&tags, problems)).unwrap_or_default()
    };
    let mut tags = match kind {
        Some("Mesh") => Vec::new(),
        Some("MeshSubset") => pairs("tags", problems),
        Some("MeshService" | "MeshServiceSubset") => {
            let mut tags = pairs("tags", problems);
            tags.extend(name.map(|name| (String::from("kuma.io/service"), name.to_owned())));
            tags
        }
        Some("Dataplane") if name.is_none() => pairs("labels", problems),
        Some("Dataplane" | "MeshGateway" | "MeshHTTPRoute") => {
            problems.warning(target, "which pods this is about cannot be told here: it applies to nothing");
            return false;
        }
        _ => {
            problems.error(
                target,
                "needs a `kind`: Mesh, MeshSubset, MeshService, MeshServiceSubset or Dataplane",
            );
            return false;
        }
    };
    if let Some(section) = target.text("sectionName", problems) {
        let port = section.parse().map_or_else(|_| PortMatch::Name(section.to_owned()), PortMatch::one);
        rule.selector.ports = vec![port];
        rule.port = true;
    }
    tags.sort();
    for (tag, value) in tags {
        rule.level = Level::Workload;
        match tag.as_str() {
            "k8s.kuma.io/namespace" => server.namespaces = vec![Pattern::new(value)],
            "k8s.kuma.io/service-name" => server.services = vec![Pattern::new(value)],
            // Kubernetes Services are named NAME_NAMESPACE_svc_PORT.
            "kuma.io/service" => match value.split('_').collect::<Vec<_>>().as_slice() {
                [name, namespace, "svc", ..] => {
                    server.services = vec![Pattern::new(*name)];
                    server.namespaces = vec![Pattern::new(*namespace)];
                }
                _ => server.services = vec![Pattern::new(value)],
            },
            _ if tag.starts_with("kuma.io/") || tag.starts_with("k8s.kuma.io/") => {
                let reason =
                    format!("which pods have the tag {tag} cannot be told here: it applies to nothing");
                problems.warning(target, reason);
                return false;
            }
            _ => server.labels.equal.push((tag, value)),
        }
    }
    true
}
