//! One connection out of those that fit.

use super::evidence::Fit;
use crate::net::ConnId;

/// Is the leaf for the name that the client asked for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameFit {
    Yes,
    No,
    /// No name was asked for in the clear, or the leaf has none to tell by.
    Unknown,
}

/// A connection whose certificates are missing and whose records do not exclude these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) conn: ConnId,
    pub(crate) fit: Fit,
    pub(crate) name: NameFit,
}

/// What the candidates allow to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It is this one.
    One(ConnId),
    /// Each of these has exactly that length, and no other connection fits: as many chains of those certificates fit all.
    Equals(Vec<ConnId>),
    /// Nothing tells them apart.
    Several,
    /// None of which the length is proven.
    None,
}

/// Chooses by length, then by name. A connection that only may fit is as good as one that does when it comes to being sure.
pub(crate) fn choose(candidates: &[Candidate]) -> Choice {
    let fitting: Vec<&Candidate> = candidates.iter().filter(|c| c.fit != Fit::Impossible).collect();
    if !fitting.iter().any(|c| c.fit == Fit::Exact) {
        return if fitting.len() > 1 { Choice::Several } else { Choice::None };
    }
    let named = fitting.iter().any(|c| c.name == NameFit::Yes);
    let left: Vec<&&Candidate> =
        fitting.iter().filter(|c| !(named && fitting.len() > 1 && c.name == NameFit::No)).collect();
    if !left.iter().all(|c| c.fit == Fit::Exact) {
        return Choice::Several;
    }
    match left.as_slice() {
        [one] => Choice::One(one.conn),
        several => Choice::Equals(several.iter().map(|c| c.conn).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(Fit, NameFit)]) -> Vec<Candidate> {
        let numbered = (1..).zip(list);
        numbered.map(|(id, (fit, name))| Candidate { conn: ConnId(id), fit: *fit, name: *name }).collect()
    }

    #[test]
    fn one_exact_length_is_enough_whatever_its_name() {
        use {Fit::*, NameFit::*};
        for name in [Yes, No, Unknown] {
            let list = candidates(&[(Impossible, Yes), (Exact, name), (Impossible, Unknown)]);
            assert_eq!(choose(&list), Choice::One(ConnId(2)), "{name:?}");
        }
    }

    #[test]
    fn a_length_that_is_only_possible_is_no_evidence_but_a_doubt() {
        use {Fit::*, NameFit::*};
        assert_eq!(choose(&[]), Choice::None);
        assert_eq!(choose(&candidates(&[(Possible, Yes)])), Choice::None);
        assert_eq!(choose(&candidates(&[(Possible, Unknown), (Possible, Unknown)])), Choice::Several);
        assert_eq!(choose(&candidates(&[(Exact, Unknown), (Possible, Unknown)])), Choice::Several);
        assert_eq!(choose(&candidates(&[(Exact, No), (Possible, Yes)])), Choice::Several);
    }

    #[test]
    fn names_tell_equal_lengths_apart() {
        use {Fit::*, NameFit::*};
        assert_eq!(choose(&candidates(&[(Exact, No), (Exact, Yes), (Possible, No)])), Choice::One(ConnId(2)));
        // The one without a name may be meant as well.
        assert_eq!(
            choose(&candidates(&[(Exact, Unknown), (Exact, Yes), (Exact, No)])),
            Choice::Equals(vec![ConnId(1), ConnId(2)])
        );
        assert_eq!(
            choose(&candidates(&[(Exact, No), (Exact, No)])),
            Choice::Equals(vec![ConnId(1), ConnId(2)])
        );
        assert_eq!(choose(&candidates(&[(Exact, Yes), (Possible, Unknown)])), Choice::Several);
    }
}
