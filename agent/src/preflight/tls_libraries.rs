//! Whose certificates in TLS 1.3 can be seen on this host, and whose cannot, and why.

use std::collections::BTreeMap;

use agent_core::event::TlsLibrary;
use serde::Serialize;

use super::{Check, Probes, to_get_rights};
use crate::discovery::{self, Survey};
use crate::libraries::{Contents, Unprobed};
use crate::source::live::existing;

/// Files named in the table; JSON names them all.
const SHOWN: usize = 3;
/// What is lost of a process whose library cannot be probed.
const LOST: &str =
    "certificates in TLS 1.3 of these processes; everything else about their connections is seen";

/// What to do where they could be probed, and the kernel takes no probes at all.
const REFUSED: &str = "see to probes in TLS libraries, above";

/// The same of a file of which it is not known whether it holds one.
const LOST_PERHAPS: &str = "if they hold a TLS library: certificates in TLS 1.3 of these processes; everything else about \
                            their connections is seen";

/// A file with a TLS library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Library {
    /// Its path as a process that maps it sees it.
    path: String,
    /// Processes that map it now.
    processes: usize,
    /// One of them.
    pid: u32,
}

/// Follows and looks at all processes once, with nothing attached.
pub(super) fn checks(probes: Probes) -> Vec<Check> {
    let survey = discovery::survey(&existing::tcp_processes());
    let mut checks = vec![events(&survey)];
    checks.extend(libraries(&survey, probes));
    checks
}

fn events(survey: &Survey) -> Check {
    let name = "process events";
    let Some(cause) = &survey.events else { return Check::ok(name, "perf events") };
    let lost = "certificates in TLS 1.3 of the first second of a program that nobody ran before, and of programs that \
                run for less: processes are listed every second instead";
    degraded(name, cause.clone(), lost, Some(to_get_rights("run as root, or with CAP_PERFMON")))
}

fn libraries(survey: &Survey, probes: Probes) -> Vec<Check> {
    let mut probed: BTreeMap<&'static str, Vec<Library>> = BTreeMap::new();
    let mut unprobed: BTreeMap<Unprobed, Vec<Library>> = BTreeMap::new();
    for file in &survey.files {
        let library =
            Library { path: file.path.display().to_string(), processes: file.processes, pid: file.pid };
        match &*file.contents {
            Contents::Probes(libraries) => {
                for (which, _) in libraries {
                    probed.entry(name_of(*which)).or_default().push(library.clone());
                }
            }
            Contents::Unprobed(reason) => unprobed.entry(*reason).or_default().push(library),
            Contents::NoTls => {}
        }
    }
    for named in &survey.named {
        let library = Library { path: named.path.display().to_string(), processes: 1, pid: named.pid };
        unprobed.entry(named.reason).or_default().push(library);
    }
    let mut checks: Vec<Check> = probed
        .into_iter()
        .map(|(name, files)| {
            let found = found(&files);
            let check = match probes {
                Probes::Refused => degraded(name, found, LOST, Some(REFUSED)),
                Probes::Taken | Probes::NotTried => Check::ok(name, found),
            };
            Check { files, ..check }
        })
        .collect();
    checks.extend(unprobed.into_iter().map(|(reason, files)| {
        let (name, fix) = explain(reason);
        let lost = if reason == Unprobed::TooLargeToInspect { LOST_PERHAPS } else { LOST };
        Check { files: files.clone(), ..degraded(name, found(&files), lost, fix) }
    }));
    if checks.is_empty() {
        checks.push(Check::ok("TLS libraries", "no process uses one that is known here"));
    }
    if survey.hidden > 0 {
        let found = format!("processes hidden from tlsight: {}", survey.hidden);
        let fix = to_get_rights(
            "run as root: sudo tlsight check (some hosts hide their own processes from root too)",
        );
        checks.push(degraded(
            "other processes",
            found,
            "certificates in TLS 1.3 of these processes",
            Some(fix),
        ));
    }
    checks
}

fn degraded(name: &str, found: String, lost: &str, fix: Option<&str>) -> Check {
    Check::degraded(name, found, lost, fix.map(str::to_owned))
}

/// `3 processes: /usr/lib/libssl.so.3 (2), /usr/bin/node (1)`
fn found(files: &[Library]) -> String {
    let mut files: Vec<&Library> = files.iter().collect();
    files.sort_by_key(|f| std::cmp::Reverse(f.processes));
    let processes: usize = files.iter().map(|f| f.processes).sum();
    let shown: Vec<String> =
        files.iter().take(SHOWN).map(|f| format!("{} ({})", f.path, f.processes)).collect();
    let more = match files.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let unit = if processes == 1 { "process" } else { "processes" };
    format!("{processes} {unit}: {}{more}", shown.join(", "))
}

fn name_of(library: TlsLibrary) -> &'static str {
    match library {
        TlsLibrary::OpenSsl => "TLS by OpenSSL",
        TlsLibrary::GnuTls => "TLS by GnuTLS",
        TlsLibrary::Go => "TLS by Go",
    }
}

/// What it is called, and what can be done about it.
fn explain(reason: Unprobed) -> (&'static str, Option<&'static str>) {
    const REPORT: Option<&str> = Some("tell us: the file, where it comes from, its version");
    match reason {
        Unprobed::BoringSsl => ("TLS by BoringSSL", None),
        Unprobed::Java => ("TLS by Java", None),
        Unprobed::Nss => ("TLS by NSS", None),
        Unprobed::MbedTls => ("TLS by mbed TLS", None),
        Unprobed::WolfSsl => ("TLS by wolfSSL", None),
        Unprobed::Rustls => ("TLS by rustls", None),
        Unprobed::OpenSslWithoutSymbols => (
            "TLS by OpenSSL, stripped",
            Some("use builds of these programs that keep their symbols, or that share libssl"),
        ),
        Unprobed::OpenSslUnknownLayout => ("TLS by OpenSSL, not understood", REPORT),
        Unprobed::GnuTlsUnknownLayout => ("TLS by GnuTLS, not understood", REPORT),
        Unprobed::GoTooOld => ("TLS by Go, too old", Some("build these programs with Go 1.18 or later")),
        Unprobed::GoUnknownLayout => ("TLS by Go, not understood", REPORT),
        Unprobed::ForeignArchitecture => ("TLS, other processor", None),
        Unprobed::TooLargeToInspect => (
            "files too large to look through",
            Some("use builds of these programs with less debug information, or tell us: the file, its size"),
        ),
        Unprobed::Unreadable => ("TLS, unreadable file", None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Outcome;
    use super::*;
    use crate::discovery::{FileStatus, Named};
    use crate::exit::Exit;
    use crate::libraries::{ProbeKind, ProbePoint};

    fn file(path: &str, processes: usize, contents: Contents) -> FileStatus {
        let contents = Arc::new(contents);
        FileStatus { path: path.into(), pid: 7, processes, contents, not_attached: None }
    }

    fn openssl() -> Contents {
        let point = ProbePoint { kind: ProbeKind::OpenSslCertificate, offset: 1 };
        Contents::Probes(vec![(TlsLibrary::OpenSsl, vec![point])])
    }

    #[test]
    fn tells_by_library_who_is_seen_and_who_is_not() {
        let survey = Survey {
            files: vec![
                file("/usr/bin/node", 1, openssl()),
                file("/usr/lib/libssl.so.3", 5, openssl()),
                file("/usr/lib/jvm/libjvm.so", 2, Contents::Unprobed(Unprobed::Java)),
                file("/opt/browser", 4, Contents::Unprobed(Unprobed::TooLargeToInspect)),
            ],
            named: vec![Named { path: "/usr/bin/envoy".into(), pid: 9, reason: Unprobed::BoringSsl }],
            hidden: 3,
            events: None,
        };
        let told: Vec<(String, Outcome, String)> =
            libraries(&survey, Probes::Taken).into_iter().map(|c| (c.name, c.outcome, c.found)).collect();
        let line = |name: &str, outcome, found: &str| (name.to_owned(), outcome, found.to_owned());
        let expected = [
            line("TLS by OpenSSL", Outcome::Ok, "6 processes: /usr/lib/libssl.so.3 (5), /usr/bin/node (1)"),
            line("TLS by BoringSSL", Outcome::Degraded, "1 process: /usr/bin/envoy (1)"),
            line("TLS by Java", Outcome::Degraded, "2 processes: /usr/lib/jvm/libjvm.so (2)"),
            line("files too large to look through", Outcome::Degraded, "4 processes: /opt/browser (4)"),
            line("other processes", Outcome::Degraded, "processes hidden from tlsight: 3"),
        ];
        assert_eq!(told, expected);
        let lost: Vec<Option<String>> =
            libraries(&survey, Probes::Taken).into_iter().map(|check| check.lost).collect();
        assert!(
            lost[3].as_deref().is_some_and(|lost| lost.starts_with("if they hold a TLS library:")),
            "{lost:?}"
        );
    }

    #[test]
    fn a_library_is_not_seen_where_the_kernel_takes_no_probes() {
        let survey = Survey {
            files: vec![file("/usr/lib/libssl.so.3", 5, openssl())],
            named: vec![],
            hidden: 0,
            events: None,
        };
        let told = |probes| {
            let check = libraries(&survey, probes).remove(0);
            (check.outcome, check.lost.is_some(), check.fix, check.files.len())
        };
        assert_eq!(told(Probes::Refused), (Outcome::Degraded, true, Some(REFUSED.to_owned()), 1));
        assert_eq!(told(Probes::Taken), (Outcome::Ok, false, None, 1));
    }

    #[test]
    fn json_names_every_file() {
        let survey = Survey {
            files: (0..5).map(|n| file(&format!("/lib{n}"), 1, openssl())).collect(),
            named: vec![],
            hidden: 0,
            events: None,
        };
        let checks = libraries(&survey, Probes::NotTried);
        assert_eq!(checks[0].found, "5 processes: /lib0 (1), /lib1 (1), /lib2 (1) and 2 more");
        let json = serde_json::to_value(&checks[0]).expect("JSON");
        assert_eq!(json["files"].as_array().map(Vec::len), Some(5));
        assert_eq!(json["files"][4], serde_json::json!({"path": "/lib4", "processes": 1, "pid": 7}));
    }

    #[test]
    fn a_host_without_tls_says_so() {
        let survey = Survey { files: vec![], named: vec![], hidden: 0, events: Some("EACCES".to_owned()) };
        assert_eq!(libraries(&survey, Probes::Refused)[0].found, "no process uses one that is known here");
        assert_eq!((events(&survey).outcome, events(&survey).exit), (Outcome::Degraded, Exit::Ok));
    }
}
