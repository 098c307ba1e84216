//! What a person should know about losses at the end of a run.

use agent_common::Counter;

/// One line per kind of loss; nothing when all went well. Cuts at a bound that verdicts do not need are no losses.
pub(super) fn losses(kernel: &[(Counter, u64)], unreadable: u64) -> Vec<String> {
    let text = |counter| match counter {
        Counter::LifecycleLost => Some("opens or closes lost: the ring buffer was full (--ring-buffer)"),
        Counter::DataLost => Some("payload events lost: the ring buffer was full (--ring-buffer)"),
        Counter::CertificatesLost => Some("certificates lost: the ring buffer was full (--ring-buffer)"),
        Counter::ConnectionTableFull => {
            Some("connections not observed: the table was full (--max-connections)")
        }
        _ => None,
    };
    let mut lines: Vec<String> = kernel
        .iter()
        .filter(|(_, n)| *n > 0)
        .filter_map(|(c, n)| Some(format!("{n} {}", text(*c)?)))
        .collect();
    if unreadable > 0 {
        lines.push(format!(
            "{unreadable} kernel events were not understood: agent and BPF programs do not fit"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_losses_and_is_silent_about_cuts() {
        let kernel = [(Counter::DataLost, 3), (Counter::RawCut, 9), (Counter::ConnectionTableFull, 0)];
        assert_eq!(losses(&kernel, 0), ["3 payload events lost: the ring buffer was full (--ring-buffer)"]);
        assert_eq!(losses(&[], 0), Vec::<String>::new());
    }
}
