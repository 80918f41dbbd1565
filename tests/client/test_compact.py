"""The client reads COMPACT: positions come, across a reconnect, and a frame that does not fit ends the connection."""

from __future__ import annotations

import numpy as np
import pytest

from vfctl.client import connect
from vfctl.errors import ProtocolError
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, CompactEncoder, CompactUpdate, FullGraph, Message, View, positions_of


def moving(count: int, frames: int) -> tuple[list[Message], list[np.ndarray]]:
    """A FullGraph and COMPACT updates, and the positions that they carry."""
    random = np.random.default_rng(0)
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["id"] = range(count)
    positions = random.normal(0, 100, (3, count)).astype(np.float32)
    encoder, view, history = CompactEncoder(), View(nodes["id"]), None
    messages: list[Message] = [FullGraph(nodes, np.zeros(0, EDGE_DTYPE))]
    carried = []
    for position in range(frames):
        positions += random.normal(0, 1, (3, count)).astype(np.float32)
        encoder.push(position, positions)
        section, history = encoder.section(view, history)
        messages.append(CompactUpdate(count, section))
        carried.append(encoder.grid.dequantise(encoder.grid.quantise(positions)))
    return messages, carried


async def test_compact_updates_come_with_positions_also_after_a_reconnect(server, acts, clock):
    messages, carried = moving(100, 4)
    server.play(acts.say(*messages, close=None), acts.say(*messages))
    async with connect(server.url, encoding="compact", clock=clock) as connection:
        received = [message async for message in connection]
        assert connection.reconnects == 1
    assert server.queries == ["encoding=compact"] * 2
    updates = [message for message in received if not isinstance(message, FullGraph)]
    assert len(updates) == 8
    for update, expected in zip(updates, [*carried, *carried], strict=True):
        assert update.compact
        assert np.array_equal(positions_of(update.nodes), expected)


async def test_a_frame_out_of_order_ends_the_connection_with_1002(server, acts, clock):
    messages, _ = moving(100, 4)
    codes = []

    async def act(visit):
        await visit.accept(*messages[:2], *messages[3:])
        codes.append(await visit.gone())
        return visit.socket

    server.play(act)
    async with connect(server.url, encoding="compact", clock=clock) as connection:
        with pytest.raises(ProtocolError, match="predicted from state 1, the last received is 0"):
            _ = [message async for message in connection]
    assert codes == [1002]
