//! The connection that an explanation is asked for, as the command line describes it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use agent_core::identity::{Container, Party, ProcessDetails, ServiceRef, Workload};
use agent_core::policy::target::Target;
use clap::Args;

use crate::exit::{Exit, Failure};

/// The server, and how it is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct SubjectArgs {
    /// Port that the server listens on
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Name of that port in the pod
    #[arg(long, value_name = "NAME")]
    port_name: Option<String>,
    /// Port that the client dials, where a Service maps it to another
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    dialled_port: Option<u16>,
    /// The server's namespace
    #[arg(long)]
    namespace: Option<String>,
    /// The server's workload, as deployment/web
    #[arg(long, value_name = "KIND/NAME", value_parser = kind_and_name)]
    workload: Option<(String, String)>,
    /// A label of its pod; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_and_value)]
    labels: Vec<(String, String)>,
    /// The pod uses its node's network
    #[arg(long)]
    host_network: bool,
    /// The Service in front of it
    #[arg(long)]
    service: Option<String>,
    /// Name of the container in the pod, or its id
    #[arg(long)]
    container: Option<String>,
    /// The server's executable
    #[arg(long, value_name = "PATH")]
    process: Option<String>,
    /// The systemd unit it runs in
    #[arg(long)]
    systemd_unit: Option<String>,
    /// The server's address
    #[arg(long)]
    address: Option<IpAddr>,
    /// The name that the client asks for
    #[arg(long)]
    host: Option<String>,
    /// The client's namespace
    #[arg(long, value_name = "NAMESPACE")]
    client_namespace: Option<String>,
    /// The client's workload
    #[arg(long, value_name = "KIND/NAME", value_parser = kind_and_name)]
    client_workload: Option<(String, String)>,
    /// A label of the client's pod; may be given several times
    #[arg(long = "client-label", value_name = "KEY=VALUE", value_parser = key_and_value)]
    client_labels: Vec<(String, String)>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    client_address: Option<IpAddr>,
}

fn kind_and_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok((kind.to_owned(), name.to_owned())),
        _ => Err(String::from("write it as kind/name: deployment/web")),
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(String::from("write it as key=value: app=web")),
    }
}

/// The ends of the connection.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    args: &'a SubjectArgs,
    server: Party,
    client: Party,
}

impl SubjectArgs {
    /// Puts the ends together; what only makes sense within a namespace needs one.
    pub(super) fn subject(&self) -> Result<Subject<'_>, Failure> {
        let mut server = party("", self.namespace.as_deref(), self.workload.as_ref(), &self.labels)?;
        if let Some(workload) = &mut server.workload {
            let workload = Arc::make_mut(workload);
            workload.host_network = self.host_network;
            workload.container.clone_from(&self.container);
        }
        if let Some(name) = &self.service {
            let namespace = self.namespace.clone().ok_or_else(|| needs_namespace("", "--service"))?;
            server.service = Some(Arc::new(ServiceRef { namespace, name: name.clone() }));
        }
        server.container = self.container.clone().map(|id| Arc::new(Container { id, runtime: None }));
        if self.process.is_some() || self.systemd_unit.is_some() {
            server.process = Some(Arc::new(ProcessDetails {
                executable_path: self.process.clone(),
                systemd_unit: self.systemd_unit.clone(),
                ..ProcessDetails::default()
            }));
        }
        let client = party(
            "client-",
            self.client_namespace.as_deref(),
            self.client_workload.as_ref(),
            &self.client_labels,
        )?;
        Ok(Subject { args: self, server, client })
    }
}

fn party(
    prefix: &str,
    namespace: Option<&str>,
    workload: Option<&(String, String)>,
    labels: &[(String, String)],
) -> Result<Party, Failure> {
    let Some(namespace) = namespace else {
        return match (workload, labels) {
            (None, []) => Ok(Party::default()),
            (Some(_), _) => Err(needs_namespace(prefix, &format!("--{prefix}workload"))),
            (None, _) => Err(needs_namespace(prefix, &format!("--{prefix}label"))),
        };
    };
    let (kind, name) = workload.cloned().unwrap_or_default();
    let labels: BTreeMap<String, String> = labels.iter().cloned().collect();
    let workload = Workload { namespace: namespace.to_owned(), kind, name, labels, ..Workload::default() };
    Ok(Party { workload: Some(Arc::new(workload)), ..Party::default() })
}

fn needs_namespace(prefix: &str, option: &str) -> Failure {
    Failure::new(Exit::Usage, "explain", format!("{option} names something within a namespace"))
        .hint(format!("add --{prefix}namespace"))
}

impl Subject<'_> {
    /// What the set of policies is asked.
    pub(super) fn target(&self) -> Target<'_> {
        Target {
            address: self.args.address,
            port_name: self.args.port_name.as_deref(),
            dialled_port: self.args.dialled_port,
            host: self.args.host.as_deref(),
            client: Some(&self.client),
            client_address: self.args.client_address,
            ..Target::new(&self.server, self.args.port)
        }
    }
}
