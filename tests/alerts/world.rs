//! Agent, Prometheus, Alertmanager and webhook, shared by all cases.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tlsight_tests::agent::binary;
use tlsight_tests::child::{Child, command};
use tlsight_tests::host::{free_port, pause, wait_until_listening};
use tlsight_tests::tools::scratch_dir;

use crate::http::{get, query};
use crate::shortened;
use crate::webhook::{Alert, Status, Webhook};

/// From traffic to the webhook: one scrape, one evaluation, `for`, Alertmanager; much longer where the machine is busy.
pub(crate) const HEARD_WITHIN: Duration = Duration::from_secs(90);
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// How the agent is configured; a case may have it read another text.
const CONFIGURATION: &str = "
trust: {system_roots: off}
kubernetes: {enabled: off}
findings:
  ledger: {settle_minutes: 0, update_seconds: 1}
  mixed_security: {window_minutes: 1}
  plaintext_traffic: {without_policy: loopback}
";

/// Everything that runs.
pub(crate) struct World {
    agent: Mutex<Option<Child>>,
    pub(crate) agent_at: SocketAddr,
    pub(crate) webhook: Webhook,
    directory: PathBuf,
    prometheus: Child,
    prometheus_at: SocketAddr,
    alertmanager: Child,
    alertmanager_at: SocketAddr,
    policies: Mutex<String>,
}

static WORLD: OnceLock<World> = OnceLock::new();

/// The one world of this run; started by whoever needs it first.
pub(crate) fn world() -> &'static World {
    WORLD.get_or_init(World::start)
}

/// Whether the webhook was told.
pub(crate) fn heard(name: &str, severity: &str, status: Status) -> bool {
    let is_it = |alert: Alert| {
        alert.status == status && alert.label("alertname") == name && alert.label("severity") == severity
    };
    WORLD.get().is_some_and(|world| world.webhook.all().into_iter().any(is_it))
}

/// Ends everything, if it was started; the agent has to end well.
pub(crate) fn stop() -> Result<(), String> {
    let Some(world) = WORLD.get() else { return Ok(()) };
    world.prometheus.stop();
    world.alertmanager.stop();
    world.stop_agent()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl World {
    fn start() -> Self {
        let directory = scratch_dir("world");
        let [agent_at, prometheus_at, alertmanager_at] = [(); 3].map(|()| loopback(free_port()));
        let webhook = Webhook::start();
        std::fs::write(directory.join("alerts.yaml"), shortened::file()).expect("write");
        let alertmanager = Self::alertmanager(&directory, alertmanager_at, webhook.at);
        let configuration = prometheus_configuration(&[agent_at], alertmanager_at);
        std::fs::write(directory.join("prometheus.yml"), configuration).expect("write");
        let prometheus = Self::prometheus(&directory, prometheus_at);
        let world = World {
            agent: Mutex::default(),
            agent_at,
            webhook,
            directory,
            prometheus,
            prometheus_at,
            alertmanager,
            alertmanager_at,
            policies: Mutex::new(String::new()),
        };
        world.configure(CONFIGURATION);
        std::fs::write(world.directory.join("policy.yaml"), "").expect("write");
        world.start_agent();
        world
    }

    fn alertmanager(directory: &std::path::Path, at: SocketAddr, webhook: SocketAddr) -> Child {
        let configuration = directory.join("alertmanager.yml");
        let text = format!(
            "route: {{receiver: test, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers: [{{name: test, webhook_configs: [{{url: 'http://{webhook}/', send_resolved: true}}]}}]\n"
        );
        std::fs::write(&configuration, text).expect("write");
        let mut alertmanager = command("prometheus-alertmanager", ["--cluster.listen-address="]);
        alertmanager.arg(format!("--config.file={}", configuration.display()));
        alertmanager.arg(format!("--storage.path={}", directory.join("alertmanager").display()));
        listening(Child::spawn(with_address(alertmanager, at)), at)
    }

    fn prometheus(directory: &std::path::Path, at: SocketAddr) -> Child {
        let mut prometheus = command("prometheus", ["--log.level=warn"]);
        prometheus.arg(format!("--config.file={}", directory.join("prometheus.yml").display()));
        prometheus.arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()));
        let prometheus = listening(Child::spawn(with_address(prometheus, at)), at);
        wait_for(|| matches!(get(at, "/-/ready"), Some((200, _))), &prometheus);
        prometheus
    }

    /// Has Prometheus look for these agents.
    pub(crate) fn scrape(&self, agents: &[SocketAddr]) {
        let text = prometheus_configuration(agents, self.alertmanager_at);
        std::fs::write(self.directory.join("prometheus.yml"), text).expect("write");
        self.prometheus.signal(libc::SIGHUP);
    }

    /// Writes the agent's configuration. What it reads, it reads when it is told to.
    pub(crate) fn configure(&self, text: &str) {
        let whole = format!(
            "{text}\nagent: {{socket: {socket}, reload: off}}\nmetrics: {{listen: \"{listen}\"}}\npolicy: {{files: [{policy}]}}\n",
            socket = self.directory.join("tlsight.sock").display(),
            listen = self.agent_at,
            policy = self.directory.join("policy.yaml").display(),
        );
        std::fs::write(self.directory.join("tlsight.yaml"), whole).expect("write");
    }

    /// Runs `case` with an agent that has these settings besides, and has one as ever afterwards.
    pub(crate) fn with_settings(&self, more: &str, case: impl FnOnce()) {
        self.stop_agent().expect("it ends well");
        self.configure(&format!("{CONFIGURATION}{more}"));
        self.start_agent();
        case();
        self.stop_agent().expect("it ends well");
        self.configure_as_ever();
        self.start_agent();
    }

    /// As the other cases have it.
    pub(crate) fn configure_as_ever(&self) {
        self.configure(CONFIGURATION);
    }

    /// Expects `mode` of connections to an address, from when this returns.
    pub(crate) fn expect(&self, address: Ipv4Addr, mode: &str) {
        let mut policies = self.policies.lock().unwrap();
        let done = self.counter("reload.done");
        write!(
            policies,
            "---\napiVersion: tlsight.dev/v1alpha1\nkind: TlsightPolicy\nmetadata: {{name: \"at-{address}\"}}\n\
             spec: {{selector: {{addresses: [\"{address}\"]}}, expect: {mode}}}\n"
        )
        .expect("a string takes all");
        std::fs::write(self.directory.join("policy.yaml"), &*policies).expect("write");
        self.signal_agent(libc::SIGHUP);
        let agent = self.agent.lock().unwrap();
        wait_for(|| self.counter("reload.done") > done, agent.as_ref().expect("it runs"));
    }

    pub(crate) fn signal_agent(&self, signal: i32) {
        self.agent.lock().unwrap().as_ref().expect("it runs").signal(signal);
    }

    /// One of the agent's counters, as it answers a scrape.
    fn counter(&self, name: &str) -> u64 {
        let line = format!("tlsight_agent_events_total{{name=\"{name}\"}} ");
        let (_, body) = get(self.agent_at, "/metrics").expect("the agent answers");
        let value = body.lines().find_map(|text| text.strip_prefix(&line));
        value.unwrap_or_else(|| panic!("no {line} in:\n{body}")).trim().parse().expect("a number")
    }

    /// Starts the agent, and waits until it sees every new connection.
    pub(crate) fn start_agent(&self) {
        let mut cmd = command("nice", ["-n", "-10"]);
        cmd.arg(binary()).args(["agent", "--config"]).arg(self.directory.join("tlsight.yaml"));
        let agent = Child::spawn(cmd);
        wait_for(|| matches!(get(self.agent_at, "/readyz"), Some((200, _))), &agent);
        *self.agent.lock().unwrap() = Some(agent);
    }

    /// Ends it as systemd does.
    pub(crate) fn stop_agent(&self) -> Result<(), String> {
        let Some(agent) = self.agent.lock().unwrap().take() else { return Ok(()) };
        agent.signal(libc::SIGTERM);
        let ended = agent.finish(STARTED_WITHIN);
        let well = ended.status.success() && !ended.text.contains("panicked");
        if well { Ok(()) } else { Err(format!("the agent ended with {}:\n{}", ended.status, ended.text)) }
    }

    /// Waits until nothing is known of the alert, or that it is over.
    pub(crate) fn is_over(&self, name: &str, is_it: impl Fn(&Alert) -> bool) {
        let series = format!("ALERTS{{alertname=\"{name}\"}}");
        let is_heard = || {
            let all = self.webhook.all();
            let last = all.iter().rfind(|alert| alert.label("alertname") == name && is_it(alert));
            last.is_some_and(|alert| alert.status == Status::Firing)
        };
        wait_for(|| query(self.prometheus_at, &series).is_empty() && !is_heard(), &self.prometheus);
    }

    /// Waits until the webhook heard of the alert; returns it.
    pub(crate) fn hears(
        &self,
        mark: usize,
        name: &str,
        status: Status,
        is_it: impl Fn(&Alert) -> bool,
    ) -> Alert {
        let found = self.webhook.wait(mark, HEARD_WITHIN, |alert| {
            alert.status == status && alert.label("alertname") == name && is_it(alert)
        });
        found.unwrap_or_else(|| {
            let (_, metrics) = get(self.agent_at, "/metrics").unwrap_or_default();
            let findings: Vec<&str> = metrics.lines().filter(|l| l.starts_with("tlsight_findings{")).collect();
            panic!(
                "the webhook did not hear of {name} {status:?} within {HEARD_WITHIN:?}. It heard:\n{:#?}\nfindings:\n{}\n\
                 Prometheus said:\n{}\nAlertmanager said:\n{}",
                &self.webhook.all()[mark..],
                findings.join("\n"),
                self.prometheus.text(),
                self.alertmanager.text(),
            )
        })
    }
}

fn with_address(mut program: std::process::Command, at: SocketAddr) -> std::process::Command {
    program.arg(format!("--web.listen-address={at}"));
    program
}

fn listening(child: Child, at: SocketAddr) -> Child {
    let is_up = wait_until_listening(at, STARTED_WITHIN, || child.is_running());
    assert!(is_up, "{child:?} does not listen:\n{}", child.text());
    child
}

fn prometheus_configuration(agents: &[SocketAddr], alertmanager: SocketAddr) -> String {
    let targets: Vec<String> = agents.iter().map(|agent| format!("'{agent}'")).collect();
    let targets = targets.join(", ");
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [alerts.yaml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n\
         scrape_configs: [{{job_name: tlsight, static_configs: [{{targets: [{targets}]}}]}}]\n"
    )
}

/// Looks until it is so: there is no event for it.
pub(crate) fn wait_for(is_so: impl Fn() -> bool, program: &Child) {
    let deadline = Instant::now() + STARTED_WITHIN;
    while !is_so() {
        assert!(program.is_running() && Instant::now() < deadline, "{program:?} said:\n{}", program.text());
        pause(Duration::from_millis(100));
    }
}
