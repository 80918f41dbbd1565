"""What tcpdump saw of a running server is what the recorder wrote."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from vfctl.capture import CapturedMessage, open_capture
from vfctl.protocol import NodeDrag, NodeSelect, encode

from .conftest import Serve, run


class Tcpdump:
    """One that runs; it has seen everything only once it has been stopped."""

    def __init__(self, path: Path, port: int) -> None:
        self.path = path
        self._port = port
        tcpdump = shutil.which("tcpdump") or shutil.which("tcpdump", path="/usr/sbin:/sbin")
        assert tcpdump, "there is no tcpdump: `make system` installs it (Debian)"
        # Through a pipe, so that it need not be allowed to write where we do.
        command = [
            tcpdump,
            "-i",
            "lo",
            "-s",
            "0",
            "-B",
            "65536",
            "--immediate-mode",
            "-U",
            "-w",
            "-",
            "tcp",
            "port",
            str(port),
        ]
        with path.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        said = b""
        for line in self._process.stderr:
            said += line
            if b"listening on" in line:
                return
        raise AssertionError(f"tcpdump ended with {self._process.wait()}; may this user capture? {said.decode()}")

    def stop(self) -> Path:
        """The path of what it wrote: all up to now, as a request that is made here is in it, too."""
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self._port}/last-of-all", timeout=10),
        ):
            pass
        until_s = time.monotonic() + 20
        while b"GET /last-of-all" not in self.path.read_bytes():
            assert time.monotonic() < until_s, "tcpdump does not write what it sees"
            time.sleep(0.02)
        self._process.terminate()
        _, said = self._process.communicate(timeout=20)
        assert b"\n0 packets dropped by kernel" in said, said.decode()
        return self.path


@pytest.fixture
def dump(tmp_path: Path) -> Iterator[Callable[[int], Tcpdump]]:
    """dump(port): tcpdump on it from now on."""
    running: list[Tcpdump] = []

    def start(port: int) -> Tcpdump:
        running.append(Tcpdump(tmp_path / "seen.pcap", port))
        return running[-1]

    yield start
    for each in running:
        if each._process.poll() is None:
            each._process.kill()
            each._process.communicate()


def test_tcpdump_and_the_recorder_agree(serve: Serve, dump: Callable[[int], Tcpdump], tmp_path: Path) -> None:
    url = serve("serve", "--nodes", "400")
    seen = dump(urlsplit(url).port or 0)
    recorded = tmp_path / "recorded.mcap"
    code, _, errors = run("record", f"{url}?metadata=1", recorded, "--duration", "2")
    assert code == 0, errors

    sent = [encode(NodeSelect(3)), encode(NodeDrag(3, 1, 2, 3, final=True))]
    with connect(url, compression=None) as client:
        for message in sent:
            client.send(message)

    wrote = list(open_capture(recorded))
    capture = open_capture(seen.stop())
    both = list(capture)
    assert not capture.losses
    found = [message for message in both if message.direction == "server"]
    (connection,) = {message.connection for message in found if message.payload == wrote[0].payload}
    ours = [message for message in found if message.connection == connection]
    assert "metadata=1" in capture.connections[connection]
    assert len(wrote) > 20
    # The recorder leaves while the server is still sending.
    assert [message.payload for message in ours[: len(wrote)]] == [message.payload for message in wrote]
    assert 0 <= len(ours) - len(wrote) <= 2
    assert _delays_ms(ours, wrote)[len(wrote) // 2] < 50
    other = [message for message in both if message.connection != connection]
    assert [message.payload for message in other if message.direction == "client"] == sent


def _delays_ms(ours: list[CapturedMessage], wrote: list[CapturedMessage]) -> list[float]:
    """From the wire to the recorder, sorted."""
    return sorted(
        (there.arrival_ns - here.arrival_ns) / 1e6
        for here, there in zip(ours, wrote, strict=False)
        if here.arrival_ns is not None and there.arrival_ns is not None
    )
