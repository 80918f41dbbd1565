"""Containers as other programs write them, made here byte by byte."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from vfctl.capture import Capture, CapturedMessage, open_capture
from vfctl.errors import VfctlError
from vfctl.protocol import Heartbeat, NodeDrag, PositionUpdate, encode
from vfctl.protocol.websocket import Opcode, frame, frame_masked

SERVER, CLIENT = ("10.0.0.2", 8765), ("10.0.0.1", 40000)
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
START_NS = 1_700_000_000_000_000_000
REQUEST = (
    b"GET /ws?timed=1 HTTP/1.1\r\nHost: server:8765\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@dataclass
class Packet:
    """A packet as a capture has it."""

    data: bytes
    time_ns: int = START_NS
    length: int | None = None
    interface: int = 0

    @property
    def whole(self) -> int:
        return len(self.data) if self.length is None else self.length


def address(text: str) -> bytes:
    import ipaddress

    return ipaddress.ip_address(text).packed


def ip(source: str, target: str, payload: bytes, total: int | None = None) -> bytes:
    if ":" in source:
        size = len(payload) if total is None else total
        return struct.pack(">IHBB", 0x60000000, size, 6, 64) + address(source) + address(target) + payload
    size = 20 + len(payload) if total is None else total
    return struct.pack(">BBHHHBBH", 0x45, 0, size, 7, 0x4000, 64, 6, 0) + address(source) + address(target) + payload


def segment(
    source: tuple[str, int],
    target: tuple[str, int],
    sequence: int,
    payload: bytes = b"",
    flags: int = ACK,
    acknowledged: int = 0,
) -> bytes:
    """An IP packet with a TCP segment, with timestamps as an option."""
    options = b"\1\1\x08\x0a" + bytes(8)
    head = struct.pack(
        ">HHIIBBHHH", source[1], target[1], sequence % 2**32, acknowledged % 2**32, 0x80, flags, 512, 0, 0
    )
    return ip(source[0], target[0], head + options + payload)


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "ethernet": (1, lambda packet: bytes(12) + _ethertype(packet) + packet),
    "vlan": (1, lambda packet: bytes(12) + b"\x88\xa8\0\7\x81\0\0\5" + _ethertype(packet) + packet),
    "padded": (1, lambda packet: bytes(12) + _ethertype(packet) + packet + bytes(max(0, 46 - len(packet)))),
    "sll": (113, lambda packet: struct.pack(">HHH8s", 0, 772, 6, b"") + _ethertype(packet) + packet),
    "sll2": (276, lambda packet: _ethertype(packet) + struct.pack(">HIHBB8s", 0, 1, 772, 0, 6, b"") + packet),
    "null": (0, lambda packet: (b"\2\0\0\0" if packet[0] >> 4 == 4 else b"\x1e\0\0\0") + packet),
    "null-big-endian": (0, lambda packet: (b"\0\0\0\2" if packet[0] >> 4 == 4 else b"\0\0\0\x18") + packet),
    "loop": (108, lambda packet: (b"\0\0\0\2" if packet[0] >> 4 == 4 else b"\0\0\0\x1c") + packet),
    "raw": (101, lambda packet: packet),
    "raw-bsd": (12, lambda packet: packet),
}
"""By name: link type, and how an IP packet is wrapped."""


def _ethertype(packet: bytes) -> bytes:
    return b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"


def ethernet(packet: bytes) -> bytes:
    return LINKS["ethernet"][1](packet)


@dataclass
class Flow:
    """Two ends that talk: each call appends a packet."""

    client: tuple[str, int] = CLIENT
    server: tuple[str, int] = SERVER
    client_sequence: int = 1000
    server_sequence: int = 2**32 - 3000  # so that it wraps around soon
    mss: int = 1448
    link: Callable[[bytes], bytes] = ethernet
    packets: list[Packet] = field(default_factory=list)
    now_ns: int = START_NS

    def _add(self, packet: bytes) -> None:
        self.now_ns += 1_000_000
        self.packets.append(Packet(self.link(packet), self.now_ns))

    def handshake(self, *, http: bool = True, response: bytes = RESPONSE) -> Flow:
        self._add(segment(self.client, self.server, self.client_sequence, flags=SYN))
        self._add(
            segment(
                self.server, self.client, self.server_sequence, flags=SYN | ACK, acknowledged=self.client_sequence + 1
            )
        )
        self.client_sequence += 1
        self.server_sequence += 1
        if http:
            self.to_server(REQUEST)
            self.to_client(response)
        return self

    def to_client(self, data: bytes) -> Flow:
        for at in range(0, len(data), self.mss):
            piece = data[at : at + self.mss]
            self._add(segment(self.server, self.client, self.server_sequence, piece, ACK, self.client_sequence))
            self.server_sequence += len(piece)
        return self

    def to_server(self, data: bytes) -> Flow:
        for at in range(0, len(data), self.mss):
            piece = data[at : at + self.mss]
            self._add(segment(self.client, self.server, self.client_sequence, piece, ACK, self.server_sequence))
            self.client_sequence += len(piece)
        return self

    def acknowledge(self) -> Flow:
        """The client has all that the server sent."""
        self._add(segment(self.client, self.server, self.client_sequence, b"", ACK, self.server_sequence))
        return self

    def close(self) -> Flow:
        self._add(segment(self.server, self.client, self.server_sequence, flags=FIN | ACK))
        self._add(segment(self.client, self.server, self.client_sequence, flags=FIN | ACK))
        self.server_sequence += 1
        self.client_sequence += 1
        return self


def pcap(packets: Iterable[Packet], *, link_type: int = 1, order: str = "<", nanoseconds: bool = False) -> bytes:
    magic, unit_ns = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)]
    for packet in packets:
        seconds, rest = divmod(packet.time_ns, 10**9)
        parts.append(
            struct.pack(order + "IIII", seconds, rest // unit_ns, len(packet.data), packet.whole) + packet.data
        )
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = 1, order: str = "<", resolution: int | None = None, offset_s: int = 0) -> bytes:
    body = struct.pack(order + "HHI", link_type, 0, 0)
    if resolution is not None:
        body += struct.pack(order + "HHB3x", 9, 1, resolution)
    if offset_s:
        body += struct.pack(order + "HHq", 14, 8, offset_s)
    return block(1, body + bytes(4), order)


def pcapng_packet(packet: Packet, order: str = "<", units_per_s: int = 10**6, offset_s: int = 0) -> bytes:
    units = (packet.time_ns - offset_s * 10**9) * units_per_s // 10**9
    head = struct.pack(
        order + "IIIII", packet.interface, units >> 32, units & 0xFFFFFFFF, len(packet.data), packet.whole
    )
    comment = struct.pack(order + "HH", 1, 4) + b"seen" + bytes(4)
    return block(6, head + packet.data + bytes(-len(packet.data) % 4) + comment, order)


def pcapng(packets: Iterable[Packet], order: str = "<") -> bytes:
    return section(order) + interface(1, order) + b"".join(pcapng_packet(packet, order) for packet in packets)


def har(
    sockets: Sequence[Sequence[CapturedMessage | dict[str, Any]]], *, indent: int | None = 2, url_first: bool = False
) -> bytes:
    """As Chrome saves it; with `url_first` as mitmproxy does."""
    entries = [{"request": {"url": "http://server/index.html"}, "response": {"content": {"text": 'a "quoted" {text}'}}}]
    for messages in sockets:
        request = {"method": "GET", "url": "ws://server/ws"}
        listed = [message if isinstance(message, dict) else har_message(message) for message in messages]
        parts: list[tuple[str, Any]] = [("_webSocketMessages", listed), ("request", request)]
        entries.append(dict([("_resourceType", "websocket"), *(parts[::-1] if url_first else parts)]))
    log = {"version": "1.2", "creator": {"name": "WebInspector", "version": "537.36"}, "pages": [], "entries": entries}
    return json.dumps({"log": log}, indent=indent).encode()


def har_message(message: CapturedMessage) -> dict[str, Any]:
    return {
        "type": "send" if message.direction == "client" else "receive",
        "time": (message.arrival_ns or 0) / 1e9,
        "opcode": 2,
        "data": base64.b64encode(message.payload).decode(),
    }


@pytest.fixture
def updates(make_nodes: Callable[..., Any]) -> list[bytes]:
    """Eight PositionUpdates, of 3 to 150 nodes."""
    return [
        encode(PositionUpdate(make_nodes(x, range(count)))) for x, count in enumerate((3, 150, 60, 1, 90, 7, 150, 30))
    ]


@pytest.fixture
def requests() -> list[bytes]:
    """What a client sends."""
    return [encode(Heartbeat(5)), encode(NodeDrag(3, 1, 2, 3)), encode(NodeDrag(3, 1, 2, 4, final=True))]


@dataclass(repr=False)
class Traffic:
    """Both together, with a short name for hypothesis to print."""

    updates: list[bytes]
    requests: list[bytes]


@pytest.fixture
def traffic(updates: list[bytes], requests: list[bytes]) -> Traffic:
    """`updates` and `requests` in one."""
    return Traffic(updates, requests)


@dataclass
class Opened:
    """All that a capture gave."""

    capture: Capture | None
    messages: list[CapturedMessage]
    error: VfctlError | None

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    def of(self, direction: str) -> list[bytes]:
        return [message.payload for message in self.messages if message.direction == direction]


@pytest.fixture
def opened() -> Callable[[bytes], Opened]:
    """opened(bytes): everything that opening and reading them gives; any other exception than ours fails."""

    def read(content: bytes) -> Opened:
        messages: list[CapturedMessage] = []
        try:
            capture = open_capture("-", io.BytesIO(content))
        except VfctlError as error:
            return Opened(None, messages, error)
        try:
            for message in capture:
                messages.append(message)  # noqa: PERF402  # they would be lost with the error
        except VfctlError as error:
            return Opened(capture, messages, error)
        return Opened(capture, messages, None)

    return read


class _Made:
    """What the tests of this folder make their files with."""

    Packet, Flow, LINKS, REQUEST, RESPONSE = Packet, Flow, LINKS, REQUEST, RESPONSE
    SERVER, CLIENT, START_NS = SERVER, CLIENT, START_NS
    FIN, SYN, RST, ACK = FIN, SYN, RST, ACK
    Opcode = Opcode
    pcap, pcapng, har, har_message = (
        staticmethod(pcap),
        staticmethod(pcapng),
        staticmethod(har),
        staticmethod(har_message),
    )
    block, section, interface = staticmethod(block), staticmethod(section), staticmethod(interface)
    pcapng_packet, segment, ip, ethernet = (
        staticmethod(pcapng_packet),
        staticmethod(segment),
        staticmethod(ip),
        staticmethod(ethernet),
    )
    frame, frame_masked = staticmethod(frame), staticmethod(frame_masked)

    @staticmethod
    def framed(payloads: Iterable[bytes]) -> bytes:
        """As a server sends them."""
        return b"".join(map(frame, payloads))

    @staticmethod
    def masked(payloads: Iterable[bytes]) -> bytes:
        """As a client sends them."""
        return b"".join(frame_masked(payload, bytes((7, number, 99, 200))) for number, payload in enumerate(payloads))


@pytest.fixture(scope="session")
def made() -> type[_Made]:
    """Makers of files: made.pcap(made.Flow().handshake()…packets)."""
    return _Made
