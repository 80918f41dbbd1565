"""Damage that hides in packet captures: handshakes that are cut, first numbers that are wrong, captures that stop."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

Opened = Callable[[bytes], Any]


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
@pytest.mark.parametrize("cut", ["request", "response", "both"])
def test_a_handshake_that_was_cut_by_the_snap_length_costs_no_message(
    container: str, cut: str, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    flow = made.Flow().handshake()
    for packet in flow.packets:
        payload = made.REQUEST if made.REQUEST in packet.data else made.RESPONSE
        wanted = {"request": [made.REQUEST], "response": [made.RESPONSE], "both": [made.REQUEST, made.RESPONSE]}[cut]
        if payload in packet.data and payload in wanted:
            packet.length = len(packet.data)
            packet.length = len(packet.data)
            packet.data = packet.data[:-30]
    flow.to_client(made.framed(updates)).to_server(made.masked(requests)).close()
    got = opened(getattr(made, container)(flow.packets))
    assert (got.of("server"), got.of("client")) == (updates, requests)
    assert got.error.exit_code == 5
    assert {loss.bytes for loss in got.capture.losses}
    assert all(loss.offset for loss in got.capture.losses)


@pytest.mark.parametrize("end", ["client", "server"])
def test_a_handshake_without_its_end_is_told_where_the_capture_just_stops(
    end: str, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    request, response = made.REQUEST, made.RESPONSE
    if end == "client":
        request = request[:-3] + b"\x0b" + request[-2:]
    else:
        response = response[:-3] + b"\x0b" + response[-2:]
    flow = made.Flow().handshake(http=False).to_server(request).to_client(response)
    flow.to_client(made.framed(updates)).to_server(made.masked(requests))
    got = opened(made.pcap(flow.packets))
    assert (got.of("server"), got.of("client")) == (updates, requests)
    assert "no end of the HTTP header" in got.error.message


def test_a_capture_that_stops_within_the_handshake_has_lost_nothing(
    made: Any, updates: list[bytes], opened: Opened
) -> None:
    whole = made.Flow().handshake().to_client(made.framed(updates))
    other = made.Flow(client=("10.0.0.9", 41000)).handshake(http=False).to_server(made.REQUEST[:20])
    got = opened(made.pcap(whole.packets + other.packets))
    assert (got.error, got.payloads) == (None, updates)


@pytest.mark.parametrize("bit", range(0, 26, 3))
@pytest.mark.parametrize("end", ["client", "server"])
def test_a_first_number_that_is_wrong_costs_no_message(
    bit: int, end: str, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    """Too large a number makes all that follows look as sent before, too small a one as if it came late."""
    for sense in (1, -1):
        flow = made.Flow().handshake()
        packet = flow.packets[0 if end == "client" else 1]
        number = int.from_bytes(packet.data[38:42], "big") + sense * (1 << bit)
        packet.data = packet.data[:38] + (number % 2**32).to_bytes(4, "big") + packet.data[42:]
        flow.to_client(made.framed(updates)).to_server(made.masked(requests))
        got = opened(made.pcap(flow.packets))
        assert (got.of("server"), got.of("client")) == (updates, requests), (sense, bit)


@pytest.mark.parametrize("ends", [("10.0.0.2", "10.0.0.1"), ("fe80::2", "2001:db8::1")])
@pytest.mark.parametrize("bit", range(6, 15))
def test_a_length_beyond_the_packet_hides_nothing_behind_it(
    bit: int, ends: tuple[str, str], made: Any, updates: list[bytes], opened: Opened
) -> None:
    """A capture tells how long each packet was on the line: what IP says beyond that was never there."""
    flow = made.Flow(client=(ends[1], 40000), server=(ends[0], 8765)).handshake()
    places = []
    for update in updates:
        places.append(len(flow.packets))
        flow.to_client(made.frame(update))
    place = 16 if "." in ends[0] else 18
    packet = flow.packets[places[2]]
    number = int.from_bytes(packet.data[place : place + 2], "big") | 1 << bit
    packet.data = packet.data[:place] + number.to_bytes(2, "big") + packet.data[place + 2 :]
    got = opened(made.pcap(flow.packets))
    assert [payload for payload in got.payloads if payload in updates] == got.payloads
    assert got.payloads == updates


def test_packets_of_an_interface_whose_description_is_damaged(made: Any, updates: list[bytes], opened: Opened) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates))
    content = bytearray(made.pcapng(flow.packets))
    start = content.index(b"\1\0\0\0", 28 - 4)
    for at in (start, start + 4, start + 5):
        for bit in range(2, 8):
            content[at] ^= 1 << bit
            got = opened(bytes(content))
            content[at] ^= 1 << bit
            assert got.payloads == updates, (at - start, bit)
            assert got.error.exit_code == 5
            assert got.error.message.count("byte")


def test_a_key_that_looks_like_a_frame_up_to_the_end_is_none(made: Any, requests: list[bytes], opened: Opened) -> None:
    """One deflated frame that happens to end with the capture proves nothing."""
    messages = made.masked(requests[:1])
    after = b"\r\nSec-WebSocket-Version: 13\r\n\r\x08"
    filler = b"=" * (0x75 - len(after) - len(messages) - 1)
    key = b"x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBu" + b"Bub" + filler[: len(filler)]
    request = made.REQUEST[: made.REQUEST.index(b"\r\n") + 2] + b"Host: server\r\nX: " + key + after
    whole = request + messages
    at = whole.index(b"Bub")
    assert at + 2 + 0x75 == len(whole)
    flow = made.Flow().handshake(http=False).to_server(whole)
    assert opened(made.pcap(flow.packets)).payloads == requests[:1]


def ipv4_checksum(packet: bytearray) -> None:
    """Write the checksum of an IPv4 header at byte 14, which the other packets here leave at 0."""
    packet[24:26] = bytes(2)
    total = sum(struct.unpack_from(">10H", packet, 14)) % 0xFFFF
    packet[24:26] = (0xFFFF - total).to_bytes(2, "big")


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
def test_a_wrong_bit_in_an_ipv4_header_is_named(
    container: str, made: Any, updates: list[bytes], opened: Opened
) -> None:
    """Also in the last packet, behind which there is no gap that could tell."""
    flow = made.Flow().handshake()
    for update in updates[:3]:
        flow.to_client(made.frame(update))
    for packet in flow.packets:
        data = bytearray(packet.data)
        ipv4_checksum(data)
        packet.data = bytes(data)
    make = getattr(made, container)
    assert (opened(make(flow.packets)).error, opened(make(flow.packets)).payloads) == (None, updates[:3])
    last = flow.packets[-1]
    for bit in range(8 * 20):
        if bit // 8 in (10, 11):  # the checksum itself: one bit makes it 0 in no packet here
            continue
        data = bytearray(last.data)
        data[14 + bit // 8] ^= 1 << bit % 8
        got = opened(make([*flow.packets[:-1], made.Packet(bytes(data), last.time_ns)]))
        assert got.payloads == updates[:2], bit
        assert got.error.exit_code == 5, bit
        assert got.capture.losses[0].offset == len(make(flow.packets[:-1])), bit


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
@pytest.mark.parametrize(("at", "value", "what"), [(14, 0x75, "IPv4 header"), (14, 0x42, "IPv4"), (46, 0x10, "TCP")])
def test_headers_that_contradict_themselves_are_named(
    at: int, value: int, what: str, container: str, made: Any, updates: list[bytes], opened: Opened
) -> None:
    flow = made.Flow().handshake()
    for update in updates[:3]:
        flow.to_client(made.frame(update))
    data = bytearray(flow.packets[-1].data)
    data[at] = value
    flow.packets[-1].data = bytes(data)
    make = getattr(made, container)
    got = opened(make(flow.packets))
    assert got.payloads == updates[:2]
    assert what in got.error.message
    assert got.capture.losses[0].offset == len(make(flow.packets[:-1]))


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
@pytest.mark.parametrize("number", [3, 5, -1])
def test_more_captured_than_there_was_is_damage_that_costs_nothing(
    container: str, number: int, made: Any, updates: list[bytes], opened: Opened
) -> None:
    """The captured length is right, as the next record begins behind it: so the original length is wrong."""
    flow = made.Flow().handshake().to_client(made.framed(updates))
    packet = flow.packets[number]
    packet.length = len(packet.data) - 7
    make = getattr(made, container)
    got = opened(make(flow.packets))
    assert got.payloads == updates
    offset = len(make(flow.packets[: number % len(flow.packets)]))
    assert [(loss.offset, loss.bytes) for loss in got.capture.losses] == [(offset, 0)]
    assert f"a packet of {packet.length} bytes, of which {len(packet.data)} were captured" in got.error.message
    assert got.error.exit_code == 5
