"""Packet captures that look odd and are whole: nothing in them is damage, and each message comes once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vfctl.capture.formats import tcp_connections
from vfctl.capture.formats.packets import Packet
from vfctl.capture.formats.tcp_connections import TcpConnections
from vfctl.capture.formats.websocket_messages import Tally
from vfctl.capture.report import Report

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
    monkeypatch.setattr(tcp_connections, "MAX_OPEN", 50)
    flow = made.Flow().handshake()
    for number in range(1000):
        flow._add(made.segment(("10.0.0.9", 1024 + number), made.SERVER, number, flags=made.SYN))
        if number % 100 == 0:
            flow.to_client(made.framed(updates))
    connections = TcpConnections(Tally(Report()))
    messages = []
    for packet in flow.packets:
        messages += connections.take(Packet(packet.data, packet.whole, 1, 0, packet.time_ns))
        assert len(connections._open) <= 50
    messages += connections.finish()
    assert [(each.connection, each.payload) for each in messages] == [(0, update) for update in updates * 10]
