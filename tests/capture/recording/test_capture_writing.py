"""Writing recordings: what lands in the file, and what happens when it cannot."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader

from vfctl.capture import open_capture, open_writer
from vfctl.capture.message import TYPE_NAMES, type_name
from vfctl.errors import CaptureError, InputError, ProtocolError, UsageError
from vfctl.protocol import Heartbeat, Message, NodeSelect, PositionUpdate, Reserved, describe, encode


@pytest.mark.parametrize("name", ["a.mcap", "a.bin", "A.MCAP"])
def test_what_is_written_is_read_back(name: str, record: Callable[..., Path], every_message: list[Message]) -> None:
    path = record(every_message, name)
    assert [captured.payload for captured in open_capture(path)] == [encode(message) for message in every_message]


def test_mcap_keeps_arrival_times(record: Callable[..., Path], every_message: list[Message]) -> None:
    arrivals = [captured.arrival_ns for captured in open_capture(record(every_message))]
    assert arrivals == [1_700_000_000_000_000_000 + number * 50_000_000 for number in range(len(every_message))]


def test_a_concatenation_is_the_bytes_and_nothing_else(
    record: Callable[..., Path], every_message: list[Message]
) -> None:
    path = record(every_message, "a.bin")
    assert path.read_bytes() == b"".join(map(encode, every_message))
    offsets = [captured.offset for captured in open_capture(path)]
    lengths = [len(encode(message)) for message in every_message]
    assert offsets == [sum(lengths[:number]) for number in range(len(lengths))]


def test_other_mcap_tools_can_read_it(record: Callable[..., Path], every_message: list[Message]) -> None:
    path = record(every_message)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        rows = list(reader.iter_messages())
        summary = reader.get_summary()
        (metadata,) = reader.iter_metadata()
    assert summary is not None
    assert summary.statistics.message_count == len(every_message)
    assert len(summary.chunk_indexes) >= 1
    assert metadata.name == "vfctl"
    assert metadata.metadata["url"] == "ws://test/ws"
    assert "vfctl_version" in metadata.metadata
    assert [channel.topic for _, channel, _ in rows] == [f"/{describe(message)[0]}" for message in every_message]
    assert {channel.message_encoding for _, channel, _ in rows} == {"vfctl.v4"}
    assert {schema.name for schema, _, _ in rows if schema} == {"vfctl.v4"}
    assert b"VisionFlow" in rows[0][0].data
    timed = rows[1][2]
    assert timed.publish_time == 1_700_000_000_050_000_000  # the trailer's time
    untimed = rows[0][2]
    assert untimed.publish_time == untimed.log_time


def test_metadata_is_read_back(record: Callable[..., Path], every_message: list[Message]) -> None:
    capture = open_capture(record(every_message))
    assert next(iter(capture)).payload
    assert capture.metadata["url"] == "ws://test/ws"


def test_type_names_are_those_of_describe(every_message: list[Message]) -> None:
    for message in every_message:
        assert type_name(encode(message)) == describe(message)[0]
    assert "Reserved" not in TYPE_NAMES.values()


def test_another_suffix_is_refused_and_makes_no_file(tmp_path: Path) -> None:
    for name in ("a.pcap", "a", ".mcap"):
        with pytest.raises(UsageError) as caught:
            open_writer(tmp_path / name, metadata={})
        assert ".mcap" in (caught.value.hint or "")
        assert ".bin" in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_an_existing_file_is_kept_unless_told_otherwise(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="already exists") as caught:
        open_writer(path, metadata={})
    assert caught.value.hint
    assert path.read_bytes() == b"precious"
    with open_writer(path, metadata={}, overwrite=True) as writer:
        writer.write(encode(NodeSelect(1)), 0)
    assert [captured.payload for captured in open_capture(path)] == [encode(NodeSelect(1))]


@pytest.mark.parametrize("name", ["missing/a.mcap", "missing/a.bin", "nul\0.bin"])
def test_a_place_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        open_writer(tmp_path / name, metadata={})


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_what_is_no_message_is_refused_and_leaves_no_trace(name: str, tmp_path: Path) -> None:
    good = encode(Heartbeat(1))
    with open_writer(tmp_path / name, metadata={}) as writer:
        writer.write(good, 1)
        for bad in (b"", b"\x04", b"\x03\x03\0\0\0\0\0\0", good[:-1], good + b"\0"):
            with pytest.raises(ProtocolError):
                writer.write(bad, 2)
        writer.write(good, 3)
    assert [captured.payload for captured in open_capture(tmp_path / name)] == [good, good]


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_a_dying_process_loses_a_second_at_most(name: str, tmp_path: Path, read_all: Callable[..., Any]) -> None:
    """Nothing is closed here: what another reader finds in the file is what a killed process would leave."""
    path = tmp_path / name
    writer = open_writer(path, metadata={})
    for number in range(100):  # 5 s at 20 Hz
        writer.write(encode(Heartbeat(number)), number * 50_000_000)
    found, error = read_all(open_capture(path))
    writer.close()
    assert 80 <= len(found) <= 100
    assert found == [encode(Heartbeat(number)) for number in range(len(found))]
    assert isinstance(error, CaptureError) == (name == "a.mcap")  # an MCAP file has an end that can be missing
    assert len(list(open_capture(path))) == 100


def test_flush_hands_over_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    writer = open_writer(path, metadata={})
    writer.write(encode(Heartbeat(1)), 1)
    writer.flush()
    capture = iter(open_capture(path))
    assert next(capture).payload == encode(Heartbeat(1))
    with pytest.raises(CaptureError, match="cut off"):
        next(capture)
    writer.close()


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_a_full_disk_leaves_what_was_whole(name: str, tmp_path: Path, read_all: Callable[..., Any]) -> None:
    path = tmp_path / name
    random = np.random.default_rng(1)
    sent = [encode(Reserved(0x0F, random.bytes(40_000))) for _ in range(10)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = open_writer(path, metadata={})
    written = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (210_000, hard))
    try:
        with pytest.raises(InputError, match=f"cannot write .*{name}: File too large"):  # noqa: PT012
            for number, payload in enumerate(sent):
                writer.write(payload, number * 500_000_000)
                written += 1
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(InputError, match="has ended"):
        writer.write(sent[0], 1)
    payloads, error = read_all(open_capture(path))
    assert payloads == sent[: 5 if name == "a.bin" else 3]  # what fits in 210 kB; in MCAP whole chunks of 1 s
    assert error is None  # an MCAP file gets a proper end, if there is room for its 50 bytes
    assert len(payloads) <= written


def test_a_device_that_is_full_is_an_input_error(tmp_path: Path) -> None:
    for name in ("a.bin", "a.mcap"):
        link = tmp_path / name
        link.symlink_to("/dev/full")
        with pytest.raises(InputError, match="No space left"):  # noqa: PT012  # MCAP fails in the first line already
            writer = open_writer(link, metadata={}, overwrite=True)
            writer.write(encode(Heartbeat(1)), 1)


def test_close_twice_is_fine(tmp_path: Path) -> None:
    for name in ("a.bin", "a.mcap"):
        writer = open_writer(tmp_path / name, metadata={})
        writer.write(encode(Heartbeat(1)), 1)
        writer.close()
        size = (tmp_path / name).stat().st_size
        writer.close()
        assert (tmp_path / name).stat().st_size == size


def test_memory_stays_flat(tmp_path: Path, make_nodes: Callable[..., np.ndarray]) -> None:
    import tracemalloc

    payload = encode(PositionUpdate(make_nodes(0, range(10_000))))
    with open_writer(tmp_path / "a.mcap", metadata={}) as writer:
        writer.write(payload, 0)
        tracemalloc.start()
        try:
            for number in range(100):
                writer.write(payload, number * 50_000_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 * 2**20  # 28 MB went through
