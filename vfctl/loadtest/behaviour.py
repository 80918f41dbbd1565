"""What clients do beside watching. Sans-IO: a script yields acts, the engine carries them out.

A script lives as long as one connection; the next one begins anew.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vfctl.loadtest.roles import Dragger, FilteredViewer, Flapping, Role, Speaker, Viewer
from vfctl.loadtest.speech import VOICE_MESSAGE_S
from vfctl.protocol import Filter, FilterUpdate, Message, NodeDrag

CIRCLE_S: Final = 2.0
"""How long a dragged node takes for one turn of its circle."""


@dataclass(frozen=True, slots=True)
class World:
    """What scripts know of the graph that is served; see `vfctl.loadtest.world`.

    Attributes:
        node_ids: nodes that can be dragged.
        radius: how far from the origin nodes are.
        filters: by role (its index), the filters that its clients draw from.
    """

    node_ids: tuple[int, ...] = ()
    radius: float = 1.0
    filters: tuple[tuple[Filter, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message."""

    message: Message


@dataclass(frozen=True, slots=True)
class Speak:
    """Send the next piece of speech."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Away:
    """Lose the connection without a word, and connect again after so many seconds. A script's last act."""

    seconds: float


Act = Send | Speak | Wait | Away
Script = Iterator[Act]


def script(role: Role, index: int, world: World, draw: random.Random) -> Script | None:
    """What a client does once it is connected; None if it only watches.

    Args:
        index: of the role, among those of the load test.
        draw: where chance comes from.
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


def moments(start_s: float, end_s: float, every_s: float) -> Iterator[float]:
    """When storms break: every so many seconds after `start_s`, before `end_s`."""
    return itertools.takewhile(lambda moment_s: moment_s < end_s, itertools.count(start_s + every_s, every_s))
