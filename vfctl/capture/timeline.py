"""When each message of a recording happened, in seconds from its start, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from vfctl.capture.captured import CapturedMessage, trailer_of
from vfctl.errors import ProtocolError
from vfctl.protocol import Message, MessageType, decode

UNTIMED_INTERVAL_S: Final = 0.05
"""Between PositionUpdates that say nothing of their time: 20 a second, the active interval of a server."""


@dataclass(frozen=True, slots=True)
class TimedMessage:
    """A recorded message with its place in time.

    Attributes:
        number: place in the recording, from 0.
        time_s: seconds since the recording's first time stamp; never negative unless a clock was set back.
        captured: the message itself.
    """

    number: int
    time_s: float
    captured: CapturedMessage


@dataclass(frozen=True, slots=True)
class DecodedMessage:
    """A TimedMessage, decoded; the fields are the same otherwise."""

    number: int
    time_s: float
    captured: CapturedMessage
    message: Message


def timeline(messages: Iterable[CapturedMessage]) -> Iterator[TimedMessage]:
    """Give every message its time.

    By arrival where the recording has it; else by the trailers of TIMED messages; a PositionUpdate without one comes
    50 ms after the PositionUpdate before it, and all else together with the message before it.

    Raises:
        VfctlError: as for iterating `messages`.
    """
    clock = _Clock()
    for number, captured in enumerate(messages):
        yield TimedMessage(number, clock.time_s(captured), captured)


def decoded(messages: Iterable[CapturedMessage]) -> Iterator[DecodedMessage]:
    """Give every message its time and decode it. One that cannot be decoded costs only itself.

    Raises:
        ProtocolError: messages could not be decoded: the first of them, once all others have been yielded.
        VfctlError: as for iterating `messages`.
    """
    undecodable: ProtocolError | None = None
    for timed in timeline(messages):
        try:
            message = decode(timed.captured.payload)
        except ProtocolError as error:
            undecodable = undecodable or in_recording(error, timed)
            continue
        yield DecodedMessage(timed.number, timed.time_s, timed.captured, message)
    if undecodable:
        raise undecodable


def in_recording(error: ProtocolError, timed: TimedMessage) -> ProtocolError:
    """The same error, saying in which message of the recording it is. The offset counts from that message's start."""
    where = f"message {timed.number} (at byte {timed.captured.offset} of the recording)"
    return ProtocolError(f"{error.reason}, in {where}", offset=error.offset, hint=error.hint)


class _Clock:
    def __init__(self) -> None:
        self._now_s = 0.0
        self._first_arrival_ns: int | None = None
        self._trailer_zero_us: float | None = None
        self._any_update = False

    def time_s(self, captured: CapturedMessage) -> float:
        if captured.arrival_ns is not None:
            if self._first_arrival_ns is None:
                self._first_arrival_ns = captured.arrival_ns
            return (captured.arrival_ns - self._first_arrival_ns) / 1e9
        trailer = trailer_of(captured.payload)
        is_update = captured.payload[1] == MessageType.POSITION_UPDATE
        if trailer:
            if self._trailer_zero_us is None:
                self._trailer_zero_us = trailer.timestamp_us - self._now_s * 1e6
            self._now_s = (trailer.timestamp_us - self._trailer_zero_us) / 1e6
        elif is_update and self._any_update:
            self._now_s += UNTIMED_INTERVAL_S
        self._any_update = self._any_update or is_update
        return self._now_s
