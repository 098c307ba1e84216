//! What tlsight costs, against the budgets that it has. Loads are run with and without the agent and with comparable tools, in
//! turns and in random order within each round; figures are measured once. Each is one file with one line of registration. Run
//! by `cargo xtask bench`; nothing is asserted.

pub mod beside;
pub mod figures;
pub mod loads;
pub mod machine;
pub mod numbers;
pub mod options;
pub mod peer;
pub mod row;
pub mod turns;
