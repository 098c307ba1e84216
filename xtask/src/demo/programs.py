"""Programs that the demo starts, and ends again however it ends itself."""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
# Debian keeps servers in directories that are not in everybody's PATH.
_SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class Failed(Exception):
    """Why there is no demo."""


class Port:
    """Ports on loopback that nothing listens on."""

    _given = set()

    @classmethod
    def free(cls, wanted=0):
        """The wanted port, or another one where that is taken."""
        for port in (wanted, 0, 0, 0, 0, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                found = probe.getsockname()[1]
                if found not in cls._given:
                    cls._given.add(found)
                    return found
        raise Failed("no free port on loopback")


def find(name, tools):
    """A program of the tools directory, or an installed one."""
    path = os.pathsep.join((str(tools / "venv/bin"), os.environ.get("PATH", ""), *_SYSTEM))
    found = shutil.which(name, path=path)
    if not found:
        raise Failed(f"there is no {name} here: run `cargo xtask setup --tests`")
    return found


def envoy(tools):
    """Envoy itself, which its Python package starts through a wrapper."""
    for file in tools.glob("venv/lib/*/site-packages/envoy/_bin/envoy"):
        return file
    raise Failed("there is no envoy here: run `cargo xtask setup --tests`")


def _with_parent():
    # Killed, not asked: whoever starts them is gone without having been able to.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Programs:
    """Everything that runs, in order of starting."""

    def __init__(self, logs):
        self.logs = pathlib.Path(logs)
        self.running = []
        self.ending = threading.Event()

    def start(self, name, *command, port=None, environment=None, within=20):
        """Starts a program in a session of its own (Ctrl-C is for the demo alone), and waits until it listens."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            program = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=_with_parent, env={**os.environ, **(environment or {})},
            )
        self.running.append((name, program))
        if port:
            self.wait(name, lambda: _answers(port), within)
        return program

    def wait(self, name, ready, within):
        """Waits until it is ready; a program that ended is not going to be."""
        _, program = next(entry for entry in self.running if entry[0] == name)
        deadline = time.monotonic() + within
        while not ready():
            if program.poll() is not None or time.monotonic() > deadline:
                said = (self.logs / f"{name}.log").read_text(errors="replace")[-2000:]
                raise Failed(f"{name} did not start:\n{said}")
            self.ending.wait(0.05)
            if self.ending.is_set():
                raise KeyboardInterrupt

    def ended(self):
        """The name of one that should run and does not."""
        return next((name for name, program in self.running if program.poll() is not None), None)

    def stop(self):
        """Ends all, the last one first, politely."""
        for name, program in reversed(self.running):
            if program.poll() is None:
                _signal(program, signal.SIGTERM)
        for name, program in reversed(self.running):
            try:
                # The kernel takes the agent's probes out one by one.
                program.wait(60 if name == "agent" else 10)
            except subprocess.TimeoutExpired:
                print(f"{name} does not end: killed", file=sys.stderr)
            _signal(program, signal.SIGKILL)
            program.wait()
        self.running.clear()


def _signal(program, number):
    """To the program and all that it started."""
    try:
        os.killpg(program.pid, number)
    except ProcessLookupError:
        pass


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
