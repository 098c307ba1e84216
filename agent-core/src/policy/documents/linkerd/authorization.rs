//! What lets clients through to a `Server`.

use std::sync::Arc;

use super::client::{Grant, Identities};
use super::server::Server;
use crate::policy::documents::PolicySettings;
use crate::policy::documents::field::Field;
use crate::policy::documents::node::Value;
use crate::policy::documents::problem::{Mark, Problems, Severity};
use crate::policy::documents::resource::Resource;
use crate::policy::documents::schema::label_selector;
use crate::policy::expectation::{Mode, Origin};
use crate::policy::selector::LabelSelector;

/// `MeshTLSAuthentication` or `NetworkAuthentication`.
#[derive(Debug)]
pub(super) struct Authentication {
    kind: &'static str,
    namespace: String,
    name: String,
    identities: Identities,
}

const MESH_TLS: &str = "MeshTLSAuthentication";
const NETWORK: &str = "NetworkAuthentication";

impl Authentication {
    pub(super) fn mesh_tls(
        resource: &Resource<'_>,
        settings: &PolicySettings,
        problems: &mut Problems,
    ) -> Option<Self> {
        let spec = resource.spec(problems)?;
        spec.only(&["identities", "identityRefs"], Severity::Warning, problems);
        let mut identities = Identities::default();
        for item in spec.list("identities", problems) {
            let Some(identity) = item.as_text(problems) else { continue };
            let rest = identity.strip_prefix("*.").unwrap_or(identity);
            if identity != "*" && rest.contains('*') {
                problems
                    .error(&item, "may have a wildcard only as its first label: *.shop.serviceaccount...");
            }
            identities.add(identity);
        }
        let refs = spec.list("identityRefs", problems);
        for reference in &refs {
            let namespace = reference.text("namespace", problems).unwrap_or(resource.namespace_or_default());
            let name = reference.text("name", problems);
            match (reference.text("kind", problems), name) {
                (Some("ServiceAccount"), name) => identities.add_account(name, namespace, settings),
                (Some("Namespace"), Some(name)) => identities.add_account(None, name, settings),
                (Some("Namespace"), None) => identities.add_account(None, namespace, settings),
                _ => problems.error(reference, "needs a `kind`: ServiceAccount or Namespace"),
            }
        }
        if identities == Identities::default() {
            problems.error(&spec, "needs `identities` or `identityRefs`");
        }
        Some(Self::new(MESH_TLS, resource, identities))
    }

    pub(super) fn network(resource: &Resource<'_>, problems: &mut Problems) -> Option<Self> {
        let spec = resource.spec(problems)?;
        spec.only(&["networks"], Severity::Warning, problems);
        let networks = spec.list("networks", problems);
        if networks.is_empty() {
            problems.error(&spec, "needs `networks`");
        }
        for network in networks {
            let Some(cidr) = network.get("cidr") else {
                problems.error(&network, "needs a `cidr`");
                continue;
            };
            let all = cidr.as_text(problems).into_iter().map(|text| (cidr.clone(), text));
            let except = network.list("except", problems);
            let except: Vec<_> =
                except.iter().filter_map(|e| e.as_text(problems).map(|text| (e.clone(), text))).collect();
            for (field, text) in all.chain(except) {
                if let Err(reason) = text.parse::<crate::policy::selector::Network>() {
                    problems.error(&field, reason);
                }
            }
        }
        Some(Self::new(NETWORK, resource, Identities::any()))
    }

    fn new(kind: &'static str, resource: &Resource<'_>, identities: Identities) -> Self {
        Self {
            kind,
            namespace: resource.namespace_or_default().to_owned(),
            name: resource.name.unwrap_or_default().to_owned(),
            identities,
        }
    }
}

/// A route, and the Servers that are its parents.
#[derive(Debug)]
pub(super) struct Route {
    kind: String,
    namespace: String,
    name: String,
    servers: Vec<String>,
}

impl Route {
    pub(super) fn has_server(resource: &Resource<'_>) -> bool {
        !Self::read(resource).servers.is_empty()
    }

    pub(super) fn read(resource: &Resource<'_>) -> Self {
        // A route that is not well formed lets nobody through, and is for others to find fault with.
        let mut nobody = Problems::new(0);
        let parents = resource.root.at(&["spec", "parentRefs"]).map(|refs| refs.items(&mut nobody));
        let is_server = |parent: &Field<'_>| matches!(parent.get("kind"), Some(k) if k.node().value == Value::Text("Server".into()));
        let servers = parents.unwrap_or_default().into_iter().filter(is_server);
        Self {
            kind: resource.kind.to_owned(),
            namespace: resource.namespace_or_default().to_owned(),
            name: resource.name.unwrap_or_default().to_owned(),
            servers: servers
                .filter_map(|parent| parent.text("name", &mut nobody).map(str::to_owned))
                .collect(),
        }
    }
}

/// What an authorization is for.
#[derive(Debug)]
enum For {
    Server(String),
    Servers(LabelSelector),
    Route(String, String),
    Namespace,
}

/// What it asks for.
#[derive(Debug)]
enum Asks {
    /// All of these authentications, by kind, namespace and name.
    All(Vec<(String, String, String)>, Identities),
    /// This, as `ServerAuthorization` says it.
    This(Mode, Identities),
}

/// `AuthorizationPolicy` or `ServerAuthorization`.
#[derive(Debug)]
pub(super) struct Authorization {
    namespace: String,
    target: For,
    asks: Asks,
    origin: Arc<Origin>,
    target_mark: Mark,
    asks_mark: Mark,
}

impl Authorization {
    pub(super) fn policy(
        resource: &Resource<'_>,
        settings: &PolicySettings,
        problems: &mut Problems,
    ) -> Option<Self> {
        let spec = resource.spec(problems)?;
        spec.only(&["targetRef", "requiredAuthenticationRefs"], Severity::Warning, problems);
        let Some(target) = spec.map("targetRef", problems) else {
            problems.error(&spec, "needs a `targetRef`");
            return None;
        };
        let name = target.text("name", problems);
        if name.is_none() {
            problems.error(&target, "needs a `name`");
        }
        let name = name?.to_owned();
        let kind = target.text("kind", problems);
        let namespace = resource.namespace_or_default();
        let of = match kind {
            Some("Server") => For::Server(name),
            Some(kind @ ("HTTPRoute" | "GRPCRoute")) => For::Route(kind.to_owned(), name),
            Some("Namespace") => {
                if name != namespace {
                    problems.error(&target, "must be the namespace that the policy is in");
                }
                For::Namespace
            }
            _ => {
                problems.error(&target, "needs a `kind`: Server, HTTPRoute, GRPCRoute or Namespace");
                return None;
            }
        };
        let Some(refs) = spec.get("requiredAuthenticationRefs") else {
            problems.error(&spec, "needs `requiredAuthenticationRefs`; an empty list lets everybody through");
            return None;
        };
        let mut all = Vec::new();
        let mut accounts = Identities::default();
        for reference in refs.items(problems) {
            let of = reference.text("namespace", problems).unwrap_or(namespace);
            let (kind, name) = (reference.text("kind", problems), reference.text("name", problems));
            match (kind, name) {
                (Some(kind @ (MESH_TLS | NETWORK)), Some(name)) => {
                    all.push((kind.to_owned(), of.to_owned(), name.to_owned()));
                }
                (Some("ServiceAccount"), Some(name)) => accounts.add_account(Some(name), of, settings),
                (Some(MESH_TLS | NETWORK | "ServiceAccount"), None) => {
                    problems.error(&reference, "needs a `name`")
                }
                _ => problems.error(
                    &reference,
                    "needs a `kind`: MeshTLSAuthentication, NetworkAuthentication or ServiceAccount",
                ),
            }
        }
        Some(Self {
            namespace: namespace.to_owned(),
            target: of,
            asks: Asks::All(all, accounts),
            origin: resource.origin("AuthorizationPolicy", Some(namespace), &refs),
            target_mark: problems.mark(&target),
            asks_mark: problems.mark(&refs),
        })
    }

    pub(super) fn server(
        resource: &Resource<'_>,
        settings: &PolicySettings,
        problems: &mut Problems,
    ) -> Option<Self> {
        let spec = resource.spec(problems)?;
        spec.only(&["server", "client"], Severity::Warning, problems);
        let namespace = resource.namespace_or_default();
        let (Some(server), Some(client)) = (spec.map("server", problems), spec.map("client", problems))
        else {
            problems.error(&spec, "needs a `server` and a `client`");
            return None;
        };
        let target = match (server.text("name", problems), server.get("selector")) {
            (Some(name), None) => For::Server(name.to_owned()),
            (None, Some(selector)) => For::Servers(label_selector(&selector, problems)),
            _ => {
                problems.error(&server, "needs either a `name` or a `selector`");
                return None;
            }
        };
        client.only(&["unauthenticated", "meshTLS", "networks"], Severity::Warning, problems);
        let mesh_tls = client.map("meshTLS", problems);
        let (mode, identities) = match (client.boolean("unauthenticated", problems), &mesh_tls) {
            (Some(true), _) => (Mode::Permissive, Identities::any()),
            (_, Some(mesh_tls)) => self::mesh_tls(mesh_tls, namespace, settings, problems),
            // Networks alone let nobody through without saying how they are authenticated.
            (_, None) => {
                problems.error(&client, "needs `unauthenticated: true` or `meshTLS`");
                return None;
            }
        };
        let at = mesh_tls.or_else(|| client.get("unauthenticated")).unwrap_or_else(|| client.clone());
        Some(Self {
            namespace: namespace.to_owned(),
            target,
            asks: Asks::This(mode, identities),
            origin: resource.origin("ServerAuthorization", Some(namespace), &at),
            target_mark: problems.mark(&server),
            asks_mark: problems.mark(&client),
        })
    }

    /// Whether it lets clients through to a Server.
    pub(super) fn is_for(&self, server: &Server, routes: &[Route]) -> bool {
        self.namespace == server.namespace
            && match &self.target {
                For::Namespace => true,
                For::Server(name) => *name == server.name,
                For::Servers(selector) => selector.matches(&server.labels),
                For::Route(kind, name) => routes
                    .iter()
                    .filter(|route| {
                        route.namespace == self.namespace && route.kind == *kind && route.name == *name
                    })
                    .any(|route| route.servers.contains(&server.name)),
            }
    }

    /// What it asks for, and of whom.
    pub(super) fn grant(&self, authentications: &[Authentication]) -> Grant {
        let (mode, clients) = match &self.asks {
            Asks::This(mode, identities) => (*mode, identities.clone()),
            Asks::All(all, accounts) => {
                let mesh_tls: Vec<_> = all.iter().filter(|(kind, ..)| kind == MESH_TLS).collect();
                let authenticated = !mesh_tls.is_empty() || *accounts != Identities::default();
                // All have to hold. More than one list of names is more than Linkerd takes; the first is as good as any.
                let named = mesh_tls.first().map(|reference| match find(authentications, reference) {
                    Some(authentication) => authentication.identities.clone(),
                    // Whom it lets through is not known, only that they have to have a certificate.
                    None => Identities::any(),
                });
                match authenticated {
                    true => (Mode::Strict, named.unwrap_or_else(|| accounts.clone())),
                    false => (Mode::Permissive, Identities::any()),
                }
            }
        };
        Grant { mode, clients, origin: Arc::clone(&self.origin) }
    }

    /// Says what it names that is not there.
    pub(super) fn check(
        &self,
        servers: &[Server],
        routes: &[Route],
        authentications: &[Authentication],
        problems: &mut Problems,
    ) {
        if !servers.iter().any(|server| self.is_for(server, routes)) {
            let reason = "no such Server is among the documents: this lets nobody through";
            problems.warning_at(&self.target_mark, reason.to_owned());
        }
        let Asks::All(all, _) = &self.asks else { return };
        for reference in all.iter().filter(|reference| find(authentications, reference).is_none()) {
            let (kind, namespace, name) = reference;
            let reason = format!(
                "{kind} {namespace}/{name} is not among the documents: whom it lets through is not known"
            );
            problems.warning_at(&self.asks_mark, reason);
        }
    }
}

fn find<'a>(
    all: &'a [Authentication],
    (kind, namespace, name): &(String, String, String),
) -> Option<&'a Authentication> {
    all.iter().find(|a| a.kind == kind && a.namespace == *namespace && a.name == *name)
}

fn mesh_tls(
    field: &Field<'_>,
    namespace: &str,
    settings: &PolicySettings,
    problems: &mut Problems,
) -> (Mode, Identities) {
    field.only(&["unauthenticatedTLS", "identities", "serviceAccounts"], Severity::Warning, problems);
    if field.boolean("unauthenticatedTLS", problems) == Some(true) {
        return (Mode::Tls, Identities::any());
    }
    let mut identities = Identities::default();
    for identity in field.texts("identities", problems) {
        identities.add(identity);
    }
    for account in field.list("serviceAccounts", problems) {
        let of = account.text("namespace", problems).unwrap_or(namespace);
        match account.text("name", problems) {
            Some(name) => identities.add_account(Some(name), of, settings),
            None => problems.error(&account, "needs a `name`"),
        }
    }
    if identities == Identities::default() {
        problems.error(field, "needs `identities`, `serviceAccounts` or `unauthenticatedTLS: true`");
    }
    (Mode::Strict, identities)
}
