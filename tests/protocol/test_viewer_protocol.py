"""The viewer's JavaScript reads every golden vector as the Python codec does: in node, and else in Chromium."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vfctl
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    CompactEncoder,
    CompactUpdate,
    FullGraph,
    Message,
    PositionDecoder,
    View,
    encode,
)

VECTORS = Path(__file__).parent.parent / "vectors"
CHECK = Path(__file__).parent / "golden_check.mjs"
VIEWER = Path(vfctl.__file__).parent / "viewer"
MODULES = ("protocol.js", "compact.js", "lz4.js", "wire.js")
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")

RUN_IN_NODE = """
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
const [check, module] = process.argv.slice(2);
const protocol = await import(pathToFileURL(module));
const { check: run } = await import(pathToFileURL(check));
console.log(JSON.stringify(run(protocol, JSON.parse(readFileSync(0, "utf8")))));
"""


def vectors() -> list[dict[str, Any]]:
    return [
        {
            "name": path.stem,
            "base64": base64.b64encode(path.with_suffix(".bin").read_bytes()).decode(),
            "twin": json.loads(path.read_text(encoding="utf-8")),
        }
        for path in sorted([*VECTORS.glob("*.json"), *VECTORS.glob("streams/*.json")])
    ]


def in_node(given: list[dict[str, Any]], tmp_path: Path) -> list[str]:
    script = tmp_path / "run.mjs"
    script.write_text(RUN_IN_NODE)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name in MODULES:
        shutil.copy(VIEWER / name, tmp_path)
    done = subprocess.run(
        ["node", str(script), str(CHECK), str(tmp_path / MODULES[0])],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_browser(given: list[dict[str, Any]], executable: str) -> list[str]:
    from playwright.sync_api import Route, sync_playwright

    files = {f"/{name}": VIEWER / name for name in MODULES} | {"/check.mjs": CHECK}

    def serve(route: Route) -> None:
        path = route.request.url.removeprefix("http://vfctl.test")
        if path in files:
            route.fulfill(body=files[path].read_text(encoding="utf-8"), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.route("**/*", serve)
        page.goto("http://vfctl.test/")
        failures: list[str] = page.evaluate(
            """async given => {
                const protocol = await import('/protocol.js'), {check} = await import('/check.mjs');
                return check(protocol, given);
            }""",
            given,
        )
        browser.close()
    return failures


def check(given: list[dict[str, Any]], tmp_path: Path) -> list[str]:
    if shutil.which("node"):
        return in_node(given, tmp_path)
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail("there is neither node nor a Chromium to run JavaScript: `make browser` installs one (Debian)")
    return in_browser(given, found)


def test_it_reads_every_golden_vector(tmp_path):
    given = vectors()
    assert len(given) > 90
    assert check(given, tmp_path) == []


def flight() -> dict[str, Any]:
    """A long COMPACT stream in the form of a golden one; its twin is what the Python codec reads."""
    spec = importlib.util.spec_from_file_location("generate_vectors", VECTORS / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    random, count = np.random.default_rng(5), 150
    nodes = np.zeros(count, NODE_DTYPE)
    nodes["id"] = random.permutation(1000)[:count]
    positions = random.normal(0, 100, (3, count)).astype(np.float32)
    velocities = random.normal(0, 2, (3, count)).astype(np.float32)
    encoder, view, history = CompactEncoder(2**32 - 1), View(nodes["id"]), None
    messages: list[Message] = [FullGraph(nodes, np.zeros(0, EDGE_DTYPE))]
    for number, ticks in enumerate(random.choice([1, 2, 3, 4, 7, 40], 60).tolist()):
        velocities += random.normal(0, 0.2, (3, count)).astype(np.float32)
        positions = positions + ticks * velocities
        if number % 20 == 13:
            positions[:, number] = (1e6, np.nan, -3e4)
        encoder.push(encoder.position + ticks, positions)
        section, history = encoder.section(view, None if number == 30 else history)
        messages.append(CompactUpdate(count, section))
    decoder = PositionDecoder()
    twins = [generate.to_json(decoder.feed(message)) for message in messages]
    buffer = b"".join(encode(message) for message in messages)
    return {"name": "flight", "base64": base64.b64encode(buffer).decode(), "twin": {"messages": twins}}


def test_it_reads_a_long_flight_to_the_last_bit(tmp_path):
    assert check([flight()], tmp_path) == []


def test_the_check_itself_notices_what_differs(tmp_path):
    given = [vector for vector in vectors() if vector["name"] in ("node-drag", "compact-moving", "invalid-version-3")]
    drag, invalid, moving = sorted(given, key=lambda vector: vector["twin"]["comment"])
    drag["twin"]["x"] = 1.5000001
    invalid["twin"]["error"]["offset"] = 1
    moving["twin"]["messages"][4]["nodes"][3]["y"] += 0.125
    failures = check(given, tmp_path)
    assert len(failures) == 3, failures
