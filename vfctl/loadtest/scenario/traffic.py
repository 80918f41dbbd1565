"""Recorded traffic of clients, as load: yesterday's incident once more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from vfctl.errors import UsageError
from vfctl.loadtest.scenario.roles import Recorded, Role

MAX_BYTES: Final = 64 * 2**20
"""Of messages that are kept in memory, in every generator process."""

_MESSAGE_BYTES: Final = 120
"""What a message takes besides its bytes."""

GAP_S: Final = 1.0
"""Between the last message of the recording and the first one, when it begins again."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the clients of a recording sent.

    Attributes:
        connections: for each connection its messages: seconds since the first of all, and the V4 message.
        period_s: after which it begins again.
    """

    connections: tuple[tuple[tuple[float, bytes], ...], ...]
    period_s: float


def load_traffic(path: str | Path) -> Traffic:
    """Read what clients sent in a recording, of whatever format.

    Raises:
        InputError: the file cannot be read, or has no messages of clients.
        CaptureError: it is no recording.
        UsageError: there is more than fits in memory.
    """
    try:
        status = Path(path).stat()
        version = (status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        version = (0, 0)  # opening it says why
    return _load(str(path), version)


def recorded_mix(path: Path, mix: Sequence[Role]) -> tuple[Role, ...]:
    """All clients do what those of a recording did; the recording is read to see that they did something.

    Args:
        mix: the scenario's own.

    Raises:
        UsageError: that is not empty, or as for `load_traffic`.
        InputError, CaptureError: as for `load_traffic`.
    """
    if mix:
        raise UsageError(
            "--traffic says what all clients do, and the scenario has a mix of roles",
            hint=f"""add to its mix: role = "recorded", traffic = "{path}\"""",
        )
    load_traffic(path)
    return (Recorded(traffic=str(path)),)


@lru_cache(maxsize=4)
def _load(path: str, version: tuple[int, int]) -> Traffic:
    from vfctl.capture.playback.client_traffic import client_messages

    connections: defaultdict[int, list[tuple[float, bytes]]] = defaultdict(list)
    size = 0
    first_s, last_s = float("inf"), 0.0
    for message in client_messages([path]):
        size += len(message.payload) + _MESSAGE_BYTES
        if size > MAX_BYTES:
            raise UsageError(
                f"{path}: its clients sent more than {MAX_BYTES // 2**20} MiB, which is too much for a load test",
                hint="vfctl capture cut takes a part of it",
            )
        first_s, last_s = min(first_s, message.time_s), max(last_s, message.time_s)
        connections[message.connection].append((message.time_s, message.payload))
    return Traffic(
        tuple(
            tuple(sorted(((time_s - first_s, payload) for time_s, payload in messages), key=lambda act: act[0]))
            for messages in connections.values()
        ),
        last_s - first_s + GAP_S,
    )
