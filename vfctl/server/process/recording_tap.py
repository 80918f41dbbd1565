"""What the server records of itself, and the thread that writes it, so that nothing waits for the disk."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from vfctl.bus import TIMESTAMP, Envelope, Kind
from vfctl.capture.message import Direction
from vfctl.capture.recording.series import SeriesWriter
from vfctl.capture.recording.writer import FLUSH_AGE_S
from vfctl.errors import VfctlError
from vfctl.protocol import MessageType, NodeSelect, Notice, Trailer, VoiceData, decode, encode
from vfctl.protocol.wire import TRAILER

log = logging.getLogger(__name__)

MAX_WAITING_BYTES: Final = 64 * 2**20
"""Bytes that may wait for the disk: 12 s of a graph of 10,000 nodes. More is dropped and counted."""

FLUSH_POLL_S: Final = 0.25

MAX_VOICE_STREAMS: Final = 4096
"""Voice streams whose sequence numbers are kept. With more, all restart at 1."""


class RecordedItem(NamedTuple):
    """One message of the recording. The fields are those of `CaptureWriter.write`."""

    payload: bytes
    arrival_ns: int
    direction: Direction = Direction.SERVER
    connection: int = 0


class RecordingTap:
    """Converts envelopes of the bus to recorded messages: what a client without a filter gets, and what clients send.

    A state is recorded whenever the bus delivers one (see Kind.LISTEN), and once per interval while it stays the same.

    Args:
        active_us: update interval of a moving layout.
        stable_us: update interval of a settled layout.

    Attributes:
        lost: messages that the bus has reported as missing.
    """

    def __init__(self, active_us: int, stable_us: int) -> None:
        self.lost = 0
        self._active_us = active_us
        self._stable_us = stable_us
        self._sequence = 0
        self._update = b""
        self._update_us = 0
        self._voice: dict[int, int] = {}
        self._latest_ns = 0

    def on_envelope(self, envelope: Envelope, now_ns: int) -> RecordedItem | None:
        """Convert one envelope.

        Arrival times never decrease, although a state was valid a little before it arrives, and messages of clients are
        stamped by another process.

        Args:
            envelope: from the bus.
            now_ns: unix time in ns.

        Returns:
            The message to record, or None if there is none.
        """
        item = self._convert(envelope, now_ns)
        if item is None:
            return None
        self._latest_ns = max(self._latest_ns, item.arrival_ns)
        return item._replace(arrival_ns=self._latest_ns)

    def _convert(self, envelope: Envelope, now_ns: int) -> RecordedItem | None:
        payload = bytes(envelope.payload)
        match envelope.kind:
            case Kind.GRAPH:
                return self._stamped(payload, _time_of(payload))
            case Kind.FRAME:
                self._update, self._update_us = payload, _time_of(payload)
                self._sequence += 1
                return self._stamped(self._update, self._update_us)
            case Kind.CONFIRM:
                (time_us,) = TIMESTAMP.unpack(payload)
                if self._update and time_us - self._update_us >= self._stable_us:
                    self._update_us = time_us
                    self._sequence += 1
                    return self._stamped(self._update, time_us)
            case Kind.HEARD:
                (arrival_ns,) = TIMESTAMP.unpack_from(payload)
                return RecordedItem(payload[TIMESTAMP.size :], arrival_ns, Direction.CLIENT, envelope.sender)
            case Kind.EVENT:
                return RecordedItem(self._event(envelope, now_ns), now_ns)
            case Kind.LOST:
                self.lost += TIMESTAMP.unpack(payload)[0]
            case _:
                pass
        return None

    def _stamped(self, payload: bytes, time_us: int) -> RecordedItem:
        """With the trailer that a client would get now."""
        settled = payload[1] == MessageType.POSITION_UPDATE and payload[2] & 0x20
        interval_us = self._stable_us if settled else self._active_us
        trailer = TRAILER.pack(self._sequence, time_us, interval_us)
        return RecordedItem(payload[: -TRAILER.size] + trailer, time_us * 1000)

    def _event(self, envelope: Envelope, now_ns: int) -> bytes:
        """What clients get for an EVENT: voice, a selection, or an error of one client."""
        message = decode(envelope.payload)
        match message:
            case VoiceData():
                stream = envelope.sender if envelope.client else message.stream
                if len(self._voice) >= MAX_VOICE_STREAMS:
                    self._voice.clear()
                self._voice[stream] = self._voice.get(stream, 0) + 1
                trailer = Trailer(self._voice[stream], now_ns // 1000, 0)
                return encode(VoiceData(stream, message.sample_rate_hz, message.samples, trailer))
            case NodeSelect():
                return encode(Notice({"notice": "selection", "client": envelope.sender, "node_id": message.node_id}))
            case _:
                return bytes(envelope.payload)


class WriterThread:
    """Writes a recording in a thread.

    Args:
        open_writer: opens the recording. Called in the thread, because opening may block, too.
        on_failure: called in the thread with the error that ended the recording.

    Attributes:
        written: written messages.
        written_bytes: bytes of their payloads.
        dropped: messages that were dropped because the disk was too slow.
        files: files opened so far.
    """

    def __init__(self, open_writer: Callable[[], SeriesWriter], on_failure: Callable[[VfctlError], None]) -> None:
        self.written = self.written_bytes = self.dropped = self.files = 0
        self._open_writer = open_writer
        self._on_failure = on_failure
        self._queue: deque[RecordedItem] = deque()
        self._queued_bytes = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, item: RecordedItem) -> None:
        """Queue a message, or drop it if too much waits already. Never blocks."""
        with self._changed:
            if self._closing or self._queued_bytes + len(item.payload) > MAX_WAITING_BYTES:
                self.dropped += 1
                return
            self._queue.append(item)
            self._queued_bytes += len(item.payload)
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """Write what waits, and finish the file.

        Args:
            timeout_s: time for that.

        Returns:
            False if the disk was too slow.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        unwritten: deque[RecordedItem] = deque()
        try:
            with self._open_writer() as writer:
                while (items := self._next()) is not None:
                    unwritten.extend(items)
                    while unwritten:
                        item = unwritten[0]
                        writer.write(
                            item.payload, item.arrival_ns, direction=item.direction, connection=item.connection
                        )
                        unwritten.popleft()
                        self.written += 1
                        self.written_bytes += len(item.payload)
                        with self._changed:
                            self._queued_bytes -= len(item.payload)
                    writer.flush(older_than_s=FLUSH_AGE_S)
                    self.files = len(writer.files)
        except Exception as error:
            with self._changed:
                self._closing = True
                self.dropped += len(unwritten) + len(self._queue)
                self._queue.clear()
            self._on_failure(error if isinstance(error, VfctlError) else _bug(error))

    def _next(self) -> list[RecordedItem] | None:
        """Wait for queued messages. Returns none of them after FLUSH_POLL_S, and None at the end."""
        with self._changed:
            if not self._queue and not self._closing:
                self._changed.wait(FLUSH_POLL_S)
            items = list(self._queue)
            self._queue.clear()
            return None if self._closing and not items else items


def _bug(error: Exception) -> VfctlError:
    log.error("unexpected error", exc_info=error)
    return VfctlError(f"the recording failed: {type(error).__name__}: {error}")


def _time_of(payload: bytes) -> int:
    """When a state on the bus was valid, unix time in µs. All states on the bus are TIMED."""
    timestamp_us: int = TRAILER.unpack_from(payload, len(payload) - TRAILER.size)[1]
    return timestamp_us
