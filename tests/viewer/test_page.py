"""The page in a real browser, against a real server."""

from __future__ import annotations

import io
import json
import urllib.request
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, Message, PositionUpdate, Trailer, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import OpenTab, Relay, Server, Tab

NEAREST = """() => {
    const [width, height] = [innerWidth, innerHeight];
    const places = vfctl.ids.map(id => [id, vfctl.screen(id)]).filter(([id, at]) => at
        && at.x > 330 && at.x < width - 320 && at.y > 60 && at.y < height - 80 && vfctl.at(at.x, at.y) === id);
    return places.sort(([, one], [, other]) => other.radius - one.radius)[0][0];
}"""


def picture(tab: Tab) -> np.ndarray:
    """What is seen between the panels, RGB."""
    clip = {"x": 320, "y": 20, "width": 270, "height": 460}
    image = Image.open(io.BytesIO(tab.page.screenshot(clip=clip)))  # type: ignore[arg-type]
    return np.asarray(image.convert("RGB"), np.int16)


def click_a_node(tab: Tab) -> int:
    node = tab.ask(NEAREST)
    at = tab.ask("id => vfctl.screen(id)", node)
    tab.page.mouse.click(at["x"], at["y"])
    tab.until("vfctl.selected !== null")
    return tab.ask("vfctl.selected")


@pytest.mark.parametrize(("encoding", "scheme"), [("raw", "light"), ("lz4", "dark"), ("compact", "dark")])
def test_it_draws_a_graph_that_moves(tab: OpenTab, live: Server, encoding: str, scheme: str) -> None:
    page = tab(f"?encoding={encoding}", color_scheme=scheme).drawn()
    page.until("vfctl.statistics.p95_ms !== null")
    assert page.ask("vfctl.encoding") == encoding
    assert page.ask("vfctl.drawn") == {"nodes": 120, "edges": 119}
    assert page.ask("vfctl.settled") is False
    p95_ms, age_ms = page.ask("[vfctl.statistics.p95_ms, performance.now()]")
    assert 0 < p95_ms < age_ms, "states are newer than the page"
    page.page.get_by_role("button", name="Labels").click()  # only what WebGL draws
    page.until("document.getElementById('clock').textContent.startsWith('Round trip')")
    before = picture(page)
    background = before[0, 0]
    assert background.mean() > 200 if scheme == "light" else background.mean() < 40
    coloured = np.abs(before - background).max(axis=2) > 40
    assert coloured.mean() > 0.005, "next to nothing is drawn"
    node, place = page.ask("[vfctl.ids[5], vfctl.position(vfctl.ids[5])]")
    live.pull(node, *(5 * value + 10 for value in place))
    page.until("([id, to]) => Math.hypot(...vfctl.position(id).map((x, axis) => x - to[axis])) > 5", [node, place])
    assert (np.abs(picture(page) - before).max(axis=2) > 40).mean() > 0.001, "nothing has moved"


def test_it_is_what_the_server_says(tab: OpenTab, live: Server) -> None:
    page = tab().drawn()
    with urllib.request.urlopen(f"{live.url}graph.json") as answer:
        nodes = json.load(answer)["nodes"]
    seen = np.array(page.ask("vfctl.ids.map(id => vfctl.position(id))"))
    said = np.array([[node["x"], node["y"], node["z"]] for node in nodes])
    extent = np.ptp(said, axis=0).max()
    assert page.ask("vfctl.ids") == [node["id"] for node in nodes]
    assert np.abs(seen - said).max() < 0.2 * extent, "they are a moment apart, not more"
    assert page.page.locator("#size").inner_text() == "120 nodes · 119 edges"


def test_what_one_drags_the_other_sees_move_and_whose_it_is(tab: OpenTab) -> None:
    one, other = tab().drawn(), tab().drawn()
    node = one.ask(NEAREST)
    start = one.ask("id => vfctl.screen(id)", node)
    mouse = one.page.mouse
    mouse.move(start["x"], start["y"])
    mouse.down()
    mouse.move(start["x"] + 40, start["y"] - 30, steps=4)
    mouse.move(620, 60, steps=5)
    one.until("vfctl.selected !== null")
    node = one.ask("vfctl.selected")
    held = one.ask("id => vfctl.position(id)", node)
    near = "([id, to]) => Math.hypot(...vfctl.position(id).map((x, axis) => x - to[axis])) < 1e-3"
    other.until(near, [node, held])
    other.until("id => Object.values(vfctl.others).includes(id)", node)
    assert one.ask("vfctl.others") == {}, "one's own selection is not another's"
    assert other.page.locator(".ring.other").count() == 1
    mouse.up()
    other.until(f"given => !({near})(given)", [node, held])  # released, it goes back to where the springs pull it
    one.page.keyboard.press("Escape")
    other.until("!Object.values(vfctl.others).length")


def test_a_click_shows_a_node_and_its_neighbours(tab: OpenTab, live: Server) -> None:
    page = tab().drawn()
    node = click_a_node(page)
    details = page.page.get_by_role("complementary", name="Selected node")
    with urllib.request.urlopen(f"{live.url}graph.json") as answer:
        graph = json.load(answer)
    known = {each["id"]: each for each in graph["nodes"]}
    ends = [{link["source"], link["target"]} for link in graph["links"]]
    labels = {known[other]["label"] for pair in ends if node in pair for other in pair - {node}}
    assert details.get_by_role("heading", level=2).inner_text() == known[node]["label"]
    assert set(details.locator("#neighbours span").all_inner_texts()) == labels
    details.locator("#neighbours button").first.click()
    page.until("before => vfctl.selected !== before", node)
    assert known[page.ask("vfctl.selected")]["label"] in labels
    page.page.keyboard.press("Escape")
    page.until("vfctl.selected === null")
    assert details.is_hidden()


def test_filters_reduce_what_is_drawn_and_can_be_taken_back(tab: OpenTab) -> None:
    page = tab().drawn()
    page.page.keyboard.press("/")
    page.page.keyboard.type("tree 11")
    page.until("vfctl.drawn.nodes === 11")  # 11, 110 to 119
    assert page.page.locator("#size").inner_text().startswith("11 of 120 nodes")
    page.page.keyboard.press("Enter")
    page.until("vfctl.selected === 11")
    page.page.get_by_role("group", name="Kind").get_by_role("button", name="class").click()
    page.until("vfctl.drawn.nodes < 11")
    assert page.ask("vfctl.filter") == {"kind": ["class"], "search": "tree 11"}
    page.page.get_by_label("Search labels").fill("no such label")
    page.until("vfctl.ids.length === 0")
    assert page.page.get_by_text("No node matches the filter.").is_visible()
    page.page.get_by_role("button", name="Clear filter").click()
    page.until("vfctl.drawn.nodes === 120")
    page.page.get_by_label("Lowest depth").fill("3")
    page.until("vfctl.drawn.nodes > 0 && vfctl.drawn.nodes < 120")
    assert page.ask("vfctl.filter.depth[0]") == 3


def test_another_encoding_and_no_timing_are_another_connection(tab: OpenTab) -> None:
    page = tab().drawn()
    page.page.get_by_text("compact", exact=True).click()
    page.until("vfctl.encoding === 'compact' && vfctl.state === 'Connected'")
    page.page.get_by_text("Timing").click()
    page.until("vfctl.state === 'Connected' && vfctl.drawn.nodes === 120")
    assert page.page.url.endswith("?encoding=compact&timed=0")


def test_encodings_that_are_not_served_are_not_offered(tab: OpenTab) -> None:
    page = tab("?encoding=lz4", answers={"healthz": {"encodings": ["lz4", "compact"]}}).drawn()
    page.until("""[...document.querySelectorAll("input[name=encoding]")].some((radio) => radio.disabled)""")
    offered = """[...document.querySelectorAll("input[name=encoding]")]
        .filter((radio) => !radio.closest("label").hidden)
        .map(({ value, checked }) => [value, checked])"""
    assert page.ask(offered) == [["lz4", True], ["compact", False]]


def test_all_can_be_done_from_the_keyboard(tab: OpenTab) -> None:
    page = tab().drawn()
    names = []
    for _ in range(12):
        page.page.keyboard.press("Tab")
        names.append(
            page.ask("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        )
    assert names[0].startswith("Graph.")
    assert names[1:4] == ["Filter panel", "Statistics panel", "Search labels"]
    page.page.get_by_role("application").focus()
    for key in ("ArrowLeft", "+", "Shift+ArrowUp"):
        before = page.ask("vfctl.ids.map(vfctl.screen)")
        page.page.keyboard.press(key)
        far = "(at, i) => at && before[i] && Math.hypot(at.x - before[i].x, at.y - before[i].y) > 3"
        page.until(f"before => vfctl.ids.map(vfctl.screen).filter({far}).length > 30", before)
    assert all(page.ask("[...document.querySelectorAll('button')].map(b => !!(b.ariaLabel || b.textContent.trim()))"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(tab: OpenTab, scheme: str) -> None:
    page = tab(width=390, height=700, color_scheme=scheme, has_touch=True, is_mobile=True).drawn()
    assert page.ask("document.documentElement.scrollWidth <= 390")
    filters = page.page.get_by_role("complementary", name="Filter and colours")
    assert filters.is_hidden()
    page.page.get_by_role("button", name="Filter panel").tap()
    box = filters.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert box["y"] > 250, "the picture is still seen above it"
    for tool in page.page.get_by_role("toolbar").get_by_role("button").all():
        size = tool.bounding_box()
        assert size is not None
        assert min(size["width"], size["height"]) >= 40


def test_without_webgl_2_it_says_so_and_the_rest_works(tab: OpenTab) -> None:
    none = "HTMLCanvasElement.prototype.getContext = (get => function (kind, ...rest) {"
    none += (
        " return kind === 'webgl2' ? null : get.call(this, kind, ...rest); })(HTMLCanvasElement.prototype.getContext)"
    )
    page = tab(script=none)
    page.until("vfctl.state === 'Connected' && vfctl.ids.length === 120")
    assert page.page.get_by_text("The graph cannot be drawn.").is_visible()
    page.page.get_by_label("Search labels").fill("tree 11")
    page.until("vfctl.ids.length === 11")
    assert page.ask("vfctl.drawn.nodes") == 0


def test_labels_are_text_whatever_they_hold(tab: OpenTab) -> None:
    page = tab().drawn()
    page.page.get_by_label("Search labels").fill("<img src=x onerror=alert(1)>")
    page.until("vfctl.ids.length === 0")
    sources = page.ask("""async () => Promise.all(performance.getEntriesByType('resource').map(entry => entry.name)
        .filter(name => name.endsWith('.js')).map(name => fetch(name).then(answer => answer.text())))""")
    assert len(sources) > 20
    assert not any(
        word in source for source in sources for word in ("innerHTML", "insertAdjacentHTML", "eval(", "document.write")
    )


def test_a_frame_of_a_small_graph_takes_little(tab: OpenTab) -> None:
    page = tab().drawn()
    page.until("vfctl.costs_ms.length > 40")
    costs = sorted(page.ask("vfctl.costs_ms.slice(-40)"))
    assert costs[len(costs) // 2] < 8, "benchmarks/viewer.py measures it closely"


def test_a_lost_connection_is_made_again(tab: OpenTab, relay: Relay) -> None:
    page = tab(url=relay.url).drawn()
    page.page.get_by_label("Search labels").fill("tree 11")
    page.until("vfctl.drawn.nodes === 11")
    relay.cut()
    page.until("vfctl.state === 'Reconnecting'")
    assert page.page.get_by_role("alert").get_by_text("Connection lost. Attempt").is_visible()
    page.page.get_by_text("Reconnecting in").wait_for()
    page.until("/^Reconnecting/.test(document.getElementById('status').textContent.trim())")
    relay.resume()
    page.until("vfctl.state === 'Connected' && vfctl.drawn.nodes === 11")  # the filter is still set
    assert page.page.locator("#trouble").is_hidden()
    page.console[:] = [text for text in page.console if "ERR_CONNECTION_REFUSED" not in text]


def test_a_first_connect_that_fails_offers_to_retry(tab: OpenTab) -> None:
    refused = "window.RealSocket = WebSocket; let tries = 0; window.WebSocket = class extends RealSocket {"
    refused += " constructor(url) { super(tries++ ? url : new URL('ws?encoding=none', url)); } }"
    page = tab(script=refused)
    page.until("vfctl.state === 'Disconnected'")
    assert page.page.get_by_text("The server does not answer.").is_visible()
    page.page.get_by_role("button", name="Retry").click()
    page.drawn()
    page.console[:] = [text for text in page.console if "Unexpected response code: 400" not in text]


def test_a_replay_has_a_time_bar(tab: OpenTab, tmp_path: Path, serving: Callable[..., Server]) -> None:
    nodes = np.zeros(3, NODE_DTYPE)
    nodes["id"] = range(3)
    edges = np.zeros(1, EDGE_DTYPE)
    edges["target"] = 1
    messages: list[Message] = [FullGraph(nodes, edges, trailer=Trailer(0, 10**9, 50_000))]
    for number in range(600):
        nodes = nodes.copy()
        nodes["x"] = [0, 10, number]
        messages.append(PositionUpdate(nodes, trailer=Trailer(number, 10**9 + 50_000 * number, 50_000)))
    recording = tmp_path / "recording.bin"
    recording.write_bytes(b"".join(map(encode, messages)))
    server = serving("replay", str(recording))
    page = tab(url=server.url).drawn()
    page.until("!document.getElementById('timebar').hidden")
    page.until("document.getElementById('duration').textContent === '00:29'")
    page.page.get_by_role("button", name="Pause").click()
    page.page.get_by_role("button", name="Play").wait_for()
    page.page.get_by_label("Position").fill("20")
    page.until("Math.abs(vfctl.position(2)[0] - 400) < 3")
    with page.page.expect_response(lambda response: response.request.method == "PATCH") as changed:
        page.page.get_by_label("Speed").select_option("4")
    replay = changed.value.json()
    assert (replay["paused"], replay["speed"]) == (True, 4)
    page.page.get_by_role("button", name="Play").click()
    page.until("vfctl.position(2)[0] > 420")
