"""The meter: latency, latency corrected for coordinated omission, order, and sampled content."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from typing import Self

import numpy as np
import pytest

from vfctl.loadtest.generator.frames import FrameReader, ReceivedMessage
from vfctl.loadtest.generator.meter import SAMPLE_EVERY, Meter, is_full
from vfctl.loadtest.generator.observations import Observations, Outcome
from vfctl.loadtest.generator.simulated_client import SimulatedClient
from vfctl.loadtest.scenario.roles import SlowReader, Viewer
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    FullGraph,
    MessageType,
    PositionUpdate,
    Trailer,
    View,
    encode,
)

INTERVAL_US = 50_000
SETTLED = 0x20


class Stream:
    """The updates of one client, with times in µs."""

    def __init__(self, end_us: int = 10**12) -> None:
        self.errors: Counter[str] = Counter()
        self.meter = Meter([Viewer()], self.errors)
        self.meter.begin(0, end_us * 1000)
        self.client = SimulatedClient(0)
        self.sequence = 0

    def update(
        self, stamp_us: int, arrival_us: int, *, flags: int = 4, interval_us: int = INTERVAL_US, step: int = 1
    ) -> None:
        self.sequence += step
        self.meter.record_update(
            self.client, flags, 100, self.sequence, stamp_us, interval_us, arrival_us * 1000, (arrival_us + 7) * 1000
        )

    @property
    def seen(self) -> Observations:
        return self.meter.present[0]

    def corrected_us(self) -> list[int]:
        """The corrected latencies in ascending order, to three digits."""
        self.seen.flush()
        corrected = self.seen.latency_corrected
        return [corrected.percentile_us(100 * rank / corrected.count) for rank in range(1, corrected.count + 1)]


def about(*values_us: int) -> object:
    """These values in ascending order, to three digits."""
    return pytest.approx(sorted(values_us), rel=0.001)


def test_a_server_in_time_has_the_same_latency_with_and_without_correction() -> None:
    stream = Stream()
    for number in range(5):
        stream.update(number * INTERVAL_US, number * INTERVAL_US + 300)
    assert stream.corrected_us() == about(*[300] * 5)
    seen = stream.seen
    seen.flush()
    assert (seen.latency.min_us, seen.latency.max_us, seen.latency.count) == (300, 300, 5)
    assert seen.latency_user.max_us == 307


def test_a_stall_shows_in_the_corrected_latency_only() -> None:
    """Coordinated omission: the server sends nothing for 200 ms, then continues with new timestamps."""
    stream = Stream()
    stream.update(0, 300)
    stream.update(250_000, 250_300)
    # Due at 50 ms; and the updates of 100, 150 and 200 ms never came.
    assert stream.corrected_us() == about(300, 200_300, 150_300, 100_300, 50_300)
    seen = stream.seen
    seen.flush()
    assert seen.latency.max_us == 300


def test_a_stall_that_never_ends_shows_at_the_end() -> None:
    stream = Stream(end_us=200_000)
    stream.update(0, 300)
    stream.meter.close([stream.client], [], now_ns=10**15)
    assert stream.corrected_us() == about(300, 150_000, 100_000, 50_000)


def test_updates_of_a_lost_connection_stay_due() -> None:
    """A server that dies, or is not reachable for a while, serves nobody in time."""
    stream = Stream()
    stream.update(0, 300)
    stream.client.restart_stream()  # lost, and connected again
    stream.update(140_000, 140_300)
    assert stream.corrected_us() == about(300, 90_300, 40_300)
    assert stream.seen.gaps == 0


def test_coming_to_rest_lengthens_the_interval_and_is_no_stall() -> None:
    stream = Stream()
    stream.update(0, 300)
    stream.update(600_000, 600_300, flags=4 | SETTLED, interval_us=1_000_000)
    assert stream.corrected_us() == about(300, 300)
    stream.update(1_700_000, 1_700_300, flags=4 | SETTLED, interval_us=1_000_000)
    assert stream.corrected_us() == about(300, 300, 100_300)


def test_with_an_unknown_interval_no_update_is_due() -> None:
    stream = Stream()
    stream.update(1, 300, interval_us=0)
    stream.update(900_000, 900_300, interval_us=0)
    assert stream.corrected_us() == about(299, 300)


@pytest.mark.parametrize(
    ("sequences", "gaps", "duplicates", "reordered"),
    [
        ([1, 2, 3], 0, 0, 0),
        ([1, 2, 5], 2, 0, 0),
        ([1, 2, 2, 3], 0, 1, 0),
        ([1, 3, 2, 4], 1, 0, 1),
        ([7, 8], 0, 0, 0),
    ],
)
def test_gaps_duplicates_and_reordering(sequences: list[int], gaps: int, duplicates: int, reordered: int) -> None:
    stream = Stream()
    for sequence in sequences:
        stream.update(1, 2, step=sequence - stream.sequence)
    seen = stream.seen
    assert (seen.gaps, seen.duplicates, seen.reordered) == (gaps, duplicates, reordered)


@pytest.mark.parametrize(("first", "gaps"), [(10, 0), (11, 0), (12, 1)])
def test_a_full_graph_restarts_the_count(first: int, gaps: int) -> None:
    stream = Stream()
    stream.update(1, 2, step=99)
    graph = ReceivedMessage(2, int(MessageType.FULL_GRAPH), 4, 100, 10, 5, INTERVAL_US)
    stream.meter.record_message(stream.client, graph, 1, 1)
    stream.update(1, 2, step=first - stream.sequence)
    seen = stream.seen
    assert (seen.gaps, seen.duplicates, seen.reordered, seen.frames) == (gaps, 0, 0, 3)


def sample(payload: bytes) -> Stream:
    stream = Stream()
    stream.meter.record_message(
        stream.client, ReceivedMessage(2, payload[1], payload[2], 100, 1, 5, 6, payload, True), 1, 1
    )
    return stream


def nodes(count: int) -> np.ndarray:
    made = np.zeros(count, NODE_DTYPE)
    made["id"] = range(count)
    return made


def test_sampled_frames_are_decoded() -> None:
    for message in (
        PositionUpdate(nodes(5), trailer=Trailer(1, 2, 3)),
        PositionUpdate(nodes(5), trailer=Trailer(1, 2, 3), compressed=True),
        FullGraph(nodes(2), np.zeros(0, EDGE_DTYPE), trailer=Trailer(1, 2, 3)),
    ):
        seen = sample(encode(message)).seen
        assert (seen.sampled, seen.wrong) == (1, 0)


def test_wrong_bytes_are_counted_and_not_ignored() -> None:
    good = encode(PositionUpdate(nodes(5), trailer=Trailer(1, 2, 3)))
    infinite, twice = nodes(5), nodes(5)
    infinite["x"][2] = np.inf
    twice["id"][2] = 0
    for payload in (good[:-1], good + b"x", encode(PositionUpdate(infinite)), encode(PositionUpdate(twice))):
        sampled = sample(payload)
        assert (sampled.seen.sampled, sampled.seen.wrong, len(sampled.errors)) == (1, 1, 1)


def test_sampled_compact_frames_are_checked_as_far_as_possible() -> None:
    encoder, view = CompactEncoder(), View(nodes(50)["id"])
    encoder.push(0, np.random.default_rng(0).normal(0, 1, (3, 50)).astype(np.float32))
    key, history = encoder.section(view, None)
    encoder.push(1, np.random.default_rng(1).normal(0, 1, (3, 50)).astype(np.float32))
    residual, _ = encoder.section(view, history)
    for section in (key, residual):
        seen = sample(encode(CompactUpdate(50, section, False, Trailer(1, 2, 3)))).seen
        assert (seen.sampled, seen.wrong) == (1, 0)
        for wrong in (section[:12], section[:-1], section + b"\x01"):
            seen = sample(encode(CompactUpdate(50, wrong, False, Trailer(1, 2, 3)))).seen
            assert (seen.sampled, seen.wrong) == (1, 1)


class Sampled:
    """Clients whose sampled messages have their payload, as from a reader."""

    def __init__(self, roles: int = 1) -> None:
        self.meter = Meter([Viewer()] * roles, Counter())
        self.clients = [SimulatedClient(number, number) for number in range(roles)]
        for client in self.clients:
            client.reader, client.socket = FrameReader(1), socket.socket()
        self.payload = encode(PositionUpdate(nodes(2), trailer=Trailer(1, 2, 3)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            assert client.socket is not None
            client.socket.close()

    def arrive(self, client: SimulatedClient, at_us: int, *, type_id: int = 2, timed: bool = True) -> bool:
        """A message; whether it was sampled."""
        assert client.reader is not None
        asked, client.reader.sample_next = client.reader.sample_next, False
        assert not (asked and client.whole_bytes), "it would be read without its reader"
        stamp = (client.sequence + 1, at_us, 0) if timed else (0, 0, 0)
        payload = self.payload if asked else None
        client.whole_bytes = 100
        self.meter.record_message(
            client, ReceivedMessage(2, type_id, 4, 100, *stamp, payload, asked), at_us * 1000, at_us * 1000
        )
        return asked

    def sampled(self, role: int = 0) -> int:
        return self.meter.present[role].sampled


@pytest.mark.parametrize("timed", [True, False])
def test_a_stage_is_sampled_at_once_then_more_and_more_seldom_to_one_message_in_a_thousand(timed: bool) -> None:
    """So short runs have samples, and so do servers without timestamps."""
    with Sampled() as run:
        (client,) = run.clients
        for start_us in (1_000, 100_000):
            run.meter.begin(start_us * 1000)
            gaps, last = [], start_us
            for at_us in range(start_us, start_us + 5 * SAMPLE_EVERY):
                if run.arrive(client, at_us, timed=timed):
                    gaps.append(at_us - last)
                    last = at_us
            assert gaps[:5] == [1, 2, 4, 8, 16]
            assert gaps[-2:] == [SAMPLE_EVERY] * 2
            assert max(gaps) == SAMPLE_EVERY


def test_messages_before_a_stage_are_none_of_its_samples() -> None:
    with Sampled() as run:
        (client,) = run.clients
        run.meter.begin(0)
        run.meter.begin(1_000_000)
        for at_us in range(500):
            assert not run.arrive(client, at_us)
        assert [run.arrive(client, 1000 + number) for number in range(3)] == [False, True, False]


def test_every_role_is_sampled_in_every_stage_with_the_first_update_that_belongs_to_it() -> None:
    """Even if its clients receive few updates."""
    with Sampled(roles=3) as run:
        run.meter.begin(0)
        run.meter.begin(1_000_000, clients=run.clients)
        last = run.clients[2]
        assert run.arrive(last, 500), "too early: it is asked for once more"
        assert run.arrive(last, 1_500, type_id=int(MessageType.HEARTBEAT)), "no update"
        assert run.arrive(last, 2_000)
        assert [run.sampled(role) for role in range(3)] == [0, 0, 1]
        assert run.arrive(run.clients[0], 2_001)


def test_no_sample_is_requested_of_clients_that_are_not_connected() -> None:
    meter = Meter([Viewer()], Counter())
    with Sampled() as run:
        absent, present = SimulatedClient(0), run.clients[0]
        meter.begin(0, clients=[absent, present, SimulatedClient(1)])
        assert present.reader is not None
        assert present.reader.sample_next


def test_the_buffer_of_an_unread_socket_is_found_full() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as lazy:
        sender, _ = listener.accept()
        with sender:
            assert not is_full(lazy)
            sender.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender.send(bytes(65536))
            assert is_full(lazy)


def test_stages_share_the_time_and_roles_the_messages() -> None:
    """A message belongs to the stage in which it arrived, even if it is read later."""
    meter = Meter([Viewer(), SlowReader()], Counter())
    viewer, slow = SimulatedClient(0, 0), SimulatedClient(1, 1, attentive=False)
    meter.begin(0)
    meter.begin(1_000_000, 2_000_000)
    meter.begin(3_000_000)
    for arrival_us, client in ((500, viewer), (1500, viewer), (2500, viewer), (3500, viewer), (3600, slow)):
        client.due_us = 0
        meter.record_update(
            client, 4, 100, client.sequence + 1, arrival_us - 10, 0, arrival_us * 1000, arrival_us * 1000
        )
    assert meter.drain_recent(0).count == 3, "of attentive clients; one came between two stages"
    stages = meter.report(0)
    assert [[seen.messages for seen in stage.roles] for stage in stages] == [[1, 0], [1, 0], [1, 1]]


def test_updates_due_at_the_end_of_a_stage_are_not_counted_again_in_the_next() -> None:
    stream = Stream(end_us=200_000)
    stream.update(0, 300)
    stream.meter.close([stream.client], [Outcome()], now_ns=10**15)
    assert stream.corrected_us() == about(300, 150_000, 100_000, 50_000)
    stream.meter.begin(200_000_000)
    stream.update(260_000, 260_300)
    assert stream.corrected_us() == about(60_300, 10_300)


def test_a_server_with_another_clock_is_measured_by_its_own() -> None:
    stream = Stream(end_us=10**15)
    stream.meter.offset_us = 5_000_000
    stream.update(5_000_000, 300)
    stream.update(5_050_000, 50_400)
    stream.seen.flush()
    assert (stream.seen.latency.min_us, stream.seen.latency.max_us) == (300, 400)
    assert stream.seen.latency_corrected.max_us == 400
