//! A few values of one kind, the one seen last at the end.

/// Bounded; what was seen least recently makes room.
#[derive(Clone, Debug)]
pub(super) struct Names<T>(Vec<T>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Names<T> {
    /// Takes a value; how many were left out for it.
    pub(super) fn see(&mut self, value: T, most: usize) -> u64 {
        if self.0.last() == Some(&value) {
            return 0;
        }
        if let Some(place) = self.0.iter().position(|known| *known == value) {
            let known = self.0.remove(place);
            self.0.push(known);
            return 0;
        }
        self.0.push(value);
        if self.0.len() > most {
            self.0.remove(0);
            return 1;
        }
        0
    }

    /// In the order of what they are called, for people.
    pub(super) fn sorted(&self, name: impl Fn(&T) -> String) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(name).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_least_recently_makes_room() {
        let mut names = Names::default();
        assert_eq!([1, 2, 1, 3].map(|n| names.see(n, 2)), [0, 0, 0, 1]);
        assert_eq!(names.iter().copied().collect::<Vec<_>>(), [1, 3]);
    }
}
