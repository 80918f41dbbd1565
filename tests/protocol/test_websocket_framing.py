"""RFC 6455 framing: against the RFC's own examples and an independent parser."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.streams import StreamReader

from vfctl.errors import ProtocolError
from vfctl.protocol.websocket import (
    FrameHeader,
    Opcode,
    accept_key,
    apply_mask,
    close_payload,
    frame,
    frame_masked,
    parse_frame_header,
)

MASK = bytes.fromhex("37fa213d")
LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536]


def parsed_by_websockets(data: bytes, *, mask: bool) -> Frame:
    """What the `websockets` library reads, and that nothing is left over."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parser = Frame.parse(reader.read_exact, mask=mask)
    with pytest.raises(StopIteration) as caught:
        next(parser)
    assert reader.buffer == b""
    return caught.value.value


class TestTheExamplesOfTheRfc:
    """Section 5.7."""

    def test_unmasked_text(self):
        assert frame(b"Hello", Opcode.TEXT) == bytes.fromhex("810548656c6c6f")

    def test_masked_text(self):
        assert frame_masked(b"Hello", MASK, Opcode.TEXT) == bytes.fromhex("818537fa213d7f9f4d5158")
        assert apply_mask(bytes.fromhex("7f9f4d5158"), MASK) == b"Hello"

    def test_fragments(self):
        assert parse_frame_header(bytes.fromhex("010348656c")) == FrameHeader(False, Opcode.TEXT, None, 2, 3)
        assert parse_frame_header(bytes.fromhex("80026c6f")) == FrameHeader(True, Opcode.CONTINUATION, None, 2, 2)

    def test_ping_and_pong(self):
        assert frame(b"Hello", Opcode.PING) == bytes.fromhex("890548656c6c6f")
        assert frame_masked(b"Hello", MASK, Opcode.PONG) == bytes.fromhex("8a8537fa213d7f9f4d5158")

    def test_256_bytes(self):
        assert frame(bytes(256))[:4] == bytes.fromhex("827e0100")

    def test_64_kib(self):
        assert frame(bytes(65_536))[:10] == bytes.fromhex("827f0000000000010000")

    def test_accept_key(self):
        """Section 1.3."""
        assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("mask", [False, True])
def test_websockets_reads_what_we_write(length, mask):
    payload = (bytes(range(256)) * (length // 256 + 1))[:length]
    ours = frame_masked(payload, MASK) if mask else frame(payload)
    theirs = parsed_by_websockets(ours, mask=mask)
    assert (theirs.opcode, theirs.data, theirs.fin) == (TheirOpcode.BINARY, payload, True)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("fin", [False, True])
def test_we_read_what_websockets_writes(length, mask, fin):
    payload = bytes(length)
    theirs = Frame(TheirOpcode.BINARY, payload, fin).serialize(mask=mask)
    header = parse_frame_header(theirs)
    assert (header.fin, header.opcode, header.payload_length) == (fin, Opcode.BINARY, length)
    assert len(theirs) == header.header_length + length
    rest = theirs[header.header_length :]
    assert (apply_mask(rest, header.mask) if mask else rest) == payload


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("mask", [False, True])
def test_a_header_is_told_as_soon_as_it_is_whole(length, mask):
    data = frame_masked(bytes(length), MASK) if mask else frame(bytes(length))
    whole = parse_frame_header(data)
    for available in range(whole.header_length):
        assert parse_frame_header(data[:available]) is None
        assert parse_frame_header(b"junk" + data, 4, 4 + available) is None
    assert parse_frame_header(data[: whole.header_length]) == whole
    assert parse_frame_header(bytearray(b"junk" + data), 4) == whole
    assert parse_frame_header(memoryview(data)) == whole


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=64), st.binary(min_size=4, max_size=4))
def test_masking_is_xor_and_undoes_itself(payload, mask):
    masked = apply_mask(payload, mask)
    assert masked == bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    assert apply_mask(memoryview(bytearray(masked)), mask) == payload


@pytest.mark.parametrize("mask", [b"", b"abc", b"abcde"])
def test_a_mask_has_four_bytes(mask):
    with pytest.raises(ValueError, match="expected 4"):
        apply_mask(b"Hello", mask)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=20))
def test_any_bytes_are_a_header_or_too_few_or_a_protocol_error(data):
    try:
        header = parse_frame_header(data)
    except ProtocolError as error:
        assert error.offset in (0, 2)  # noqa: PT017  # whether it raises is up to the bytes
    else:
        assert header is None or header.header_length <= min(len(data), 14)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("c200", "reserved bits 0x40"),
        ("a200", "reserved bits 0x20"),
        ("9200", "reserved bits 0x10"),
        ("8300", "unknown opcode 0x3"),
        ("8f00", "unknown opcode 0xf"),
        ("0900", "fragmented or over-long PING"),
        ("887e0080", "fragmented or over-long CLOSE"),
        ("827f8000000000000000", "highest bit"),
    ],
)
def test_what_the_rfc_forbids(data, says):
    with pytest.raises(ProtocolError, match=says):
        parse_frame_header(bytes.fromhex(data))


@pytest.mark.parametrize("opcode", [Opcode.CLOSE, Opcode.PING, Opcode.PONG])
def test_control_frames_are_short(opcode):
    assert parsed_by_websockets(frame(bytes(125), Opcode.PING), mask=False).data == bytes(125)
    for write in (lambda: frame(bytes(126), opcode), lambda: frame_masked(bytes(126), MASK, opcode)):
        with pytest.raises(ValueError, match=f"a {opcode.name} frame of 126 bytes"):
            write()


def test_close_reasons_are_cut_between_characters():
    assert close_payload(1000) == b"\x03\xe8"
    assert close_payload(1008, "too slow") == b"\x03\xf0too slow"
    cut = close_payload(1008, "é" * 100)
    assert len(cut) == 124  # 125 would cut the last é in half
    assert cut[2:].decode() == "é" * 61
    assert parsed_by_websockets(frame(cut, Opcode.CLOSE), mask=False).opcode is TheirOpcode.CLOSE
