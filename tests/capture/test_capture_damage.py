"""Damage that hides: a length that lies and ends where a message does, sequence numbers, names of fields."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vfctl.capture import open_capture
from vfctl.capture.formats import concatenated
from vfctl.errors import CaptureError, VfctlError
from vfctl.protocol import PositionUpdate, Trailer, encode


def frames(make_nodes: Callable[..., Any], count: int) -> list[bytes]:
    """TIMED updates of three nodes: 112 bytes each, as long as four nodes."""
    start_us = 1_700_000_000_000_000
    return [
        encode(
            PositionUpdate(make_nodes(number), trailer=Trailer(number, start_us + number * 50_000, 50_000)),
        )
        for number in range(count)
    ]


def places(path: Path) -> tuple[list[tuple[int, int]], str | None]:
    """Offset and length of each message, and the error at the end."""
    found: list[tuple[int, int]] = []
    try:
        for message in open_capture(path):
            found.append((message.offset, len(message.payload)))  # noqa: PERF401
    except VfctlError as error:
        return found, error.message
    return found, None


@pytest.mark.parametrize("piece_bytes", [100, 300, 2**22])
@pytest.mark.parametrize("damaged", range(20))
@pytest.mark.parametrize("more", [4, 8, 16])
def test_a_count_that_swallows_whole_messages_is_damage_in_runs_too(
    piece_bytes: int,
    damaged: int,
    more: int,
    make_nodes: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = bytearray(b"".join(frames(make_nodes, 20)))
    content[damaged * 112 + 4] += more  # so many nodes more: one, two or four messages longer
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    found, said = places(path)
    monkeypatch.setattr(concatenated, "WINDOW_BYTES", piece_bytes)
    assert places(path) == (found, said)
    if damaged < 15:
        whole = {(number * 112, 112) for number in range(20) if number != damaged}
        assert whole <= set(found)
        assert said is not None


def test_a_count_that_is_another_one_of_the_recording_still_swallows_nothing(
    make_nodes: Callable[..., Any], tmp_path: Path
) -> None:
    trailer = Trailer(1, 1_700_000_000_000_000, 50_000)
    long = encode(PositionUpdate(make_nodes(0, range(7)), trailer=trailer))
    content = bytearray(b"".join([*frames(make_nodes, 3), long, *frames(make_nodes, 6)]))
    damaged = 3 * 112 + len(long) + 2 * 112
    content[damaged + 4] = 7  # three nodes say that they are seven, which there has been
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    found, said = places(path)
    assert (damaged + 112, 112) in found
    assert said is not None
    assert f"byte {damaged}" in said


@pytest.mark.parametrize("field", ["type", "opcode", "data"])
@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_field_of_a_har_message_under_a_wrong_name_is_damage(
    field: str, number: int, make_nodes: Callable[..., Any], read_all: Callable[..., Any]
) -> None:
    payloads = frames(make_nodes, 6)
    messages = [
        {"type": "receive", "time": 1.7e9, "opcode": 2, "data": base64.b64encode(payload).decode()}
        for payload in payloads
    ]
    entries = [{"request": {"url": "ws://h/ws"}, "_webSocketMessages": messages}]
    content = json.dumps({"log": {"version": "1.2", "entries": entries}}).encode()
    at = [place for place in range(len(content)) if content.startswith(f'"{field}"'.encode(), place)][number]
    damaged = content[: at + 1] + bytes([content[at + 1] ^ 1]) + content[at + 2 :]
    found, error = read_all(open_capture("-", io.BytesIO(damaged)))
    assert isinstance(error, CaptureError)
    others = payloads[:number] + payloads[number + 1 :]
    assert [payload for payload in found if payload != payloads[number]] == others
    assert len(found) == 5
    assert f"byte {content.rindex(b'{', 0, at)}" in error.message
