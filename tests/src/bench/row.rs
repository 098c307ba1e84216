//! A line of the table.

use serde_json::Value;

/// What was measured, and what it should be.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is.
    pub what: String,
    /// What came out, for people.
    pub measured: String,
    /// The budget, where there is one: `>= 0.99`.
    pub budget: &'static str,
    /// Whether it is met; `None` without a budget.
    pub met: Option<bool>,
    /// Every number.
    pub numbers: Value,
}

impl Row {
    /// As it is printed.
    pub fn text(&self) -> String {
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        format!("| {} | {} | {} | {met} |", self.what, self.measured, self.budget)
    }
}
