"""Decode the messages of a recording and give each its time, in seconds from the start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.capture.losses import LossLog
from vfctl.capture.message import CapturedMessage, Direction, Form, UpdateRun, trailer_of, type_name
from vfctl.errors import ProtocolError
from vfctl.protocol import (
    CompactUpdate,
    FullGraph,
    Message,
    MessageType,
    PositionDecoder,
    PositionUpdate,
    Trailer,
    decode,
    describe,
)
from vfctl.protocol.deployed import DeployedFrame, decode_deployed

UNTIMED_INTERVAL_S: Final = 0.05
"""Interval between PositionUpdates without a time: the active interval of a server, 20 per second."""


@dataclass(frozen=True, slots=True)
class TimedMessage:
    """A recorded message with its time.

    Attributes:
        number: index in the recording, from 0.
        time_s: seconds since the first timestamp of the recording. Negative only if a clock was set back.
        captured: the message.
    """

    number: int
    time_s: float
    captured: CapturedMessage


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """A message of a recording, decoded.

    Attributes:
        number: index in the recording, from 0.
        time_s: as for TimedMessage.
        offset: as for CapturedMessage.
        bytes: its length as received.
        direction: the sender.
        connection: number of its connection within the file.
        message: the decoded message; a DeployedFrame if it is not V4.
    """

    number: int
    time_s: float
    offset: int
    bytes: int
    direction: Direction
    connection: int
    message: Message | DeployedFrame


@dataclass(frozen=True, slots=True, eq=False)
class DecodedRun:
    """An UpdateRun with its times. The arrays are views of the bytes that were read.

    Attributes:
        numbers: int64 [messages].
        times_s: float64 [messages].
        offsets: int64 [messages].
        bytes: of each message.
        nodes: NODE_DTYPE [messages, nodes].
        trailers: TRAILER_DTYPE [messages]; None if they are not TIMED.
        settled: of all of them.
        connection: of all of them.
    """

    numbers: npt.NDArray[np.int64]
    times_s: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    bytes: int
    nodes: npt.NDArray[np.void]
    trailers: npt.NDArray[np.void] | None
    settled: bool
    connection: int

    def __len__(self) -> int:
        return len(self.numbers)

    def where(self, chosen: npt.NDArray[np.bool_] | slice) -> DecodedRun:
        """A run with only some of the messages."""
        return replace(
            self,
            numbers=self.numbers[chosen],
            times_s=self.times_s[chosen],
            offsets=self.offsets[chosen],
            nodes=self.nodes[chosen],
            trailers=None if self.trailers is None else self.trailers[chosen],
        )

    def split(self, most_bytes: int) -> Iterator[DecodedRun]:
        """The same messages in runs of at most `most_bytes`, or of one message."""
        count = max(1, most_bytes // max(1, self.bytes))
        return (self.where(slice(first, first + count)) for first in range(0, len(self), count))

    def messages(self) -> Iterator[DecodedMessage]:
        """The same messages one by one. Their arrays are copies."""
        trailers = [None] * len(self) if self.trailers is None else [Trailer(*row) for row in self.trailers.tolist()]
        columns = (self.numbers.tolist(), self.times_s.tolist(), self.offsets.tolist(), self.nodes, trailers)
        for number, time_s, offset, nodes, trailer in zip(*columns, strict=True):
            update = PositionUpdate(nodes.copy(), self.settled, trailer)
            yield DecodedMessage(number, time_s, offset, self.bytes, Direction.SERVER, self.connection, update)


Item = DecodedMessage | DecodedRun


def timeline(messages: Iterable[CapturedMessage]) -> Iterator[TimedMessage]:
    """Give every message its time: its arrival if the recording has it, else the trailer of a TIMED message.

    Without either, a PositionUpdate is 50 ms later than the PositionUpdate before it, and any other message has the
    time of the message before it.

    Raises:
        VfctlError: as for iterating `messages`.
    """
    clock = _Clock()
    for number, captured in enumerate(messages):
        yield TimedMessage(number, clock.time_s(captured), captured)


def decoded(
    messages: Iterable[CapturedMessage | UpdateRun], undecodable: LossLog | None = None
) -> Iterator[DecodedMessage]:
    """Give every message its time and decode it. Messages that cannot be decoded are left out.

    Args:
        undecodable: each of those is added to it.

    Raises:
        ProtocolError: a message could not be decoded. Raised for the first one, after all others have been yielded.
        VfctlError: as for iterating `messages`.
    """
    for item in decoded_items(messages, undecodable):
        if isinstance(item, DecodedRun):
            yield from item.messages()
        else:
            yield item


def decoded_items(
    messages: Iterable[CapturedMessage | UpdateRun], undecodable: LossLog | None = None
) -> Iterator[Item]:
    """As `decoded`, but a run stays one item."""
    first: ProtocolError | None = None
    clock, decoder, number = _Clock(), CaptureDecoder(), 0
    for item in messages:
        if isinstance(item, UpdateRun):
            yield _decoded_run(item, number, clock)
            number += len(item)
            continue
        time_s = clock.time_s(item)
        try:
            message = decoder.decode(item)
        except ProtocolError as error:
            first = first or in_recording(error, TimedMessage(number, time_s, item))
            if undecodable is not None:
                note_undecodable(undecodable, number, item, error)
        else:
            yield DecodedMessage(
                number, time_s, item.offset, len(item.payload), item.direction, item.connection, message
            )
        number += 1
    if first:
        raise first


def note_undecodable(log: LossLog, number: int, captured: CapturedMessage, error: ProtocolError) -> None:
    """Add a message that is framed correctly and cannot be decoded."""
    log.note(captured.offset, f"message {number} cannot be decoded: {error.message}", len(captured.payload))


class CaptureDecoder:
    """Decodes the messages of a recording in any form or encoding, with a COMPACT chain for each connection."""

    def __init__(self) -> None:
        self._positions: dict[int, PositionDecoder] = {}

    def decode(self, captured: CapturedMessage) -> Message | DeployedFrame:
        """Decode the next message. A COMPACT update becomes a PositionUpdate.

        Raises:
            ProtocolError: it is malformed, or depends on a COMPACT update that is missing.
        """
        if captured.form is not Form.V4:
            return decode_deployed(captured.payload)
        message = decode(captured.payload)
        if captured.direction is Direction.CLIENT:
            return message
        positions = self._positions.get(captured.connection)
        if positions is None:
            if not isinstance(message, FullGraph | CompactUpdate):
                return message
            positions = self._positions[captured.connection] = PositionDecoder()
        return positions.decode(message)


def type_of(captured: CapturedMessage) -> str:
    """Name of a message's V4 type, or of a deployed server's form (`V2`, …, `Sequenced`)."""
    return type_name(captured.payload) if captured.form is Form.V4 else form_name(captured.form)


def form_name(form: Form) -> str:
    """`V2`, `V3`, `V5`, `Sequenced`."""
    return form.value.capitalize()


def type_name_of(message: Message | DeployedFrame) -> str:
    """As `type_of`, for a decoded message."""
    return form_name(message.form) if isinstance(message, DeployedFrame) else describe(message)[0]


def in_recording(error: ProtocolError, timed: TimedMessage) -> ProtocolError:
    """The same error with the message of the recording named. The offset counts from the start of that message."""
    where = f"message {timed.number} (at byte {timed.captured.offset} of the recording)"
    return ProtocolError(f"{error.reason}, in {where}", offset=error.offset, hint=error.hint)


def _decoded_run(run: UpdateRun, number: int, clock: _Clock) -> DecodedRun:
    trailers = run.trailers
    return DecodedRun(
        number + np.arange(len(run)),
        clock.times_s(run),
        run.offsets,
        run.payloads.shape[1],
        run.nodes,
        trailers,
        run.settled,
        run.connection,
    )


class _Clock:
    def __init__(self) -> None:
        self._base_s = 0.0  # of the last trailer, or the start
        self._updates = 0  # without a trailer since then
        self._first_arrival_ns: int | None = None
        self._trailer_zero_us: float | None = None
        self._any_update = False

    @property
    def _now_s(self) -> float:
        return self._base_s + self._updates * UNTIMED_INTERVAL_S

    def time_s(self, captured: CapturedMessage) -> float:
        if captured.arrival_ns is not None:
            if self._first_arrival_ns is None:
                self._first_arrival_ns = captured.arrival_ns
            return (captured.arrival_ns - self._first_arrival_ns) / 1e9
        if captured.form is Form.V4:
            trailer = trailer_of(captured.payload)
            is_update = captured.payload[1] == MessageType.POSITION_UPDATE
        else:
            trailer, is_update = None, True
        if trailer:
            if self._trailer_zero_us is None:
                self._trailer_zero_us = trailer.timestamp_us - self._now_s * 1e6
            self._base_s = (trailer.timestamp_us - self._trailer_zero_us) / 1e6
            self._updates = 0
        elif is_update and self._any_update:
            self._updates += 1
        self._any_update = self._any_update or is_update
        return self._now_s

    def times_s(self, run: UpdateRun) -> npt.NDArray[np.float64]:
        """float64 [messages]: the same as `time_s` gives one by one."""
        times_s: npt.NDArray[np.float64]
        if run.arrivals_ns is not None:
            if self._first_arrival_ns is None:
                self._first_arrival_ns = int(run.arrivals_ns[0])
            return (run.arrivals_ns - self._first_arrival_ns) / 1e9
        if run.trailers is not None:
            timestamps_us = run.trailers["timestamp_us"]
            if self._trailer_zero_us is None:
                self._trailer_zero_us = int(timestamps_us[0]) - self._now_s * 1e6
            times_s = (timestamps_us.astype(np.float64) - self._trailer_zero_us) / 1e6
            self._base_s, self._updates = float(times_s[-1]), 0
        else:
            first = self._updates + (1 if self._any_update else 0)
            times_s = np.arange(first, first + len(run), dtype=np.float64)
            times_s *= UNTIMED_INTERVAL_S
            times_s += self._base_s
            self._updates = first + len(run) - 1
        self._any_update = True
        return times_s
