"""What clients do beside watching. Sans-IO: a script yields acts, the engine carries them out.

A script lives as long as one connection; the next one begins anew.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vfctl.loadtest.generator.speech import VOICE_MESSAGE_S
from vfctl.loadtest.scenario.roles import Dragger, FilteredViewer, Flapping, Recorded, Role, Speaker, Viewer
from vfctl.loadtest.scenario.traffic import Traffic
from vfctl.protocol import Filter, FilterUpdate, Message, MessageType, NodeDrag

CIRCLE_S: Final = 2.0
"""How long a dragged node takes for one turn of its circle."""


@dataclass(frozen=True, slots=True)
class World:
    """What scripts know of the graph that is served; see `vfctl.loadtest.control.context`.

    Attributes:
        node_ids: nodes that can be dragged.
        radius: how far from the origin nodes are.
        filters: by role (its index), the filters that its clients draw from.
        traffic: by role, what its clients did in a recording.
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
    """Send this message, encoded already."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Speak:
    """Send the next piece of speech."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Until:
    """Go on at that time, in seconds since the load test began."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Away:
    """Lose the connection without a word, and connect again after so many seconds. A script's last act."""

    seconds: float


Act = Send | SendBytes | Speak | Wait | Until | Away
Script = Iterator[Act]


def script(
    role: Role, index: int, world: World, draw: random.Random, *, rank: int = 0, now_s: float = 0.0
) -> Script | None:
    """What a client does once it is connected; None if it only watches.

    Args:
        index: of the role, among those of the load test.
        draw: where chance comes from.
        rank: the how manieth client of its role this is, from 0.
        now_s: seconds since the load test began.
    """
    match role:
        case Viewer(filter=Filter() as criteria):
            return iter([Send(FilterUpdate(criteria))])
        case FilteredViewer():
            return _draw_filters(role, world.filters[index], draw)
        case Dragger():
            return _drag(role, world, draw)
        case Speaker():
            return _talk(role, draw)
        case Flapping():
            return _flap(role, draw)
        case Recorded():
            return _repeat(world.traffic[index], rank, now_s)
    return None


def _draw_filters(role: FilteredViewer, filters: tuple[Filter, ...], draw: random.Random) -> Script:
    while True:
        yield Send(FilterUpdate(draw.choice(filters)))
        if role.change_every_s is None:
            return
        yield Wait(role.change_every_s)


def _drag(role: Dragger, world: World, draw: random.Random) -> Script:
    steps = max(1, round(role.hold_s * role.rate_hz))
    yield Wait(draw.uniform(0.0, role.pause_s))  # not all of them at once
    while True:
        node_id = draw.choice(world.node_ids)
        tilt, start = draw.uniform(0, math.tau), draw.uniform(0, math.tau)
        for step in range(steps):
            angle = start + math.tau * step / role.rate_hz / CIRCLE_S
            x, y = world.radius * math.cos(angle), world.radius * math.sin(angle)
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
    yield Away(role.away_s * draw.uniform(0.5, 1.5))


def _repeat(traffic: Traffic | None, rank: int, now_s: float) -> Script:
    """What one recorded connection did, over and over, from where the recording is now.

    As many clients as there were connections do together what those did, at the times they did it. The next as many
    repeat them, shifted within the recording, so that what one user did is not done by hundreds in the same moment.
    """
    assert traffic is not None
    acts = traffic.connections[rank % len(traffic.connections)]
    shift_s = (rank // len(traffic.connections)) * GOLDEN * traffic.period_s % traffic.period_s
    began_s = now_s + shift_s
    lap, phase_s = divmod(began_s, traffic.period_s)
    start = bisect.bisect_left(acts, phase_s, key=lambda act: act[0])
    earlier = next((payload for _, payload in reversed(acts[:start]) if payload[1] == MessageType.FILTER_UPDATE), None)
    if earlier is not None:
        yield SendBytes(earlier)
    while True:
        for time_s, payload in acts[start:]:
            yield Until(lap * traffic.period_s + time_s - shift_s)
            yield SendBytes(payload)
        lap, start = lap + 1, 0


GOLDEN: Final = 0.618034
"""Multiples of it, less their whole parts, are spread as evenly as can be however many there are."""


def moments(start_s: float, end_s: float, every_s: float) -> Iterator[float]:
    """When storms break: every so many seconds after `start_s`, before `end_s`."""
    return itertools.takewhile(lambda moment_s: moment_s < end_s, itertools.count(start_s + every_s, every_s))
