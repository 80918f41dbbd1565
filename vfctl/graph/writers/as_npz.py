"""NPZ: positions and what belongs to them as columns, for `numpy.load`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from vfctl.graph.placed import PlacedGraph

log = logging.getLogger(__name__)

MAX_TEXT_BYTES: Final = 2**29
"""Of a column of texts in memory: numpy gives each as much room as the longest."""


def write_npz(placed: PlacedGraph, out: BinaryIO) -> None:
    """Columns with one entry a node: `ids` uint32; `positions` float32 [nodes, 3], units; `labels`, `kinds` and
    `file_ids` (the ids as the file has them) text; `depths` and `clusters` int32. `edges`: EDGE_DTYPE [edges], by
    `ids`. `at_rest` bool [], `steps` int64 []. Nothing is pickled."""
    graph, nodes = placed.graph, placed.nodes
    columns: dict[str, npt.NDArray[Any]] = {
        "ids": graph.ids,
        "positions": np.stack([nodes[axis] for axis in "xyz"], axis=1),
        "depths": graph.depths,
        "clusters": graph.clusters,
        "edges": graph.edges,
        "at_rest": np.array(placed.at_rest, np.bool_),
        "steps": np.array(placed.steps, np.int64),
    }
    file_ids = (text if isinstance(text, str) else json.dumps(text) for text in placed.file_ids())
    for name, texts in (("labels", graph.labels), ("kinds", graph.kinds), ("file_ids", file_ids)):
        column = _text_column(texts)
        if column is None:
            log.warning("%s are left out: one is so long that numpy would need gigabytes for the column", name)
        else:
            columns[name] = column
    np.savez_compressed(out, allow_pickle=False, **columns)


def _text_column(texts: Iterable[str]) -> npt.NDArray[np.str_] | None:
    listed = list(texts)
    if 4 * len(listed) * max(map(len, listed), default=0) > MAX_TEXT_BYTES:
        return None
    return np.array(listed, np.str_)
