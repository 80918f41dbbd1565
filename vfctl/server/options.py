"""Options of a server: plain data that its processes receive."""

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
"""As the system's description requires."""


class Admin(StrEnum):
    """Who may change the physics over HTTP."""

    NOBODY = "nobody"
    LOCAL = "local"
    """Programs on this machine that connect directly, not through a proxy."""
    ANYONE = "anyone"
    """Everybody who can connect."""


@dataclass(frozen=True, slots=True)
class LiveGraph:
    """A graph whose layout the physics computes.

    Attributes:
        file: path of a graph file; None for a generated or the bundled one.
        generator: `scale-free`, `tree`, `grid` or `random`; None without `file` is the bundled graph.
        nodes: number of generated nodes.
        seed: of the generator and of the initial positions.
        at_rest: let the layout settle before the first client may connect.
        keep_awake: never settle, so that clients get updates at the active interval.
        parameters: of the physics, at the start.
        device: that the physics computes on.
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
    """A recording that is replayed.

    Attributes:
        files: paths of the recording's files, in order.
        speed: 2 is twice the recorded speed.
        loop: restart at the end.
        start_s: first position, in seconds from the start of the recording.
        paused: start paused.
    """

    files: tuple[str, ...]
    speed: float = 1.0
    loop: bool = False
    start_s: float = 0.0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class RecordTo:
    """The server's own recording.

    Attributes:
        file: path, .mcap or .bin.
        rotate_bytes: size at which the next file is begun; None never.
        rotate_s: age at which the next file is begun; None never.
    """

    file: str
    rotate_bytes: int | None = None
    rotate_s: float | None = None


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """One server: a frame source and its gateways.

    Attributes:
        source: the graph or recording that is served.
        host: name or address that the gateways listen on.
        port: 0 chooses a free one.
        workers: number of gateway processes.
        max_clients: connections of all gateways together; more get HTTP 503.
        physics_hz: ticks per second of the frame source.
        active_interval_ms: update interval while the layout moves.
        stable_interval_ms: update interval of a settled layout.
        stall_timeout_s: a client that reads nothing for this time is disconnected.
        slow_client: backpressure policy: skip updates or disconnect.
        encoding_limit: encodings that need more bandwidth are refused.
        admin: who may change the physics while it runs.
        allow_origins: additional allowed origins, as `vfctl.server.http.origins.check_origin` returns them.
        heartbeat_s: a client that sends nothing for this time gets a heartbeat.
        record: the server also records what it sends and receives; None without a recording.
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
