"""The HTML report, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page

from vfctl.errors import PeerError
from vfctl.loadtest.reports.as_html import render
from vfctl.loadtest.results.comparable import compare_sides
from vfctl.loadtest.scenario.gates import parse_gate

from .conftest import MakeReportable, a_second, page_of

PLOTS = ["latency", "percentiles", "clients", "messages", "bandwidth", "connect", "cpu"]
LIMIT_BYTES = 1_000_000

MARKS = """() => [...document.querySelectorAll('svg.chart')].map(chart => {
    const frame = chart.getBoundingClientRect();
    return {id: chart.id, marks: [...chart.querySelectorAll('.mark')].map(mark => {
        const box = mark.getBoundingClientRect(), style = getComputedStyle(mark);
        const inside = box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.top >= frame.top - 1
            && box.bottom <= frame.bottom + 1;
        return {width: box.width, height: box.height, inside, stroke: style.stroke, shown: style.visibility};
    })};
})"""

CONTRASTS = """() => {
    const rgba = text => {
        const parts = text.match(/[0-9.]+/g).map(Number);
        return parts.length > 3 ? parts : [...parts, 1];
    };
    const light = color => color.slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, number) => sum + part * [0.2126, 0.7152, 0.0722][number], 0);
    const behind = element => {
        for (let each = element; each; each = each.parentElement) {
            const color = rgba(getComputedStyle(each).backgroundColor);
            if (color[3] === 1) return color;
        }
        throw new Error('nothing is behind ' + element.outerHTML);
    };
    const ratio = (front, back) => {
        const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const found = [];
    for (const element of document.body.querySelectorAll('*')) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        const style = getComputedStyle(element), drawn = element instanceof SVGElement;
        if (own && !['title', 'style'].includes(element.tagName.toLowerCase())) {
            const front = rgba(drawn ? style.fill : style.color);
            found.push({what: element.textContent.trim(), ratio: ratio(front, behind(element)), needed: 4.5});
        }
        if (element.matches('.line, .dot')) {
            found.push({what: element.outerHTML, ratio: ratio(rgba(style.stroke), behind(element)), needed: 3});
        }
    }
    return found;
}"""


CROWDED = """() => {
    const found = [];
    for (const chart of document.querySelectorAll('svg.chart')) {
        const card = chart.closest('section').getBoundingClientRect();
        const texts = [...chart.querySelectorAll('text')].filter(text => text.getClientRects().length);
        const boxes = texts.map(text => [text.textContent, text.getBoundingClientRect()]);
        for (const [number, [text, box]] of boxes.entries()) {
            if (box.left < card.left || box.right > card.right || box.top < card.top || box.bottom > card.bottom)
                found.push(`${chart.id}: ${text} is cut off`);
            for (const [other, its] of boxes.slice(number + 1))
                if (box.left < its.right - 1 && its.left < box.right - 1 && box.top < its.bottom - 3
                    && its.top < box.bottom - 3) found.push(`${chart.id}: ${text} is on ${other}`);
        }
    }
    return found;
}"""


class Report:
    """An open report: what its console printed, and what it requested from elsewhere."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.console: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        self.requests = [url for url in requests if url not in (path.as_uri(), "data:,")]


OpenReport = Callable[..., Report]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[OpenReport]:
    """opened(html, scheme="light", width=1180): the report in a context of its own."""
    with ExitStack() as contexts:

        def open_report(html: str, scheme: Literal["light", "dark"] = "light", width: int = 1180) -> Report:
            path = tmp_path / "report.html"
            path.write_text(html, "utf-8")
            assert path.stat().st_size < LIMIT_BYTES
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
            return Report(contexts.enter_context(context).new_page(), path)

        yield open_report


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_plot_shows_something_and_all_text_can_be_read(
    opened: OpenReport, reportable: MakeReportable, scheme: str
) -> None:
    report = opened(page_of(reportable(interrupted=True, saturated=True)), scheme)
    assert (report.console, report.requests) == ([], [])
    plots = report.page.evaluate(MARKS)
    assert [plot["id"] for plot in plots] == PLOTS
    for plot in plots:
        assert plot["marks"], f"nothing is drawn in {plot['id']}"
        for mark in plot["marks"]:
            assert mark["width"] > 100, plot
            assert mark["height"] > 0, plot
            assert mark["inside"], plot
            assert (mark["stroke"] != "none", mark["shown"]) == (True, "visible")
    contrasts = report.page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [each for each in contrasts if each["ratio"] < each["needed"]] == []
    background = report.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(244, 246, 248)" if scheme == "light" else "rgb(14, 18, 22)")


def test_the_page_can_be_heard_as_well_as_seen(opened: OpenReport, reportable: MakeReportable) -> None:
    page = opened(page_of(reportable())).page
    assert page.title() == "vfctl loadtest: 300 clients, 10 s measured"
    images = page.get_by_role("img")
    assert images.count() == len(PLOTS)
    named = page.get_by_role("img", name="Latency over time, ms: P50 lowest 1.41, median")
    assert named.count() == 1
    for plot in PLOTS:
        region = page.locator(f"section:has(#{plot})")
        assert region.get_by_role("table").count() == 1, "figures stand beside each plot"
        assert region.get_by_role("rowheader").count() >= 1
    assert page.get_by_role("heading", level=1).count() == 1


def test_a_partial_run_says_so_and_so_does_a_saturated_generator(
    opened: OpenReport, reportable: MakeReportable
) -> None:
    page = opened(page_of(reportable(interrupted=True, saturated=True))).page
    assert page.title().endswith("(partial)")
    assert page.get_by_text("The run was interrupted before its end.").is_visible()
    assert page.get_by_text("use fewer clients or a lower rate").is_visible()
    assert page.get_by_role("row", name="voice_ms.p95 < 200 no data 200 ms ✗ failed").is_visible()


def test_a_run_without_anything_to_show_says_that(opened: OpenReport, make_results: Any) -> None:
    report = opened(page_of(make_results()))
    assert report.console == []
    assert report.page.get_by_text("no data", exact=True).count() >= len(PLOTS)
    assert all(not plot["marks"] for plot in report.page.evaluate(MARKS))


def test_a_run_of_one_second_is_a_dot(opened: OpenReport, reportable: MakeReportable) -> None:
    report = opened(page_of(reportable(seconds=1)))
    assert report.console == []
    assert report.page.locator("#latency circle.mark").count() == 3


def test_a_day_stays_small(opened: OpenReport, reportable: MakeReportable) -> None:
    results = reportable().model_copy(update={"seconds": list(map(a_second, range(86_400)))})
    report = opened(page_of(results))
    assert report.console == []
    assert report.page.get_by_text("Each point is the highest of 216 seconds.").is_visible()
    assert report.page.locator("#cpu text", has_text="24 h").count() == 1


@pytest.mark.parametrize("width", [1180, 390])
def test_axes_have_their_units_and_nothing_is_cut_off_or_on_top_of_something_else(
    opened: OpenReport, reportable: MakeReportable, width: int
) -> None:
    page = opened(page_of(reportable(seconds=9, latencies_us=(400, 90_000))), width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CROWDED) == []
    units = {plot: page.locator(f"#{plot} text.unit").text_content() for plot in PLOTS}
    assert units == {
        "latency": "ms",
        "percentiles": "ms",
        "clients": "clients",
        "messages": "messages/s",
        "bandwidth": "MB/s",
        "connect": "ms",
        "cpu": "% of a core",
    }
    assert page.locator("#latency text.along").last.text_content() == "8 s"
    wide = "[...document.querySelectorAll('svg.chart')].filter(c => c.scrollWidth > c.parentElement.clientWidth).length"
    assert page.evaluate(wide) == 0


def test_two_servers_are_two_lines_in_every_plot(opened: OpenReport, reportable: MakeReportable) -> None:
    a, b = reportable(seconds=9), reportable(seconds=9, peer="the new one")
    gates = [parse_gate("latency_ms.p95 < 30"), parse_gate("a.clients.lost == 0")]
    report = opened(render(compare_sides(a, b, gates)), "dark")
    assert (report.console, report.requests) == ([], [])
    plots = {plot["id"]: plot["marks"] for plot in report.page.evaluate(MARKS)}
    assert list(plots) == PLOTS
    for name, marks in plots.items():
        assert len(marks) == 2, name
        assert len({mark["stroke"] for mark in marks}) == 2, "they can be told apart"
    assert report.page.evaluate(CROWDED) == []
    assert report.page.title() == "vfctl loadtest --ab: 300 clients, 10 s measured"
    assert report.page.get_by_text("The two could not be compared.").is_visible()
    assert report.page.get_by_text("two seconds of measured time").is_visible()
    assert report.page.get_by_role("row", name="a.clients.lost == 0 2 0 ✗ failed").is_visible()
    assert report.page.get_by_text("the new one").first.is_visible()


def test_a_run_that_failed_says_why(opened: OpenReport, reportable: MakeReportable) -> None:
    page = opened(page_of(reportable(failure=PeerError("the server died <of fright>")))).page
    assert page.title().endswith("(failed)")
    assert page.get_by_text("The run failed: the server died <of fright>.").is_visible()


def test_what_a_server_calls_itself_is_text(opened: OpenReport, reportable: MakeReportable) -> None:
    report = opened(page_of(reportable(peer="<script>console.log('in')</script><img src=http://x/>")))
    assert (report.console, report.requests) == ([], [])
    assert report.page.locator("script, main img, header img").count() == 0
    assert report.page.get_by_text("<script>").is_visible()
