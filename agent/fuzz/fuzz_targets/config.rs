//! Any text as the configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlsight::config::{Config, parse_duration};
use tlsight::filter::ProcessMatch;

fuzz_target!(|text: &str| {
    let _ = Config::parse(text);
    // What a flag says is a line.
    if let Some(line) = text.lines().next() {
        let _ = (parse_duration(line), ProcessMatch::parse(line));
    }
});
