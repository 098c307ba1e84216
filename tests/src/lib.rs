//! What the end-to-end tests of tlsight share: the programs they run, the certificates those programs use, the agent
//! that watches them, and the whole verdict each case expects.

pub mod agent;
pub mod bench;
pub mod child;
pub mod crowd;
pub mod expect;
pub mod flood;
pub mod foreign;
pub mod held;
pub mod host;
pub mod mixed;
pub mod netns;
pub mod peers;
pub mod pki;
pub mod rotel;
pub mod run;
pub mod service;
pub mod tools;
pub mod verdict;
