"""The viewer's protocol modules, as the server serves them, decode every golden vector as the Python codec does."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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

if TYPE_CHECKING:
    from .conftest import Tab

VECTORS = Path(__file__).parent.parent / "vectors"
CHECK = (Path(__file__).parent / "golden_check.mjs").read_text(encoding="utf-8").replace("export function", "function")
RUN = f"""async (given) => {{
    {CHECK}
    const [protocol, compact] = await Promise.all(
        ["protocol", "compact"].map((name) => import(`/viewer/${{name}}.js`)));
    return check({{ ...protocol, ...compact }}, given);
}}"""


def vectors() -> list[dict[str, Any]]:
    return [
        {
            "name": path.stem,
            "base64": base64.b64encode(path.with_suffix(".bin").read_bytes()).decode(),
            "twin": json.loads(path.read_text(encoding="utf-8")),
        }
        for path in sorted([*VECTORS.glob("*.json"), *VECTORS.glob("streams/*.json")])
    ]


def test_every_golden_vector(modules: Tab) -> None:
    given = vectors()
    assert len(given) > 90
    assert modules.ask(RUN, given) == []


def long_stream() -> dict[str, Any]:
    """A long COMPACT stream in the form of a golden vector. Its JSON twin comes from the Python codec."""
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
    twins = [generate.to_json(decoder.decode(message)) for message in messages]
    buffer = b"".join(encode(message) for message in messages)
    return {"name": "long stream", "base64": base64.b64encode(buffer).decode(), "twin": {"messages": twins}}


def test_a_long_compact_stream_to_the_last_bit(modules: Tab) -> None:
    assert modules.ask(RUN, [long_stream()]) == []


def test_the_check_finds_differences(modules: Tab) -> None:
    given = [vector for vector in vectors() if vector["name"] in ("node-drag", "compact-moving", "invalid-version-3")]
    drag, invalid, moving = sorted(given, key=lambda vector: vector["twin"]["comment"])
    drag["twin"]["x"] = 1.5000001
    invalid["twin"]["error"]["offset"] = 1
    moving["twin"]["messages"][4]["nodes"][3]["y"] += 0.125
    failures = modules.ask(RUN, given)
    assert len(failures) == 3, failures
