//! Kinds of resources that say something about expectations, or about certificates.

/// What is read of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::enrich::kubernetes) enum Reads {
    /// All of it: it is a policy.
    Policy,
    /// It is a policy where a Linkerd `Server` is its parent.
    Route,
    /// Annotations of Linkerd.
    Namespace,
    /// Which certificate was issued.
    Certificate,
}

/// One of them.
#[derive(Debug)]
pub(in crate::enrich::kubernetes) struct Kind {
    /// API group; empty for the core.
    pub(in crate::enrich::kubernetes) group: &'static str,
    /// Versions that are understood, the best one first.
    pub(in crate::enrich::kubernetes) versions: &'static [&'static str],
    /// As URLs spell it.
    pub(in crate::enrich::kubernetes) plural: &'static str,
    /// As documents spell it.
    pub(in crate::enrich::kubernetes) name: &'static str,
    pub(super) reads: Reads,
    /// It says nothing without this group.
    pub(super) only_with: Option<&'static str>,
}

const fn policy(
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    name: &'static str,
) -> Kind {
    Kind { group, versions, plural, name, reads: Reads::Policy, only_with: None }
}

const LINKERD: &str = "policy.linkerd.io";
const GATEWAY: &str = "gateway.networking.k8s.io";

/// All of them. A kind that the API does not have is not asked for.
pub(in crate::enrich::kubernetes) const KINDS: &[Kind] = &[
    policy("tlsight.dev", &["v1alpha1"], "tlsightpolicies", "TlsightPolicy"),
    policy("security.istio.io", &["v1", "v1beta1"], "peerauthentications", "PeerAuthentication"),
    policy("networking.istio.io", &["v1", "v1beta1", "v1alpha3"], "destinationrules", "DestinationRule"),
    policy(LINKERD, &["v1beta3", "v1beta2", "v1beta1", "v1alpha1"], "servers", "Server"),
    policy(LINKERD, &["v1beta1", "v1alpha1"], "serverauthorizations", "ServerAuthorization"),
    policy(LINKERD, &["v1alpha1"], "authorizationpolicies", "AuthorizationPolicy"),
    policy(LINKERD, &["v1alpha1"], "meshtlsauthentications", "MeshTLSAuthentication"),
    policy(LINKERD, &["v1alpha1"], "networkauthentications", "NetworkAuthentication"),
    Kind {
        reads: Reads::Route,
        ..policy(LINKERD, &["v1beta3", "v1beta2", "v1beta1", "v1alpha1"], "httproutes", "HTTPRoute")
    },
    Kind {
        reads: Reads::Route,
        only_with: Some(LINKERD),
        ..policy(GATEWAY, &["v1", "v1beta1"], "httproutes", "HTTPRoute")
    },
    Kind {
        reads: Reads::Route,
        only_with: Some(LINKERD),
        ..policy(GATEWAY, &["v1"], "grpcroutes", "GRPCRoute")
    },
    Kind {
        reads: Reads::Namespace,
        only_with: Some(LINKERD),
        ..policy("", &["v1"], "namespaces", "Namespace")
    },
    policy("kuma.io", &["v1alpha1"], "meshes", "Mesh"),
    policy("kuma.io", &["v1alpha1"], "meshtlses", "MeshTLS"),
    policy("kuma.io", &["v1alpha1"], "meshtrafficpermissions", "MeshTrafficPermission"),
    policy("appmesh.k8s.aws", &["v1beta2"], "virtualnodes", "VirtualNode"),
    policy("appmesh.k8s.aws", &["v1beta2"], "virtualgateways", "VirtualGateway"),
    Kind { reads: Reads::Certificate, ..policy("cert-manager.io", &["v1"], "certificates", "Certificate") },
];
