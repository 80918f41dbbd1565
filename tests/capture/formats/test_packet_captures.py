"""pcap and pcapng: whatever way the packets came, the same messages come out; what is missing is named."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfctl.capture.message import Direction
from vfctl.errors import CaptureError

HYPOTHESIS = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Opened = Callable[[bytes], Any]


@pytest.fixture
def conversation(made: Any, updates: list[bytes], requests: list[bytes]) -> Any:
    """A connection from handshake to close, with messages in both directions."""
    flow = made.Flow().handshake()
    flow.to_client(made.framed(updates[:3])).to_server(made.masked(requests[:1])).to_client(made.framed(updates[3:]))
    return flow.to_server(made.masked(requests[1:])).acknowledge().close()


# --- the containers


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap_of_either_byte_order_and_unit(
    order: str,
    nanoseconds: bool,
    made: Any,
    conversation: Any,
    updates: list[bytes],
    requests: list[bytes],
    opened: Opened,
) -> None:
    got = opened(made.pcap(conversation.packets, order=order, nanoseconds=nanoseconds))
    assert got.error is None
    assert got.capture.format == "pcap"
    assert got.of("server") == updates
    assert got.of("client") == requests
    times = {packet.time_ns for packet in conversation.packets}
    assert {message.arrival_ns for message in got.messages} <= times
    assert got.capture.connections == {0: "10.0.0.1:40000 > 10.0.0.2:8765 server:8765/ws?timed=1"}


@pytest.mark.parametrize(
    "link", ["ethernet", "vlan", "padded", "sll", "sll2", "null", "null-big-endian", "loop", "raw", "raw-bsd"]
)
@pytest.mark.parametrize("ends", [("10.0.0.2", "10.0.0.1"), ("fe80::2", "2001:db8::1")])
def test_every_link_layer_with_either_internet_protocol(
    link: str, ends: tuple[str, str], made: Any, updates: list[bytes], opened: Opened
) -> None:
    link_type, wrap = made.LINKS[link]
    flow = made.Flow(client=(ends[1], 40000), server=(ends[0], 8765), link=wrap)
    flow.handshake().to_client(made.framed(updates)).close()
    got = opened(made.pcap(flow.packets, link_type=link_type))
    assert (got.error, got.payloads) == (None, updates)
    assert ends[0] in got.capture.connections[0]


def test_the_offset_is_that_of_the_packet_with_the_first_byte(made: Any, opened: Opened, updates: list[bytes]) -> None:
    flow = made.Flow().handshake()
    starts = []
    for update in updates:
        starts.append(len(made.pcap(flow.packets)))
        flow.to_client(made.frame(update))
    got = opened(made.pcap(flow.packets))
    assert [message.offset for message in got.messages] == starts


def test_ipv6_extension_headers_are_passed_over(made: Any, opened: Opened, updates: list[bytes]) -> None:
    def wrap(packet: bytes) -> bytes:
        # hop-by-hop, destination options, authentication, a fragment header of a whole packet
        extra = b"\x3c\0" + bytes(6) + b"\x33\x01" + bytes(14) + b"\x2c\x04" + bytes(22) + b"\x06\0\0\0" + bytes(4)
        (size,) = struct.unpack_from(">H", packet, 4)
        return made.ethernet(
            packet[:4] + struct.pack(">H", size + len(extra)) + b"\0" + packet[7:40] + extra + packet[40:]
        )

    flow = made.Flow(client=("::1", 1), server=("::2", 2), link=wrap).handshake().to_client(made.framed(updates))
    assert opened(made.pcap(flow.packets)).payloads == updates


def test_segments_that_the_network_card_was_to_cut_have_no_length(
    made: Any, opened: Opened, updates: list[bytes]
) -> None:
    def wrap(packet: bytes) -> bytes:
        return made.ethernet(packet[:2] + b"\0\0" + packet[4:])

    flow = made.Flow(link=wrap, mss=60_000).handshake().to_client(made.framed(updates))
    assert opened(made.pcap(flow.packets)).payloads == updates


def test_pcapng_with_several_interfaces_resolutions_and_sections(
    made: Any, opened: Opened, updates: list[bytes], requests: list[bytes]
) -> None:
    """One interface a direction: Ethernet with µs, raw IP with ns and an offset, cooked with powers of two."""
    flow = made.Flow(link=lambda packet: packet).handshake()
    flow.to_client(made.framed(updates)).to_server(made.masked(requests)).close()
    interfaces = [("ethernet", None, 10**6, 0), ("raw", 9, 10**9, 1_600_000_000), ("sll", 0x80 | 20, 2**20, 0)]
    content = made.section() + made.block(0xBAD, b"of no interest")
    for link, resolution, _, offset_s in interfaces:
        content += made.interface(made.LINKS[link][0], resolution=resolution, offset_s=offset_s)
    half = len(flow.packets) // 2
    for number, packet in enumerate(flow.packets[:half]):
        link, _, units_per_s, offset_s = interfaces[number % 3]
        seen = made.Packet(made.LINKS[link][1](packet.data), packet.time_ns, interface=number % 3)
        content += made.pcapng_packet(seen, units_per_s=units_per_s, offset_s=offset_s)
    content += made.section(">") + made.interface(101, ">", resolution=9)
    for packet in flow.packets[half:]:
        content += made.pcapng_packet(packet, ">", units_per_s=10**9)
    got = opened(content)
    assert got.error is None
    assert (got.of("server"), got.of("client")) == (updates, requests)
    times = [packet.time_ns for packet in flow.packets]
    for message in got.messages:
        assert min(abs(message.arrival_ns - time) for time in times) <= 1000


def test_old_and_simple_packet_blocks(made: Any, opened: Opened, updates: list[bytes]) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates))
    content = made.section() + made.interface()
    for number, packet in enumerate(flow.packets):
        data, length = packet.data, len(packet.data)
        if number % 2:
            content += made.block(3, struct.pack("<I", length) + data)
        else:
            units = packet.time_ns // 1000
            content += made.block(
                2, struct.pack("<HHIIII", 0, 0, units >> 32, units & 0xFFFFFFFF, length, length) + data
            )
    got = opened(content)
    assert (got.error, got.payloads) == (None, updates)
    assert None in {message.arrival_ns for message in got.messages}  # a simple packet has no time


def test_against_another_implementation(made: Any, opened: Opened, updates: list[bytes]) -> None:
    """Packets and files that dpkt made."""
    import io

    import dpkt

    def packet(sequence: int, payload: bytes, flags: int, reverse: bool) -> bytes:
        ends = [(b"\x0a\0\0\x01", 4000), (b"\x0a\0\0\x02", 8765)]
        (source, sport), (target, dport) = ends[::-1] if reverse else ends
        tcp = dpkt.tcp.TCP(sport=sport, dport=dport, seq=sequence, flags=flags, data=payload)
        inner = dpkt.ip.IP(src=source, dst=target, p=6, data=tcp)
        inner.len = len(inner)
        return bytes(dpkt.ethernet.Ethernet(type=0x0800, data=inner))

    stream = made.RESPONSE + made.framed(updates)
    packets = [packet(99, b"", 2, False), packet(499, b"", 18, True), packet(100, made.REQUEST, 16, False)]
    packets += [packet(500 + at, stream[at : at + 1000], 16, True) for at in range(0, len(stream), 1000)]
    for writer in (dpkt.pcap.Writer, dpkt.pcapng.Writer):
        out = io.BytesIO()
        wrote = writer(out)
        for number, each in enumerate(packets):
            wrote.writepkt(each, 1_700_000_000 + number)
        got = opened(out.getvalue())
        assert (got.error, got.payloads) == (None, updates)
        assert got.messages[0].arrival_ns // 10**9 == 1_700_000_003


# --- TCP


@given(
    seed=st.integers(0, 2**32),
    container=st.sampled_from(["pcap", "pcapng"]),
    start=st.sampled_from([0, 7, 2**31 - 500, 2**32 - 5000, 2**32 - 1]),
)
@HYPOTHESIS
def test_any_way_that_the_segments_come(
    seed: int, container: str, start: int, made: Any, traffic: Any, opened: Opened
) -> None:
    """Cut anywhere, out of order within a window, sent again whole or overlapping, sequence numbers around zero."""
    rng = random.Random(seed)
    flow = made.Flow(server_sequence=start, client_sequence=(start + 2**31) % 2**32).handshake(http=False)
    opening = list(flow.packets)
    to_client, to_server = made.RESPONSE + made.framed(traffic.updates), made.REQUEST + made.masked(traffic.requests)
    streams = (
        (flow.server, flow.client, flow.server_sequence, flow.client_sequence, to_client),
        (flow.client, flow.server, flow.client_sequence, flow.server_sequence, to_server),
    )
    segments = []
    for source, target, sequence, acknowledged, stream in streams:
        at, order = 0, 0.0
        while at < len(stream):
            size = rng.randrange(1, 1500)
            order += 1
            for _ in range(1 + (rng.random() < 0.3)):
                again = max(0, at - rng.randrange(0, 50)) if rng.random() < 0.3 else at
                piece = stream[again : at + size]
                packet = made.ethernet(made.segment(source, target, sequence + again, piece, made.ACK, acknowledged))
                segments.append((order + rng.uniform(0, 6), made.Packet(packet, made.START_NS)))
            at += size
    packets = opening + [packet for _, packet in sorted(segments, key=lambda item: item[0])]
    got = opened(getattr(made, container)(packets))
    assert got.error is None
    assert (got.of("server"), got.of("client")) == (traffic.updates, traffic.requests)


def test_many_connections_at_once(made: Any, updates: list[bytes], requests: list[bytes], opened: Opened) -> None:
    flows = [made.Flow(client=(f"10.0.1.{number}", 5000)).handshake() for number in range(20)]
    for update in updates:
        for flow in flows:
            flow.to_client(made.frame(update))
    for flow in flows:
        flow.to_server(made.masked(requests)).close()
    packets = [packet for together in zip(*(flow.packets for flow in flows), strict=True) for packet in together]
    got = opened(made.pcap(packets))
    assert got.error is None
    assert len(got.capture.connections) == 20
    for number in range(20):
        mine = [message for message in got.messages if message.connection == number]
        assert [each.payload for each in mine if each.direction is Direction.SERVER] == updates
        assert [each.payload for each in mine if each.direction is Direction.CLIENT] == requests


def test_the_same_ports_used_again(made: Any, updates: list[bytes], opened: Opened) -> None:
    """Closed by FIN, by RST, and not at all; and what is sent again after the end belongs to nobody."""
    first = made.Flow().handshake().to_client(made.framed(updates[:2])).close()
    second = made.Flow(client_sequence=5_000_000, server_sequence=77).handshake().to_client(made.framed(updates[2:4]))
    second._add(made.segment(second.client, second.server, second.client_sequence, flags=made.RST))
    third = (
        made.Flow(client_sequence=9_000_000, server_sequence=990_000).handshake().to_client(made.framed(updates[4:6]))
    )
    fourth = made.Flow(client_sequence=100, server_sequence=200).handshake().to_client(made.framed(updates[6:]))
    late = first.packets[4:7]
    got = opened(made.pcap(first.packets + late + second.packets + third.packets + fourth.packets))
    assert (got.error, got.payloads) == (None, updates)
    assert [message.connection for message in got.messages] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_capture_that_began_midway(made: Any, conversation: Any, updates: list[bytes], opened: Opened) -> None:
    """From any packet on: all messages that begin in it, and no loss, as nothing is damaged."""
    packets = conversation.packets
    for skipped in range(4, len(packets) - 4):
        got = opened(made.pcap(packets[skipped:]))
        found = got.of("server")
        assert found == updates[len(updates) - len(found) :]
        assert got.error is None
        assert any("began before the capture" in note for note in got.capture.notes)
    assert len(opened(made.pcap(packets[5:])).of("server")) == len(updates) - 2  # its first packet is within the second


def test_midway_with_the_first_segments_out_of_order(made: Any, updates: list[bytes], opened: Opened) -> None:
    flow = made.Flow(mss=500).handshake()
    begin = len(flow.packets)
    flow.to_client(made.framed(updates))
    packets = flow.packets[begin:]
    packets[0], packets[3] = packets[3], packets[0]
    assert opened(made.pcap(packets)).payloads == updates


@pytest.mark.parametrize("kept", [500, 1000])
def test_missing_segments_cost_what_they_hit_and_are_named(
    kept: int, made: Any, updates: list[bytes], opened: Opened
) -> None:
    flow = made.Flow(mss=kept).handshake()
    begin = len(flow.packets)
    flow.to_client(made.framed(updates)).acknowledge()
    for gone in range(begin, len(flow.packets) - 1):
        got = opened(made.pcap(flow.packets[:gone] + flow.packets[gone + 1 :]))
        first = (gone - begin) * kept
        ends = [sum(len(made.frame(each)) for each in updates[: number + 1]) for number in range(len(updates))]
        starts = [0, *ends[:-1]]
        untouched = [
            each
            for each, start, end in zip(updates, starts, ends, strict=True)
            if end <= first or start >= first + kept
        ]
        assert [each for each in got.payloads if each in untouched] == untouched, gone
        assert len(got.payloads) == len(untouched)
        assert isinstance(got.error, CaptureError)
        assert got.error.exit_code == 5
        assert "not captured" in got.capture.losses[0].reason
        assert "10.0.0.1:40000" in got.capture.losses[0].reason


def test_a_gap_that_was_acknowledged_is_given_up_before_the_end(
    made: Any, opened: Opened, updates: list[bytes]
) -> None:
    """So neither memory nor the order of messages suffers from one packet that the capture dropped."""
    flow = made.Flow().handshake()
    flow.to_client(made.frame(updates[1]))
    del flow.packets[-2]
    for _ in range(100):
        flow.to_client(made.frame(updates[0])).acknowledge()
    mark = len(flow.packets)
    flow.to_server(made.masked([updates[2]]))
    flow.to_client(made.frame(updates[0]))
    got = opened(made.pcap(flow.packets))
    assert got.payloads.count(updates[0]) == 101
    assert got.payloads.index(updates[2]) == 100
    assert mark > 100


def test_packets_cut_by_a_snap_length(made: Any, updates: list[bytes], opened: Opened) -> None:
    """Small messages are whole; of large ones the frame tells where the next one begins."""
    flow = made.Flow().handshake()
    for update in updates:
        flow.to_client(made.frame(update))
    cut = [made.Packet(packet.data[:400], packet.time_ns, len(packet.data)) for packet in flow.packets]
    got = opened(made.pcap(cut))
    assert got.payloads == [update for update in updates if len(update) < 330]
    assert len(got.capture.losses) >= sum(len(update) > 330 for update in updates)


def test_what_is_not_visionflow_is_left_out_and_said(made: Any, updates: list[bytes], opened: Opened) -> None:
    ours = made.Flow().handshake().to_client(made.framed(updates) + made.frame(b"{}", made.Opcode.TEXT)).close()
    other = made.Flow(client=("10.0.0.9", 1)).handshake().to_client(made.framed([b"something else"] * 3)).close()
    tls = made.Flow(client=("10.0.0.8", 1)).handshake(http=False).to_server(b"\x16\x03\x01\x02\0" + bytes(500)).close()
    plain = made.Flow(client=("10.0.0.7", 1)).handshake(http=False)
    plain.to_server(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").to_client(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    ).close()
    assert isinstance(opened(made.pcap([made.Packet(b"")], link_type=0)).error, CaptureError)
    udp = made.Packet(made.ethernet(b"\x45\0\0\x1c" + bytes(5) + b"\x11" + bytes(18)))
    got = opened(made.pcap([udp, *other.packets, *tls.packets, *ours.packets, *plain.packets, made.Packet(b"")]))
    assert (got.error, got.payloads) == (None, updates)
    notes = "\n".join(got.capture.notes)
    assert "1 text messages" in notes
    assert "3 binary messages of connections that are not VisionFlow's" in notes
    assert "1 connections are encrypted" in notes


def test_a_capture_without_any_says_what_it_has(made: Any, opened: Opened) -> None:
    flow = made.Flow().handshake().to_client(made.framed([b"something else"])).close()
    got = opened(made.pcap(flow.packets))
    assert isinstance(got.error, CaptureError)
    assert "1 TCP connections, 1 of them WebSockets" in got.error.message
    got = opened(made.pcap([made.Packet(b"\0" * 60)], link_type=147))
    assert "link type 147" in str(got.error.hint)


def test_deployed_frames_are_delimited_by_the_container(made: Any, opened: Opened) -> None:
    v2 = b"\x02" + struct.pack("<I6ffi", 1, 0, 0, 0, 0, 0, 0, 0, -1) * 3
    v5 = b"\x05" + struct.pack("<Q", 9) + struct.pack("<I6ffiIfI", 1, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0)
    flow = made.Flow().handshake().to_client(made.framed([v2, v5, v2]))
    got = opened(made.pcap(flow.packets))
    assert [(message.form, message.payload) for message in got.messages] == [("v2", v2), ("v5", v5), ("v2", v2)]


# --- damage


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
def test_cut_at_every_byte(container: str, made: Any, updates: list[bytes], opened: Opened) -> None:
    updates = [updates[0], updates[3], updates[5], updates[0]]
    flow = made.Flow(mss=100).handshake(http=False).to_client(made.framed(updates))
    whole = getattr(made, container)(flow.packets)
    boundaries = {len(getattr(made, container)(flow.packets[:count])) for count in range(len(flow.packets) + 1)}
    boundaries.add(len(made.section()))
    most = 0
    for cut in range(1, len(whole)):
        got = opened(whole[:cut])
        assert got.payloads == updates[: len(got.payloads)], cut
        assert len(got.payloads) >= most
        most = len(got.payloads)
        if cut not in boundaries:
            assert isinstance(got.error, CaptureError), cut
            assert got.error.exit_code == 5
    assert len(opened(whole).payloads) == 4


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
def test_a_flipped_bit_costs_no_more_than_the_packet_that_it_hit(
    container: str, made: Any, updates: list[bytes], opened: Opened
) -> None:
    flow = made.Flow().handshake()
    sizes = []
    for update in updates:
        before = len(flow.packets)
        flow.to_client(made.frame(update))
        sizes.append((before, len(flow.packets)))
    make = getattr(made, container)
    content = bytearray(make(flow.packets))
    starts = [len(make(flow.packets[:count])) for count in range(len(flow.packets) + 1)]
    rng = random.Random(5)
    for number in range(4, len(flow.packets)):
        for position in range(starts[number], starts[number] + 28):  # the record's own fields
            bit = 1 << rng.randrange(8)
            content[position] ^= bit
            got = opened(bytes(content))
            content[position] ^= bit
            untouched = [each for each, (first, last) in zip(updates, sizes, strict=True) if not first <= number < last]
            found = [each for each in got.payloads if each in untouched]
            assert found == untouched, (number, position - starts[number], bit)


@pytest.mark.parametrize("container", ["pcap", "pcapng"])
def test_rubbish_between_packets_costs_only_itself(
    container: str, made: Any, updates: list[bytes], opened: Opened
) -> None:
    flow = made.Flow().handshake().to_client(made.framed(updates)).close()
    make = getattr(made, container)
    whole = make(flow.packets)
    for count in range(1, len(flow.packets)):
        at = len(make(flow.packets[:count]))
        got = opened(whole[:at] + b"\xff" * 333 + whole[at:])
        assert got.payloads == updates
        assert [(loss.offset, loss.bytes) for loss in got.capture.losses] == [(at, 333)]


def test_a_wrong_number_in_the_handshake_costs_no_message(made: Any, updates: list[bytes], opened: Opened) -> None:
    """What the other end acknowledges tells where the stream began."""
    for bit in (8, 12, 20):
        flow = made.Flow().handshake(http=False)
        packet = bytearray(flow.packets[1].data)
        number = int.from_bytes(packet[38:42], "big") ^ 1 << bit
        packet[38:42] = number.to_bytes(4, "big")
        flow.packets[1].data = bytes(packet)
        flow.acknowledge().to_server(made.REQUEST).to_client(made.RESPONSE).to_client(made.framed(updates)).close()
        got = opened(made.pcap(flow.packets))
        assert got.payloads == updates, bit


@pytest.mark.parametrize("end", ["client", "server"])
def test_a_handshake_without_its_end_costs_no_message(
    end: str, made: Any, updates: list[bytes], requests: list[bytes], opened: Opened
) -> None:
    request, response = made.REQUEST, made.RESPONSE
    if end == "client":
        request = request[:-1] + b"\x0b"
    else:
        response = response[:-1] + b"\x0b"
    flow = made.Flow().handshake(http=False).to_server(request).to_client(response)
    flow.to_client(made.framed(updates)).to_server(made.masked(requests)).close()
    got = opened(made.pcap(flow.packets))
    assert (got.of("server"), got.of("client")) == (updates, requests)
    assert "no end of the HTTP header" in got.error.message
    assert got.error.exit_code == 5


def test_what_comes_just_behind_a_reset_is_not_late(made: Any, updates: list[bytes], opened: Opened) -> None:
    """One wrong bit makes a RST of an ACK."""
    flow = made.Flow().handshake().to_client(made.framed(updates[:2]))
    flow._add(made.segment(flow.client, flow.server, flow.client_sequence, flags=made.RST))
    for update in updates[2:]:
        flow.to_client(made.frame(update))
    assert opened(made.pcap(flow.packets)).payloads == updates
