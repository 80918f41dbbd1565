"""The graph that `vfctl watch` draws: positions, colours, selections and the camera."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

import numpy as np

from vfctl.protocol import FullGraph, Message, Notice, PositionUpdate
from vfctl.terminal.projection import (
    EDGE,
    FEW_EDGES,
    MAX_EDGE_DOTS,
    Camera,
    Canvas,
    Floats,
    Ints,
    Picture,
    cell_of,
    draw,
    extent,
    principal_axes,
    project,
    turned,
)

COLOURS: Final = 10
"""This many groups have their own colour; all others share the next one."""

TURN_S: Final = 90.0
"""Time of one full rotation."""
STEP: Final = math.radians(10)
MAX_PITCH: Final = math.radians(85)
ZOOM: Final = 1.25

FOLLOW: Final = 0.15
"""Share of a change of the graph's extent that one frame follows, so that the drawing does not jump."""


class Group(NamedTuple):
    """Nodes of one colour.

    Attributes:
        colour: its number.
        name: what they have in common.
    """

    colour: int
    name: str


class Selected(NamedTuple):
    """The selection of a client.

    Attributes:
        client: the number that the server gave it.
        node_id: which node.
        label: its label, if it is known.
    """

    client: int
    node_id: int
    label: str


class WatchedScene:
    """Consumes messages and keys, and draws frames.

    Attributes:
        by: what colours stand for: `cluster`, `kind` or `depth`.
        rotates: whether the camera rotates.
        shows_edges: whether edges are drawn; None: where they are few.
        changed: a message or a key has changed something since the last frame.
    """

    BY: Final = ("cluster", "kind", "depth")

    def __init__(self) -> None:
        self.by = self.BY[0]
        self.rotates = True
        self.shows_edges: bool | None = None
        self._edges_drawn = False
        self.changed = True
        self._positions: Floats = np.zeros((0, 3), np.float32)
        self._edges: Ints = np.zeros((0, 2), np.int64)
        self._index_of: dict[int, int] = {}
        self._graph: FullGraph | None = None
        self._colours: Ints = np.zeros(0, np.int64)
        self._groups: list[Group] = []
        self._selections: dict[int, int] = {}
        self._axes: Floats | None = None
        self._yaw = self._pitch = 0.0
        self._zoom = 1.0
        self._centre: Floats = np.zeros(3, np.float32)
        self._radius = 0.0

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def groups(self) -> list[Group]:
        """The groups that have a colour, the largest first (depths in order)."""
        return self._groups

    @property
    def selections(self) -> list[Selected]:
        """The selections of all clients, oldest first."""
        labels = self._graph.metadata.label if self._graph is not None and self._graph.metadata else ()
        return [
            Selected(client, node_id, labels[self._index_of[node_id]] if labels and node_id in self._index_of else "")
            for client, node_id in self._selections.items()
        ]

    def on_message(self, message: Message) -> None:
        """Apply a message. Updates must be decoded to positions (see `PositionDecoder`)."""
        match message:
            case FullGraph():
                self._set_graph(message)
            case PositionUpdate() if len(message.nodes) == len(self._index_of):
                self._positions = _positions(message)
            case Notice(body={"notice": "selection", "client": int(client), "node_id": node_id}):
                self._selections.pop(client, None)
                if isinstance(node_id, int):
                    self._selections[client] = node_id
            case _:
                return
        self.changed = True

    def reconnected(self) -> None:
        """Forget the selections: the server numbers clients anew."""
        self._selections.clear()

    def on_key(self, key: bytes) -> None:
        """Apply a key: one byte, or the bytes of an arrow."""
        match key:
            case b" ":
                self.rotates = not self.rotates
            case b"c":
                self.by = self.BY[(self.BY.index(self.by) + 1) % len(self.BY)]
                self._colour()
            case b"e":
                self.shows_edges = not self._edges_drawn
            case b"0":
                self._yaw = self._pitch = 0.0
                self._zoom = 1.0
                self._axes, self._radius = None, 0.0
            case b"+" | b"=":
                self._zoom = min(self._zoom * ZOOM, 100.0)
            case b"-":
                self._zoom = max(self._zoom / ZOOM, 0.1)
            case b"\x1b[C" | b"\x1bOC":
                self._yaw += STEP
            case b"\x1b[D" | b"\x1bOD":
                self._yaw -= STEP
            case b"\x1b[A" | b"\x1bOA":
                self._pitch = min(self._pitch + STEP, MAX_PITCH)
            case b"\x1b[B" | b"\x1bOB":
                self._pitch = max(self._pitch - STEP, -MAX_PITCH)
            case _:
                return
        self.changed = True

    def advance(self, elapsed_s: float) -> None:
        """Advance the rotation by this time."""
        if self.rotates:
            self._yaw += elapsed_s / TURN_S * math.tau

    def picture(self, canvas: Canvas) -> tuple[Picture, list[tuple[int, int]]]:
        """The current frame, and the cells (row, column) of selected nodes."""
        self.changed = False
        centre, radius = extent(self._positions)
        follow = FOLLOW if self._radius else 1.0
        self._centre = self._centre + (centre - self._centre) * np.float32(follow)
        self._radius += (radius - self._radius) * follow
        if self._axes is None:
            self._axes = principal_axes(self._positions)
        camera = Camera(self._centre, turned(self._axes, self._yaw, self._pitch), self._radius / self._zoom)
        dots = project(self._positions, camera, canvas)
        across, down = canvas.dots
        most = MAX_EDGE_DOTS if self.shows_edges else int(across * down * FEW_EDGES)
        picture = draw(dots, self._colours, canvas, None if self.shows_edges is False else self._edges, most)
        self._edges_drawn = bool((picture.colours == EDGE).any())
        marked = [self._index_of[node_id] for node_id in self._selections.values() if node_id in self._index_of]
        return picture, [cell for index in marked if (cell := cell_of(dots[index], canvas)) is not None]

    def _set_graph(self, graph: FullGraph) -> None:
        self._graph = graph
        ids = graph.nodes["id"]
        self._index_of = {node_id: index for index, node_id in enumerate(ids.tolist())}
        self._positions = _positions(graph)
        order = np.argsort(ids)
        ends = np.stack([graph.edges["source"], graph.edges["target"]], axis=1)
        self._edges = order[np.searchsorted(ids, ends, sorter=order)].astype(np.int64).reshape(-1, 2)
        self._colour()

    def _colour(self) -> None:
        metadata = self._graph.metadata if self._graph is not None else None
        if metadata is None:
            self._colours, self._groups = np.zeros(len(self._positions), np.int64), []
            return
        values: Sequence[Hashable] = getattr(metadata, self.by)
        ranked = sorted(set(values)) if self.by == "depth" else [each for each, _ in Counter(values).most_common()]  # type: ignore[type-var]
        rank = {value: min(number, COLOURS) for number, value in enumerate(ranked)}
        self._colours = np.array([rank[value] for value in values], np.int64)
        self._groups = [Group(number, str(value)) for number, value in enumerate(ranked[:COLOURS])]
        if len(ranked) > COLOURS:
            self._groups.append(Group(COLOURS, f"{len(ranked) - COLOURS} more"))


def _positions(message: FullGraph | PositionUpdate) -> Floats:
    return np.stack([message.nodes[axis] for axis in "xyz"], axis=1)
