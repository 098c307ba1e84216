//! Floods: connections that are there to do harm, of every kind, and what became of the others meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tlsight_tests::agent::Agent;
use tlsight_tests::flood::{MIX, allow_descriptors, flood};
use tlsight_tests::held;
use tlsight_tests::host::pause;
use tlsight_tests::mixed::{Made, Mixed, Verdicts};
use tlsight_tests::run::case_alone;

/// Connections of all kinds together; `TLSIGHT_FLOOD` in the environment asks for another number.
const COUNT: usize = 10_000;
/// What the agent may take at the worst moment, in KiB.
const MEMORY: u64 = 160 * 1024;
/// Floods that the connections are of: caches are full, and the allocator has what it needs, before the last.
const ROUNDS: usize = 4;
/// What it may take more after the last flood than after the one before, in KiB.
const NOISE: u64 = 12 * 1024;
const LIMIT: Duration = Duration::from_secs(60);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case_alone("flood::all_kinds", all_kinds));
}

/// How many, and whether somebody wants to read numbers.
fn count() -> (usize, bool) {
    let asked = std::env::var("TLSIGHT_FLOOD").ok();
    let number = asked.as_ref().map(|n| n.parse().expect("TLSIGHT_FLOOD is a number of connections"));
    (number.unwrap_or(COUNT), asked.is_some())
}

/// What the agent holds at a moment.
#[derive(Debug)]
struct Held {
    kib: u64,
    descriptors: usize,
    entries: usize,
}

fn holds(agent: &Agent) -> Held {
    Held {
        kib: held::status(agent.pid(), "VmRSS"),
        descriptors: agent.descriptors().values().sum(),
        entries: agent.map_entries().values().sum(),
    }
}

/// The same once everything that ended is forgotten, which takes the kernel and the agent a moment.
fn at_rest(agent: &Agent, before: &Held) -> Held {
    let deadline = Instant::now() + LIMIT;
    loop {
        let now = holds(agent);
        if now.entries <= before.entries + 100 && now.descriptors <= before.descriptors + 8 {
            return now;
        }
        assert!(Instant::now() < deadline, "before: {before:?}, now: {now:?}");
        pause(Duration::from_millis(200));
    }
}

fn all_kinds() {
    let (count, tell) = count();
    allow_descriptors();
    let mixed = Mixed::start();
    let port = mixed.at.port().to_string();
    let agent = Agent::start(&["--stats", "--no-existing", "--port", &port]);
    let mut made: Vec<Made> = (0..30).map(|n| mixed.connect(n).expect("a connection")).collect();
    let calm = Verdicts::of(&agent, mixed.at, &made, LIMIT);
    assert_eq!((calm.right, calm.missing, calm.wrong.len()), (2 * made.len(), 0, 0), "{calm:?}");
    let before = holds(&agent);

    // The same again and again: what the last leaves behind is what every other one would.
    let mut after = Vec::new();
    let mut flooded = 0;
    for _ in 0..ROUNDS {
        let over = AtomicBool::new(false);
        let next = AtomicUsize::new(made.len());
        let meanwhile = thread::scope(|scope| {
            let well = scope.spawn(|| {
                let mut made = Vec::new();
                while !over.load(Ordering::Acquire) {
                    made.push(mixed.connect(next.fetch_add(1, Ordering::Relaxed)));
                    pause(Duration::from_millis(10));
                }
                made
            });
            for (kind, share) in MIX {
                let of_kind = (count * share / (1000 * ROUNDS)).max(1);
                let started = Instant::now();
                flood(kind, of_kind);
                flooded += of_kind;
                if tell {
                    let (took, now) = (started.elapsed().as_secs_f64(), held::status(agent.pid(), "VmRSS"));
                    eprintln!("flood: {of_kind} {kind:?} in {took:.1} s, then {now} KiB");
                }
            }
            over.store(true, Ordering::Release);
            well.join().expect("no panic")
        });
        // Nobody is harmed.
        made.extend(meanwhile.into_iter().map(|made| made.expect("a connection")));
        after.push(at_rest(&agent, &before));
    }
    let worst = held::status(agent.pid(), "VmHWM");
    let verdicts = Verdicts::of(&agent, mixed.at, &made, LIMIT);

    // Back to normal: what comes now is seen whole. Looked at with the others, because ports come again.
    let later: Vec<Made> = (0..30).map(|n| mixed.connect(n).expect("a connection")).collect();
    let all = Verdicts::of(&agent, mixed.at, &[made.clone(), later.clone()].concat(), LIMIT);
    agent.stop().expect("a clean end");
    if tell {
        eprintln!("flood: {flooded} connections, {} well-behaved meanwhile; before {before:?}", made.len());
        eprintln!(
            "flood: after {after:?}, at worst {worst} KiB; {} right, {} missing",
            verdicts.right, verdicts.missing
        );
        for line in agent.said().lines().filter(|line| !line.ends_with(" 0")) {
            eprintln!("flood: {line}");
        }
    }
    assert_eq!(all.wrong, Vec::<String>::new());
    assert_eq!(all.right, verdicts.right + 2 * later.len(), "{}", agent.said());
    assert_eq!(verdicts.wrong, Vec::<String>::new());
    let counter = |name: &str| agent.counter(name);
    let lost = counter("kernel.lifecycle_events_lost")
        + counter("kernel.data_events_lost")
        + counter("kernel.connection_table_full")
        + counter("connections_refused");
    // What is not known of a connection was counted.
    assert!(u64::try_from(verdicts.missing).unwrap() <= lost, "{verdicts:?}, {lost} lost\n{}", agent.said());
    assert!(worst <= MEMORY, "{worst} KiB at worst");
    let [.., last_but_one, last] = after.as_slice() else { unreachable!("several rounds") };
    assert!(last.kib <= last_but_one.kib + NOISE, "{after:?}");
    // Both ends of each, those that were left half-open once at least; all were seen, or counted as lost.
    let half_open = ROUNDS * (count * MIX[0].1 / 2000).max(1);
    let ends = u64::try_from(2 * (flooded - half_open) + half_open).unwrap();
    let opened = counter("opened");
    let not_opened = lost + counter("never_established");
    assert!(opened + not_opened >= ends, "{opened} opened, {not_opened} not, of {ends}\n{}", agent.said());
    // Each bound that was leant on says so by its name.
    let bounds = [
        "kernel.clear_tls_bytes_cut",
        "kernel.records_per_packet_cut",
        "tls.oversized_messages",
        "offered_values_cut",
        "certificates.cut",
        "encrypted_record_limits",
    ];
    for name in bounds {
        assert!(counter(name) > 0, "{name}\n{}", agent.said());
    }
}
