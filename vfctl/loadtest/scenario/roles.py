"""The roles of simulated clients: what kinds there are, and how many clients play each.

Plain data that is sent to the generator processes; `vfctl.loadtest.generator.behaviour` has what the roles do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Gt

from vfctl.loadtest.scenario.field_types import BYTES, BYTES_PER_S, COUNT, HERTZ, SECONDS, JsonFilter

MIN_RECEIVE_BUFFER_BYTES: Final = 2304
"""Linux allows no smaller SO_RCVBUF (SOCK_MIN_RCVBUF)."""


@dataclass(frozen=True, kw_only=True)
class _Role:
    """The attributes of every role.

    Attributes:
        name: its name in the results; empty for the name of the role.
        share: its share of all clients, relative to the other shares.
        voice: whether it also receives the speech of others.
        attentive: whether it reads as fast as it can. Only these clients count in the results' headline metrics.
    """

    attentive: ClassVar[bool] = True

    role: str = ""
    name: str = ""
    share: Annotated[float, Gt(0)] = 1.0
    voice: bool = False

    @property
    def label(self) -> str:
        """Its name in the results."""
        return self.name or self.role


@dataclass(frozen=True, kw_only=True)
class Viewer(_Role):
    """Watches the graph.

    Attributes:
        filter: the filter that it sends; None sends no FilterUpdate.
    """

    role: Literal["viewer"] = "viewer"
    filter: JsonFilter | None = None


@dataclass(frozen=True, kw_only=True)
class FilteredViewer(_Role):
    """Watches a subset of the nodes, with a filter drawn at random.

    Attributes:
        filters: number of different filters.
        nodes: the smallest and the largest number of nodes that a filter selects.
        change_every_s: time until it draws another filter; None keeps the first.
    """

    role: Literal["filtered-viewer"] = "filtered-viewer"
    filters: Annotated[int, Ge(1), COUNT] = 200
    nodes: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(1)]] = (50, 100)
    change_every_s: Annotated[float, Gt(0), SECONDS] | None = None


@dataclass(frozen=True, kw_only=True)
class Dragger(_Role):
    """Drags a node in a circle, releases it, pauses, and drags another one.

    Attributes:
        rate_hz: NodeDrags a second while it drags.
        hold_s, pause_s: length of a drag, and of a pause.
    """

    role: Literal["dragger"] = "dragger"
    rate_hz: Annotated[float, Gt(0), HERTZ] = 20.0
    hold_s: Annotated[float, Gt(0), SECONDS] = 3.0
    pause_s: Annotated[float, Ge(0), SECONDS] = 2.0


@dataclass(frozen=True, kw_only=True)
class Speaker(_Role):
    """Sends speech, in VoiceData of 20 ms at 16 kHz, and receives the speech of others.

    Attributes:
        talk_s, pause_s: length of speech, and of silence.
    """

    role: Literal["speaker"] = "speaker"
    voice: bool = True
    talk_s: Annotated[float, Gt(0), SECONDS] = 3.0
    pause_s: Annotated[float, Ge(0), SECONDS] = 5.0


@dataclass(frozen=True, kw_only=True)
class SlowReader(_Role):
    """Reads too slowly, or not at all, into a small receive buffer. A server may close its connection.

    Attributes:
        bytes_per_s: its reading rate.
        receive_buffer_bytes: its SO_RCVBUF (Linux doubles it for bookkeeping).
    """

    attentive: ClassVar[bool] = False

    role: Literal["slow-reader"] = "slow-reader"
    bytes_per_s: Annotated[int, Ge(0), BYTES_PER_S] = 0
    receive_buffer_bytes: Annotated[int, Ge(MIN_RECEIVE_BUFFER_BYTES), BYTES] = 4096


@dataclass(frozen=True, kw_only=True)
class Flapping(_Role):
    """Loses its connection again and again, and reconnects a little later.

    Attributes:
        stay_s, away_s: mean time connected, and disconnected; drawn between 0.5 and 1.5 times the mean.
    """

    role: Literal["flapping"] = "flapping"
    stay_s: Annotated[float, Gt(0), SECONDS] = 5.0
    away_s: Annotated[float, Gt(0), SECONDS] = 1.0


@dataclass(frozen=True, kw_only=True)
class ReconnectStorm(_Role):
    """All clients of the role lose their connections at the same moment, as in a network outage, and then retry.

    Attributes:
        every_s: time between two outages, and from the beginning of a measured stage to the first one.
    """

    role: Literal["reconnect-storm"] = "reconnect-storm"
    every_s: Annotated[float, Gt(0), SECONDS] = 10.0


@dataclass(frozen=True, kw_only=True)
class Recorded(_Role):
    """Repeats what clients did in a recording: their drags, filters, selections and speech.

    Attributes:
        traffic: path of the recording; in a scenario file, relative to that file.
    """

    role: Literal["recorded"] = "recorded"
    traffic: str = ""


Role = Viewer | FilteredViewer | Dragger | Speaker | SlowReader | Flapping | ReconnectStorm | Recorded
ROLES: Final = (Viewer, FilteredViewer, Dragger, Speaker, SlowReader, Flapping, ReconnectStorm, Recorded)


def assign_roles(roles: Sequence[Role], clients: int) -> bytes:
    """The role of each client: one byte per client, an index into `roles` (at most 256 roles).

    The next client gets the role that is furthest behind its share. So every prefix has the shares of the roles, to
    within one client, and a ramp adds all roles evenly.
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
