"""What pcap and pcapng have in common: packets in, the WebSocket messages of their TCP connections out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator

from vfctl.capture.captured import CapturedMessage
from vfctl.capture.formats.packets import Packet, likely_link_type, link_type_known
from vfctl.capture.formats.tcp_connections import TcpConnections
from vfctl.capture.formats.websocket_messages import Tally
from vfctl.capture.report import Report
from vfctl.capture.source import ByteSource, Window
from vfctl.errors import CaptureError

MAX_PACKET_BYTES = 2**20
"""Nothing captures larger packets: libpcap's own limit is a quarter of this."""


class RecordFile(ABC):
    """A file of records that is read on behind damage.

    Args:
        longest: bytes of the longest record there may be.
    """

    def __init__(self, source: ByteSource, report: Report, *, longest: int) -> None:
        self._window = Window(source)
        self._losses = report.losses
        self._longest = longest

    @abstractmethod
    def _find(self, ahead: int) -> int | None:
        """How far ahead of the present place, `ahead` bytes at least, the next record is that is beyond doubt.

        None if there is none within twice the longest.
        """

    def _resynchronise(self, reason: str) -> bool:
        """Go on to the next record and say what was lost; False if there is none."""
        window = self._window
        at = window.offset
        found = self._find(1)
        while found is None and not window.ended:
            window.let_go(window.available - self._longest)
            found = self._find(0)
        window.let_go(window.available if found is None else found)
        self._losses.note(at, reason, window.offset - at)
        return found is not None

    def _cut_off(self, reason: str) -> None:
        window = self._window
        self._losses.note(window.offset, reason, window.available, cut_off=True)


def messages_of(packets: Iterable[Packet], name: str, report: Report) -> Iterator[CapturedMessage]:
    """The messages of all WebSocket connections, each when its last byte has come.

    Raises:
        CaptureError: there are none in it.
        InputError: as for iterating `packets`.
    """
    tally = Tally(report)
    connections = TcpConnections(tally)
    unknown: Counter[int] = Counter()
    guessed: set[int] = set()
    packet_count = message_count = 0
    for packet in packets:
        packet_count += not packet.doubtful
        if not link_type_known(packet.link_type):
            likely = likely_link_type(packet.data, packet.length)
            if likely is None:
                unknown[packet.link_type] += 1
                continue
            if packet.link_type not in guessed:
                guessed.add(packet.link_type)
                what = f"packets of link type {packet.link_type}, which is not known here, read as type {likely}"
                report.losses.note(packet.offset, what, 0)
            packet = packet._replace(link_type=likely)
        for message in connections.take(packet):
            message_count += 1
            yield message
    for message in connections.finish():
        message_count += 1
        yield message
    tally.summarise()
    for link_type, count in unknown.items():
        report.notes.append(f"{count} packets of link type {link_type} were left out, which is not known here")
    if not message_count and not report.losses:
        raise CaptureError(
            f"{name} has no VisionFlow messages: {packet_count} packets, {connections.seen} TCP connections, "
            f"{tally.websockets} of them WebSockets",
            hint="; ".join(report.notes) or "capture the port of the server: tcpdump -i any -s 0 -w FILE tcp port 8765",
        )
