"""Frames of deployed servers, held against bytes that were put together by hand."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.errors import ProtocolError
from vfctl.protocol import Heartbeat, encode
from vfctl.protocol.deployed import (
    ID_MASK,
    SEQUENCED_DTYPE,
    V2_DTYPE,
    V3_DTYPE,
    Form,
    NodeFlag,
    decode_deployed,
    form_of,
    whole_records,
)

V2_NODE = struct.pack("<I6ffi", 0x80000007, 1, 2, 3, 4, 5, 6, 7.5, -1)
V3_NODE = struct.pack("<I6ffiIfI", 0x44000009, 1, 2, 3, 4, 5, 6, 7.5, 8, 3, 0.25, 11)
SHORT_NODE = struct.pack("<I6f", 0x1800000A, 1, 2, 3, 4, 5, 6)


def test_the_layouts_are_those_of_the_servers() -> None:
    assert (V2_DTYPE.itemsize, V3_DTYPE.itemsize, SEQUENCED_DTYPE.itemsize) == (36, 48, 28)
    assert ID_MASK == 0x03FFFFFF


def test_v2() -> None:
    frame = decode_deployed(b"\x02" + V2_NODE * 2)
    assert (frame.form, frame.sequence, len(frame.records)) == (Form.V2, None, 2)
    assert frame.records[0].item() == (0x80000007, 1, 2, 3, 4, 5, 6, 7.5, -1)
    assert frame.ids.tolist() == [7, 7]
    assert [NodeFlag(flags) for flags in frame.flags.tolist()] == [NodeFlag.AGENT] * 2


def test_v3() -> None:
    frame = decode_deployed(b"\x03" + V3_NODE)
    assert (frame.form, frame.sequence) == (Form.V3, None)
    assert frame.records[0].item() == (0x44000009, 1, 2, 3, 4, 5, 6, 7.5, 8, 3, 0.25, 11)
    assert frame.ids.tolist() == [9]
    assert NodeFlag(int(frame.flags[0])) == NodeFlag.KNOWLEDGE | NodeFlag.CLASS


def test_v5_is_v3_behind_a_sequence() -> None:
    frame = decode_deployed(b"\x05" + struct.pack("<Q", 2**63 + 1) + V3_NODE * 3)
    assert (frame.form, frame.sequence, len(frame.records)) == (Form.V5, 2**63 + 1, 3)
    assert frame.records["community"].tolist() == [11, 11, 11]


def test_sequenced() -> None:
    frame = decode_deployed(b"\x42" + struct.pack("<Q", 5) + SHORT_NODE)
    assert (frame.form, frame.sequence) == (Form.SEQUENCED, 5)
    assert frame.records[0].item() == (0x1800000A, 1, 2, 3, 4, 5, 6)
    assert NodeFlag(int(frame.flags[0])) == NodeFlag.INDIVIDUAL | NodeFlag.PROPERTY


@pytest.mark.parametrize("start", [b"\x02", b"\x03", b"\x05" + bytes(8), b"\x42" + bytes(8)])
def test_a_frame_may_have_no_nodes(start: bytes) -> None:
    assert len(decode_deployed(start).records) == 0


@pytest.mark.parametrize(
    ("payload", "offset", "said"),
    [
        (b"", 0, "no bytes"),
        (b"\x01" + V2_NODE, 0, "version 1, expected 4, or 2, 3, 5 or 0x42"),
        (b"\x02" + V2_NODE + b"123", 37, "40 bytes of V2, expected 1 and 36 a node"),
        (b"\x03" + V2_NODE, 1, "37 bytes of V3, expected 1 and 48 a node"),
        (b"\x05" + bytes(7), 8, "8 bytes of V5, expected 9 or more"),
        (b"\x42" + bytes(8) + SHORT_NODE[:-1], 9, "36 bytes of Sequenced, expected 9 and 28 a node"),
    ],
)
def test_what_does_not_fit_is_refused(payload: bytes, offset: int, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_deployed(payload)
    assert caught.value.offset == offset
    assert said in caught.value.reason


def test_whole_records_of_a_frame_that_is_cut_off() -> None:
    assert whole_records(b"\x02" + V2_NODE + V2_NODE[:20]) == 37
    assert whole_records(b"\x05" + bytes(8) + V3_NODE[:47]) == 9


def test_form_of_goes_by_first_byte_and_length() -> None:
    assert form_of(encode(Heartbeat(1))) is Form.V4
    assert form_of(b"\x02" + V2_NODE) is Form.V2
    for wrong in (encode(Heartbeat(1)) + b"\0", encode(Heartbeat(1))[:-1], b"\x02" + V3_NODE, b"\x07", b""):
        with pytest.raises(ProtocolError):
            form_of(wrong)


@given(st.binary(max_size=120))
def test_any_bytes_raise_nothing_else(payload: bytes) -> None:
    for read in (decode_deployed, whole_records, form_of):
        with contextlib.suppress(ProtocolError):
            read(payload)


def test_records_view_the_payload() -> None:
    payload = bytearray(b"\x42" + bytes(8) + SHORT_NODE)
    frame = decode_deployed(payload)
    payload[13:17] = struct.pack("<f", 9)
    assert frame.records["x"].tolist() == [9]
    assert frame.ids.dtype == np.uint32
