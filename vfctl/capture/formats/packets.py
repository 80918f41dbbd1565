"""The TCP segment in a captured packet: link layers, VLAN tags, IPv4 and IPv6.

Link types: https://www.tcpdump.org/linktypes.html. The checksum of an IPv4 header is verified unless it is 0. The
checksum of TCP is not, because the kernel leaves it to the network card: outgoing packets are captured without it.
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

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLAN: Final = frozenset((0x8100, 0x88A8, 0x9100))
_TCP: Final = 6
_SKIPPED_HEADERS: Final = frozenset((0, 43, 60, 135))
"""IPv6: hop-by-hop, routing, destination and mobility headers, in units of eight bytes."""
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51

_U16 = struct.Struct(">H")
_IPV4_HEADER = struct.Struct(">BxHxxHxBH4s4s")
_IPV6_HEADER = struct.Struct(">BxxxHBx16s16s")
_TCP_HEADER = struct.Struct(">HHIIBB")
_HEADER_WORDS = [struct.Struct(f">{2 * words}H") for words in range(16)]
"""The 16-bit words of an IPv4 header, by its length in 32-bit words."""


class PacketError(Exception):
    """Headers that contradict themselves, or a header whose checksum is wrong."""


class Packet(NamedTuple):
    """One captured packet.

    Attributes:
        data: its captured bytes.
        length: its length in bytes on the network.
        link_type: link type of the interface that it was captured on.
        offset: byte offset of its record in the file.
        time_ns: unix time in ns of the capture; None if the file does not have it.
    """

    data: bytes
    length: int
    link_type: int
    offset: int
    time_ns: int | None


class Segment(NamedTuple):
    """A TCP segment.

    Attributes:
        source: packed address and port of the sender.
        target: packed address and port of the receiver.
        sequence: u32 sequence number of its first byte (or of SYN).
        acknowledged: u32 acknowledgement number; valid only with ACK.
        flags: FIN, SYN, RST, ACK.
        payload: its captured bytes.
        missing: number of bytes at its end that were not captured.
    """

    source: bytes
    target: bytes
    sequence: int
    acknowledged: int
    flags: int
    payload: Buffer
    missing: int


def endpoint(packed: bytes) -> str:
    """`address:port` of a packed address and port."""
    address, port = packed[:-2], int.from_bytes(packed[-2:], "big")
    shown = ip_address(address)
    return f"[{shown}]:{port}" if shown.version == 6 else f"{shown}:{port}"


def link_type_known(link_type: int) -> bool:
    """Whether packets with this link type can be read."""
    return link_type in _LINKS


def tcp_segment(link_type: int, packet: Buffer, length: int) -> Segment | None:
    """The TCP segment in a packet; None if it has none, or if too little of the packet was captured.

    Args:
        link_type: link type of the interface.
        packet: the captured bytes.
        length: length of the packet in bytes on the network.

    Raises:
        PacketError: the headers contradict themselves, or the checksum of the IPv4 header is wrong.
    """
    unwrap = _LINKS.get(link_type)
    if unwrap is None:
        return None
    try:
        found = unwrap(packet)
        return None if found is None else _ip(packet, *found, length)
    except (struct.error, IndexError):  # too little was captured
        return None


def _ethernet(packet: Buffer) -> tuple[int, int] | None:
    return _tagged(packet, 12)


def _tagged(packet: Buffer, at: int) -> tuple[int, int] | None:
    """Protocol number and position of the content behind a protocol number and its VLAN tags."""
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
    # An address family in the byte order of the capturing machine. The number of IPv6 differs between systems.
    family = bytes(packet[:4])
    if family in (b"\2\0\0\0", b"\0\0\0\2"):
        return _IPV4, 4
    return (_IPV6, 4) if sum(family) in (10, 24, 28, 30) else None


def _raw(packet: Buffer) -> tuple[int, int] | None:
    return (_IPV6 if packet[0] >> 4 == 6 else _IPV4), 0


_LINKS: Final[dict[int, Callable[[Buffer], tuple[int, int] | None]]] = {
    0: _loopback,
    1: _ethernet,
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
        first, total, fragment, carried, checksum, source, target = _IPV4_HEADER.unpack_from(packet, at)
        header_words = first & 0x0F
        if first >> 4 != 4 or header_words < 5:
            raise PacketError(f"an IPv4 header that begins with 0x{first:02x}")
        if checksum and sum(_HEADER_WORDS[header_words].unpack_from(packet, at)) % 0xFFFF:
            raise PacketError("an IPv4 header with a wrong checksum")
        if carried != _TCP or fragment & 0x1FFF:
            return None
        # The length is 0 if it does not fit the field: the network card splits such packets later.
        end = min(at + total, length) if total else length
        return _tcp(packet, at + header_words * 4, end, source, target)
    if protocol == _IPV6:
        first, size, carried, source, target = _IPV6_HEADER.unpack_from(packet, at)
        if first >> 4 != 6:
            raise PacketError(f"an IPv6 header that begins with 0x{first:02x}")
        end = min(at + 40 + size, length) if size else length
        at += 40
        while carried != _TCP:
            if carried in _SKIPPED_HEADERS:
                carried, at = packet[at], at + (packet[at + 1] + 1) * 8
            elif carried == _AUTHENTICATION:
                carried, at = packet[at], at + (packet[at + 1] + 2) * 4
            elif carried == _FRAGMENT and not _U16.unpack_from(packet, at + 2)[0] & 0xFFF8:
                carried, at = packet[at], at + 8
            else:
                return None
        return _tcp(packet, at, end, source, target)
    return None


def _tcp(packet: Buffer, at: int, end: int, source: bytes, target: bytes) -> Segment | None:
    from_port, to_port, sequence, acknowledged, offset, flags = _TCP_HEADER.unpack_from(packet, at)
    start = at + (offset >> 4) * 4
    if offset >> 4 < 5 or start > end:
        raise PacketError(f"a TCP header of {start - at} bytes, expected 20 to {max(20, end - at)}")
    payload = packet[start:end]
    return Segment(
        source + _U16.pack(from_port),
        target + _U16.pack(to_port),
        sequence,
        acknowledged,
        flags,
        payload,
        end - start - len(payload),
    )
