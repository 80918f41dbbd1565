"""Who takes part in a load test: what kinds of clients there are, and how many of each.

Plain data that crosses to the generator processes; `vfctl.loadtest.generator.behaviour` has what they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Gt

from vfctl.loadtest.scenario.filter_json import JsonFilter

MIN_RECEIVE_BUFFER_BYTES: Final = 2304
"""Linux makes no SO_RCVBUF smaller (SOCK_MIN_RCVBUF)."""


@dataclass(frozen=True, kw_only=True)
class _Role:
    """What all roles have.

    Attributes:
        name: under which results list it; empty for the role's own.
        share: of all clients, relative to the others' shares.
        voice: also asks to hear the others' speech.
        attentive: reads as fast as it can. Only such clients count in the results' headline figures.
    """

    attentive: ClassVar[bool] = True

    role: str = ""
    name: str = ""
    share: Annotated[float, Gt(0)] = 1.0
    voice: bool = False

    @property
    def label(self) -> str:
        """What results call it."""
        return self.name or self.role


@dataclass(frozen=True, kw_only=True)
class Viewer(_Role):
    """Watches.

    Attributes:
        filter: what it asks to see; None sends no FilterUpdate.
    """

    role: Literal["viewer"] = "viewer"
    filter: JsonFilter | None = None


@dataclass(frozen=True, kw_only=True)
class FilteredViewer(_Role):
    """Watches a subset: a filter that is drawn from so many different ones.

    Attributes:
        filters: how many different ones there are.
        nodes: each of them leaves at least and at most so many nodes.
        change_every_s: draws another one this often; None keeps it.
    """

    role: Literal["filtered-viewer"] = "filtered-viewer"
    filters: Annotated[int, Ge(1)] = 200
    nodes: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(1)]] = (50, 100)
    change_every_s: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class Dragger(_Role):
    """Takes a node, moves it in a circle, lets it go, rests, takes another.

    Attributes:
        rate_hz: NodeDrags a second while it drags.
        hold_s, pause_s: how long it drags, and rests.
    """

    role: Literal["dragger"] = "dragger"
    rate_hz: Annotated[float, Gt(0)] = 20.0
    hold_s: Annotated[float, Gt(0)] = 3.0
    pause_s: Annotated[float, Ge(0)] = 2.0


@dataclass(frozen=True, kw_only=True)
class Speaker(_Role):
    """Talks, in VoiceData of 20 ms each at 16 kHz, and hears the others.

    Attributes:
        talk_s, pause_s: how long it talks, and is silent.
    """

    role: Literal["speaker"] = "speaker"
    voice: bool = True
    talk_s: Annotated[float, Gt(0)] = 3.0
    pause_s: Annotated[float, Ge(0)] = 5.0


@dataclass(frozen=True, kw_only=True)
class SlowReader(_Role):
    """Reads too slowly, or not at all, into a small receive buffer. It is right for a server to cut it.

    Attributes:
        bytes_per_s: what it reads.
        receive_buffer_bytes: its SO_RCVBUF (Linux allows twice that, for its own book-keeping).
    """

    attentive: ClassVar[bool] = False

    role: Literal["slow-reader"] = "slow-reader"
    bytes_per_s: Annotated[int, Ge(0)] = 0
    receive_buffer_bytes: Annotated[int, Ge(MIN_RECEIVE_BUFFER_BYTES)] = 4096


@dataclass(frozen=True, kw_only=True)
class Flapping(_Role):
    """Comes and goes: its connection breaks off again and again, and it comes back a little later.

    Attributes:
        stay_s, away_s: how long it is there, and away; drawn between half and one and a half times that.
    """

    role: Literal["flapping"] = "flapping"
    stay_s: Annotated[float, Gt(0)] = 5.0
    away_s: Annotated[float, Gt(0)] = 1.0


@dataclass(frozen=True, kw_only=True)
class ReconnectStorm(_Role):
    """All lose their connections at the same moment, as when a network goes down; they come back by the life cycle.

    Attributes:
        every_s: time between two such moments; the first is this long after the first measured stage has begun.
    """

    role: Literal["reconnect-storm"] = "reconnect-storm"
    every_s: Annotated[float, Gt(0)] = 10.0


@dataclass(frozen=True, kw_only=True)
class Recorded(_Role):
    """Does what clients did in a recording: their drags, filters, selections and speech, over and over.

    Attributes:
        traffic: path of the recording; in a scenario file relative to that file.
    """

    role: Literal["recorded"] = "recorded"
    traffic: str = ""


Role = Viewer | FilteredViewer | Dragger | Speaker | SlowReader | Flapping | ReconnectStorm | Recorded
ROLES: Final = (Viewer, FilteredViewer, Dragger, Speaker, SlowReader, Flapping, ReconnectStorm, Recorded)


def cast(roles: Sequence[Role], clients: int) -> bytes:
    """Which role each client plays: one byte a client, an index into `roles` (at most 256 of them).

    Every prefix has the roles' shares, give or take a client, so a ramp brings in all of them evenly: the next client
    plays the role that is furthest behind its share.
    """
    if len(roles) == 1:
        return bytes(clients)
    total = sum(role.share for role in roles)
    behind = [0.0] * len(roles)
    assigned = bytearray()
    for _ in range(clients):
        for index, role in enumerate(roles):
            behind[index] += role.share / total
        chosen = behind.index(max(behind))
        behind[chosen] -= 1.0
        assigned.append(chosen)
    return bytes(assigned)
