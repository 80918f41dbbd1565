import io

import numpy as np
import pytest
from rich.console import Console

from vfctl.graph import build_graph, to_full_graph
from vfctl.protocol import NODE_DTYPE, Notice, PositionUpdate, Trailer
from vfctl.terminal.live_display import split_keys
from vfctl.terminal.watch_display import ConnectionStatus, WatchDisplay, last_line, plain_line
from vfctl.terminal.watch_metrics import WatchMetrics
from vfctl.terminal.watch_scene import COLOURS, WatchedScene

NOW_S = 1000.0
STATUS = ConnectionStatus("ws://host:8765/ws", "raw", "Connected")


def graph_of(count=4):
    labels = [f"Node {number}" for number in range(count)]
    kinds = ["class"] * (count - 1) + ["individual"]
    graph = build_graph("line", labels, [(a, a + 1, 1.0) for a in range(count - 1)], kinds=kinds, depths=range(count))
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["id"] = graph.ids
    nodes["x"] = np.arange(count) * 10.0
    return to_full_graph(graph, nodes, trailer=Trailer(1, 1, 50_000))


@pytest.fixture
def scene():
    watched = WatchedScene()
    watched.rotates = False
    watched.on_message(graph_of())
    return watched


@pytest.fixture
def metrics():
    counted = WatchMetrics(NOW_S - 10)
    graph = graph_of()
    counted.record(graph, 1000, now_s=NOW_S - 1, arrival_us=1)
    update = PositionUpdate(graph.nodes, True, Trailer(2, 0, 1_000_000))
    counted.record(update, 500, now_s=NOW_S, arrival_us=2500)
    return counted


def screen(metrics, scene, status=STATUS, width=100, height=20, **options):
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, **options)
    display = WatchDisplay(console, metrics, scene)
    display.has_keys = True
    console.print(display.screen(status, NOW_S, width, height))
    return console.file.getvalue()


def plain(metrics, scene, **options):
    return screen(metrics, scene, no_color=True, color_system=None, **options).split("\n")


def test_a_whole_screen(metrics, scene):
    lines = plain(metrics, scene)
    assert lines[0].startswith("● Connected  ws://host:8765/ws  raw · settled, every 1,000 ms")
    assert lines[1].startswith("latency P50 2.50 ms, P95 2.50 ms · 0.2 updates/s, 300 B/s · 0 gaps · 4 nodes, 3 edges")
    assert lines[2].startswith("last minute: P95")
    drawn = [line for line in lines[3:17] if line.strip()]
    assert len(drawn) == 1  # a line of nodes lies along the first principal axis
    assert len(drawn[0].strip()) > 20
    assert lines[18].startswith("cluster: ● ")
    assert "q quits" in lines[19]
    assert len([line for line in lines if line]) <= 20


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (40, 12), (20, 6), (9, 3), (1, 1)])
def test_it_fits_the_terminal(metrics, scene, width, height):
    scene.on_message(Notice({"notice": "selection", "client": 3, "node_id": 2}))
    lines = plain(metrics, scene, width=width, height=height)
    assert max(len(line) for line in lines) <= width
    assert len(lines) - 1 <= max(height, 2)


def test_colours_are_there_where_the_terminal_has_them(metrics, scene):
    assert "\x1b[38;2;" in screen(metrics, scene, color_system="truecolor")
    assert "\x1b[3" in screen(metrics, scene, color_system="standard")
    assert "\x1b[3" not in screen(metrics, scene, no_color=True, color_system="truecolor").replace("\x1b[3m", "")


def test_what_is_selected_is_marked_and_named(metrics, scene):
    scene.on_message(Notice({"notice": "selection", "client": 16777221, "node_id": 2}))
    assert any("Node 2 (by 16777221)" in line for line in plain(metrics, scene))
    assert "\x1b[1;7m" in screen(metrics, scene, color_system="truecolor")
    scene.on_message(Notice({"notice": "selection", "client": 16777221, "node_id": None}))
    assert not any("Node 2" in line for line in plain(metrics, scene))


def test_trouble_is_said(metrics, scene):
    status = ConnectionStatus("ws://host/ws", "lz4", "Reconnecting", "lost without a close frame", 2, 0.75, 3)
    assert plain(metrics, scene, status=status)[0].startswith(
        "● Reconnecting in 0.8 s, retry 2 (lost without a close frame)  ws://host/ws  lz4 · settled"
    )
    assert "3 reconnects" in plain_line(metrics, status, NOW_S)


def test_lines_for_no_terminal(metrics):
    assert plain_line(metrics, STATUS, NOW_S) == (
        "Connected · 4 nodes, 3 edges, settled · 0.2 updates/s, 300 B/s · every 1000 ms · "
        "latency P50 2.50 ms, P95 2.50 ms · 0 gaps"
    )
    assert last_line(metrics, 10.0).startswith(
        "watched 4 nodes, 3 edges for 10.0 s: 1 update, 0 gaps, settled in the end"
    )
    assert "no positions came" in last_line(WatchMetrics(NOW_S), 1.0)


def test_keys_turn_zoom_and_colour(scene):
    from vfctl.terminal.projection import Canvas

    canvas = Canvas(40, 10)
    nodes = graph_of().nodes.copy()
    nodes["y"], nodes["z"] = [0, 7, 0, -5], [5, 0, -6, 0]
    scene.on_message(PositionUpdate(nodes, False))

    def drawn():
        return scene.picture(canvas)[0].lines()

    for _ in range(100):  # until the picture has followed it
        before = drawn()
    for there, back in ((b"\x1b[A", b"\x1b[B"), (b"\x1b[C", b"\x1b[D"), (b"-", b"+"), (b"\x1bOC", b"0")):
        for _ in range(3):
            scene.on_key(there)
        assert scene.changed
        assert drawn() != before
        for _ in range(3):
            scene.on_key(back)
        assert drawn() == before
    assert not scene.changed
    scene.on_key(b"x")
    assert not scene.changed
    scene.on_key(b"e")
    assert drawn() != before
    scene.on_key(b"c")
    assert (scene.by, [group.name for group in scene.groups]) == ("kind", ["class", "individual"])
    scene.on_key(b"c")
    assert (scene.by, [group.name for group in scene.groups]) == ("depth", ["0", "1", "2", "3"])


def test_keys_that_come_at_once_are_told_apart():
    assert split_keys(b"q") == [b"q"]
    assert split_keys(b"\x1b[C\x1b[C \x1bOAc") == [b"\x1b[C", b"\x1b[C", b" ", b"\x1bOA", b"c"]


def test_it_goes_around_until_space(scene):
    from vfctl.terminal.projection import Canvas

    canvas = Canvas(40, 10)
    before = scene.picture(canvas)[0].lines()
    scene.advance(10)
    assert scene.picture(canvas)[0].lines() == before
    scene.on_key(b" ")
    scene.advance(10)
    assert scene.picture(canvas)[0].lines() != before


def test_groups_beyond_the_palette_share_a_colour():
    watched = WatchedScene()
    watched.on_message(graph_of(30))
    watched.on_key(b"c")
    watched.on_key(b"c")
    assert len(watched.groups) == COLOURS + 1
    assert watched.groups[-1].name == "20 more"
    assert watched._colours.max() == COLOURS


def test_updates_of_another_number_of_nodes_are_not_drawn(scene):
    scene.on_message(PositionUpdate(np.zeros(9, NODE_DTYPE), False))
    assert len(scene) == 4
