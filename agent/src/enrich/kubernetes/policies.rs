//! Policies that the Kubernetes API has, and certificates that cert-manager has issued.
//!
//! Kinds are followed where the API has them ([`kinds`]): which those are is asked again now and then, because meshes are
//! installed, upgraded and removed while the agent runs. What a kind says is kept as text ([`store`]); whenever something
//! changed, all of it is read again together with what the policy files said, because documents rank among one another,
//! and the set of rules that comes out is handed on as a whole. This happens on the thread of the watches.

mod certificate;
mod discover;
mod follow;
mod kinds;
mod store;
mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_core::policy::documents::{Documents, Limits, Loaded, PolicySettings};
use agent_core::policy::history::KnownCertificate;
use agent_core::policy::set::PolicySet;
use kube::Client;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::discover::Found;
use self::store::{Change, Store};
use self::tell::Teller;
use super::watch::Stats;

pub(super) use self::discover::offered;
pub(super) use self::follow::LOST;
pub(super) use self::kinds::KINDS;

/// How often the API is asked which kinds it has.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often in a row a kind is not there until it counts as gone: a server that has just started does not have all.
const MISSES: u32 = 2;
/// Several changes at once are one: an installation comes as dozens of them.
const SETTLE: Duration = Duration::from_millis(250);
/// Changes are not put off for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long kinds that are not listed yet are waited for before the others count.
const COMPLETE: Duration = Duration::from_secs(10);
/// Changes that wait to be taken; when there are more, the watches wait.
const QUEUE: usize = 256;
/// News that wait to be taken.
const NEWS: usize = 64;

/// What policy files said, to be read together with what the API says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// Name and text of each, in order.
    pub texts: Vec<(String, String)>,
    /// What documents do not say themselves.
    pub settings: PolicySettings,
    /// How much is read.
    pub limits: Limits,
}

impl PolicyFiles {
    /// Reads files and resources of the API together.
    fn read<'a>(&self, resources: impl Iterator<Item = &'a str>) -> Loaded {
        let mut documents = Documents::new(self.settings.clone(), self.limits);
        for (name, text) in &self.texts {
            documents.add_text(name, text);
        }
        for text in resources {
            match serde_json::from_str(text) {
                Ok(value) => documents.add_json(DOCUMENT, &value),
                Err(e) => documents.add_problem(DOCUMENT, &e.to_string()),
            }
        }
        documents.finish()
    }
}

/// What problems and expectations call the API as the document they are from.
const DOCUMENT: &str = "kubernetes";

/// What the API has to say to whoever judges.
#[derive(Clone, Debug)]
pub enum News {
    /// All policies there are, those of the files included: they take the place of those there were.
    Policies(Arc<PolicySet>),
    /// A certificate that cert-manager has issued.
    Certificate(Box<KnownCertificate>),
}

/// News of policies, where they are taken.
#[derive(Debug)]
pub(super) struct Feed {
    news: Receiver<News>,
    files: watch::Sender<PolicyFiles>,
    /// What the API says was told at least once.
    told: bool,
}

impl Feed {
    /// The next one, `None` when there is none.
    pub(super) fn poll(&mut self) -> Option<News> {
        let news = self.news.try_recv().ok();
        self.told |= matches!(news, Some(News::Policies(_)));
        news
    }

    /// From now on, these are the files that are read together with what the API says. False while it has said nothing yet,
    /// so that the files alone count.
    pub(super) fn set_files(&self, files: PolicyFiles) -> bool {
        self.files.send_replace(files);
        self.told
    }
}

/// What the thread of the watches needs to follow policies.
#[derive(Debug)]
pub(super) struct Follower {
    files: watch::Receiver<PolicyFiles>,
    news: Sender<News>,
}

/// Both ends.
pub(super) fn follower(files: PolicyFiles) -> (Follower, Feed) {
    let (news, feed) = channel(NEWS);
    let (files_in, files) = watch::channel(files);
    (Follower { files, news }, Feed { news: feed, files: files_in, told: false })
}

/// Follows all kinds until nobody wants their news.
pub(super) async fn run(client: &Client, mut follower: Follower, stats: &Arc<Stats>) {
    let (changes_in, mut changes) = channel::<Change>(QUEUE);
    let mut state = State {
        store: Store::new(follower.files.borrow().limits.resources),
        teller: Teller::default(),
        followed: HashMap::new(),
        misses: HashMap::new(),
        tasks: JoinSet::new(),
        since: Instant::now(),
        due: None,
        dirty_since: None,
    };
    let mut look = interval(LOOK_AGAIN);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = state.due;
        tokio::select! {
            () = follower.news.closed() => return,
            _ = look.tick() => match offered(client).await {
                Ok(found) => state.reconcile(&found, client, &changes_in, &follower.news, stats),
                Err(e) => stats.failed("ask which policies there are", &e),
            },
            Some(change) = changes.recv() => state.take(change),
            Ok(()) = follower.files.changed() => state.dirty(),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                state.due = None;
                let set = state.read(&follower.files.borrow_and_update(), stats);
                if let Some(set) = set
                    && follower.news.send(News::Policies(set)).await.is_err()
                {
                    return;
                }
            }
        }
        let left_out = state.store.left_out() + state.teller.untold();
        stats.policies.left_out.store(left_out, Ordering::Relaxed);
        // Ended tasks are of no more use.
        while state.tasks.try_join_next().is_some() {}
    }
}

struct State {
    store: Store,
    teller: Teller,
    /// Version of each kind that is followed, and how to stop.
    followed: HashMap<usize, (String, tokio::task::AbortHandle)>,
    /// How often in a row a kind that is followed was not there.
    misses: HashMap<usize, u32>,
    tasks: JoinSet<()>,
    since: Instant,
    due: Option<Instant>,
    dirty_since: Option<Instant>,
}

impl State {
    /// Begins to follow what is there, and stops where it is not there any more or has another version.
    fn reconcile(
        &mut self,
        found: &[Found],
        client: &Client,
        changes: &Sender<Change>,
        news: &Sender<News>,
        stats: &Arc<Stats>,
    ) {
        for (i, kind) in KINDS.iter().enumerate() {
            let version = found.iter().find(|found| found.kind == i).map(|found| found.version.as_str());
            let before = self.followed.get(&i).map(|(version, _)| version.as_str());
            if version == before {
                self.misses.remove(&i);
                continue;
            }
            if version.is_none() {
                let misses = self.misses.entry(i).or_default();
                *misses += 1;
                if *misses < MISSES {
                    continue;
                }
            }
            self.misses.remove(&i);
            if let Some((_, task)) = self.followed.remove(&i) {
                task.abort();
                self.take(Change::Gone(i));
            }
            if let Some(version) = version {
                self.store.expect(i);
                let follow = follow::follow(
                    i,
                    kind,
                    version,
                    client,
                    changes.clone(),
                    news.clone(),
                    Arc::clone(stats),
                );
                self.followed.insert(i, (version.to_owned(), self.tasks.spawn(follow)));
            }
        }
    }

    fn take(&mut self, change: Change) {
        if self.store.take(change) {
            self.dirty();
        }
    }

    /// Everything is to be read again, soon.
    fn dirty(&mut self) {
        let now = Instant::now();
        let since = *self.dirty_since.get_or_insert(now);
        self.due = Some((now + SETTLE).min(since + PATIENCE));
    }

    /// Reads everything; `None` while it is better to wait.
    fn read(&mut self, files: &PolicyFiles, stats: &Stats) -> Option<Arc<PolicySet>> {
        let now = Instant::now();
        if !self.store.is_complete() && now < self.since + COMPLETE {
            // Half of the policies may say the opposite of all of them.
            self.due = Some((now + SETTLE).min(self.since + COMPLETE));
            return None;
        }
        self.dirty_since = None;
        let loaded = files.read(self.store.texts());
        let invalid = self.teller.tell(&loaded.problems);
        stats.policies.invalid.store(invalid, Ordering::Relaxed);
        stats.policies.resources.store(self.store.len(), Ordering::Relaxed);
        stats.policies.sets.fetch_add(1, Ordering::Relaxed);
        Some(Arc::new(loaded.set))
    }
}
