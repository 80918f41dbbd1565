"""What clients do to the scene that they share, as the source keeps it: who has selected what, who drags what.

The source is the one place that hears all gateways, so there is one order of things for everybody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from vfctl.bus import EVERYBODY, Envelope, Kind
from vfctl.errors import InputError
from vfctl.protocol import NodeDrag, NodeSelect, Notice, VoiceData, decode, encode
from vfctl.server.process.frame_source import FrameSource

log = logging.getLogger(__name__)


class SharedScene:
    """Obeys clients.

    Args:
        source: what is dragged.
        publish: tells all gateways an EVENT.
    """

    def __init__(self, source: FrameSource, publish: Callable[[Envelope], None]) -> None:
        self._source = source
        self._publish = publish
        self._selections: dict[tuple[int, int], Envelope] = {}
        """By gateway and client: the EVENT that tells what it has selected."""
        self._draggers: set[tuple[int, int]] = set()

    def selections(self) -> Iterable[Envelope]:
        """The EVENTs that tell a gateway that has just come what is selected."""
        return list(self._selections.values())

    def obey(self, command: Envelope) -> None:
        """A COMMAND of a client: a drag moves a node, speech and selections go to the others. Or LEFT: it has gone, or
        its gateway has."""
        client = command.gateway, command.client
        if command.kind is Kind.LEFT:
            self._leave(command.gateway, command.client)
            return
        message = decode(command.payload)  # the gateway has decoded it before
        match message:
            case NodeDrag():
                try:
                    self._source.apply(message, command.sender)
                    self._draggers.add(client)
                except InputError as error:
                    notice = encode(Notice({"notice": "error", "message": error.message}))
                    self._publish(Envelope(Kind.EVENT, notice, command.gateway, command.client))
            case NodeSelect():
                self._select(client, replace(command, kind=Kind.EVENT), message.node_id)
            case VoiceData():
                self._publish(replace(command, kind=Kind.EVENT))
            case _:
                log.warning("a gateway sent a %s, which is not a command", type(message).__name__)

    def keep(self, node_ids: Collection[int]) -> None:
        """Another graph is served: what was selected and is not in it is selected no longer."""
        for (gateway, client), event in list(self._selections.items()):
            message = decode(event.payload)
            assert isinstance(message, NodeSelect)
            if message.node_id not in node_ids:
                self._deselect(gateway, client)

    def _select(self, client: tuple[int, int], event: Envelope, node_id: int | None) -> None:
        if node_id is None:
            self._selections.pop(client, None)
        else:
            self._selections[client] = event
        self._publish(event)

    def _deselect(self, gateway: int, client: int) -> None:
        event = Envelope(Kind.EVENT, encode(NodeSelect(None)), gateway, client)
        self._select((gateway, client), event, None)

    def _leave(self, gateway: int, client: int) -> None:
        """That client has gone, or (EVERYBODY) all of that gateway have."""
        gone = [(gateway, client)]
        if client == EVERYBODY:
            gone = [each for each in self._selections.keys() | self._draggers if each[0] == gateway]
        for each in gone:
            if each in self._selections:
                self._deselect(*each)
            if each in self._draggers:
                self._draggers.discard(each)
                self._source.leave(Envelope(Kind.LEFT, b"", *each).sender)
