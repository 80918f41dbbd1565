"""A picture of a layout along its shortest axis, with nodes in the colours of their clusters or kinds."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from vfctl.errors import MissingError, UsageError
from vfctl.graph.analysis import degrees
from vfctl.graph.layout_file import PlacedGraph

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS: Final = ("png", "svg", "pdf")

_SIDE_INCHES: Final = 10.0
_DPI: Final = 200
_LEGEND_ROWS: Final = 12
_BACKGROUND: Final = "#fbfbfd"
_EDGES: Final = "#46506a"
_REST: Final = "#b4b9c4"
# Tableau's ten colours, then the lighter ones: neighbours in the list are easy to distinguish.
_COLOURS: Final = (
    "#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#2f4b7c",
    "#a0cbe8", "#ffbe7d", "#ff6f69", "#a5d8d3", "#8cd17d", "#d4a6c8", "#d7b5a6", "#7f9fc6", "#b6992d", "#499894",
)  # fmt: skip


def picture_format(path: PurePath) -> str:
    """One of FORMATS, by the extension.

    Raises:
        UsageError: another extension.
        MissingError: matplotlib is not installed.
    """
    extension = path.suffix.lower().removeprefix(".")
    if extension not in FORMATS:
        raise UsageError(f"{path}: a picture is one of {', '.join(f'.{name}' for name in FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingError("pictures need matplotlib, which is not installed", hint="pip install 'vfctl[plot]'")
    return extension


def draw(placed: PlacedGraph, out: BinaryIO, format: str) -> None:
    """Draw the graph. The same layout always gives the same picture.

    Args:
        format: one of FORMATS, as `picture_format` returned it.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs that it builds its font cache
    import matplotlib
    from matplotlib.figure import Figure

    places = principal_axes(placed)
    low, high = places[:, :2].min(axis=0), places[:, :2].max(axis=0)
    width, height = np.maximum(high - low, 1e-6)
    # At most as wide as a sheet of paper in landscape, however flat the layout is.
    figure = Figure(figsize=(_SIDE_INCHES, _SIDE_INCHES * float(np.clip(height / width, 0.6, 1.0))), dpi=_DPI)
    figure.set_facecolor(_BACKGROUND)
    axes = figure.add_axes((0.02, 0.04, 0.96, 0.94))
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    _draw_edges(axes, placed, places)
    _draw_nodes(axes, placed, places)
    axes.margins(0.03)
    figure.text(0.02, 0.015, caption(placed), fontsize=8, color=_EDGES)
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with matplotlib.rc_context({"svg.hashsalt": "vfctl", "path.simplify": True}):
        figure.savefig(out, format=format, metadata=undated[format], facecolor=_BACKGROUND)


def caption(placed: PlacedGraph) -> str:
    """Its size, and whether it is at rest."""
    how = "at rest" if placed.at_rest else "not at rest"
    return f"{len(placed.graph):,} nodes, {len(placed.graph.edges):,} edges; {how} after {placed.steps:,} steps"


def principal_axes(placed: PlacedGraph) -> npt.NDArray[np.float64]:
    """Positions along the principal axes, the longest first; float64 [nodes, 3], centred. The outermost node of each
    axis is on its positive side."""
    positions = np.stack([placed.nodes[axis] for axis in "xyz"], axis=1).astype(np.float64)
    positions -= positions.mean(axis=0)
    _, axes = np.linalg.eigh(positions.T @ positions)  # ascending
    places: npt.NDArray[np.float64] = positions @ axes[:, ::-1]
    furthest = places[np.abs(places).argmax(axis=0), np.arange(3)]
    return places * np.where(furthest < 0, -1.0, 1.0)


def _draw_edges(axes: Axes, placed: PlacedGraph, places: npt.NDArray[np.float64]) -> None:
    from matplotlib.collections import LineCollection

    ends = placed.graph.edge_indices()
    # The more edges, the fainter each one is, so that bundles of edges stand out.
    alpha = float(np.clip(12.0 / np.sqrt(len(ends) + 1), 0.03, 0.5))
    width = float(np.clip(20.0 / np.sqrt(len(ends) + 1), 0.15, 0.9))
    lines = LineCollection(places[ends][:, :, :2], colors=_EDGES, linewidths=width, alpha=alpha, zorder=1)  # type: ignore[arg-type]
    lines.set_rasterized(len(ends) > 20_000)  # no viewer opens an SVG of a hundred thousand lines
    axes.add_collection(lines)


def _draw_nodes(axes: Axes, placed: PlacedGraph, places: npt.NDArray[np.float64]) -> None:
    graph = placed.graph
    names, numbers = groups(placed)
    degree = degrees(len(graph), graph.edge_indices())
    size = float(np.clip(20_000 / len(graph), 0.6, 70))
    sizes = size * np.clip(np.sqrt((degree + 1) / (degree.mean() + 1)), 0.5, 5)
    order = np.argsort(places[:, 2], kind="stable")  # nodes in front are drawn last
    colours = np.array([*_COLOURS[: len(names)], *[_REST] * (len(names) - len(_COLOURS))])[numbers]
    axes.scatter(
        places[order, 0],
        places[order, 1],
        s=sizes[order],
        c=list(colours[order]),
        edgecolors=_BACKGROUND,
        linewidths=0.4 if len(graph) <= 3000 else 0,
        zorder=2,
        rasterized=len(graph) > 20_000,
    )
    if len(names) > 1:
        _draw_legend(axes, names, np.bincount(numbers).tolist())


def _draw_legend(axes: Axes, names: list[str], counts: list[int]) -> None:
    from matplotlib.lines import Line2D

    shown = min(len(names), _LEGEND_ROWS)
    style: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 6, "markeredgewidth": 0}
    entries = [
        Line2D([], [], color=_COLOURS[row], label=f"{names[row]} ({counts[row]:,})", **style) for row in range(shown)
    ]
    if shown < len(names):
        entries.append(Line2D([], [], color="none", label=f"and {len(names) - shown} more", **style))
    axes.legend(handles=entries, loc="upper right", fontsize=8, frameon=True, framealpha=0.7, edgecolor="none")


def groups(placed: PlacedGraph) -> tuple[list[str], npt.NDArray[np.intp]]:
    """The groups that colours stand for: clusters, or kinds if there is one cluster.

    Returns:
        The names, the largest group first, and the group of each node, intp [nodes].
    """
    graph = placed.graph
    by_cluster = len(np.unique(graph.clusters)) > 1
    values = graph.clusters if by_cluster else np.array(graph.kinds)
    found, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    names = [f"cluster {value}" if by_cluster else str(value) for value in found[order].tolist()]
    return names, rank[inverse]
