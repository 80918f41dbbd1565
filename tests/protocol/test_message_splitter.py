"""Cutting a stream of concatenated messages."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.errors import ProtocolError
from vfctl.protocol import (
    NODE_DTYPE,
    Filter,
    FilterUpdate,
    Heartbeat,
    MessageSplitter,
    NodeSelect,
    PositionUpdate,
    Reserved,
    encode,
    message_length,
)

MESSAGES = [
    encode(message)
    for message in (
        NodeSelect(7),
        PositionUpdate(np.zeros(3, NODE_DTYPE)),
        FilterUpdate(Filter(search="näh")),
        PositionUpdate(np.zeros(0, NODE_DTYPE), compressed=True),
        Heartbeat(1, 2),
        Reserved(15, b""),
    )
]
STREAM = b"".join(MESSAGES)


def test_whole():
    splitter = MessageSplitter()
    assert list(splitter.split(STREAM)) == MESSAGES
    assert (splitter.offset, splitter.pending) == (len(STREAM), 0)
    splitter.finish()


def test_byte_by_byte_each_message_comes_with_its_last_byte():
    splitter = MessageSplitter()
    ends, total = [], 0
    for message in MESSAGES:
        total += len(message)
        ends.append(total)
    arrived = [
        (position + 1, message) for position, byte in enumerate(STREAM) for message in splitter.split(bytes((byte,)))
    ]
    assert arrived == list(zip(ends, MESSAGES, strict=True))
    splitter.finish()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_cut_anywhere(cuts):
    places = [0, *sorted(cuts), len(STREAM)]
    splitter = MessageSplitter()
    pieces = (STREAM[start:end] for start, end in pairwise(places))
    assert [message for piece in pieces for message in splitter.split(piece)] == MESSAGES


def test_trailing_bytes_wait_and_finish_complains():
    splitter = MessageSplitter()
    assert list(splitter.split(STREAM + MESSAGES[0][:5])) == MESSAGES
    assert splitter.pending == 5
    with pytest.raises(ProtocolError, match="5 bytes of a message that needs 8") as caught:
        splitter.finish()
    assert caught.value.offset == len(STREAM)


def test_damage_is_located_in_the_stream():
    splitter = MessageSplitter()
    split = splitter.split(MESSAGES[0] + MESSAGES[1] + b"\x04\x00\x00\x00" + MESSAGES[0])
    assert [next(split), next(split)] == MESSAGES[:2]
    with pytest.raises(ProtocolError, match="unknown type 0x00") as caught:
        next(split)
    assert caught.value.offset == len(MESSAGES[0]) + len(MESSAGES[1]) + 1
    with pytest.raises(ProtocolError):  # what follows damage cannot be told apart
        list(splitter.split(MESSAGES[0]))


def test_fed_bytes_count_even_if_nobody_asks_for_the_messages():
    splitter = MessageSplitter()
    splitter.split(MESSAGES[0])
    assert splitter.pending == len(MESSAGES[0])
    assert list(splitter.split(MESSAGES[1])) == MESSAGES[:2]


def test_a_split_that_was_left_halfway_repeats_nothing():
    splitter = MessageSplitter()
    first = splitter.split(MESSAGES[0] + MESSAGES[1])
    assert next(first) == MESSAGES[0]
    assert splitter.pending == len(MESSAGES[1])
    assert list(splitter.split(MESSAGES[2])) == MESSAGES[1:3]
    assert list(first) == []


def test_a_long_message_in_small_pieces_is_not_copied_again_and_again():
    message = encode(PositionUpdate(np.zeros(100_000, NODE_DTYPE)))  # 2.8 MB
    splitter = MessageSplitter()
    split = [out for start in range(0, len(message), 64) for out in splitter.split(message[start : start + 64])]
    assert split == [message]  # quadratic copying would take minutes and hit the time-out


def test_message_length_tells_as_soon_as_it_can():
    for message in MESSAGES:
        known = [message_length(message[:length]) for length in range(len(message) + 1)]
        first = next(length for length, value in enumerate(known) if value is not None)
        assert set(known[first:]) == {len(message)}
        assert set(known[:first]) <= {None}
        assert message_length(b"junk" + message + b"junk", 4, 4 + len(message)) == len(message)
