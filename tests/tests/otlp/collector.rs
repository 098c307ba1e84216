//! nginx, which lets in whom it knows.

use std::net::SocketAddr;
use std::path::PathBuf;

use tlsight::config::otlp::Protocol;
use tlsight_tests::child::{Child, command};
use tlsight_tests::pki::pki;
use tlsight_tests::rotel::{Rotel, free, wait_for};
use tlsight_tests::tools::scratch_dir;

/// nginx before a collector: TLS, and only for clients with a certificate of the tests' own authority.
pub(crate) struct Gate {
    child: Child,
    grpc: SocketAddr,
    http: SocketAddr,
    /// Who signed its certificate.
    pub(crate) authority: PathBuf,
}

impl Gate {
    pub(crate) fn before(rotel: &Rotel) -> Self {
        let (folder, grpc, http) = (scratch_dir("gate"), free(), free());
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let (authority, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&authority, made.cert.pem()).expect("write");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("write");
        let server = |listen: SocketAddr, http2: &str, pass: &str| {
            format!(
                "server {{ listen {listen} ssl{http2}; ssl_certificate {}; ssl_certificate_key {}; \
                 ssl_client_certificate {}; ssl_verify_client on; client_max_body_size 64m; \
                 location / {{ {pass}; }} }}\n",
                authority.display(),
                key.display(),
                pki().ca.display()
            )
        };
        let text = format!(
            "daemon off; worker_processes 1; pid {0}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; \
             client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; \
             scgi_temp_path {0}/s;\n{1}{2}}}\n",
            folder.display(),
            server(grpc, " http2", &format!("grpc_pass grpc://{}", rotel.grpc)),
            server(http, "", &format!("proxy_pass http://{}", rotel.http)),
        );
        let conf = folder.join("nginx.conf");
        std::fs::write(&conf, text).expect("write");
        let mut nginx = command("nginx", ["-c"]);
        nginx.arg(&conf).args(["-e", "stderr"]);
        let child = Child::spawn(nginx);
        wait_for(&child, grpc);
        wait_for(&child, http);
        Self { child, grpc, http, authority }
    }

    pub(crate) fn port(&self, protocol: Protocol) -> u16 {
        if protocol == Protocol::Grpc { self.grpc.port() } else { self.http.port() }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.child.stop();
    }
}
