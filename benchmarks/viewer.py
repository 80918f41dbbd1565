"""What the viewer costs a browser's main thread: frames of 10,000 nodes and 30,000 edges in headless Chromium.

    python benchmarks/viewer.py [--nodes N] [--seconds S]

Serves a generated graph that never rests (20 updates a second), opens the page and turns the camera all the time, so
that each frame draws everything. The main thread's CPU time (script, style, layout, paint and messages together) is
the kernel's, its time by the clock Chromium's own (DevTools' TaskDuration). Then finding the node under the cursor on
the CPU is measured against reading one pixel back.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "viewer"))
from chromium import ARGUMENTS, find_chromium
from running_server import Server

TURNING = """async seconds => {
    const canvas = document.getElementById('picture'), end = performance.now() + 1000 * seconds;
    const key = new KeyboardEvent('keydown', {key: 'ArrowRight'}), costs = [];
    while (performance.now() < end) {
        canvas.dispatchEvent(key);
        await new Promise(requestAnimationFrame);
        costs.push(window.vfctl.costs_ms.at(-1));
    }
    return costs.sort((a, b) => a - b);
}"""

PICKING = """async () => {
    const gl = document.getElementById('picture').getContext('webgl2'), pixel = new Uint8Array(4);
    const at = (values, share) => values.sort((a, b) => a - b)[Math.floor(share * values.length)];
    const cpu = [], gpu = [];
    for (let i = 0; i < 60; i++) {
        document.getElementById('picture').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));
        await new Promise(requestAnimationFrame);
        let began = performance.now();
        window.vfctl.at(600 + i, 400);
        cpu.push(performance.now() - began);
        began = performance.now();
        gl.readPixels(600, 400, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
        gpu.push(performance.now() - began);
    }
    return [at(cpu, 0.5), at(cpu, 0.95), at(gpu, 0.5), at(gpu, 0.95)];
}"""


def on_cpu_s(browser: Browser) -> dict[int, float]:
    """CPU time of the main thread of each page's process, from the kernel."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    pids = [process["id"] for process in processes if process["type"] == "renderer"]
    return {pid: int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9 for pid in pids}


def busy_s(session: CDPSession) -> dict[str, float]:
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return {name: metrics[name] for name in ("TaskDuration", "ScriptDuration", "RecalcStyleDuration", "LayoutDuration")}


def measure(page: Page, url: str, seconds: float) -> float:
    """Prints a line; returns the main thread's CPU time a frame in ms."""
    page.goto(url)
    until = time.monotonic() + 60
    while not page.evaluate("!!window.vfctl && vfctl.drawn.nodes > 0 && vfctl.statistics.updates_per_s > 0"):
        assert time.monotonic() < until, "nothing is drawn"
        time.sleep(0.2)
    page.evaluate(TURNING, 2)  # compiled and warm
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    browser = page.context.browser
    assert browser is not None
    before, cpu_before = busy_s(session), on_cpu_s(browser)
    costs = page.evaluate(TURNING, seconds)
    spent = {name: 1000 * (value - before[name]) / len(costs) for name, value in busy_s(session).items()}
    cpu_ms = 1000 * max(used - cpu_before.get(pid, used) for pid, used in on_cpu_s(browser).items()) / len(costs)
    drawn, statistics = page.evaluate("[vfctl.drawn, vfctl.statistics]")
    styling_ms = spent["RecalcStyleDuration"] + spent["LayoutDuration"]
    print(
        f"{page.evaluate('vfctl.encoding'):8} {drawn['nodes']:,} nodes, {drawn['edges']:,} edges: "
        f"{len(costs) / seconds:.0f} frames/s, {statistics['updates_per_s']} updates/s, "
        f"main thread {cpu_ms:.2f} ms of CPU a frame, by the clock {spent['TaskDuration']:.2f} "
        f"(script {spent['ScriptDuration']:.2f}, style and layout {styling_ms:.2f}); "
        f"drawing P50 {costs[len(costs) // 2]:.1f}, P95 {costs[int(0.95 * len(costs))]:.1f} ms; "
        f"latency P50 {statistics['p50_ms']:.1f}, P95 {statistics['p95_ms']:.1f} ms",
        flush=True,
    )
    return cpu_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument(
        "--size", default="1280x800", help="of the window; where the CPU draws, a small one leaves it free"
    )
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        config = Path(folder) / "active.toml"
        config.write_text('[server]\nstate = "active"\n')
        graph = ("--nodes", str(arguments.nodes), "--generator", "random", "--physics-hz", "20")
        server = Server("serve", *graph, "--workers", "1", "--config", str(config))
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
            for encoding in ("raw", "lz4", "compact"):
                page = browser.new_page(viewport={"width": width, "height": height})
                measure(page, f"{server.url}?encoding={encoding}", arguments.seconds)
                if encoding == "raw":
                    cpu50, cpu95, gpu50, gpu95 = page.evaluate(PICKING)
                    print(f"picking  on the CPU: P50 {cpu50:.2f}, P95 {cpu95:.2f} ms; ", end="")
                    print(f"reading one pixel back: P50 {gpu50:.2f}, P95 {gpu95:.2f} ms")
                page.close()
            browser.close()
        finally:
            server.stop()


if __name__ == "__main__":
    main()
