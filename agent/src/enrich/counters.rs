//! One counter per lookup and per bound.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What was looked up, found, missed and dropped since the start. All only grow.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((concat!("enrich.", stringify!($name)), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Connection ends that were looked at.
    ends,
    /// Connection ends that are not followed because [`max_connections`](super::Options::max_connections) are: they are
    /// named by what is known when they are shown.
    ends_refused,
    /// Processes found in memory.
    process_hits,
    /// Processes found in memory and compared with what has their id now.
    process_rechecks,
    /// Processes read from procfs.
    process_reads,
    /// Of those: gone before they could be read.
    processes_gone,
    /// Of those: started after the event that named them, so that the id is another process's now.
    process_ids_reused,
    /// Names of executables forgotten to make room: what a process is called that was gone before it could be read.
    executable_names_evicted,
    /// Command lines read.
    arguments_read,
    /// Command lines not read because too many were asked for at once.
    arguments_dropped,
    /// Connection ends whose other end is on this host too, and was found.
    pairs_found,
    /// Of those: behind address translation.
    pairs_translated,
    /// Connection ends for whose other end several on this host fit.
    pairs_ambiguous,
    /// Pods found by the control group of a process.
    pods_by_group_found,
    /// Processes in a pod's or a container's control group whose pod is not known.
    pods_by_group_missed,
    /// Pods found by address.
    pods_by_address_found,
    /// Addresses that no pod has.
    pods_by_address_missed,
    /// Addresses that several pods may have had at the time.
    pods_by_address_ambiguous,
    /// Services found by what was dialled.
    services_found,
    /// What was dialled is no Service.
    services_missed,
    /// Peers behind a Service named by the one workload that is behind it.
    workloads_behind_services,
    /// Connection ends that the kernel's table of connections was asked about: servers' without another end here, and clients'
    /// of Services that are answered elsewhere.
    conntrack_asked,
    /// Of those: their addresses are translated.
    conntrack_translated,
    /// Of those: the table has no such connection.
    conntrack_missed,
    /// Of those: the table gave no answer.
    conntrack_failed,
    /// Not asked about because there is nothing in the table, or no table.
    conntrack_idle,
    /// Not asked about because too many were asked about at once.
    conntrack_dropped,
    /// Connection ends that were shown before there was an answer, about them or about what may be their other end.
    conntrack_late,
    /// Connection ends not considered as another's other end because too many share an address and a port.
    pair_candidates_dropped,
}
