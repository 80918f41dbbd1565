"""When a client connects, waits, tries again and gives up. Sans-IO: events and the time go in, an action comes out.

The table below is the description's state diagram, with what `docs/protocol.md` adds to it; the code runs it, the
tests compare it with the diagram. A load generator owns one `LifeCycle` per simulated client, so it is small, and
costs nothing per message once the connection has proved itself.

Two habits of the systems before this one are avoided on purpose: a failure that arrives twice (an error, then the
close it caused) counts once, since the table has no way out of Reconnecting for it; and a bare open does not reset
the count, else a server that accepts and drops is retried forever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from vfctl.protocol import MessageType

BACKOFF_MS: Final = (500, 1000, 2000, 4000, 8000)
"""What is waited before each retry. Then it is over."""

PROOF_S: Final = 5.0
"""A connection that stayed open this long has proved itself, whatever it sent."""

CLEAN_CLOSES: Final = frozenset({1000, 1005})
"""The peer has said that it is done. 1005 is a close frame without a code, which many libraries send for 1000."""

RETRYABLE_CLOSES: Final = frozenset({1001, 1006, 1008, 1011, 1012, 1013, 1014})
"""Close codes that speak of a moment, not of this conversation:

1001 going away, 1012 restart, 1013 try again later: said by a server that expects us back.
1006 no close frame at all: a crash, a cut cable, an abort.
1008 policy: V4 servers say it to a client that was too slow, when it can still be said, and abort (1006) when it
cannot. The same fate must not have two outcomes.
1011 internal error, 1014 bad gateway: another attempt may meet a healthy server; five of them end it otherwise.

The others would end the same way again: 1002, 1003, 1007, 1009 and 1010 say that one side cannot read the other,
1015 that TLS failed, and 3000–4999 belong to applications: they are meant for this client, and V4 defines none.
"""


class State(Enum):
    """The description's four."""

    DISCONNECTED = "Disconnected"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    RECONNECTING = "Reconnecting"


class Event(Enum):
    """What moves a connection from state to state."""

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
    """One arrow of the diagram."""

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
"""Every transition there is. An event that has none from the present state is stale and changes nothing."""

_NEXT: Final = {(state, event): next_state for state, event, next_state in TRANSITIONS}


@dataclass(frozen=True, slots=True)
class Open:
    """Open a connection; then tell `opened` or `open_failed`."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection that is open, opening, or has just been opened too late; cancel a timer."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Tell `backoff_elapsed` after this many seconds."""

    delay_s: float


Action = Open | Close | StartTimer

OPEN: Final = Open()
CLOSE: Final = Close()


def is_retryable(close_code: int) -> bool:
    """Whether a connection that was closed with this code is worth another attempt."""
    return close_code in RETRYABLE_CLOSES


def backoff_s(jitter: Callable[[float], float] | None = None) -> Iterator[float]:
    """The seconds to wait before each retry, in order; as many as there are retries.

    Args:
        jitter: what to make of each delay, to spread clients that failed together. None waits exactly as described.
    """
    for delay_ms in BACKOFF_MS:
        delay_s = delay_ms / 1000
        yield delay_s if jitter is None else jitter(delay_s)


class LifeCycle:
    """The life of one client's connection.

    Every method takes what has happened and returns what to do now, or None. Times are seconds of any monotonic
    clock.

    Attributes:
        state: where the diagram stands.
        retries: how many retries in a row have begun (waiting included) since the connection last proved itself.
        reconnects: how many retries have ended in an open connection, in all.
        proven: the present connection has proved itself by what it sent; `observe` has no more to learn.
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
        """The user wants a connection."""
        if not self._move(Event.CONNECT):
            return None
        self._reset()
        return OPEN

    def opened(self, now_s: float) -> Action | None:
        """The WebSocket handshake is done. CLOSE if nobody waits for it any more (timed out, disconnected)."""
        if not self._move(Event.OPENED):
            return CLOSE if self.state is not State.CONNECTED else None
        self.reconnects += self.retries > 0
        self.proven = self._graph_seen = False
        self._opened_s = now_s
        return None

    def open_failed(self) -> Action | None:
        """The connection could not be opened: refused, answered otherwise, timed out."""
        if self.retries == 0:
            self._move(Event.FIRST_FAILED)
            return None
        return self._retry() if self._move(Event.RETRY_FAILED) else None

    def observe(self, type_id: int) -> None:
        """A message has come. Need not be called once `proven` is set.

        Args:
            type_id: its second byte.
        """
        if type_id == MessageType.FULL_GRAPH:
            self._graph_seen = True
        elif type_id == MessageType.POSITION_UPDATE and self._graph_seen and self._move(Event.PROVED):
            self.proven = True
            self._reset()

    def closed(self, close_code: int, now_s: float) -> Action | None:
        """The open connection is gone.

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
        """The timer has run out."""
        return OPEN if self._move(Event.BACKOFF_ELAPSED) else None

    def disconnect(self) -> Action | None:
        """The user wants no connection any more."""
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
