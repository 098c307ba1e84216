//! Any text as rules in Rego, asked about any input; and any JSON as what rules found. A zero byte is between them.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tlsight::rego::{Options, RegoRules, RuleFile, fuzz_results};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (rules, input) = text.split_once('\0').unwrap_or((&text, "{}"));
    if let Ok(value) = serde_json::from_str(input) {
        fuzz_results(value);
    }
    let files = [RuleFile { name: "fuzz.rego".to_owned(), text: rules.to_owned() }];
    if let Ok(mut rules) =
        RegoRules::load(&files, Options { time_limit: Duration::from_millis(20), ..Options::default() })
    {
        let _ = rules.said_of(input);
    }
});
