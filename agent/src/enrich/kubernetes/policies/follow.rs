//! Follows one kind.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc::Sender;

use super::News;
use super::certificate::Certificates;
use super::kinds::{Kind, Reads};
use super::store::{Change, key, text};
use crate::enrich::kubernetes::watch::{Stats, status};

/// Objects in one answer to a list.
const PAGE: u32 = 100;

/// What is lost without one of the kinds.
pub(in crate::enrich::kubernetes) const LOST: &str = "what it says is not known";

/// How the client is told of a kind.
pub(in crate::enrich::kubernetes) fn resource(kind: &Kind, version: &str) -> ApiResource {
    let api_version =
        if kind.group.is_empty() { version.to_owned() } else { format!("{}/{version}", kind.group) };
    ApiResource {
        group: kind.group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.name.to_owned(),
        plural: kind.plural.to_owned(),
    }
}

/// Follows a kind until it is gone, or nobody listens.
pub(super) fn follow(
    index: usize,
    kind: &'static Kind,
    version: &str,
    client: &Client,
    out: Sender<Change>,
    news: Sender<News>,
    stats: Arc<Stats>,
) -> impl Future<Output = ()> + Send + 'static {
    let resource = resource(kind, version);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    async move {
        let config = watcher::Config::default().page_size(PAGE);
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut certificates = Certificates::default();
        while let Some(event) = events.next().await {
            let change = match event {
                Ok(watcher::Event::Init) => {
                    stats.lists.fetch_add(1, Ordering::Relaxed);
                    certificates.listing();
                    Change::Listing(index)
                }
                Ok(watcher::Event::InitDone) => {
                    certificates.listed();
                    stats.permitted(kind.plural);
                    Change::Listed(index)
                }
                Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    if kind.reads == Reads::Certificate {
                        if let Some(known) = certificates.applied(&object)
                            && news.send(News::Certificate(Box::new(known))).await.is_err()
                        {
                            return;
                        }
                        continue;
                    }
                    Change::Applied(index, key(&object), text(kind, &resource.api_version, object))
                }
                Ok(watcher::Event::Delete(object)) => {
                    certificates.deleted(&object);
                    Change::Deleted(index, key(&object))
                }
                Err(e) => {
                    stats.watch_failed(kind.plural, LOST, &e);
                    // A server that has just started does not know all of its kinds yet (404): whether one is gone, the
                    // list of all kinds tells.
                    match status(&e) {
                        Some(403) => Change::Failed(index),
                        _ => continue,
                    }
                }
            };
            if out.send(change).await.is_err() {
                return;
            }
        }
    }
}
