#!/usr/bin/env python3
"""Writes the dashboards of this directory: `generate.py` writes them, `generate.py --check` says whether they are as written.
What is on them stands in `boards/`, what panels are made of in `panels.py`."""

import json
import pathlib
import sys

sys.dont_write_bytecode = True

from boards import BOARDS  # noqa: E402
from panels import dashboard, link  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


def files():
    for board in BOARDS:
        links = [link(other.TITLE, other.UID) for other in BOARDS if other is not board]
        content = dashboard(board.UID, board.TITLE, board.DESCRIPTION, links, *board.ROWS)
        yield HERE / f"{board.UID}.json", json.dumps(content, indent=2) + "\n"


def main(arguments):
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    written = dict(files())
    if not arguments:
        for path, text in written.items():
            path.write_text(text)
        return
    stale = [path.name for path, text in written.items() if not path.exists() or path.read_text() != text]
    unknown = [path.name for path in HERE.glob("*.json") if path not in written]
    if stale or unknown:
        sys.exit(f"not as dashboards/generate.py writes them: {', '.join(stale + unknown)}")


main(sys.argv[1:])
