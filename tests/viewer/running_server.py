"""A server in processes of its own; the benchmark of the viewer and its screenshot use it, too."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
from websockets.sync.client import connect

from vfctl.protocol import Message, NodeDrag, PositionUpdate, decode, encode

LIMIT_S = 20.0


class Server:
    """A `vfctl serve` or `vfctl replay` that can be killed and started again on the same port."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._port = "0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "vfctl", *self._arguments, "--port", self._port]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        said = ""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            said += line
            if found := re.search(r"serving .* on ws://(\S+?):(\d+)/ws", line):
                self._port = found[2]
                self.url = f"http://{found[1]}:{found[2]}/"
                break
        else:
            raise AssertionError(said)
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._gone()

    def kill(self) -> None:
        self._process.kill()  # its children end with it
        self._gone()

    def _gone(self) -> None:
        self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def pull(self, node: int, *place: float) -> None:
        """Another client drags a node to `place` and releases it as soon as an update shows it there."""
        with connect(self.url.replace("http", "ws") + "ws", max_size=None) as client:
            client.send(encode(NodeDrag(node, *place)))
            until_s = time.monotonic() + LIMIT_S
            while not _is_at(decode(client.recv(LIMIT_S)), node, place):
                assert time.monotonic() < until_s, f"node {node} does not get to {place}"
            client.send(encode(NodeDrag(node, *place, final=True)))


def _is_at(message: Message, node: int, place: tuple[float, ...]) -> bool:
    if not isinstance(message, PositionUpdate):
        return False
    (held,) = message.nodes[message.nodes["id"] == node]
    return bool(np.allclose([held["x"], held["y"], held["z"]], place, rtol=1e-4))
