"""Packets with a wrong bit in their headers: known by all the rest of these, which is as in others of their connection.

Most that a wrong bit hides is told by what comes after it, a gap in the stream. Nothing tells of the last packet, so
those that belong to nobody are looked at. Checksums would tell as well, but what the kernel leaves to the network card
has none yet when it is captured.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from vfctl.capture.formats.packets import TCP, TCP_HEADER, Buffer, Packet, Segment

MAX_LAYOUTS: Final = 16
"""So many ways in which headers follow one another are known at most; a capture of one server has one or two."""

MAX_PADDED_BYTES: Final = 72
"""Packets up to this size may have been filled up by the link layer: Ethernet's 60, its checksum, two VLAN tags."""

LEAST_HEADER_BYTES: Final = 20
"""Of TCP, and of IPv4."""

_END_OF_OPTIONS: Final = 0
_NO_OPERATION: Final = 1
_IPV4_FIXED = struct.Struct(">BxxxxxHxB")
"""Version and length, fragment, protocol: with addresses and ports all that is the same in each packet of a stream."""


class Layout(NamedTuple):
    """Where the headers of a packet stand."""

    link_type: int
    version: int
    ip_at: int
    tcp_at: int

    @staticmethod
    def of(packet: Packet, segment: Segment) -> Layout:
        """That of a packet that could be read."""
        return Layout(packet.link_type, packet.data[segment.ip_at] >> 4, segment.ip_at, segment.tcp_at)


def ends_at(layout: Layout, packet: Packet) -> tuple[bytes, bytes] | None:
    """Source and target of a packet if its headers stand there; None if more than one bit besides is not as it should.

    The link layer's header is not looked at: it differs with each interface that a packet has passed.
    """
    data, at = packet.data, layout.ip_at
    if packet.link_type != layout.link_type or len(data) < layout.tcp_at + LEAST_HEADER_BYTES:
        return None
    if layout.version == 4:
        first, fragment, protocol = _IPV4_FIXED.unpack_from(data, at)
        wrong = (first ^ (0x40 | (layout.tcp_at - at) // 4)).bit_count() + (fragment & 0x3FFF).bit_count()
        size = 4
        addresses = at + 12
    else:
        protocol = data[at + 6]
        wrong = (data[at] >> 4 ^ 6).bit_count()
        size = 16
        addresses = at + 8
        if layout.tcp_at > at + 40:
            protocol = TCP  # other headers stand between
    if wrong + (protocol ^ TCP).bit_count() > 1:
        return None
    between, port = addresses + size, layout.tcp_at
    return data[addresses:between] + data[port : port + 2], data[between : between + size] + data[port + 2 : port + 4]


def read_anyway(layout: Layout, packet: Packet, ends: tuple[bytes, bytes], header_bytes: int) -> Segment:
    """The segment in a packet of which the layout is known.

    Args:
        header_bytes: how long the TCP header is in other packets of the stream; for one that says what cannot be.
    """
    data, at = packet.data, layout.ip_at
    if layout.version == 4:
        end = at + int.from_bytes(data[at + 2 : at + 4], "big")
    else:
        end = at + 40 + int.from_bytes(data[at + 4 : at + 6], "big")
    _, _, sequence, acknowledged, offset, flags = TCP_HEADER.unpack_from(data, layout.tcp_at)
    own = (offset >> 4) * 4
    if own < LEAST_HEADER_BYTES or not options_hold(data[layout.tcp_at + LEAST_HEADER_BYTES : layout.tcp_at + own]):
        own = header_bytes or LEAST_HEADER_BYTES
    start = layout.tcp_at + own
    if not start <= end <= packet.length:
        end = packet.length
    payload = data[start:end]
    missing = max(0, end - start - len(payload))
    trailing = max(0, len(data) - end)
    return Segment(*ends, sequence, acknowledged, flags, payload, missing, at, layout.tcp_at, start, trailing)


def options_hold(options: Buffer) -> bool:
    """Whether these bytes of a TCP header may be options (RFC 9293, section 3.1)."""
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == _END_OF_OPTIONS:
            return not any(options[at:])
        if kind == _NO_OPERATION:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2 or at + size > len(options):
            return False
        at += size
    return True


def with_usual_header(packet: Packet, segment: Segment, header_bytes: int) -> Segment:
    """The segment, its payload taken to begin where it does in others of its stream."""
    start = segment.tcp_at + header_bytes
    end = segment.payload_at + len(segment.payload)
    return segment._replace(payload=packet.data[start:end], payload_at=start)


def with_all_bytes(packet: Packet, segment: Segment) -> Segment:
    """The segment, its payload taken to go on to the end of what was captured of the packet."""
    return segment._replace(payload=packet.data[segment.payload_at :], trailing=0)


def one_bit_away(source: bytes, target: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All ends that differ from these in one bit."""
    both = int.from_bytes(source + target, "big")
    size = len(source) + len(target)
    for bit in range(8 * size):
        flipped = (both ^ 1 << bit).to_bytes(size, "big")
        yield flipped[: len(source)], flipped[len(source) :]
