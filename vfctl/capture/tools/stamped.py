"""When each message arrived, in unix time, also where the recording does not tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from vfctl.capture.captured import CapturedMessage, Form, trailer_of
from vfctl.capture.timeline import TimedMessage, timeline
from vfctl.errors import VfctlError

MAX_ARRIVAL_NS: Final = 2**64 - 1

_LOOK_AHEAD_MESSAGES: Final = 1000
_LOOK_AHEAD_BYTES: Final = 2**25


@dataclass(frozen=True, slots=True)
class StampedMessage:
    """A recorded message with its place in time.

    Attributes:
        timed: the message, and when it happened in the recording.
        arrival_ns: unix time in ns at which it arrived, 0 to MAX_ARRIVAL_NS.
        told: whether that is the recording's word or a trailer's; else it counts from 1970.
    """

    timed: TimedMessage
    arrival_ns: int
    told: bool


def stamped(messages: Iterable[CapturedMessage]) -> Iterator[StampedMessage]:
    """Every message with its arrival.

    Where the recording has none, the first trailer gives the unix time, if there is one among the first thousand
    messages.

    Raises:
        VfctlError: as for iterating `messages`.
    """
    source = timeline(messages)
    ahead: list[TimedMessage] = []
    ahead_bytes = 0
    epoch_ns: int | None = None
    damage: VfctlError | None = None
    try:
        for timed in source:
            ahead.append(timed)
            ahead_bytes += len(timed.captured.payload)
            epoch_ns = _epoch_ns(timed)
            too_far = len(ahead) >= _LOOK_AHEAD_MESSAGES or ahead_bytes >= _LOOK_AHEAD_BYTES
            if timed.captured.arrival_ns is not None or epoch_ns is not None or too_far:
                break
    except VfctlError as error:  # what came before it is still to be handed on
        damage = error
    for timed in chain(ahead, source):
        arrival_ns = timed.captured.arrival_ns
        if arrival_ns is None:
            arrival_ns = (epoch_ns or 0) + round(timed.time_s * 1e9)
        told = timed.captured.arrival_ns is not None or epoch_ns is not None
        yield StampedMessage(timed, min(max(arrival_ns, 0), MAX_ARRIVAL_NS), told)
    if damage:
        raise damage


def _epoch_ns(timed: TimedMessage) -> int | None:
    captured = timed.captured
    trailer = trailer_of(captured.payload) if captured.form is Form.V4 else None
    return trailer.timestamp_us * 1000 - round(timed.time_s * 1e9) if trailer else None
