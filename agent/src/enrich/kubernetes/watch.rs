//! Follows the Kubernetes API, on a thread and an event loop of its own: a page of a list takes milliseconds to parse,
//! and whoever asks for a name must not wait for that.
//!
//! Each kind has a watch of its own, so that one that is not permitted takes nothing from the others. A watch goes on
//! where it was after a lost connection; where the server has forgotten that place, the kind is listed again. Errors are
//! counted and tried again after 0.8 s, twice as long each time, at most 30 s; names that are known stay known.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::delta::{Delta, Kind};
use super::note;
use super::policies::{self, Follower};
use super::slim::{SliceVersion, Slim, SlimJob, SlimNode, SlimPod, SlimReplicaSet, SlimService, SlimSlice};

/// Changes that wait to be taken; when there are more, the watches wait.
const QUEUE: usize = 1024;
/// Objects in one answer to a list.
const PAGE: u32 = 100;
/// Between attempts to make a client, and to ask what the server has.
const RETRY: Duration = Duration::from_secs(5);
/// Where kubelet puts a pod's credentials.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How the API server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// By the environment and files that every pod has.
    Pod,
    /// By a kubeconfig file.
    File(PathBuf),
}

impl Source {
    /// The file that was named, else what a pod has; `None` outside of Kubernetes.
    pub fn find(kubeconfig: Option<&Path>) -> Option<Self> {
        match kubeconfig {
            Some(path) => Some(Source::File(path.to_owned())),
            None => {
                let in_pod =
                    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(TOKEN).exists();
                in_pod.then_some(Source::Pod)
            }
        }
    }
}

/// What is counted of policies.
#[derive(Debug, Default)]
pub(super) struct PolicyStats {
    /// Resources that say something, now.
    pub(super) resources: AtomicU64,
    /// Of those: with errors, so that they do not count.
    pub(super) invalid: AtomicU64,
    /// Resources, and problems of resources, that there was no room for.
    pub(super) left_out: AtomicU64,
    /// Sets of rules that were made.
    pub(super) sets: AtomicU64,
}

/// What the watches count.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Errors of the API, or on the way there.
    pub(super) errors: AtomicU64,
    /// Lists begun.
    pub(super) lists: AtomicU64,
    /// Objects without what all of their kind have.
    pub(super) unreadable: AtomicU64,
    /// Times that the API did not permit to read a kind.
    pub(super) forbidden: AtomicU64,
    pub(super) policies: PolicyStats,
    /// Kinds that may not be read, which was told.
    told: Mutex<HashSet<&'static str>>,
    /// What went wrong last.
    last_error: Mutex<Option<String>>,
}

impl Stats {
    /// A watch failed. That it is not permitted is told, once: nobody would know why names are missing.
    pub(super) fn watch_failed(&self, plural: &'static str, lost: &str, error: &watcher::Error) {
        self.failed(&format!("watch {plural}"), error);
        if status(error) != Some(403) {
            return;
        }
        self.forbidden.fetch_add(1, Ordering::Relaxed);
        if self.told.lock().is_ok_and(|mut told| told.insert(plural)) {
            note(&format!(
                "the Kubernetes API does not permit to read {plural}: {lost} (its role needs list and watch)"
            ));
        }
    }

    /// A kind was read.
    pub(super) fn permitted(&self, plural: &'static str) {
        if let Ok(mut told) = self.told.lock() {
            told.remove(plural);
        }
    }

    pub(super) fn failed(&self, doing: &str, error: &dyn std::fmt::Display) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        log::debug!("Kubernetes API: cannot {doing}: {error}");
        if let Ok(mut last) = self.last_error.lock() {
            *last = Some(format!("cannot {doing}: {error}"));
        }
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().ok()?.clone()
    }
}

/// The HTTP status that an error stands for, where the server answered.
pub(super) fn status(error: &watcher::Error) -> Option<u16> {
    use watcher::Error;
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// The watches, seen from where names are needed.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) deltas: Receiver<Delta>,
    pub(super) stats: Arc<Stats>,
}

impl Watch {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start(source: Source, policies: Option<Follower>) -> std::io::Result<Self> {
        let (out, deltas) = channel(QUEUE);
        let stats = Arc::new(Stats::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let of_thread = Arc::clone(&stats);
        std::thread::Builder::new().name("tlsight-kube".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = out.closed() => {}
                    () = run(&source, &out, policies, &of_thread) => {}
                }
            });
        })?;
        Ok(Self { deltas, stats })
    }
}

async fn run(source: &Source, out: &Sender<Delta>, policies: Option<Follower>, stats: &Arc<Stats>) {
    let client = loop {
        match connect(source).await {
            Ok(client) => break client,
            Err(e) => stats.failed("find the API server", &e),
        }
        tokio::time::sleep(RETRY).await;
    };
    tokio::join!(
        follow::<SlimNode>(Kind::Node, Api::all(client.clone()), out, stats),
        follow::<SlimReplicaSet>(Kind::ReplicaSet, Api::all(client.clone()), out, stats),
        follow::<SlimJob>(Kind::Job, Api::all(client.clone()), out, stats),
        follow::<SlimService>(Kind::Service, Api::all(client.clone()), out, stats),
        follow::<SlimPod>(Kind::Pod, Api::all(client.clone()), out, stats),
        async {
            let version = slice_version(&client, stats).await;
            follow::<SlimSlice>(Kind::EndpointSlice, Api::all_with(client.clone(), &version), out, stats)
                .await;
        },
        async {
            if let Some(follower) = policies {
                policies::run(&client, follower, stats).await;
            }
        },
    );
}

pub(super) async fn connect(source: &Source) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let config = match source {
        Source::Pod => Config::incluster()?,
        Source::File(path) => {
            let file = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
    };
    // The client takes the process's provider of cryptography. In a build of the whole workspace two are compiled in, of which
    // rustls picks none by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::try_from(config)?)
}

/// The newest version of EndpointSlices that the server has.
async fn slice_version(client: &Client, stats: &Stats) -> SliceVersion {
    loop {
        match client.list_api_group_resources("discovery.k8s.io/v1").await {
            Ok(_) => return SliceVersion("v1"),
            Err(kube::Error::Api(status)) if status.code == 404 => return SliceVersion("v1beta1"),
            Err(e) => stats.failed("ask for its versions", &e),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Follows one kind until nobody listens.
async fn follow<K>(kind: Kind, api: Api<K>, out: &Sender<Delta>, stats: &Stats)
where
    K: Slim + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().page_size(PAGE);
    let mut events = pin!(watcher(api, config).default_backoff());
    let object = |object: K| {
        let slim = object.object();
        if slim.is_none() {
            stats.unreadable.fetch_add(1, Ordering::Relaxed);
        }
        slim
    };
    while let Some(event) = events.next().await {
        let delta = match event {
            Ok(watcher::Event::Init) => {
                stats.lists.fetch_add(1, Ordering::Relaxed);
                Some(Delta::Listing(kind))
            }
            Ok(watcher::Event::InitApply(o) | watcher::Event::Apply(o)) => object(o).map(Delta::Applied),
            Ok(watcher::Event::Delete(o)) => object(o).map(Delta::Deleted),
            Ok(watcher::Event::InitDone) => {
                stats.permitted(kind.plural());
                Some(Delta::Listed(kind))
            }
            Err(e) => {
                stats.watch_failed(kind.plural(), kind.lost(), &e);
                None
            }
        };
        if let Some(delta) = delta
            && out.send(delta).await.is_err()
        {
            return;
        }
    }
}
