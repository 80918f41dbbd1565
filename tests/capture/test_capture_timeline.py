"""Times in a recording: by arrival, by trailers, or at 20 Hz."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vfctl.capture import CapturedMessage, open_capture
from vfctl.capture.timeline import decoded, timeline
from vfctl.errors import ProtocolError
from vfctl.protocol import Heartbeat, Message, NodeSelect, PositionUpdate, Trailer, encode


def times(messages: Sequence[Message]) -> list[float]:
    """Their times in a recording without arrival times."""
    captured = [CapturedMessage(encode(message), None, 0) for message in messages]
    return [pytest.approx(timed.time_s) for timed in timeline(captured)]


def test_mcap_goes_by_arrival(record: Callable[..., Path], every_message: list[Message]) -> None:
    path = record(every_message[:3], times_s=[0, 0.25, 7.5])
    assert [timed.time_s for timed in timeline(open_capture(path))] == [0, 0.25, 7.5]


def test_trailers_tell_the_time(make_nodes: Callable[..., Any], graph_message: Message) -> None:
    start_us = 1_700_000_000_000_000
    updates = [
        PositionUpdate(make_nodes(0), trailer=Trailer(number, start_us + after_us, 0))
        for number, after_us in enumerate((0, 50_000, 1_050_000))
    ]
    assert times([graph_message, *updates[:2], Heartbeat(1), updates[2]]) == [0, 0, 0.05, 0.05, 1.05]


def test_without_any_time_updates_come_at_20_hz(make_nodes: Callable[..., Any], graph_message: Message) -> None:
    update = PositionUpdate(make_nodes(0))
    assert times([graph_message, update, update, NodeSelect(1), update]) == [0, 0, 0.05, 0.05, 0.1]


def test_a_trailer_behind_untimed_updates_continues_their_time(make_nodes: Callable[..., Any]) -> None:
    update = PositionUpdate(make_nodes(0))
    timed = [PositionUpdate(make_nodes(0), trailer=Trailer(1, after_us, 0)) for after_us in (5_000_000, 5_200_000)]
    assert times([update, update, *timed, update]) == [0, 0.05, 0.05, 0.25, 0.3]


def test_absurd_time_stamps_do_no_harm(make_nodes: Callable[..., Any]) -> None:
    stamps = (0, 2**64 - 1, 5)
    updates = [PositionUpdate(make_nodes(0), trailer=Trailer(1, stamp, 0)) for stamp in stamps]
    assert times(updates) == [0, (2**64 - 1) / 1e6, 5e-6]


def test_what_cannot_be_decoded_costs_only_itself(graph_message: Message) -> None:
    bad = bytearray(encode(graph_message))
    bad[-1] = 0xFF
    good = encode(NodeSelect(1))
    captured = [CapturedMessage(payload, None, offset) for offset, payload in enumerate((good, bytes(bad), good))]
    messages = decoded(captured)
    assert [next(messages).number, next(messages).number] == [0, 2]
    with pytest.raises(ProtocolError, match=r"message 1 \(at byte 1 of the recording\)"):
        next(messages)
