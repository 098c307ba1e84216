//! What all resources have: a kind, a name, a namespace, an age.

use std::sync::Arc;

use super::field::Field;
use super::node::Value;
use super::problem::Problems;
use crate::policy::expectation::Origin;

/// A resource: a Kubernetes object, or one in the form that Kuma's universal mode or the App Mesh API has.
#[derive(Clone, Debug)]
pub(crate) struct Resource<'a> {
    pub(crate) root: Field<'a>,
    /// `security.istio.io/v1`; empty in forms that have none.
    pub(crate) api_version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) created: Option<&'a str>,
    document: Arc<str>,
}

/// Whether this is a `List` of resources, or one of those that the API gives (`PeerAuthenticationList`).
pub(crate) fn is_list(root: &Field<'_>) -> bool {
    let Some(items) = root.get("items") else { return false };
    let kind = root.get("kind");
    let is_list = kind.is_some_and(|k| matches!(&k.node().value, Value::Text(k) if k.ends_with("List")));
    is_list && matches!(items.node().value, Value::List(_))
}

impl<'a> Resource<'a> {
    /// Reads what names it; `None`, and an error, where that is not possible.
    pub(crate) fn new(root: &Field<'a>, problems: &mut Problems) -> Option<Self> {
        if !root.expect_map(problems) {
            return None;
        }
        let document = Arc::clone(&problems.document);
        let root = root.clone();
        if let Some(kind) = root.get("kind") {
            let kind = kind.as_text(problems)?;
            let api_version = match root.get("apiVersion") {
                Some(version) => version.as_text(problems)?,
                None => {
                    problems.error(&root, "has a `kind` but no `apiVersion`");
                    return None;
                }
            };
            let metadata = root.map("metadata", problems);
            let of = |key: &str, problems: &mut Problems| metadata.as_ref()?.text(key, problems);
            let name = of("name", problems);
            let namespace = of("namespace", problems);
            let created = of("creationTimestamp", problems);
            return Some(Self { root, api_version, kind, name, namespace, created, document });
        }
        if let Some(kind) = root.get("type") {
            // Kuma's universal form; a mesh is its namespace in all but name, and is read by the dialect.
            let kind = kind.as_text(problems)?;
            let name = root.text("name", problems);
            let created = root.text("creationTime", problems);
            return Some(Self { root, api_version: "", kind, name, namespace: None, created, document });
        }
        if let Some((kind, root, name)) = app_mesh(&root) {
            let created = None;
            return Some(Self { root, api_version: "", kind, name, namespace: None, created, document });
        }
        problems.error(&root, "is no resource: it has no `apiVersion` and `kind`");
        None
    }

    /// `security.istio.io` of `security.istio.io/v1`.
    pub(crate) fn group(&self) -> &'a str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// `v1` of `security.istio.io/v1`.
    pub(crate) fn version(&self) -> &'a str {
        self.api_version.split_once('/').map_or(self.api_version, |(_, version)| version)
    }

    /// `PeerAuthentication shop/web`, for messages.
    pub(crate) fn title(&self) -> String {
        match (self.namespace, self.name) {
            (Some(namespace), Some(name)) => format!("{} {namespace}/{name}", self.kind),
            (None, Some(name)) => format!("{} {name}", self.kind),
            (_, None) => self.kind.to_owned(),
        }
    }

    /// The namespace that Kubernetes puts a resource without one in.
    pub(crate) fn namespace_or_default(&self) -> &'a str {
        self.namespace.unwrap_or("default")
    }

    /// A place in this resource as the origin of an expectation. `kind` is [`Resource::kind`] as a constant.
    pub(crate) fn origin(
        &self,
        kind: &'static str,
        namespace: Option<&str>,
        field: &Field<'_>,
    ) -> Arc<Origin> {
        Arc::new(Origin {
            document: Arc::clone(&self.document),
            kind,
            namespace: namespace.map(str::to_owned),
            name: self.name.unwrap_or_default().to_owned(),
            field: field.path().to_owned(),
            line: field.line(),
        })
    }

    /// Its `spec`, which has to be a mapping; the resource itself, where it is empty or missing, after an error.
    pub(crate) fn spec(&self, problems: &mut Problems) -> Option<Field<'a>> {
        let spec = self.root.get("spec");
        if spec.is_none() {
            problems.error(&self.root, "has no `spec`");
        }
        spec.filter(|spec| spec.expect_map(problems))
    }

    /// Whether it has a name; an error if not.
    pub(crate) fn is_named(&self, problems: &mut Problems) -> bool {
        if self.name.is_none() {
            let at = self.root.get("metadata").unwrap_or_else(|| self.root.clone());
            problems.error(&at, "has no `name`");
        }
        self.name.is_some()
    }
}

/// The App Mesh API's JSON: `{"virtualNode": {"virtualNodeName": ..., "spec": ...}}`, with or without the outer object.
fn app_mesh<'a>(root: &Field<'a>) -> Option<(&'static str, Field<'a>, Option<&'a str>)> {
    let forms = [
        ("VirtualNode", "virtualNode", "virtualNodeName"),
        ("VirtualGateway", "virtualGateway", "virtualGatewayName"),
    ];
    forms.into_iter().find_map(|(kind, outer, key)| {
        let root = root.get(outer).unwrap_or_else(|| root.clone());
        match &root.get(key)?.node().value {
            Value::Text(name) if !name.is_empty() => Some((kind, root.clone(), Some(name.as_str()))),
            _ => None,
        }
    })
}
