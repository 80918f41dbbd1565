"""A projection of a graph in braille dots. Arrays in, arrays out.

A character cell is about twice as high as wide and holds 2 × 4 dots, so dots are about square.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

DOTS_ACROSS: Final = 2
DOTS_DOWN: Final = 4

NOTHING: Final = -1
"""Colour of an empty cell."""
EDGE: Final = -2
"""Colour of a cell with edges only."""

MAX_EDGE_DOTS: Final = 60_000
"""Edges that need more dots are not drawn, because it takes long and fills the canvas."""
FEW_EDGES: Final = 0.2
"""If edges need at most this share of the canvas, the nodes are still visible."""

_BLANK: Final = 0x2800
_BITS: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)
"""Of the dots in a cell, by row and column (Unicode 15, 21.1)."""

_MARGIN: Final = 0.04
_OUTLIERS_PERCENT: Final = 1.0
"""Share of nodes that may be outside the canvas, so that a node dragged far away does not shrink the others."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Canvas(NamedTuple):
    """How many cells there are to draw on."""

    columns: int
    rows: int

    @property
    def dots(self) -> tuple[int, int]:
        """Dots across and down."""
        return self.columns * DOTS_ACROSS, self.rows * DOTS_DOWN


class Camera(NamedTuple):
    """An orthographic camera.

    Attributes:
        centre: float32 [3], units, in the middle of the canvas.
        axes: float32 [3, 3], unit vectors that point to the right, up and towards the eye.
        radius: units from the middle to the nearer edge of the canvas.
    """

    centre: Floats
    axes: Floats
    radius: float


class Picture(NamedTuple):
    """What is drawn.

    Attributes:
        characters: uint32 [rows, columns], code points of braille patterns; a space where nothing is.
        colours: int64 [rows, columns], that of most nodes in the cell; or NOTHING, or EDGE.
    """

    characters: npt.NDArray[np.uint32]
    colours: Ints

    def lines(self) -> list[str]:
        """The characters, row by row."""
        return ["".join(map(chr, row)) for row in self.characters.tolist()]


def principal_axes(positions: Floats) -> Floats:
    """float32 [3, 3]: right is the direction in which the positions (float32 [nodes, 3]) vary most, up the second."""
    finite = positions[np.isfinite(positions).all(axis=1)].astype(np.float64)
    if len(finite) < 2:
        return np.eye(3, dtype=np.float32)
    finite -= finite.mean(axis=0)
    _, vectors = np.linalg.eigh(finite.T @ finite)
    right, up = vectors[:, 2], vectors[:, 1]
    # Eigenvectors have no sign: choose the one whose largest component is positive.
    right, up = (axis * (np.sign(axis[np.abs(axis).argmax()]) or 1.0) for axis in (right, up))
    return np.array([right, up, np.cross(right, up)], np.float32)


def turned(axes: Floats, yaw: float, pitch: float) -> Floats:
    """The axes after a rotation around the up axis, then around the right axis; radians."""
    across = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    over = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    return np.asarray(over @ across @ axes, np.float32)


def extent(positions: Floats) -> tuple[Floats, float]:
    """The centre of the positions (float32 [nodes, 3]), and how far all but the outliers are from it, units."""
    finite = positions[np.isfinite(positions).all(axis=1)]
    if not len(finite):
        return np.zeros(3, np.float32), 1.0
    centre = np.median(finite, axis=0).astype(np.float32)
    distances = np.linalg.norm(finite.astype(np.float64) - centre, axis=1)
    return centre, max(float(np.percentile(distances, 100 - _OUTLIERS_PERCENT)), 1e-6)


def project(positions: Floats, camera: Camera, canvas: Canvas) -> Floats:
    """float32 [nodes, 2]: the dots (across, down) on which the positions (float32 [nodes, 3], units) are seen, with
    fractions; those outside of the canvas and such that are not finite as they come."""
    across, down = canvas.dots
    per_unit = min(across, down) / 2 * (1 - _MARGIN) / camera.radius
    seen = (positions - camera.centre) @ camera.axes[:2].T * np.float32(per_unit)
    return np.asarray(seen * np.array([1, -1]) + np.array([across / 2, down / 2]), np.float32)


def draw(
    dots: Floats, colours: Ints, canvas: Canvas, edges: Ints | None = None, max_edge_dots: int = MAX_EDGE_DOTS
) -> Picture:
    """Nodes as dots, edges as lines of dots where no node is.

    Args:
        dots: float32 [nodes, 2], see `project`.
        colours: int64 [nodes], from 0.
        edges: int64 [edges, 2], indices of nodes.
        max_edge_dots: if edges take more, none is drawn.
    """
    at, inside = _whole(dots, canvas)
    set_dots = _set(at[inside], canvas)
    cells = at[inside, 1] // DOTS_DOWN * canvas.columns + at[inside, 0] // DOTS_ACROSS
    kinds = int(colours.max()) + 1 if len(colours) else 1
    counts = np.bincount(cells * kinds + colours[inside], minlength=canvas.columns * canvas.rows * kinds)
    by_cell = counts.reshape(canvas.rows, canvas.columns, kinds)
    taken = by_cell.any(axis=2)
    shown = np.where(taken, by_cell.argmax(axis=2), NOTHING)
    pattern = _pattern(set_dots, canvas)
    if edges is not None and len(edges):
        lines, within = _whole(_edge_dots(dots, edges, canvas, max_edge_dots), canvas)
        below = _pattern(_set(lines[within], canvas), canvas)
        pattern = np.where(taken, pattern, below)
        shown = np.where(~taken & (below != 0), EDGE, shown)
    characters = np.where(pattern == 0, ord(" "), _BLANK + pattern.astype(np.uint32)).astype(np.uint32)
    return Picture(characters, shown)


def cell_of(dot: Floats, canvas: Canvas) -> tuple[int, int] | None:
    """Row and column of the cell that a dot (float32 [2]) is in; None outside."""
    at, inside = _whole(dot[None, :], canvas)
    return (int(at[0, 1]) // DOTS_DOWN, int(at[0, 0]) // DOTS_ACROSS) if inside[0] else None


def _whole(dots: Floats, canvas: Canvas) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Whole numbers of dots (0 for those outside), and which are inside."""
    with np.errstate(invalid="ignore"):
        inside: npt.NDArray[np.bool_] = np.all((dots >= 0) & (dots < np.array(canvas.dots, np.float32)), axis=1)
    return np.where(inside[:, None], dots, 0).astype(np.int64), inside


def _set(at: Ints, canvas: Canvas) -> npt.NDArray[np.bool_]:
    across, down = canvas.dots
    there = np.zeros((down, across), np.bool_)
    there[at[:, 1], at[:, 0]] = True
    return there


def _pattern(there: npt.NDArray[np.bool_], canvas: Canvas) -> npt.NDArray[np.uint8]:
    """uint8 [rows, columns]: which dots of each cell are set."""
    blocks = there.reshape(canvas.rows, DOTS_DOWN, canvas.columns, DOTS_ACROSS)
    return np.asarray(np.einsum("rycx,yx->rc", blocks.astype(np.uint8), _BITS), np.uint8)


def _edge_dots(dots: Floats, edges: Ints, canvas: Canvas, most: int) -> Floats:
    """float32 [dots, 2] along the edges, a dot each, as far as they are inside; nothing if they are too many."""
    ends = dots[edges].astype(np.float64)
    ends = ends[np.isfinite(ends).all(axis=(1, 2))]
    begin, end = _clipped(ends[:, 0], ends[:, 1], np.array(canvas.dots, np.float64))
    steps = np.abs(end - begin).max(axis=1, initial=0.0).astype(np.int64) + 1
    if not len(steps) or steps.sum() > most:
        return np.zeros((0, 2), np.float32)
    along = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
    share = (along / np.repeat(steps, steps))[:, None]
    begin, end = np.repeat(begin, steps, axis=0), np.repeat(end, steps, axis=0)
    return np.asarray(begin + (end - begin) * share, np.float32)


def _clipped(begin: Doubles, end: Doubles, limits: Doubles) -> tuple[Doubles, Doubles]:
    """The parts of lines (float64 [lines, 2] each) from 0 to the limits, of those that have any (Liang-Barsky)."""
    way = end - begin
    with np.errstate(divide="ignore", invalid="ignore"):
        borders = np.stack([(0 - begin) / way, (limits - begin) / way])
    along = way == 0
    within = (begin >= 0) & (begin < limits)
    enters = np.where(along, np.where(within, 0.0, np.inf), borders.min(axis=0)).max(axis=1, initial=0.0)
    leaves = np.where(along, 1.0, borders.max(axis=0)).min(axis=1, initial=1.0)
    seen = enters <= leaves
    begin, way, enters, leaves = begin[seen], way[seen], enters[seen, None], leaves[seen, None]
    return begin + way * enters, begin + way * leaves
