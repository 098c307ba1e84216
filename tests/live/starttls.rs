//! Protocols that begin in plaintext and may go on in TLS: PostgreSQL, MariaDB, SMTP; and Redis, which has a port for each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use libtest_mimic::Trial;
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::expect::{Expect, Owner};
use tlsight_tests::host::{case_address, free_port, wait_until_listening};
use tlsight_tests::peers::{Said, Version, iana_cipher};
use tlsight_tests::pki::{Identity, pki};
use tlsight_tests::run::case;
use tlsight_tests::tools::{peer_source, scratch_dir, venv};
use tlsight_tests::verdict::check;

const LIMIT: Duration = Duration::from_secs(40);

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("starttls::postgresql_without_tls", || postgres_plain("disable", false)));
    trials.push(case("starttls::postgresql_refuses_tls", || postgres_plain("prefer", true)));
    trials.push(case("starttls::mariadb_without_tls", mariadb_plain));
    trials.push(case("starttls::smtp_without_tls", smtp_plain));
    trials.push(case("starttls::smtp_python_client", smtp_python));
    for version in [Version::Tls12, Version::Tls13] {
        let name = |what: &str| format!("starttls::{what}_{version:?}").to_lowercase();
        trials.push(case(name("postgresql_declines"), move || postgres_tls(version, None)));
        trials.push(case(name("postgresql_sends"), move || postgres_tls(version, Some(&pki().client))));
        trials.push(case(name("mariadb"), move || mariadb_tls(version, None)));
        trials.push(case(name("mariadb_sends"), move || mariadb_tls(version, Some(&pki().client))));
        trials.push(case(name("smtp_s_client"), move || smtp_s_client(version)));
        trials.push(case(name("smtp_curl"), move || smtp_curl(version)));
        trials.push(case(name("redis_not_asked"), move || redis_tls(version, "no", None)));
        trials.push(case(name("redis_declines"), move || redis_tls(version, "optional", None)));
        trials.push(case(name("redis_sends"), move || redis_tls(version, "yes", Some(&pki().client))));
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((case_address(), port))
}

fn listening(child: &Child, port: u16) {
    let up = wait_until_listening(([127, 0, 0, 1], port).into(), LIMIT, || child.is_running());
    assert!(up, "{child:?} does not listen; it said:\n{}", child.text());
}

/// A copy of a certificate and key that a server running as `user` may read and nobody else.
fn copy_for(user: &str, identity: &Identity, dir: &Path) -> (PathBuf, PathBuf) {
    let (cert, key) = (dir.join("server.pem"), dir.join("server.key"));
    std::fs::copy(&identity.cert, &cert).unwrap();
    std::fs::copy(&identity.key, &key).unwrap();
    output(command("chmod", ["600".as_ref(), key.as_os_str()]));
    output(command("chown", ["-R".as_ref(), user.as_ref(), dir.as_os_str()]));
    (cert, key)
}

/// `command` as another user.
fn as_user(user: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut cmd = command("setpriv", [format!("--reuid={user}"), format!("--regid={user}")]);
    cmd.args(["--init-groups", "--pdeathsig", "KILL", "--"]).arg(program);
    cmd
}

struct Database {
    port: u16,
    _server: Child,
}

/// The directory of PostgreSQL's server programs, which Debian keeps out of `PATH`.
fn postgres_bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let newest = versions.flatten().map(|d| d.path().join("bin")).filter(|p| p.join("initdb").exists()).max();
    newest.expect("PostgreSQL's server programs")
}

fn start_postgres(tls: bool) -> Database {
    let dir = scratch_dir("postgres");
    let (cert, key) = copy_for("postgres", &pki().server_rsa, &dir);
    let data = dir.join("data");
    let bin = postgres_bin();
    let mut initdb = as_user("postgres", bin.join("initdb"));
    initdb.args(["--auth=trust", "--no-sync", "--no-instructions", "-D"]).arg(&data);
    output(initdb);
    let hba = "host all all 0.0.0.0/0 trust\n";
    std::fs::write(data.join("pg_hba.conf"), hba).unwrap();
    let port = free_port();
    let mut cmd = as_user("postgres", bin.join("postgres"));
    cmd.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=*", "-c", "fsync=off"]);
    cmd.arg("-c").arg(format!("unix_socket_directories={}", dir.display()));
    if tls {
        cmd.args(["-c", "ssl=on", "-c"]).arg(format!("ssl_cert_file={}", cert.display()));
        cmd.arg("-c").arg(format!("ssl_key_file={}", key.display()));
        cmd.arg("-c").arg(format!("ssl_ca_file={}", pki().ca.display()));
    }
    let server = Child::spawn(cmd);
    server.wait_for_line("database system is ready to accept connections", LIMIT);
    Database { port, _server: server }
}

fn psql(at: SocketAddr, options: &str) -> Child {
    let connection = format!(
        "host={} port={} user=postgres dbname=postgres gssencmode=disable {options}",
        at.ip(),
        at.port()
    );
    // Debian's psql is a Perl script that picks a version.
    let mut cmd = command(postgres_bin().join("psql"), ["-X", "-At", "-c", QUERY, &connection]);
    cmd.env("PGSSLCERT", "/nonexistent").env("PGSSLKEY", "/nonexistent");
    let child = Child::spawn(cmd);
    let ended = child.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
    child
}

const QUERY: &str =
    "select ssl, coalesce(version,'-'), coalesce(cipher,'-') from pg_stat_ssl where pid = pg_backend_pid()";

static POSTGRES_WITH_TLS: LazyLock<Database> = LazyLock::new(|| start_postgres(true));
static POSTGRES_WITHOUT_TLS: LazyLock<Database> = LazyLock::new(|| start_postgres(false));

fn postgres_plain(sslmode: &str, refused: bool) {
    let at = address(if refused { &POSTGRES_WITHOUT_TLS } else { &POSTGRES_WITH_TLS }.port);
    let client = psql(at, &format!("sslmode={sslmode}"));
    assert!(client.text().starts_with("f|"), "{}", client.text());
    check(
        at,
        &Expect {
            starttls: Some(if refused { "refused" } else { "not_used" }),
            client: Owner::from(&client),
            server: Owner::Executable("postgres".to_owned()),
            ..Expect::plaintext(Some("postgresql"))
        },
    );
}

fn postgres_tls(version: Version, identity: Option<&'static Identity>) {
    let at = address(POSTGRES_WITH_TLS.port);
    let v = version.as_str();
    let mut options = format!(
        "sslmode=verify-ca sslrootcert={} ssl_min_protocol_version=TLSv{v} ssl_max_protocol_version=TLSv{v}",
        pki().ca.display()
    );
    if let Some(i) = identity {
        output(command("chmod", ["600".as_ref(), i.key.as_os_str()]));
        options.push_str(&format!(" sslcert={} sslkey={}", i.cert.display(), i.key.display()));
    }
    let client = psql(at, &options);
    let text = client.text();
    let fields: Vec<&str> = text.trim().split('|').collect();
    assert_eq!(fields[..2], ["t", &format!("TLSv{v}")], "{text}");
    let said = Said { cipher: Some(iana_cipher(fields[2])), ..Said::default() };
    // Asked for because the server knows a root for clients. libpq before 14 sends no SNI for an address.
    let certificate = if identity.is_some() { "sent" } else { "declined" };
    let mut expect = upgraded(version, certificate, &said, "postgresql", 2);
    expect.client = Owner::from(&client);
    expect.server = Owner::Executable("postgres".to_owned());
    if let Some(identity) = identity {
        expect.add_client_chain(true, identity, 2);
    }
    // PostgreSQL prefers P-256 (ssl_ecdh_curve).
    expect.tls().group = Some("secp256r1".to_owned());
    if version == Version::Tls13 {
        expect.tls().more.push(("tlsight.hello_retry_request", serde_json::json!(true)));
    }
    check(at, &expect);
}

/// TLS after an upgrade from `protocol`, without SNI, with an RSA server.
fn upgraded<'a>(
    version: Version,
    client_certificate: &'static str,
    said: &Said,
    protocol: &'static str,
    server_chain_length: usize,
) -> Expect<'a> {
    let mut expect = Expect::handshake(version, client_certificate);
    expect.protocol = Some(protocol);
    expect.starttls = Some("upgraded");
    let tls = expect.tls();
    tls.cipher.clone_from(&said.cipher);
    tls.group = said.group.clone().or_else(|| Some("x25519".to_owned()));
    // All of these clients are built on OpenSSL.
    expect.add_server_chain(true, &pki().server_rsa, server_chain_length);
    expect
}

static MARIADB: LazyLock<Database> = LazyLock::new(|| {
    let dir = scratch_dir("mariadb");
    let (cert, key) = copy_for("mysql", &pki().server_rsa, &dir);
    let data = dir.join("data");
    let mut install = command("mariadb-install-db", ["--no-defaults", "--user=mysql", "--skip-test-db"]);
    install.arg("--auth-root-authentication-method=normal").arg(format!("--datadir={}", data.display()));
    // As the server's user, who need not be able to write where this test's temporary files are.
    let temporary = dir.join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    output(command("chown", ["-R".as_ref(), "mysql".as_ref(), dir.as_os_str()]));
    install.env("TMPDIR", &temporary);
    output(install);
    let init = dir.join("init.sql");
    std::fs::write(&init, "create user shop@'%';\ngrant all on *.* to shop@'%';\n").unwrap();
    output(command("chown", ["-R".as_ref(), "mysql".as_ref(), dir.as_os_str()]));
    let port = free_port();
    let mut cmd = as_user("mysql", "/usr/sbin/mariadbd");
    cmd.env("TMPDIR", &temporary);
    cmd.args([
        "--no-defaults",
        "--bind-address=0.0.0.0",
        "--skip-name-resolve",
        "--innodb-flush-method=nosync",
    ]);
    for (option, value) in [("datadir", &data), ("ssl-cert", &cert), ("ssl-key", &key), ("ssl-ca", &pki().ca)]
    {
        cmd.arg(format!("--{option}={}", value.display()));
    }
    cmd.arg(format!("--port={port}")).arg(format!("--socket={}", dir.join("sock").display()));
    cmd.arg(format!("--init-file={}", init.display()))
        .arg(format!("--pid-file={}", dir.join("pid").display()));
    let server = Child::spawn(cmd);
    server.wait_for_line("ready for connections", LIMIT);
    Database { port, _server: server }
});

fn mariadb(at: SocketAddr, options: &[String]) -> Child {
    let mut cmd =
        command("/usr/bin/mariadb", ["--no-defaults", "--user=shop", "--batch", "--skip-column-names"]);
    cmd.arg(format!("--host={}", at.ip())).arg(format!("--port={}", at.port())).args(options);
    cmd.args(["-e", "show status where variable_name in ('Ssl_version', 'Ssl_cipher')"]);
    let child = Child::spawn(cmd);
    let ended = child.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
    child
}

fn mariadb_plain() {
    let at = address(MARIADB.port);
    let client = mariadb(at, &["--skip-ssl".to_owned()]);
    check(
        at,
        &Expect {
            starttls: Some("not_used"),
            client: Owner::from(&client),
            server: Owner::Executable("mariadbd".to_owned()),
            ..Expect::plaintext(Some("mysql"))
        },
    );
}

fn mariadb_tls(version: Version, identity: Option<&'static Identity>) {
    let at = address(MARIADB.port);
    let v = version.as_str();
    let mut options = vec![
        "--ssl".to_owned(),
        format!("--ssl-ca={}", pki().ca.display()),
        format!("--tls-version=TLSv{v}"),
    ];
    if let Some(i) = identity {
        options.push(format!("--ssl-cert={}", i.cert.display()));
        options.push(format!("--ssl-key={}", i.key.display()));
    }
    let client = mariadb(at, &options);
    let text = client.text();
    assert!(text.contains(&format!("TLSv{v}")), "{text}");
    let cipher = text.lines().find_map(|l| l.strip_prefix("Ssl_cipher\t")).expect("a cipher");
    let said = Said { cipher: Some(iana_cipher(cipher)), ..Said::default() };
    let certificate = if identity.is_some() { "sent" } else { "declined" };
    let mut expect = upgraded(version, certificate, &said, "mysql", 2);
    expect.client = Owner::from(&client);
    expect.server = Owner::Executable("mariadbd".to_owned());
    if let Some(identity) = identity {
        expect.add_client_chain(true, identity, 2);
    }
    check(at, &expect);
}

static SMTP: LazyLock<Database> = LazyLock::new(|| {
    let port = free_port();
    let mut cmd = command(venv("aiosmtpd"), ["-n", "-l", &format!("0.0.0.0:{port}")]);
    cmd.arg("--tlscert")
        .arg(&pki().server_rsa.cert)
        .arg("--tlskey")
        .arg(&pki().server_rsa.key)
        .arg("--no-requiretls");
    let server = Child::spawn(cmd);
    listening(&server, port);
    Database { port, _server: server }
});

/// aiosmtpd is a Python program.
fn smtp_owner() -> Owner {
    Owner::from(&SMTP._server)
}

fn mail(at: SocketAddr, how: &str) -> Child {
    let mut cmd = command(venv("python3"), [peer_source("python/mail.py")]);
    cmd.args([&at.ip().to_string(), &at.port().to_string(), how]).arg(&pki().ca);
    let child = Child::spawn(cmd);
    let ended = child.finish(LIMIT);
    assert!(ended.text.contains("sent"), "{}", ended.text);
    child
}

fn smtp_plain() {
    let at = address(SMTP.port);
    let client = mail(at, "plain");
    check(
        at,
        &Expect {
            starttls: Some("not_used"),
            client: Owner::from(&client),
            server: smtp_owner(),
            ..Expect::plaintext(Some("smtp"))
        },
    );
}

fn smtp_python() {
    let at = address(SMTP.port);
    let client = mail(at, "starttls");
    let text = client.text();
    let cipher =
        text.split("version TLSv1.3 ").nth(1).and_then(|t| t.lines().next()).expect("what was agreed on");
    let said = Said { cipher: Some(iana_cipher(cipher)), ..Said::default() };
    let mut expect = upgraded(Version::Tls13, "not_requested", &said, "smtp", 1);
    // smtplib sends the address it was given as SNI, which RFC 6066 section 3 does not allow; OpenSSL leaves it out.
    expect.client = Owner::from(&client);
    expect.server = smtp_owner();
    check(at, &expect);
}

fn smtp_s_client(version: Version) {
    let at = address(SMTP.port);
    let v = if version == Version::Tls12 { "-tls1_2" } else { "-tls1_3" };
    let mut cmd =
        command("openssl", ["s_client", "-starttls", "smtp", "-ign_eof", v, "-connect", &at.to_string()]);
    cmd.args(["-servername", "mail.tlsight.test", "-CAfile"]).arg(&pki().ca);
    let client = Child::spawn_with_input(cmd, Some(b"EHLO client\r\nQUIT\r\n".to_vec()), |_| None);
    let ended = client.finish(LIMIT);
    let said = Said::from_s_client(&ended.text);
    assert_eq!(said.version.as_deref(), Some(version.as_str()), "{}", ended.text);
    let mut expect = upgraded(version, "not_requested", &said, "smtp", 1);
    expect.client = Owner::from(&client);
    expect.server = smtp_owner();
    expect.tls().server_name = Some("mail.tlsight.test");
    check(at, &expect);
}

fn smtp_curl(version: Version) {
    let at = address(SMTP.port);
    let v = version.as_str();
    let mut cmd = command(
        "curl",
        ["--verbose", "--silent", "--show-error", "--ssl-reqd", "--insecure", "--noproxy", "*"],
    );
    cmd.args(["--mail-from", "a@tlsight.test", "--mail-rcpt", "b@tlsight.test", "--upload-file", "-"]);
    cmd.args([&format!("--tlsv{v}"), "--tls-max", v, &format!("smtp://{at}/client.tlsight.test")]);
    let client = Child::spawn(cmd);
    let ended = client.finish(LIMIT);
    assert!(ended.status.success(), "{}", ended.text);
    let said = Said::from_curl(&ended.text);
    assert_eq!(said.version.as_deref(), Some(v), "{}", ended.text);
    let mut expect = upgraded(version, "not_requested", &said, "smtp", 1);
    expect.client = Owner::from(&client);
    expect.server = smtp_owner();
    check(at, &expect);
}

fn redis_tls(version: Version, auth_clients: &str, identity: Option<&'static Identity>) {
    let port = free_port();
    let v = version.as_str();
    let mut cmd = command(
        "redis-server",
        ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--port", "0"],
    );
    cmd.args(["--bind", "0.0.0.0", "--tls-port", &port.to_string(), "--tls-auth-clients", auth_clients]);
    cmd.args(["--tls-protocols", &format!("TLSv{v}"), "--dir"]).arg(scratch_dir("redis"));
    cmd.arg("--tls-cert-file").arg(&pki().server_rsa.cert).arg("--tls-key-file").arg(&pki().server_rsa.key);
    cmd.arg("--tls-ca-cert-file").arg(&pki().ca);
    let server = Child::spawn(cmd);
    listening(&server, port);
    let at = address(port);
    let mut cmd =
        command("redis-cli", ["-h", &at.ip().to_string(), "-p", &port.to_string(), "--tls", "--sni"]);
    cmd.arg(tlsight_tests::pki::SERVER_NAME).arg("--cacert").arg(&pki().ca);
    if let Some(i) = identity {
        cmd.arg("--cert").arg(&i.cert).arg("--key").arg(&i.key);
    }
    cmd.args(["SET", "cart", "7"]);
    let client = Child::spawn(cmd);
    let ended = client.finish(LIMIT);
    assert!(ended.text.contains("OK"), "{}", ended.text);
    let certificate = match (auth_clients, identity) {
        ("no", _) => "not_requested",
        (_, None) => "declined",
        (_, Some(_)) => "sent",
    };
    let cipher = match version {
        Version::Tls12 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Version::Tls13 => "TLS_AES_256_GCM_SHA384",
    };
    let said = Said { cipher: Some(cipher.to_owned()), ..Said::default() };
    let mut expect = upgraded(version, certificate, &said, "redis", 2);
    expect.protocol = None;
    expect.starttls = None;
    expect.client = Owner::from(&client);
    expect.server = Owner::from(&server);
    expect.tls().server_name = Some(tlsight_tests::pki::SERVER_NAME);
    // redis-cli loads its root into the context its certificate is in, so that OpenSSL sends it along.
    if let Some(identity) = identity {
        expect.add_client_chain(true, identity, 2);
    }
    check(at, &expect);
}
