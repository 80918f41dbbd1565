"""What a connection gets and what it may say, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from vfctl.bus import Envelope, Kind
from vfctl.graph import build_graph
from vfctl.protocol import (
    Filter,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Reserved,
    VoiceData,
    decode,
    encode,
)
from vfctl.server.gateway.connection_handler import MAX_CLIENT_MESSAGE_BYTES
from vfctl.server.process.gateway_process import is_server_error

if TYPE_CHECKING:
    from tests.server.conftest import Stage


async def test_a_new_client_gets_the_graph_and_then_updates(stage: Stage) -> None:
    viewer = await stage.connect("?timed=1&metadata=1")
    graph = await viewer.receive()
    assert isinstance(graph, FullGraph)
    assert graph.metadata is not None
    assert graph.metadata.label == stage.graph.labels
    assert graph.edges.tolist() == stage.graph.edges.tolist()
    stage.tick(1.0)
    update = await viewer.receive()
    assert isinstance(update, PositionUpdate)
    assert update.nodes["x"].tolist() == [1.0] * 4
    assert graph.trailer is not None
    assert update.trailer is not None
    assert update.trailer.sequence - graph.trailer.sequence in (0, 1)


async def test_a_client_that_joins_a_settled_layout_gets_graph_and_updates(stage: Stage) -> None:
    """Late joiners must not see every node at the origin, nor nothing at all."""
    stage.tick(3.0, settled=True)
    async with asyncio.timeout(5):
        while not stage.gateway.updates.scene.settled:
            await asyncio.sleep(0)
    viewer = await stage.connect()
    graph = await viewer.receive()
    assert isinstance(graph, FullGraph)
    assert graph.nodes["x"].tolist() == [3.0] * 4
    confirming = asyncio.create_task(_confirm_forever(stage))
    update = await viewer.receive_kind(PositionUpdate)
    confirming.cancel()
    assert update.settled
    assert update.nodes["x"].tolist() == [3.0] * 4


async def _confirm_forever(stage: Stage) -> None:
    while True:
        stage.bus.confirm(1)
        await asyncio.sleep(1 / 60)


async def test_the_default_connection_has_no_trailers_no_metadata_no_notices(stage: Stage) -> None:
    viewer = await stage.connect()
    graph = await viewer.receive()
    assert isinstance(graph, FullGraph)
    assert (graph.metadata, graph.trailer, graph.compressed) == (None, None, False)
    await viewer.send(NodeDrag(99, 0.0, 0.0, 0.0))
    await viewer.send(Heartbeat(5))
    assert isinstance(await viewer.receive(), Heartbeat)  # and no Notice before it


async def test_a_filter_is_answered_with_the_graph_of_its_subset(stage: Stage) -> None:
    viewer = await stage.connect("?encoding=lz4&metadata=1&timed=1")
    await viewer.receive()
    await viewer.send(FilterUpdate(Filter(kinds=frozenset({"individual"}))))
    graph = await viewer.receive()
    assert isinstance(graph, FullGraph)
    assert graph.compressed
    assert graph.nodes["id"].tolist() == [2, 3]
    assert graph.edges[["source", "target"]].tolist() == [(2, 3)]
    stage.tick(1.0)
    assert (await viewer.receive_kind(PositionUpdate)).nodes["id"].tolist() == [2, 3]
    await viewer.send(FilterUpdate(Filter()))
    assert len((await viewer.receive_kind(FullGraph)).nodes) == 4


async def test_a_filter_sent_at_once_is_not_lost(stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.send(FilterUpdate(Filter(search="no such label")))
    first, second = await viewer.receive_kind(FullGraph), await viewer.receive_kind(FullGraph)
    assert (len(first.nodes), len(second.nodes)) == (4, 0)


async def test_a_busy_gateway_serves_only_the_newest_state(stage: Stage) -> None:
    """Several states wait on the bus: serving each would make all of them late."""
    viewer = await stage.connect()
    await viewer.receive()
    for number in range(1, 31):
        stage.tick(float(number))
    update = await viewer.receive_kind(PositionUpdate)
    assert update.nodes["x"][0] == 30.0


async def test_heartbeats_are_answered(stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.send(Heartbeat(123))
    reply = await viewer.receive_kind(Heartbeat)
    assert reply.timestamp_us == 123
    assert reply.responder_timestamp_us is not None


async def test_drags_go_to_the_source_with_their_origin(stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.send(NodeDrag(2, 1.0, 2.0, 3.0, final=True))
    command = await asyncio.wait_for(stage.commands.get(), 5)
    assert decode(command.payload) == NodeDrag(2, 1.0, 2.0, 3.0, final=True)
    assert (command.gateway, command.client) == (0, 1)


@pytest.mark.parametrize(
    "message",
    [
        NodeDrag(99, 0.0, 0.0, 0.0),
        NodeDrag(1, float("nan"), 0.0, 0.0),
        NodeDrag(1, 0.0, float("inf"), 0.0),
        NodeSelect(7),
    ],
)
async def test_what_cannot_be_done_is_a_notice_to_that_client_alone(
    stage: Stage, message: NodeDrag | NodeSelect
) -> None:
    viewer, other = await stage.connect("?notices=1"), await stage.connect("?notices=1")
    await viewer.send(message)
    notice = await viewer.receive_kind(Notice)
    assert notice.body["notice"] == "error"
    await other.send(Heartbeat(1))
    assert isinstance(await other.receive(), FullGraph)
    assert isinstance(await other.receive(), Heartbeat)
    assert stage.commands.empty()


async def test_speech_reaches_the_others_who_listen_and_never_the_speaker(stage: Stage) -> None:
    stage.bus.on_command = _telling(stage)
    speaker, listener, deaf = [await stage.connect(query) for query in ("?voice=1", "?voice=1&timed=1", "")]
    samples = np.arange(320, dtype="<i2")
    for _ in range(2):
        await speaker.send(VoiceData(0, 16_000, samples))
    heard = [await listener.receive_kind(VoiceData) for _ in range(2)]
    assert [voice.samples.tolist() for voice in heard] == [samples.tolist()] * 2
    assert heard[0].stream == heard[1].stream == 1
    assert [voice.trailer and voice.trailer.sequence for voice in heard] == [1, 2]
    for silent in (speaker, deaf):
        await silent.send(Heartbeat(1))
        assert isinstance(await silent.receive(), FullGraph)
        assert isinstance(await silent.receive(), Heartbeat)


def _telling(stage: Stage) -> Callable[[Envelope], None]:
    """What the source makes of speech and selections."""

    def handle_command(command: Envelope) -> None:
        if command.kind is Kind.COMMAND:
            stage.bus.publish_event(replace(command, kind=Kind.EVENT))

    return handle_command


async def test_selections_are_told_to_those_who_want_notices(stage: Stage) -> None:
    stage.bus.on_command = _telling(stage)
    viewer, watcher = await stage.connect(), await stage.connect("?notices=1")
    await viewer.send(NodeSelect(2))
    notice = await watcher.receive_kind(Notice)
    assert notice.body == {"notice": "selection", "client": 1, "node_id": 2}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x05\x02\x00\x00",
        b"\x04\x07",
        b"\x04\x06\x00\x00\x02\x00\x00\x00[]",
        encode(Notice({"notice": "only servers send these"})),
    ],
)
async def test_what_is_not_v4_closes_the_connection_with_1002(stage: Stage, payload: bytes) -> None:
    viewer = await stage.connect()
    await viewer.socket.send_bytes(payload)
    assert await viewer.closed_with() == 1002
    assert stage.gateway.clients.traffic.protocol_errors == 1


async def test_a_text_frame_closes_the_connection_with_1002(stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.socket.send_str("hello")
    assert await viewer.closed_with() == 1002


async def test_reserved_types_are_ignored(stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.send(Reserved(0x0B, b"from the future"))
    await viewer.send(Heartbeat(9))
    assert (await viewer.receive_kind(Heartbeat)).timestamp_us == 9


async def test_a_message_may_have_64_kib_and_no_more(stage: Stage) -> None:
    viewer = await stage.connect()
    largest = MAX_CLIENT_MESSAGE_BYTES - len(encode(Reserved(0x0B, b"")))
    await viewer.send(Reserved(0x0B, bytes(largest)))
    await viewer.send(Heartbeat(9))
    assert (await viewer.receive_kind(Heartbeat)).timestamp_us == 9
    await viewer.send(Reserved(0x0B, bytes(largest + 1)))
    assert await viewer.closed_with() == 1009
    assert stage.gateway.clients.traffic.protocol_errors == 1


async def test_peers_that_leave_or_send_no_http_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    for error, news in (
        (ConnectionResetError(), False),
        (BadHttpMessage("no host"), False),
        (LineTooLong(b"x", 8190), False),
        (RuntimeError("a bug"), True),
    ):
        record = logging.LogRecord("x", logging.ERROR, "", 0, "Error", (), (type(error), error, None))
        assert is_server_error(record) is news


async def test_thousands_who_leave_during_the_handshake_leave_nothing_behind(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    request = (
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", stage.port)) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            hasty.sendall(request)
        await asyncio.sleep(0)
    viewer = await stage.connect()
    await viewer.receive()
    async with asyncio.timeout(5):
        while len(stage.gateway.clients) > 1:
            await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.exc_info and is_server_error(record)]


async def test_a_client_that_leaves_is_forgotten(stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.receive()
    assert (len(stage.gateway.clients), len(stage.gateway.updates.coordinator)) == (1, 1)
    await viewer.socket.close()
    async with asyncio.timeout(5):
        while len(stage.gateway.clients):
            await asyncio.sleep(0)
    assert len(stage.gateway.updates.coordinator) == 0


async def test_a_new_graph_reaches_those_who_are_connected(stage: Stage) -> None:
    viewer = await stage.connect()
    await viewer.receive()
    stage.graph = build_graph("other", ["x", "y"], [])
    stage.publish_graph()
    graph = await viewer.receive_kind(FullGraph)
    assert graph.nodes["id"].tolist() == [0, 1]
    stage.tick(5.0)
    assert len((await viewer.receive_kind(PositionUpdate)).nodes) == 2
