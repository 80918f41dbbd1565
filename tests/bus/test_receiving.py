"""Envelopes from a stream that comes in pieces of any size."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.bus import Envelope, Kind
from vfctl.bus.unix_socket import BUFFER_BYTES, EnvelopeReceiver
from vfctl.errors import ProtocolError

PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"m" * (BUFFER_BYTES - 14), b"n" * BUFFER_BYTES, b"o" * (3 * BUFFER_BYTES + 5)]),
)
ENVELOPES = st.lists(
    st.builds(Envelope, st.sampled_from(Kind), PAYLOADS, st.integers(0, 9), st.integers(0, 99)), max_size=6
)


def feed(receiver: EnvelopeReceiver, data: bytes, sizes: list[int]) -> None:
    """As a transport does: into the receiver's own buffer, as much as there is room for."""
    at, turn = 0, 0
    while at < len(data):
        room = receiver.get_buffer(-1)
        assert len(room) > 0
        piece = data[at : at + min(len(room), sizes[turn % len(sizes)])]
        room[: len(piece)] = piece
        receiver.buffer_updated(len(piece))
        at, turn = at + len(piece), turn + 1


async def drain(receiver: EnvelopeReceiver) -> list[Envelope]:
    receiver.connection_lost(None)
    envelopes = []
    while (envelope := await receiver.next()) is not None:
        envelopes.append(envelope)
    return envelopes


@given(ENVELOPES, st.lists(st.integers(1, 3 * BUFFER_BYTES), min_size=1, max_size=5))
def test_what_was_packed_comes_out_in_order(envelopes: list[Envelope], sizes: list[int]) -> None:
    if sum(sizes) < 1000:
        sizes = [*sizes, BUFFER_BYTES]  # bytes one by one would take minutes
    receiver = EnvelopeReceiver()
    feed(receiver, b"".join(envelope.pack() for envelope in envelopes), sizes)
    assert asyncio.run(drain(receiver)) == envelopes


async def test_what_is_cut_off_is_dropped() -> None:
    receiver = EnvelopeReceiver()
    feed(receiver, Envelope(Kind.EVENT, b"whole").pack() + Envelope(Kind.EVENT, b"cut off").pack()[:-1], [7])
    assert await drain(receiver) == [Envelope(Kind.EVENT, b"whole")]


async def test_what_is_no_envelope_is_an_error_after_what_came_before() -> None:
    receiver = EnvelopeReceiver()
    feed(receiver, Envelope(Kind.EVENT, b"good").pack() + b"\xff" * 13, [100])
    assert await receiver.next() == Envelope(Kind.EVENT, b"good")
    with pytest.raises(ProtocolError, match="payload"):
        await receiver.next()
