"""What clients of a real server with two gateways see of each other: selections and drags."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Self

import aiohttp
import pytest

from vfctl.physics import MAX_COORDINATE
from vfctl.physics.drags import HOLD_US
from vfctl.protocol import (
    Filter,
    FilterUpdate,
    FullGraph,
    Message,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    decode,
    encode,
)
from vfctl.server.options import LiveGraph, ServerOptions
from vfctl.server.process.launch import Server, launch

SOURCE = LiveGraph(generator="tree", nodes=12, at_rest=True, device="cpu")
NODE = 7
FAR = 500.0
"""units; the layout keeps within a tenth of it."""

LIMIT_S = 10.0


class Person:
    """A client that takes everything in as it comes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.notices: list[Mapping[str, Any]] = []
        self.selections: dict[int, int] = {}
        self.number = -1
        self.x: dict[int, float] = {}
        self.states = 0
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def gateway(self) -> int:
        return self.number >> 24

    async def _read(self) -> None:
        async for incoming in self.socket:
            self._take(decode(incoming.data))
            self._news.set()

    def _take(self, message: Message) -> None:
        match message:
            case FullGraph() | PositionUpdate():
                self.states += 1
                self.x = dict(zip(message.nodes["id"].tolist(), message.nodes["x"].tolist(), strict=True))
            case Notice():
                self.notices.append(message.body)
                if message.body["notice"] == "selection":
                    client, node = message.body["client"], message.body["node_id"]
                    if message.body.get("own"):
                        self.number = client
                    self.selections.pop(client, None)
                    if node is not None:
                        self.selections[client] = node
            case _:
                pass

    async def until(self, holds: Callable[[Self], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not holds(self):
                self._news.clear()
                await self._news.wait()

    async def rounds(self, count: int) -> None:
        """Until so many more states have come."""
        wanted = self.states + count
        await self.until(lambda self: self.states >= wanted)

    async def send(self, message: Message) -> None:
        await self.socket.send_bytes(encode(message))

    async def drag(self, x: float, *, node: int = NODE, final: bool = False) -> None:
        await self.send(NodeDrag(node, x, 0.0, 0.0, final))

    async def until_at(self, x: float) -> None:
        await self.until(lambda self: abs(self.x.get(NODE, math.inf) - x) < 0.5)

    async def until_selected(self, by: Person, node: int | None) -> None:
        await self.until(lambda self: self.selections.get(by.number) == node)

    async def leave(self) -> None:
        await self.socket.close()
        await self._reading

    def vanish(self) -> None:
        """As a machine does that loses its power, but that its kernel still says so."""
        assert self.socket._response.connection is not None
        assert self.socket._response.connection.transport is not None
        self.socket._response.connection.transport.abort()


class Meeting:
    """A server, and people on it."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session
        self.people: list[Person] = []

    async def join(self, query: str = "?notices=1") -> Person:
        person = Person(await self._session.ws_connect(self.server.url + query, max_msg_size=0))
        self.people.append(person)
        await person.until(lambda self: self.states > 0)
        return person

    async def join_at(self, gateway: int) -> Person:
        """Somebody whom the kernel gives to that gateway; he has told his number, and selected nothing."""
        for _ in range(64):
            person = await self.join()
            await person.send(NodeSelect(None))
            await person.until(lambda self: self.number >= 0)
            if person.gateway == gateway:
                return person
            await person.leave()
        raise AssertionError(f"nobody came to gateway {gateway}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with launch(
        ServerOptions(source=SOURCE, port=0, workers=2, active_interval_ms=20, stable_interval_ms=50)
    ) as running:
        yield running


@contextlib.asynccontextmanager
async def meeting_at(server: Server) -> AsyncIterator[Meeting]:
    async with aiohttp.ClientSession() as session:
        held = Meeting(server, session)
        yield held
        for person in held.people:
            await person.leave()


@pytest.fixture
async def meeting(server: Server) -> AsyncIterator[Meeting]:
    async with meeting_at(server) as held:
        yield held


# --- selections


@pytest.mark.processes
async def test_a_selection_is_told_to_all_on_every_gateway_until_it_is_another_or_none(meeting: Meeting) -> None:
    ann, near, far = [await meeting.join_at(gateway) for gateway in (0, 0, 1)]
    for node in (3, 4, None):
        await ann.send(NodeSelect(node))
        for person in (ann, near, far):
            await person.until_selected(ann, node)
    assert all(notice.get("own") for notice in ann.notices if notice["client"] == ann.number)
    assert not any(notice.get("own") for notice in (*near.notices, *far.notices) if notice["client"] == ann.number)


@pytest.mark.processes
async def test_who_comes_later_learns_of_it_and_who_asked_for_no_notices_does_not(meeting: Meeting) -> None:
    ann = await meeting.join_at(1)
    await ann.send(NodeSelect(5))
    await ann.until(lambda self: self.selections.get(self.number) == 5)
    for gateway in (0, 1):
        late = await meeting.join_at(gateway)
        await late.until(lambda self: self.selections.get(ann.number) == 5)
    unasked = await meeting.join("")
    await unasked.rounds(3)
    assert unasked.notices == []


@pytest.mark.processes
@pytest.mark.parametrize("how", ["closes", "vanishes"])
async def test_a_selection_ends_with_its_connection(meeting: Meeting, how: str) -> None:
    ann, far = await meeting.join_at(0), await meeting.join_at(1)
    await ann.send(NodeSelect(5))
    await far.until(lambda self: self.selections.get(ann.number) == 5)
    if how == "closes":
        await ann.leave()
    else:
        ann.vanish()
    await far.until(lambda self: ann.number not in self.selections)
    late = await meeting.join_at(0)
    assert ann.number not in late.selections


# --- drags


@pytest.mark.processes
async def test_who_began_to_drag_last_has_it_and_when_he_lets_go_the_other_has_it_again(meeting: Meeting) -> None:
    ann, bob, watcher = [await meeting.join_at(gateway) for gateway in (0, 1, 0)]
    await ann.drag(FAR)
    await watcher.until_at(FAR)
    await bob.drag(-FAR)
    await watcher.until_at(-FAR)
    await ann.drag(FAR + 50)
    await watcher.rounds(5)
    assert abs(watcher.x[NODE] + FAR) < 0.5  # not hers any more
    await bob.drag(-FAR - 50, final=True)
    await watcher.until_at(FAR + 50)
    await ann.drag(FAR, final=True)
    await watcher.until(lambda self: abs(self.x[NODE]) < FAR - 50)  # nobody's: springs draw it home


@pytest.mark.processes
async def test_the_final_of_who_has_lost_a_node_does_not_release_it(meeting: Meeting) -> None:
    ann, bob = await meeting.join_at(0), await meeting.join_at(1)
    await ann.drag(FAR)
    await bob.until_at(FAR)
    await bob.drag(-FAR)
    await ann.until_at(-FAR)
    await ann.drag(FAR, final=True)
    for _ in range(5):
        await bob.drag(-FAR)
        await ann.rounds(2)
        assert abs(ann.x[NODE] + FAR) < 0.5
    await bob.drag(-FAR, final=True)
    await ann.until(lambda self: abs(self.x[NODE]) < FAR - 50)


@pytest.mark.processes
async def test_a_dragger_who_vanishes_holds_for_half_a_second_and_may_come_back(meeting: Meeting) -> None:
    ann, watcher = await meeting.join_at(0), await meeting.join_at(1)
    await ann.drag(FAR)
    await watcher.until_at(FAR)
    ann.vanish()
    again = await meeting.join()
    await again.drag(FAR + 50)
    await watcher.until_at(FAR + 50)
    await again.drag(FAR + 50, final=True)  # and it does not go back to the hand of the lost connection
    await watcher.until(lambda self: abs(self.x[NODE]) < FAR - 50)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await again.drag(-FAR)
    await watcher.until_at(-FAR)
    again.vanish()
    await watcher.until(lambda self: abs(self.x[NODE] + FAR) > 0.5)
    assert HOLD_US / 1e6 * 0.9 < loop.time() - began_s < 5


@pytest.mark.processes
async def test_a_filter_is_what_one_sees_and_not_what_one_may_drag(meeting: Meeting) -> None:
    ann, watcher = await meeting.join_at(0), await meeting.join_at(1)
    await ann.send(FilterUpdate(Filter(kinds=frozenset())))
    await ann.until(lambda self: self.x == {})
    await ann.drag(FAR)
    await watcher.until_at(FAR)
    await ann.send(NodeSelect(NODE))
    await watcher.until(lambda self: self.selections.get(ann.number) == NODE)
    assert all(notice["notice"] != "error" for notice in ann.notices)
    await ann.drag(0.0, final=True)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("message", "said"),
    [
        (NodeDrag(99, 1.0, 1.0, 1.0), "no node 99"),
        (NodeDrag(NODE, math.nan, 0.0, 0.0), "not finite"),
        (NodeDrag(NODE, 0.0, -math.inf, 0.0), "not finite"),
        (NodeDrag(NODE, 0.0, 0.0, 3e38), "cannot be dragged"),
        (NodeDrag(NODE, MAX_COORDINATE * 1.01, 0.0, 0.0, final=True), "cannot be dragged"),
        (NodeSelect(99), "no node 99"),
    ],
)
async def test_what_cannot_be_is_a_notice_to_that_client_and_nothing_else(
    meeting: Meeting, message: NodeDrag | NodeSelect, said: str
) -> None:
    ann, near, far = [await meeting.join_at(gateway) for gateway in (1, 1, 0)]
    await ann.rounds(1)
    before = len(near.notices), len(far.notices), len(ann.notices)
    await ann.send(message)
    await ann.until(lambda self: len(self.notices) > before[2])
    await asyncio.gather(*(person.rounds(2) for person in (near, far)))
    (notice,) = ann.notices[before[2] :]
    assert notice["notice"] == "error"
    assert said in notice["message"]
    assert (len(near.notices), len(far.notices)) == before[:2]
    assert abs(far.x[NODE]) < FAR / 2
    assert not ann.socket.closed


@pytest.mark.processes
async def test_a_node_far_out_comes_back(meeting: Meeting) -> None:
    ann, watcher = await meeting.join_at(0), await meeting.join_at(1)
    await ann.drag(MAX_COORDINATE)
    await watcher.until_at(MAX_COORDINATE)
    await ann.drag(10.0, final=True)
    await watcher.until(lambda self: abs(self.x[NODE]) < FAR)
    assert all(math.isfinite(x) for x in watcher.x.values())


# --- gateways that die


@pytest.mark.processes
async def test_what_the_clients_of_a_dead_gateway_held_and_had_selected_is_free_again(meeting: Meeting) -> None:
    """The last test of its server, because it kills a gateway."""
    server = meeting.server
    ann, bob = await meeting.join_at(0), await meeting.join_at(1)
    await ann.send(NodeSelect(5))
    await bob.send(NodeSelect(6))
    await ann.drag(FAR)
    await bob.until(lambda self: set(self.selections.values()) == {5, 6} and abs(self.x[NODE] - FAR) < 0.5)
    dead = server.pids["gateway 0"]
    os.kill(dead, signal.SIGKILL)
    await bob.until(lambda self: list(self.selections.values()) == [6])
    await bob.until(lambda self: abs(self.x[NODE]) < FAR - 50)
    async with asyncio.timeout(60):
        while server.pids.get("gateway 0") in (None, dead) or not server.scoreboard[0].published_us:
            await asyncio.to_thread(server.watch, 0.05)
    late = await meeting.join_at(0)
    await late.until(lambda self: self.selections.get(bob.number) == 6)
