//! What `--version` prints.

/// `git describe` of the sources, where the build script could ask git.
const GIT_DESCRIBE: Option<&str> = option_env!("TLSIGHT_GIT_DESCRIBE");

/// The package version, and `git describe` where known.
pub(super) fn short() -> String {
    match GIT_DESCRIBE {
        Some(git) => format!("{} ({git})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The same, with the version of the interface to the kernel programs, for `--version` in full.
pub(super) fn long() -> String {
    format!("{}\nkernel program interface (ABI): {}", short(), agent_common::ABI_VERSION)
}
