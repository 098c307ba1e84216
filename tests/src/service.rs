//! `tlsight agent` under test: the long-running mode, with its endpoint on a port that was free.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::agent::binary;
use crate::child::{Child, Ended, command};
use crate::host::pause;
use crate::tools::scratch_dir;

const LIMIT: Duration = Duration::from_secs(60);

/// A running `tlsight agent`.
pub struct Service {
    /// The process.
    pub child: Child,
    /// Scheme, address and port of its endpoint: `http://127.0.0.1:40001`.
    pub url: String,
    /// Where its files are; `tlsight.yaml` is its configuration.
    pub folder: PathBuf,
    /// The Unix socket on which it answers.
    pub socket: PathBuf,
}

/// An answer of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code; 0 where there was no answer.
    pub status: u16,
    /// Content type.
    pub content_type: String,
    /// The body.
    pub body: String,
}

impl Service {
    /// Starts it with a configuration in a folder of its own, and waits until it watches.
    pub fn start(name: &str, configuration: &str) -> Service {
        Self::start_in(&scratch_dir(name), configuration, |_| {})
    }

    /// The same, in a folder that is there, and with more arguments or environment.
    pub fn start_in(folder: &Path, configuration: &str, more: impl FnOnce(&mut Command)) -> Service {
        let file = folder.join("tlsight.yaml");
        std::fs::write(&file, configuration).expect("write the configuration");
        let socket = folder.join("tlsight.sock");
        let mut cmd = command(binary(), ["agent", "--config"]);
        cmd.arg(&file).arg("--socket").arg(&socket).args(["--metrics-listen", "127.0.0.1:0"]);
        more(&mut cmd);
        let child = Child::spawn(cmd);
        let line = child.wait_for_line("metrics at ", LIMIT);
        let url = line.split("metrics at ").nth(1).and_then(|url| url.strip_suffix("/metrics"));
        let url = url.expect("an address").to_owned();
        child.wait_for_line("tlsight: watching", LIMIT);
        Service { child, url, folder: folder.to_owned(), socket }
    }

    /// Asks the endpoint, with curl.
    pub fn get(&self, path: &str, arguments: &[&str]) -> Answer {
        let mut cmd = command("curl", ["--silent", "--noproxy", "*", "--max-time", "20"]);
        cmd.args(["--write-out", "\n%{http_code} %{content_type}"]).args(arguments);
        let text = Child::spawn(cmd.arg_url(&format!("{}{path}", self.url))).finish(LIMIT).text;
        let (body, last) = text.rsplit_once('\n').unwrap_or(("", &text));
        let (status, content_type) = last.split_once(' ').unwrap_or((last, ""));
        Answer {
            status: status.parse().unwrap_or_default(),
            content_type: content_type.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Writes one of its files, in one step.
    pub fn write(&self, name: &str, text: &str) {
        let next = self.folder.join(format!("{name}.next"));
        let mut file = std::fs::File::create(&next).expect("create");
        file.write_all(text.as_bytes()).expect("write");
        std::fs::rename(next, self.folder.join(name)).expect("rename");
    }

    /// Tells it to read its settings anew, and gives what it said of it.
    pub fn reload(&self) -> String {
        let before = self.reloads();
        self.child.signal(libc::SIGHUP);
        self.wait_for_reload(before)
    }

    /// How often it read settings anew so far, or tried to.
    pub fn reloads(&self) -> usize {
        self.child.text().lines().filter(|line| is_about_reload(line)).count()
    }

    /// What it said of the reload after so many.
    pub fn wait_for_reload(&self, before: usize) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let text = self.child.text();
            if let Some(line) = text.lines().filter(|line| is_about_reload(line)).nth(before) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline && self.child.is_running(), "no reload in:\n{text}");
            pause(Duration::from_millis(20));
        }
    }

    /// Stops it as systemd and Kubernetes do, and waits for its end.
    pub fn stop(&self) -> Ended {
        self.child.signal(libc::SIGTERM);
        self.child.finish(LIMIT)
    }
}

fn is_about_reload(line: &str) -> bool {
    line.contains("settings read anew") || line.contains("settings stay as they were")
}

trait ArgUrl {
    fn arg_url(self, url: &str) -> Command;
}

impl ArgUrl for Command {
    fn arg_url(mut self, url: &str) -> Command {
        self.arg(url);
        self
    }
}
