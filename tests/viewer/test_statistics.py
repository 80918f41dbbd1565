"""Modules of the viewer alone: statistics, texts and the camera, each imported into a page of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Tab


def test_percentiles_rates_and_missed_numbers(modules: Tab) -> None:
    found = modules.ask("""async () => {
        const {Statistics} = await import('/viewer/statistics.js');
        const statistics = new Statistics(), empty = statistics.summary(0);
        for (let i = 0; i < 100; i++) {
            statistics.updateReceived(1000 + 9 * i, {bytes: 50, delay_ms: i - 7, sequence: i < 50 ? i : i + 3});
        }
        statistics.frameDrawn(1500);
        const unknown = statistics.summary(2000).p50_ms;
        statistics.clock_offset_ms = 8;
        return [empty, unknown, statistics.summary(2000), statistics.minute(2000).at(-1), statistics.summary(60000)];
    }""")
    empty, unknown, summary, second, later = found
    assert (empty["p50_ms"], empty["updates_per_s"], unknown) == (None, 0, None)
    assert (summary["p50_ms"], summary["p95_ms"]) == (50, 95), "of 1 to 100"
    assert (summary["updates_per_s"], summary["bytes_per_s"], summary["frames_per_s"]) == (100, 5000, 1)
    assert (summary["missed"], second["p95_ms"]) == (3, 95)
    assert (later["p50_ms"], later["missed"]) == (None, 3)


def test_no_latency_is_negative(modules: Tab) -> None:
    found = modules.ask("""async () => {
        const {Statistics} = await import('/viewer/statistics.js');
        const statistics = new Statistics();
        for (let i = 1; i <= 100; i++) statistics.updateReceived(1000 + i, {bytes: 50, delay_ms: i});
        statistics.clock_offset_ms = -30;
        return [statistics.summary(2000), statistics.minute(2000).at(-1)];
    }""")
    assert [each["p50_ms"] for each in found] == [49, 49], "not 20: no update arrives before it is sent"


def test_numbers_are_formatted_for_people(modules: Tab) -> None:
    found = modules.ask("""async () => {
        const [panel, bar] = await Promise.all(
            ['statistics-panel', 'time-bar'].map(name => import(`/viewer/${name}.js`)));
        return [[0, 999, 8876, 177_000, 999_600, 5.6e6].map(panel.byteRateText),
            [null, 0.04, 9.96, 203.2].map(panel.millisecondsText),
            [0, 0.3, 5, 5.1, 1400].map(panel.niceAbove), [0, 61.9, 3725].map(bar.clockText)];
    }""")
    assert found[0] == ["0 B/s", "999 B/s", "8.9 kB/s", "177 kB/s", "1.0 MB/s", "5.6 MB/s"]
    assert found[1] == ["–", "0.0 ms", "10 ms", "203 ms"]
    assert found[2] == [1, 0.5, 5, 10, 2000]
    assert found[3] == ["00:00", "01:01", "1:02:05"]


def test_unprojecting_inverts_the_projection(modules: Tab) -> None:
    away = modules.ask("""async () => {
        const {Camera} = await import('/viewer/camera.js');
        const {Interpolation} = await import('/viewer/interpolation.js');
        const camera = new Camera(), states = new Interpolation(), screen = new Float32Array(3);
        camera.insets = {left: 300, right: 20, top: 0, bottom: 60};
        camera.fit({centre: [3, -2, 5], radius: 4}, 900, 500, {at_once: true});
        camera.orbit(1, 0.4);
        camera.update(1e6);
        states.begin(Float32Array.from([0, 0, 0, 4, -1, 3, 0, 0, 0]));
        states.project(camera.matrix(900, 500), 900, 500, 1, screen);
        const back = camera.unproject(...screen, 900, 500);
        return Math.hypot(back[0] - 4, back[1] + 1, back[2] - 3);
    }""")
    assert away < 1e-4
