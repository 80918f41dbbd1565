"""Plain V4: what is intact on either side of damage comes out, and the damage is named."""

from __future__ import annotations

import io
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfctl.capture import open_capture
from vfctl.errors import CaptureError, ProtocolError, VfctlError
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    FullGraph,
    Heartbeat,
    Message,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Trailer,
    encode,
)

HYPOTHESIS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def starts_of(payloads: list[bytes]) -> list[int]:
    return [sum(map(len, payloads[:number])) for number in range(len(payloads))]


def test_every_flipped_bit_costs_no_more_than_its_message(
    every_message: list[Message], make_nodes: Callable[..., Any], tmp_path: Path
) -> None:
    """Each header and count of a file with every kind of message; a flip in a payload is nobody's to see."""
    payloads = [encode(message) for message in every_message]
    payloads += [encode(PositionUpdate(make_nodes(x), trailer=Trailer(x, x, x))) for x in range(3)]
    content = bytearray(b"".join(payloads))
    path = tmp_path / "a.bin"
    for start, payload in zip(starts_of(payloads), payloads, strict=True):
        for position in range(start, start + min(len(payload), 12)):
            for bit in range(8):
                content[position] ^= 1 << bit
                path.write_bytes(content)
                found: list[tuple[int, bytes]] = []
                error: VfctlError | None = None
                try:
                    capture = open_capture(path)
                    for captured in capture:
                        found.append((captured.offset, captured.payload))  # noqa: PERF401
                except VfctlError as caught:
                    error = caught
                intact = [place for place in zip(starts_of(payloads), payloads, strict=True) if place[0] != start]
                if start == 0 and isinstance(error, CaptureError):
                    assert not found  # its first byte says that it is another format
                else:
                    where = (position, bit, error)
                    rest = [each for each in found if each in intact]
                    assert rest == intact, where
                    assert len(found) <= len(payloads), where
                    if len(found) < len(payloads):
                        assert isinstance(error, ProtocolError), where
                        assert start <= error.offset <= start + len(payload), where
                content[position] ^= 1 << bit


def test_damage_is_named_with_its_place_and_size(updates: list[bytes], opened: Callable[..., Any]) -> None:
    content = updates[0] + b"\0" * 100 + updates[1] + updates[2] + b"rubbish" + updates[3] + updates[4][:50]
    got = opened(content)
    assert got.payloads == updates[:4]
    at = len(updates[0])
    second = at + 100 + len(updates[1]) + len(updates[2])
    assert [(loss.offset, loss.bytes, loss.cut_off) for loss in got.capture.losses] == [
        (at, 100, False),
        (second, 7, False),
        (second + 7 + len(updates[3]), 50, True),
    ]
    assert got.error.exit_code == 5
    assert f"byte {at}: version 0" in got.error.message
    assert "2 more places" in got.error.message


def test_a_count_that_lies_upwards_does_not_swallow_what_follows(
    updates: list[bytes], opened: Callable[..., Any]
) -> None:
    for count in (200, 10_000, 9_000_000):
        lying = bytearray(updates[1])
        lying[4:8] = count.to_bytes(4, "little")
        got = opened(updates[0] + lying + b"".join(updates[2:]))
        assert got.payloads == [updates[0], *updates[2:]], count
        assert [(loss.offset, loss.bytes) for loss in got.capture.losses] == [(len(updates[0]), len(lying))]


@pytest.mark.processes
def test_a_count_that_lies_allocates_nothing(tmp_path: Path, updates: list[bytes]) -> None:
    """In a file it can be seen that nothing begins where the message claims to end."""
    lying = bytearray(updates[1])
    lying[4:8] = (1_200_000).to_bytes(4, "little")  # 34 MB
    path = tmp_path / "a.bin"
    path.write_bytes(updates[0] + lying + b"".join(updates) * 3_000)  # 41 MB
    program = (
        "import resource, sys\nfrom vfctl.capture import open_capture\nfrom vfctl.errors import VfctlError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nfound = 0\n"
        "try:\n  for captured in open_capture(sys.argv[1]):\n    found += 1\n    if found > 2_000: break\n"
        "except VfctlError: pass\n"
        "print(found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    out = subprocess.run([sys.executable, "-c", program, path], capture_output=True, timeout=60, check=True).stdout
    found, grown_kb = map(int, out.split())
    assert found == 2_001
    assert grown_kb < 15_000


def test_what_a_live_pipe_has_is_handed_over_though_damaged(updates: list[bytes], opened: Callable[..., Any]) -> None:
    got = opened(b"".join(updates[:2]) + updates[2][:-1])
    assert got.payloads == updates[:2]
    assert got.capture.losses[0].cut_off


def test_a_message_between_two_damaged_places_is_believed_if_one_like_it_was_seen(
    updates: list[bytes], opened: Callable[..., Any]
) -> None:
    got = opened(updates[1] + b"\xff" + updates[1] + b"\xff" * 9 + updates[6] + b"\xff")
    assert got.payloads == [updates[1], updates[1], updates[6]]
    assert [loss.bytes for loss in got.capture.losses] == [1, 9, 1]


@given(data=st.data())
@HYPOTHESIS
def test_rubbish_between_messages_costs_only_itself(
    data: st.DataObject, make_nodes: Callable[..., Any], opened: Any
) -> None:
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    parts: list[tuple[bool, bytes]] = [(True, encode(Heartbeat(1)))]
    for number in range(data.draw(st.integers(2, 8))):
        if data.draw(st.booleans()) and len(parts) > 1 and parts[-2][0]:
            parts.append((False, b"\xff" + rng.randbytes(4 * data.draw(st.integers(0, 1000)))))
        nodes = make_nodes(number, range(data.draw(st.integers(0, 50))))
        nodes["y"] = np.frombuffer(rng.randbytes(4 * len(nodes)), np.float32)
        parts.append((True, encode(PositionUpdate(nodes))))
    got = opened(b"".join(part for _, part in parts))
    assert got.payloads == [part for whole, part in parts if whole]
    assert [loss.bytes for loss in got.capture.losses] == [len(part) for whole, part in parts if not whole]


def test_a_full_graph_behind_damage_is_found_however_large(
    graph_message: FullGraph, make_nodes: Callable[..., Any], opened: Callable[..., Any]
) -> None:
    graph = encode(FullGraph(make_nodes(0, range(100_000)), graph_message.edges, None))  # 2.8 MB
    got = opened(encode(Heartbeat(1)) + b"rubbish" + graph + encode(Heartbeat(2)))
    assert got.payloads == [encode(Heartbeat(1)), graph, encode(Heartbeat(2))]


def test_a_long_stretch_of_zeros_is_one_loss_and_flat(updates: list[bytes]) -> None:
    class Zeros(io.RawIOBase):
        """Two messages with 100 MB of zeros between them."""

        def __init__(self) -> None:
            self._parts = [updates[0] + updates[1], *[bytes(2**20)] * 100, updates[2] + updates[3]]

        def read(self, size: int = -1) -> bytes:
            if not self._parts:
                return b""
            piece, rest = self._parts[0][:size], self._parts[0][size:]
            self._parts[:1] = [rest] if rest else []
            return piece

    capture = open_capture("-", Zeros())  # type: ignore[arg-type]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    messages = iter(capture)
    found = [next(messages).payload for _ in range(4)]
    with pytest.raises(ProtocolError):
        next(messages)
    assert found == updates[:4]
    assert [loss.bytes for loss in capture.losses] == [100 * 2**20]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


@pytest.mark.parametrize(
    "before",
    [
        Heartbeat(7),
        FullGraph(np.zeros(0, NODE_DTYPE), np.zeros(0, EDGE_DTYPE)),
        NodeSelect(1),
        NodeDrag(1, 0, 0, 0),
        Notice({"notice": "x"}),
    ],
)
def test_a_whole_message_before_one_that_is_cut_off_anywhere(
    before: Message, updates: list[bytes], opened: Callable[..., Any]
) -> None:
    """Also if so little of the next one is there that nobody can tell what it is."""
    whole = encode(before)
    for length in range(1, len(updates[0])):
        got = opened(whole + updates[0][:length])
        assert got.payloads == [whole], length
        assert got.error.offset == len(whole), length


def test_a_file_that_is_cut_anywhere(every_message: list[Message], updates: list[bytes], tmp_path: Path) -> None:
    """A file is read in another way than a pipe: a message is believed once the next one has been seen."""
    payloads = [*updates[:3], *map(encode, every_message), *updates[3:]]
    content, starts = b"".join(payloads), starts_of(payloads)
    path = tmp_path / "a.bin"
    cuts = {start + ahead for start in starts for ahead in (*range(1, 9), 15)} | {len(content) - 1}
    for cut in sorted(set(range(starts[3], len(content))) & cuts - set(starts)):
        path.write_bytes(content[:cut])
        found: list[bytes] = []
        with pytest.raises(ProtocolError) as caught, open_capture(path) as capture:
            found += (captured.payload for captured in capture)
        whole = [payload for payload, start in zip(payloads, starts, strict=True) if start + len(payload) <= cut]
        assert found == whole, cut
        assert caught.value.offset == sum(map(len, whole)), cut
