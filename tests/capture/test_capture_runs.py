"""Runs of equal updates: the same messages as one by one, wherever pieces of the file end and whatever is damaged."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vfctl.capture import CapturedMessage, open_capture, open_writer
from vfctl.capture.exporters import SummaryRow, export, summary_rows
from vfctl.capture.formats import concatenated
from vfctl.capture.losses import LossLog
from vfctl.capture.message import UpdateRun
from vfctl.capture.selection import Selection
from vfctl.capture.timeline import decoded
from vfctl.errors import VfctlError
from vfctl.protocol import FullGraph, Heartbeat, Message, PositionUpdate, Trailer, encode, message_length


def updates(make_nodes: Callable[..., Any], count: int, *, timed: bool, nodes: int = 3) -> list[Message]:
    def trailer(number: int) -> Trailer | None:
        return Trailer(number, 1_700_000_000_000_000 + number * 50_000, 50_000) if timed else None

    return [PositionUpdate(make_nodes(number, range(nodes)), trailer=trailer(number)) for number in range(count)]


@pytest.fixture
def mixed(make_nodes: Callable[..., Any], graph_message: FullGraph) -> bytes:
    """Runs of several kinds with other things between them."""
    settled = [PositionUpdate(make_nodes(9), True)] * 5
    packed = [PositionUpdate(make_nodes(9), compressed=True)] * 3
    empty = [PositionUpdate(make_nodes(0, []))] * 4
    messages = [
        graph_message,
        *updates(make_nodes, 20, timed=True),
        Heartbeat(1),
        *updates(make_nodes, 7, timed=False),
        *settled,
        *packed,
        *empty,
        *updates(make_nodes, 2, timed=True, nodes=40),
        graph_message,
        *updates(make_nodes, 1, timed=True),
    ]
    return b"".join(map(encode, messages))


def outcome(messages: Any) -> tuple[list[tuple[Any, ...]], str | None]:
    """Every message with its place, as plain data, and the error at the end."""
    seen: list[tuple[Any, ...]] = []
    try:
        for item in decoded(messages, LossLog()):
            message = item.message
            content = encode(message)
            seen.append((item.number, item.time_s, item.offset, item.bytes, content))
    except VfctlError as error:
        return seen, error.message.split(":")[0]  # its place; how much of a message is there depends on the window
    return seen, None


def one_by_one(path: Path) -> list[CapturedMessage]:
    """The messages of a file as a reader without any lookahead finds them."""
    content = path.read_bytes()
    found, at = [], 0
    while at < len(content):
        length = message_length(content, at)
        assert length is not None
        found.append(CapturedMessage(content[at : at + length], None, at))
        at += length
    return found


@pytest.mark.parametrize("piece_bytes", [64, 100, 137, 1000, 2**22])
def test_runs_are_the_same_messages(
    piece_bytes: int, mixed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concatenated, "WINDOW_BYTES", piece_bytes)
    path = tmp_path / "a.bin"
    path.write_bytes(mixed)
    assert outcome(open_capture(path).runs()) == outcome(one_by_one(path))
    assert list(open_capture(path)) == one_by_one(path)


def test_a_run_is_found_and_is_long(make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(map(encode, updates(make_nodes, 1000, timed=True))))
    run, last = open_capture(path).runs()
    assert isinstance(run, UpdateRun)
    assert (len(run), run.nodes.shape, run.offset) == (999, (999, 3), 0)
    assert run.trailers is not None
    assert run.trailers["sequence"].tolist() == list(range(999))
    assert isinstance(last, CapturedMessage)  # nothing behind it confirms its length


def test_pipes_and_mcap_have_runs_too(
    record: Callable[..., Path], make_nodes: Callable[..., Any], tmp_path: Path
) -> None:
    messages = updates(make_nodes, 50, timed=True)
    plain = b"".join(map(encode, messages))
    for capture in (open_capture(record(messages)), open_capture("-", io.BytesIO(plain))):
        items = list(capture.runs())
        assert isinstance(items[0], UpdateRun)
        assert len(items) <= 4  # an MCAP chunk has a second


def test_runs_of_several_connections_stay_apart(make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    """Each with its own times and offsets, as reading one by one has them."""
    path = tmp_path / "a.mcap"
    payloads = [encode(message) for message in updates(make_nodes, 30, timed=True)]
    with open_writer(path, metadata={}) as writer:
        for number, payload in enumerate(payloads):
            writer.write(payload, 10**18 + number * 10**7, connection=7 if number % 10 < 7 else 2)
    items = list(open_capture(path).runs())
    assert [(len(item), item.connection) for item in items if isinstance(item, UpdateRun)] == [(7, 7), (3, 2)] * 3
    messages = list(open_capture(path))
    assert [message.payload for message in messages] == payloads
    assert [message.arrival_ns for message in messages] == [10**18 + number * 10**7 for number in range(30)]
    assert outcome(open_capture(path).runs()) == outcome(messages)


@pytest.mark.parametrize("every", [None, 4])
@pytest.mark.parametrize("every_s", [None, 0.05])
@pytest.mark.parametrize("nodes", [(), ("1",)])
def test_a_selection_of_several_connections_is_the_same_with_and_without_runs(
    every: int | None, every_s: float | None, nodes: tuple[str, ...], make_nodes: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.mcap"
    with open_writer(path, metadata={}) as writer:
        for number, message in enumerate(updates(make_nodes, 40, timed=True)):
            writer.write(encode(message), 10**18 + number * 10**7, connection=1 + number // 5 % 2)
    selection = Selection(every=every, every_s=every_s, nodes=nodes)

    def rows(messages: Any) -> list[SummaryRow]:
        return list(summary_rows(messages, selection))

    assert rows(open_capture(path).runs()) == rows(list(open_capture(path)))


@pytest.mark.parametrize("piece_bytes", [100, 2**22])
def test_a_file_cut_anywhere_gives_the_same_however_it_is_read(
    piece_bytes: int, mixed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    for length in (*range(1, len(mixed), 31), *range(len(mixed) - 150, len(mixed))):
        path.write_bytes(mixed[:length])
        monkeypatch.setattr(concatenated, "WINDOW_BYTES", 2**22)
        together = outcome(open_capture(path).runs())
        monkeypatch.setattr(concatenated, "WINDOW_BYTES", piece_bytes)
        assert outcome(open_capture(path)) == together, length


def test_a_file_with_flipped_bits_gives_the_same_however_it_is_read(
    mixed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    chance = random.Random(5)
    for _ in range(250):
        damaged = bytearray(mixed)
        for _ in range(chance.choice((1, 1, 3))):
            damaged[chance.randrange(4, len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        monkeypatch.setattr(concatenated, "WINDOW_BYTES", 2**22)
        together = outcome(open_capture(path).runs())
        monkeypatch.setattr(concatenated, "WINDOW_BYTES", 100)
        assert outcome(open_capture(path)) == together, damaged.hex()


@pytest.mark.parametrize("suffix", ["bin", "mcap"])
@pytest.mark.parametrize("format", ["ndjson", "json", "csv", "npz", "parquet"])
def test_every_format_is_the_same_with_and_without_runs(format: str, suffix: str, mixed: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(mixed)
    if suffix == "mcap":
        messages = one_by_one(path)
        with open_writer(path, metadata={}, overwrite=True) as writer:
            for number, message in enumerate(messages):
                writer.write(message.payload, 10**18 + number * 10**7, connection=3)

    def written(messages: Any) -> bytes:
        out = io.BytesIO()
        export(messages, format, out)
        return out.getvalue()

    assert written(open_capture(path)) == written(list(open_capture(path)))


def test_a_file_that_grows_is_read_as_far_as_it_is_whole(make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    first, second = map(encode, updates(make_nodes, 2, timed=False))
    path.write_bytes(first)
    items: Iterator[Any] = iter(open_capture(path))
    assert next(items).payload == first
    with path.open("ab") as file:
        file.write(second[:-1])
    assert next(items, None) is None


def test_frames_larger_than_a_piece(make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(map(encode, updates(make_nodes, 4, timed=True, nodes=60_000))))
    assert list(open_capture(path)) == one_by_one(path)


@pytest.mark.parametrize("hit", range(1, 5))
def test_a_count_that_lies_by_whole_messages(hit: int, make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    """It ends where a message begins, so only what stands within it tells."""
    content = bytearray(b"".join(map(encode, updates(make_nodes, 6, timed=True))))
    content[hit * len(content) // 6 + 4] ^= 4
    (tmp_path / "a.bin").write_bytes(content)
    messages, error = outcome(open_capture(tmp_path / "a.bin").runs())
    assert len(messages) == 5
    assert error is not None
