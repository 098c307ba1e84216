//! Linkerd: a `Server` is a port of some pods, and what may reach it is what `AuthorizationPolicy` (with
//! `MeshTLSAuthentication` and `NetworkAuthentication`), `ServerAuthorization` and its access policy let through. It is
//! strict when each of them asks for mesh TLS. <https://linkerd.io/2/reference/authorization-policy/>

mod authorization;
mod client;
mod server;

use super::problem::Problems;
use super::resource::Resource;
use super::{Dialect, PolicySettings};
use crate::policy::rule::Rule;

use self::authorization::{Authentication, Authorization, Route};
use self::server::{NamespaceDefault, Server};

/// Resources read so far: they name one another.
#[derive(Debug, Default)]
pub(super) struct Linkerd {
    servers: Vec<Server>,
    authorizations: Vec<Authorization>,
    authentications: Vec<Authentication>,
    routes: Vec<Route>,
    defaults: Vec<NamespaceDefault>,
}

/// Kinds, and their versions.
const KINDS: &[(&str, &[&str])] = &[
    ("Server", &["v1alpha1", "v1beta1", "v1beta2", "v1beta3"]),
    ("ServerAuthorization", &["v1alpha1", "v1beta1"]),
    ("AuthorizationPolicy", &["v1alpha1"]),
    ("MeshTLSAuthentication", &["v1alpha1"]),
    ("NetworkAuthentication", &["v1alpha1"]),
    ("HTTPRoute", &["v1alpha1", "v1beta1", "v1beta2", "v1beta3"]),
];

impl Dialect for Linkerd {
    fn claims(&self, resource: &Resource<'_>) -> bool {
        match resource.group() {
            "policy.linkerd.io" => KINDS.iter().any(|(kind, _)| *kind == resource.kind),
            // Routes of the Gateway API count where a Server is their parent.
            "gateway.networking.k8s.io" => {
                matches!(resource.kind, "HTTPRoute" | "GRPCRoute") && Route::has_server(resource)
            }
            "" => {
                resource.version() == "v1"
                    && resource.kind == "Namespace"
                    && server::annotation(resource).is_some()
            }
            _ => false,
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
        if resource.group() == "policy.linkerd.io"
            && let Some((_, versions)) = KINDS.iter().find(|(kind, _)| *kind == resource.kind)
            && !versions.contains(&resource.version())
            && let Some(version) = resource.root.get("apiVersion")
        {
            problems.error(&version, format!("unknown version; there are: {}", versions.join(", ")));
            return;
        }
        let good = |problems: &Problems| problems.errors() == before;
        match resource.kind {
            "Namespace" => {
                let default = NamespaceDefault::read(resource, number, problems);
                self.defaults.extend(default.filter(|_| good(problems)));
            }
            "Server" => {
                let server = Server::read(resource, number, problems);
                self.servers.extend(server.filter(|_| good(problems)));
            }
            "HTTPRoute" | "GRPCRoute" => self.routes.push(Route::read(resource)),
            "MeshTLSAuthentication" => {
                let read = Authentication::mesh_tls(resource, settings, problems);
                self.authentications.extend(read.filter(|_| good(problems)));
            }
            "NetworkAuthentication" => {
                let read = Authentication::network(resource, problems);
                self.authentications.extend(read.filter(|_| good(problems)));
            }
            _ => {
                let read = match resource.kind {
                    "AuthorizationPolicy" => Authorization::policy(resource, settings, problems),
                    _ => Authorization::server(resource, settings, problems),
                };
                self.authorizations.extend(read.filter(|_| good(problems)));
            }
        }
    }

    fn finish(self: Box<Self>, _: &PolicySettings, problems: &mut Problems) -> Vec<Rule> {
        for authorization in &self.authorizations {
            authorization.check(&self.servers, &self.routes, &self.authentications, problems);
        }
        let servers = self.servers.iter().map(|server| {
            let grants = self
                .authorizations
                .iter()
                .filter(|authorization| authorization.is_for(server, &self.routes))
                .map(|authorization| authorization.grant(&self.authentications));
            server.rule(grants)
        });
        servers.chain(self.defaults.iter().map(NamespaceDefault::rule)).collect()
    }
}
