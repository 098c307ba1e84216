//! What is measured once, without turns; one file each.

mod capture;
mod first_byte;
mod memory;
mod programs;
mod startup;

use anyhow::Result;

use super::options::Options;
use super::row::Row;

/// Something to measure.
pub struct Figure {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// Measures it.
    pub run: fn(&Options) -> Result<Vec<Row>>,
}

/// All figures, in the order of the table.
pub const FIGURES: &[&Figure] =
    &[&startup::FIGURE, &first_byte::FIGURE, &memory::FIGURE, &programs::FIGURE, &capture::FIGURE];
