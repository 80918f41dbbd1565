"""The JSON Schema of every document that vfctl writes; the documents of `vfctl noise` and `vfctl bandwidth`."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from vfctl.loadtest.results.model import AbResults, ComparisonDocument, Described, FindResults, LoadtestResults


class NoiseMetrics(Described):
    """How much a percentile differs from run to run, in ms.

    Attributes:
        spread_ms: standard deviation.
        two_runs_differ_ms: two runs differ by less than this in 95 % of cases.
        detectable_ms: minimum detectable regression at 80 % power, by runs on each side.
    """

    median: float
    min: float
    max: float
    spread_ms: float
    two_runs_differ_ms: float
    detectable_ms: dict[str, float]


class NoiseScore(Described):
    """What `vfctl noise --json` prints.

    Attributes:
        steal_percent: CPU time that the host gave to others; null if the system does not report it.
        latency_ms: by percentile.
    """

    version: Literal["vfctl.noise/1"] = Field(alias="schema")
    runs: int
    clients: int
    steal_percent: float | None
    scheduling_lag_p99_ms: float
    latency_ms: dict[str, NoiseMetrics]


class EncodingMetrics(Described):
    """The frames of one phase in one encoding.

    Attributes:
        of_raw: share of the raw bytes.
        bytes_per_s: with one frame per interval of a moving layout.
        encode_ms, decode_ms: median of the frames.
        worst_error_units: of any coordinate, in layout units.
        worst_error_of_extent: the same as a share of the layout's extent.
    """

    frames: int
    bytes_per_frame: float
    bytes_per_node: float
    of_raw: float
    bytes_per_s: float
    encode_ms: float
    decode_ms: float
    worst_error_units: float
    worst_error_of_extent: float


class Encodings(Described):
    """The same frames in every encoding."""

    raw: EncodingMetrics
    lz4: EncodingMetrics
    compact: EncodingMetrics


class Bandwidth(Described):
    """What `vfctl bandwidth --json` prints.

    Attributes:
        source: the graph or recording.
        nodes: the largest number of nodes in a frame.
        rate_hz: frames per second that `bytes_per_s` is for.
        key_frames: of COMPACT.
        steps_per_extent: of COMPACT's newest grid.
        phases: a phase without frames is left out.
    """

    version: Literal["vfctl.bandwidth/1"] = Field(alias="schema")
    source: str
    nodes: int
    rate_hz: int
    key_frames: int
    steps_per_extent: float
    phases: dict[Literal["moving", "at_rest"], Encodings]


DOCUMENTS: Final[dict[str, type[Described]]] = {
    "loadtest": LoadtestResults,
    "ab": AbResults,
    "find": FindResults,
    "noise": NoiseScore,
    "compare": ComparisonDocument,
    "bandwidth": Bandwidth,
}
"""By the name that `vfctl schema` takes."""


def schema_of(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of one of `DOCUMENTS`."""
    schema = DOCUMENTS[name].model_json_schema(mode="serialization")
    title = schema["properties"]["schema"]["const"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
