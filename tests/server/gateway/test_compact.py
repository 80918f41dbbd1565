"""COMPACT through a real gateway: beside it, raw clients see the same layout."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from tests.server.conftest import Stage, Viewer
from vfctl.graph import Graph
from vfctl.protocol import CompactUpdate, Filter, FilterUpdate, FullGraph, PositionDecoder, PositionUpdate
from vfctl.server.options import ServerOptions
from vfctl.stream import Encoding


class Decoding:
    """A viewer that follows the encoding of its connection."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.decoder = PositionDecoder()
        self.compact = 0

    async def update(self) -> PositionUpdate:
        """The next one, decoded."""
        while True:
            message = await self.viewer.receive()
            self.compact += isinstance(message, CompactUpdate)
            message = self.decoder.decode(message)
            if isinstance(message, PositionUpdate):
                return message

    async def until_x(self, x: float) -> PositionUpdate:
        """The first update that is no more than half a step from `x`."""
        async with asyncio.timeout(5):
            while True:
                update = await self.update()
                grid = self.decoder.grid
                if grid is not None and len(update.nodes) and np.abs(update.nodes["x"] - x).max() <= grid.step / 2:
                    return update


async def test_a_compact_client_sees_what_moves(stage: Stage) -> None:
    early = Decoding(await stage.connect("?encoding=compact&timed=1"))
    graph = early.decoder.decode(await early.viewer.receive())
    assert isinstance(graph, FullGraph)
    assert graph.compressed
    for x in range(10):
        await stage.tick_until(float(x), early.until_x(x))
    late = Decoding(await stage.connect("?encoding=compact&timed=1"))
    for x in range(10, 20):
        await stage.tick_until(float(x), early.until_x(x), late.until_x(x))
    assert early.compact >= 20


async def test_a_filter_begins_anew(stage: Stage) -> None:
    client = Decoding(await stage.connect("?encoding=compact"))
    stage.tick(1.0)
    await client.until_x(1.0)
    await client.viewer.send(FilterUpdate(Filter(kinds=frozenset({"individual"}))))
    while not isinstance(message := await client.viewer.receive(), FullGraph) or len(message.nodes) == len(stage.graph):
        client.decoder.decode(message)
    client.decoder.decode(message)
    stage.tick(2.0)
    update = await client.until_x(2.0)
    assert update.nodes["id"].tolist() == message.nodes["id"].tolist()


async def test_an_operator_can_forbid_raw(tmp_path: Path, small_graph: Graph) -> None:
    options = ServerOptions(active_interval_ms=0.001, encoding_limit=Encoding.COMPACT)
    stage = Stage(tmp_path, options, small_graph)
    await stage.start()
    for query in ("", "?encoding=lz4"):
        async with stage.session.get(f"{stage.http}/ws{query}") as refused:
            assert refused.status == 400
            assert "connect with ?encoding=compact" in await refused.text()
    for query in ("", "?encoding=raw&timed=0", "?encoding=%22", "?encoding=compact"):
        async with stage.session.get(f"{stage.http}/{query}") as page:  # the viewer connects with what its URL says
            assert page.status == 200
            assert page.url.query["encoding"] == "compact"
            assert page.url.query.get("timed") == ("0" if "timed" in query else None)
    client = Decoding(await stage.connect("?encoding=compact"))
    stage.tick(1.0)
    await client.until_x(1.0)
    await stage.stop()
