"""The schema of the results, as types: `vfctl schema loadtest` prints it, tests hold real results against it.

A reader should expect keys that are not in it: within one version keys are added, none is taken away or changed.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vfctl.loadtest.results import SCHEMA


class _Object(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Latency(_Object):
    """A histogram in figures, in ms, three significant digits; all null while nothing was recorded."""

    count: int
    """Values recorded."""
    min: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    max: float | None
    mean: float | None


class Clients(_Object):
    """How the clients fared, at the end of the last measured stage."""

    target: int
    connected: int
    failed: int
    """Never reached Connected."""
    lost: int
    """Were connected, are not, and should be."""
    away: int
    """Are not there because their role has it so."""
    reconnects: int


class Throughput(_Object):
    """What was received, of all roles; bytes with WebSocket framing."""

    messages_per_s: float
    bytes_per_s: float
    messages_per_s_per_client: float
    bytes_per_s_per_client: float


class Frames(_Object):
    """FullGraph and PositionUpdate."""

    received: int
    gaps: int
    """Rounds that were missing."""
    duplicates: int
    reordered: int
    sampled: int
    """Decoded whole."""
    wrong: int
    """Of the sampled."""


class _Part(_Object):
    clients: Clients
    latency_ms: Latency
    latency_user_ms: Latency
    latency_corrected_ms: Latency
    throughput: Throughput
    frames: Frames


class Stage(_Part):
    """One stage of the course."""

    name: str
    kind: Literal["ramp", "hold", "spike"]
    measured: bool
    duration_s: float


class RoleFigures(_Part):
    """The measured stages as one role has seen them."""

    role: str
    voice_ms: Latency


class Clock(_Object):
    """The server's clock against ours."""

    corrected_by_ms: float
    offset_ms: float | None
    error_ms: float | None


class Lag(_Object):
    """How late batches of reading began, in ms."""

    p50: float | None
    p99: float | None
    max: float | None


class Generator(_Object):
    """Whether the generator was the bottleneck."""

    verdict: str
    advice: str
    """What to change; empty if it was not."""
    processes: int
    cpu_percent: float
    """Of one core, all processes."""
    cpu_percent_max: float
    lag_ms: Lag
    full_buffers: int


class SecondFigures(_Object):
    """One second of the run."""

    t_s: int
    """When it began, since the run did."""
    stage: str
    measured: bool
    connected: int
    messages_per_s: float
    bytes_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cpu_percent: float
    """Of one core, all generator processes."""


class GateVerdict(_Object):
    """What a gate says."""

    expression: str
    value: float | None
    """None if there was none, which fails."""
    passed: bool
    limit: float | None
    """What the value was compared with, in its unit; null if the baseline has none, which fails."""
    reason: str
    """Why it failed where there was nothing to compare; empty else."""


class Block(_Object):
    """Latencies of a measured stage, in stretches of equal length."""

    stage: str
    width_s: float
    latency_ms: list[str]
    """A histogram a stretch."""


class Run(_Object):
    """All that was counted of latencies, as HdrHistogram's compressed text (V2, base64), in µs."""

    histograms: dict[str, str]
    """By key of the results."""
    blocks: list[Block]


class Environment(_Object):
    """The machine that the numbers come from."""

    vfctl: str
    python: str
    system: str
    machine: str
    cpus: int | None


class LoadtestResults(_Object):
    """The results of one `vfctl loadtest`."""

    version: str = Field(alias="schema", json_schema_extra={"const": SCHEMA})
    url: str
    peer: str
    """Who answered."""
    began_at: str = Field(json_schema_extra={"format": "date-time"})
    interrupted: bool
    """The run was ended early: these are partial results."""
    clients: Clients
    duration_s: float
    """The measured time."""
    latency_ms: Latency
    """Server's time stamp to arrival."""
    latency_user_ms: Latency
    """The same to the moment the generator has read it."""
    latency_corrected_ms: Latency
    """Against the schedule."""
    latency_clock: Literal["kernel", "user"]
    clock: Clock
    voice_ms: Latency
    connect_ms: Latency
    reconnect_ms: Latency
    throughput: Throughput
    frames: Frames
    stages: list[Stage]
    roles: dict[str, RoleFigures]
    generator: Generator
    errors: dict[str, int]
    """Failures by kind, of the whole run."""
    seconds: list[SecondFigures]
    gates: list[GateVerdict]
    environment: Environment
    aborted: GateVerdict | None
    """The gate that has ended the run early."""
    runs: list[Run]
    """One; several where runs were repeated."""
    spread: dict[str, Any] | None
    """How far repeated runs lie apart; null for a single one."""


def results_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the results."""
    schema = LoadtestResults.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": SCHEMA}
