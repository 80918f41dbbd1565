"""Pictures of recordings: what stands in them, and that they stay small."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from vfctl.capture import open_capture
from vfctl.capture.exporters.plot import MAX_NODES, CapturePlot
from vfctl.capture.selection import Selection, select
from vfctl.capture.timeline import decoded_items
from vfctl.errors import InputError
from vfctl.protocol import EDGE_DTYPE, FullGraph, Heartbeat, Metadata, PositionUpdate


def drawn(path: Path, format: str = "svg", nodes: tuple[str, ...] = ()) -> bytes:
    plot = CapturePlot(chosen=bool(nodes))
    plot.add_all(select(decoded_items(open_capture(path).runs()), Selection(nodes=nodes)))
    out = io.BytesIO()
    plot.draw(out, format, path.name)
    return out.getvalue()


@pytest.fixture
def recording(record: Callable[..., Path], make_nodes: Callable[..., Any]) -> Path:
    count = 30
    labels = tuple(f"label {number} <&$x$>" for number in range(count))
    graph = FullGraph(
        make_nodes(0, range(count)),
        np.zeros(0, EDGE_DTYPE),
        Metadata(labels, ("class",) * count, (0,) * count, (0,) * count),
    )
    return record([graph, *(PositionUpdate(make_nodes(x, range(count))) for x in range(60)), Heartbeat(1)])


def test_a_plot_names_its_nodes_and_axes(recording: Path) -> None:
    text = drawn(recording, nodes=("label 7 <&$x$>", "12")).decode()
    shown = re.findall(r">([^<>]+)</text>", text)
    assert "label 7 &lt;&amp;$x$&gt;" in shown
    assert "label 12 &lt;&amp;$x$&gt;" in shown
    assert not any(name.startswith("label 1 ") for name in shown)
    assert {"frame size, bytes", "interval between frames, ms", "time, s"} <= set(shown)
    assert any("60 frames" in name for name in shown)


def test_without_nodes_asked_for_a_few_are_taken(recording: Path) -> None:
    assert len(re.findall(r">label \d+ ", drawn(recording).decode())) == 6


def test_more_nodes_than_can_be_told_apart_are_not_drawn(recording: Path) -> None:
    asked = tuple(str(number) for number in range(30))
    assert len(re.findall(r">label \d+ ", drawn(recording, nodes=asked).decode())) == MAX_NODES


def test_the_same_recording_gives_the_same_picture(recording: Path) -> None:
    assert drawn(recording) == drawn(recording)
    pixels = imread(io.BytesIO(drawn(recording, "png")))
    assert pixels.shape[:2] == (910, 1820)
    assert pixels.std() > 0.02, "not one colour"


def test_a_long_recording_is_thinned_and_keeps_its_extremes(
    record: Callable[..., Path], make_nodes: Callable[..., Any]
) -> None:
    sizes = [3] * 9000
    sizes[4321] = 300
    path = record([PositionUpdate(make_nodes(0, range(size))) for size in sizes], "long.bin")
    plot = CapturePlot(chosen=False)
    plot.add_all(decoded_items(open_capture(path).runs()))
    times_s, least, most, mean = plot._sizes.columns()
    assert len(times_s) <= 2048
    assert (most.max(), least.min()) == (8 + 300 * 28, 8 + 3 * 28)
    assert mean.max() < most.max()
    assert all(len(trace.points()) <= 8193 for trace in plot._traces.values())


def test_nothing_to_plot_is_an_error(record: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="nothing to plot"):
        drawn(record([Heartbeat(1)]))


def test_places_that_are_not_finite_are_left_out(record: Callable[..., Path], make_nodes: Callable[..., Any]) -> None:
    updates = [PositionUpdate(make_nodes(x)) for x in (0, np.nan, np.inf, 3e38, 1)]
    assert drawn(record(updates), "png")
