"""WebSocket frames as bytes: directions, fragments, control frames, handshakes, compression, damage."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfctl.errors import CaptureError

HYPOTHESIS = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Opened = Callable[[bytes], Any]


def fragments(made: Any, payload: bytes, count: int, *, mask: bytes | None = None, rsv1: bool = False) -> list[bytes]:
    """One message in several frames."""
    size = max(1, -(-len(payload) // count))
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    frames = []
    for number, piece in enumerate(pieces):
        opcode = made.Opcode.BINARY if number == 0 else made.Opcode.CONTINUATION
        frame = bytearray(made.frame(piece, opcode) if mask is None else made.frame_masked(piece, mask, opcode))
        if number < len(pieces) - 1:
            frame[0] &= 0x7F
        if rsv1 and number == 0:
            frame[0] |= 0x40
        frames.append(bytes(frame))
    return frames


class Deflater:
    """A sender's side of permessage-deflate."""

    def __init__(self, keeps_context: bool) -> None:
        self._keeps = keeps_context
        self._inner = zlib.compressobj(wbits=-15)

    def __call__(self, payload: bytes) -> bytes:
        deflated = self._inner.compress(payload) + self._inner.flush(zlib.Z_SYNC_FLUSH)
        if not self._keeps:
            self._inner = zlib.compressobj(wbits=-15)
        return deflated[:-4]


def response(extension: str) -> bytes:
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Extensions: " + extension.encode() + b"\r\n\r\n"
    )


@pytest.mark.parametrize("handshake", ["both", "none", "request", "response"])
def test_both_directions_with_handshake_or_without(
    handshake: str, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    start = {"both": made.REQUEST + made.RESPONSE, "none": b"", "request": made.REQUEST, "response": made.RESPONSE}
    got = opened(start[handshake] + made.framed(updates[:4]) + made.masked(requests) + made.framed(updates[4:]))
    assert got.error is None
    assert (got.capture.format, got.capture.notes) == ("websocket", [])
    assert (got.of("server"), got.of("client")) == (updates, requests)
    if handshake in ("both", "request"):
        assert got.capture.connections == {0: "server:8765/ws?timed=1"}


def test_only_what_a_client_sent(made: Any, requests: list[bytes], opened: Opened) -> None:
    got = opened(made.REQUEST + made.masked(requests))
    assert (got.error, got.of("client")) == (None, requests)


def test_each_request_begins_a_connection(made: Any, updates: list[bytes], opened: Opened) -> None:
    one = made.REQUEST + made.RESPONSE + made.framed(updates)
    got = opened(one + one)
    assert got.payloads == updates * 2
    assert [message.connection for message in got.messages] == [0] * 8 + [1] * 8


def test_the_offset_is_that_of_the_frame(made: Any, updates: list[bytes], opened: Opened) -> None:
    starts = [len(made.REQUEST) + len(made.framed(updates[:number])) for number in range(len(updates))]
    got = opened(made.REQUEST + made.framed(updates))
    assert [message.offset for message in got.messages] == starts


@given(seed=st.integers(0, 2**32))
@HYPOTHESIS
def test_fragments_with_control_frames_between_them(seed: int, made: Any, traffic: Any, opened: Opened) -> None:
    rng = random.Random(seed)

    def frames(payloads: list[bytes], mask: bytes | None) -> list[bytes]:
        out = []
        for payload in payloads:
            for each in fragments(made, payload, rng.randrange(1, 6), mask=mask):
                out.append(each)
                if rng.random() < 0.3:
                    opcode = rng.choice([made.Opcode.PING, made.Opcode.PONG])
                    body = rng.randbytes(rng.randrange(0, 126))
                    out.append(made.frame(body, opcode) if mask is None else made.frame_masked(body, mask, opcode))
        return out

    server, client = frames(traffic.updates, None), frames(traffic.requests, rng.randbytes(4))
    content = b""
    while server or client:
        content += (server if server and (not client or rng.random() < 0.7) else client).pop(0)
    got = opened(content)
    assert got.error is None
    assert (got.of("server"), got.of("client")) == (traffic.updates, traffic.requests)


@pytest.mark.parametrize("server_keeps", [True, False])
@pytest.mark.parametrize("client_keeps", [True, False])
def test_permessage_deflate(
    server_keeps: bool, client_keeps: bool, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    extension = "permessage-deflate; server_max_window_bits=15"
    extension += "" if server_keeps else "; server_no_context_takeover"
    extension += "" if client_keeps else "; client_no_context_takeover"
    to_client, to_server = Deflater(server_keeps), Deflater(client_keeps)
    content = made.REQUEST + response(extension)
    for number, update in enumerate(updates):
        if number == 3:
            content += made.frame(update)  # a sender may leave one as it is
        else:
            content += b"".join(fragments(made, to_client(update), 1 + number % 3, rsv1=True))
    for request in requests:
        content += b"".join(fragments(made, to_server(request), 1, mask=b"abcd", rsv1=True))
    got = opened(content)
    assert got.error is None
    assert (got.of("server"), got.of("client")) == (updates, requests)


@pytest.mark.parametrize("keeps", [True, False])
def test_permessage_deflate_begun_midway_says_what_cannot_be_inflated(
    keeps: bool, made: Any, updates: list[bytes], opened: Opened
) -> None:
    deflate = Deflater(keeps)
    flow = made.Flow().handshake(
        response=response("permessage-deflate" + ("" if keeps else "; server_no_context_takeover"))
    )
    begin = len(flow.packets)
    for update in updates * 3:
        flow.to_client(b"".join(fragments(made, deflate(update), 1, rsv1=True)))
    assert opened(made.pcap(flow.packets)).payloads == updates * 3
    got = opened(made.pcap(flow.packets[begin + 4 :]))
    if keeps:
        assert not got.payloads
        assert isinstance(got.error, CaptureError)
        assert "no VisionFlow messages" in got.error.message
    else:
        assert got.payloads == (updates * 3)[4:]
    missing = opened(made.pcap(flow.packets[: begin + 4] + flow.packets[begin + 5 :]))
    assert missing.payloads == ((updates * 3)[:4] if keeps else (updates * 3)[:4] + (updates * 3)[5:])
    reasons = " ".join(loss.reason for loss in missing.capture.losses)
    assert ("may refer to earlier ones that are missing" in reasons) == keeps


def test_a_deflated_bomb_stays_small(
    made: Any, updates: list[bytes], opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vfctl.capture.formats.websocket_messages.MAX_MESSAGE_BYTES", 2**20)
    bomb = Deflater(False)(bytes(2**20 + 1))
    content = made.REQUEST + response("permessage-deflate") + made.frame(updates[0])
    got = opened(content + fragments(made, bomb, 1, rsv1=True)[0] + made.frame(updates[1]))
    assert got.payloads == updates[:2]
    assert "more than 1048576 bytes" in got.capture.losses[0].reason


def test_cut_at_every_byte(made: Any, updates: list[bytes], opened: Opened) -> None:
    frames = [made.frame(update) for update in updates[:4]]
    whole = made.RESPONSE + b"".join(frames)
    ends = [len(made.RESPONSE) + sum(map(len, frames[: number + 1])) for number in range(4)]
    for cut in range(1, len(whole)):
        got = opened(whole[:cut])
        assert got.payloads == updates[: sum(end <= cut for end in ends)], cut
        if cut > ends[0] and cut not in ends:
            assert got.error.exit_code == 5
            assert got.capture.losses[-1].offset == max(end for end in ends if end <= cut)


def test_every_flipped_bit_of_a_header_costs_no_more_than_its_frame(
    made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    frames = [
        made.frame(updates[0]),
        made.frame(updates[1]),
        made.frame(b"alive?", made.Opcode.PING),
        made.frame_masked(requests[0], b"wxyz"),
        made.frame(b'{"text": true}', made.Opcode.TEXT),
        made.frame(updates[2]),
        made.frame(updates[3]),
    ]
    payloads = [updates[0], updates[1], None, requests[0], None, updates[2], updates[3]]
    content = bytearray(b"".join(frames))
    at = 0
    for number, each in enumerate(frames):
        for position in range(at, at + 6):
            for bit in range(8):
                if number == 0 and position == 0:
                    continue  # it would be another format
                content[position] ^= 1 << bit
                got = opened(bytes(content))
                content[position] ^= 1 << bit
                others = [payload for other, payload in enumerate(payloads) if payload and other != number]
                found = [payload for payload in got.payloads if payload in others]
                assert found == others, (number, position - at, bit, got.error)
        at += len(each)


def test_rubbish_between_frames_is_one_loss(made: Any, updates: list[bytes], opened: Opened) -> None:
    rubbish = random.Random(3).randbytes(100_000)
    first = made.framed(updates[:3])
    got = opened(first + rubbish + made.framed(updates[3:]))
    assert got.payloads == updates
    assert [(loss.offset, loss.bytes) for loss in got.capture.losses] == [(len(first), len(rubbish))]


def test_other_messages_between_ours_are_losses_with_their_place(
    made: Any, updates: list[bytes], opened: Opened
) -> None:
    first = made.framed(updates[:3])
    got = opened(first + made.frame(b"\x07other") + made.framed(updates[3:]))
    assert got.payloads == updates
    assert [(loss.offset, loss.bytes) for loss in got.capture.losses] == [(len(first), 6)]
    assert "version 7" in got.error.message


@pytest.mark.parametrize("masked", [False, True])
def test_a_message_in_a_pong_frame_is_named(
    masked: bool, made: Any, updates: list[bytes], opened: Callable[[bytes], Any]
) -> None:
    short = min(updates, key=len)
    damaged = bytearray(made.masked([short]) if masked else made.frame(short))
    damaged[0] ^= 8
    content = made.framed(updates) + bytes(damaged)
    got = opened(content + made.framed(updates))
    assert got.payloads == updates * 2
    assert [(loss.offset, loss.bytes) for loss in got.capture.losses] == [(len(content) - len(damaged), len(damaged))]
    assert "a V4 message in a pong frame" in got.error.message
