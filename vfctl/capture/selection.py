"""Select messages of a recording, and nodes of these: `--type`, `--node`, `--from`, `--to`, `--every`, `--limit`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vfctl.capture.message import TYPE_NAMES
from vfctl.capture.timeline import DecodedMessage, DecodedRun, Item, form_name, type_name_of
from vfctl.errors import InputError, UsageError
from vfctl.protocol import CompactUpdate, FullGraph, Metadata, NodeDrag, NodeSelect, PositionUpdate
from vfctl.protocol.deployed import ID_MASK, DeployedFrame, Form

TYPES: Final = (*TYPE_NAMES.values(), "Reserved", *(form_name(form) for form in Form if form is not Form.V4))
"""Names that `types` may contain."""

_BEYOND_S: Final = 1.0
"""Reading continues for so long behind `to_s`, because arrival times may be slightly out of order."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages of a recording to show, and which nodes.

    Attributes:
        types: names of message types, of TYPES; empty for all.
        nodes: node ids, or labels from a FullGraph with METADATA; empty for all. Other nodes are removed from messages,
            and messages without any of these nodes are left out.
        from_s: start in seconds of the recording, inclusive.
        to_s: end in seconds of the recording, exclusive.
        every: keep every n-th PositionUpdate of a connection. Other messages stay.
        every_s: keep the first PositionUpdate of a connection in each interval of this many seconds.
        limit: greatest number of messages.
    """

    types: frozenset[str] = frozenset()
    nodes: tuple[str, ...] = ()
    from_s: float | None = None
    to_s: float | None = None
    every: int | None = None
    every_s: float | None = None
    limit: int | None = None


EVERYTHING: Final = Selection()


def types_named(names: list[str]) -> frozenset[str]:
    """Message types by name. Capitalisation does not matter.

    Raises:
        UsageError: there is no such type.
    """
    known = {name.lower(): name for name in TYPES}
    for name in names:
        if name.lower() not in known:
            raise UsageError(f"no message type is called {name!r}", hint=f"the types are {', '.join(TYPES)}")
    return frozenset(known[name.lower()] for name in names)


def select(items: Iterator[Item], selection: Selection) -> Iterator[Item]:
    """The selected items. Nothing is read beyond them.

    Raises:
        InputError: no FullGraph had a label. Raised after all items have been yielded.
        VfctlError: as for iterating `items`.
    """
    left = selection.limit
    if left == 0:
        return
    filters = _Filters(selection)
    for item in items:
        if filters.is_over(item):
            break
        for chosen in filters.chosen(item):
            if left is None:
                yield chosen
                continue
            yield chosen.where(slice(left)) if isinstance(chosen, DecodedRun) else chosen
            left -= len(chosen) if isinstance(chosen, DecodedRun) else 1
            if left <= 0:
                return  # before anything more is read
    filters.check_labels()


class _Filters:
    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._ids = {int(name) for name in selection.nodes if name.isdecimal()}
        self._labels = {name for name in selection.nodes if not name.isdecimal()}
        self._found: set[str] = set()
        self._updates: dict[int, int] = {}  # by connection
        self._stretches: dict[int, int] = {}

    def is_over(self, item: Item) -> bool:
        to_s = self._selection.to_s
        if to_s is None:
            return False
        first_s = item.times_s[0] if isinstance(item, DecodedRun) else item.time_s
        return bool(first_s > to_s + _BEYOND_S)

    def chosen(self, item: Item) -> Sequence[Item]:
        """The selected part of one item: usually the item, or nothing."""
        if isinstance(item, DecodedRun):
            return self._chosen_run(item)
        message = self._chosen_message(item)
        return () if message is None else (message,)

    def _chosen_message(self, item: DecodedMessage) -> DecodedMessage | None:
        if isinstance(item.message, FullGraph) and item.message.metadata:
            self._learn(item.message, item.message.metadata)
        selection = self._selection
        name = type_name_of(item.message)
        if selection.types and name not in selection.types:
            return None
        if selection.from_s is not None and item.time_s < selection.from_s:
            return None
        if selection.to_s is not None and item.time_s >= selection.to_s:
            return None
        if isinstance(item.message, PositionUpdate | CompactUpdate | DeployedFrame) and not self._is_due(item):
            return None
        return self._with_nodes(item) if selection.nodes else item

    def _chosen_run(self, run: DecodedRun) -> Sequence[Item]:
        selection = self._selection
        if selection.types and "PositionUpdate" not in selection.types:
            return ()
        if selection.from_s is not None or selection.to_s is not None:
            wanted = np.ones(len(run), bool)
            if selection.from_s is not None:
                wanted &= run.times_s >= selection.from_s
            if selection.to_s is not None:
                wanted &= run.times_s < selection.to_s
            if not wanted.all():
                run = run.where(wanted)
        if len(run) and (selection.every or selection.every_s):
            run = self._thinned(run)
        if len(run) and selection.nodes:
            return self._run_with_nodes(run)
        return (run,) if len(run) else ()

    def _is_due(self, item: DecodedMessage) -> bool:
        selection, connection = self._selection, item.connection
        if selection.every:
            count = self._updates.get(connection, 0)
            self._updates[connection] = count + 1
            return count % selection.every == 0
        if selection.every_s:
            stretch = int(_stretches(item.time_s, selection.every_s))
            is_new = stretch != self._stretches.get(connection)
            self._stretches[connection] = stretch
            return is_new
        return True

    def _thinned(self, run: DecodedRun) -> DecodedRun:
        selection = self._selection
        if selection.every:
            count = self._updates.get(run.connection, 0)
            self._updates[run.connection] = count + len(run)
            return run.where(slice(-count % selection.every, None, selection.every))
        stretches = _stretches(run.times_s, selection.every_s or 1.0)
        is_new = np.empty(len(run), bool)
        is_new[0] = stretches[0] != self._stretches.get(run.connection)
        is_new[1:] = stretches[1:] != stretches[:-1]
        self._stretches[run.connection] = int(stretches[-1])
        return run.where(is_new)

    def _learn(self, graph: FullGraph, metadata: Metadata) -> None:
        if self._labels:
            for label, node_id in zip(metadata.label, graph.nodes["id"].tolist(), strict=True):
                if label in self._labels:
                    self._found.add(label)
                    self._ids.add(node_id)

    def check_labels(self) -> None:
        """Raise InputError if a label was not found."""
        unknown = sorted(self._labels - self._found)
        if unknown:
            raise InputError(
                f"no node of the recording is called {', '.join(map(repr, unknown))}",
                hint="labels come with FullGraphs that have METADATA; ids are numbers",
            )

    def _is_wanted(self, ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        wanted: npt.NDArray[np.bool_] = np.isin(ids, np.fromiter(self._ids, np.int64, len(self._ids)))
        return wanted

    def _run_with_nodes(self, run: DecodedRun) -> Sequence[Item]:
        ids = run.nodes["id"]
        if (ids == ids[0]).all():
            wanted = np.flatnonzero(self._is_wanted(ids[0]))
            return (replace(run, nodes=run.nodes[:, wanted]),) if len(wanted) else ()
        # The nodes differ between messages, so the number of selected ones may, too.
        return [chosen for item in run.messages() if (chosen := self._with_nodes(item))]

    def _with_nodes(self, item: DecodedMessage) -> DecodedMessage | None:
        message: Any = item.message
        match message:
            case NodeSelect() | NodeDrag():
                return item if message.node_id in self._ids else None
            case FullGraph():
                wanted = self._is_wanted(message.nodes["id"])
                ends = self._is_wanted(message.edges["source"]) & self._is_wanted(message.edges["target"])
                metadata = message.metadata and _metadata_where(message.metadata, wanted)
                message = replace(message, nodes=message.nodes[wanted], edges=message.edges[ends], metadata=metadata)
            case PositionUpdate():
                wanted = self._is_wanted(message.nodes["id"])
                message = replace(message, nodes=message.nodes[wanted])
            case DeployedFrame():
                wanted = self._is_wanted(message.records["id"] & np.uint32(ID_MASK))
                message = replace(message, records=message.records[wanted])
            case _:
                return None
        return replace(item, message=message) if wanted.any() else None


def _stretches(time_s: Any, every_s: float) -> Any:
    """Index of the interval that contains a time.

    In whole nanoseconds, because 0.3 / 0.1 is slightly less than 3. In float64, because a trailer may have times
    beyond int64.
    """
    return np.rint(np.multiply(time_s, 1e9)) // max(1.0, round(every_s * 1e9))


def _metadata_where(metadata: Metadata, wanted: npt.NDArray[np.bool_]) -> Metadata:
    places = np.flatnonzero(wanted).tolist()
    columns = (metadata.label, metadata.kind, metadata.depth, metadata.cluster)
    return Metadata(*(tuple(column[place] for place in places) for column in columns))  # type: ignore[arg-type]
