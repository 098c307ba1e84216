"""Runs a program on a terminal of its own, as a person would: terminal.py WIDTH HEIGHT PROGRAM [ARGUMENT ...]

Steps are read from standard input, a JSON object a line. Each that is done is answered by an empty line, and in the end what
came of them is printed as one JSON object:
{"expect": TEXT}  waits until the screen shows the text      {"send": KEYS}      types
{"resize": [W, H]} changes the size                          {"signal": NUMBER}  sends a signal to the program
{"screen": NAME}  keeps the screen under this name           {"end": true}       waits for the end of the program
"""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata

LIMIT = 30
CONTROL = re.compile(r"\x1b\[([?>=]?)([0-9;]*)([@-~])|\x1b[()][A-Z0-9]|\x1b[=>78M]")


class Screen:
    """As much of a terminal as full-screen programs use."""

    def __init__(self, width, height):
        self.alternate, self.cursor, self.entered = False, True, 0
        self.rest, self.main = "", ""
        self.resize(width, height)

    def resize(self, width, height):
        self.width, self.height, self.x, self.y = width, height, 0, 0
        self.clear()

    def clear(self):
        self.cells = [[" "] * self.width for _ in range(self.height)]

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)

    def feed(self, text):
        text, self.rest = self.rest + text, ""
        at = 0
        while at < len(text):
            c = text[at]
            if c == "\x1b":
                found = CONTROL.match(text, at)
                if not found:
                    if len(text) - at < 32:
                        self.rest = text[at:]
                        return
                    raise SystemExit(f"unknown sequence {text[at:at + 16]!r}")
                if found.group(3):
                    self.control(*found.groups())
                at = found.end()
                continue
            at += 1
            if not self.alternate:
                self.main += c
            elif c == "\r":
                self.x = 0
            elif c == "\n":
                self.y = min(self.y + 1, self.height - 1)
            elif c >= " ":
                wide = 2 if unicodedata.east_asian_width(c) in "WF" else 1
                if self.y < self.height and self.x < self.width:
                    self.cells[self.y][self.x] = c
                    if wide == 2 and self.x + 1 < self.width:
                        self.cells[self.y][self.x + 1] = ""
                self.x += wide

    def control(self, private, numbers, what):
        numbers = [int(n) if n else 0 for n in numbers.split(";")]
        if private == "?":
            if 1049 in numbers:
                self.alternate = what == "h"
                self.entered += what == "h"
                self.clear()
            if 25 in numbers:
                self.cursor = what == "h"
        elif what == "H":
            self.y = max(numbers[0], 1) - 1
            self.x = max(numbers[1] if len(numbers) > 1 else 1, 1) - 1
        elif what == "J":
            self.clear()
        elif what == "K" and self.y < self.height:
            self.cells[self.y][self.x:] = [" "] * (self.width - self.x)
        elif what in "ABCD":
            by = max(numbers[0], 1)
            self.y += {"A": -by, "B": by}.get(what, 0)
            self.x += {"C": by, "D": -by}.get(what, 0)


def main():
    width, height = int(sys.argv[1]), int(sys.argv[2])
    pid, terminal = pty.fork()
    if pid == 0:
        # The program starts when the terminal has its size.
        os.read(0, 1)
        os.execvp(sys.argv[3], sys.argv[3:])
    size = lambda w, h: fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", h, w, 0, 0))
    size(width, height)
    before = termios.tcgetattr(terminal)
    os.write(terminal, b"\n")
    screen, screens, status, pending = Screen(width, height), {}, None, b""
    deadline = time.monotonic() + LIMIT

    def read(patience):
        nonlocal pending
        if not select.select([terminal], [], [], patience)[0]:
            return False
        try:
            pending += os.read(terminal, 65536)
        except OSError:
            return False
        text = pending.decode(errors="ignore")
        pending = pending[len(text.encode()):] if len(pending) - len(text.encode()) < 4 else b""
        screen.feed(text)
        return True

    for line in sys.stdin:
        step = json.loads(line)
        deadline = time.monotonic() + LIMIT
        if "expect" in step:
            while step["expect"] not in (screen.text() if screen.alternate else screen.main):
                read(0.1)
                if time.monotonic() > deadline:
                    raise SystemExit(f"no {step['expect']!r} on\n{screen.text()}\n{screen.main}")
        elif "send" in step:
            os.write(terminal, step["send"].encode())
        elif "resize" in step:
            screen.resize(*step["resize"])
            size(*step["resize"])
        elif "signal" in step:
            os.kill(pid, step["signal"])
        elif "screen" in step:
            # What is drawn comes in pieces; between two pictures is most of a second.
            while read(0.2) and time.monotonic() < deadline:
                pass
            screens[step["screen"]] = screen.text()
        elif "end" in step:
            while status is None:
                read(0.05)
                done, how = os.waitpid(pid, os.WNOHANG)
                if done:
                    status = os.waitstatus_to_exitcode(how)
                elif time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                    raise SystemExit(f"it does not end:\n{screen.text()}\n{screen.main}")
            after = termios.tcgetattr(terminal)
            read(0.05)
        print(flush=True)
    result = {"status": status, "screens": screens, "main": screen.main, "alternate": screen.alternate}
    result |= {"cursor": screen.cursor, "entered": screen.entered, "restored": status is not None and before == after}
    print(json.dumps(result))


main()
