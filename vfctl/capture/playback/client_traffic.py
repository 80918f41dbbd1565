"""The messages that clients sent in a recording, to be sent again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vfctl.capture.message import CapturedMessage, Direction, Form
from vfctl.capture.reader import open_capture
from vfctl.capture.timeline import timeline
from vfctl.errors import InputError, VfctlError
from vfctl.protocol import MessageType

ACTS: Final = frozenset(
    (MessageType.NODE_SELECT, MessageType.NODE_DRAG, MessageType.FILTER_UPDATE, MessageType.VOICE_DATA)
)
"""Types that are sent again. Heartbeats are not, because each connection sends its own."""


class ClientMessage(NamedTuple):
    """One message that a client sent.

    Attributes:
        time_s: seconds from the start of the recording.
        connection: number of the connection, the same in all files of a series.
        payload: one V4 message as sent.
    """

    time_s: float
    connection: int
    payload: bytes


def client_messages(paths: Sequence[str | Path]) -> Iterator[ClientMessage]:
    """The selections, drags, filters and speech of clients, in recorded order.

    Args:
        paths: files of one recording, in order.

    Raises:
        InputError: a file cannot be read, or no file has such a message.
        CaptureError: a file is no recording. Damaged parts of a recording are left out.
    """
    found = False
    for timed in timeline(_chain(paths)):
        captured = timed.captured
        if captured.direction is Direction.CLIENT and captured.form is Form.V4 and captured.payload[1] in ACTS:
            found = True
            yield ClientMessage(timed.time_s, captured.connection, captured.payload)
    if not found:
        name = paths[0] if len(paths) == 1 else f"{paths[0]} …"
        raise InputError(
            f"{name} has no messages of clients",
            hint="vfctl serve --record FILE.mcap records them, and so does a packet capture of the server's port; "
            "vfctl record only hears what the server sends",
        )


def _chain(paths: Sequence[str | Path]) -> Iterator[CapturedMessage]:
    for path in paths:
        with open_capture(path) as capture:
            messages = iter(capture)
            while True:
                try:
                    captured = next(messages)
                except (StopIteration, VfctlError) as end:
                    if isinstance(end, InputError):
                        raise
                    break
                yield captured
