"""Packets with one wrong bit in their headers or records: nothing is lost unsaid, also where nothing follows them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vfctl.capture.formats.misread_packets import options_hold

Opened = Callable[[bytes], Any]

RECORD_BYTES = {"pcap": 16, "pcapng": 28}
ETHERNET, IPV4, TCP = 14, 20, 32
"""Bytes of each header in these flows."""


def capture(made: Any, container: str, flow: Any, link_type: int = 1) -> bytearray:
    if container == "pcap":
        return bytearray(made.pcap(flow.packets, link_type=link_type))
    blocks = [made.pcapng_packet(packet) for packet in flow.packets]
    return bytearray(made.section() + made.interface(link_type) + b"".join(blocks))


def flipped(content: bytearray, first: int, last: int, step: int = 1) -> Iterator[tuple[int, bytes]]:
    """Each of these bits, or every so many, turned over: its number from `first` on, and the capture."""
    for bit in range(0, 8 * (last - first), step):
        content[first + bit // 8] ^= 1 << bit % 8
        yield bit, bytes(content)
        content[first + bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("link", "step"), [("ethernet", 1), ("vlan", 5), ("sll", 5), ("sll2", 5), ("null", 5), ("raw", 3)]
)
def test_no_wrong_bit_hides_the_last_packet(
    container: str, link: str, step: int, version: int, made: Any, updates: list[bytes], opened: Opened
) -> None:
    """Nobody has acknowledged it, no FIN says that there was more, and nothing comes after it."""
    link_type, wrap = made.LINKS[link]
    ends = {} if version == 4 else {"client": ("fe80::1", 40000), "server": ("fe80::2", 8765)}
    flow = made.Flow(link=wrap, **ends).handshake()
    for update in updates[:3]:
        flow.to_client(made.frame(update))
    content = capture(made, container, flow, link_type)
    assert (opened(bytes(content)).error, opened(bytes(content)).payloads) == (None, updates[:3])
    record = len(content) - len(capture(made, container, made.Flow(packets=flow.packets[:-1]), link_type))
    start = len(content) - record
    headers = record - len(made.frame(updates[2])) - (-len(flow.packets[-1].data) % 4 + 16) * (container == "pcapng")
    for bit, damaged in flipped(content, start, start + headers, step):
        got = opened(damaged)
        assert got.payloads[:2] == updates[:2], bit
        assert got.payloads[2:] == updates[2:3] or got.error.exit_code == 5, bit


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
def test_nor_the_last_of_the_packets_that_a_message_takes(
    container: str, made: Any, updates: list[bytes], opened: Opened
) -> None:
    flow = made.Flow(mss=60).handshake()
    flow.to_client(made.framed(updates[:3]))
    content = capture(made, container, flow)
    start = len(capture(made, container, made.Flow(packets=flow.packets[:-1])))
    for bit, damaged in flipped(content, start, start + RECORD_BYTES[container] + ETHERNET + IPV4 + TCP):
        got = opened(damaged)
        assert got.payloads[:2] == updates[:2], bit
        assert got.payloads[2:] == updates[2:3] or got.error.exit_code == 5, bit


@pytest.mark.parametrize(
    ("at", "bit", "what"),
    [
        (12, 3, "wrong bit in its headers"),  # Ethernet's type
        (ETHERNET, 6, "wrong bit in its headers"),  # the version of IP
        (ETHERNET, 1, "wrong bit in its headers"),  # the length of its header
        (ETHERNET + 7, 2, "wrong bit in its headers"),  # a fragment
        (ETHERNET + 9, 0, "wrong bit in its headers"),  # the protocol
        (ETHERNET + 12, 7, "wrong bit in its addresses"),
        (ETHERNET + IPV4 + 3, 1, "wrong bit in its addresses"),  # a port
        (ETHERNET + IPV4 + 4, 6, "with the number"),
        (ETHERNET + IPV4 + 12, 7, "wrong bit in its headers"),  # a TCP header of no bytes
        (ETHERNET + IPV4 + 12, 6, "a TCP header of 48 bytes"),
        (ETHERNET + IPV4 + 13, 1, "a SYN"),
    ],
)
def test_what_its_payload_says_is_read(
    at: int, bit: int, what: str, made: Any, updates: list[bytes], opened: Opened
) -> None:
    """Also in the middle, and however many packets come behind it."""
    for more in range(len(updates) - 3):
        flow = made.Flow().handshake()
        for update in updates[: 3 + more]:
            flow.to_client(made.frame(update))
        damaged = bytearray(flow.packets[6].data)
        damaged[at] ^= 1 << bit
        flow.packets[6].data = bytes(damaged)
        got = opened(made.pcap(flow.packets))
        assert got.payloads == updates[: 3 + more]
        (loss,) = got.capture.losses
        assert what in loss.reason
        assert loss.offset == len(made.pcap(flow.packets[:6]))


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
@pytest.mark.parametrize("version", [4, 6])
def test_nor_one_in_a_capture_that_began_midway(
    container: str, version: int, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    """From the second packet on: what the first one would have been nothing tells. The client's is its first here."""
    ends = {} if version == 4 else {"client": ("fe80::1", 40000), "server": ("fe80::2", 8765)}
    flow = made.Flow(mss=1200, **ends).to_client(made.framed(updates[2:4])).to_server(made.masked(requests))
    assert len(flow.packets) == 3
    sent = [*updates[2:4], *requests]
    content = capture(made, container, flow)
    assert (opened(bytes(content)).error, sorted(opened(bytes(content)).payloads)) == (None, sorted(sent))
    ip_bytes = IPV4 if version == 4 else 40
    length = RECORD_BYTES[container] + ETHERNET + (2 if version == 4 else 4)
    for number in (1, 2):
        start = len(capture(made, container, made.Flow(packets=flow.packets[:number])))
        for bit, damaged in flipped(content, start, start + RECORD_BYTES[container] + ETHERNET + ip_bytes + TCP):
            got = opened(damaged)
            if sorted(got.payloads) != sorted(sent) and not got.error:
                # Of the first packet of an end nobody knows whether something stands behind each.
                assert (number, bit // 16) == (2, length // 2), (number, bit)


def test_a_number_too_low_among_the_first_of_a_capture_that_began_midway(
    made: Any, updates: list[bytes], opened: Opened
) -> None:
    """These wait, to be put into order, and none is known to be the first."""
    flow = made.Flow(server_sequence=2**20 - sum(len(made.frame(update)) for update in updates[:4]))
    for update in updates[:5]:
        flow.to_client(made.frame(update))
    content = capture(made, "pcap", flow)
    start = len(content) - len(flow.packets[-1].data) + ETHERNET + IPV4 + 4
    for bit, damaged in flipped(content, start, start + 4):
        got = opened(damaged)
        assert got.payloads == updates[:5] or got.error.exit_code == 5, bit


@pytest.mark.parametrize("number", [4, 7])
def test_a_wrong_number_of_a_packet_that_was_captured_twice(
    number: int, made: Any, updates: list[bytes], opened: Opened
) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates))
    twice = [packet for packet in flow.packets for _ in range(2)]
    content = capture(made, "pcap", made.Flow(packets=twice))
    start = len(capture(made, "pcap", made.Flow(packets=twice[: 2 * number + 1]))) + RECORD_BYTES["pcap"]
    for bit in range(26, 32):
        damaged = bytearray(content)
        damaged[start + ETHERNET + IPV4 + 7 - bit // 8] ^= 1 << bit % 8
        got = opened(bytes(damaged))
        assert got.payloads == updates, bit
        assert got.error.exit_code == 5


@pytest.mark.parametrize("fewer", [1, 2, 64, 10**6])
def test_an_ip_length_that_leaves_out_the_end(fewer: int, made: Any, updates: list[bytes], opened: Opened) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates[:2])).to_client(made.frame(updates[2]))
    damaged = bytearray(flow.packets[-1].data)
    total = int.from_bytes(damaged[ETHERNET + 2 : ETHERNET + 4], "big")
    damaged[ETHERNET + 2 : ETHERNET + 4] = max(0, total - fewer).to_bytes(2, "big")
    flow.packets[-1].data = bytes(damaged)
    got = opened(made.pcap(flow.packets))
    assert got.payloads == updates[:3]
    assert [loss.bytes for loss in got.capture.losses] == [0] * (fewer < total)


@pytest.mark.parametrize("bit", range(31))
def test_a_block_of_another_type_that_holds_the_next_packet_is_one(
    bit: int, made: Any, updates: list[bytes], opened: Opened
) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates[:2]))
    content = capture(made, "pcapng", flow)
    start = len(capture(made, "pcapng", made.Flow(packets=flow.packets[:-1])))
    content[start : start + 4] = struct.pack("<I", 6 ^ 1 << bit)
    got = opened(bytes(content))
    if bit == 2:  # the packet block of old has the same form
        assert got.error is None
    else:
        assert [loss.offset for loss in got.capture.losses] == [start]
    assert got.payloads == updates[:2]


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


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("bit", [20, 25, 31, 32 + 20, 32 + 31])
def test_a_wrong_time_costs_no_packet(number: int, bit: int, made: Any, updates: list[bytes], opened: Opened) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates))
    content = bytearray(made.pcap(flow.packets))
    start = len(made.pcap(flow.packets[:number]))
    content[start + bit // 8] ^= 1 << bit % 8
    got = opened(bytes(content))
    assert got.payloads == updates
    assert len(got.capture.losses) == 1
    assert "the time of a packet" in got.capture.losses[0].reason


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
def test_an_unknown_link_type_is_seen_through(container: str, made: Any, updates: list[bytes], opened: Opened) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates))
    got = opened(bytes(capture(made, container, flow, link_type=1 | 64)))
    assert got.payloads == updates
    assert [(loss.bytes, "link type 65" in loss.reason) for loss in got.capture.losses] == [(0, True)]


def test_a_message_that_one_bit_makes_a_pong_of(made: Any, updates: list[bytes], opened: Opened) -> None:
    short = [payload for payload in updates if len(payload) < 126]
    assert short
    for masked in (False, True):
        flow = made.Flow().handshake().to_client(made.framed(updates))
        framed = bytearray(made.masked(short[:1]) if masked else made.frame(short[0]))
        framed[0] ^= 8
        (flow.to_server if masked else flow.to_client)(bytes(framed))
        got = opened(made.pcap(flow.packets))
        assert got.payloads == [*updates, short[0]]
        assert "a pong that holds a message" in got.error.message


@pytest.mark.parametrize(
    ("options", "hold"),
    [
        (b"", True),
        (b"\1\1\x08\x0a" + bytes(8), True),
        (b"\x02\x04\x05\xb4\0\0\0\0", True),
        (b"\1\1\1", True),
        (b"\0\0\0\1", False),
        (b"\x05", False),
        (b"\x05\x01\0\0", False),
        (b"\x05\x0a\0\0", False),
    ],
)
def test_options_add_up(options: bytes, hold: bool) -> None:
    assert options_hold(options) is hold


@pytest.mark.parametrize("copy", [0, 1])
@pytest.mark.parametrize("number", [4, 7])
def test_a_copy_with_a_wrong_number_replaces_nothing(
    copy: int, number: int, made: Any, updates: list[bytes], opened: Opened
) -> None:
    """Its end would stand where the next packet does."""
    flow = made.Flow().handshake().to_client(made.framed(updates)).acknowledge()
    twice = [packet for packet in flow.packets for _ in range(2)]
    content = capture(made, "pcap", made.Flow(packets=twice))
    start = len(capture(made, "pcap", made.Flow(packets=twice[: 2 * number + copy]))) + RECORD_BYTES["pcap"]
    for bit, damaged in flipped(content, start + ETHERNET + IPV4 + 4, start + ETHERNET + IPV4 + 8):
        got = opened(damaged)
        assert got.payloads == updates or got.error.exit_code == 5, bit


def test_a_wrong_port_that_is_another_connections(
    made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    """Two of which the ports are one bit apart: the last packet of one belongs to the other as it stands there."""
    first = made.Flow(client=("10.0.0.1", 40000)).handshake()
    second = made.Flow(
        client=("10.0.0.1", 40001), client_sequence=777777, server_sequence=12345678, now_ns=first.now_ns
    ).handshake()
    packets = first.packets + second.packets
    for flow in (first, second):
        packets += flow.to_client(made.framed(updates)).packets[4:]
    packets += second.to_server(made.masked(requests)).packets[-1:]
    packets[-1].data = bytes(byte ^ (at == ETHERNET + IPV4 + 1) for at, byte in enumerate(packets[-1].data))
    packets += first.to_server(made.masked(requests)).packets[-1:]
    got = opened(made.pcap(packets))
    assert got.of("client") == requests * 2
    assert [each.connection for each in got.messages[-len(requests) * 2 :]] == [1] * 3 + [0] * 3
    assert "wrong bit in its addresses" in got.error.message
