"""The display of `vfctl watch`: metrics and a drawing of the graph on a terminal, elsewhere a line at intervals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from vfctl.quantities import format_byte_rate, format_count
from vfctl.terminal.live_display import LiveDisplay, sparkline
from vfctl.terminal.projection import EDGE, NOTHING, Canvas, Picture
from vfctl.terminal.watch_metrics import Latency, WatchMetrics
from vfctl.terminal.watch_scene import WatchedScene

REDRAWS_PER_S: Final = 10
ROTATIONS_PER_S: Final = 5
"""Redraws while the camera rotates and no message arrives."""
PLAIN_PERIOD_S: Final = 5.0
KEYS: Final = "arrows turn, space stops, + - zoom, c colours, e edges, 0 start, q quits"

_MANY_ROWS: Final = 12
_SPARKS: Final = 40

# Of medium lightness, so that they are visible on white and on black. Rich finds the nearest of 16 or 256 colours.
# The last one is for all further groups.
_PALETTE: Final = (
    *("#e69f00", "#4aa3df", "#00a878", "#e0563b", "#c76bb0"),
    *("#8a7ff0", "#b3a000", "#5fb04a", "#b5793a", "#2bb5c0", "#8a8f98"),
)
_STYLES: Final = [Style(color=colour) for colour in _PALETTE]
_EDGE: Final = Style(color="#8a8f98", dim=True)
_PLAIN: Final = Style()
_MARK: Final = Style(bold=True, reverse=True)

_LIGHTS: Final = {"Connected": "green", "Connecting": "yellow", "Reconnecting": "yellow", "Disconnected": "red"}


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """State of the connection.

    Attributes:
        url: what is connected to.
        state: of the life cycle, its name.
        reason: why it was last lost or not opened; empty while it is well.
        retries, retry_in_s: of the attempts that go on; seconds until the next, None if there is none to wait for.
        reconnects: how often it was opened again.
    """

    url: str
    encoding: str
    state: str
    reason: str = ""
    retries: int = 0
    retry_in_s: float | None = None
    reconnects: int = 0


class Drawing:
    """A picture as Rich prints it: cells of one colour in a row are one segment."""

    def __init__(self, picture: Picture, marked: list[tuple[int, int]]) -> None:
        self._picture = picture
        self._marked = marked

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks: dict[int, list[int]] = {}
        for row, column in self._marked:
            marks.setdefault(row, []).append(column)
        colours = self._picture.colours.tolist()
        for number, line in enumerate(self._picture.lines()):
            styles = [_style(colour) for colour in colours[number]]
            for column in marks.get(number, ()):
                styles[column] = _MARK
            at = 0
            for style, run in groupby(styles):
                length = len(list(run))
                yield Segment(line[at : at + length], style)
                at += length
            yield Segment.line()


class WatchDisplay(LiveDisplay):
    """Draws on a terminal, or prints lines.

    Args:
        has_keys: whether keys are read, so that a user can rotate the graph.
    """

    def __init__(self, console: Console, metrics: WatchMetrics, scene: WatchedScene, *, has_keys: bool = False) -> None:
        super().__init__(console, whole_screen=True)
        self.has_keys = has_keys
        self._metrics = metrics
        self._scene = scene
        self._drawn_s = 0.0
        self._size = (0, 0)

    @property
    def is_drawn(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._console.is_terminal

    def show(self, status: ConnectionStatus, now_s: float) -> None:
        """Redraw if it is time to and something is new; may be called at any rate.

        Args:
            now_s: monotonic.
        """
        if not self._console.is_terminal:
            if now_s >= self._next_s:
                if self._next_s:
                    self._console.print(plain_line(self._metrics, status, now_s), markup=False)
                self._next_s = now_s + PLAIN_PERIOD_S
            return
        size = self._console.size
        elapsed_s = now_s - self._drawn_s if self._drawn_s else 0.0
        period_s = 1.0
        if self._scene.changed or size != self._size:
            period_s = 1 / REDRAWS_PER_S
        elif self._scene.rotates:
            period_s = 1 / ROTATIONS_PER_S
        if self._drawn_s and elapsed_s < period_s * 0.95:
            return
        self._drawn_s, self._size = now_s, size
        self._scene.advance(elapsed_s)
        self._live.update(self.screen(status, now_s, size.width, size.height), refresh=True)

    def screen(self, status: ConnectionStatus, now_s: float, width: int, height: int) -> Screen:
        """Everything that is drawn, for a terminal of this many columns and rows."""
        above = [connection_line(status, self._metrics), metrics_line(self._metrics, now_s)]
        below: list[Text] = []
        if height >= _MANY_ROWS:
            above.append(history_line(self._metrics, now_s, width))
            below.append(legend_line(self._scene))
            if self.has_keys:
                below.append(Text(KEYS, style="dim"))
        rows = height - len(above) - len(below)
        if self._scene.selections and rows > 1:
            above.append(selections_line(self._scene))
            rows -= 1
        drawing = Drawing(*self._scene.picture(Canvas(width, rows))) if rows > 0 and width > 0 else None
        return Screen(above, drawing, below)


class Screen:
    """Lines above, the drawing, lines below; lines that are too long end in an ellipsis."""

    def __init__(self, above: list[Text], drawing: Drawing | None, below: list[Text]) -> None:
        self._above = above
        self._drawing = drawing
        self._below = below

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._lines(self._above)
        if self._drawing is not None:
            yield self._drawing
        yield from self._lines(self._below)

    def _lines(self, lines: list[Text]) -> list[Text]:
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return lines


def connection_line(status: ConnectionStatus, metrics: WatchMetrics) -> Text:
    """The server and the state of the connection."""
    line = Text.assemble(
        ("● ", _LIGHTS.get(status.state, "")), (state_of(status), "bold"), f"  {status.url}  {status.encoding}"
    )
    if metrics.settled is not None:
        interval = "" if metrics.interval_ms is None else f", every {metrics.interval_ms:,.0f} ms"
        line.append(f" · {'settled' if metrics.settled else 'active'}{interval}")
    if status.reconnects:
        line.append(f" · {status.reconnects} reconnect{'s' if status.reconnects > 1 else ''}")
    return line


def state_of(status: ConnectionStatus) -> str:
    """The state of the connection; while it is lost, with the reason and the next retry."""
    if status.retry_in_s is not None:
        return f"{status.state} in {status.retry_in_s:.1f} s, retry {status.retries} ({status.reason})"
    return (
        f"{status.state}, retry {status.retries}" if status.state == "Connecting" and status.retries else status.state
    )


def metrics_line(metrics: WatchMetrics, now_s: float) -> Text:
    """Latency, rates and size of the graph; the most important first, for narrow terminals."""
    return Text.assemble(
        "latency ",
        (_latency(metrics.latency(now_s)), "bold"),
        f" · {_rates(metrics, now_s)} · {metrics.gaps:,} gaps · {metrics.nodes:,} nodes, {metrics.edges:,} edges",
    )


def history_line(metrics: WatchMetrics, now_s: float, width: int) -> Text:
    """The last minute, second by second."""
    latencies, sizes = metrics.latency_by_second(now_s), metrics.bytes_by_second(now_s)
    largest_ms = max((each for each in latencies if each is not None), default=None)
    largest_size = max((each for each in sizes if each is not None), default=0.0)
    up_to = "" if largest_ms is None else f" to {largest_ms:.1f} ms"
    captions = ("last minute: P95", f"{up_to}  bytes ", f" to {format_byte_rate(largest_size)}")
    bars = max(0, min(_SPARKS, (width - sum(map(len, captions)) - 1) // 2))
    return Text.assemble(
        (f"{captions[0]} ", "dim"),
        sparkline(latencies, bars),
        (captions[1], "dim"),
        sparkline(sizes, bars),
        (captions[2], "dim"),
    )


def selections_line(scene: WatchedScene) -> Text:
    """The selections of other clients."""
    chosen = [f"{each.label or each.node_id} (by {each.client})" for each in reversed(scene.selections)]
    return Text.assemble((" selected ", "reverse"), " " + ", ".join(chosen[:20]))


def legend_line(scene: WatchedScene) -> Text:
    """What the colours mean."""
    if not scene.groups:
        return Text("")
    line = Text(f"{scene.by}: ", style="dim")
    for group in scene.groups:
        line.append("● ", _STYLES[group.colour])
        line.append(f"{group.name}  ")
    return line


def plain_line(metrics: WatchMetrics, status: ConnectionStatus, now_s: float) -> str:
    """All metrics in a line."""
    interval = "?" if metrics.interval_ms is None else f"{metrics.interval_ms:g} ms"
    layout = {None: "no positions yet", True: "settled", False: "active"}[metrics.settled]
    lost = f" · {metrics.gaps:,} gaps" + (f", {status.reconnects} reconnects" if status.reconnects else "")
    return (
        f"{state_of(status)} · {metrics.nodes:,} nodes, {metrics.edges:,} edges, {layout} · {_rates(metrics, now_s)} · "
        f"every {interval} · latency {_latency(metrics.latency(now_s))}{lost}"
    )


def last_line(metrics: WatchMetrics, watched_s: float) -> str:
    """Totals of the whole time."""
    layout = {None: "no positions came", True: "settled in the end", False: "active to the end"}[metrics.settled]
    return (
        f"watched {metrics.nodes:,} nodes, {metrics.edges:,} edges for {watched_s:.1f} s: "
        f"{format_count(metrics.updates, 'update')}, {format_count(metrics.gaps, 'gap')}, {layout} · "
        f"latency {_latency(metrics.total_latency())}"
    )


def _rates(metrics: WatchMetrics, now_s: float) -> str:
    updates, size = metrics.updates_per_s(now_s), metrics.bytes_per_s(now_s)
    return (
        "– updates/s, – B/s"
        if updates is None or size is None
        else f"{updates:.1f} updates/s, {format_byte_rate(size)}"
    )


def _latency(latency: Latency | None) -> str:
    return "–" if latency is None else f"P50 {latency.p50_ms:.2f} ms, P95 {latency.p95_ms:.2f} ms"


def _style(colour: int) -> Style:
    if colour == NOTHING:
        return _PLAIN
    return _EDGE if colour == EDGE else _STYLES[min(colour, len(_STYLES) - 1)]
