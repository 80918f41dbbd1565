"""A gateway's end of a stream of envelopes: read where they stay, with as few copies and wake-ups as it goes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import numpy as np

from vfctl.bus.envelope import ENVELOPE, Envelope, Kind
from vfctl.errors import ProtocolError

BUFFER_BYTES: Final = 64 * 1024
"""Envelopes that fit are read together; a payload that does not is received into memory of its own."""


class EnvelopeReceiver(asyncio.BufferedProtocol):
    """Takes envelopes off a connection, in order.

    A StreamReader would do, but copies all bytes three times and stops the transport whenever 128 KB wait: a third
    of a gateway's work with states of 280 KB.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(BUFFER_BYTES)
        self._filled = 0
        self._large: memoryview | None = None
        self._large_filled = 0
        self._after_large = False
        self._large_header: tuple[Kind, int, int] = (Kind.GRAPH, 0, 0)
        self._arrived: deque[Envelope] = deque()
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._failure: ProtocolError | None = None
        self._transport: asyncio.BaseTransport | None = None

    async def next(self) -> Envelope | None:
        """The next envelope; None once the other side has left, be it in the midst of one.

        Raises:
            ProtocolError: what has come is not an envelope.
        """
        while not self._arrived:
            if self._failure:
                raise self._failure
            if self._ended.is_set():
                return None
            self._news.clear()
            await self._news.wait()
        return self._arrived.popleft()

    async def closed(self) -> None:
        """Until the connection has ended."""
        await self._ended.wait()

    # -- asyncio.BufferedProtocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember what to close."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """No more will come."""
        self._ended.set()
        self._news.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        if self._large is not None:
            return self._large[self._large_filled :]
        if self._after_large and self._filled < ENVELOPE.size:  # likely another one, which would be copied from here
            return memoryview(self._buffer)[self._filled : ENVELOPE.size]
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many have come."""
        if self._large is not None:
            self._large_filled += nbytes
            if self._large_filled == len(self._large):
                kind, gateway, client = self._large_header
                self._arrived.append(Envelope(kind, self._large, gateway, client))
                self._large = None
                self._after_large = True
                self._news.set()
            return
        self._filled += nbytes
        try:
            self._take_whole_ones()
        except ProtocolError as error:
            self._failure = error
            if self._transport is not None:
                self._transport.close()
        self._news.set()

    def _take_whole_ones(self) -> None:
        buffer, at = self._buffer, 0
        while self._filled - at >= ENVELOPE.size:
            start = at + ENVELOPE.size
            length, kind, gateway, client = Envelope.unpack_header(memoryview(buffer)[at:start])
            end = start + length
            if end <= self._filled:
                self._arrived.append(Envelope(kind, bytes(memoryview(buffer)[start:end]), gateway, client))
                self._after_large = False
                at = end
            elif length > BUFFER_BYTES - ENVELOPE.size:
                self._large = np.empty(length, np.uint8).data  # not zeroed first, as a bytearray is
                self._large_filled = self._filled - start
                self._large[: self._large_filled] = memoryview(buffer)[start : self._filled]
                self._large_header = kind, gateway, client
                self._filled = 0
                return
            else:
                break
        if at:
            left = bytes(memoryview(buffer)[at : self._filled])
            buffer[: len(left)] = left
            self._filled = len(left)
