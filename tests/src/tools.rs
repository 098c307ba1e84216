//! Where the peer programs are: installed ones, those of the tools directory, and those built here once.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::child::{command, output};

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository")
}

/// What `cargo xtask setup --tests` installs beside the system's packages: `target/tools`, or `TLSIGHT_TOOLS`.
pub fn tools() -> PathBuf {
    std::env::var_os("TLSIGHT_TOOLS").map_or_else(|| repository().join("target/tools"), PathBuf::from)
}

/// A program of the Python environment in the tools directory (`go`, `caddy`, `envoy`, `python3`, `aiosmtpd`).
pub fn venv(program: &str) -> PathBuf {
    let path = tools().join("venv/bin").join(program);
    assert!(path.exists(), "{} is missing: run `cargo xtask setup --tests`", path.display());
    path
}

/// Envoy itself, which its Python package starts through a wrapper.
pub fn envoy() -> PathBuf {
    let lib = tools().join("venv/lib");
    let found = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let found = found.map(|d| d.path().join("site-packages/envoy/_bin/envoy")).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("no envoy under {}: run `cargo xtask setup --tests`", lib.display()))
}

/// A source file of a peer program.
pub fn peer_source(name: &str) -> PathBuf {
    repository().join("tests/peers").join(name)
}

/// A scratch directory of this run, removed by the operating system's cleaning of its temporary directory at the
/// latest; world-readable, because database servers run as users of their own.
pub fn scratch() -> &'static Path {
    static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("tlsight-tests-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("make the scratch directory");
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).expect("open the scratch directory");
        dir
    });
    &DIR
}

/// A new directory in [`scratch`].
pub fn scratch_dir(name: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let dir = scratch().join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&dir).expect("make a directory in scratch");
    dir
}

/// The Go peer, built on first use.
pub fn go_peer() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let out = scratch().join("go-peer");
        build_go_peer(&out, &[], None);
        out
    });
    &BUILT
}

/// Builds the Go peer with the Go tool chain of the tools directory, offline; `flags` are those of `go build`.
pub fn build_go_peer(out: &Path, flags: &[&str], processor: Option<&str>) {
    build_go(&peer_source("go"), out, flags, processor);
}

/// The same with any Go program that needs nothing but the standard library.
pub fn build_go(source: &Path, out: &Path, flags: &[&str], processor: Option<&str>) {
    let mut go = command(venv("go"), ["build", "-o"]);
    go.arg(out).args(flags).arg(".").current_dir(source);
    go.env("GOCACHE", tools().join("gocache")).env("GOPATH", tools().join("gopath"));
    go.env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("CGO_ENABLED", "0");
    go.envs(processor.map(|processor| ("GOARCH", processor)));
    output(go);
}

/// The files of a Python package in the tools directory whose names begin with `start`.
pub fn python_files(package: &str, start: &str) -> Vec<PathBuf> {
    let lib = tools().join("venv/lib");
    let versions = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let dirs = versions.map(|version| version.path().join("site-packages").join(package));
    let files =
        dirs.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten().map(|file| file.path());
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    let found: Vec<PathBuf> = files.filter(named).collect();
    assert!(
        !found.is_empty(),
        "no {package}/{start}* under {}: run `cargo xtask setup --tests`",
        lib.display()
    );
    found
}

/// The directory of the compiled Java peer.
pub fn java_peer() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let out = scratch().join("java");
        let mut javac = command("javac", ["-d"]);
        javac.arg(&out).arg(peer_source("java/Peer.java"));
        output(javac);
        out
    });
    &BUILT
}

/// The rustls peer, a binary of this package.
pub fn rustls_peer() -> PathBuf {
    // Test binaries lie in `deps/` beside it. `CARGO_BIN_EXE_*` is known only to the test binaries themselves.
    let me = std::env::current_exe().expect("own path");
    let dir = me.parent().and_then(Path::parent).expect("target directory");
    dir.join("rustls-peer")
}
