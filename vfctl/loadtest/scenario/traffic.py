"""Recorded traffic of clients, used as load: for example, to repeat yesterday's incident."""

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
"""Limit of the messages that every generator process keeps in memory."""

_MESSAGE_BYTES: Final = 120
"""Memory per message besides its bytes."""

GAP_S: Final = 1.0
"""Pause between the last message of the recording and its repetition."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The messages that the clients of a recording sent.

    Attributes:
        connections: for each connection its messages: the time in seconds since the first message of all, and the V4
            message.
        period_s: time after which the recording is repeated.
    """

    connections: tuple[tuple[tuple[float, bytes], ...], ...]
    period_s: float


def load_traffic(path: str | Path) -> Traffic:
    """Read what clients sent in a recording of any capture format.

    Raises:
        InputError: the file cannot be read, or has no messages of clients.
        CaptureError: the file is no recording.
        UsageError: the messages exceed the memory limit.
    """
    try:
        status = Path(path).stat()
        version = (status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        version = (0, 0)  # `_load` reports the error
    return _load(str(path), version)


def recorded_mix(path: Path, mix: Sequence[Role]) -> tuple[Role, ...]:
    """A mix in which all clients do what those of a recording did. The recording is read to check it.

    Args:
        mix: the mix of the scenario, which must be empty.

    Raises:
        UsageError: `mix` is not empty, or as for `load_traffic`.
        InputError, CaptureError: as for `load_traffic`.
    """
    if mix:
        raise UsageError(
            "--traffic gives all clients the same role, but the scenario has a mix of roles",
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
                hint="select a part of it with vfctl capture cut",
            )
        first_s, last_s = min(first_s, message.time_s), max(last_s, message.time_s)
        connections[message.connection].append((message.time_s, message.payload))
    return Traffic(
        tuple(
            tuple(sorted(((time_s - first_s, payload) for time_s, payload in messages), key=lambda message: message[0]))
            for messages in connections.values()
        ),
        last_s - first_s + GAP_S,
    )
