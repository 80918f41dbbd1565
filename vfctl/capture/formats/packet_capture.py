"""Common parts of pcap and pcapng: records of packets in, messages of their WebSocket connections out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.formats.packets import Packet, PacketError, link_type_known, tcp_segment
from vfctl.capture.formats.tcp_connections import TcpConnections
from vfctl.capture.formats.websocket_messages import Tally
from vfctl.capture.report import Report
from vfctl.capture.source import ByteSource, Window
from vfctl.errors import CaptureError

MAX_PACKET_BYTES = 2**20
"""Longest packet that is read. The limit of libpcap is a quarter of this."""


class RecordFile(ABC):
    """A file of records. Behind damage, reading continues at the next certain record.

    Args:
        longest: length in bytes of the longest possible record.
    """

    def __init__(self, source: ByteSource, report: Report, *, longest: int) -> None:
        self._window = Window(source)
        self._losses = report.losses
        self._longest = longest

    @abstractmethod
    def _find(self, ahead: int) -> int | None:
        """Distance in bytes to the next certain record, at least `ahead`; None if none is within twice the longest."""

    def _resynchronise(self, reason: str) -> bool:
        """Skip to the next certain record and record the loss; False if there is none."""
        window = self._window
        at = window.offset
        found = self._find(1)
        while found is None and not window.ended:
            window.let_go(window.available - self._longest)
            found = self._find(0)
        window.let_go(window.available if found is None else found)
        self._losses.note(at, reason, window.offset - at)
        return found is not None

    def _checked_length(self, captured: int, length: int, at: int) -> int:
        """The length of a packet on the network. A captured length beyond it is damage, and is used in its place.

        The captured length is the one that can be verified: the next record begins behind it.
        """
        if captured > length:
            self._losses.note(at, f"a packet of {length} bytes, of which {captured} were captured", 0)
        return max(captured, length)

    def _cut_off(self, reason: str) -> None:
        window = self._window
        self._losses.note(window.offset, reason, window.available, cut_off=True)


def messages_of(packets: Iterable[Packet], name: str, report: Report) -> Iterator[CapturedMessage]:
    """The messages of all WebSocket connections, each as soon as its last byte was captured.

    Raises:
        CaptureError: there are none in it.
        InputError: as for iterating `packets`.
    """
    tally = Tally(report)
    connections = TcpConnections(tally)
    unknown: Counter[int] = Counter()
    packet_count = message_count = 0
    for packet in packets:
        packet_count += 1
        try:
            segment = tcp_segment(packet.link_type, packet.data, packet.length)
        except PacketError as error:
            report.losses.note(packet.offset, str(error), len(packet.data))
            continue
        if segment is None:
            if not link_type_known(packet.link_type):
                unknown[packet.link_type] += 1
            continue
        for message in connections.add(segment, packet.offset, packet.time_ns):
            message_count += 1
            yield message
    for message in connections.finish():
        message_count += 1
        yield message
    tally.summarise()
    for link_type, count in unknown.items():
        report.notes.append(f"{count} packets have the unsupported link type {link_type} and were left out")
    if not message_count and not report.losses:
        raise CaptureError(
            f"{name} has no VisionFlow messages: {packet_count} packets, {connections.seen} TCP connections, "
            f"{tally.websockets} of them WebSockets",
            hint="; ".join(report.notes) or "capture the port of the server: tcpdump -i any -s 0 -w FILE tcp port 8765",
        )
