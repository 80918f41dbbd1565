"""The bus over a real UNIX socket: late joiners, replaced frames, events and commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vfctl.bus import TIMESTAMP, BusServer, Envelope, Kind, UnixBusConnection, subscribe
from vfctl.bus.envelope import ENVELOPE
from vfctl.bus.unix_socket import MAX_WAITING_EVENTS
from vfctl.errors import PeerError, ProtocolError
from vfctl.protocol import NodeSelect, decode, encode


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[BusServer]:
    server = BusServer(tmp_path / "bus")
    await server.start()
    yield server
    await server.close()


async def read(subscription: UnixBusConnection, count: int) -> list[Envelope]:
    envelopes = []
    async with asyncio.timeout(5):
        async for envelope in subscription:
            envelopes.append(envelope)
            if len(envelopes) == count:
                break
    return envelopes


async def test_a_late_subscriber_gets_the_graph_and_the_newest_frame(bus: BusServer, tmp_path: Path) -> None:
    bus.publish_graph(b"graph")
    bus.publish_frame(b"old")
    bus.publish_frame(b"new")
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    assert await read(subscription, 2) == [Envelope(Kind.GRAPH, b"graph"), Envelope(Kind.FRAME, b"new")]
    await subscription.close()


async def test_a_question_is_answered_to_the_one_who_asks(bus: BusServer, tmp_path: Path) -> None:
    bus.on_request = lambda payload: payload.upper()
    bus.publish_graph(b"graph")
    asking, other = [await subscribe(tmp_path / "bus", timeout_s=5) for _ in range(2)]
    asking.send(Envelope(Kind.REQUEST, b"what", gateway=3, client=77))
    assert (await read(asking, 2))[1] == Envelope(Kind.REPLY, b"WHAT", gateway=3, client=77)
    bus.publish_frame(b"frame")
    assert [envelope.kind for envelope in await read(other, 2)] == [Kind.GRAPH, Kind.FRAME]
    for subscription in (asking, other):
        await subscription.close()


async def test_a_new_graph_takes_the_old_frame_with_it(bus: BusServer, tmp_path: Path) -> None:
    bus.publish_graph(b"graph 1")
    bus.publish_frame(b"frame of 1")
    bus.publish_graph(b"graph 2")
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    bus.publish_frame(b"frame of 2")
    assert [envelope.payload for envelope in await read(subscription, 2)] == [b"graph 2", b"frame of 2"]
    await subscription.close()


async def test_states_are_replaced_while_a_subscriber_does_not_read(bus: BusServer, tmp_path: Path) -> None:
    """At most one frame waits for a subscriber (and what its socket holds): never a queue of them."""
    bus.publish_graph(b"graph")
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    assert (await read(subscription, 1))[0].kind is Kind.GRAPH
    subscription._transport.pause_reading()
    frame_bytes = 300_000
    for number in range(200):
        bus.publish_frame(bytes([number]) * frame_bytes)
        await asyncio.sleep(0)
    subscription._transport.resume_reading()
    seen = []
    async with asyncio.timeout(5):
        async for envelope in subscription:
            seen.append(envelope.payload[0])
            if seen[-1] == 199:
                break
    assert len(seen) < 20
    assert seen == sorted(seen)
    await subscription.close()


async def test_a_confirmation_is_a_few_bytes_and_newest_wins(bus: BusServer, tmp_path: Path) -> None:
    bus.publish_graph(b"graph")
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    await read(subscription, 1)
    bus.confirm(1)
    bus.confirm(2)
    (confirmation,) = await read(subscription, 1)
    assert TIMESTAMP.unpack(confirmation.payload) == (2,)
    assert len(confirmation.pack()) < 32
    await subscription.close()


async def test_commands_reach_the_source_with_their_origin(bus: BusServer, tmp_path: Path) -> None:
    received: asyncio.Queue[Envelope] = asyncio.Queue()
    bus.on_command = received.put_nowait
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    command = Envelope(Kind.COMMAND, b"drag", gateway=2, client=17)
    subscription.send(command)
    async with asyncio.timeout(5):
        assert await received.get() == command
    await subscription.close()


async def test_events_are_not_replaced(bus: BusServer, tmp_path: Path) -> None:
    bus.publish_graph(b"graph")
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    await read(subscription, 1)
    for word in (b"one", b"two", b"three"):
        bus.publish_event(Envelope(Kind.EVENT, word, 1, 2))
    assert [envelope.payload for envelope in await read(subscription, 3)] == [b"one", b"two", b"three"]
    await subscription.close()


async def test_selections_of_any_number_of_clients_all_end(bus: BusServer, tmp_path: Path) -> None:
    """A gateway with thousands of clients has died: what the others do not hear of would stay with them for good."""
    clients = range(1, MAX_WAITING_EVENTS + 500)
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    bus.publish_graph(b"graph")
    await read(subscription, 1)
    for node_id in (7, None):
        for client in clients:
            bus.publish_event(Envelope(Kind.EVENT, encode(NodeSelect(node_id)), gateway=1, client=client))
    told = await read(subscription, len(clients))
    assert [envelope.client for envelope in told] == list(clients)
    assert {decode(envelope.payload) for envelope in told} == {NodeSelect(None)}
    await subscription.close()


async def test_the_subscription_ends_with_its_source(bus: BusServer, tmp_path: Path) -> None:
    bus.publish_graph(b"graph")
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    await read(subscription, 1)
    await bus.close()
    async with asyncio.timeout(5):
        assert [envelope async for envelope in subscription] == []
    await subscription.close()


async def test_a_subscriber_that_leaves_is_forgotten(bus: BusServer, tmp_path: Path) -> None:
    bus.publish_graph(b"graph")
    subscription = await subscribe(tmp_path / "bus", timeout_s=5)
    await read(subscription, 1)
    await subscription.close()
    async with asyncio.timeout(5):
        while bus.subscribers:
            bus.publish_frame(b"x" * 100_000)
            await asyncio.sleep(0)
    assert not bus.subscribers


@pytest.mark.parametrize("leaves", [True, False])
async def test_the_bus_closes_although_a_subscriber_does_not_read(leaves: bool, bus: BusServer, tmp_path: Path) -> None:
    """A server that stops ends its gateways first. Their connections may still be closing when the bus closes."""
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "bus"), limit=1)
    bus.publish_graph(bytes(10_000_000))
    await reader.readexactly(1)
    if leaves:
        writer.write_eof()
        async with asyncio.timeout(5):
            while bus.subscribers:
                await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await bus.close()
    await asyncio.sleep(0)  # asyncio reports in a callback of the handler's task
    assert (reported, bus.subscribers) == ([], 0)
    writer.close()


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="no frame source"):
        await subscribe(tmp_path / "nothing", timeout_s=0.05)


async def test_a_source_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    joining = asyncio.create_task(subscribe(tmp_path / "bus", timeout_s=5))
    await asyncio.sleep(0)
    server = BusServer(tmp_path / "bus")
    await server.start()
    server.publish_graph(b"graph")
    subscription = await joining
    assert (await read(subscription, 1))[0].payload == b"graph"
    await subscription.close()
    await server.close()


@pytest.mark.parametrize("header", [ENVELOPE.pack(2**31, 1, 0, 0), ENVELOPE.pack(4, 99, 0, 0)])
def test_foreign_bytes_on_the_bus_are_refused(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        Envelope.unpack_header(header)


async def test_that_a_client_has_gone_is_said_however_much_waits(bus: BusServer, tmp_path: Path) -> None:
    commands: list[Envelope] = []
    bus.on_command = commands.append
    gateway = await subscribe(tmp_path / "bus", timeout_s=5)
    for _ in range(30):  # without a moment for the source, which runs in the same loop
        gateway.send(Envelope(Kind.COMMAND, bytes(100_000), gateway=1, client=2))
    gateway.send(Envelope(Kind.LEFT, b"", gateway=1, client=2))
    async with asyncio.timeout(5):
        while not commands or commands[-1].kind is not Kind.LEFT:
            await asyncio.sleep(0.01)
    assert len(commands) < 30, "not all that was said had room"
    assert commands[-1] == Envelope(Kind.LEFT, b"", gateway=1, client=2)
    await gateway.close()
