//! A real Kubernetes node with workloads that call each other, watched by one agent: who is at both ends, how far it goes,
//! what is wrong, and whether that stays right while pods, policies and the API server itself come and go.
//!
//! `cargo xtask kube` makes the node's programs and runs this. The cases run one after the other, in the order of [`main`]:
//! each leaves the node as it found it.

mod agent;
mod api;
mod churn;
mod helm;
mod hops;
mod meshes;
mod node;
mod permissions;
mod pki;
mod policies;
mod replaced;
mod restart;
mod scrape;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tlsight_tests::{child, tools};

/// Set by `cargo xtask test` where these tests are switched off, by either name.
const OFF: [(&str, &str); 2] = [("TLSIGHT_NO_KERNEL", "--no-kernel"), ("TLSIGHT_NO_KUBE", "--no-kube")];

fn case(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok::<(), Failed>(())
    })
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    if let Some((_, flag)) = OFF.iter().find(|(name, _)| std::env::var_os(name).is_some_and(|v| v == "1"))
        && !args.list
    {
        println!("switched off by {flag}");
        return ExitCode::SUCCESS;
    }
    // Each case looks at what the whole node does.
    args.test_threads = Some(1);
    let trials = vec![
        case("every_connection_names_both_workloads_and_how_far_it_goes", hops::names_and_scopes),
        case("exactly_the_expected_findings_appear", hops::findings),
        case("policies_of_the_api_come_and_go_with_their_kinds", policies::come_and_go),
        case("policies_of_every_mesh_are_followed_and_count", meshes::all),
        case("a_certificate_is_stale_when_cert_manager_has_issued_another", policies::issued),
        case("what_may_not_be_read_is_told", permissions::told),
        case("a_pod_with_the_address_of_another_is_not_taken_for_it", replaced::pods),
        case("addresses_of_pods_elsewhere_are_named_by_who_has_them_now", replaced::elsewhere),
        case("names_stay_right_while_the_api_server_is_away", restart::under_load),
        case("helm_installs_upgrades_and_removes_it", helm::life),
        case("a_thousand_pods_come_and_go_in_constant_memory", churn::thousand),
    ];
    let is_wanted = |trial: &Trial| args.filter.as_ref().is_none_or(|filter| trial.name().contains(filter));
    if args.list || !trials.iter().any(is_wanted) {
        return libtest_mimic::run(&args, trials).exit_code();
    }
    if let Err(why) = node::preflight() {
        eprintln!("{why}\nTo leave these tests out on purpose: `cargo xtask test --no-kube`.");
        return ExitCode::FAILURE;
    }
    let started = std::time::Instant::now();
    let ready = std::panic::catch_unwind(|| {
        node::node();
        agent::agent();
    });
    eprintln!("node and agent after {:.1?}", started.elapsed());
    let mut failed = true;
    if ready.is_ok() {
        failed = libtest_mimic::run(&args, trials).has_failed();
        agent::end();
    } else {
        println!("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
    }
    child::stop_all();
    if let Err(why) = node::remove() {
        eprintln!("after the last case: {why}");
        failed = true;
    }
    let _ = std::fs::remove_dir_all(tools::scratch());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
