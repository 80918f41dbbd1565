"""HAR as Chrome and mitmproxy save it: the messages of WebSockets are in `_webSocketMessages`.

Each message is found and parsed separately. So memory is bounded, damage costs only what it hits, and each message has
its file offset. (A parser of the whole document does none of the three.)
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from vfctl.capture.formats.websocket_messages import Tally, WebSocketConnection
from vfctl.capture.losses import Report
from vfctl.capture.message import CapturedMessage, Direction
from vfctl.capture.source import ByteSource, Window
from vfctl.errors import CaptureError, ProtocolError
from vfctl.protocol.deployed import form_of
from vfctl.protocol.websocket import Opcode
from vfctl.protocol.wire import MAX_MESSAGE_BYTES

_LIST: Final = re.compile(rb'[{,\s]"_webSocketMessages"\s*:\s*\[')
"""No string can contain this, because a quotation mark in a string has a backslash before it."""
_MESSAGE: Final = re.compile(rb'\{\s*"(?:type|time|opcode|data)"\s*:')
"""How a message begins. Messages are not nested."""
_STRAY: Final = re.compile(rb'\{\s*"type"\s*:\s*"(?:send|receive)"\s*,\s*"time"\s*:')
"""A message outside a list. The start of its list is damaged."""
_LONGEST_START: Final = 128
_BLANKS: Final = re.compile(rb"[\s,]*")
_TOKEN: Final = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\.)*+"|[{}\[\]"]', re.DOTALL)
"""A complete string, a bracket, or the start of a string that does not end here."""
_END: Final = re.compile(rb'(?:\]|"(?:comment|version|name)"\s*:\s*"[^"\\]*"\s*(?:\}\s*)?)\s*\}\s*\}\s*\Z')
"""How the document ends: with the entries, or with the other fields of HAR 1.2."""
_MAX_TEXT_BYTES: Final = MAX_MESSAGE_BYTES * 4 // 3 + 2**16
_NOT_BINARY: Final = (-1, *(opcode for opcode in Opcode if opcode is not Opcode.BINARY))
"""Valid opcodes of messages that are not VisionFlow's. Chrome gives an error the opcode -1."""
_DIRECTIONS: Final = {"send": Direction.CLIENT, "receive": Direction.SERVER}


def read_har(source: ByteSource, report: Report) -> Iterator[CapturedMessage]:
    """The binary messages of all WebSockets, in file order; each socket is a connection.

    Raises:
        CaptureError: there are none in it.
        InputError: the operating system cannot read on.
    """
    yield from _Reader(source, report).messages()


class _Reader:
    def __init__(self, source: ByteSource, report: Report) -> None:
        self._window = Window(source)
        self._losses = report.losses
        self._notes = report.notes
        self._tally = Tally(report)

    def messages(self) -> Iterator[CapturedMessage]:
        lists = found = 0
        while self._find_list():
            lists += 1
            connection = WebSocketConnection(self._tally)
            for offset, message in self._objects():
                captured = _captured(connection, message, offset)
                if captured:
                    yield captured
            connection.ended()
            found += connection.ours
        self._tally.summarise()
        if not found and not self._losses:
            raise CaptureError(
                f"{self._window.source.name} has no VisionFlow messages: it is a HAR with {lists} WebSockets",
                hint="; ".join(self._notes) or "load the page with the network panel open, then export with content",
            )

    def _find_list(self) -> bool:
        """Skip to the first message of the next list; False if there is no further list."""
        window = self._window
        while window.fill(1):
            match = _LIST.search(window.buffer, window.start)
            stray = _STRAY.search(window.buffer, window.start, match.start() if match else len(window.buffer))
            if stray:
                window.let_go(stray.start() - window.start)
                self._losses.note(window.offset, 'messages outside a list "_webSocketMessages"', 0)
                return True
            if match:
                window.let_go(match.end() - window.start)
                return True
            if window.ended:
                break
            window.let_go(max(0, window.available - _LONGEST_START))
            window.fill(window.available + 1)
        self._check_end()
        return False

    def _check_end(self) -> None:
        """Check that the file ends with the document."""
        window = self._window
        end = window.offset + window.available
        if not _END.search(window.buffer, max(0, len(window.buffer) - 4 * _LONGEST_START)):
            self._losses.note(end, "the file ends within the document, expected more", 0, cut_off=True)
        window.let_go(window.available)

    def _objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The messages of the current list, each with its file offset."""
        window = self._window
        while self._skip_blanks():
            if window.buffer[window.start] == ord("]"):
                return
            at = window.offset
            length = self._object_length() if window.buffer[window.start] == ord("{") else None
            message = _parsed(bytes(window.buffer[window.start : window.start + length])) if length else None
            if message is not None and length:
                window.let_go(length)
                yield at, message
            elif not self._resynchronise(at):
                return

    def _skip_blanks(self) -> bool:
        window = self._window
        while window.fill(1):
            match = _BLANKS.match(window.buffer, window.start)
            window.let_go(match.end() - window.start if match else 0)
            if window.available:
                return True
        return False

    def _object_length(self) -> int | None:
        """Length of the object here; None if it does not end before the next message begins."""
        window = self._window
        while True:
            following = _MESSAGE.search(window.buffer, window.start + 1)
            end = following.start() if following else len(window.buffer)
            depth = 0
            for match in _TOKEN.finditer(window.buffer, window.start, end):
                token = window.buffer[match.start()]
                if token == ord('"') and match.end() == match.start() + 1:
                    break
                depth += (token in b"{[") - (token in b"}]")
                if depth == 0:
                    return match.end() - window.start
            if following or window.ended or window.available > _MAX_TEXT_BYTES:
                return None
            window.fill(max(window.available + 1, window.available * 2))

    def _resynchronise(self, at: int) -> bool:
        """Record a loss, and skip to the next message of this list; False if it has none."""
        window = self._window
        while True:
            match = _MESSAGE.search(window.buffer, window.start + 1)
            other = _LIST.search(window.buffer, window.start, match.start() if match else len(window.buffer))
            if match or other or window.ended:
                break
            window.let_go(max(1, window.available - _LONGEST_START))
            window.fill(window.available + 1)
        found = other.start() if other else match.start() if match else len(window.buffer)
        window.let_go(found - window.start)
        cut_off = not (match or other)
        what = "a message in which the file ends" if cut_off else "not JSON"
        reason = f"{what}, expected a whole message with type, time, opcode and data"
        self._losses.note(at, reason, window.offset - at, cut_off=cut_off)
        return match is not None and other is None


def _captured(connection: WebSocketConnection, message: dict[str, Any], offset: int) -> CapturedMessage | None:
    opcode, data = message.get("opcode"), message.get("data")
    if opcode == Opcode.TEXT:
        connection.tally.texts += 1
    if opcode in _NOT_BINARY:
        return None
    direction = _DIRECTIONS.get(str(message.get("type")))
    size = len(data) if isinstance(data, str) else 0
    if direction is None or opcode != Opcode.BINARY or not isinstance(data, str):
        connection.lost(offset, "a message without its type, opcode or data", size)
        return None
    try:
        payload = binascii.a2b_base64(data.encode("ascii"), strict_mode=True)
        form = form_of(payload)
    except (binascii.Error, UnicodeEncodeError) as error:
        connection.lost(offset, f"data that is not Base64 ({error})", size)
        return None
    except ProtocolError as error:
        connection.others += 1
        connection.lost(offset, f"a binary message that is not VisionFlow's: {error.reason}", size)
        return None
    connection.found_ours()
    return CapturedMessage(payload, _time_ns(message.get("time")), offset, direction, connection.number, form)


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _time_ns(time_s: object) -> int | None:
    """Unix time in ns; None if the value is no time."""
    if isinstance(time_s, int | float) and not isinstance(time_s, bool) and 0 <= time_s < 2**34:
        whole = int(time_s)
        return whole * 10**9 + round((time_s - whole) * 1e9)
    return None
