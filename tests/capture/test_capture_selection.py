"""Choosing messages and nodes, one by one and in runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vfctl.capture import open_capture
from vfctl.capture.selection import TYPES, Selection, select, types_named
from vfctl.capture.timeline import DecodedMessage, DecodedRun, decoded_items
from vfctl.errors import InputError, UsageError
from vfctl.protocol import FullGraph, Heartbeat, Message, NodeDrag, NodeSelect, PositionUpdate, Trailer


@pytest.fixture
def recording(record: Callable[..., Path], graph_message: FullGraph, make_nodes: Callable[..., Any]) -> Path:
    """A FullGraph, 100 updates 50 ms apart (one is other nodes'), a Heartbeat, a drag of node 3, a click on node 9."""
    updates: list[Message] = [
        PositionUpdate(
            make_nodes(number, (9, 7, 3) if number == 50 else (7, 3, 9)),
            trailer=Trailer(number, number * 50_000, 50_000),
        )
        for number in range(100)
    ]
    return record([graph_message, *updates, Heartbeat(1), NodeDrag(3, 0, 0, 0), NodeSelect(9)], "a.bin")


def chosen(path: Path, selection: Selection) -> list[DecodedMessage]:
    """What is selected, once from runs and once one by one, which has to be the same."""

    def flat(messages: Any) -> list[DecodedMessage]:
        found: list[DecodedMessage] = []
        for item in select(decoded_items(messages), selection):
            found += item.messages() if isinstance(item, DecodedRun) else [item]
        return found

    with open_capture(path) as capture:
        in_runs = flat(capture.runs())
    with open_capture(path) as capture:
        single = flat(capture)
    assert [vars_of(item) for item in in_runs] == [vars_of(item) for item in single]
    return single


def vars_of(item: DecodedMessage) -> tuple[Any, ...]:
    return (item.number, item.time_s, item.offset, item.bytes, item.message)


def numbers(path: Path, **wanted: Any) -> list[int]:
    return [item.number for item in chosen(path, Selection(**wanted))]


def test_stretches_begin_where_they_are_due(recording: Path) -> None:
    """0.3 ÷ 0.1 is a little less than 3."""
    updates = frozenset(["PositionUpdate"])
    assert numbers(recording, types=updates, every_s=0.1) == list(range(1, 101, 2))
    assert numbers(recording, types=updates, every_s=1e-12) == list(range(1, 101))


def test_everything_is_everything(recording: Path) -> None:
    assert numbers(recording) == list(range(104))


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["fullgraph"], [0]),
        (["Heartbeat", "NODESELECT"], [101, 103]),
        (["PositionUpdate"], list(range(1, 101))),
        (["V3"], []),
    ],
)
def test_types_by_name(recording: Path, types: list[str], expected: list[int]) -> None:
    assert numbers(recording, types=types_named(types)) == expected


def test_a_type_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="'Frame'") as caught:
        types_named(["Frame"])
    assert all(name in (caught.value.hint or "") for name in TYPES)


def test_a_stretch_of_time_begins_with_its_start_and_ends_before_its_end(recording: Path) -> None:
    assert numbers(recording, from_s=1.0, to_s=1.2) == [21, 22, 23, 24]
    first, second = numbers(recording, to_s=2.0), numbers(recording, from_s=2.0)
    assert first + second == list(range(104))


def test_reading_stops_behind_the_end(recording: Path) -> None:
    seen: list[int] = []

    def watched() -> Any:
        for captured in open_capture(recording):
            seen.append(captured.offset)
            yield captured

    list(select(decoded_items(watched()), Selection(to_s=1.0)))
    assert 40 <= len(seen) <= 45


@pytest.mark.parametrize("every", [1, 2, 3, 7, 99, 100, 1000])
def test_every_n_th_update(recording: Path, every: int) -> None:
    expected = [0, *range(1, 101, every), 101, 102, 103]
    assert numbers(recording, every=every) == expected


def test_one_update_in_each_second(recording: Path) -> None:
    assert numbers(recording, every_s=1.0) == [0, 1, 21, 41, 61, 81, 101, 102, 103]
    assert numbers(recording, every_s=1.0, from_s=1.5, types=types_named(["PositionUpdate"])) == [31, 41, 61, 81]


@pytest.mark.parametrize("limit", [0, 1, 2, 50, 1000])
def test_a_limit_counts_what_is_chosen(recording: Path, limit: int) -> None:
    assert numbers(recording, limit=limit, every=2) == [0, *range(1, 101, 2), 101, 102, 103][:limit]


def ids(items: Sequence[DecodedMessage]) -> set[tuple[int, ...]]:
    return {tuple(item.message.nodes["id"].tolist()) for item in items if hasattr(item.message, "nodes")}


def test_nodes_by_id_and_by_label(recording: Path) -> None:
    items = chosen(recording, Selection(nodes=("7", "Drei")))
    assert [item.number for item in items] == [*range(101), 102], (
        "a Heartbeat is about no node, the click about another"
    )
    assert ids(items) == {(7, 3)}
    graph = items[0].message
    assert isinstance(graph, FullGraph)
    assert graph.metadata is not None
    assert (graph.metadata.label, graph.metadata.depth) == (("Sieben", "Drei"), (0, 1))
    assert graph.edges["target"].tolist() == [3], "of the edges that with both ends there"
    assert [item.number for item in chosen(recording, Selection(nodes=("9",)))] == [*range(101), 103]


def test_nodes_that_are_not_there_leave_nothing(recording: Path) -> None:
    assert chosen(recording, Selection(nodes=("12345",))) == []
    with pytest.raises(InputError, match="'Zehn', 'Zwölf'"):
        chosen(recording, Selection(nodes=("Zwölf", "Zehn", "Drei")))


def test_the_positions_stay_with_their_nodes(recording: Path) -> None:
    items = chosen(recording, Selection(nodes=("9",), types=types_named(["PositionUpdate"])))
    assert np.concatenate([item.message.nodes["x"] for item in items]).tolist() == list(range(100))  # type: ignore[union-attr]
