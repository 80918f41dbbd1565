"""The results of a load test, of a comparison and of a search, as types.

The JSON files, the JSON Schema, the paths of gates, the reports and the comparisons all come from these classes. Within
one version of a schema, keys are added but never removed or changed. Readers should ignore keys
that they do not know.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema

from vfctl.metrics import LatencyHistogram

Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
"""A metric of any kind. Counts stay integers."""


class Described(BaseModel):
    """Part of a document. The docstring describes it and its attributes in the JSON Schema, too."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        described = handler.resolve_ref_schema(schema)
        described["description"] = " ".join(inspect.getdoc(cls).partition("Attributes:")[0].split())  # type: ignore[union-attr]
        for base in reversed(cls.__mro__):
            if issubclass(base, Described):
                for name, text in _attributes(base):
                    described["properties"][name]["description"] = text
        return schema


def _attributes(described: type) -> Iterator[tuple[str, str]]:
    """Names and descriptions in the `Attributes` section of a class's own docstring."""
    section = inspect.cleandoc(described.__dict__.get("__doc__") or "").partition("\nAttributes:\n")[2]
    for names, text in re.findall(r"^    (\w[\w, ]*): (.+(?:\n        .+)*)", section, re.MULTILINE):
        sentence = " ".join(text.split())
        yield from ((name, sentence[:1].upper() + sentence[1:]) for name in names.split(", "))


class Latency(Described):
    """A latency histogram in ms, with three significant digits. All values are null if nothing was recorded.

    Attributes:
        count: recorded values.
    """

    count: int
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
    """How many clients are in which state at the end of the last measured stage.

    Attributes:
        target: clients that should be connected.
        failed: never reached Connected.
        lost: were connected, are not connected now, and should be.
        away: disconnected as their role says.
        reconnects: retries that ended in an open connection.
    """

    target: int
    connected: int
    failed: int
    lost: int
    away: int
    reconnects: int


class Throughput(Described):
    """What all roles received. Bytes include WebSocket framing."""

    messages_per_s: float
    bytes_per_s: float
    bytes_per_s_per_client: float
    messages_per_s_per_client: float


class Frames(Described):
    """FullGraph and PositionUpdate messages.

    Attributes:
        gaps: updates that are missing.
        sampled: frames that were decoded completely.
        wrong: sampled frames with wrong content.
    """

    received: int
    gaps: int
    duplicates: int
    reordered: int
    sampled: int
    wrong: int


class Part(Described):
    """What the clients of a stage, of a role or of the whole run have seen.

    Attributes:
        latency_ms: from the server's time stamp to the arrival.
        latency_user_ms: from the server's time stamp to the moment the generator has read the message.
        latency_corrected_ms: corrected for coordinated omission.
    """

    clients: Clients
    latency_ms: Latency
    latency_user_ms: Latency
    latency_corrected_ms: Latency
    throughput: Throughput
    frames: Frames


class _StageHead(Described):
    name: str
    kind: Literal["ramp", "hold", "spike"]
    measured: bool
    duration_s: float


class Stage(Part, _StageHead):
    """One stage of the test."""


class RoleMetrics(Part):
    """The measured stages as one role has seen them.

    Attributes:
        voice_ms: end-to-end voice latency.
    """

    role: str
    voice_ms: Latency


class Clock(Described):
    """The offset of the server's clock from the generator's.

    Attributes:
        corrected_by_ms: the offset that latencies were corrected by.
        offset_ms: how far the server's clock is ahead; null if the server answered no heartbeat.
        error_ms: half the round trip of the best sample.
    """

    corrected_by_ms: float
    offset_ms: float | None
    error_ms: float | None


class Lag(Described):
    """How late batches of reading began, in ms."""

    p50: float | None
    p99: float | None
    max: float | None


class Generator(Described):
    """Whether the generator was the bottleneck.

    Attributes:
        advice: what to change; empty if the generator was not the bottleneck.
        cpu_percent: of one core, all processes.
        cpu_percent_max: of one core, the busiest process.
        full_buffers: how often a receive buffer was full.
    """

    verdict: str
    advice: str
    processes: int
    cpu_percent: float
    cpu_percent_max: float
    lag_ms: Lag
    full_buffers: int


class SecondMetrics(Described):
    """One second of the run.

    Attributes:
        t_s: when it began, from the start of the run.
        stage: the stage that it ended in.
        measured: whether all of it is measured time.
        connected: clients, at its end.
        messages_per_s, bytes_per_s: received by all roles; bytes include framing.
        p50_ms, p95_ms, p99_ms: latency of clients that read as fast as they can; null without a sample.
        cpu_percent: of one core, all generator processes.
    """

    t_s: int
    stage: str
    measured: bool
    connected: int
    messages_per_s: float
    bytes_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cpu_percent: float


class GateVerdict(Described):
    """The verdict of a gate.

    Attributes:
        value: the metric that was judged; null if there is no data, then the gate fails.
        limit: what the value was compared with, in its unit; null if the baseline has no data, then the gate fails.
        reason: why the gate failed if there was nothing to compare; otherwise empty.
    """

    expression: str
    value: Number | None
    passed: bool
    limit: float | None
    reason: str


class Block(Described):
    """The latencies of a measured stage, in time windows of equal length.

    Attributes:
        latency_ms: one histogram per window.
    """

    stage: str
    width_s: Number
    latency_ms: list[str]


class Run(Described):
    """All recorded latencies as HdrHistogram's compressed text (V2, base64), in µs.

    Attributes:
        histograms: by key of the results.
    """

    histograms: dict[str, str]
    blocks: list[Block]


class Environment(Described):
    """The machine that ran the load generator."""

    vfctl: str
    python: str
    system: str
    machine: str
    cpus: int | None


class PlannedRole(Described):
    """A role of the mix, with all its settings."""

    model_config = ConfigDict(extra="allow")

    role: str
    name: str
    share: float


class PlannedStage(Described):
    """A stage as the scenario defines it.

    Attributes:
        over_s: the time in which clients connect or leave.
    """

    name: str
    kind: Literal["ramp", "hold", "spike"]
    measured: bool
    clients: int
    over_s: float


class Plan(Described):
    """What the scenario defines. Runs with different plans are not compared."""

    description: str
    encoding: str | None
    roles: list[PlannedRole]
    stages: list[PlannedStage]


class Repeat(Described):
    """How many runs there were.

    Attributes:
        counted: the runs that the metrics are from. A last run that ended early is not counted if there are others.
    """

    asked: int
    begun: int
    counted: int


class Spread(Described):
    """The values of one metric in repeated runs.

    Attributes:
        values: of all runs, in order.
    """

    min: Number
    max: Number
    values: list[Number]


class _LoadtestHead(Described):
    version: Literal["vfctl.loadtest/3"] = Field(alias="schema")
    url: str
    peer: str
    began_at: str = Field(json_schema_extra={"format": "date-time"})
    interrupted: bool
    aborted: GateVerdict | None
    failure: str | None = None
    scenario: Plan | None = None


class LoadtestResults(Part, _LoadtestHead):
    """The results of one `vfctl loadtest`.

    Attributes:
        peer: what answered at the URL.
        interrupted: the user ended the run early; these are partial results.
        aborted: the abort gate that ended the run early.
        failure: what went wrong with the run itself; these are partial results, or none.
        scenario: what was planned.
        duration_s: the measured time.
        latency_clock: whether the kernel or the generator took the arrival time stamps.
        voice_ms: end-to-end voice latency.
        connect_ms: from the start of the TCP connect to the end of the handshake.
        reconnect_ms: from the loss of a connection to the end of the next handshake, backoff included.
        errors: failures by kind, of the whole run.
        runs: one, or several if the test was repeated.
        spread: by path, the values of each run; null for a single run.
        repeat: null for a single run.
    """

    duration_s: float
    latency_clock: Literal["kernel", "user"]
    clock: Clock
    voice_ms: Latency
    connect_ms: Latency
    reconnect_ms: Latency
    stages: list[Stage]
    roles: dict[str, RoleMetrics]
    generator: Generator
    errors: dict[str, int]
    seconds: list[SecondMetrics]
    gates: list[GateVerdict]
    environment: Environment
    runs: list[Run]
    spread: dict[str, Spread] | None
    repeat: Repeat | None = None

    @property
    def ended_early(self) -> bool:
        """Whether the run ended before its last stage was over."""
        return bool(self.interrupted or self.aborted or self.failure)

    @property
    def measured_anything(self) -> bool:
        """Whether messages were received in the measured time; for repeated runs, in most of them."""
        if self.spread is None:
            return self.throughput.messages_per_s > 0 or any(role.frames.received for role in self.roles.values())
        rates = self.spread["throughput.messages_per_s"].values
        return 2 * sum(rate > 0 for rate in rates) > len(rates)


class OlderResults(Described):
    """Results of an older vfctl, `vfctl.loadtest/1` or `/2`: some of the metrics, by the same paths, and no histograms.
    Gates judge them. They cannot be compared.
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
        """Whether messages were received in the measured time, as far as the results say."""
        return self.throughput.get("messages_per_s") != 0


class Comparison(Described):
    """Whether B is slower than A.

    Attributes:
        a_ms, b_ms: the percentile; of several runs the median.
        difference_ms: B - A.
        low_ms, high_ms: the confidence interval of the difference.
        smallest_ms: the smallest difference that matters.
    """

    verdict: Literal["no difference", "slower", "faster"]
    percentile: float
    confidence_percent: float
    a_ms: float
    b_ms: float
    difference_ms: float
    low_ms: float
    high_ms: float
    smallest_ms: float
    runs_a: int
    runs_b: int

    @property
    def sentence(self) -> str:
        """The verdict as a sentence."""
        of = f"P{self.percentile:g} {self.a_ms:.2f} ms and {self.b_ms:.2f} ms"
        if self.verdict == "no difference":
            between = f"{self.low_ms:+.2f} to {self.high_ms:+.2f} ms"
            return f"no difference: {of}; B - A is {between}, less than {self.smallest_ms:.2f} ms does not matter"
        low, high = sorted((abs(self.low_ms), abs(self.high_ms)))
        return f"B is {self.verdict} by {abs(self.difference_ms):.2f} ms ({low:.2f} to {high:.2f}): {of}"


class _ComparisonHead(Described):
    version: Literal["vfctl.compare/1"] = Field(alias="schema")


class ComparisonDocument(Comparison, _ComparisonHead):
    """What `vfctl compare --json` prints.

    Attributes:
        warnings: reasons to doubt the comparison.
    """

    warnings: list[str]


class AbResults(Described):
    """The results of one `vfctl loadtest --ab`.

    Attributes:
        comparison: null if there was too little to compare; the warnings say why.
        warnings: reasons to doubt the comparison.
        gates: all gates, in order; `a` and `b` have their own.
        failure: what went wrong with the run itself, or with one of the servers.
    """

    version: Literal["vfctl.ab/1"] = Field(alias="schema")
    comparison: Comparison | None
    warnings: list[str]
    gates: list[GateVerdict] = Field(default=[])
    failure: str | None = None
    a: LoadtestResults
    b: LoadtestResults


class Probe(Described):
    """A load that was tried.

    Attributes:
        held: whether all gates passed at this load.
    """

    load: Number
    held: bool
    results: LoadtestResults


class FindResults(Described):
    """The results of one `vfctl loadtest --find`.

    Attributes:
        load: the highest load at which all gates passed; null if there is none.
        at_limit: no higher load was allowed.
    """

    version: Literal["vfctl.find/1"] = Field(alias="schema")
    find: Literal["clients", "rate"]
    load: Number | None
    at_limit: bool
    probes: list[Probe]
