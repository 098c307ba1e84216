"""The services of the demo: a shop, well protected in some places and badly in others, and what policy expects of it."""

import json
from dataclasses import dataclass

from programs import Port, envoy, find

NGINX = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/nginx; proxy_temp_path {directory}/nginx; fastcgi_temp_path {directory}/nginx;
    uwsgi_temp_path {directory}/nginx; scgi_temp_path {directory}/nginx;
    default_type text/plain;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:all:1m;
    ssl_client_certificate {ca};

    # The old shop window, in plaintext. No policy speaks of it.
    server {{ listen 127.0.0.1:{plain}; return 200 "hi\\n"; }}
    # The shop: TLS, with HTTP/2. Its certificate is renewed again and again.
    server {{ listen 127.0.0.1:{shop} ssl http2; ssl_certificate {shop_crt}; ssl_certificate_key {shop_key}; return 200 "shop\\n"; }}
    # Payments: policy wants mutual TLS, and the server lets clients without a certificate in.
    server {{
        listen 127.0.0.1:{pay} ssl; ssl_certificate {pay_crt}; ssl_certificate_key {pay_key};
        ssl_verify_client optional; return 200 "pay\\n";
    }}
    # The ledger: mutual TLS as it should be.
    server {{
        listen 127.0.0.1:{ledger} ssl; ssl_certificate {ledger_crt}; ssl_certificate_key {ledger_key};
        ssl_verify_client on; return 200 "ledger\\n";
    }}
    # Somebody forgot to renew this one, and it still speaks TLS 1.1.
    server {{
        listen 127.0.0.1:{legacy} ssl; ssl_certificate {legacy_crt}; ssl_certificate_key {legacy_key};
        ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers ALL:@SECLEVEL=0; return 200 "legacy\\n";
    }}
}}
"""

CADDY = """
{{
    admin off
    auto_https off
    persist_config off
}}
http://:{gateway} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{orders} {{
        header_up Host orders.demo
        transport http {{
            keepalive off
            tls_trust_pool file {ca}
            tls_server_name orders.demo
        }}
    }}
}}
https://orders.demo:{orders} {{
    bind 127.0.0.1
    tls {orders_crt} {orders_key}
    respond "orders\\n"
}}
"""

POLICY = """
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata: {{name: payments-and-ledger}}
spec:
  selector: {{ports: [{pay}, {ledger}, {sidecar}]}}
  expect: strict
---
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata: {{name: everything-else-that-matters}}
spec:
  selector: {{ports: [{shop}, {legacy}, {orders}, {redis}]}}
  expect: tls
---
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata: {{name: behind-the-sidecar}}
spec:
  selector: {{ports: [{app}]}}
  expect: disable
---
apiVersion: tlsight.dev/v1alpha1
kind: TlsightPolicy
metadata: {{name: gateway}}
spec:
  selector: {{ports: [{gateway}]}}
  expect: permissive
"""


@dataclass
class Ports:
    """Where everything listens, on 127.0.0.1."""

    plain: int
    shop: int
    pay: int
    ledger: int
    legacy: int
    redis: int
    gateway: int
    orders: int
    sidecar: int
    app: int

    @classmethod
    def free(cls):
        return cls(**{name: Port.free() for name in cls.__dataclass_fields__})


class Services:
    """Starts them, and renews what is renewed."""

    def __init__(self, programs, authority, directory, tools):
        self.programs, self.authority, self.directory, self.tools = programs, authority, directory, tools
        self.ports = Ports.free()
        self.policy = directory / "policy.yaml"
        self.policy.write_text(POLICY.format(**vars(self.ports)))
        self.client = authority.issue("cart", "cart", spiffe_id="spiffe://demo/ns/shop/sa/cart")
        self.files = {"ca": authority.file, "directory": directory, **vars(self.ports)}
        for name, left in (("shop", 80), ("pay", 45), ("ledger", 20), ("legacy", 4), ("orders", 80), ("sidecar", 60)):
            self._issue(name, left)

    def _issue(self, name, left):
        certificate, key = self.authority.issue(name, f"{name}.demo", left=left)
        self.files.update({f"{name}_crt": certificate, f"{name}_key": key})

    def _write(self, name, text):
        file = self.directory / name
        file.write_text(text)
        return file

    def start(self):
        (self.directory / "nginx").mkdir()
        configuration = self._write("nginx.conf", NGINX.format(**self.files))
        self.nginx = self.programs.start(
            "nginx", find("nginx", self.tools), "-e", "stderr", "-p", self.directory, "-c", configuration, port=self.ports.shop)
        self.programs.start(
            "redis", find("redis-server", self.tools), "--port", self.ports.redis, "--bind", "127.0.0.1", "--save", "",
            "--dir", self.directory, "--daemonize", "no", port=self.ports.redis)
        configuration = self._write("Caddyfile", CADDY.format(**self.files))
        self.programs.start(
            "caddy", find("caddy", self.tools), "run", "--adapter", "caddyfile", "--config", configuration,
            port=self.ports.gateway, environment={"XDG_DATA_HOME": str(self.directory), "XDG_CONFIG_HOME": str(self.directory)})
        self.programs.start(
            "sidecar", envoy(self.tools), "--config-yaml", json.dumps(self._sidecar()), "--concurrency", "1",
            "--disable-hot-restart", "--log-level", "error", port=self.ports.sidecar, within=60)

    def _sidecar(self):
        """Ends mutual TLS in front of an application that knows nothing of it."""
        common = {
            "tls_certificates": [{"certificate_chain": {"filename": str(self.files["sidecar_crt"])},
                                  "private_key": {"filename": str(self.files["sidecar_key"])}}],
            "validation_context": {"trusted_ca": {"filename": str(self.authority.file)}},
        }
        tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        proxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
        address = lambda port: {"socket_address": {"address": "127.0.0.1", "port_value": port}}  # noqa: E731
        return {"static_resources": {
            "listeners": [{
                "address": address(self.ports.sidecar),
                "filter_chains": [{
                    "transport_socket": {"name": "tls", "typed_config": {
                        "@type": tls, "require_client_certificate": True, "common_tls_context": common}},
                    "filters": [{"name": "tcp", "typed_config": {
                        "@type": proxy, "stat_prefix": "app", "cluster": "app"}}],
                }],
            }],
            "clusters": [{
                "name": "app", "connect_timeout": "5s", "type": "STATIC",
                "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": address(self.ports.app)}}]}]},
            }],
        }}

    def renew(self):
        """The shop gets a new certificate, and nginx loads it."""
        self._issue("shop", 80)
        self.nginx.send_signal(1)
