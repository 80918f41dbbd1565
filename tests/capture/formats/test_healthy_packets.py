"""Packet captures that look odd and are whole: nothing in them is damage, and each message comes once."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from vfctl.capture.formats import tcp_reassembly
from vfctl.capture.formats.packets import tcp_segment
from vfctl.capture.formats.tcp_reassembly import TcpConnections
from vfctl.capture.formats.websocket_messages import Tally
from vfctl.capture.losses import Report

Opened = Callable[[bytes], Any]

DAY_NS = 86400 * 10**9


def conversation(made: Any, updates: list[bytes], requests: list[bytes]) -> Any:
    return made.Flow().handshake().to_client(made.framed(updates)).to_server(made.masked(requests))


@pytest.mark.parametrize("days", [8, 30, 400, -30])
@pytest.mark.parametrize("at", [1, 3, 7, -1])
def test_weeks_between_two_packets(
    days: int, at: int, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    """Nobody called in the meantime, or two captures were put together."""
    flow = conversation(made, updates, requests)
    for packet in flow.packets[at:]:
        packet.time_ns += days * DAY_NS
    got = opened(made.pcap(flow.packets))
    assert got.error is None
    assert (got.of("server"), got.of("client")) == (updates, requests)
    assert got.messages[-1].arrival_ns == flow.packets[-1].time_ns


@pytest.mark.parametrize("trailer", [4, 6, 12, 16])
@pytest.mark.parametrize("begin", [0, 4])
def test_each_packet_twice_of_which_one_has_something_behind_it(
    trailer: int, begin: int, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    """As of two interfaces, one of which adds a checksum or a time stamp."""
    flow = conversation(made, updates, requests)
    packets = []
    for packet in flow.packets[begin:]:
        packets += [packet, made.Packet(packet.data + bytes(range(trailer)), packet.time_ns)]
    got = opened(made.pcap(packets))
    assert got.error is None
    assert (got.of("server"), got.of("client")) == (updates, requests)


@pytest.mark.parametrize("begin", [0, 1, 4])
def test_the_same_packets_under_an_address_one_bit_away(
    begin: int, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    """As on both sides of what translates addresses: these are two connections."""
    flow = conversation(made, updates, requests)
    packets = []
    for packet in flow.packets[begin:]:
        translated = packet.data.replace(b"\x0a\0\0\2", b"\x0a\0\0\3")
        packets += [packet, made.Packet(translated, packet.time_ns)]
    got = opened(made.pcap(packets))
    assert got.error is None
    for direction, sent in (("server", updates), ("client", requests)):
        by_connection = [
            [each.payload for each in got.messages if (each.connection, each.direction) == (number, direction)]
            for number in range(2)
        ]
        assert [payloads[-len(sent) :] for payloads in by_connection] == [sent[-len(each) :] for each in by_connection]
        assert all(len(payloads) >= len(sent) - 1 for payloads in by_connection)


def test_connections_that_all_begin_with_the_same_number(made: Any, updates: list[bytes], opened: Opened) -> None:
    """As programs number them that make captures of payloads; without a handshake, from one port after another."""
    packets = []
    for number in range(8):
        flow = made.Flow(client=("10.0.0.1", 40000 + number), server_sequence=1)
        packets += flow.to_client(made.framed(updates)).packets
    got = opened(made.pcap(packets))
    assert got.error is None
    assert [[each.payload for each in got.messages if each.connection == number] for number in range(8)] == [
        updates
    ] * 8


def test_very_many_that_are_never_closed(made: Any, updates: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """As of who scans ports: they are let go of, and the WebSockets among them are not."""
    monkeypatch.setattr(tcp_reassembly, "MAX_OPEN", 50)
    flow = made.Flow().handshake()
    for number in range(1000):
        flow._add(made.segment(("10.0.0.9", 1024 + number), made.SERVER, number, flags=made.SYN))
        if number % 100 == 0:
            flow.to_client(made.framed(updates))
    connections = TcpConnections(Tally(Report()))
    messages = []
    for packet in flow.packets:
        segment = tcp_segment(1, packet.data, packet.whole)
        assert segment is not None
        messages += connections.add(segment, 0, packet.time_ns)
        assert connections.open_count <= 50
    messages += connections.finish()
    assert [(each.connection, each.payload) for each in messages] == [(0, update) for update in updates * 10]


def test_blocks_of_other_types_are_passed_over_in_silence(made: Any, updates: list[bytes], opened: Opened) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates))
    blocks = [made.pcapng_packet(packet) for packet in flow.packets]
    names = made.block(4, struct.pack("<HH4s12s", 1, 14, b"\x0a\0\0\x01", b"server.test\0") + bytes(8))
    statistics = made.block(5, struct.pack("<IIIHHQ", 0, 0, 0, 4, 8, 77) + bytes(4))
    custom = made.block(0xBAD, bytes(range(120)))
    between = names + statistics + custom
    got = opened(made.section() + made.interface() + between + between.join(blocks) + between)
    assert (got.error, got.payloads) == (None, updates)


def test_other_traffic_between_the_same_two_is_no_damage(made: Any, updates: list[bytes], opened: Opened) -> None:
    flow = made.Flow().handshake()
    for number, update in enumerate(updates):
        flow.to_client(made.frame(update))
        datagram = struct.pack(">HHHH", 8765, 40000, 108, 0) + bytes(100)
        packet = bytearray(made.ip("10.0.0.2", "10.0.0.1", datagram))
        packet[9] = 17  # UDP, from and to the same ports
        flow._add(bytes(packet))
        other = (b"\x0a\0\0\x01", 40001 + 2 * number)  # a connection of the client's next port, without its start
        flow._add(made.segment(("10.0.0.2", 8765), ("10.0.0.1", other[1]), 5 + number, made.frame(update)))
    flow.close()
    got = opened(made.pcap(flow.packets))
    assert got.error is None
    assert [each.payload for each in got.messages if each.connection == 0] == updates


def test_what_equipment_puts_behind_each_packet_is_no_part_of_it(
    made: Any, updates: list[bytes], opened: Opened
) -> None:
    flow = made.Flow(link=lambda packet: made.ethernet(packet) + b"\x01\x02\x03\x04\x05\x06").handshake()
    flow.to_client(made.framed(updates)).close()
    got = opened(made.pcap(flow.packets))
    assert (got.error, got.payloads) == (None, updates)


@pytest.mark.parametrize("size", [64, 128, 1024, 2048])
def test_what_is_sent_again_last_is_no_damage(size: int, made: Any, updates: list[bytes], opened: Opened) -> None:
    """Its number is one bit from the next one's."""
    stream = made.RESPONSE + made.framed(updates * 9)
    flow = made.Flow(server_sequence=2**20 - len(stream) - 1).handshake(http=False).to_server(made.REQUEST)
    flow.to_client(stream)
    assert flow.server_sequence == 2**20
    again = made.segment(flow.server, flow.client, flow.server_sequence - size, stream[-size:], made.ACK)
    flow._add(again)
    got = opened(made.pcap(flow.packets))
    assert (got.error, got.payloads) == (None, updates * 9)


def test_a_reset_with_bytes_takes_none_of_them_along(made: Any, updates: list[bytes], opened: Opened) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates[:2]))
    last = made.frame(updates[2])
    flow._add(made.segment(flow.server, flow.client, flow.server_sequence, last, made.ACK | made.RST))
    assert opened(made.pcap(flow.packets)).payloads == updates[:3]
