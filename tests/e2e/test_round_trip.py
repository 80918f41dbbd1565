"""Record, replay, record again: the same states in the same order, at the same intervals."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vfctl.capture import open_capture
from vfctl.protocol import FullGraph, PositionUpdate, decode

if TYPE_CHECKING:
    from .conftest import Serve

from .conftest import Vfctl, run

TICK_S = 1 / 60


def states(path: Path) -> tuple[list[bytes], np.ndarray]:
    """The nodes of every FullGraph and PositionUpdate, and the arrival of each in seconds."""
    nodes, arrivals = [], []
    with open_capture(path) as capture:
        for captured in capture:
            message = decode(captured.payload)
            if isinstance(message, FullGraph | PositionUpdate):
                nodes.append(message.nodes.tobytes())
                arrivals.append((captured.arrival_ns or 0) / 1e9)
    return nodes, np.array(arrivals)


def steer(url: str, **changes: object) -> dict:
    request = urllib.request.Request(
        url.replace("ws://", "http://").replace("/ws", "/replay"), json.dumps(changes).encode(), method="PATCH"
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def record_of_replay(serve: Serve, path: Path, again: Path) -> None:
    """Replay a recording from its first to its last message, and record that."""
    replayed = serve("replay", path, "--paused")
    recorder = Vfctl("record", replayed, again)
    deadline_s = time.monotonic() + 30
    while not (again.exists() and again.stat().st_size > 2000):  # its FullGraph is there
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    steer(replayed, paused=False)
    while not steer(replayed)["ended"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    time.sleep(0.3)
    recorder.interrupt()
    code, _ = recorder.finish()
    assert code == 0, recorder.errors


def worst_interval_s(first: Path, second: Path) -> float:
    """How far the intervals of a recorded replay are off at most; infinite if a state is missing."""
    nodes, arrivals = states(first)
    again, again_arrivals = states(second)
    assert len(nodes) > 30
    # The replay stands at the first state until it is let go, and stays at the last one.
    begin = max(number for number, each in enumerate(again) if each == nodes[0])
    assert set(again[:begin]) <= {nodes[0]}
    assert set(again) <= set(nodes), "nothing else, and nothing changed"
    if again[begin : begin + len(nodes)] != nodes:
        return np.inf
    assert set(again[begin + len(nodes) :]) <= {nodes[-1]}
    # From the first that moves on: before, there was the pause.
    recorded, replayed = np.diff(arrivals[1:]), np.diff(again_arrivals[begin + 1 : begin + len(nodes)])
    return float(np.abs(replayed - recorded).max())


def test_a_recording_of_a_replay_is_the_recording(serve: Serve, tmp_path: Path) -> None:
    """The first is LZ4, the second raw: a replay serves every encoding.

    A machine that holds the recorder up for a tenth of a second makes it a slow client, or moves an interval: then the
    replay is recorded once more.
    """
    first = tmp_path / "first.mcap"
    live = serve("serve", "--nodes", "80")
    code, _, errors = run("record", f"{live}?encoding=lz4", first, "--duration", "2.5")
    assert code == 0, errors
    worst_s = []
    for number in range(3):
        record_of_replay(serve, first, tmp_path / f"again{number}.mcap")
        worst_s.append(worst_interval_s(first, tmp_path / f"again{number}.mcap"))
        if worst_s[-1] < TICK_S:
            return
    raise AssertionError(f"intervals are off by {worst_s} s")
