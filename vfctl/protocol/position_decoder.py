"""Decodes positions of all encodings: messages in, messages with positions out. The receiving side of COMPACT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vfctl.errors import ProtocolError
from vfctl.protocol.compact import (
    HEADER_BYTES,
    SECTION_OFFSET,
    SectionHeader,
    extrapolate,
    ids_check,
    key_section,
    read_header,
    read_key,
    read_residual,
)
from vfctl.protocol.grid import Grid, Integers
from vfctl.protocol.messages import CompactUpdate, FullGraph, Message, Nodes, PositionUpdate, Trailer
from vfctl.protocol.wire import NODE_DTYPE

_LAGS_AT = SECTION_OFFSET + 12


class _Known(NamedTuple):
    """The last two states that were received; `earlier` is None if there is one only."""

    chain: int
    grid: Grid
    position: int
    latest: Integers
    span: int
    earlier: Integers | None


class PositionDecoder:
    """Decodes the messages of one connection or recording, in any encoding.

    COMPACT updates are decoded with the ids of the last FullGraph and the two states before them. A message that is
    refused changes nothing. Later messages that are predicted from it are refused, too, up to the next key frame.
    """

    def __init__(self) -> None:
        self._template: Nodes | None = None
        self._check = 0
        self._known: _Known | None = None

    @property
    def grid(self) -> Grid | None:
        """The grid of the newest COMPACT update; None before the first."""
        return None if self._known is None else self._known.grid

    def decode(self, message: Message) -> Message:
        """Decode the next message. A CompactUpdate is returned as a PositionUpdate, all others unchanged.

        Raises:
            ProtocolError: a COMPACT section is damaged, for other nodes, or predicted from states that were not
                received. Offsets count from the start of the message.
        """
        if isinstance(message, FullGraph):
            self._template = np.zeros(len(message.nodes), NODE_DTYPE)
            self._template["id"] = message.nodes["id"]
            self._check = ids_check(message.nodes["id"])
            self._known = None
        if not isinstance(message, CompactUpdate):
            return message
        if self._template is None:
            raise ProtocolError("a COMPACT update before any FullGraph, so the node ids are unknown", offset=2)
        count = len(self._template)
        if message.count != count:
            raise ProtocolError(f"{message.count} nodes, expected the {count} of the last FullGraph", offset=4)
        header = read_header(message.section, count, self._check)
        if header.back is None:
            grid, latest, earlier = read_key(message.section, count, header.span)
            self._known = _Known(header.chain, grid, header.position, latest, header.span, earlier)
        else:
            self._known = self._follow(message.section, header, header.back)
        nodes = self._template.copy()
        nodes["x"], nodes["y"], nodes["z"] = self._known.grid.dequantise(self._known.latest)
        return PositionUpdate(nodes, message.settled, message.trailer, compact=True)

    def key_frame(self, settled: bool, trailer: Trailer | None) -> CompactUpdate | None:
        """Make the key frame that brings another decoder to the state of this one, after the FullGraph.

        None if there was no COMPACT update since the FullGraph, or if its two states do not fit into one section.
        """
        known = self._known
        if known is None:
            return None
        difference = None if known.earlier is None else known.latest - known.earlier
        header = SectionHeader(known.chain, known.position, None, known.span if difference is not None else 0)
        section, span = key_section(known.grid, known.latest, difference, header, self._check)
        if span != header.span:
            return None
        return CompactUpdate(known.latest.shape[1], section, settled, trailer)

    def _follow(self, section: bytes, header: SectionHeader, back: int) -> _Known:
        known, span = self._known, header.span
        if known is None or known.chain != header.chain:
            have = "none" if known is None else f"chain {known.chain}"
            raise ProtocolError(
                f"a COMPACT frame of chain {header.chain}, but {have} has begun: expected a key frame",
                offset=SECTION_OFFSET,
            )
        if known.position + back != header.position:
            raise ProtocolError(
                f"a COMPACT frame predicted from state {header.position - back}, the last received is {known.position}",
                offset=_LAGS_AT,
            )
        if span and (span != known.span or known.earlier is None):
            raise ProtocolError(
                f"a COMPACT frame predicted from states {span} apart, expected {known.span}", offset=_LAGS_AT + 2
            )
        if not back:
            if len(section) > HEADER_BYTES:
                raise ProtocolError("a COMPACT frame that changes a state that was received", offset=_LAGS_AT)
            return known
        earlier = known.latest if known.earlier is None else known.earlier
        latest = read_residual(section, extrapolate(earlier, known.latest, span, back))
        return _Known(known.chain, known.grid, header.position, latest, back, known.latest)
