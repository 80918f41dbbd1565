"""Recordings and replays by real processes: a crash, a server that records itself, an incident played again, keys."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import websockets

from vfctl.capture import open_capture, open_writer
from vfctl.capture.message import CapturedMessage, Direction
from vfctl.errors import VfctlError
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, NodeDrag, NodeSelect, PositionUpdate, decode, encode

from .conftest import Vfctl, run

START_NS = 1_700_000_000_000_000_000


def intact(path: Path) -> list[CapturedMessage]:
    """What can be read of a file that was cut off."""
    found = []
    with contextlib.suppress(VfctlError), open_capture(path) as capture:
        for captured in capture:
            found.append(captured)  # noqa: PERF402  # list() would lose those before the error
    return found


async def test_a_killed_recording_loses_a_second_at_most(tmp_path: Path) -> None:
    out = tmp_path / "killed.mcap"
    sent_s: list[float] = []

    async def number_frames(connection: websockets.ServerConnection) -> None:
        nodes = np.zeros(50, NODE_DTYPE)
        await connection.send(encode(FullGraph(nodes, np.zeros(0, EDGE_DTYPE))))
        while True:
            nodes["x"] = len(sent_s)
            await connection.send(encode(PositionUpdate(nodes)))
            sent_s.append(time.monotonic())
            await asyncio.sleep(0.02)

    async with websockets.serve(number_frames, "127.0.0.1", 0, compression=None) as server:
        recorder = Vfctl("record", f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws", out)
        try:
            async with asyncio.timeout(60):
                while len(sent_s) < 150:
                    await asyncio.sleep(0.02)
            killed_s = time.monotonic()
        finally:
            recorder.kill()
    numbers = [int(decode(captured.payload).nodes["x"][0]) for captured in intact(out)[1:]]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= sum(moment_s <= killed_s - 1.0 for moment_s in sent_s) > 20


async def talk(url: str) -> None:
    async with websockets.connect(url, compression=None) as connection:
        await connection.recv()
        for number in range(10):
            await connection.send(encode(NodeDrag(number % 3, 1.0, 2.0, number, number == 9)))
            await asyncio.sleep(0.02)
        await connection.send(encode(NodeSelect(1)))
        await asyncio.sleep(0.2)


def test_yesterdays_incident_is_todays_load(live: str, tmp_path: Path) -> None:
    own = tmp_path / "own.mcap"
    server = Vfctl("serve", "--nodes", "20", "--port", "0", "--record", own)
    url = server.wait_for(r"serving .* on (ws://\S+)")[1]
    asyncio.run(talk(url))
    server.interrupt()
    code, _ = server.finish()
    assert code == 0, server.errors
    assert f"to {own}" in server.errors
    sent = [captured for captured in open_capture(own) if captured.direction is Direction.CLIENT]
    assert len(sent) == 11

    code, _, errors = run("replay", own, "--to", live, "--speed", "2")
    assert code == 0, errors
    assert "sent 11 messages on 1 connection" in errors
    assert "10 NodeDrag, 1 NodeSelect" in errors

    code, output, errors = run("loadtest", live, "--traffic", own, "--clients", "20", "--duration", "2", "--json", "-")
    assert code == 0, errors
    results = json.loads(output)
    assert results["clients"]["connected"] == 20
    assert results["frames"]["received"] > 100  # the drags have woken the layout, for all of them
    assert list(results["roles"]) == ["recorded"]

    code, _, errors = run("record", live, tmp_path / "server.mcap", "--duration", "0.5")
    assert code == 0, errors
    for arguments in (["replay", "--to", live], ["loadtest", live, "--traffic"]):
        code, _, errors = run(*arguments, tmp_path / "server.mcap")
        assert code == 1
        assert "has no messages of clients" in errors
        assert "vfctl serve --record" in errors


TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""What a preexec_fn would do, which forks this process: JAX, once another test has loaded it, warns of that."""


def on_a_terminal(*arguments: str | Path) -> tuple[subprocess.Popen[bytes], int]:
    """A command whose stdin is a terminal of its own; and the other end of that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, sys.executable, "-m", "vfctl", *map(str, arguments)],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    os.close(theirs)
    return process, ours


def test_keys_steer_a_replay(tmp_path: Path) -> None:
    path = tmp_path / "long.mcap"
    with open_writer(path, metadata={}) as writer:
        for second in range(100):
            update = PositionUpdate(np.zeros(3, NODE_DTYPE))
            update.nodes["id"] = [0, 1, 2]
            writer.write(encode(update), START_NS + second * 10**9)
    process, terminal = on_a_terminal("replay", path, "--port", "0")
    try:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        http = line.split(" on ws://")[1].strip().removesuffix("/ws")

        def status() -> dict[str, Any]:
            with urllib.request.urlopen(f"http://{http}/replay") as response:
                return json.load(response)

        def after(key: bytes, holds: Any) -> None:
            os.write(terminal, key)
            deadline_s = time.monotonic() + 10
            while not holds(status()):
                assert time.monotonic() < deadline_s, status()
                time.sleep(0.05)

        after(b" ", lambda now: now["paused"])
        before_s = status()["position_s"]
        after(b"\x1b[C", lambda now: abs(now["position_s"] - before_s - 5) < 0.1)
        after(b"\x1b[C", lambda now: abs(now["position_s"] - before_s - 10) < 0.1)
        after(b"\x1b[D", lambda now: abs(now["position_s"] - before_s - 5) < 0.1)
        after(b"\x1b[A", lambda now: now["speed"] == 2)
        after(b"0", lambda now: now["position_s"] == 0)
        after(b" ", lambda now: not now["paused"])
        os.write(terminal, b"\x03")  # Ctrl-C is still what it was
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
        process.stderr.close()
