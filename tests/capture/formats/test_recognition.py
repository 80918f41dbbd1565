"""The content says what a recording is."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfctl.capture import open_capture
from vfctl.capture.reader import DESCRIPTIONS
from vfctl.capture.source import PIECE_BYTES
from vfctl.errors import CaptureError, InputError, ProtocolError
from vfctl.protocol import NODE_DTYPE, Heartbeat, NodeSelect, PositionUpdate, Trailer, encode

HYPOTHESIS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Opened = Callable[[bytes], Any]


def v2(count: int, seed: int = 1) -> bytes:
    rng = np.random.default_rng(seed)
    return b"\x02" + b"".join(
        struct.pack("<I6ffi", number | 1 << 31, *rng.normal(0, 50, 6), 1.5, number - 1) for number in range(count)
    )


def v3(count: int) -> bytes:
    return b"\x03" + b"".join(
        struct.pack("<I6ffiIfI", number, 1, 2, 3, 0, 0, 0, 1, -1, 1, 0.5, 2) for number in range(count)
    )


@pytest.fixture
def files(
    made: Any, updates: list[bytes], requests: list[bytes], record: Callable[..., Path]
) -> dict[str, tuple[bytes, list[bytes]]]:
    """By format: a file, and the messages in it."""
    flow = made.Flow().handshake().to_client(made.framed(updates)).to_server(made.masked(requests)).close()
    both = updates + requests
    said = list(open_capture("-", io.BytesIO(made.pcap(flow.packets))))
    return {
        "mcap": (record(both).read_bytes(), both),
        "v4": (b"".join(both), both),
        "websocket": (made.framed(updates) + made.masked(requests), both),
        "pcap": (made.pcap(flow.packets), both),
        "pcapng": (made.pcapng(flow.packets), both),
        "har": (made.har([said]), both),
        "v2": (v2(5), [v2(5)]),
        "v3": (v3(5), [v3(5)]),
        "v5": (b"\x05" + bytes(8) + v3(2)[1:], [b"\x05" + bytes(8) + v3(2)[1:]]),
        "sequenced": (b"\x42" + bytes(8) + struct.pack("<I6f", 1, 1, 2, 3, 0, 0, 0), []),
    }


def test_every_format_by_name_and_by_pipe(files: dict[str, tuple[bytes, list[bytes]]], tmp_path: Path) -> None:
    assert files.keys() == DESCRIPTIONS.keys()
    for format, (content, payloads) in files.items():
        path = tmp_path / "capture"
        path.write_bytes(content)
        for capture in (open_capture(path), open_capture("-", io.BytesIO(content))):
            assert capture.format == format
            assert capture.description == DESCRIPTIONS[format]
            found = [message.payload for message in capture]
            assert found == (payloads or [content])
            assert not capture.losses


def test_a_pipe_that_gives_little_at_once_is_recognised_by_what_it_gives(
    files: dict[str, tuple[bytes, list[bytes]]],
) -> None:
    class Trickle(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self._left = content

        def read1(self, size: int = -1) -> bytes:
            piece, self._left = self._left[:11], self._left[11:]
            return piece

    for format, (content, payloads) in files.items():
        if format in ("v2", "v3", "v5", "sequenced"):
            continue  # no whole node in eleven bytes, and no guessing
        capture = open_capture("-", Trickle(content))  # type: ignore[arg-type]
        assert capture.format == format
        assert [message.payload for message in capture] == payloads


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("xz", lzma.compress),
        ("bzip2", bz2.compress),
        ("lz4", lz4.frame.compress),
    ],
)
def test_compressed_files_of_any_format(
    name: str, compress: Callable[[bytes], bytes], files: dict[str, tuple[bytes, list[bytes]]], tmp_path: Path
) -> None:
    for format, (content, payloads) in files.items():
        path = tmp_path / "capture"
        half = len(content) // 2
        path.write_bytes(compress(content[:half]) + compress(content[half:]))  # as `cat` puts two together
        capture = open_capture(path)
        assert (capture.format, capture.compression) == (format, name)
        assert f"compressed with {name}" in capture.description
        for _ in range(2):
            assert [message.payload for message in capture] == (payloads or [content])
    nodes = np.frombuffer(random.Random(1).randbytes(28 * 1000), NODE_DTYPE)
    packed = compress(encode(PositionUpdate(nodes)) * 100)
    path.write_bytes(packed[:12])
    with pytest.raises(CaptureError, match=f"{name} data ends too early"):
        open_capture(path)
    path.write_bytes(compress(encode(PositionUpdate(nodes))) + packed[: len(packed) - 12])
    cut = open_capture(path)
    with pytest.raises(ProtocolError):
        list(cut)
    assert cut.losses[-1].cut_off
    assert f"{name} data ends too early" in cut.losses[-1].reason


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "bzip2", "lz4"])
def test_what_is_compressed_and_damaged_raises_nothing_else(name: str, updates: list[bytes], opened: Opened) -> None:
    compress = {"gzip": gzip.compress, "zstd": zstandard.compress, "xz": lzma.compress, "bzip2": bz2.compress}
    content = bytearray(compress.get(name, lz4.frame.compress)(b"".join(updates)))
    rng = random.Random(1)
    for _ in range(60):
        at, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
        content[at] ^= bit
        opened(bytes(content))
        content[at] ^= bit


@pytest.mark.parametrize("compress", [zlib.compress, zstandard.compress])
def test_a_compressed_bomb_is_unpacked_bit_by_bit(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    select = encode(NodeSelect(1))
    packed = compress(select + bytes(70 * 2**20))
    if compress is zlib.compress:
        packed = gzip.compress(select + bytes(70 * 2**20))
    path = tmp_path / "bomb"
    path.write_bytes(packed)
    capture = open_capture(path)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            list(capture)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30 * PIECE_BYTES
    assert capture.losses[0].bytes == 70 * 2**20


# --- deployed


def test_ids_and_lengths_of_deployed_files(opened: Opened) -> None:
    got = opened(v2(1000))
    assert (got.capture.format, got.messages[0].form, len(got.payloads[0])) == ("v2", "v2", 1 + 36 * 1000)


def test_a_deployed_file_that_is_cut_gives_its_whole_nodes(opened: Opened) -> None:
    whole = v2(10)
    for cut in range(37, len(whole)):
        got = opened(whole[:cut])
        nodes, rest = divmod(cut - 1, 36)
        assert got.payloads == [whole[: 1 + 36 * nodes]], cut
        if rest:
            assert isinstance(got.error, CaptureError)
            assert [(loss.offset, loss.bytes) for loss in got.capture.losses] == [(1 + 36 * nodes, rest)]
        else:
            assert got.error is None  # nothing tells how many there were


def test_what_only_begins_like_a_deployed_frame_makes_no_nodes(opened: Opened) -> None:
    rng = random.Random(9)
    for first in (2, 3, 5, 0x42):
        for content in (rng.randbytes(36 * 48 * 7), b"some text, at some length. " * 64, b""):
            got = opened(bytes((first,)) + content)
            assert not got.messages
            assert isinstance(got.error, CaptureError)
            assert "does not look like" in got.error.message


def test_nodes_at_the_origin_or_nowhere_are_nodes(opened: Opened) -> None:
    for value in (0.0, float("nan"), float("inf")):
        content = b"\x02" + b"".join(struct.pack("<I6ffi", number, *[value] * 6, 0, -1) for number in range(3))
        assert opened(content).payloads == [content]


# --- damaged at the start


def test_a_flipped_bit_anywhere_in_the_first_bytes(files: dict[str, tuple[bytes, list[bytes]]], opened: Opened) -> None:
    """At most what it hit is lost, and nothing else is raised."""
    for format in ("mcap", "v4", "websocket", "pcap", "pcapng"):
        content, payloads = bytearray(files[format][0]), files[format][1]
        for position in range(8):
            for bit in range(8):
                content[position] ^= 1 << bit
                got = opened(bytes(content))
                content[position] ^= 1 << bit
                assert got.error is None or got.error.exit_code == 5
                if format in ("v4", "websocket"):
                    # The first message is hit; its own first byte may make another format of it.
                    if got.capture and got.capture.format == format:
                        assert got.payloads[-len(payloads) + 1 :] == payloads[1:], (format, position, bit)
                    else:
                        assert position == 0 or format == "v4", (format, position, bit)
                else:
                    assert set(payloads) <= set(got.payloads), (format, position, bit, got.error)


@given(data=st.data())
@HYPOTHESIS
def test_mutations_of_every_format_raise_nothing_else(data: st.DataObject, files: Any, opened: Opened) -> None:
    content, _ = files[data.draw(st.sampled_from(sorted(files)))]
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    mutated = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(mutated) + 1)
        match rng.randrange(5):
            case 0 if at < len(mutated):
                mutated[at] ^= 1 << rng.randrange(8)
            case 1:
                mutated[at:at] = rng.randbytes(rng.randrange(12))
            case 2:
                del mutated[at : at + rng.randrange(300)]
            case 3:
                mutated[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), content[:8]])
            case _:
                start = rng.randrange(len(content))
                mutated[at:at] = content[start : start + rng.randrange(2000)]
    got = opened(bytes(mutated))
    assert got.error is None or isinstance(got.error, CaptureError | ProtocolError | InputError)
    if got.capture:
        assert all(0 <= loss.offset <= len(mutated) and loss.bytes >= 0 for loss in got.capture.losses)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x82", b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a", b'{"log":', b"GET ", b"\x02", b"\x05"]),
)
@HYPOTHESIS
def test_any_bytes_raise_nothing_else(content: bytes, start: bytes) -> None:
    with contextlib.suppress(CaptureError, ProtocolError):
        list(open_capture("-", io.BytesIO(start + content)))


def test_a_file_with_nothing_of_ours_is_refused(opened: Opened) -> None:
    for content in (os.urandom(3), b"%PDF-1.7 " + bytes(500), b"\x7fELF" + bytes(500)):
        got = opened(content)
        assert isinstance(got.error, CaptureError)
        assert not got.messages


def test_iterating_again_reports_the_same_losses_once(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(encode(Heartbeat(1)) + b"rubbish" + encode(Heartbeat(2)))
    capture = open_capture(path)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            list(capture)
        assert [(loss.offset, loss.bytes) for loss in capture.losses] == [(12, 7)]


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "lz4"])
def test_what_stands_before_the_damage_of_a_compressed_file_comes_out(name: str, opened: Opened) -> None:
    """All but the block or the few hundred bytes in which the damage is."""
    rng = np.random.default_rng(3)
    nodes = np.zeros(100, NODE_DTYPE)
    payloads = []
    for number in range(2000):
        nodes["x"] = rng.normal(size=100)
        payloads.append(encode(PositionUpdate(nodes, trailer=Trailer(number, number, 0))))
    checked = zstandard.ZstdCompressor(write_checksum=True)  # without one, a wrong byte of a float is nobody's to see
    compress = {"gzip": gzip.compress, "zstd": checked.compress, "xz": lambda data: lzma.compress(data, preset=0)}
    packed = bytearray(compress.get(name, lz4.frame.compress)(b"".join(payloads)))
    at = len(packed) * 3 // 4
    packed[at : at + 64] = b"\xff" * 64
    got = opened(bytes(packed))
    intact = len([1 for one, other in zip(got.payloads, payloads, strict=False) if one == other])
    assert got.error.exit_code == 5
    assert intact > 2000 * 0.7
