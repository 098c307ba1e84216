"""The demo: a small shop on loopback, the agent that watches it, Prometheus and Alertmanager. `cargo xtask demo` starts it."""

import argparse
import http.server
import json
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.request

from certificates import Authority
from programs import Failed, Port, Programs, find
from services import Services
from traffic import Traffic

RENEW_EVERY = 15
SCRAPE = "5s"

AGENT = """
agent:
  socket: {socket}
metrics:
  listen: 127.0.0.1:{agent}
otlp:
  endpoint: http://127.0.0.1:{webhook}
policy:
  files: [{policy}]
trust:
  bundles:
    demo: [{ca}]
findings:
  # What is put right is over at once, so that there is something to see.
  ledger: {{settle_minutes: 0}}
"""

PROMETHEUS = """
global: {{scrape_interval: {scrape}, evaluation_interval: {scrape}}}
rule_files: ["{rules}/rules.yaml", "{rules}/alerts.yaml"]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{alertmanager}"]}}]}}]}}
scrape_configs:
  - job_name: tlsight
    static_configs: [{{targets: ["127.0.0.1:{agent}"]}}]
"""

ALERTMANAGER = """
route: {{receiver: demo, group_by: [alertname, server_workload], group_wait: 1s, group_interval: 5s}}
receivers: [{{name: demo, webhook_configs: [{{url: "http://127.0.0.1:{webhook}/"}}]}}]
"""


class Receiver(http.server.BaseHTTPRequestHandler):
    """Prints what Alertmanager tells, once; takes what the agent sends over OTLP, and forgets it."""

    told = set()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # An empty message says that everything was taken.
        for alert in [] if self.path.startswith("/v1/") else json.loads(body)["alerts"]:
            labels = alert["labels"]
            key = alert["fingerprint"], alert["status"]
            if key not in self.told:
                self.told.add(key)
                self.told.discard((alert["fingerprint"], "resolved" if alert["status"] == "firing" else "firing"))
                say(f"{alert['status']:8} {labels['severity']:8} {labels['alertname']}: {alert['annotations']['description']}")
        self.send_response(200)
        self.send_header("Content-Type", self.headers["Content-Type"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def say(text):
    print(text, flush=True)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def monitoring(programs, directory, tools, rules, ports):
    """Prometheus with the rules of this repository, and Alertmanager."""
    text = {
        "prometheus.yml": PROMETHEUS.format(scrape=SCRAPE, rules=rules, **ports),
        "alertmanager.yml": ALERTMANAGER.format(**ports),
    }
    for name, content in text.items():
        (directory / name).write_text(content)
    listen = {name: f"--web.listen-address=127.0.0.1:{ports[name]}" for name in ("prometheus", "alertmanager")}
    programs.start(
        "alertmanager", find("prometheus-alertmanager", tools), f"--config.file={directory}/alertmanager.yml",
        f"--storage.path={directory}/alertmanager", "--cluster.listen-address=", listen["alertmanager"],
        port=ports["alertmanager"])
    programs.start(
        "prometheus", find("prometheus", tools), f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/prometheus", "--storage.tsdb.retention.time=1d", listen["prometheus"],
        port=ports["prometheus"])
    programs.wait("prometheus", lambda: answers(f"http://127.0.0.1:{ports['prometheus']}/-/ready"), 30)


def agent(programs, arguments, directory, services, ports):
    configuration = directory / "tlsight.yaml"
    configuration.write_text(AGENT.format(
        socket=directory / "tlsight.sock", policy=services.policy, ca=services.authority.file, **ports))
    programs.start("agent", arguments.tlsight, "agent", "--config", configuration, port=ports["agent"], within=60)
    # Every connection from now on is seen from its beginning.
    programs.wait("agent", lambda: answers(f"http://127.0.0.1:{ports['agent']}/readyz"), 60)


def tell(directory, ports, tlsight):
    say(f"""
Agent         http://127.0.0.1:{ports['agent']}/metrics
Prometheus    http://127.0.0.1:{ports['prometheus']}
Alertmanager  http://127.0.0.1:{ports['alertmanager']}
Grafana       import dashboards/*.json, with that Prometheus as data source
Terminal      {tlsight} report --socket {directory}/tlsight.sock
Logs          {directory}/logs

Alerts are told here as they come. Ctrl-C ends it all.
""")


def run(arguments, directory, programs):
    (directory / "logs").mkdir()
    ports = {"agent": Port.free(9465), "prometheus": Port.free(9090), "alertmanager": Port.free(9093), "webhook": Port.free()}
    webhook = http.server.ThreadingHTTPServer(("127.0.0.1", ports["webhook"]), Receiver)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    services = Services(programs, Authority(directory), directory, arguments.tools)
    say("starting nginx, Redis, Caddy and Envoy ...")
    services.start()
    say("starting the agent, Prometheus and Alertmanager ...")
    agent(programs, arguments, directory, services, ports)
    monitoring(programs, directory, arguments.tools, arguments.rules, ports)
    traffic = Traffic(services, arguments.tools)
    traffic.start()
    try:
        tell(directory, ports, arguments.tlsight)
        end = time.monotonic() + (arguments.duration or float("inf"))
        while (left := end - time.monotonic()) > 0 and not programs.ending.wait(min(left, RENEW_EVERY)):
            if (gone := programs.ended()) is not None:
                said = (directory / "logs" / f"{gone}.log").read_text(errors="replace")[-2000:]
                raise Failed(f"{gone} ended:\n{said}")
            services.renew()
    finally:
        say("ending ...")
        traffic.stop()
        webhook.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tlsight", type=pathlib.Path, required=True, help="the agent's program")
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="what `cargo xtask setup --tests` installed")
    parser.add_argument("--rules", type=pathlib.Path, required=True, help="the folder of rules and alerts")
    parser.add_argument("--duration", type=float, help="seconds until it ends by itself")
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tlsight-demo-"))
    programs = Programs(directory / "logs")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: programs.ending.set())
    try:
        run(arguments, directory, programs)
    except KeyboardInterrupt:
        pass
    except Failed as error:
        sys.exit(f"error: {error}")
    finally:
        programs.stop()
        shutil.rmtree(directory)


main()
