//! Names that somebody on the wire made up to be obeyed by a terminal, or to be taken for something else: through every output
//! that people look at.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tlsight_tests::agent::binary;
use tlsight_tests::child::{Child, command, output};
use tlsight_tests::host::{case_address, free_port, pause, wait_until_listening};
use tlsight_tests::run::case;
use tlsight_tests::service::Service;
use tlsight_tests::tools::scratch_dir;

const LIMIT: Duration = Duration::from_secs(60);
/// Clears the screen, begins a line of its own, turns text around, is Markdown and HTML.
const COMMON_NAME: &str = "evil\u{1b}[2J\r\n\u{202e}|<b>[x](y).test";
/// The same as a distinguished name (RFC 4514 section 2.4), to be looked at.
const SHOWN: &str = r"CN=evil\1B[2J\0D\0A\u{202e}|\<b\>[x](y).test";
/// With letters of Markdown and HTML taken for what they are.
const IN_MARKDOWN: &str = r"CN=evil\\1B\[2J\\0D\\0A\\u{202e}\|\\&lt;b\\&gt;\[x\](y).test";
/// Of a server name nothing but visible letters of ASCII is taken.
const SERVER_NAME: &str = "a|<b>[x](y).test";

/// Adds the cases.
pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(case("hostile::names_from_the_wire_are_shown_and_not_obeyed", names));
}

fn names() {
    let folder = scratch_dir("hostile");
    let audit_log = folder.join("audit.log");
    let quiet = "tls13: {certificates: off}\ntrust: {system_roots: off}\n";
    let service =
        Service::start_in(&folder, &format!("{quiet}audit: {{log: {}}}\n", audit_log.display()), |_| {});
    let at = SocketAddr::from((case_address(), free_port()));
    let mut watch = Command::new(binary());
    watch.args(["watch", "--no-existing", "--tls13-certificates", "off", "--port", &at.port().to_string()]);
    let watch = Child::spawn(watch);
    watch.wait_for_line("tlsight: watching", LIMIT);

    // Client and server show the same certificate, readable on the wire.
    let mut make =
        command("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    make.args(["-nodes", "-days", "9", "-utf8", "-keyout", "evil.key", "-out", "evil.pem"])
        .current_dir(&folder);
    make.arg("-subj").arg(format!("/CN={COMMON_NAME}"));
    output(make);
    let mut server = command("openssl", ["s_server", "-tls1_2", "-Verify", "1", "-quiet", "-accept"]);
    server.arg(at.port().to_string()).args(["-cert", "evil.pem", "-key", "evil.key"]).current_dir(&folder);
    let server = Child::spawn_with_input(server, Some(Vec::new()), |_| None);
    assert!(wait_until_listening(at, LIMIT, || server.is_running()), "{}", server.text());
    let mut client =
        command("openssl", ["s_client", "-connect", &at.to_string(), "-servername", SERVER_NAME]);
    client.args(["-cert", "evil.pem", "-key", "evil.key"]).current_dir(&folder);
    Child::spawn(client).finish(LIMIT);

    let in_metrics = SHOWN.replace('\\', r"\\");
    let metrics = wait_for(&in_metrics, || service.get("/metrics", &[]).body);
    let audit = wait_for(r"\u202e", || fs::read_to_string(&audit_log).unwrap_or_default());
    let table = wait_for(SHOWN, || watch.text());
    let asked = |arguments: &[&str]| {
        let mut cmd = Command::new(binary());
        cmd.args(arguments).arg("--socket").arg(&service.socket);
        output(cmd)
    };
    let report = asked(&["report"]);
    let markdown = asked(&["report", "-o", "markdown"]);
    // The list of certificates, wide enough for whole names.
    let top = asked(&["top", "--snapshot", "400x60", "--color", "never", "--keys", "2"]);
    for (text, what) in [(&report, SHOWN), (&markdown, IN_MARKDOWN), (&top, SHOWN)] {
        assert!(text.contains(what), "no {what} in:\n{text}");
    }
    for text in [&table, &metrics, &audit, &report, &markdown, &top, &service.child.text()] {
        assert!(!text.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
    }
    assert!(service.stop().status.success(), "{}", service.child.text());
    watch.signal(libc::SIGINT);
    assert!(watch.finish(LIMIT).status.success(), "{}", watch.text());
}

fn wait_for(what: &str, mut text: impl FnMut() -> String) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let text = text();
        if text.contains(what) {
            return text;
        }
        assert!(Instant::now() < deadline, "no {what} in:\n{text}");
        pause(Duration::from_millis(50));
    }
}
