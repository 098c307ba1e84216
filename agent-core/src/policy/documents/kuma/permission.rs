//! `MeshTrafficPermission`: which clients may call, in both of its forms. `rules` names SPIFFE ids that are denied and
//! allowed: a denial wins, and who is not named does not get in. `from` names clients by what their proxies are, the later
//! entry and the narrower document win. <https://kuma.io/docs/latest/policies/meshtrafficpermission/>

use crate::policy::documents::field::Field;
use crate::policy::documents::problem::{Problems, Severity};
use crate::policy::documents::resource::Resource;
use crate::policy::documents::schema::match_labels;
use crate::policy::permission::{Permission, Says, Who};
use crate::policy::rule::Rule;

pub(super) const KIND: &str = "MeshTrafficPermission";
/// The tag that says which service a proxy is of.
const SERVICE: &str = "kuma.io/service";

/// What a resource says; `template` has the targets that it is about, in this mesh.
pub(super) fn read(
    resource: &Resource<'_>,
    spec: &Field<'_>,
    mesh: &str,
    template: &Rule,
    problems: &mut Problems,
) -> Permission {
    let mut entries = Vec::new();
    let (rules, from) = (spec.list("rules", problems), spec.list("from", problems));
    if rules.is_empty() && from.is_empty() {
        problems.error(spec, "needs `rules` or `from`");
    }
    for rule in rules {
        let Some(default) = rule.map("default", problems) else {
            problems.error(&rule, "needs a `default`");
            continue;
        };
        default.only(&["allow", "deny", "allowWithShadowDeny"], Severity::Warning, problems);
        // What is denied in the shadow gets in, and is written down.
        for (key, says) in
            [("deny", Says::Deny), ("allow", Says::Allow), ("allowWithShadowDeny", Says::Allow)]
        {
            for matcher in default.list(key, problems) {
                entries.extend(identity(&matcher, problems).map(|who| (who, says)));
            }
        }
    }
    for client in from {
        let who = proxies(&client, mesh, problems);
        let action = client.at(&["default", "action"]);
        let says = match action.as_ref().and_then(|action| action.as_text(problems)) {
            Some("Allow" | "ALLOW" | "AllowWithShadowDeny" | "ALLOW_WITH_SHADOW_DENY") => Says::AllowInOrder,
            Some("Deny" | "DENY") => Says::DenyInOrder,
            _ => {
                let at = action.unwrap_or(client);
                problems.error(&at, "must be an `action`: Allow, Deny or AllowWithShadowDeny");
                continue;
            }
        };
        entries.extend(who.map(|who| (who, says)));
    }
    let origin = resource.origin(KIND, resource.namespace, spec);
    Permission { selector: template.selector.clone(), entries, origin }
}

/// Clients by SPIFFE id.
fn identity(matcher: &Field<'_>, problems: &mut Problems) -> Option<Who> {
    // Alone or together with an identity: an identity does not tell.
    if matcher.get("sni").is_some() {
        return Some(Who::Unknown);
    }
    let Some(id) = matcher.map("spiffeID", problems) else {
        problems.error(matcher, "needs a `spiffeID`");
        return None;
    };
    let Some(value) = id.text("value", problems) else {
        problems.error(&id, "needs a `value`");
        return None;
    };
    match id.text("type", problems) {
        Some("Exact") => Some(Who::Id(value.to_owned())),
        Some("Prefix") => Some(Who::Prefix(value.to_owned())),
        _ => {
            problems.error(&id, "needs a `type`: Exact or Prefix");
            None
        }
    }
}

/// Clients by their proxies. Certificates of a mesh name the service of a proxy; other tags are not in them.
fn proxies(client: &Field<'_>, mesh: &str, problems: &mut Problems) -> Option<Who> {
    let Some(target) = client.map("targetRef", problems) else {
        problems.error(client, "needs a `targetRef`");
        return None;
    };
    let tags = target.get("tags").map(|tags| match_labels(&tags, problems)).unwrap_or_default();
    let of = |service: &str| Who::Id(format!("spiffe://{mesh}/{service}"));
    match (target.text("kind", problems), target.text("name", problems), tags.as_slice()) {
        (Some("Mesh"), _, _) | (Some("MeshSubset"), _, []) => Some(Who::Any),
        (Some("MeshSubset"), _, [(tag, service)]) if tag == SERVICE => Some(of(service)),
        (Some("MeshService" | "MeshServiceSubset"), Some(name), []) => Some(of(name)),
        (Some("MeshSubset"), ..) | (Some("MeshServiceSubset"), Some(_), _) => Some(Who::Unknown),
        _ => {
            problems.error(&target, "needs a `kind`: Mesh, MeshSubset, MeshService or MeshServiceSubset");
            None
        }
    }
}
