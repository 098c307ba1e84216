//! Kubernetes label selectors.

use std::collections::BTreeMap;

/// `matchLabels` and `matchExpressions` together: all have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// Labels that must have these values.
    pub equal: Vec<(String, String)>,
    /// What else must hold.
    pub requirements: Vec<Requirement>,
}

/// One of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The label has one of these values.
    In(String, Vec<String>),
    /// The label is missing, or has none of these values.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is missing.
    DoesNotExist(String),
}

impl LabelSelector {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.equal.is_empty() && self.requirements.is_empty()
    }

    /// How many conditions it has.
    pub fn conditions(&self) -> usize {
        self.equal.len().saturating_add(self.requirements.len())
    }

    /// Whether labels meet all of it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.equal.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.requirements.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn requirements_are_those_of_kubernetes() {
        let one = |requirement| LabelSelector { equal: Vec::new(), requirements: vec![requirement] };
        let key = || String::from("app");
        let values = || vec![String::from("a"), String::from("b")];
        let holds = |requirement, pairs: &[(&str, &str)]| one(requirement).matches(&labels(pairs));
        let cases = [("a", [true, false, true, false]), ("c", [false, true, true, false])];
        for (value, expected) in cases {
            let on = [("app", value)];
            let got = [
                holds(Requirement::In(key(), values()), &on),
                holds(Requirement::NotIn(key(), values()), &on),
                holds(Requirement::Exists(key()), &on),
                holds(Requirement::DoesNotExist(key()), &on),
            ];
            assert_eq!(got, expected, "{value}");
        }
        let without = [
            holds(Requirement::In(key(), values()), &[]),
            holds(Requirement::NotIn(key(), values()), &[]),
            holds(Requirement::Exists(key()), &[]),
            holds(Requirement::DoesNotExist(key()), &[]),
        ];
        assert_eq!(without, [false, true, false, true]);
    }
}
