"""HAR as Chrome and mitmproxy save it, however it is laid out, cut off or damaged."""

from __future__ import annotations

import base64
import json
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from vfctl.capture import CapturedMessage, open_capture
from vfctl.capture.message import Direction
from vfctl.errors import CaptureError

Opened = Callable[[bytes], Any]
START_NS = 1_700_000_000_123_456_000


@pytest.fixture
def said(updates: list[bytes], requests: list[bytes]) -> list[CapturedMessage]:
    """Eight updates and three requests, 50 ms apart."""
    payloads = [(each, Direction.SERVER) for each in updates] + [(each, Direction.CLIENT) for each in requests]
    return [
        CapturedMessage(payload, START_NS + 50_000_000 * number, 0, direction)
        for number, (payload, direction) in enumerate(payloads)
    ]


@pytest.mark.parametrize("indent", [None, 2, 4])
@pytest.mark.parametrize("url_first", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_however_it_is_laid_out(
    indent: int | None, url_first: bool, mark: bytes, made: Any, said: list[CapturedMessage], opened: Opened
) -> None:
    content = mark + made.har([said, said[:2]], indent=indent, url_first=url_first)
    got = opened(content)
    assert got.error is None
    assert got.capture.format == "har"
    assert [each.payload for each in got.messages] == [each.payload for each in said + said[:2]]
    assert [each.direction for each in got.messages] == [each.direction for each in said + said[:2]]
    assert [each.connection for each in got.messages] == [0] * len(said) + [1, 1]
    for message, expected in zip(got.messages, said, strict=False):
        assert abs(message.arrival_ns - expected.arrival_ns) < 1000  # a float of seconds has µs
        assert content[message.offset : message.offset + 1] == b"{"


def test_text_messages_and_others_are_left_out(made: Any, said: list[CapturedMessage], opened: Opened) -> None:
    text = {"type": "receive", "time": 1.5, "opcode": 1, "data": '{"a": "}]\\"{"}'}
    failed = {"type": "error", "time": 1.5, "opcode": -1, "data": "Connection closed"}
    other = {"type": "receive", "time": 1.5, "opcode": 2, "data": base64.b64encode(b"someone else's").decode()}
    got = opened(made.har([[other], [text, said[0], failed, text, said[1]], [text]]))
    assert got.error is None
    assert got.payloads == [said[0].payload, said[1].payload]
    assert {each.connection for each in got.messages} == {0}
    assert got.capture.notes == [
        "3 text messages were left out",
        "1 binary messages of connections that are not VisionFlow's were left out",
    ]


def test_one_without_messages_says_so(made: Any, opened: Opened) -> None:
    got = opened(made.har([]))
    assert isinstance(got.error, CaptureError)
    assert "a HAR with 0 WebSockets" in got.error.message


def test_deployed_frames(made: Any, opened: Opened) -> None:
    v3 = b"\x03" + struct.pack("<I6ffiIfI", 1, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0) * 2
    got = opened(made.har([[CapturedMessage(v3, START_NS, 0)]]))
    assert [(each.form, each.payload) for each in got.messages] == [("v3", v3)]


def test_a_text_that_looks_like_messages_is_none(made: Any, said: list[CapturedMessage], opened: Opened) -> None:
    """A page that was saved may have a HAR in it, as text."""
    whole = json.loads(made.har([said[:1]]))
    whole["log"]["entries"][0]["response"]["content"]["text"] = made.har([said]).decode()
    got = opened(json.dumps(whole).encode())
    assert (got.error, len(got.messages)) == (None, 1)


@pytest.mark.parametrize("indent", [None, 2])
def test_cut_at_every_byte(indent: int | None, made: Any, said: list[CapturedMessage], opened: Opened) -> None:
    whole = made.har([said[:1], said[3:5], said[8:]], indent=indent)
    expected = [each.payload for each in (*said[:1], *said[3:5], *said[8:])]
    most = 0
    for cut in range(64, len(whole), 1 if indent is None else 3):
        got = opened(whole[:cut])
        assert got.payloads == expected[: len(got.payloads)]
        assert len(got.payloads) >= most
        most = len(got.payloads)
        assert got.error.exit_code == 5, cut
    assert most == len(expected)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_flipped_bit_costs_no_more_than_its_message(
    indent: int | None, made: Any, said: list[CapturedMessage], opened: Opened
) -> None:
    content = bytearray(made.har([said[8:10], said[3:4], said[10:]], indent=indent))
    expected = [each.payload for each in (*said[8:10], said[3], said[10])]
    clean = opened(bytes(content))
    starts = [message.offset for message in clean.messages]
    assert clean.payloads == expected
    for position in range(starts[0] - 30, len(content) - 200):
        content[position] ^= 1 << position % 7
        got = opened(bytes(content))
        content[position] ^= 1 << position % 7
        hit = max((number for number, start in enumerate(starts) if start <= position), default=0)
        others = [payload for number, payload in enumerate(expected) if number != hit]
        assert [payload for payload in got.payloads if payload in others] == others, (position, got.error)


def test_memory_stays_flat(made: Any, make_nodes: Callable[..., Any], tmp_path: Any) -> None:
    from vfctl.protocol import PositionUpdate, encode

    large = CapturedMessage(encode(PositionUpdate(make_nodes(0, range(5_000)))), START_NS, 0)
    path = tmp_path / "a.har"
    path.write_bytes(made.har([[large] * 150]))  # 28 MB
    tracemalloc.start()
    try:
        count = sum(1 for _ in open_capture(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 150
    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    "change", [("opcode", "npcode"), ('"opcode": 2', '"opcode": 6'), ('"opcode": 2', '"opcode": "2"')]
)
def test_a_message_whose_kind_cannot_be_told_is_a_loss(
    change: tuple[str, str], made: Any, said: list[CapturedMessage], opened: Opened
) -> None:
    text = made.har([said[8:11]], indent=None).decode()
    at = text.index('"opcode"', text.index('"opcode"') + 1)
    got = opened((text[:at] + text[at:].replace(*change, 1)).encode())
    assert got.payloads == [said[8].payload, said[10].payload]
    assert "opcode" in got.error.message
    assert got.error.exit_code == 5


def test_what_a_browser_says_of_an_error_is_no_message(made: Any, said: list[CapturedMessage], opened: Opened) -> None:
    error = {"type": "error", "time": 1.0, "opcode": -1, "data": "WebSocket is closed"}
    got = opened(made.har([[said[8], error, said[10]]]))
    assert (got.error, got.payloads) == (None, [said[8].payload, said[10].payload])
