"""Reading recordings: any file gives what is readable in it, then says what is wrong."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from os import fdopen, mkfifo, pipe
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.opcode import Opcode
from mcap.writer import CompressionType, IndexType, Writer

from vfctl.capture import open_capture
from vfctl.capture.formats.mcap_records import MAX_CHUNK_BYTES
from vfctl.errors import CaptureError, InputError, ProtocolError, VfctlError
from vfctl.protocol import NODE_DTYPE, Heartbeat, Message, NodeSelect, PositionUpdate, encode

ReadAll = Callable[..., tuple[list[bytes], VfctlError | None]]
HYPOTHESIS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def from_bytes(content: bytes) -> Any:
    return open_capture("-", io.BytesIO(content))


def read_bytes(content: bytes, read_all: ReadAll) -> tuple[list[bytes], VfctlError | None]:
    """What opening and reading these bytes gives."""
    try:
        capture = from_bytes(content)
    except VfctlError as error:
        return [], error
    return read_all(capture)


def is_prefix(some: list[bytes], all_of: list[bytes]) -> bool:
    return some == all_of[: len(some)]


# --- what it is


def test_a_single_message_is_a_concatenation_of_one() -> None:
    (captured,) = from_bytes(encode(NodeSelect(1)))
    assert (captured.payload, captured.arrival_ns, captured.offset) == (encode(NodeSelect(1)), None, 0)


def test_the_content_decides_and_not_the_name(
    tmp_path: Path, record: Callable[..., Path], every_message: list[Message]
) -> None:
    for written, renamed, format in (("a.mcap", "b.bin", "mcap"), ("a.bin", "b.mcap", "v4")):
        capture = open_capture(record(every_message, written).rename(tmp_path / renamed))
        assert capture.format == format
        assert len(list(capture)) == len(every_message)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b'{"a": 1, "b": {}}' * 9, "7b 22 61 22"),
        (b"\x03\x02\0\0\0\0\0\0", "03 02"),
        (b"\x04\x00\0\0\0\0\0\0", "unknown type 0x00"),
        (b"\x04\x02\xff\0\0\0\0\0", "flags 0xff"),
        (b"\x89MCAP", "within the magic of MCAP"),
        (b"\x89PNG\r\n\x1a\n", "89 50 4e 47"),
    ],
)
def test_what_is_no_recording_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(CaptureError) as caught:
        from_bytes(content)
    assert said in caught.value.message


def test_the_refusal_names_the_known_formats() -> None:
    with pytest.raises(CaptureError, match=r"MCAP .*concatenated V4 .*WebSocket.*pcapng.*HAR.*deployed"):
        from_bytes(b"PK\x03\x04")


def test_files_that_cannot_be_opened_are_input_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.mcap", tmp_path, "nul\0"):
        with pytest.raises(InputError, match="cannot read"):
            open_capture(path)


# --- again, from pipes, lazily


def test_a_file_can_be_read_again_and_a_pipe_says_that_it_cannot(
    record: Callable[..., Path], every_message: list[Message]
) -> None:
    capture = open_capture(record(every_message))
    assert list(capture) == list(capture)
    piped = from_bytes(encode(NodeSelect(1)))
    assert len(list(piped)) == 1
    with pytest.raises(InputError, match="only be read once"):
        list(piped)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_stdin_of_a_real_process(name: str, record: Callable[..., Path], every_message: list[Message]) -> None:
    program = (
        "from vfctl.capture import open_capture\n"
        "for captured in open_capture('-'): print(captured.offset, len(captured.payload))"
    )
    path = record(every_message, name)
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(path.read_bytes(), timeout=60)
    assert process.returncode == 0
    expected = [f"{captured.offset} {len(captured.payload)}" for captured in open_capture(path)]
    assert out.decode().splitlines() == expected


def test_a_live_pipe_gives_each_message_as_it_comes() -> None:
    reading, writing = pipe()
    with fdopen(reading, "rb") as stdin, fdopen(writing, "wb", buffering=0) as stdout:
        stdout.write(encode(Heartbeat(1)))
        messages = iter(open_capture("-", stdin))
        assert next(messages).payload == encode(Heartbeat(1))
        stdout.write(encode(Heartbeat(2)))
        assert next(messages).payload == encode(Heartbeat(2))  # the writer still has it open
        stdout.write(encode(Heartbeat(3))[:-2])
        stdout.close()
        with pytest.raises(ProtocolError, match="byte 24"):
            next(messages)


def test_a_named_pipe_is_opened_only_once(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(encode(Heartbeat(1)) * 2,))
    writer.start()
    capture = open_capture(path)
    assert not capture.rereadable
    assert len(list(capture)) == 2
    writer.join()


@pytest.mark.parametrize("name", ["a.mcap", "a.bin"])
def test_memory_stays_flat_while_reading(
    name: str, record: Callable[..., Path], make_nodes: Callable[..., np.ndarray]
) -> None:
    update = PositionUpdate(make_nodes(0, range(10_000)))
    path = record([update] * 100, name)
    tracemalloc.start()
    try:
        count = sum(1 for _ in open_capture(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 100
    assert peak < 10 * 2**20  # of 28 MB


# --- cut off


def test_a_concatenation_cut_anywhere(every_message: list[Message], read_all: ReadAll) -> None:
    payloads = [encode(message) for message in every_message]
    whole = b"".join(payloads)
    ends = [sum(map(len, payloads[: count + 1])) for count in range(len(payloads))]
    for cut in range(1, len(whole)):
        found, error = read_bytes(whole[:cut], read_all)
        complete = sum(end <= cut for end in ends)
        assert found == payloads[:complete], cut
        if cut in ends:
            assert error is None
        else:
            assert isinstance(error, ProtocolError)
            assert error.offset == (ends[complete - 1] if complete else 0)


def chunked(compression: CompressionType, payloads: list[bytes], chunk_size: int = 100, **options: Any) -> bytes:
    """MCAP as another writer might write it."""
    out = io.BytesIO()
    writer = Writer(out, chunk_size=chunk_size, compression=compression, **options)
    writer.start()
    channel = writer.register_channel("/any", "vfctl.v4", writer.register_schema("s", "", b""))
    for number, payload in enumerate(payloads):
        writer.add_message(channel, log_time=number, data=payload, publish_time=number)
    writer.finish()
    return out.getvalue()


HEARTBEATS = [encode(Heartbeat(number)) for number in range(12)]


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunking", [True, False])
def test_mcap_cut_anywhere_gives_whole_messages_and_says_so(
    compression: CompressionType, chunking: bool, read_all: ReadAll
) -> None:
    whole = chunked(compression, HEARTBEATS, use_chunking=chunking)
    assert read_bytes(whole, read_all) == (HEARTBEATS, None)
    most = 0
    for cut in range(1, len(whole)):
        found, error = read_bytes(whole[:cut], read_all)
        assert isinstance(error, CaptureError)
        assert "cut off" in error.message or "end the file" in error.message
        assert is_prefix(found, HEARTBEATS)
        assert len(found) >= most  # what a shorter file gave, a longer one gives too
        most = len(found)
    assert most == len(HEARTBEATS)


def test_what_is_whole_in_a_chunk_that_was_cut_off_is_read(read_all: ReadAll) -> None:
    random = np.random.default_rng(1)
    payloads = [encode(PositionUpdate(_nodes(random))) for _ in range(200)]
    for compression in (CompressionType.LZ4, CompressionType.NONE):
        whole = chunked(compression, payloads, chunk_size=2**20)
        found, error = read_bytes(whole[: len(whole) // 2], read_all)
        assert isinstance(error, CaptureError)
        assert 70 <= len(found) <= 100  # LZ4 gives back whole blocks of 64 kB
        assert is_prefix(found, payloads)


def _nodes(random: np.random.Generator) -> Any:
    return np.frombuffer(random.bytes(100 * NODE_DTYPE.itemsize), NODE_DTYPE)


# --- damaged


def test_every_single_bit_of_our_mcap_files_is_guarded(
    record: Callable[..., Path], graph_message: Message, read_all: ReadAll
) -> None:
    """Checksums cover all of the file: no flipped bit goes unnoticed, and none costs more than its own chunk."""
    payloads = [encode(graph_message), *HEARTBEATS]
    content = bytearray(record(payloads, times_s=[0.0, *(2.0 + number for number in range(12))]).read_bytes())
    for position in range(len(content)):
        content[position] ^= 1 << position % 8
        found, error = read_bytes(bytes(content), read_all)
        assert isinstance(error, CaptureError), position
        assert set(found) <= set(payloads), position
        content[position] ^= 1 << position % 8
    assert read_bytes(bytes(content), read_all) == (payloads, None)


def test_no_file_of_ours_is_called_damaged(record: Callable[..., Path], every_message: list[Message]) -> None:
    """Numbers in an index may look like the start of a record."""
    rng = random.Random(8)
    for number in range(60):
        kinds = rng.sample(every_message, 6)
        messages = [rng.choice(kinds) for _ in range(rng.randrange(8, 60))]
        times_s = [0.37 * place for place in range(len(messages))]
        found = open_capture(record(messages, f"{number}.mcap", times_s=times_s))
        assert [each.payload for each in found] == list(map(encode, messages)), number


def test_a_damaged_chunk_costs_only_itself(read_all: ReadAll) -> None:
    whole = bytearray(chunked(CompressionType.NONE, HEARTBEATS))
    whole[whole.index(HEARTBEATS[0]) + 5] ^= 1
    found, error = read_bytes(bytes(whole), read_all)
    assert isinstance(error, CaptureError)
    assert "checksum of a chunk" in error.message
    assert f"byte {whole.index(bytes([6]))}" in error.message  # where the chunk starts
    assert found
    assert found == HEARTBEATS[-len(found) :]  # also though their channel was in that chunk


@pytest.mark.parametrize("compression", list(CompressionType))
def test_a_wrong_length_of_a_chunk_costs_no_message(compression: CompressionType, read_all: ReadAll) -> None:
    """It is told again by what is in the chunk."""
    whole = bytearray(chunked(compression, HEARTBEATS))
    start = 8
    while whole[start] != Opcode.CHUNK:
        start += 9 + int.from_bytes(whole[start + 1 : start + 9], "little")
    for bit in range(64):
        whole[start + 1 + bit // 8] ^= 1 << bit % 8
        found, error = read_bytes(bytes(whole), read_all)
        whole[start + 1 + bit // 8] ^= 1 << bit % 8
        assert found == HEARTBEATS, bit
        assert isinstance(error, CaptureError), bit
        assert f"byte {start}: a chunk of" in error.message, bit


def test_a_damaged_concatenation_gives_all_around_the_damage(read_all: ReadAll) -> None:
    found, error = read_bytes(b"".join(HEARTBEATS[:3]) + b"\x05" + HEARTBEATS[3], read_all)
    assert found == HEARTBEATS[:4]
    assert isinstance(error, ProtocolError)
    assert error.offset == 36
    assert "version 5" in error.message


def test_zeros_at_the_end_of_a_file_are_noticed(read_all: ReadAll) -> None:
    whole = chunked(CompressionType.LZ4, HEARTBEATS)
    found, error = read_bytes(whole[: len(whole) // 2] + bytes(4096), read_all)
    assert is_prefix(found, HEARTBEATS)
    assert isinstance(error, CaptureError)


@given(data=st.data())
@HYPOTHESIS
def test_mutated_recordings_raise_nothing_else(
    data: st.DataObject, record: Callable[..., Path], every_message: list[Message], read_all: ReadAll
) -> None:
    name = data.draw(st.sampled_from(["a.mcap", "a.bin"]))
    content = bytearray(record(every_message, name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "insert", "delete", "overwrite"])):
            case "flip":
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            case "insert":
                content[at:at] = data.draw(st.binary(max_size=12))
            case "delete":
                del content[at : at + data.draw(st.integers(1, 12))]
            case _:
                content[at : at + 8] = data.draw(st.sampled_from([b"\xff" * 8, b"\0" * 8]))
        if not content:
            break
    found, _ = read_bytes(bytes(content), read_all)
    assert all(payload[0] == 4 for payload in found)


@given(
    content=st.binary(max_size=200),
    start=st.sampled_from([b"", b"\x89MCAP0\r\n", b"\x04\x02\x00\x00", b"\x89MCAP0\r\n\x06"]),
)
@HYPOTHESIS
def test_any_bytes_raise_nothing_else(content: bytes, start: bytes, read_all: ReadAll) -> None:
    found, error = read_bytes(start + content, read_all)
    assert found or error or start + content == b""


# --- hostile


def _record(opcode: int, body: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(body)) + body


def _chunk(compression: bytes, data: bytes, size: int, crc: int = 0) -> bytes:
    head = struct.pack("<QQQI", 0, 0, size, crc) + struct.pack("<I", len(compression)) + compression
    return _record(0x06, head + struct.pack("<Q", len(data)) + data)


MAGIC = b"\x89MCAP0\r\n"


@pytest.mark.parametrize("size", [1000, 2**27, 2**40])
@pytest.mark.parametrize("compression", [b"lz4", b"zstd"])
def test_a_decompression_bomb_stays_small(compression: bytes, size: int, read_all: ReadAll) -> None:
    zeros = bytes(64 * 2**20)
    data = lz4.frame.compress(zeros) if compression == b"lz4" else zstandard.compress(zeros)
    tracemalloc.start()
    try:
        found, error = read_bytes(MAGIC + _chunk(compression, data, size), read_all)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == []
    assert isinstance(error, CaptureError)
    assert "a chunk" in error.message
    assert peak < 2 * min(size, 2**27) + 4 * 2**20 if size != 2**40 else peak < 4 * 2**20  # bounded by the promise


def test_lengths_that_lie_allocate_nothing(read_all: ReadAll) -> None:
    tracemalloc.start()
    try:
        for length in (MAX_CHUNK_BYTES, MAX_CHUNK_BYTES + 1, 2**63, 2**64 - 1):
            for opcode in (0x05, 0x06, 0x09, 0x0C, 0x80):
                found, error = read_bytes(MAGIC + struct.pack("<BQ", opcode, length) + b"\1" * 50, read_all)
                assert found == []
                assert isinstance(error, CaptureError)
        read_bytes(b"\x04\x02\0\0" + struct.pack("<I", 9_000_000) + b"\1" * 50, read_all)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_recordings_of_other_things_are_refused(read_all: ReadAll) -> None:
    out = io.BytesIO()
    writer = Writer(out)
    writer.start("ros2")
    channel = writer.register_channel("/camera", "cdr", writer.register_schema("sensor_msgs/Image", "ros2msg", b"x"))
    writer.add_message(channel, 0, b"\x04\x03\0\0\0\0\0\0", 0)
    writer.finish()
    found, error = read_bytes(out.getvalue(), read_all)
    assert found == []
    assert isinstance(error, CaptureError)
    assert "/camera" in error.message
    assert "'cdr'" in error.message
    assert error.hint


def test_messages_that_are_not_v4_are_left_out_and_reported(read_all: ReadAll) -> None:
    odd = [HEARTBEATS[0], b"\x03\x05\0\0", HEARTBEATS[1], HEARTBEATS[2] + b"\0", b"", HEARTBEATS[3]]
    found, error = read_bytes(chunked(CompressionType.LZ4, odd), read_all)
    assert found == [HEARTBEATS[0], HEARTBEATS[1], HEARTBEATS[3]]
    assert isinstance(error, CaptureError)
    assert "4 bytes of V3, expected 1 and 48 a node" in error.message
    assert "2 more places" in error.message


def test_an_unknown_channel_is_an_error(read_all: ReadAll) -> None:
    message = _record(0x05, struct.pack("<HIQQ", 77, 0, 0, 0) + HEARTBEATS[0])
    found, error = read_bytes(MAGIC + _chunk(b"", message, len(message), zlib.crc32(message)), read_all)
    assert found == []
    assert isinstance(error, CaptureError)
    assert "channel 77" in error.message


# --- from other writers


def test_channels_of_others_are_left_out_and_said(read_all: ReadAll) -> None:
    out = io.BytesIO()
    writer = Writer(out, compression=CompressionType.ZSTD)
    writer.start("ros2")
    image = writer.register_channel("/camera", "cdr", writer.register_schema("sensor_msgs/Image", "ros2msg", b"x"))
    ours = writer.register_channel("/any", "vfctl.v4", 0)
    for number, payload in enumerate(HEARTBEATS):
        writer.add_message(image, number, payload, number)
        writer.add_message(ours, number, payload, number)
    writer.finish()
    capture = from_bytes(out.getvalue())
    assert read_all(capture) == (HEARTBEATS, None)
    assert capture.notes == ["12 messages of other channels were left out: '/camera' ('cdr')"]


def test_directions_connections_and_forms_of_channels() -> None:
    v2 = b"\x02" + bytes(72)
    out = io.BytesIO()
    writer = Writer(out)
    writer.start()
    server = writer.register_channel("/v2", "vfctl.v2", 0, {"direction": "server", "connection": "3"})
    client = writer.register_channel("/client/Heartbeat", "vfctl.v4", 0, {"direction": "client"})
    writer.add_message(server, 1, v2, 1)
    writer.add_message(client, 2, HEARTBEATS[0], 2, sequence=16_777_217)
    writer.finish()
    found = [(each.payload, each.direction, each.connection, each.form) for each in from_bytes(out.getvalue())]
    assert found == [(v2, "server", 3, "v2"), (HEARTBEATS[0], "client", 16_777_217, "v4")]


def test_a_file_without_index_summary_and_chunks(read_all: ReadAll) -> None:
    options = {"use_chunking": False, "index_types": IndexType.NONE, "repeat_channels": False, "use_statistics": False}
    assert read_bytes(chunked(CompressionType.NONE, HEARTBEATS, **options), read_all) == (HEARTBEATS, None)


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunking", [True, False])
def test_a_length_that_lies_costs_no_more_than_its_record(
    compression: CompressionType, chunking: bool, read_all: ReadAll
) -> None:
    """Each record's length, one bit at a time: what the records around it hold comes out."""
    whole = bytearray(chunked(compression, HEARTBEATS, use_chunking=chunking))
    at, starts = len(MAGIC), []
    while at < len(whole) - len(MAGIC):
        starts.append(at)
        at += 9 + struct.unpack_from("<Q", whole, at + 1)[0]
    per_record = {0x05: 1, 0x06: 5}
    for start in starts:
        for bit in range(0, 64, 3):
            whole[start + 1 + bit // 8] ^= 1 << bit % 8
            found, error = read_bytes(bytes(whole), read_all)
            whole[start + 1 + bit // 8] ^= 1 << bit % 8
            assert isinstance(error, CaptureError), (start, bit)
            assert set(found) <= set(HEARTBEATS)
            assert len(found) >= len(HEARTBEATS) - per_record.get(whole[start], 0), (start, whole[start], bit, error)
