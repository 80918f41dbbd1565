"""A server's recording of itself: what is in it, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import websockets

from vfctl.bus import TIMESTAMP, BusServer, Envelope, Kind, subscribe
from vfctl.bus import unix_socket as bus_module
from vfctl.capture import open_capture
from vfctl.capture.message import CapturedMessage, Direction, type_name
from vfctl.capture.recording.series import SeriesWriter
from vfctl.errors import InputError, VfctlError
from vfctl.protocol import (
    EVERYTHING,
    Filter,
    FilterUpdate,
    FullGraph,
    Heartbeat,
    NodeDrag,
    NodeSelect,
    Notice,
    PositionUpdate,
    Trailer,
    VoiceData,
    decode,
    encode,
)
from vfctl.server.options import LiveGraph, RecordTo, ServerOptions
from vfctl.server.process import recording_tap as recording
from vfctl.server.process.launch import launch
from vfctl.server.process.recording_tap import RecordedItem, RecordingTap, WriterThread

if TYPE_CHECKING:
    from tests.server.conftest import Stage

GRAPH = LiveGraph(generator="tree", nodes=12, keep_awake=True, device="cpu")
SAMPLES = np.array([1, 2, 3], np.int16)


# --- what is taken down


@pytest.fixture
def tap() -> RecordingTap:
    return RecordingTap(active_us=50_000, stable_us=1_000_000)


def frame(stage: Stage, at_us: int, *, settled: bool = False) -> Envelope:
    return Envelope(Kind.FRAME, encode(PositionUpdate(stage.nodes(1), settled, Trailer(0, at_us, 0))))


def decoded(taken: RecordedItem | None) -> object:
    assert taken is not None
    return decode(taken.payload)


def test_states_have_the_trailer_that_a_client_would_get(tap: RecordingTap, stage: Stage) -> None:
    first = tap.on_envelope(frame(stage, 1_000_000), 0)
    second = tap.on_envelope(frame(stage, 1_050_000, settled=True), 0)
    assert first is not None
    assert first.arrival_ns == 1_000_000_000  # when it was valid, not when the recorder came to read it
    updates = [decoded(first), decoded(second)]
    assert isinstance(updates[0], PositionUpdate)
    assert isinstance(updates[1], PositionUpdate)
    assert updates[0].trailer == Trailer(1, 1_000_000, 50_000)
    assert updates[1].trailer == Trailer(2, 1_050_000, 1_000_000)
    assert updates[0].nodes.tobytes() == stage.nodes(1).tobytes()


def test_a_state_that_stays_is_taken_once_an_interval(tap: RecordingTap, stage: Stage) -> None:
    tap.on_envelope(frame(stage, 1_000_000, settled=True), 0)
    confirmed = [tap.on_envelope(Envelope(Kind.CONFIRM, TIMESTAMP.pack(at_us)), 0) for at_us in (1_500_000, 2_000_000)]
    assert confirmed[0] is None
    update = decoded(confirmed[1])
    assert isinstance(update, PositionUpdate)
    assert update.trailer == Trailer(2, 2_000_000, 1_000_000)


def test_what_is_told_to_others_is_taken_as_they_hear_it(tap: RecordingTap) -> None:
    said = Envelope(Kind.EVENT, encode(VoiceData(0, 16_000, SAMPLES)), gateway=2, client=7)
    assert decoded(tap.on_envelope(said, 5_000_000)) == VoiceData(2 * 2**24 + 7, 16_000, SAMPLES, Trailer(1, 5000, 0))
    assert decoded(tap.on_envelope(said, 6_000_000)) == VoiceData(2 * 2**24 + 7, 16_000, SAMPLES, Trailer(2, 6000, 0))
    selected = Envelope(Kind.EVENT, encode(NodeSelect(3)), gateway=2, client=7)
    assert decoded(tap.on_envelope(selected, 0)) == Notice(
        {"notice": "selection", "client": 2 * 2**24 + 7, "node_id": 3}
    )


def test_what_clients_said_is_taken_as_they_said_it(tap: RecordingTap) -> None:
    drag = encode(NodeDrag(1, 2, 3, 4))
    heard = Envelope(Kind.HEARD, TIMESTAMP.pack(77) + drag, gateway=1, client=5)
    assert tap.on_envelope(heard, 99) == RecordedItem(drag, 77, Direction.CLIENT, 2**24 + 5)
    assert tap.on_envelope(Envelope(Kind.LOST, TIMESTAMP.pack(3)), 0) is None
    assert tap.lost == 3


def test_times_never_run_backwards(tap: RecordingTap, stage: Stage) -> None:
    """A client's drag was heard between the moment of a state and its coming."""
    heard = Envelope(Kind.HEARD, TIMESTAMP.pack(1_002_000_000) + encode(NodeDrag(1, 2, 3, 4)), gateway=1, client=5)
    taken = [tap.on_envelope(each, 0) for each in (heard, frame(stage, 1_000_000), frame(stage, 1_050_000))]
    assert [each and each.arrival_ns for each in taken] == [1_002_000_000, 1_002_000_000, 1_050_000_000]
    update = decoded(taken[1])
    assert isinstance(update, PositionUpdate)
    assert update.trailer == Trailer(1, 1_000_000, 50_000), "what clients are told stays"


# --- the bus


async def test_recorders_hear_what_clients_say_and_others_do_not(tmp_path: Path) -> None:
    bus = BusServer(tmp_path / "bus")
    await bus.start()
    recorder, gateway = [await subscribe(tmp_path / "bus", timeout_s=5) for _ in range(2)]
    recorder.send(Envelope(Kind.LISTEN, TIMESTAMP.pack(0)))
    heard = Envelope(Kind.HEARD, TIMESTAMP.pack(1) + b"said", gateway=1, client=2)
    bus.on_request = lambda _: b"yes"
    gateway.send(Envelope(Kind.REQUEST, b"", 1, 1))  # once it is answered, both have been taken in
    assert (await anext(aiter(gateway))).kind is Kind.REPLY
    recorder.send(Envelope(Kind.REQUEST, b"", 0, 1))
    assert (await anext(aiter(recorder))).kind is Kind.REPLY
    gateway.send(heard)
    assert await anext(aiter(recorder)) == heard
    bus.publish_frame(b"state")
    assert (await anext(aiter(gateway))).kind is Kind.FRAME
    for subscription in (recorder, gateway):
        await subscription.close()
    await bus.close()


async def test_a_recorder_is_written_to_at_its_pace_and_told_what_it_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MAX_WAITING_HEARD", 4)
    bus = BusServer(tmp_path / "bus")
    await bus.start()
    recorder = await subscribe(tmp_path / "bus", timeout_s=5)
    recorder.send(Envelope(Kind.LISTEN, TIMESTAMP.pack(200_000)))
    recorder.send(Envelope(Kind.REQUEST, b"", 0, 1))
    bus.on_request = lambda _: b"yes"
    envelopes = aiter(recorder)
    assert (await anext(envelopes)).kind is Kind.REPLY
    began_s = time.monotonic()
    for number in range(20):
        bus.publish_frame(bytes([number]))
        bus.publish_event(Envelope(Kind.EVENT, bytes([number])))
    found = [await anext(envelopes) for _ in range(6)]
    assert time.monotonic() - began_s > 0.15  # it has had a message at the start of this interval
    assert found[0] == Envelope(Kind.FRAME, bytes([19]))  # the newest alone
    assert [each.payload[0] for each in found[1:5]] == [16, 17, 18, 19]
    assert found[5] == Envelope(Kind.LOST, TIMESTAMP.pack(16))
    await recorder.close()
    await bus.close()


async def test_what_a_gateway_cannot_hand_on_is_told_to_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source reads nothing for a while: what clients say beyond what may wait for it is missing, and counted."""
    monkeypatch.setattr(bus_module, "MAX_WAITING_COMMAND_BYTES", 4096)
    bus = BusServer(tmp_path / "bus")
    bus.on_request = lambda _: b"yes"
    await bus.start()
    recorder, gateway = [await subscribe(tmp_path / "bus", timeout_s=5) for _ in range(2)]
    envelopes = aiter(recorder)
    recorder.send(Envelope(Kind.LISTEN, TIMESTAMP.pack(0)))
    recorder.send(Envelope(Kind.REQUEST, b"", 0, 1))
    assert (await anext(envelopes)).kind is Kind.REPLY
    sent = 2000
    for number in range(sent):  # without a moment for the source, which runs in the same loop
        gateway.send(Envelope(Kind.HEARD, TIMESTAMP.pack(number) + bytes(1000), gateway=1, client=2))
    heard = [await anext(envelopes)]
    await asyncio.sleep(0.05)  # until the source has read what the gateway could send; nothing tells when
    gateway.send(Envelope(Kind.HEARD, TIMESTAMP.pack(sent) + b"the last", gateway=1, client=2))
    await gateway.close()
    async with asyncio.timeout(5):
        while heard[-1].kind is not Kind.LOST or not any(bytes(each.payload).endswith(b"the last") for each in heard):
            heard.append(await anext(envelopes))
    missing = sum(TIMESTAMP.unpack(each.payload)[0] for each in heard if each.kind is Kind.LOST)
    assert missing > 0
    assert missing + sum(each.kind is Kind.HEARD for each in heard) == sent + 1
    await recorder.close()
    await bus.close()


async def test_what_could_not_be_handed_on_is_told_even_if_nothing_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MAX_WAITING_COMMAND_BYTES", 4096)
    bus = BusServer(tmp_path / "bus")
    await bus.start()
    recorder, gateway = [await subscribe(tmp_path / "bus", timeout_s=5) for _ in range(2)]
    bus.on_request = lambda _: b"yes"
    envelopes = aiter(recorder)
    recorder.send(Envelope(Kind.LISTEN, TIMESTAMP.pack(0)))
    recorder.send(Envelope(Kind.REQUEST, b"", 0, 1))
    assert (await anext(envelopes)).kind is Kind.REPLY
    for number in range(2000):
        gateway.send(Envelope(Kind.HEARD, TIMESTAMP.pack(number) + bytes(1000), gateway=1, client=2))
    await gateway.close()
    count = 0
    async with asyncio.timeout(5):
        while (envelope := await anext(envelopes)).kind is not Kind.LOST:
            count += envelope.kind is Kind.HEARD
    assert count + TIMESTAMP.unpack(envelope.payload)[0] == 2000
    await recorder.close()
    await bus.close()


# --- the thread


class Stalled:
    """A disk that takes nothing until it is let go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.go = threading.Event()

    def open(self) -> SeriesWriter:
        assert self.go.wait(20)
        return SeriesWriter(self.path, metadata={})


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[Stalled]:
    disk = Stalled(tmp_path / "a.mcap")
    yield disk
    disk.go.set()


def test_nobody_waits_for_a_disk_that_stalls(stalled: Stalled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_WAITING_BYTES", 1000)
    failures: list[VfctlError] = []
    thread = WriterThread(stalled.open, failures.append)
    messages = [encode(Heartbeat(number)) for number in range(200)]  # of 12 bytes
    began_s = time.monotonic()
    for number, message in enumerate(messages):
        thread.put(RecordedItem(message, number))
    assert time.monotonic() - began_s < 1
    assert thread.dropped == 200 - 1000 // 12
    stalled.go.set()
    assert thread.close(10)
    assert (thread.written, failures) == (1000 // 12, [])
    assert [each.payload for each in open_capture(stalled.path)] == messages[: 1000 // 12]


def test_a_disk_that_never_takes_anything_is_given_up(stalled: Stalled) -> None:
    thread = WriterThread(stalled.open, lambda _: None)
    thread.put(RecordedItem(encode(Heartbeat(1)), 1))
    assert not thread.close(0.05)


def test_a_full_disk_is_told_once_and_the_rest_is_counted(tmp_path: Path) -> None:
    (tmp_path / "full.bin").symlink_to("/dev/full")
    failed: list[VfctlError] = []
    told = threading.Event()

    def on_failure(error: VfctlError) -> None:
        failed.append(error)
        told.set()

    thread = WriterThread(lambda: SeriesWriter(tmp_path / "full.bin", metadata={}), on_failure)
    thread.put(RecordedItem(encode(Heartbeat(1)), 1))
    assert told.wait(5)
    thread.put(RecordedItem(encode(Heartbeat(2)), 1))
    assert thread.close(5)
    assert isinstance(failed[0], InputError)
    assert "No space left" in failed[0].message
    assert len(failed) == 1
    assert thread.dropped >= 1


def test_what_waited_when_the_disk_was_full_is_counted(tmp_path: Path) -> None:
    """Also what the thread had taken in hand with the message that did not fit."""
    (tmp_path / "full.bin").symlink_to("/dev/full")
    go, told = threading.Event(), threading.Event()

    def open_writer() -> SeriesWriter:
        assert go.wait(20)
        return SeriesWriter(tmp_path / "full.bin", metadata={})

    thread = WriterThread(open_writer, lambda _: told.set())
    for number in range(7):
        thread.put(RecordedItem(encode(Heartbeat(number)), number))
    go.set()
    assert told.wait(5)
    assert (thread.written, thread.dropped) == (0, 7)
    assert thread.close(5)


def test_a_bug_in_the_thread_is_told_like_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A recording must not end in silence, as if it were whole."""
    failed: list[VfctlError] = []
    thread = WriterThread(lambda: SeriesWriter(tmp_path / "own.mcap", metadata={}), failed.append)
    thread.put(RecordedItem(encode(Heartbeat(1)), -1))
    thread.close(5)
    assert [error.message.partition(":")[0] for error in failed] == ["the recording failed"]
    assert thread.dropped == 1
    assert "Traceback" in caplog.text


# --- whole servers


def fetch(url: str) -> str:
    with urllib.request.urlopen(url) as response:
        return str(response.read().decode())


def messages(path: Path) -> list[CapturedMessage]:
    return list(open_capture(path))


@pytest.mark.processes
async def test_a_server_records_what_it_sends_and_what_clients_send(tmp_path: Path) -> None:
    path = tmp_path / "own.mcap"
    with launch(ServerOptions(source=GRAPH, port=0, workers=2, record=RecordTo(str(path)))) as server:
        said = [
            FilterUpdate(Filter(kinds=frozenset({"class"}))),
            NodeSelect(3),
            NodeDrag(3, 1, 2, 3, True),
            NodeDrag(999, 1, 2, 3),  # is refused, but said
            VoiceData(0, 16_000, SAMPLES),
            FilterUpdate(EVERYTHING),
        ]
        async with websockets.connect(f"{server.url}?timed=1&notices=1", compression=None) as connection:
            for message in said:
                await connection.send(encode(message))
            await connection.send(encode(Heartbeat(1)))
            while not isinstance(decode(await connection.recv()), Heartbeat):
                pass
            for _ in range(8):  # the recording goes on for as many states
                while not isinstance(decode(await connection.recv()), PositionUpdate):
                    pass
        metrics = await asyncio.to_thread(fetch, server.url.replace("ws:", "http:").replace("/ws", "/metrics"))
    assert server.recording_failure is None
    found = messages(path)
    of_clients = [each for each in found if each.direction is Direction.CLIENT]
    assert [decode(each.payload) for each in of_clients] == said
    assert len({each.connection for each in of_clients}) == 1
    of_server = [each for each in found if each.direction is Direction.SERVER]
    names = [type_name(each.payload) for each in of_server]
    assert names[0] == "FullGraph"
    assert {"Notice", "VoiceData", "PositionUpdate"} <= set(names)
    graph = decode(of_server[0].payload)
    assert isinstance(graph, FullGraph)
    assert graph.metadata is not None
    updates = [decode(each.payload) for each in of_server if type_name(each.payload) == "PositionUpdate"]
    sequences = [update.trailer.sequence for update in updates if isinstance(update, PositionUpdate) and update.trailer]
    assert sequences == list(range(1, len(updates) + 1))
    times_s = np.array([each.arrival_ns for each in of_server if type_name(each.payload) == "PositionUpdate"]) / 1e9
    assert np.median(np.diff(times_s)) == pytest.approx(0.05, abs=0.017)  # the active interval, not every tick
    figures = server.scoreboard.recording
    assert (figures.messages, figures.dropped, figures.files) == (len(found), 0, 1)
    assert "vfctl_recorded_messages_total" in metrics
    assert "vfctl_recording_dropped_messages_total 0.0" in metrics


@pytest.mark.processes
async def test_clients_never_notice_a_recording_that_stalls(tmp_path: Path) -> None:
    """Nobody reads the pipe that is recorded to: the file cannot even be opened."""
    path = tmp_path / "pipe.mcap"
    os.mkfifo(path)
    with launch(ServerOptions(source=GRAPH, port=0, record=RecordTo(str(path)))) as server:
        async with websockets.connect(server.url, compression=None) as connection:
            await connection.recv()
            began_s = time.monotonic()
            for _ in range(20):
                assert isinstance(decode(await connection.recv()), PositionUpdate)
            assert time.monotonic() - began_s < 2
        server.watch(0)
        assert server.scoreboard.recording.messages == 0
    assert server.recording_failure is not None
    assert "the disk is too slow" in server.recording_failure.message


@pytest.mark.processes
async def test_a_full_disk_ends_the_recording_and_not_the_server(tmp_path: Path) -> None:
    (tmp_path / "full.mcap").symlink_to("/dev/full")
    said: list[str] = []
    with launch(ServerOptions(source=GRAPH, port=0, record=RecordTo(str(tmp_path / "full.mcap")))) as server:
        async with websockets.connect(server.url, compression=None) as connection:
            deadline_s = time.monotonic() + 10
            while not said:
                assert time.monotonic() < deadline_s
                server.watch(0.05, said.append)
            for _ in range(3):
                await connection.recv()
    assert "No space left on device" in said[0]
    assert "the server goes on without recording" in said[0]
    assert server.recording_failure is not None
