"""From a captured packet to its TCP segment: link layers, VLAN tags, IPv4 and IPv6.

Link types: https://www.tcpdump.org/linktypes.html. Checksums are not looked at: what the kernel leaves to the network
card has none yet when it is captured.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, NamedTuple

Buffer = bytes | memoryview

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

ETHERNET: Final = 1
_LIKELY_LINKS: Final = (ETHERNET, 276, 113, 101, 0)
"""What is tried where the link type is lost: Ethernet, Linux cooked (two forms), raw IP, loopback."""

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLAN: Final = frozenset((0x8100, 0x88A8, 0x9100))
TCP: Final = 6
_SKIPPED_HEADERS: Final = frozenset((0, 43, 60, 135))
"""IPv6: hop-by-hop, routing, destination and mobility headers, in units of eight bytes."""
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51

_U16 = struct.Struct(">H")
_IPV4_HEADER = struct.Struct(">BxHxxHxBxx4s4s")
_IPV6_HEADER = struct.Struct(">xxxxHBx16s16s")
TCP_HEADER = struct.Struct(">HHIIBB")


class Packet(NamedTuple):
    """One captured packet.

    Attributes:
        data: as many of its bytes as were captured.
        length: how many it had.
        link_type: of the interface that it was captured on.
        offset: where its record begins in the file.
        time_ns: unix time in ns at which it was captured; None if it was not written down.
        doubtful: its record says that it is something else.
    """

    data: bytes
    length: int
    link_type: int
    offset: int
    time_ns: int | None
    doubtful: bool = False


class Segment(NamedTuple):
    """A TCP segment.

    Attributes:
        source: address and port of who sent it, packed: addresses of one kind compare equal if they are.
        target: the same of whom it goes to.
        sequence: u32 number of its first byte (or of SYN).
        acknowledged: u32 number of the byte that its sender expects next; means something with ACK only.
        flags: FIN, SYN, RST, ACK.
        payload: what was captured of its bytes.
        missing: how many of them, at the end, were not captured.
        ip_at, tcp_at, payload_at: where the two headers and the payload begin in the packet.
        trailing: how many captured bytes of the packet stand behind what IP says is its end.
    """

    source: bytes
    target: bytes
    sequence: int
    acknowledged: int
    flags: int
    payload: Buffer
    missing: int
    ip_at: int
    tcp_at: int
    payload_at: int
    trailing: int


def endpoint(packed: bytes) -> str:
    """`address:port` of an end of a segment, for people."""
    address, port = packed[:-2], int.from_bytes(packed[-2:], "big")
    shown = ip_address(address)
    return f"[{shown}]:{port}" if shown.version == 6 else f"{shown}:{port}"


def link_type_known(link_type: int) -> bool:
    """Whether packets of an interface of this type can be read."""
    return link_type in _LINKS


def likely_link_type(packet: Buffer, length: int) -> int | None:
    """The link type with which a packet of an unknown one holds a TCP segment; None if none does."""
    return next((each for each in _LIKELY_LINKS if tcp_segment(each, packet, length) is not None), None)


def tcp_segment(link_type: int, packet: Buffer, length: int) -> Segment | None:
    """The TCP segment in a packet; None if there is none, or not enough of it was captured to tell.

    Args:
        link_type: of the interface that it was captured on.
        packet: as many of its bytes as were captured.
        length: how many bytes it had.
    """
    unwrap = _LINKS.get(link_type)
    if unwrap is None:
        return None
    try:
        found = unwrap(packet)
        return None if found is None else _ip(packet, *found, length)
    except (struct.error, IndexError):  # it ends too early
        return None


def _ethernet(packet: Buffer) -> tuple[int, int] | None:
    return _tagged(packet, 12)


def _tagged(packet: Buffer, at: int) -> tuple[int, int] | None:
    """Protocol and place of what stands behind a protocol number and its VLAN tags."""
    (protocol,) = _U16.unpack_from(packet, at)
    while protocol in _VLAN:
        at += 4
        (protocol,) = _U16.unpack_from(packet, at)
    return protocol, at + 2


def _cooked(packet: Buffer) -> tuple[int, int] | None:
    return _tagged(packet, 14)


def _cooked2(packet: Buffer) -> tuple[int, int] | None:
    (protocol,) = _U16.unpack_from(packet, 0)
    if protocol in _VLAN:
        (protocol,) = _U16.unpack_from(packet, 22)
        return protocol, 24
    return protocol, 20


def _loopback(packet: Buffer) -> tuple[int, int] | None:
    # An address family in the byte order of whoever captured; IPv6 has a number of its own on each system.
    family = bytes(packet[:4])
    if family in (b"\2\0\0\0", b"\0\0\0\2"):
        return _IPV4, 4
    return (_IPV6, 4) if sum(family) in (10, 24, 28, 30) else None


def _raw(packet: Buffer) -> tuple[int, int] | None:
    return (_IPV6 if packet[0] >> 4 == 6 else _IPV4), 0


_LINKS: Final[dict[int, Callable[[Buffer], tuple[int, int] | None]]] = {
    0: _loopback,
    ETHERNET: _ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: _loopback,
    113: _cooked,
    228: _raw,
    229: _raw,
    276: _cooked2,
}
"""Link types: NULL, EN10MB, RAW (three numbers), LOOP, LINUX_SLL, IPV4, IPV6, LINUX_SLL2."""


def _ip(packet: Buffer, protocol: int, at: int, length: int) -> Segment | None:
    if protocol == _IPV4:
        first, total, fragment, carried, source, target = _IPV4_HEADER.unpack_from(packet, at)
        if first >> 4 != 4 or carried != TCP or fragment & 0x1FFF:
            return None
        # What the network card will cut up may be longer than the field can say, and then has 0 there.
        end = min(at + total, length) if total else length
        return _tcp(packet, at, at + (first & 0x0F) * 4, end, length, source, target)
    if protocol == _IPV6:
        ip_at = at
        size, carried, source, target = _IPV6_HEADER.unpack_from(packet, at)
        end = min(at + 40 + size, length) if size else length
        at += 40
        while carried != TCP:
            if carried in _SKIPPED_HEADERS:
                carried, at = packet[at], at + (packet[at + 1] + 1) * 8
            elif carried == _AUTHENTICATION:
                carried, at = packet[at], at + (packet[at + 1] + 2) * 4
            elif carried == _FRAGMENT and not _U16.unpack_from(packet, at + 2)[0] & 0xFFF8:
                carried, at = packet[at], at + 8
            else:
                return None
        return _tcp(packet, ip_at, at, end, length, source, target)
    return None


def _tcp(packet: Buffer, ip_at: int, at: int, end: int, length: int, source: bytes, target: bytes) -> Segment | None:
    from_port, to_port, sequence, acknowledged, offset, flags = TCP_HEADER.unpack_from(packet, at)
    start = at + (offset >> 4) * 4
    if offset >> 4 < 5 or start > end:
        return None
    payload = packet[start:end]
    return Segment(
        source + _U16.pack(from_port),
        target + _U16.pack(to_port),
        sequence,
        acknowledged,
        flags,
        payload,
        end - start - len(payload),
        ip_at,
        at,
        start,
        max(0, len(packet) - end),
    )
