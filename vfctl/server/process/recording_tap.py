"""What a server's own recording takes down, and the thread that writes it: nobody waits for the disk."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from vfctl.bus import TIMESTAMP, Envelope, Kind
from vfctl.capture.captured import Direction
from vfctl.capture.recording.series import SeriesWriter
from vfctl.capture.recording.writer import FLUSH_AGE_S
from vfctl.errors import VfctlError
from vfctl.protocol import MessageType, NodeSelect, Notice, Trailer, VoiceData, decode, encode
from vfctl.protocol.wire import TRAILER

log = logging.getLogger(__name__)

MAX_WAITING_BYTES: Final = 64 * 2**20
"""What may wait for the disk: more is dropped and counted. 12 s of a graph of 10,000 nodes."""

FLUSH_LOOK_S: Final = 0.25

SPEAKERS_AT_ONCE: Final = 4096
"""Voice streams whose sequence is remembered; more begin anew."""


class Taken(NamedTuple):
    """One message to be taken down; the fields are those of `CaptureWriter.write`."""

    payload: bytes
    arrival_ns: int
    direction: Direction = Direction.SERVER
    connection: int = 0


class Taker:
    """Makes of what the bus brings what a client would get that asks for everything, and what clients say.

    A state is taken as often as the bus brings one (see Kind.LISTEN), and once an interval while it stays the same.

    Args:
        active_us, stable_us: intervals of the server.

    Attributes:
        lost: how many messages the bus has said are missing.
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

    def take(self, envelope: Envelope, now_ns: int) -> Taken | None:
        """One envelope from the bus; None if it brings nothing to be taken down.

        Times never run backwards: a state was valid a little before it comes, and what a client says comes from another
        process.

        Args:
            now_ns: unix time.
        """
        taken = self._take(envelope, now_ns)
        if taken is None:
            return None
        self._latest_ns = max(self._latest_ns, taken.arrival_ns)
        return taken._replace(arrival_ns=self._latest_ns)

    def _take(self, envelope: Envelope, now_ns: int) -> Taken | None:
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
                (came_ns,) = TIMESTAMP.unpack_from(payload)
                return Taken(payload[TIMESTAMP.size :], came_ns, Direction.CLIENT, envelope.sender)
            case Kind.EVENT:
                return Taken(self._said(envelope, now_ns), now_ns)
            case Kind.LOST:
                self.lost += TIMESTAMP.unpack(payload)[0]
            case _:
                pass
        return None

    def _stamped(self, payload: bytes, time_us: int) -> Taken:
        """With the trailer that a client would get at this moment."""
        settled = payload[1] == MessageType.POSITION_UPDATE and payload[2] & 0x20
        interval_us = self._stable_us if settled else self._active_us
        trailer = TRAILER.pack(self._sequence, time_us, interval_us)
        return Taken(payload[: -TRAILER.size] + trailer, time_us * 1000)

    def _said(self, envelope: Envelope, now_ns: int) -> bytes:
        """What clients are sent of somebody's speech or selection, or one of them of its mistake."""
        message = decode(envelope.payload)
        match message:
            case VoiceData():
                stream = envelope.sender if envelope.client else message.stream
                if len(self._voice) >= SPEAKERS_AT_ONCE:
                    self._voice.clear()
                self._voice[stream] = self._voice.get(stream, 0) + 1
                trailer = Trailer(self._voice[stream], now_ns // 1000, 0)
                return encode(VoiceData(stream, message.sample_rate_hz, message.samples, trailer))
            case NodeSelect():
                return encode(Notice({"notice": "selection", "client": envelope.sender, "node_id": message.node_id}))
            case _:
                return bytes(envelope.payload)


class WriterThread:
    """Writes a recording, as fast as the disk takes it.

    Args:
        open_writer: opens it, in the thread, since that may have to wait, too.
        on_failure: told, in the thread, why nothing can be written any more.

    Attributes:
        written, written_bytes, dropped: messages that have been written; that had to be left out.
        files: begun so far.
    """

    def __init__(self, open_writer: Callable[[], SeriesWriter], on_failure: Callable[[VfctlError], None]) -> None:
        self.written = self.written_bytes = self.dropped = self.files = 0
        self._open_writer = open_writer
        self._on_failure = on_failure
        self._queue: deque[Taken] = deque()
        self._queued_bytes = 0
        self._closing = False
        self._something = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, taken: Taken) -> None:
        """Have a message written, unless too much waits already. Never blocks."""
        with self._something:
            if self._closing or self._queued_bytes + len(taken.payload) > MAX_WAITING_BYTES:
                self.dropped += 1
                return
            self._queue.append(taken)
            self._queued_bytes += len(taken.payload)
            self._something.notify()

    def close(self, timeout_s: float) -> bool:
        """Write what waits and finish the file; False if the disk does not take it in time."""
        with self._something:
            self._closing = True
            self._something.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        unwritten: deque[Taken] = deque()
        try:
            with self._open_writer() as writer:
                while (taken := self._next()) is not None:
                    unwritten.extend(taken)
                    while unwritten:
                        each = unwritten[0]
                        writer.write(
                            each.payload, each.arrival_ns, direction=each.direction, connection=each.connection
                        )
                        unwritten.popleft()
                        self.written += 1
                        self.written_bytes += len(each.payload)
                        with self._something:
                            self._queued_bytes -= len(each.payload)
                    writer.flush(older_than_s=FLUSH_AGE_S)
                    self.files = len(writer.files)
        except Exception as error:
            with self._something:
                self._closing = True
                self.dropped += len(unwritten) + len(self._queue)
                self._queue.clear()
            self._on_failure(error if isinstance(error, VfctlError) else _bug(error))

    def _next(self) -> list[Taken] | None:
        """What waits, after a while perhaps nothing; None at the end."""
        with self._something:
            if not self._queue and not self._closing:
                self._something.wait(FLUSH_LOOK_S)
            taken = list(self._queue)
            self._queue.clear()
            return None if self._closing and not taken else taken


def _bug(error: Exception) -> VfctlError:
    log.error("unexpected error", exc_info=error)
    return VfctlError(f"the recording failed: {type(error).__name__}: {error}")


def _time_of(payload: bytes) -> int:
    """When a state on the bus was valid, unix time in µs; there they are all TIMED."""
    timestamp_us: int = TRAILER.unpack_from(payload, len(payload) - TRAILER.size)[1]
    return timestamp_us
