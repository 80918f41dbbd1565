"""Questions of a gateway to what stands behind the bus: how it is set, and please to set it otherwise."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from typing import Any, Final

from vfctl.bus import BusConnection, Envelope, Kind

ANSWER_TIMEOUT_S: Final = 5.0
"""The source answers between two ticks; a hundred thousand nodes on a busy core still leave it time for that."""


class Inquiry:
    """Takes questions to the source, and answers back.

    Args:
        bus: what they travel over.
        gateway: the number of the gateway that asks.
    """

    def __init__(self, bus: BusConnection, gateway: int) -> None:
        self._bus = bus
        self._gateway = gateway
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, what: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Have something changed (nothing: just ask), and return what the source answers, or `error` and `hint`.

        Args:
            what: `physics` or `replay`.

        Raises:
            TimeoutError: the source does not answer.
        """
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            question = json.dumps({what: dict(changes)}).encode()
            self._bus.send(Envelope(Kind.REQUEST, question, self._gateway, number))
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        finally:
            del self._waiting[number]

    def take_reply(self, envelope: Envelope) -> None:
        """The answer to a question, unless nobody waits for it any more."""
        answer = self._waiting.get(envelope.client)
        if answer is not None and not answer.done():
            answer.set_result(json.loads(bytes(envelope.payload)))
