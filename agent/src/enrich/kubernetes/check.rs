//! Whether the Kubernetes API answers, and lets the agent read what it needs.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::Client;
use kube::api::PostParams;

use super::delta::Kind;
use super::policies::{KINDS, LOST, offered};
use super::watch::{Source, connect};

/// What the API said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its version: `v1.33.1`.
    pub version: String,
    /// One for each kind.
    pub permissions: Vec<Permission>,
}

/// Whether a kind may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// API group; empty for the core.
    pub group: &'static str,
    /// As roles name it: `pods`.
    pub resource: &'static str,
    /// What is lost without it.
    pub lost: &'static str,
    /// Verbs that are not permitted.
    pub refused: Vec<&'static str>,
}

/// Asks the API, and gives up after `limit`.
///
/// # Errors
/// Why it could not be asked.
pub fn check(source: &Source, limit: Duration) -> Result<Api, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        match tokio::time::timeout(limit, ask(source)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        }
    })
}

async fn ask(source: &Source) -> Result<Api, String> {
    let client = connect(source).await.map_err(|e| e.to_string())?;
    let version = client.apiserver_version().await.map_err(|e| e.to_string())?.git_version;
    let policies = offered(&client).await.map_err(|e| e.to_string())?;
    let policies = policies.iter().filter_map(|found| KINDS.get(found.kind));
    let kinds = Kind::ALL.map(|kind| (kind.resource(), kind.lost()));
    let kinds = kinds.into_iter().chain(policies.map(|kind| ((kind.group, kind.plural), LOST)));
    let mut permissions = Vec::new();
    for ((group, resource), lost) in kinds {
        let mut refused = Vec::new();
        for verb in ["list", "watch"] {
            if !is_allowed(&client, group, resource, verb).await.map_err(|e| e.to_string())? {
                refused.push(verb);
            }
        }
        permissions.push(Permission { group, resource, lost, refused });
    }
    Ok(Api { version, permissions })
}

async fn is_allowed(client: &Client, group: &str, resource: &str, verb: &str) -> Result<bool, kube::Error> {
    let review = serde_json::json!({
        "spec": {"resourceAttributes": {"group": group, "resource": resource, "verb": verb}},
    });
    let review: SelfSubjectAccessReview = serde_json::from_value(review).map_err(kube::Error::SerdeError)?;
    let api: kube::Api<SelfSubjectAccessReview> = kube::Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
