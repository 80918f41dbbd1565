"""What a server is asked to do: plain data that crosses to its processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from vfctl.physics import DEFAULT_PARAMETERS, PhysicsParameters
from vfctl.physics.device import Device
from vfctl.stream import Encoding, SlowClientPolicy

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8765
DEFAULT_MAX_CLIENTS: Final = 50_000
"""What the system's description promises."""


class Admin(StrEnum):
    """Who may change the physics over HTTP."""

    NOBODY = "nobody"
    LOCAL = "local"
    """Programs on this machine, that speak to it directly and not through a proxy."""
    ANYONE = "anyone"
    """Whoever reaches the port."""


@dataclass(frozen=True, slots=True)
class LiveGraph:
    """A graph that the physics moves.

    Attributes:
        file: path of a graph file; None for a generated or the bundled one.
        generator: `scale-free`, `tree`, `grid` or `random`; None without `file` is the bundled graph.
        nodes: how many to generate.
        seed: of the generator and of the first positions.
        at_rest: run the layout to rest before the first client is let in.
        keep_awake: never settle, so that clients are served at the active interval.
        parameters: of the physics, to begin with.
        device: what the physics computes on.
    """

    file: str | None = None
    generator: str | None = None
    nodes: int = 1000
    seed: int = 0
    at_rest: bool = False
    keep_awake: bool = False
    parameters: PhysicsParameters = DEFAULT_PARAMETERS
    device: Device = "auto"


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that is played back.

    Attributes:
        files: paths of the recording's files, in order.
        speed: 2 is twice as fast as it was.
        loop: begin again at the end.
        start_s: where to begin, in seconds from the start of the recording.
        paused: begin in pause.
    """

    files: tuple[str, ...]
    speed: float = 1.0
    loop: bool = False
    start_s: float = 0.0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class RecordTo:
    """A recording that a server makes of itself.

    Attributes:
        file: path, .mcap or .bin.
        rotate_bytes, rotate_s: a next file is begun when one is so large, or so old; None never.
    """

    file: str
    rotate_bytes: int | None = None
    rotate_s: float | None = None


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """One server: a frame source and its gateways.

    Attributes:
        source: what is served.
        host, port: where the gateways listen; port 0 takes a free one.
        workers: number of gateway processes.
        max_clients: connections of all gateways together; more are answered 503.
        physics_hz: ticks a second of the frame source.
        active_interval_ms: how often a client is served while the layout moves.
        stable_interval_ms: and once it is stable.
        stall_timeout_s: a client that takes nothing for so long is disconnected.
        slow_client: what becomes of one that has not taken its last frames when the next is due.
        encoding_limit: encodings that take more than this one are refused.
        admin: who may change the physics while it runs.
        allow_origins: additional allowed origins, as `vfctl.server.http.origins.check_origin` returns them.
        heartbeat_s: a client that has been silent for so long is sent a heartbeat.
        record: what it sends and hears is also recorded there; None is nowhere.
    """

    source: LiveGraph | Recording = field(default_factory=LiveGraph)
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    workers: int = 1
    max_clients: int = DEFAULT_MAX_CLIENTS
    physics_hz: float = 60.0
    active_interval_ms: float = 50.0
    stable_interval_ms: float = 1000.0
    stall_timeout_s: float = 20.0
    slow_client: SlowClientPolicy = SlowClientPolicy.SKIP
    encoding_limit: Encoding = Encoding.RAW
    admin: Admin = Admin.LOCAL
    allow_origins: tuple[str, ...] = ()
    heartbeat_s: float = 30.0
    record: RecordTo | None = None
