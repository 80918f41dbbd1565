"""The content check: the COMPACT chain of one client is decoded as a viewer would decode it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from vfctl.loadtest.generator.content_check import ContentCheck
from vfctl.loadtest.generator.frames import FrameReader, ReceivedMessage
from vfctl.loadtest.generator.observations import Observations
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    FullGraph,
    Heartbeat,
    Message,
    Trailer,
    View,
    encode,
)
from vfctl.protocol.compact_encoder import History
from vfctl.protocol.wire import TRAILER

NODES = 50


def graph(first_id: int = 0) -> FullGraph:
    nodes = np.zeros(NODES, NODE_DTYPE)
    nodes["id"] = range(first_id, first_id + NODES)
    return FullGraph(nodes, np.zeros(0, EDGE_DTYPE), trailer=Trailer(1, 2, 3))


class Chain:
    """The updates of one connection."""

    def __init__(self) -> None:
        self._encoder = CompactEncoder()
        self._view = View(graph().nodes["id"])
        self._history: History | None = None
        self._draw = np.random.default_rng(0)
        self._positions = self._draw.normal(0, 100, (3, NODES))
        self._round = 0

    def next(self, *, key: bool = False) -> CompactUpdate:
        self._positions += self._draw.normal(0, 0.1, (3, NODES))
        self._encoder.push(self._round, self._positions.astype(np.float32))
        self._round += 1
        section, self._history = self._encoder.section(self._view, None if key else self._history)
        return CompactUpdate(NODES, section, False, Trailer(self._round, 2, 3))


class Run:
    """Clients that connect in turn, and the faults that are found in their messages."""

    def __init__(self, *, compact: bool = True) -> None:
        self.errors: Counter[str] = Counter()
        self.seen = Observations()
        self._content = ContentCheck(self.errors, compact)

    def connect(self, number: int = 0, *, attentive: bool = True) -> SimulatedClient:
        client = SimulatedClient(number, attentive=attentive)
        client.reader = FrameReader(1)
        self._content.on_connected(client)
        return client

    def get(self, client: SimulatedClient, *messages: Message | bytes, counted: bool = True) -> tuple[int, int]:
        """(sampled, wrong) so far."""
        assert client.reader is not None
        for message in messages:
            payload = message if isinstance(message, bytes) else encode(message)
            kept = payload if client.reader.keeps_all or len(payload) < 126 else None
            arrived = ReceivedMessage(2, payload[1], payload[2], len(payload), payload=kept)
            self._content.check(client, arrived, self.seen if counted else None)
        return self.seen.sampled, self.seen.wrong


@pytest.fixture
def updates() -> Iterator[CompactUpdate]:
    chain = Chain()
    return iter(chain.next, None)


def test_every_frame_of_the_first_client_is_decoded(updates: Iterator[CompactUpdate]) -> None:
    run = Run()
    first, second = run.connect(0), run.connect(1)
    for number in range(1, 10):
        update = graph() if number == 1 else next(updates)
        assert run.get(first, update) == (number, 0)
        assert run.get(second, update) == (number, 0), "one is enough"
    assert run.get(first, Heartbeat(1)) == (9, 0), "no frame"


def test_a_wrong_bit_that_only_the_checksum_shows_is_found(updates: Iterator[CompactUpdate]) -> None:
    run = Run()
    client = run.connect()
    run.get(client, graph(), next(updates), next(updates))
    damaged = bytearray(encode(next(updates)))
    damaged[-TRAILER.size - 1] ^= 1
    assert run.get(client, bytes(damaged)) == (4, 1)
    assert "CRC-32" in next(iter(run.errors))


def test_a_frame_for_other_nodes_is_found(updates: Iterator[CompactUpdate]) -> None:
    run = Run()
    assert run.get(run.connect(), graph(first_id=1), next(updates)) == (2, 1)


def test_a_frame_that_is_left_out_is_found_and_the_chain_is_whole_again_with_a_key_frame() -> None:
    run, chain = Run(), Chain()
    client = run.connect()
    run.get(client, graph(), chain.next(), chain.next())
    chain.next()
    assert run.get(client, *(chain.next() for _ in range(5))) == (8, 5), "nothing after it can be shown"
    assert sorted(run.errors.values()) == [1, 4]
    assert run.errors["wrong bytes: COMPACT frames after a wrong one, up to the next key frame"] == 4
    assert run.get(client, chain.next(key=True), chain.next()) == (10, 5)


def test_messages_between_two_stages_are_followed_and_not_counted(updates: Iterator[CompactUpdate]) -> None:
    run = Run()
    client = run.connect()
    assert run.get(client, graph(), next(updates), next(updates), counted=False) == (0, 0)
    assert run.get(client, next(updates)) == (1, 0)


def test_after_a_disconnect_the_next_client_that_connects_is_followed() -> None:
    run, chain = Run(), Chain()
    client = run.connect(0)
    run.get(client, graph(), chain.next())
    client.reader = None
    other = run.connect(1)
    again = run.connect(0)
    own = Chain()
    assert run.get(other, graph(), own.next(), own.next()) == (5, 0)
    assert run.get(again, graph(), chain.next(key=True)) == (5, 0)


def test_a_client_that_connects_again_starts_anew() -> None:
    run = Run()
    for looked in (3, 6):
        client, chain = run.connect(), Chain()
        assert run.get(client, graph(), chain.next(), chain.next()) == (looked, 0)
        client.reader = None


def test_slow_readers_and_clients_without_compact_are_not_followed(updates: Iterator[CompactUpdate]) -> None:
    run = Run()
    run.get(run.connect(0, attentive=False), graph())
    assert run.get(run.connect(1), graph(), next(updates)) == (2, 0)
    raw = Run(compact=False)
    assert raw.get(raw.connect(), graph(), next(updates)) == (0, 0)
