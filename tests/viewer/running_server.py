"""A server in processes of its own, and a relay to it. The viewer benchmark and the pictures use the server too."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import numpy as np
from websockets.sync.client import connect

from vfctl.protocol import Message, NodeDrag, PositionUpdate, decode, encode

LIMIT_S = 20.0


class Server:
    """A `vfctl serve` or `vfctl replay` on a port of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "vfctl", *arguments, "--port", "0"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        said = ""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            said += line
            if found := re.search(r"serving .* on ws://(\S+?):(\d+)/ws", line):
                self.url = f"http://{found[1]}:{found[2]}/"
                break
        else:
            raise AssertionError(said)
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
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


class Relay:
    """Forwards TCP connections to a server. To its clients, cutting it looks like the server's death.

    Args:
        url: of the server. `url` of the relay is what its clients use.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._port = 0
        self.resume()
        self.url = f"http://127.0.0.1:{self._port}/"

    def resume(self) -> None:
        """Accept connections, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, args=(self._listener, self._open), daemon=True).start()

    def cut(self) -> None:
        """Close every connection without a word, and refuse new ones."""
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket, opened: list[socket.socket]) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((self._target.hostname, self._target.port))
                opened += (near, far)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_forward, args=(source, sink), daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either end is closed
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def _is_at(message: Message, node: int, place: tuple[float, ...]) -> bool:
    if not isinstance(message, PositionUpdate):
        return False
    (held,) = message.nodes[message.nodes["id"] == node]
    return bool(np.allclose([held["x"], held["y"], held["z"]], place, rtol=1e-4))
