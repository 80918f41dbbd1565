"""What a summary says of a recording, whole or damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vfctl.capture import summarize
from vfctl.errors import ProtocolError
from vfctl.protocol import Heartbeat, Message, PositionUpdate, encode

HEARTBEATS = [encode(Heartbeat(number)) for number in range(12)]


@pytest.mark.parametrize(("name", "format"), [("a.mcap", "mcap"), ("a.bin", "v4")])
def test_summary_of_a_recording(
    name: str, format: str, record: Callable[..., Path], every_message: list[Message]
) -> None:
    info = summarize(record(every_message, name))
    assert info.format == format
    assert info.messages == len(every_message) == sum(info.counts.values())
    assert info.counts["PositionUpdate"] == info.counts["Heartbeat"] == info.counts["NodeSelect"] == 2
    assert info.counts["Reserved"] == 1
    assert info.bytes == sum(len(encode(message)) for message in every_message)
    assert info.duration_s == pytest.approx(0.55 if format == "mcap" else 0.1)
    assert (info.nodes, info.edges) == (3, 2)
    assert info.metadata.get("url") == ("ws://test/ws" if format == "mcap" else None)
    assert info.damage is None


def test_summary_of_a_damaged_recording_is_of_what_is_intact(tmp_path: Path) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(b"".join(HEARTBEATS)[:-1])
    info = summarize(path)
    assert info.messages == 11
    assert (info.nodes, info.edges) == (None, None)
    assert isinstance(info.damage, ProtocolError)
    assert info.damage.offset == 132


def test_summary_without_a_graph_counts_the_nodes_of_an_update(
    record: Callable[..., Path], make_nodes: Callable[..., np.ndarray]
) -> None:
    info = summarize(record([PositionUpdate(make_nodes(0))]))
    assert (info.nodes, info.edges) == (3, None)


def test_summary_of_a_graph_that_cannot_be_decoded_says_so(tmp_path: Path, graph_message: Message) -> None:
    payload = bytearray(encode(graph_message))
    payload[-1] = 0xFF  # in the metadata's JSON
    (tmp_path / "a.bin").write_bytes(payload + HEARTBEATS[0])
    info = summarize(tmp_path / "a.bin")
    assert info.messages == 2
    assert isinstance(info.damage, ProtocolError)
    assert "message 0 (at byte 0" in info.damage.message
