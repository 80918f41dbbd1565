"""One encode and one framing for all who ask for the same; what they get is what the wire says."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from vfctl.errors import UsageError
from vfctl.graph import Graph, build_graph
from vfctl.protocol import NODE_DTYPE, Filter, FullGraph, Message, Nodes, PositionUpdate, Trailer, decode
from vfctl.protocol.websocket import Opcode, parse_frame_header
from vfctl.stream import ConnectionOptions, Encoding, Scene, Variant
from vfctl.stream import audience as audience_module


@pytest.fixture
def graph() -> Graph:
    return build_graph("test", ["a", "b", "c"], [(0, 1, 1.0), (1, 2, 2.0)], clusters=[0, 0, 1])


def positions(x: float) -> Nodes:
    nodes = np.zeros(3, NODE_DTYPE)
    nodes["id"] = range(3)
    nodes["x"] = x
    return nodes


@pytest.fixture
def scene(graph: Graph) -> Scene:
    return Scene(graph, positions(1.0), settled=False, timestamp_us=1000)


def unframe(framed: bytes) -> Message:
    header = parse_frame_header(framed)
    assert header is not None
    assert (header.fin, header.opcode, header.mask) == (True, Opcode.BINARY, None)
    assert len(framed) == header.header_length + header.payload_length
    return decode(framed[header.header_length :])


def test_equal_variants_get_the_very_same_bytes(scene: Scene) -> None:
    one, other = scene.audience(Variant(timed=True)), scene.audience(Variant(timed=True))
    assert one is other
    assert one.position_update(7, 50_000) is other.position_update(7, 50_000)
    assert one.full_graph(7, 50_000) is other.full_graph(7, 50_000)


@pytest.mark.parametrize("encoding", [Encoding.RAW, Encoding.LZ4])
@pytest.mark.parametrize("timed", [False, True])
def test_updates(scene: Scene, encoding: Encoding, timed: bool) -> None:
    message = unframe(scene.audience(Variant(encoding, timed)).position_update(7, 50_000))
    trailer = Trailer(7, 1000, 50_000) if timed else None
    assert message == PositionUpdate(positions(1.0), False, trailer, encoding is Encoding.LZ4)


def test_a_new_state_and_a_confirmed_one(scene: Scene) -> None:
    audience = scene.audience(Variant(timed=True))
    audience.position_update(7, 50_000)
    scene.update(positions(2.0), settled=True, timestamp_us=2000)
    assert unframe(audience.position_update(7, 50_000)) == PositionUpdate(
        positions(2.0), True, Trailer(7, 2000, 50_000)
    )
    scene.confirm(3000)
    assert unframe(audience.position_update(8, 1)) == PositionUpdate(positions(2.0), True, Trailer(8, 3000, 1))


def test_filtered_graphs_and_updates_hold_the_subset(scene: Scene) -> None:
    audience = scene.audience(Variant(metadata=True, filter=Filter(clusters=frozenset({0}))))
    whole = unframe(audience.full_graph(1, 0))
    assert isinstance(whole, FullGraph)
    assert whole.nodes["id"].tolist() == [0, 1]
    assert whole.edges[["source", "target"]].tolist() == [(0, 1)]
    assert whole.metadata is not None
    assert whole.metadata.label == ("a", "b")
    update = unframe(audience.position_update(1, 0))
    assert isinstance(update, PositionUpdate)
    assert update.nodes["id"].tolist() == [0, 1]


def test_a_filter_that_matches_nothing_means_zero_nodes(scene: Scene) -> None:
    audience = scene.audience(Variant(filter=Filter(search="zzz")))
    whole = unframe(audience.full_graph(1, 0))
    assert isinstance(whole, FullGraph)
    assert len(whole.nodes) == len(whole.edges) == 0


def test_the_default_sends_exactly_the_description(scene: Scene) -> None:
    """Header, count and 28 bytes a node: no trailer, no metadata, nothing compressed."""
    framed = scene.audience(ConnectionOptions.from_query({}).variant).position_update(1, 50_000)
    assert framed[2:10] == bytes.fromhex("04020000 03000000")
    assert len(framed) == 2 + 8 + 3 * 28


def test_audiences_that_nobody_holds_are_forgotten(scene: Scene) -> None:
    audience = weakref.ref(scene.audience(Variant(filter=Filter(search="x"))))
    gc.collect()
    assert audience() is None


def test_what_is_kept_for_a_filter_goes_with_the_last_who_watches_by_it(scene: Scene) -> None:
    """At rest no new state comes that would push it out: a client could fill the memory with filters."""
    audience = scene.audience(Variant(filter=Filter(search="a")))
    audience.position_update(1, 50_000)
    kept = weakref.ref(scene.visible_nodes(scene.subset(Filter(search="a"))))
    assert kept() is not None
    del audience
    gc.collect()
    assert kept() is None


def test_what_a_url_chooses() -> None:
    query = {"encoding": "lz4", "timed": "1", "metadata": "0", "voice": "1", "other": "thing"}
    assert ConnectionOptions.from_query(query) == ConnectionOptions(Variant(Encoding.LZ4, timed=True), voice=True)


@pytest.mark.parametrize("query", [{"encoding": "gzip"}, {"timed": "yes"}, {"voice": ""}])
def test_what_a_url_cannot_choose(query: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(query))):
        ConnectionOptions.from_query(query)


def test_at_rest_only_the_trailer_is_made_anew(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    real = audience_module.encode_parts
    monkeypatch.setattr(audience_module, "encode_parts", lambda message: encoded.append(message) or real(message))
    audiences = [scene.audience(Variant(timed=True, filter=Filter(clusters=frozenset({number})))) for number in (0, 1)]
    for second in range(50):
        scene.confirm(1_000_000 * second)
        for audience in audiences:
            update = unframe(audience.position_update(second, 1_000_000))
            assert isinstance(update, PositionUpdate)
            assert update.trailer == Trailer(second, 1_000_000 * second, 1_000_000)
    assert len(encoded) == 2
    scene.update(positions(9.0), settled=False, timestamp_us=1)
    assert unframe(audiences[0].position_update(1, 1)).nodes["x"].tolist() == [9.0, 9.0]  # type: ignore[union-attr]
    assert len(encoded) == 3


@pytest.mark.parametrize(
    ("limit", "served"),
    [(Encoding.RAW, {"raw", "lz4", "compact"}), (Encoding.LZ4, {"lz4", "compact"}), (Encoding.COMPACT, {"compact"})],
)
def test_encodings_beyond_the_limit_are_refused(limit: Encoding, served: set[str]) -> None:
    for encoding in Encoding:
        if encoding in served:
            assert ConnectionOptions.from_query({"encoding": encoding}, limit).variant.encoding is encoding
        else:
            with pytest.raises(UsageError, match=f"does not serve encoding={encoding}.*encoding=compact"):
                ConnectionOptions.from_query({"encoding": encoding}, limit)
    if limit is not Encoding.RAW:
        with pytest.raises(UsageError, match="encoding=raw"):
            ConnectionOptions.from_query({}, limit)
