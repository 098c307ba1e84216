//! Which of the kinds the API has.

use std::collections::HashMap;

use kube::Client;

use super::kinds::KINDS;

/// A kind that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::enrich::kubernetes) struct Found {
    /// Its place in [`KINDS`].
    pub(in crate::enrich::kubernetes) kind: usize,
    /// The best version that both sides understand.
    pub(in crate::enrich::kubernetes) version: String,
}

/// Asks the API. Everybody who may use it at all may ask this.
pub(in crate::enrich::kubernetes) async fn offered(client: &Client) -> Result<Vec<Found>, kube::Error> {
    let groups: HashMap<String, Vec<String>> = client
        .list_api_groups()
        .await?
        .groups
        .into_iter()
        .map(|group| (group.name, group.versions.into_iter().map(|version| version.version).collect()))
        .collect();
    let mut plurals: HashMap<String, Vec<String>> = HashMap::new();
    let mut found = Vec::new();
    for (i, kind) in KINDS.iter().enumerate() {
        if kind.only_with.is_some_and(|group| !groups.contains_key(group)) {
            continue;
        }
        if kind.group.is_empty() {
            found.extend(kind.versions.first().map(|v| Found { kind: i, version: (*v).to_owned() }));
            continue;
        }
        let Some(versions) = groups.get(kind.group) else { continue };
        for version in kind.versions.iter().filter(|v| versions.iter().any(|has| has == *v)) {
            let name = format!("{}/{version}", kind.group);
            if !plurals.contains_key(&name) {
                let list = match client.list_api_group_resources(&name).await {
                    Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
                    // Removed between the two questions.
                    Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
                    Err(e) => return Err(e),
                };
                plurals.insert(name.clone(), list);
            }
            if plurals.get(&name).is_some_and(|list| list.iter().any(|plural| plural == kind.plural)) {
                found.push(Found { kind: i, version: (*version).to_owned() });
                break;
            }
        }
    }
    Ok(found)
}
