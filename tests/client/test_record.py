"""The recording loop: what the server sent is what the file holds."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from mcap.reader import make_reader

from vfctl.capture import open_capture
from vfctl.capture.recording.series import Rotation
from vfctl.client import connection as connection_module
from vfctl.client import record as record_module
from vfctl.client.record import RECONNECT_NOTE, record
from vfctl.errors import InputError, PeerError, ProtocolError, UsageError, VfctlError
from vfctl.protocol import Heartbeat, Reserved, encode


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch, clock):
    monkeypatch.setattr(connection_module, "SystemClock", lambda: clock)


def recorded(path) -> list[bytes]:
    with open_capture(path) as capture:
        return [message.payload for message in capture]


@pytest.mark.parametrize("suffix", [".mcap", ".bin"])
async def test_every_message_is_kept_as_it_came(server, acts, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    sent = [acts.graph, acts.update, acts.update, Reserved(12, b"future")]
    server.play(acts.say(*sent))
    progress = []
    summary = await record(
        server.url, out, stop=asyncio.Event(), on_progress=lambda so_far: progress.append(so_far.messages)
    )
    assert recorded(out) == [encode(message) for message in sent]
    assert server.queries == ["encoding=raw&timed=1&metadata=1&voice=1&notices=1"]
    assert summary.messages == 4
    assert summary.bytes == sum(len(encode(message)) for message in sent)
    assert summary.by_type == {"FullGraph": 1, "PositionUpdate": 2, "Reserved": 1}
    assert (summary.reconnects, summary.ended_by_server) == (0, True)
    assert progress == [1, 2, 3, 4]


async def test_a_reconnect_is_noted_and_the_recording_goes_on(server, acts, tmp_path):
    server.play(acts.say(acts.graph, acts.update, close=1012), acts.say(acts.graph))
    summary = await record(server.url, tmp_path / "out.mcap", stop=asyncio.Event())
    assert recorded(tmp_path / "out.mcap") == [encode(message) for message in (acts.graph, acts.update, acts.graph)]
    assert summary.reconnects == 1


async def test_stop_ends_it_with_what_there_is(server, acts, tmp_path):
    server.play(acts.stay(acts.graph))
    stop = asyncio.Event()
    summary = await record(server.url, tmp_path / "out.mcap", stop=stop, on_progress=lambda _: stop.set())
    assert recorded(tmp_path / "out.mcap") == [encode(acts.graph)]
    assert not summary.ended_by_server


async def test_the_duration_ends_it(server, acts, tmp_path):
    server.play(acts.stay(acts.graph))
    summary = await record(server.url, tmp_path / "out.mcap", duration_s=0.05, stop=asyncio.Event())
    assert summary.duration_s >= 0.05
    assert not summary.ended_by_server


async def test_a_server_that_is_not_there_leaves_no_file(server, acts, tmp_path):
    server.play(acts.answer(404, ""))
    with pytest.raises(PeerError, match="404"):
        await record(server.url, tmp_path / "out.mcap", stop=asyncio.Event())
    assert list(tmp_path.iterdir()) == []


async def test_a_server_lost_for_good_leaves_a_whole_file(server, acts, tmp_path):
    out = tmp_path / "out.mcap"
    server.play(acts.say(acts.graph, close=None))
    with pytest.raises(PeerError, match="gave up after 5 retries") as caught:
        await record(server.url, out, stop=asyncio.Event())
    kept = recorded(out)
    assert kept == [encode(acts.graph)] * len(kept)
    assert caught.value.hint == f"{out} keeps the {len(kept)} messages that came before"


async def test_a_full_disk_does_not_say_that_it_has_what_came_last(server, acts, tmp_path):
    out = tmp_path / "out.mcap"
    out.symlink_to("/dev/full")
    server.play(acts.stay(acts.graph))
    with pytest.raises(InputError, match="No space left") as caught:
        await record(server.url, out, stop=asyncio.Event(), overwrite=True, duration_s=5)
    assert caught.value.hint is None or "messages" not in caught.value.hint


async def test_garbage_ends_it_and_keeps_what_came_before(server, acts, tmp_path):
    async def act(visit):
        await visit.accept(acts.graph)
        await visit.socket.send_bytes(b"GIF89a")
        await visit.gone()
        return visit.socket

    server.play(act)
    with pytest.raises(ProtocolError, match="version 71"):
        await record(server.url, tmp_path / "out.bin", stop=asyncio.Event())
    assert recorded(tmp_path / "out.bin") == [encode(acts.graph)]


async def test_an_existing_file_is_kept_unless_asked(server, acts, tmp_path):
    out = tmp_path / "out.bin"
    out.write_bytes(encode(Heartbeat(1)))
    server.play(acts.say(acts.graph))
    with pytest.raises(InputError, match="already exists"):
        await record(server.url, out, stop=asyncio.Event())
    assert recorded(out) == [encode(Heartbeat(1))]
    await record(server.url, out, stop=asyncio.Event(), overwrite=True)
    assert recorded(out) == [encode(acts.graph)]


async def test_an_unknown_suffix_is_a_usage_error(server, acts, tmp_path):
    server.play(acts.stay(acts.graph))
    with pytest.raises(UsageError, match="no recording format"):
        await record(server.url, tmp_path / "out.gif", stop=asyncio.Event())


async def test_a_reconnect_is_noted_where_it_was(server, acts, tmp_path):
    server.play(acts.say(acts.graph, acts.update, close=1012), acts.say(acts.graph))
    out = tmp_path / "out.mcap"
    await record(server.url, out, stop=asyncio.Event())
    with out.open("rb") as file:
        notes = [note for note in make_reader(file).iter_metadata() if note.name == RECONNECT_NOTE]
    (note,) = notes
    assert note.metadata["reason"] == "closed by the server with 1012"
    assert int(note.metadata["lost_at_ns"]) < int(note.metadata["open_at_ns"])
    with out.open("rb") as file:
        summary = make_reader(file).get_summary()
    before, *_, after = (chunk.chunk_start_offset for chunk in summary.chunk_indexes)
    assert before < out.read_bytes().index(RECONNECT_NOTE.encode()) < after


async def test_a_series_and_a_size(server, acts, tmp_path):
    async def act(visit):
        await visit.accept(acts.graph)
        for number in range(100):
            await visit.socket.send_bytes(encode(Reserved(9, bytes([number]) * 20_000)))
        await visit.gone()
        return visit.socket

    server.play(act)
    out = tmp_path / "out.bin"
    summary = await record(
        server.url, out, rotation=Rotation(100_000), max_bytes=350_000, stop=asyncio.Event(), overwrite=True
    )
    assert summary.full
    assert not summary.ended_by_server
    assert [file.name for file in summary.files] == [f"out-000{number}.bin" for number in range(1, 6)]
    assert 350_000 <= sum(file.stat().st_size for file in summary.files) < 380_000
    for file in summary.files:
        assert recorded(file)[0] == encode(acts.graph)
        assert file.stat().st_size <= 100_000


async def test_what_is_known_of_the_server_is_in_the_metadata(server, acts, tmp_path, monkeypatch):
    async def who(url: str) -> str:
        return "vfctl 9.9"

    monkeypatch.setattr(record_module, "server_name", who)
    stop = asyncio.Event()
    server.play(acts.stay(acts.graph))
    recording = asyncio.create_task(record(f"{server.url}?encoding=lz4", tmp_path / "out.mcap", stop=stop))
    while not (tmp_path / "out.mcap").exists():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    stop.set()
    await recording
    with open_capture(tmp_path / "out.mcap") as capture:
        list(capture)
    assert capture.metadata["server"] == "vfctl 9.9"
    assert capture.metadata["encoding"] == "lz4"
    assert capture.metadata["graph_nodes"] == "2"
    assert len(capture.metadata["graph_sha256"]) == 64


async def test_a_quiet_stream_is_handed_over_by_a_timer(server, acts, tmp_path, monkeypatch):
    monkeypatch.setattr(record_module, "FLUSH_LOOK_S", 0.01)
    monkeypatch.setattr(record_module, "FLUSH_AGE_S", 0.05)
    server.play(acts.stay(acts.graph, acts.update))
    stop, out = asyncio.Event(), tmp_path / "out.mcap"
    recording = asyncio.create_task(record(server.url, out, stop=stop))
    deadline_s = time.monotonic() + 5
    kept: list[bytes] = []
    while len(kept) < 2:  # nothing more comes, and nothing is closed: it is in the file all the same
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)
        if out.exists():
            with open_capture(out) as capture, contextlib.suppress(VfctlError):
                kept = []
                kept.extend(message.payload for message in capture)
    stop.set()
    await recording


async def test_a_full_disk_ends_the_recording_with_what_was_before(server, acts, tmp_path):
    out = tmp_path / "full.bin"
    out.symlink_to("/dev/full")
    server.play(acts.stay(acts.graph))
    with pytest.raises(InputError, match="No space left on device"):
        await record(server.url, out, stop=asyncio.Event())
