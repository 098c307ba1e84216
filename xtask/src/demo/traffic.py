"""Who visits the demo's services, again and again: programs as people know them, with and without certificates."""

import itertools
import socket
import ssl
import subprocess
import threading
import time

from programs import find

BETWEEN = 0.15
# So long one end speaks an old version, and then for as long a good one.
PHASE = 20


class Traffic:
    """Makes connections until told to end."""

    def __init__(self, services, tools):
        self.ports, self.ca, self.client = services.ports, services.authority.file, services.client
        self.curl, self.redis_cli = find("curl", tools), find("redis-cli", tools)
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self._application, self._visits)]
        self.resumable = None

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.ports.app))
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.ending.set()
        self.listener.close()
        for thread in self.threads:
            thread.join(5)

    def _application(self):
        """What is behind the sidecar."""
        while not self.ending.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(5)
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\napp\n")
                except OSError:
                    pass

    def _visits(self):
        visits = (
            lambda: self._curl("http://window.demo", self.ports.plain),
            lambda: self._run(self.redis_cli, "-p", self.ports.redis, "get", "cart"),
            lambda: self._curl("https://shop.demo", self.ports.shop),
            lambda: self._curl("https://shop.demo", self.ports.shop, "--tls-max", "1.2"),
            lambda: self._python(self.ports.shop, "shop.demo", resume=True),
            # Payments: one client with a certificate, one without.
            lambda: self._python(self.ports.pay, "pay.demo", certificate=True),
            lambda: self._curl("https://pay.demo", self.ports.pay),
            lambda: self._python(self.ports.ledger, "ledger.demo", certificate=True),
            lambda: self._python(self.ports.sidecar, "sidecar.demo", certificate=True),
            lambda: self._python(self.ports.legacy, "legacy.demo", old=int(time.monotonic() / PHASE) % 2 == 0),
            lambda: self._curl("http://gateway.demo", self.ports.gateway),
            # Two that are turned away: by the client, which does not know the authority, and by the sidecar.
            lambda: self._run(self.curl, "-s", "-m", 5, "--tls-max", "1.2", f"https://127.0.0.1:{self.ports.legacy}/"),
            lambda: self._curl("https://sidecar.demo", self.ports.sidecar),
            # One that says nothing.
            lambda: socket.create_connection(("127.0.0.1", self.ports.plain), timeout=5).close(),
        )
        for visit in itertools.cycle(visits):
            try:
                visit()
            except OSError:
                pass  # one that is turned away is part of the demo
            if self.ending.wait(BETWEEN):
                return

    def _run(self, *command):
        words = [str(word) for word in command]
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)

    def _curl(self, url, port, *arguments):
        name = url.split("//")[1]
        self._run(self.curl, "-s", "-m", 5, "--noproxy", "*", "--cacert", self.ca, "--connect-to", f"{name}::127.0.0.1:{port}",
                  *arguments, url)

    def _python(self, port, name, certificate=False, old=False, resume=False):
        context = ssl.create_default_context(cafile=self.ca)
        if certificate:
            context.load_cert_chain(*self.client)
        if old:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        session = None
        if resume:
            # One context for all: a session belongs to it.
            context, session = self.resumable or (context, None)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            with context.wrap_socket(connection, server_hostname=name, session=session) as secured:
                secured.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
                while secured.recv(4096):
                    pass
                if resume:
                    self.resumable = context, secured.session
