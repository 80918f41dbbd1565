"""Bytes a node over time, one line an encoding."""

from __future__ import annotations

import logging
from typing import Any, BinaryIO, Final

from vfctl.capture.encodings import ENCODINGS, RATE_HZ, EncodingComparison

_COLOURS: Final = {"raw": "#9c755f", "lz4": "#4e79a7", "compact": "#e15759"}
_FAINT: Final = "#46506a"


def draw(comparison: EncodingComparison, title: str, out: BinaryIO, format: str) -> None:
    """Draw it. The same figures always give the same picture.

    Args:
        format: `png`, `svg` or `pdf`.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells that it builds its font cache
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
