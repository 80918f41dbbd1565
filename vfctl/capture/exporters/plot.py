"""A picture of a recording: trajectories of some nodes, frame sizes and intervals over time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from vfctl.capture.exporters.records import node_records
from vfctl.capture.timeline import DecodedMessage, DecodedRun, Item
from vfctl.errors import InputError
from vfctl.protocol import FullGraph

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NODES: Final = 20
"""Most trajectories in one picture. More would be indistinguishable."""
_UNASKED_NODES: Final = 6
_MAX_POINTS: Final = 4096
"""Points of a trajectory. At twice as many, every other one is dropped."""
_MAX_STRETCHES: Final = 1024
"""Intervals of a curve over time. At twice as many, neighbours are merged."""

_DPI: Final = 130
_BACKGROUND: Final = "#fbfbfd"
_INK: Final = "#46506a"
_SIZES: Final = "#4e79a7"
_INTERVALS: Final = "#e15759"


class CapturePlot:
    """Collects what is drawn, in bounded memory.

    Args:
        chosen: whether all nodes are drawn, because they were selected; else a few of them are.
    """

    def __init__(self, *, chosen: bool) -> None:
        self._most = MAX_NODES if chosen else _UNASKED_NODES
        self._chosen = chosen
        self._labels: dict[int, str] = {}
        self._traces: dict[int, _Trace] = {}
        self._left_out: set[int] = set()
        self._sizes = _Curve()
        self._intervals = _Curve()
        self._latest_s: dict[int, float] = {}
        self._messages = 0

    def add_all(self, items: Iterator[Item]) -> None:
        """Add the selected items.

        Raises:
            VfctlError: as for iterating `items`. What was added before can be drawn.
        """
        for item in items:
            if isinstance(item, DecodedRun):
                frames = zip(item.times_s.tolist(), item.nodes, strict=True)
                for time_s, nodes in frames:
                    self._add_update(item.connection, time_s, item.bytes, nodes)
            else:
                self._add_message(item)

    def _add_message(self, item: DecodedMessage) -> None:
        message = item.message
        if isinstance(message, FullGraph):
            if message.metadata:
                self._labels.update(zip(message.nodes["id"].tolist(), message.metadata.label, strict=True))
            self._follow(item.time_s, message.nodes)
            return
        records = node_records(item)
        if records is not None:
            self._add_update(item.connection, item.time_s, item.bytes, records.array)

    def _add_update(self, connection: int, time_s: float, message_bytes: int, nodes: npt.NDArray[np.void]) -> None:
        self._messages += 1
        self._sizes.add(time_s, message_bytes)
        if connection in self._latest_s:
            self._intervals.add(time_s, (time_s - self._latest_s[connection]) * 1000)
        self._latest_s[connection] = time_s
        self._follow(time_s, nodes)

    def _follow(self, time_s: float, nodes: npt.NDArray[np.void]) -> None:
        if not self._traces and len(nodes):
            places = range(len(nodes)) if self._chosen else _spread(len(nodes), self._most)
            for place in places:
                if len(self._traces) < self._most:
                    self._traces[int(nodes["id"][place])] = _Trace()
        for node_id, trace in self._traces.items():
            place = trace.place
            if place >= len(nodes) or nodes["id"][place] != node_id:
                found = np.flatnonzero(nodes["id"] == node_id)
                if not len(found):
                    continue
                place = trace.place = int(found[0])
            node = nodes[place]
            trace.add((time_s, float(node["x"]), float(node["y"]), float(node["z"])))

    def draw(self, out: BinaryIO, format: str, title: str) -> None:
        """Draw it. The same recording always gives the same picture.

        Args:
            format: as `vfctl.graph.picture.picture_format` returns it.

        Raises:
            InputError: there was nothing to draw.
        """
        if not self._messages and not self._traces:
            raise InputError("nothing to plot: no positions in what was chosen of the recording")
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs that it builds its font cache
        import matplotlib
        from matplotlib.figure import Figure

        figure = Figure(figsize=(14, 7), dpi=_DPI, layout="constrained")
        figure.set_facecolor(_BACKGROUND)
        grid = figure.add_gridspec(2, 2, width_ratios=(1.1, 1))
        self._draw_traces(figure.add_subplot(grid[:, 0]))
        sizes, intervals = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
        _draw_curve(sizes, self._sizes, _SIZES, "frame size, bytes")
        _draw_curve(intervals, self._intervals, _INTERVALS, "interval between frames, ms")
        intervals.set_xlabel("time, s")
        sizes.sharex(intervals)
        # A label is foreign text, in which `$` would begin a formula.
        figure.suptitle(f"{title}: {self._messages:,} frames", fontsize=11, color=_INK, parse_math=False)
        undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
        with matplotlib.rc_context({"svg.hashsalt": "vfctl", "svg.fonttype": "none"}):
            figure.savefig(out, format=format, metadata=undated[format], facecolor=_BACKGROUND)

    def _draw_traces(self, axes: Axes) -> None:
        from matplotlib import colormaps

        axes.set_aspect("equal", adjustable="datalim")
        names = self._axes_shown()
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1])
        _tidy(axes)
        colours = colormaps["tab20" if len(self._traces) > 10 else "tab10"]
        for number, (node_id, trace) in enumerate(self._traces.items()):
            points = trace.points()
            if not len(points):
                continue
            first, second = ("xyz".index(name) + 1 for name in names)
            colour = colours(number)
            label = self._labels.get(node_id, f"node {node_id}").replace("$", r"\$")
            axes.plot(points[:, first], points[:, second], color=colour, linewidth=1.1, label=label)
            axes.plot(points[0, first], points[0, second], "o", color=_BACKGROUND, markeredgecolor=colour, markersize=5)
            axes.plot(points[-1, first], points[-1, second], "o", color=colour, markersize=6)
        axes.set_title("trajectories (ring: first, dot: last)", fontsize=10, color=_INK)
        if self._traces:
            axes.legend(fontsize=8, framealpha=0.8, edgecolor="none", loc="best")

    def _axes_shown(self) -> str:
        """The two axes with the greatest extent."""
        traces = [trace.points() for trace in self._traces.values()]
        points = np.concatenate([points for points in traces if len(points)]) if any(map(len, traces)) else None
        if points is None:
            return "xy"
        with np.errstate(invalid="ignore", over="ignore"):
            spread = np.nan_to_num(points[:, 1:].max(axis=0) - points[:, 1:].min(axis=0))
        return "".join("xyz"[axis] for axis in sorted(np.argsort(-spread, kind="stable")[:2]))


def _spread(count: int, most: int) -> list[int]:
    places: list[int] = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()
    return places


@dataclass(slots=True)
class _Trace:
    """Trajectory of one node: at most twice _MAX_POINTS points."""

    place: int = 0
    _points: list[tuple[float, ...]] = field(default_factory=list)
    _stride: int = 1
    _count: int = 0
    _last: tuple[float, ...] | None = None

    def add(self, point: tuple[float, ...]) -> None:
        self._last = point
        if self._count % self._stride == 0:
            self._points.append(point)
            if len(self._points) >= 2 * _MAX_POINTS:
                self._points = self._points[::2]
                self._stride *= 2
        self._count += 1

    def points(self) -> npt.NDArray[np.float64]:
        """float64 [points, 4]: time, x, y, z; only finite points."""
        points = [*self._points, self._last] if self._last else self._points
        array = np.array(points, np.float64).reshape(-1, 4)
        finite: npt.NDArray[np.float64] = array[np.isfinite(array).all(axis=1)]
        return finite


@dataclass(slots=True)
class _Curve:
    """A value over time, in at most twice _MAX_STRETCHES intervals: start, least, greatest, sum and count of each."""

    _stretches: list[tuple[float, float, float, float, int]] = field(default_factory=list)
    _per_stretch: int = 1

    def add(self, time_s: float, value: float) -> None:
        stretches = self._stretches
        if stretches and stretches[-1][4] < self._per_stretch:
            start_s, least, most, total, count = stretches[-1]
            stretches[-1] = (start_s, min(least, value), max(most, value), total + value, count + 1)
            return
        if len(stretches) >= 2 * _MAX_STRETCHES:
            pairs = zip(stretches[::2], stretches[1::2], strict=True)
            stretches[:] = [(a[0], min(a[1], b[1]), max(a[2], b[2]), a[3] + b[3], a[4] + b[4]) for a, b in pairs]
            self._per_stretch *= 2
        stretches.append((time_s, value, value, value, 1))

    def columns(self) -> npt.NDArray[np.float64]:
        """float64 [4, stretches]: start, least, most and mean."""
        rows = [(start_s, least, most, total / count) for start_s, least, most, total, count in self._stretches]
        return np.array(rows, np.float64).reshape(-1, 4).T


def _draw_curve(axes: Axes, curve: _Curve, colour: str, name: str) -> None:
    times_s, least, most, mean = curve.columns()
    axes.fill_between(times_s, least, most, color=colour, alpha=0.25, linewidth=0, step="post")
    style: dict[str, Any] = {"marker": "o", "markersize": 3} if len(times_s) < 60 else {}
    axes.plot(times_s, mean, color=colour, linewidth=1, **style)
    axes.set_ylabel(name)
    top = float(most.max()) * 1.1 if len(most) else 1.0
    axes.set_ylim(0, top if top > 0 and np.isfinite(top) else 1.0)
    axes.ticklabel_format(style="plain", axis="y", useOffset=False)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.set_facecolor(_BACKGROUND)
    axes.grid(color=_INK, alpha=0.12, linewidth=0.6)
    axes.tick_params(colors=_INK, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
