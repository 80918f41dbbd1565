"""The schemas of the documents, as types: `vfctl schema` prints them, tests hold real documents against them.

A reader should expect keys that are not in it: within one version keys are added, none is taken away or changed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from vfctl.metrics import LatencyHistogram

Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
"""A metric of any kind; counts stay integers."""


class Described(BaseModel):
    """An object of a document; what stands behind an attribute is its description in the schema."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class Latency(Described):
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

    @classmethod
    def of(cls, histogram: LatencyHistogram) -> Latency:
        """The summary of a histogram."""
        return cls(**asdict(histogram.summary()))


class Clients(Described):
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


class Throughput(Described):
    """What was received, of all roles; bytes with WebSocket framing."""

    messages_per_s: float
    bytes_per_s: float
    bytes_per_s_per_client: float
    messages_per_s_per_client: float


class Frames(Described):
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


class Part(Described):
    """What the clients of a stage, of a role or of the whole run have seen."""

    clients: Clients
    latency_ms: Latency
    """Server's time stamp to arrival."""
    latency_user_ms: Latency
    """The same to the moment the generator has read it."""
    latency_corrected_ms: Latency
    """Against the schedule."""
    throughput: Throughput
    frames: Frames


class _StageHead(Described):
    name: str
    kind: Literal["ramp", "hold", "spike"]
    measured: bool
    duration_s: float


class Stage(Part, _StageHead):
    """One stage of the course."""


class RoleFigures(Part):
    """The measured stages as one role has seen them."""

    role: str
    voice_ms: Latency


class Clock(Described):
    """The server's clock against ours."""

    corrected_by_ms: float
    offset_ms: float | None
    error_ms: float | None


class Lag(Described):
    """How late batches of reading began, in ms."""

    p50: float | None
    p99: float | None
    max: float | None


class Generator(Described):
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


class SecondFigures(Described):
    """One second of the run."""

    t_s: int
    """When it began, since the run did."""
    stage: str
    measured: bool
    """All of it is measured time."""
    connected: int
    messages_per_s: float
    bytes_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cpu_percent: float
    """Of one core, all generator processes."""


class GateVerdict(Described):
    """What a gate says."""

    expression: str
    value: Number | None
    """None if there was none, which fails."""
    passed: bool
    limit: float | None
    """What the value was compared with, in its unit; null if the baseline has none, which fails."""
    reason: str
    """Why it failed where there was nothing to compare; empty else."""


class Block(Described):
    """Latencies of a measured stage, in stretches of equal length."""

    stage: str
    width_s: Number
    latency_ms: list[str]
    """A histogram a stretch."""


class Run(Described):
    """All that was counted of latencies, as HdrHistogram's compressed text (V2, base64), in µs."""

    histograms: dict[str, str]
    """By key of the results."""
    blocks: list[Block]


class Environment(Described):
    """The machine that the numbers come from."""

    vfctl: str
    python: str
    system: str
    machine: str
    cpus: int | None


class RoleAsked(Described):
    """A role of the mix, with all its settings."""

    model_config = ConfigDict(extra="allow")

    role: str
    name: str
    share: float


class StageAsked(Described):
    """A stage of the course, as it was asked for."""

    name: str
    kind: Literal["ramp", "hold", "spike"]
    measured: bool
    clients: int
    over_s: float
    """In which they connect or leave."""


class Asked(Described):
    """What was asked for: runs of which this differs are not compared."""

    description: str
    encoding: str | None
    roles: list[RoleAsked]
    stages: list[StageAsked]


class Repeat(Described):
    """Of runs that were repeated."""

    asked: int
    begun: int
    counted: int
    """Those that the figures are of: a last one that was ended early is not among them, if there are others."""


class Spread(Described):
    """How far repeated runs lie apart in one metric."""

    min: Number
    max: Number
    values: list[Number]
    """Of all runs, in order."""


class _LoadtestHead(Described):
    version: Literal["vfctl.loadtest/3"] = Field(alias="schema")
    url: str
    peer: str
    """Who answered."""
    began_at: str = Field(json_schema_extra={"format": "date-time"})
    interrupted: bool
    """The run was ended early: these are partial results."""
    aborted: GateVerdict | None
    """The gate that has ended the run early."""
    failure: str | None = None
    """What has gone wrong with the run itself: these are partial results, or none."""
    scenario: Asked | None = None
    """What was asked for."""


class LoadtestResults(Part, _LoadtestHead):
    """The results of one `vfctl loadtest`."""

    duration_s: float
    """The measured time."""
    latency_clock: Literal["kernel", "user"]
    clock: Clock
    voice_ms: Latency
    connect_ms: Latency
    reconnect_ms: Latency
    stages: list[Stage]
    roles: dict[str, RoleFigures]
    generator: Generator
    errors: dict[str, int]
    """Failures by kind, of the whole run."""
    seconds: list[SecondFigures]
    gates: list[GateVerdict]
    environment: Environment
    runs: list[Run]
    """One; several where runs were repeated."""
    spread: dict[str, Spread] | None
    """How far repeated runs lie apart; null for a single one."""
    repeat: Repeat | None = None
    """Of repeated runs; null for a single one."""

    @property
    def ended_early(self) -> bool:
        """Whether the run has not gone to its end."""
        return bool(self.interrupted or self.aborted or self.failure)

    @property
    def measured_anything(self) -> bool:
        """Whether messages were received in the measured time; of repeated runs, in most of them."""
        if self.spread is None:
            return self.throughput.messages_per_s > 0 or any(role.frames.received for role in self.roles.values())
        rates = self.spread["throughput.messages_per_s"].values
        return 2 * sum(rate > 0 for rate in rates) > len(rates)


class Comparison(Described):
    """Whether B is slower than A."""

    verdict: Literal["no difference", "slower", "faster"]
    percentile: float
    confidence_percent: float
    a_ms: float
    """The percentile; of several runs the median."""
    b_ms: float
    difference_ms: float
    """B - A, and its confidence interval."""
    low_ms: float
    high_ms: float
    smallest_ms: float
    """The smallest difference that matters."""
    runs_a: int
    runs_b: int

    @property
    def sentence(self) -> str:
        """For people."""
        of = f"P{self.percentile:g} {self.a_ms:.2f} ms and {self.b_ms:.2f} ms"
        if self.verdict == "no difference":
            between = f"{self.low_ms:+.2f} to {self.high_ms:+.2f} ms"
            return f"no difference: {of}; B - A is {between}, less than {self.smallest_ms:.2f} ms does not matter"
        low, high = sorted((abs(self.low_ms), abs(self.high_ms)))
        return f"B is {self.verdict} by {abs(self.difference_ms):.2f} ms ({low:.2f} to {high:.2f}): {of}"


class OlderResults(Described):
    """Results that an older vfctl has written, `vfctl.loadtest/1` or `/2`: the same metrics by the same paths, not all
    of them, and no histograms. Gates judge them; they cannot be compared.
    """

    model_config = ConfigDict(extra="allow")

    version: str = Field(alias="schema")
    url: str
    failure: str | None = None
    clients: dict[str, Any] = {}
    latency_ms: dict[str, Any] = {}
    latency_clock: str | None = None
    throughput: dict[str, Any] = {}
    frames: dict[str, Any] = {}
    roles: dict[str, Any] | None = None

    @property
    def measured_anything(self) -> bool:
        """Whether a message was received in the measured time, as far as the results say."""
        return self.throughput.get("messages_per_s") != 0


class _ComparisonHead(Described):
    version: Literal["vfctl.compare/1"] = Field(alias="schema")


class ComparisonDocument(Comparison, _ComparisonHead):
    """What `vfctl compare --json` prints."""

    warnings: list[str]
    """What should be known before it is believed."""


class AbResults(Described):
    """The results of one `vfctl loadtest --ab`."""

    version: Literal["vfctl.ab/1"] = Field(alias="schema")
    comparison: Comparison | None
    """Null if there was too little to compare; the warnings say why."""
    warnings: list[str]
    gates: list[GateVerdict] = Field(default=[])
    """All of them, in order; a and b have their own."""
    failure: str | None = None
    """What has gone wrong with the run itself, or with one of the servers."""
    a: LoadtestResults
    b: LoadtestResults


class Probe(Described):
    """One load that was tried."""

    load: Number
    held: bool
    results: LoadtestResults


class FindResults(Described):
    """The results of one `vfctl loadtest --find`."""

    version: Literal["vfctl.find/1"] = Field(alias="schema")
    find: Literal["clients", "rate"]
    load: Number | None
    """The highest that held; null if not even the lowest did."""
    at_limit: bool
    """Nothing higher was allowed."""
    probes: list[Probe]


class NoiseFigures(Described):
    """How much a percentile differs from run to run, in ms."""

    median: float
    min: float
    max: float
    spread_ms: float
    """Standard deviation."""
    two_runs_differ_ms: float
    """In 95 % of cases by less."""
    detectable_ms: dict[str, float]
    """The regression that shows in four of five comparisons, by runs on each side."""


class NoiseScore(Described):
    """What `vfctl noise --json` prints."""

    version: Literal["vfctl.noise/1"] = Field(alias="schema")
    runs: int
    clients: int
    steal_percent: float | None
    """CPU time that the host took; null where the system does not say."""
    scheduling_lag_p99_ms: float
    latency_ms: dict[str, NoiseFigures]
    """By percentile."""


class EncodingFigures(Described):
    """What one encoding makes of the frames of a phase."""

    frames: int
    bytes_per_frame: float
    bytes_per_node: float
    of_raw: float
    """Share of the raw bytes."""
    bytes_per_s: float
    """With a frame in each round of a moving layout."""
    encode_ms: float
    """Median of the frames."""
    decode_ms: float
    worst_error_units: float
    """Of any coordinate, in layout units."""
    worst_error_of_extent: float
    """The same as a share of the layout's extent."""


class Encodings(Described):
    """The same frames in every encoding."""

    raw: EncodingFigures
    lz4: EncodingFigures
    compact: EncodingFigures


class Bandwidth(Described):
    """What `vfctl bandwidth --json` prints."""

    version: Literal["vfctl.bandwidth/1"] = Field(alias="schema")
    source: str
    """The graph or recording."""
    nodes: int
    """The most of any frame."""
    rate_hz: int
    """Frames a second that `bytes_per_s` is for."""
    key_frames: int
    """Of COMPACT."""
    steps_per_extent: float
    """Of COMPACT's newest grid."""
    phases: dict[Literal["moving", "at_rest"], Encodings]
    """One that had no frames is left out."""


DOCUMENTS: Final[dict[str, type[Described]]] = {
    "loadtest": LoadtestResults,
    "ab": AbResults,
    "find": FindResults,
    "noise": NoiseScore,
    "compare": ComparisonDocument,
    "bandwidth": Bandwidth,
}
"""By the name that `vfctl schema` knows them by."""


def schema_of(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of one of `DOCUMENTS`."""
    schema = DOCUMENTS[name].model_json_schema(mode="serialization")
    title = schema["properties"]["schema"]["const"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
