//! The API server goes away and comes back, while everybody calls everybody.

use std::time::Duration;

use tlsight_tests::host;

use crate::agent::agent;
use crate::hops::{Table, first};
use crate::node::node;

/// How long it is away: longer than the first tries of the agent to get back.
const AWAY: Duration = Duration::from_secs(8);

/// Checks everything that was seen since: all calls, and nothing else.
pub(crate) fn check_all(table: &Table, since: crate::agent::Mark) {
    let (wrong, seen) = table.check(&agent().since(since));
    assert!(wrong.is_empty(), "{}", first(&wrong));
    let missing: Vec<_> = seen.iter().filter(|(_, (client, server))| *client == 0 || *server == 0).collect();
    assert!(missing.is_empty(), "calls that were not seen: {missing:?}");
}

pub(crate) fn under_load() {
    let table = Table::new();
    for _ in 0..2 {
        let since = agent().mark();
        node().stop_api();
        host::pause(AWAY);
        check_all(&table, since);
        node().start_api();
        node().wait_until_ready();
        check_all(&table, since);
    }
    // What is new since then is followed as before.
    crate::replaced::pods();
}
