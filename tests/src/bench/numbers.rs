//! Medians, ratios and their spread.

use serde_json::{Value, json};

/// Numbers measured of one thing.
#[derive(Clone, Debug, Default)]
pub struct Numbers(pub Vec<f64>);

impl Numbers {
    /// The middle one, or halfway between the two in the middle; 0 of none.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => 0.0,
            n if n % 2 == 1 => sorted[n / 2],
            n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
        }
    }

    /// The lowest and the highest.
    pub fn spread(&self) -> (f64, f64) {
        self.0.iter().fold((f64::MAX, f64::MIN), |(low, high), n| (low.min(*n), high.max(*n)))
    }

    /// Each by the one of the same round.
    pub fn by(&self, other: &Numbers) -> Numbers {
        Numbers(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    /// `median (lowest to highest)` with so many digits after the point.
    pub fn text(&self, digits: usize) -> String {
        let (low, high) = self.spread();
        format!("{:.digits$} ({low:.digits$} to {high:.digits$})", self.median())
    }

    /// All of them, and their median.
    pub fn json(&self) -> Value {
        json!({ "median": self.median(), "all": self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_in_the_middle() {
        assert_eq!(Numbers(vec![4.0, 1.0, 3.0, 2.0]).median(), 2.5);
        assert_eq!(Numbers(vec![9.0, 1.0, 3.0]).median(), 3.0);
        assert_eq!(Numbers(vec![9.0, 1.0, 3.0]).text(0), "3 (1 to 9)");
    }
}
