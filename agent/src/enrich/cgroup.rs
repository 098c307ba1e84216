//! What a process's control group says of where it runs: `/proc/PID/cgroup` (cgroups(7)), as text.
//!
//! Nothing is asked of the runtimes: the names that they give to control groups hold the container's id, and kubelet's
//! hold the pod's. A name of no known shape says nothing.

#[cfg(test)]
mod tests;

use agent_core::identity::Container;

use super::PodUid;

/// What the path of a control group tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The innermost container.
    pub container: Option<Container>,
    /// The pod, by what kubelet calls it: its UID, of static pods the hash of their file.
    pub pod: Option<PodUid>,
    /// Id of the pod's own container, where the innermost one is nested in it.
    pub pod_container: Option<String>,
    /// The systemd unit: the innermost service or scope that is no container's.
    pub unit: Option<String>,
}

/// Reads `/proc/PID/cgroup`. On hosts where v1 and v2 are both mounted every hierarchy is looked at: which of them a
/// runtime uses is its own choice.
pub fn parse(text: &str) -> Place {
    let mut best = Place::default();
    let mut unit = None;
    for path in paths(text) {
        let place = place(path);
        if unit.is_none() {
            unit.clone_from(&place.unit);
        }
        if certainty(&place) > certainty(&best) {
            best = place;
        }
    }
    // A unit of another hierarchy is the one around the container's runtime, not the one inside.
    if best.container.is_none() {
        best.unit = unit;
    }
    best
}

/// A pod and a container are better than a container, which is better than nothing.
fn certainty(place: &Place) -> u8 {
    u8::from(place.pod.is_some()) * 2 + u8::from(place.container.is_some())
}

/// The unified hierarchy (`0::`) first, then systemd's, then the controllers'.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let lines = || {
        text.lines().filter_map(|line| {
            let (id, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            Some((id, controllers, path))
        })
    };
    let rank = |(id, controllers, _): &(&str, &str, &str)| match (*id, *controllers) {
        ("0", "") => 0,
        (_, "name=systemd") => 1,
        _ => 2,
    };
    (0..3).flat_map(move |wanted| lines().filter(move |l| rank(l) == wanted)).map(|(_, _, path)| path)
}

/// What one path tells. Paths of processes outside the reader's cgroup namespace begin with `..`.
fn place(path: &str) -> Place {
    let mut place = Place::default();
    let mut parent = "";
    for segment in path.split('/').filter(|s| !s.is_empty() && *s != "..") {
        // What is deeper is in what is higher: a unit outside the container is not the process's.
        match classify(segment, parent) {
            Segment::Monitor if place.container.is_none() => return Place::default(),
            // Of a container in this one, or merely a name that a process in this one gave to a group of its own.
            Segment::Monitor => {}
            Segment::Container(container) => {
                if place.pod.is_some() && place.container.is_some() && place.pod_container.is_none() {
                    place.pod_container = place.container.take().map(|c| c.id);
                }
                place.container = Some(container);
                place.unit = None;
            }
            Segment::Pod(uid, container) => {
                // A pod inside a container is of a kubelet in a container: what was seen so far is a node. Inside
                // another pod, it is of another cluster than the one around this host.
                if place.pod.is_none() {
                    place = Place { pod: Some(uid), container, ..Place::default() };
                }
            }
            Segment::Unit(unit) => {
                // A service manager's own scope, below the service that it is.
                if place.unit.is_none() || unit != "init.scope" {
                    place.unit = Some(unit);
                }
            }
            Segment::Other => {}
        }
        parent = segment;
    }
    place
}

/// What one directory of a path is.
enum Segment {
    Container(Container),
    /// A pod's; the systemd form without a scope of its own names its container too.
    Pod(PodUid, Option<Container>),
    /// The process that looks after a container: outside of it, although the id is in its name.
    Monitor,
    Unit(String),
    Other,
}

fn classify(segment: &str, parent: &str) -> Segment {
    // `SLICE:PREFIX:ID`: runc's argument to the systemd driver, taken as a path by the cgroupfs driver.
    if let Some((slice, rest)) = segment.split_once(':')
        && let Some((prefix, id)) = rest.split_once(':')
    {
        let container = container_of(prefix, id);
        return match (pod_slice(slice), container) {
            (Some(uid), container) => Segment::Pod(uid, container),
            (None, Some(container)) => Segment::Container(container),
            (None, None) => Segment::Other,
        };
    }
    if let Some(uid) = segment.strip_prefix("pod").and_then(PodUid::parse).or_else(|| pod_slice(segment)) {
        return Segment::Pod(uid, None);
    }
    let (stem, is_scope) = segment.strip_suffix(".scope").map_or((segment, false), |stem| (stem, true));
    if let Some((prefix, id)) = stem.rsplit_once('-')
        && is_id(id)
    {
        if prefix.ends_with("conmon") {
            return Segment::Monitor;
        }
        if let Some(container) = container_of(prefix, id) {
            return Segment::Container(container);
        }
    }
    if !is_scope && is_id(stem) {
        // Podman names pods in the same way, one level above their containers.
        if parent == "libpod_parent" {
            return Segment::Other;
        }
        let runtime = (parent == "docker").then_some("docker");
        return Segment::Container(Container { id: stem.to_owned(), runtime });
    }
    if is_fargate(stem) && PodUid::parse(parent).is_some() {
        return Segment::Container(Container { id: stem.to_owned(), runtime: None });
    }
    if is_scope || segment.ends_with(".service") {
        // systemd puts an underscore before names that the kernel would take for a file of its own.
        return Segment::Unit(segment.strip_prefix('_').unwrap_or(segment).to_owned());
    }
    Segment::Other
}

/// The names that runtimes put before the id.
fn container_of(prefix: &str, id: &str) -> Option<Container> {
    let runtime = match prefix {
        "cri-containerd" | "nerdctl" | "containerd" => "containerd",
        "crio" => "cri-o",
        "docker" => "docker",
        "libpod" | "libpod-payload" => "podman",
        _ => return None,
    };
    is_id(id).then(|| Container { id: id.to_owned(), runtime: Some(runtime) })
}

/// `kubepods-burstable-podUID.slice`, in which dashes of the UID are underscores (a dash would be a level).
fn pod_slice(segment: &str) -> Option<PodUid> {
    let stem = segment.strip_suffix(".slice")?;
    let (_, last) = stem.rsplit_once('-')?;
    PodUid::parse(last.strip_prefix("pod")?)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Amazon ECS on Fargate: the task's id and a number.
fn is_fargate(text: &str) -> bool {
    text.split_once('-').is_some_and(|(task, number)| {
        PodUid::parse(task).is_some() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}
