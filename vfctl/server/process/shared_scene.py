"""What clients do to the scene that they share: selections and drags.

The source process keeps them, because it alone hears all gateways. So all clients see the same order of events.
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
    """Applies the commands of clients.

    Args:
        source: its nodes are dragged.
        publish: sends an EVENT to all gateways.
    """

    def __init__(self, source: FrameSource, publish: Callable[[Envelope], None]) -> None:
        self._source = source
        self._publish = publish
        self._selections: dict[tuple[int, int], Envelope] = {}
        """By gateway and client: the EVENT with its selection."""
        self._draggers: set[tuple[int, int]] = set()

    def selections(self) -> Iterable[Envelope]:
        """The EVENTs with all present selections, for a new gateway."""
        return list(self._selections.values())

    def handle_command(self, command: Envelope) -> None:
        """Apply a COMMAND: a drag moves a node, voice and selections go to all gateways. LEFT ends a client's part.

        Args:
            command: COMMAND of a client, or LEFT if it or its gateway has disconnected.
        """
        client = command.gateway, command.client
        if command.kind is Kind.LEFT:
            self._remove_client(command.gateway, command.client)
            return
        message = decode(command.payload)  # valid, because the gateway has decoded it before
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
        """The graph was replaced: clear selections of nodes that it does not have.

        Args:
            node_ids: of the new graph.
        """
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

    def _remove_client(self, gateway: int, client: int) -> None:
        """Clear selection and drags of a client, or with EVERYBODY of all clients of that gateway."""
        removed = [(gateway, client)]
        if client == EVERYBODY:
            removed = [each for each in self._selections.keys() | self._draggers if each[0] == gateway]
        for each in removed:
            if each in self._selections:
                self._deselect(*each)
            if each in self._draggers:
                self._draggers.discard(each)
                self._source.leave(Envelope(Kind.LEFT, b"", *each).sender)
