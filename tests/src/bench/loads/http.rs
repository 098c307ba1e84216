//! Small HTTP requests over connections that stay, answered by nginx.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{AtWork, Done, Kind, Load, OTHERS};
use crate::bench::beside::two_numbers;
use crate::bench::peer;
use crate::child::{Child, command};
use crate::host::{free_port, wait_until_listening};
use crate::tools;

pub(super) const LOAD: Load = Load {
    name: "HTTP keep-alive, 4 connections to nginx",
    unit: "requests/s",
    scale: 1.0,
    kind: Kind::Plain,
    budget: Some((">= 0.97", 0.97)),
    compared: OTHERS,
    start,
};

/// nginx in plaintext.
pub(in crate::bench) fn nginx(port: u16) -> Result<Child> {
    let dir = tools::scratch_dir("plain-nginx");
    let shown = dir.display();
    let conf = format!(
        "daemon off;\nworker_processes 1;\nworker_rlimit_nofile 19000;\npid {shown}/pid;\nerror_log stderr;\n\
         events {{ worker_connections 15000; }}\nhttp {{\naccess_log off;\nkeepalive_requests 1000000000;\n\
         client_header_timeout 600s;\nclient_body_temp_path {shown}/b;\nproxy_temp_path {shown}/p;\n\
         fastcgi_temp_path {shown}/f;\nuwsgi_temp_path {shown}/u;\nscgi_temp_path {shown}/s;\n\
         server {{ listen 0.0.0.0:{port} backlog=4096; return 200 \"hello\\n\"; }}\n}}\n"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, conf)?;
    let mut cmd = command("nginx", ["-e", "stderr", "-p"]);
    cmd.arg(&dir).arg("-c").arg(&file);
    let child = Child::spawn(cmd);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    if !wait_until_listening(at, Duration::from_secs(20), || child.is_running()) {
        bail!("nginx does not listen: {}", child.text());
    }
    Ok(child)
}

struct Http {
    _server: Child,
    at: SocketAddr,
}

fn start() -> Result<Box<dyn AtWork>> {
    let port = free_port();
    Ok(Box::new(Http { _server: nginx(port)?, at: SocketAddr::from(([127, 0, 0, 1], port)) }))
}

impl AtWork for Http {
    fn run(&mut self, seconds: f64) -> Result<Done> {
        let cmd = peer::command(&["http", &self.at.to_string(), &seconds.to_string(), "4"]);
        let limit = Duration::from_secs_f64(seconds * 3.0 + 30.0);
        let (work, seconds) = two_numbers(&Child::spawn(cmd).finish(limit).text)?;
        Ok(Done { work, seconds })
    }
}
