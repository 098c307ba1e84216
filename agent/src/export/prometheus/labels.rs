//! Labels that several metrics have.

use super::descriptor::Label;

pub(super) const SECURITY: Label =
    Label::closed("security", "how the connection is protected: `plaintext`, `tls`, `mtls`, `unknown`");
pub(super) const ROLE: Label = Label::closed("role", "which end was observed: `client`, `server`");
pub(super) const SCOPE: Label =
    Label::closed("scope", "how far it goes: `loopback`, `pod`, `node`, `cluster`, `external`");
pub(super) const CLIENT_NAMESPACE: Label =
    Label::capped("client_namespace", "Kubernetes namespace of the client");
pub(super) const CLIENT_WORKLOAD: Label = Label::capped(
    "client_workload",
    "name of the object that owns the client's pod; elsewhere its systemd unit, else its executable's name, else its node",
);
pub(super) const SERVER_NAMESPACE: Label =
    Label::capped("server_namespace", "Kubernetes namespace of the server");
pub(super) const SERVER_WORKLOAD: Label = Label::capped(
    "server_workload",
    "name of the object that owns the server's pod, or of the Service in front of it; elsewhere its systemd unit, else its \
     executable's name, else its node",
);
pub(super) const TLS_VERSION: Label = Label::capped(
    "tls_protocol_version",
    "`1.3`, `1.2`, `1.1`, `1.0`; `3` and `2` are SSL; the number in hex where it has no name",
);
pub(super) const RESUMED: Label =
    Label::closed("tls_resumed", "a session was resumed, without certificates: `true`, `false`");
pub(super) const SERVER_NAME: Label =
    Label::capped("server_name", "name that the client asked for (SNI), in lower case");
pub(super) const RULE: Label = Label::capped("rule_id", "the rule (docs/findings.md, or one's own)");
pub(super) const SEVERITY: Label =
    Label::closed("severity", "how bad it is: `information`, `warning`, `critical`");
pub(super) const SIDE: Label = Label::closed("side", "whose certificate it is: `client`, `server`");
pub(super) const NAMESPACE: Label = Label::capped("namespace", "Kubernetes namespace of whoever shows it");
pub(super) const WORKLOAD: Label = Label::capped(
    "workload",
    "name of the object that owns the pod of whoever shows it; elsewhere systemd unit, executable or node",
);
