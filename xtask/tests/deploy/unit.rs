//! The systemd unit.

use std::process::Command;

use crate::tools::{Scratch, output, repository, run};

fn unit() -> String {
    std::fs::read_to_string(repository().join("deploy/systemd/tlsight.service")).expect("the unit")
}

#[test]
fn systemd_finds_nothing_wrong_with_it() {
    let scratch = Scratch::new();
    // The program that it names need not be installed here.
    let file = scratch.file("tlsight.service", &unit().replace("/usr/local/bin/tlsight", "/bin/true"));
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(file));
    let text = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && !text.contains("tlsight.service"), "{text}");
}

#[test]
fn systemd_rates_its_exposure_as_ok() {
    let scratch = Scratch::new();
    let file = scratch.file("tlsight.service", &unit());
    // 4.0 of 10: what is left is the rights that reading the kernel takes.
    let mut analyze = Command::new("systemd-analyze");
    output(analyze.args(["security", "--offline=true", "--no-pager", "--threshold=40"]).arg(file));
}

#[test]
fn it_has_the_rights_of_the_container() {
    let unit = unit();
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a set");
    let mut of_unit: Vec<&str> = line.split(' ').filter_map(|name| name.strip_prefix("CAP_")).collect();
    let values =
        std::fs::read_to_string(repository().join("deploy/chart/tlsight/values.yaml")).expect("values");
    let line = values.lines().find_map(|line| line.strip_prefix("capabilities: [")).expect("a list");
    let mut of_chart: Vec<&str> = line.trim_end_matches(']').split(", ").chain(["SYS_ADMIN"]).collect();
    of_unit.sort_unstable();
    of_chart.sort_unstable();
    assert_eq!(of_unit, of_chart);
}
