"""When a client connects, waits, retries and gives up. Sans-IO: events and the time go in, an action comes out.

The table below is the state diagram of the system's description, with the additions of `docs/protocol.md`. The code
runs the table, and the tests compare it with the diagram. A load generator has one `LifeCycle` per simulated client, so
it is small, and costs nothing per message once the connection is proven.

A failure that is reported twice (an error, then the close that it caused) counts once, because the table has no
transition for it from Reconnecting. An open alone does not reset the count of retries, because a server that accepts
and drops connections would be retried forever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from vfctl.protocol import MessageType

BACKOFF_MS: Final = (500, 1000, 2000, 4000, 8000)
"""Seconds before each retry. After the last one the client gives up."""

PROOF_S: Final = 5.0
"""A connection that was open for this long is proven, whatever it sent."""

CLEAN_CLOSES: Final = frozenset({1000, 1005})
"""Clean closes. 1005 is a close frame without a code, which many libraries send for 1000."""

RETRYABLE_CLOSES: Final = frozenset({1001, 1006, 1008, 1011, 1012, 1013, 1014})
"""Close codes of temporary conditions:

1001 going away, 1012 restart, 1013 try again later: the server expects clients to come back.
1006 no close frame: a crash, a cut cable, an abort.
1008 policy: V4 servers send it to a client that is too slow, if they still can, and abort (1006) otherwise. Both must
have the same outcome.
1011 internal error, 1014 bad gateway: the next attempt may reach a healthy server. Five failures end it otherwise.

The others would fail again: 1002, 1003, 1007, 1009 and 1010 mean that one side cannot read the other, 1015 that TLS
failed, and 3000–4999 belong to applications, of which V4 defines none.
"""


class State(Enum):
    """The four states of the system's description."""

    DISCONNECTED = "Disconnected"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    RECONNECTING = "Reconnecting"


class Event(Enum):
    """What changes the state of a connection."""

    CONNECT = "connect()"
    OPENED = "onopen"
    FIRST_FAILED = "onerror/timeout"
    RETRY_FAILED = "onerror/timeout of a retry"
    PROVED = "onmessage"
    LOST = "onerror/onclose"
    ENDED = "onclose, not to be retried"
    BACKOFF_ELAPSED = "backoff elapsed"
    RETRIES_EXCEEDED = "max_retries exceeded"
    DISCONNECT = "disconnect()"


class Transition(NamedTuple):
    """One transition of the diagram."""

    state: State
    event: Event
    next_state: State


TRANSITIONS: Final = (
    Transition(State.DISCONNECTED, Event.CONNECT, State.CONNECTING),
    Transition(State.CONNECTING, Event.OPENED, State.CONNECTED),
    Transition(State.CONNECTING, Event.FIRST_FAILED, State.DISCONNECTED),
    Transition(State.CONNECTING, Event.RETRY_FAILED, State.RECONNECTING),
    Transition(State.CONNECTED, Event.PROVED, State.CONNECTED),
    Transition(State.CONNECTED, Event.LOST, State.RECONNECTING),
    Transition(State.CONNECTED, Event.ENDED, State.DISCONNECTED),
    Transition(State.RECONNECTING, Event.BACKOFF_ELAPSED, State.CONNECTING),
    Transition(State.RECONNECTING, Event.RETRIES_EXCEEDED, State.DISCONNECTED),
    *(Transition(state, Event.DISCONNECT, State.DISCONNECTED) for state in State),
)
"""All transitions. An event without a transition from the current state is stale and changes nothing."""

_NEXT: Final = {(state, event): next_state for state, event, next_state in TRANSITIONS}


@dataclass(frozen=True, slots=True)
class Open:
    """Open a connection, then call `opened` or `open_failed`."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection that is open, opening or opened too late. Cancel the timer."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Call `backoff_elapsed` after this many seconds."""

    delay_s: float


Action = Open | Close | StartTimer

OPEN: Final = Open()
CLOSE: Final = Close()


def is_retryable(close_code: int) -> bool:
    """Whether to retry after a close with this code."""
    return close_code in RETRYABLE_CLOSES


def backoff_s(jitter: Callable[[float], float] | None = None) -> Iterator[float]:
    """The seconds to wait before each retry, in order; as many as there are retries.

    Args:
        jitter: changes each delay, to spread clients that failed together. None keeps the delays.
    """
    for delay_ms in BACKOFF_MS:
        delay_s = delay_ms / 1000
        yield delay_s if jitter is None else jitter(delay_s)


class LifeCycle:
    """The life cycle of one client's connection.

    Every method records an event and returns the action to take now, or None. Times are seconds of any monotonic clock.

    Attributes:
        state: current state.
        retries: number of retries in a row, the one that waits included, since the connection was last proven.
        reconnects: number of retries that opened a connection, in all.
        proven: the connection was proven by what it sent. `observe` need not be called any more.
    """

    __slots__ = ("_delays", "_graph_seen", "_jitter", "_opened_s", "proven", "reconnects", "retries", "state")

    def __init__(self, jitter: Callable[[float], float] | None = None) -> None:
        self.state = State.DISCONNECTED
        self.retries = 0
        self.reconnects = 0
        self.proven = False
        self._graph_seen = False
        self._opened_s = 0.0
        self._jitter = jitter
        self._delays: Iterator[float] | None = None

    def connect(self) -> Action | None:
        """Connect, as the user wants."""
        if not self._move(Event.CONNECT):
            return None
        self._reset()
        return OPEN

    def opened(self, now_s: float) -> Action | None:
        """Record that the handshake is done. CLOSE if it came too late (timed out, disconnected)."""
        if not self._move(Event.OPENED):
            return CLOSE if self.state is not State.CONNECTED else None
        self.reconnects += self.retries > 0
        self.proven = self._graph_seen = False
        self._opened_s = now_s
        return None

    def open_failed(self) -> Action | None:
        """Record that the connection could not be opened: refused, no upgrade, timed out."""
        if self.retries == 0:
            self._move(Event.FIRST_FAILED)
            return None
        return self._retry() if self._move(Event.RETRY_FAILED) else None

    def observe(self, type_id: int) -> None:
        """Record a message. Need not be called once `proven` is set.

        Args:
            type_id: its second byte.
        """
        if type_id == MessageType.FULL_GRAPH:
            self._graph_seen = True
        elif type_id == MessageType.POSITION_UPDATE and self._graph_seen and self._move(Event.PROVED):
            self.proven = True
            self._reset()

    def closed(self, close_code: int, now_s: float) -> Action | None:
        """Record that the open connection is gone.

        Args:
            close_code: RFC 6455, section 7.4; 1006 if there was no close frame.
        """
        if not is_retryable(close_code):
            self._move(Event.ENDED)
            return None
        if not self._move(Event.LOST):
            return None
        if now_s - self._opened_s >= PROOF_S:
            self._reset()
        return self._retry()

    def backoff_elapsed(self) -> Action | None:
        """Record that the timer has expired."""
        return OPEN if self._move(Event.BACKOFF_ELAPSED) else None

    def disconnect(self) -> Action | None:
        """Disconnect, as the user wants."""
        was = self.state
        self._move(Event.DISCONNECT)
        return None if was is State.DISCONNECTED else CLOSE

    def _move(self, event: Event) -> bool:
        next_state = _NEXT.get((self.state, event))
        if next_state is None:
            return False
        self.state = next_state
        return True

    def _retry(self) -> Action | None:
        if self._delays is None:
            self._delays = backoff_s(self._jitter)
        delay_s = next(self._delays, None)
        if delay_s is None:
            self._move(Event.RETRIES_EXCEEDED)
            return None
        self.retries += 1
        return StartTimer(delay_s)

    def _reset(self) -> None:
        self.retries = 0
        self._delays = None
