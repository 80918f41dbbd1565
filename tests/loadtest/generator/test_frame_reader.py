"""The frame reader gives the same messages as the codec, wherever a stream is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.errors import ProtocolError
from vfctl.loadtest.generator.frames import FrameReader, ReceivedMessage
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    FullGraph,
    Heartbeat,
    Message,
    Notice,
    PositionUpdate,
    Trailer,
    describe,
    encode,
)
from vfctl.protocol.messages import TYPE_IDS
from vfctl.protocol.websocket import Opcode, frame


def update(count: int, sequence: int, *, timed: bool) -> PositionUpdate:
    return PositionUpdate(
        np.zeros(count, NODE_DTYPE), trailer=Trailer(sequence, 10**15 + sequence, 50_000) if timed else None
    )


messages = st.one_of(
    st.builds(update, st.integers(0, 40), st.integers(0, 2**32), timed=st.booleans()),
    st.builds(
        lambda sequence: FullGraph(np.zeros(9, NODE_DTYPE), np.zeros(2, EDGE_DTYPE), trailer=Trailer(sequence, 7, 0)),
        st.integers(0, 99),
    ),
    st.builds(Heartbeat, st.integers(0, 2**63)),
    st.builds(lambda text: Notice({"notice": text}), st.text(max_size=200)),
)


def read_all(stream: bytes, cuts: list[int], *, keeps_all: bool = False) -> list[ReceivedMessage]:
    """Parse the stream in pieces, as the engine does."""
    reader = FrameReader(16_384)
    reader.keeps_all = keeps_all
    buffer = bytearray(len(stream) + 256)
    arrived: list[ReceivedMessage] = []
    start = 0
    for end in [*sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]:
        kept = len(reader.head)
        buffer[:kept] = reader.head
        buffer[kept : kept + end - start] = stream[start:end]
        assert reader.expected > 0
        arrived += reader.parse(buffer, kept + end - start)
        start = end
    return arrived


def expected(message: Message) -> tuple[int, int, int, tuple[int, int, int]]:
    _, flags = describe(message)
    trailer = getattr(message, "trailer", None)
    times = (trailer.sequence, trailer.timestamp_us, trailer.interval_us) if trailer else (0, 0, 0)
    return TYPE_IDS[type(message)], int(flags), len(frame(encode(message))), times


@settings(max_examples=300)
@given(st.lists(messages, max_size=8), st.lists(st.integers(0, 10**6), max_size=30))
def test_cut_anywhere_the_same_messages_arrive(sent: list[Message], cuts: list[int]) -> None:
    stream = b"".join(frame(encode(message)) for message in sent)
    got = [(one.type_id, one.flags, one.size, one[4:7]) for one in read_all(stream, cuts)]
    assert got == [expected(message) for message in sent]


@given(st.lists(messages, max_size=8), st.lists(st.integers(0, 10**6), max_size=30))
def test_a_reader_that_keeps_all_hands_over_every_payload(sent: list[Message], cuts: list[int]) -> None:
    stream = b"".join(frame(encode(message)) for message in sent)
    arrived = read_all(stream, cuts, keeps_all=True)
    assert [one.payload for one in arrived] == [encode(message) for message in sent]
    assert not any(one.sampled for one in arrived)


def test_just_the_next_one_is_a_sample_while_all_are_kept() -> None:
    reader = FrameReader(16_384)
    reader.keeps_all = reader.sample_next = True
    stream = frame(encode(update(9, 1, timed=True))) * 2
    assert [one.sampled for one in reader.parse(bytearray(stream), len(stream))] == [True, False]
    assert not reader.at_start, "the next one's payload is wanted as well"


def test_byte_by_byte() -> None:
    stream = frame(encode(update(3, 5, timed=True))) * 2
    arrived = read_all(stream, list(range(len(stream))))
    assert [one.sequence for one in arrived] == [5, 5]


def test_small_messages_and_control_frames_come_with_their_payload() -> None:
    heartbeat = encode(Heartbeat(77))
    stream = frame(heartbeat) + frame(b"\x03\xe9bye", Opcode.CLOSE) + frame(b"hi", Opcode.PING)
    for cuts in ([], list(range(len(stream)))):
        arrived = read_all(stream, cuts)
        assert [(one.opcode, one.payload) for one in arrived] == [
            (Opcode.BINARY, heartbeat),
            (Opcode.CLOSE, b"\x03\xe9bye"),
            (Opcode.PING, b"hi"),
        ]


@pytest.mark.parametrize("split", [1, 4, 5, 30, 90, 105, 110])
def test_a_fragmented_message_is_one_message(split: int) -> None:
    payload = encode(update(3, 5, timed=True))
    first = bytes([Opcode.BINARY, split]) + payload[:split]
    ping = frame(b"", Opcode.PING)
    rest = bytes([0x80 | Opcode.CONTINUATION, len(payload) - split]) + payload[split:]
    stream = first + ping + rest
    for cuts in ([], list(range(len(stream)))):
        arrived = [one for one in read_all(stream, cuts) if one.opcode == Opcode.BINARY]
        assert len(arrived) == 1
        assert arrived[0].size == len(first) + len(rest)
        if split >= 4:
            assert (arrived[0].type_id, arrived[0].sequence) == (2, 5)


def test_foreign_messages_are_counted_and_not_interpreted() -> None:
    stream = frame(b"x" * 500, Opcode.TEXT) + frame(b"\x05\x02\x04\x00" + bytes(400))
    arrived = read_all(stream, [100, 700])
    assert [(one.opcode, one.type_id, one.timestamp_us) for one in arrived] == [(1, 0, 0), (2, 0, 0)]


def test_the_next_read_requests_exactly_one_frame() -> None:
    reader = FrameReader(16_384)
    framed = frame(encode(update(100, 1, timed=True)))
    list(reader.parse(bytearray(framed), len(framed)))
    assert reader.expected == len(framed)
    list(reader.parse(bytearray(framed), 1000))
    assert reader.expected == len(framed) - 1000


def test_bytes_that_are_no_websocket_stream_are_an_error() -> None:
    with pytest.raises(ProtocolError):
        list(FrameReader(100).parse(bytearray(b"\xff\xff\xff\xff"), 4))
