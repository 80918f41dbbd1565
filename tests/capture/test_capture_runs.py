"""Runs of equal updates: the same messages as one by one, wherever pieces of the file end and whatever is damaged."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vfctl.capture import CapturedMessage, open_capture, runs
from vfctl.capture.exporters import export
from vfctl.capture.losses import LossLog
from vfctl.capture.runs import UpdateRun, with_runs
from vfctl.capture.timeline import decoded
from vfctl.errors import VfctlError
from vfctl.protocol import FullGraph, Heartbeat, Message, PositionUpdate, Trailer, encode


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
        return seen, error.message
    return seen, None


@pytest.mark.parametrize("piece_bytes", [64, 100, 137, 1000, 2**19])
def test_runs_are_the_same_messages(
    piece_bytes: int, mixed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PIECE_BYTES", piece_bytes)
    path = tmp_path / "a.bin"
    path.write_bytes(mixed)
    assert outcome(with_runs(open_capture(path))) == outcome(open_capture(path))


def test_a_run_is_found_and_is_long(make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(map(encode, updates(make_nodes, 1000, timed=True))))
    (run,) = with_runs(open_capture(path))
    assert isinstance(run, UpdateRun)
    assert (len(run), run.nodes.shape, run.offset) == (1000, (1000, 3), 0)
    assert run.trailers is not None
    assert run.trailers["sequence"].tolist() == list(range(1000))


def test_only_plain_files_have_runs(
    record: Callable[..., Path], make_nodes: Callable[..., Any], tmp_path: Path
) -> None:
    messages = updates(make_nodes, 5, timed=True)
    plain = b"".join(map(encode, messages))
    for capture in (open_capture(record(messages)), open_capture("-", io.BytesIO(plain))):
        assert all(isinstance(message, CapturedMessage) for message in with_runs(capture))


@pytest.mark.parametrize("piece_bytes", [100, 2**19])
def test_a_file_cut_anywhere_gives_what_one_by_one_gives(
    piece_bytes: int, mixed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PIECE_BYTES", piece_bytes)
    path = tmp_path / "a.bin"
    for length in (*range(1, len(mixed), 31), *range(len(mixed) - 150, len(mixed))):
        path.write_bytes(mixed[:length])
        assert outcome(with_runs(open_capture(path))) == outcome(open_capture(path)), length


def test_a_file_with_flipped_bits_gives_what_one_by_one_gives(mixed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    chance = random.Random(5)
    for _ in range(250):
        damaged = bytearray(mixed)
        for _ in range(chance.choice((1, 1, 3))):
            damaged[chance.randrange(4, len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        assert outcome(with_runs(open_capture(path))) == outcome(open_capture(path)), damaged.hex()


@pytest.mark.parametrize("format", ["ndjson", "json", "csv", "npz", "parquet"])
def test_every_format_is_the_same_with_and_without_runs(format: str, mixed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(mixed)

    def written(messages: Any) -> bytes:
        out = io.BytesIO()
        export(messages, format, out)
        return out.getvalue()

    assert written(open_capture(path)) == written(list(open_capture(path)))


def test_a_file_that_grows_is_read_as_far_as_it_is_whole(make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    first, second = map(encode, updates(make_nodes, 2, timed=False))
    path.write_bytes(first)
    items: Iterator[Any] = iter(with_runs(open_capture(path)))
    assert len(next(items)) == 1
    with path.open("ab") as file:
        file.write(second)
    assert len(next(items)) == 1
    assert next(items, None) is None


def test_frames_larger_than_a_piece(make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"".join(map(encode, updates(make_nodes, 4, timed=True, nodes=30_000))))
    found = list(with_runs(open_capture(path)))
    assert sum(map(len, found)) == 4
    np.testing.assert_array_equal(
        [run.offset for run in found], np.cumsum([0] + [run.message_bytes for run in found])[:-1]
    )


@pytest.mark.parametrize("hit", range(1, 5))
def test_a_count_that_lies_by_whole_messages(hit: int, make_nodes: Callable[..., Any], tmp_path: Path) -> None:
    """It ends where a message begins, so only what stands within it tells."""
    content = bytearray(b"".join(map(encode, updates(make_nodes, 6, timed=True))))
    content[hit * len(content) // 6 + 4] ^= 4
    (tmp_path / "a.bin").write_bytes(content)
    capture = open_capture(tmp_path / "a.bin")
    together = outcome(with_runs(capture))
    assert together == outcome(open_capture(tmp_path / "a.bin"))
    assert len(together[0]) == 5
    assert together[1] is not None
