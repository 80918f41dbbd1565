"""What simulated clients do besides watching. Without I/O: a script yields actions, and the engine performs them.

A script lives as long as one connection; the next connection starts a new one.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from vfctl.loadtest.scenario.roles import Dragger, FilteredViewer, Flapping, Recorded, Role, Speaker, Viewer
from vfctl.loadtest.scenario.traffic import Traffic
from vfctl.protocol import Filter, FilterUpdate, Message, MessageType, NodeDrag, VoiceData

CIRCLE_S: Final = 2.0
"""Time in which a dragged node moves once around its circle."""

SAMPLE_RATE_HZ: Final = 16_000
VOICE_MESSAGE_S: Final = 0.02
"""Length of the speech in one message; voice chats in browsers commonly send 20 ms."""

_VOICE_MARK: Final = b"vfctl ok"
"""Precedes the time in our own voice messages, to distinguish them from others."""

_VOICE_STAMP: Final = struct.Struct("<8sQ")
_FIRST_SAMPLE: Final = 16
"""Offset of the samples in a VoiceData message, after header, stream, rate and count."""

_SAMPLES: Final = round(SAMPLE_RATE_HZ * VOICE_MESSAGE_S)
_TONE: Final = (8000 * np.sin(2 * np.pi * 440 * np.arange(_SAMPLES) / SAMPLE_RATE_HZ)).astype("<i2").tobytes()

GOLDEN_RATIO: Final = 0.618034
"""The fractional parts of its multiples are spread evenly, however many there are."""


@dataclass(frozen=True, slots=True)
class ScriptContext:
    """What scripts know of the served graph and of recordings; see `vfctl.loadtest.control.target.fetch_context`.

    Attributes:
        node_ids: nodes that can be dragged.
        radius: mean distance of the nodes from the origin, in layout units.
        filters: for each role, the filters that its clients choose from.
        traffic: for each role, the recorded traffic of its clients.
    """

    node_ids: tuple[int, ...] = ()
    radius: float = 1.0
    filters: tuple[tuple[Filter, ...], ...] = ()
    traffic: tuple[Traffic | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message."""

    message: Message


@dataclass(frozen=True, slots=True)
class SendBytes:
    """Send this encoded message."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Speak:
    """Send the next voice message."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Wait until a time, in seconds since the load test began."""

    at_s: float


@dataclass(frozen=True, slots=True)
class BreakOff:
    """Reset the connection without a Close and connect again after some seconds. The last action of a script."""

    seconds: float


Script = Iterator[Send | SendBytes | Speak | Wait | WaitUntil | BreakOff]


def script(
    role: Role, role_index: int, context: ScriptContext, draw: random.Random, *, role_rank: int = 0, now_s: float = 0.0
) -> Script | None:
    """The actions of a client that has just connected; None if it only watches.

    Args:
        role_index: index of the role among those of the load test.
        draw: the source of randomness.
        role_rank: index of the client among the clients of its role.
        now_s: seconds since the load test began.
    """
    match role:
        case Viewer(filter=Filter() as criteria):
            return iter([Send(FilterUpdate(criteria))])
        case FilteredViewer():
            return _change_filters(role, context.filters[role_index], draw)
        case Dragger():
            return _drag(role, context, draw)
        case Speaker():
            return _talk(role, draw)
        case Flapping():
            return _flap(role, draw)
        case Recorded():
            return _replay(context.traffic[role_index], role_rank, now_s)
    return None


def _change_filters(role: FilteredViewer, filters: tuple[Filter, ...], draw: random.Random) -> Script:
    while True:
        yield Send(FilterUpdate(draw.choice(filters)))
        if role.change_every_s is None:
            return
        yield Wait(role.change_every_s)


def _drag(role: Dragger, context: ScriptContext, draw: random.Random) -> Script:
    steps = max(1, round(role.hold_s * role.rate_hz))
    yield Wait(draw.uniform(0.0, role.pause_s))  # so that draggers do not begin at the same moment
    while True:
        node_id = draw.choice(context.node_ids)
        tilt, start = draw.uniform(0, math.tau), draw.uniform(0, math.tau)
        for step in range(steps):
            angle = start + math.tau * step / role.rate_hz / CIRCLE_S
            x, y = context.radius * math.cos(angle), context.radius * math.sin(angle)
            last = step == steps - 1
            yield Send(NodeDrag(node_id, x, y * math.cos(tilt), y * math.sin(tilt), final=last))
            yield Wait(1 / role.rate_hz)
        yield Wait(role.pause_s)


def _talk(role: Speaker, draw: random.Random) -> Script:
    yield Wait(draw.uniform(0.0, role.pause_s))
    while True:
        for _ in range(max(1, round(role.talk_s / VOICE_MESSAGE_S))):
            yield Speak()
            yield Wait(VOICE_MESSAGE_S)
        yield Wait(role.pause_s)


def _flap(role: Flapping, draw: random.Random) -> Script:
    yield Wait(role.stay_s * draw.uniform(0.5, 1.5))
    yield BreakOff(role.away_s * draw.uniform(0.5, 1.5))


def _replay(traffic: Traffic | None, role_rank: int, now_s: float) -> Script:
    """Repeat what one recorded connection did, from where the recording is now.

    The first clients replay one recorded connection each, at the recorded times. Further clients repeat those
    connections shifted in time, because hundreds must not do the same thing at the same moment.
    """
    assert traffic is not None
    messages = traffic.connections[role_rank % len(traffic.connections)]
    shift_s = (role_rank // len(traffic.connections)) * GOLDEN_RATIO * traffic.period_s % traffic.period_s
    lap, phase_s = divmod(now_s + shift_s, traffic.period_s)
    start = bisect.bisect_left(messages, phase_s, key=lambda message: message[0])
    earlier = (payload for _, payload in reversed(messages[:start]) if payload[1] == MessageType.FILTER_UPDATE)
    if (filter_in_force := next(earlier, None)) is not None:
        yield SendBytes(filter_in_force)
    while True:
        for time_s, payload in messages[start:]:
            yield WaitUntil(lap * traffic.period_s + time_s - shift_s)
            yield SendBytes(payload)
        lap, start = lap + 1, 0


def storm_times(start_s: float, end_s: float, every_s: float) -> Iterator[float]:
    """The times of reconnect storms: every `every_s` seconds after `start_s`, before `end_s`."""
    return itertools.takewhile(lambda time_s: time_s < end_s, itertools.count(start_s + every_s, every_s))


def voice_message(now_us: int) -> VoiceData:
    """20 ms of a tone. Its first samples hold the unix time in µs.

    The same load generator receives it, so the end-to-end voice latency does not depend on the server's clock.
    """
    pcm = _VOICE_STAMP.pack(_VOICE_MARK, now_us) + _TONE[_VOICE_STAMP.size :]
    return VoiceData(0, SAMPLE_RATE_HZ, np.frombuffer(pcm, "<i2"))


def spoken_at_us(payload: bytes) -> int | None:
    """The unix time in µs that `voice_message` wrote into a VoiceData message; None if another program made it."""
    if len(payload) < _FIRST_SAMPLE + _VOICE_STAMP.size:
        return None
    mark, spoken_us = _VOICE_STAMP.unpack_from(payload, _FIRST_SAMPLE)
    return int(spoken_us) if mark == _VOICE_MARK else None
