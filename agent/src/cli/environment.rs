//! Settings from environment variables: an empty one is as good as none, and a wrong one is named.

use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};

/// Where variables are looked up.
type Lookup<'a> = &'a dyn Fn(&OsStr) -> Option<OsString>;

/// The command line, in which variables that are empty play no part.
pub(super) fn without_empty(command: Command, lookup: Lookup<'_>) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command =
        command.mut_args(|arg| if is_empty(&arg, lookup) { arg.env(Resettable::Reset) } else { arg });
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |c| without_empty(c, lookup)))
}

fn is_empty(arg: &Arg, lookup: Lookup<'_>) -> bool {
    arg.get_env().and_then(lookup).is_some_and(|value| value.is_empty())
}

/// The variable that a wrong value came from, if it did not come from the command line.
pub(super) fn source(
    error: &clap::Error,
    command: &Command,
    line: &[OsString],
    lookup: Lookup<'_>,
) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    // `--tls13-certificates <on|off>`
    let flag = shown.split([' ', '=']).next()?;
    let is_given = |word: &OsString| {
        let rest = word.to_str().and_then(|word| word.strip_prefix(flag));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if line.iter().any(is_given) {
        return None;
    }
    let variable = variable(command, flag.strip_prefix("--")?)?;
    lookup(variable).map(|_| variable.to_string_lossy().into_owned())
}

fn variable<'a>(command: &'a Command, long: &str) -> Option<&'a OsStr> {
    let own = command.get_arguments().find(|arg| arg.get_long() == Some(long)).and_then(Arg::get_env);
    own.or_else(|| command.get_subcommands().find_map(|sub| variable(sub, long)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATES: &str = "TLSIGHT_TLS13_CERTIFICATES";

    fn set_to(value: &'static str) -> impl Fn(&OsStr) -> Option<OsString> {
        move |name| (name == CERTIFICATES).then(|| value.into())
    }

    #[test]
    fn a_variable_that_is_empty_is_not_set() {
        let of = |command: &Command| variable(command, "tls13-certificates").map(OsStr::to_owned);
        let with = |value| of(&without_empty(super::super::command(), &set_to(value)));
        assert_eq!((with(""), with("on")), (None, Some(CERTIFICATES.into())));
    }

    #[test]
    fn a_wrong_value_is_said_to_come_from_the_environment_if_it_does() {
        let line = ["tlsight", "watch", "--tls13-certificates", "maybe"].map(OsString::from);
        let command = super::super::command();
        let error = command.clone().try_get_matches_from(&line).expect_err("no such value");
        assert_eq!(source(&error, &command, &line, &set_to("maybe")), None);
        let joined = ["tlsight", "watch", "--tls13-certificates=maybe"].map(OsString::from);
        assert_eq!(source(&error, &command, &joined, &set_to("maybe")), None);
        let expected = Some(CERTIFICATES.to_owned());
        assert_eq!(source(&error, &command, &line[..2], &set_to("maybe")), expected);
        let unset = |_: &OsStr| None;
        assert_eq!(source(&error, &command, &line[..2], &unset), None);
    }
}
