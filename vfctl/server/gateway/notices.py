"""Notices to clients that want them: errors of one client, and the selections of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vfctl.protocol import Notice, encode
from vfctl.protocol.websocket import frame
from vfctl.protocol.wire import MAX_MESSAGE_BYTES
from vfctl.server.gateway.client_manager import ClientManager
from vfctl.server.gateway.connection import Connection

MAX_INITIAL_SELECTIONS: Final = 1000
"""A new client gets at most so many of the present selections, the newest."""


@dataclass(slots=True)
class NoticeSender:
    """Sends notices to those connections that asked for them in their URL.

    Args:
        clients: the connections.
    """

    _clients: ClientManager

    def send(self, connection: Connection, notice: Notice) -> None:
        """Send a notice to one client."""
        if connection.options.notices:
            self._clients.sender.send(connection, frame(encode(notice)))

    def send_error(self, connection: Connection, message: str) -> None:
        """Send an error to the client that caused it."""
        self.send(connection, Notice({"notice": "error", "message": message}))

    def broadcast(self, notice: Notice, *, to_own: Notice | None = None, own: Connection | None = None) -> None:
        """Send a notice to all clients.

        Args:
            notice: for everybody but `own`.
            to_own: what `own` gets instead.
            own: the client that caused the notice; None if it is on another gateway.
        """
        framed = frame(encode(notice))
        framed_own = framed if to_own is None else frame(encode(to_own))
        for connection in self._clients:
            if connection.options.notices:
                self._clients.sender.send(connection, framed_own if connection is own else framed)


@dataclass(slots=True)
class Selections:
    """Remembers the selection of each client on all gateways, so that new clients get them.

    Args:
        notices: sends them.
        clients: the connections of this gateway.
    """

    _notices: NoticeSender
    _clients: ClientManager
    _node_ids: dict[int, int] = field(default_factory=dict)
    """By client (`Envelope.sender`), the newest selection last."""

    def on_selection(self, client: int, node_id: int | None, own: Connection | None) -> None:
        """A client has selected a node, or cleared its selection.

        Args:
            client: its number on the bus (`Envelope.sender`).
            node_id: None clears the selection.
            own: its connection; None if it is on another gateway.
        """
        self._node_ids.pop(client, None)
        if node_id is not None:
            self._node_ids[client] = node_id
        self._notices.broadcast(_selection(client, node_id), to_own=_selection(client, node_id, own=True), own=own)

    def send_current(self, connection: Connection) -> None:
        """Send the present selections to a new client, behind its FullGraph however large that is."""
        if connection.options.notices and self._node_ids:
            newest = list(self._node_ids.items())[-MAX_INITIAL_SELECTIONS:]
            framed = b"".join(frame(encode(_selection(client, node_id))) for client, node_id in newest)
            self._clients.sender.send(connection, framed, max_waiting=MAX_MESSAGE_BYTES)


def _selection(client: int, node_id: int | None, **more: bool) -> Notice:
    return Notice({"notice": "selection", "client": client, "node_id": node_id, **more})
