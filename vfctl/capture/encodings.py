"""Compare the encodings on the same states: bytes, time and error, as one connection would get them."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np

from vfctl.capture.timeline import DecodedMessage
from vfctl.errors import InputError
from vfctl.protocol import (
    EDGE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    FullGraph,
    History,
    Nodes,
    PositionDecoder,
    PositionUpdate,
    View,
    decode,
    encode,
    positions_of,
)
from vfctl.protocol.compact import KEY

ENCODINGS: Final = ("raw", "lz4", "compact")
MOVING: Final = "moving"
AT_REST: Final = "at rest"
RATE_HZ: Final = 20
"""Frames per second of a moving layout, for bytes per second. A layout at rest is sent once per second."""

TICKS_PER_S: Final = 60
"""Ticks of the physics per second."""

_NO_EDGES: Final = np.zeros(0, EDGE_DTYPE)
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class SampledState:
    """A state as one frame would carry it.

    Attributes:
        time_s: seconds from the first.
        nodes: NODE_DTYPE [nodes].
        settled: whether the layout is stable.
    """

    time_s: float
    nodes: Nodes
    settled: bool


@dataclass(slots=True)
class _Use:
    """Bytes, times and errors of one encoding in one phase."""

    node_count: int = 0
    total_bytes: int = 0
    encode_ns: list[int] = field(default_factory=list)
    decode_ns: list[int] = field(default_factory=list)
    worst_error: float = 0.0
    worst_share: float = 0.0

    def to_json(self, raw: _Use) -> dict[str, Any]:
        frames = len(self.encode_ns)
        return {
            "frames": frames,
            "bytes_per_frame": self.total_bytes / frames,
            "bytes_per_node": self.total_bytes / max(1, self.node_count),
            "of_raw": self.total_bytes / frames / (raw.total_bytes / len(raw.encode_ns)),
            "bytes_per_s": RATE_HZ * self.total_bytes / frames,
            "encode_ms": statistics.median(self.encode_ns) / 1e6,
            "decode_ms": statistics.median(self.decode_ns) / 1e6,
            "worst_error_units": self.worst_error,
            "worst_error_of_extent": self.worst_share,
        }


class EncodingComparison:
    """Encodes states in every encoding and decodes them again. COMPACT is a connection without lost frames.

    Attributes:
        times_s: times of all frames.
        bytes_per_node: bytes per node of each frame, by encoding.
        key_frames: number of COMPACT key frames.
        steps_per_extent: steps of the newest COMPACT grid in the extent of the layout.
    """

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.bytes_per_node: dict[str, list[float]] = {name: [] for name in ENCODINGS}
        self.key_frames = 0
        self.steps_per_extent = 0.0
        self.nodes = 0
        self._uses = {phase: {name: _Use() for name in ENCODINGS} for phase in (MOVING, AT_REST)}
        self._ids: np.ndarray[Any, Any] | None = None
        self._last: Nodes | None = None

    def add(self, state: SampledState) -> None:
        """Measure one frame. The number of a state is its time in ticks of 1/60 s; it always grows."""
        nodes = state.nodes
        if self._ids is None or not np.array_equal(nodes["id"], self._ids):
            self._begin(nodes)
        self.times_s.append(state.time_s)
        uses = self._uses[AT_REST if state.settled else MOVING]
        positions = positions_of(nodes).astype(np.float64)
        finite = np.isfinite(positions).all(axis=0)
        extent = float(np.ptp(positions[:, finite], axis=1).max()) if finite.any() else 0.0
        plain, packed = PositionUpdate(nodes, state.settled), PositionUpdate(nodes, state.settled, None, True)
        encoders: dict[str, Callable[[], bytes]] = {
            "raw": lambda: encode(plain),
            "lz4": lambda: encode(packed),
            "compact": lambda: self._compact(state),
        }
        for name, encoder in encoders.items():
            encode_ns, buffer = _timed(encoder)
            decode_ns, message = _timed(lambda buffer=buffer: self._decoder.decode(decode(buffer)))  # type: ignore[misc]
            assert isinstance(message, PositionUpdate)
            use = uses[name]
            use.encode_ns.append(encode_ns)
            use.decode_ns.append(decode_ns)
            use.total_bytes += len(buffer)
            use.node_count += len(nodes)
            error = float(np.abs(positions_of(message.nodes) - positions).max(where=finite, initial=0.0))
            use.worst_error = max(use.worst_error, error)
            use.worst_share = max(use.worst_share, error / extent if extent else 0.0)
            self.bytes_per_node[name].append(len(buffer) / max(1, len(nodes)))
        self.key_frames = self._keys_before + self._encoder.key_frames
        self.steps_per_extent = extent / self._encoder.grid.step
        self._last = nodes

    def to_json(self) -> dict[str, Any]:
        """The metrics, one object per phase and encoding. A phase without frames is left out.

        Raises:
            InputError: no frame has been added.
        """
        phases = {phase: uses for phase, uses in self._uses.items() if all(use.encode_ns for use in uses.values())}
        if not phases:
            raise InputError("there are no positions to encode")
        return {
            "nodes": self.nodes,
            "rate_hz": RATE_HZ,
            "key_frames": self.key_frames,
            "steps_per_extent": self.steps_per_extent,
            "phases": {
                phase.replace(" ", "_"): {name: uses[name].to_json(uses["raw"]) for name in ENCODINGS}
                for phase, uses in phases.items()
            },
        }

    def _begin(self, nodes: Nodes) -> None:
        self._ids = nodes["id"].copy()
        self.nodes = max(self.nodes, len(nodes))
        self._keys_before = self.key_frames
        self._encoder, self._view = CompactEncoder(), View(nodes["id"])
        self._history: History | None = None
        self._decoder = PositionDecoder()
        self._decoder.decode(FullGraph(nodes, _NO_EDGES))
        self._last = None
        self._pushed_s = 0.0

    def _compact(self, state: SampledState) -> bytes:
        if self._last is None or not np.array_equal(self._last, state.nodes):
            ticks = round((state.time_s - self._pushed_s) * TICKS_PER_S)
            self._encoder.push(self._encoder.position + min(max(ticks, 1), KEY), positions_of(state.nodes))
            self._pushed_s = state.time_s
        section, self._history = self._encoder.section(self._view, self._history)
        return encode(CompactUpdate(self._view.count, section, state.settled))


def recorded_states(
    items: Iterable[DecodedMessage], on_another: Callable[[int, int], object] = lambda first, other: None
) -> Iterator[SampledState]:
    """The states of the first connection of a recording that has positions, in whatever encoding.

    Args:
        on_another: called once with both numbers if another connection has positions, too. Those are left out, because
            alternating states of two connections are not what one connection would get.
    """
    first: int | None = None
    told = False
    for item in items:
        if isinstance(item.message, PositionUpdate):
            first = item.connection if first is None else first
            if item.connection != first:
                if not told:
                    on_another(first, item.connection)
                told = True
                continue
            yield SampledState(item.time_s, item.message.nodes, item.message.settled)


def _timed(work: Callable[[], _Done]) -> tuple[int, _Done]:
    start_ns = time.perf_counter_ns()
    done = work()
    return time.perf_counter_ns() - start_ns, done


_COLOURS: Final = {"raw": "#9c755f", "lz4": "#4e79a7", "compact": "#e15759"}
_FAINT: Final = "#46506a"


def draw(comparison: EncodingComparison, title: str, out: BinaryIO, format: str) -> None:
    """Draw bytes per node over time, one line per encoding. The same numbers always give the same picture.

    Args:
        format: `png`, `svg` or `pdf`.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs that it builds its font cache
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for name in ENCODINGS:
        line = comparison.bytes_per_node[name]
        axes.plot(comparison.times_s, line, color=_COLOURS[name], label=name, linewidth=1.4)
    axes.set_yscale("log")
    axes.set_xlabel("s")
    axes.set_ylabel("bytes a node")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    rate = comparison.nodes * RATE_HZ / 1000

    def to_rate(per_node: Any) -> Any:
        return per_node * rate

    def to_bytes(per_s: Any) -> Any:
        return per_s / rate

    right = axes.secondary_yaxis("right", functions=(to_rate, to_bytes))
    right.set_ylabel(f"kB/s at {RATE_HZ} Hz", color=_FAINT)
    undated: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
    }
    with matplotlib.rc_context({"svg.hashsalt": "vfctl"}):
        figure.savefig(out, format=format, metadata=undated[format])
