//! Why this expectation and no other.

use std::sync::Arc;

use super::expectation::{Expectation, Mode, Origin};
use super::rule::{Effect, Level, Rule};
use super::selector::Mismatch;
use super::set::{PolicySet, stricter};
use super::target::Target;
use crate::net::Side;

/// Which expectation applies to a target, and every rule that was looked at, those that won first.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What [`PolicySet::decide`] says.
    pub expectation: Option<Expectation>,
    /// Every rule, in order of precedence, those for servers first.
    pub considered: Vec<Considered>,
}

/// One rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// Where it stands.
    pub origin: Arc<Origin>,
    /// The dialect.
    pub dialect: &'static str,
    /// The end that it binds.
    pub side: Side,
    /// How narrow it is.
    pub level: Level,
    /// It is about some ports only.
    pub port: bool,
    /// It is an exception.
    pub exception: bool,
    /// What it expects; `None`: what something wider does.
    pub mode: Option<Mode>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It says what is expected.
    Applies,
    /// It says that what is wider applies.
    Inherits,
    /// It said what is wider applies, nothing is, and its own default applies.
    Default,
    /// It matches, and lost.
    Loses(Loss),
    /// It is not about this target.
    DoesNotMatch(Mismatch),
}

/// Why a rule that matches does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Another one is narrower.
    Wider,
    /// Another one is an exception.
    NoException,
    /// Another one is about this port.
    NotByPort,
    /// Another dialect comes first.
    Dialect,
    /// Another one names more conditions.
    FewerConditions,
    /// Another document is older.
    Younger,
    /// Another document comes first by its name, or by its place.
    Name,
    /// Another one is nearer to the client.
    Farther,
    /// The other end has to be stricter.
    LessStrict,
}

impl Loss {
    /// In words, for explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Loss::Wider => "a narrower one applies",
            Loss::NoException => "an exception applies",
            Loss::NotByPort => "one for this port applies",
            Loss::Dialect => "as narrow, but a dialect that comes first applies",
            Loss::FewerConditions => "as narrow, but one with more conditions applies",
            Loss::Younger => "as narrow, but an older one applies",
            Loss::Name => "as narrow, but one whose namespace and name come first applies",
            Loss::Farther => "one nearer to the client applies",
            Loss::LessStrict => "the other end has to be stricter",
        }
    }
}

impl Outcome {
    /// `applies`, `inherits`, `default`, `loses` or `does_not_match`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Applies => "applies",
            Outcome::Inherits => "inherits",
            Outcome::Default => "default",
            Outcome::Loses(_) => "loses",
            Outcome::DoesNotMatch(_) => "does_not_match",
        }
    }

    /// Why, in words.
    pub const fn why(self) -> &'static str {
        match self {
            Outcome::Applies => "the narrowest that matches",
            Outcome::Inherits => "says that what is wider applies",
            Outcome::Default => "leaves it to what is wider, and nothing is",
            Outcome::Loses(loss) => loss.as_str(),
            Outcome::DoesNotMatch(mismatch) => mismatch.as_str(),
        }
    }
}

impl PolicySet {
    /// Tells what is expected of connections to a target and why: the same as [`PolicySet::decide`], looking at every rule.
    pub fn explain(&self, target: &Target<'_>) -> Explanation {
        let mut considered: Vec<Considered> = Vec::with_capacity(self.rules().len());
        let mut decided = [None, None];
        for (slot, side) in decided.iter_mut().zip([Side::Server, Side::Client]) {
            *slot = self.explain_side(target, side, &mut considered);
        }
        let [server, client] = decided;
        let expectation = stricter(server, client).cloned();
        // Of two that apply, the other end's lost in the end.
        for rule in &mut considered {
            let decides = expectation.as_ref().is_some_and(|e| Arc::ptr_eq(&e.origin, &rule.origin));
            if matches!(rule.outcome, Outcome::Applies | Outcome::Default) && !decides {
                rule.outcome = Outcome::Loses(Loss::LessStrict);
            }
        }
        Explanation { expectation, considered }
    }

    fn explain_side(
        &self,
        target: &Target<'_>,
        side: Side,
        considered: &mut Vec<Considered>,
    ) -> Option<&Expectation> {
        let oldest = self.oldest(target, side);
        let mut matching = Vec::new();
        let mut others = Vec::new();
        for (i, rule) in self.rules().iter().enumerate().filter(|(_, rule)| rule.side == side) {
            match rule.matches(target) {
                Err(mismatch) => others.push(tell(rule, Outcome::DoesNotMatch(mismatch))),
                Ok(_) if self.is_excluded(i, rule, &oldest) => {
                    let loss = if self.is_younger(rule, &oldest) { Loss::Younger } else { Loss::Name };
                    others.push(tell(rule, Outcome::Loses(loss)));
                }
                Ok(distance) => matching.push((distance, i, rule)),
            }
        }
        matching.sort_by_key(|(distance, i, _)| (*distance, *i));
        let winner = matching.iter().find(|(_, _, rule)| matches!(rule.effect, Effect::Expect(_)));
        let by_default = winner.is_none();
        let winner = winner.or_else(|| matching.first());
        let Some((near, place, best)) = winner.copied() else {
            considered.append(&mut others);
            return None;
        };
        for (distance, i, rule) in &matching {
            let outcome = match (&rule.effect, (*distance, *i).cmp(&(near, place))) {
                (_, std::cmp::Ordering::Equal) if by_default => Outcome::Default,
                (_, std::cmp::Ordering::Equal) => Outcome::Applies,
                (Effect::Inherit(_), std::cmp::Ordering::Less) => Outcome::Inherits,
                (Effect::Inherit(_), _) if by_default => Outcome::Inherits,
                _ if *distance != near => Outcome::Loses(Loss::Farther),
                _ => Outcome::Loses(loss(rule, best)),
            };
            considered.push(tell(rule, outcome));
        }
        considered.append(&mut others);
        Some(best.effect.expectation())
    }
}

/// Why one rule loses against another.
fn loss(loser: &Rule, winner: &Rule) -> Loss {
    if loser.level != winner.level {
        Loss::Wider
    } else if loser.exception != winner.exception {
        Loss::NoException
    } else if loser.port != winner.port {
        Loss::NotByPort
    } else if loser.order.0 != winner.order.0 {
        Loss::Dialect
    } else if loser.conditions != winner.conditions {
        Loss::FewerConditions
    } else if loser.created != winner.created {
        Loss::Younger
    } else {
        Loss::Name
    }
}

fn tell(rule: &Rule, outcome: Outcome) -> Considered {
    Considered {
        origin: Arc::clone(rule.origin()),
        dialect: super::documents::dialect_name(rule.order.0),
        side: rule.side,
        level: rule.level,
        port: rule.port,
        exception: rule.exception,
        mode: rule.mode(),
        outcome,
    }
}
