"""The life cycle of a connection: the diagram, transcripts, and whatever order events come in."""

from __future__ import annotations

import re

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vfctl.client.lifecycle import (
    BACKOFF_MS,
    CLOSE,
    OPEN,
    TRANSITIONS,
    Event,
    LifeCycle,
    StartTimer,
    State,
    Transition,
    backoff_s,
    is_retryable,
)
from vfctl.protocol import MessageType

FULL_GRAPH, POSITION_UPDATE = MessageType.FULL_GRAPH, MessageType.POSITION_UPDATE
DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0)

DIAGRAM = """
    Disconnected --> Connecting: connect()
    Connecting --> Connected: onopen
    Connecting --> Disconnected: onerror/timeout

    Connected --> Connected: onmessage
    Connected --> Reconnecting: onerror/onclose

    Reconnecting --> Connecting: backoff elapsed
    Reconnecting --> Disconnected: max_retries exceeded

    Connected --> Disconnected: disconnect()
"""
"""The state diagram of the system's description, as it stands there."""

ADDITIONS = {
    # A retry that fails is not the end; a first connect that fails is.
    Transition(State.CONNECTING, Event.RETRY_FAILED, State.RECONNECTING),
    # A clean close is an answer, not an accident.
    Transition(State.CONNECTED, Event.ENDED, State.DISCONNECTED),
    # disconnect() leads there from every state.
    Transition(State.DISCONNECTED, Event.DISCONNECT, State.DISCONNECTED),
    Transition(State.CONNECTING, Event.DISCONNECT, State.DISCONNECTED),
    Transition(State.RECONNECTING, Event.DISCONNECT, State.DISCONNECTED),
}


def test_the_table_is_the_diagram_and_the_documented_additions():
    arrows = re.findall(r"(\w+) --> (\w+): (.+)", DIAGRAM)
    described = {Transition(State(start), Event(label), State(end)) for start, end, label in arrows}
    assert len(described) == 8
    assert set(TRANSITIONS) == described | ADDITIONS
    assert len(TRANSITIONS) == len({(row.state, row.event) for row in TRANSITIONS})


def test_backoff_is_the_description_s():
    assert BACKOFF_MS == (500, 1000, 2000, 4000, 8000)
    assert tuple(backoff_s()) == DELAYS_S
    assert tuple(backoff_s(lambda delay_s: delay_s * 2)) == (1.0, 2.0, 4.0, 8.0, 16.0)


RETRY = [("backoff_elapsed", OPEN), ("opened 0", None)]


def failing_retries(first: int = 0) -> list[tuple[str, object]]:
    """Every retry fails to open; the last failure ends it."""
    steps: list[tuple[str, object]] = []
    for delay_s in (*DELAYS_S[first + 1 :], None):
        steps += [("backoff_elapsed", OPEN), ("open_failed", StartTimer(delay_s) if delay_s else None)]
    return steps


OPENED = [("connect", OPEN), ("opened 0", None)]
TRANSCRIPTS = {
    "a first connect that fails is the end": ([("connect", OPEN), ("open_failed", None)], "Disconnected"),
    "a clean close is not retried": ([*OPENED, ("closed 1000 1", None)], "Disconnected"),
    "nor is a close without a code": ([*OPENED, ("closed 1005 1", None)], "Disconnected"),
    "a restart is": ([*OPENED, ("closed 1012 1", StartTimer(0.5))], "Reconnecting"),
    "the fifth failure is the end": (
        [*OPENED, ("closed 1006 1", StartTimer(0.5)), *failing_retries()],
        "Disconnected",
    ),
    "accept-then-drop is not retried forever": (
        [*OPENED, ("closed 1006 1", StartTimer(0.5))]
        + [
            step
            for delay_s in (*DELAYS_S[1:], None)
            for step in (*RETRY, ("closed 1006 4.9", StartTimer(delay_s) if delay_s else None))
        ],
        "Disconnected",
    ),
    "5 s open are proof": (
        [*OPENED, ("closed 1006 1", StartTimer(0.5)), *RETRY, ("closed 1006 5", StartTimer(0.5))],
        "Reconnecting",
    ),
    "a PositionUpdate behind the FullGraph is proof": (
        [
            *OPENED,
            ("closed 1006 1", StartTimer(0.5)),
            *RETRY,
            ("observe 1", None),
            ("observe 2", None),
            ("closed 1006 1", StartTimer(0.5)),
        ],
        "Reconnecting",
    ),
    "a FullGraph alone is not": (
        [*OPENED, ("closed 1006 1", StartTimer(0.5)), *RETRY, ("observe 1", None), ("closed 1006 1", StartTimer(1.0))],
        "Reconnecting",
    ),
    "nor a PositionUpdate before it": (
        [
            *OPENED,
            ("closed 1006 1", StartTimer(0.5)),
            *RETRY,
            ("observe 2", None),
            ("observe 1", None),
            ("closed 1006 1", StartTimer(1.0)),
        ],
        "Reconnecting",
    ),
    "the FullGraph of the connection before does not count": (
        [
            *OPENED,
            ("observe 1", None),
            ("closed 1006 1", StartTimer(0.5)),
            *RETRY,
            ("observe 2", None),
            ("closed 1006 1", StartTimer(1.0)),
        ],
        "Reconnecting",
    ),
    "an error and its close count once": (
        [
            *OPENED,
            ("closed 1006 1", StartTimer(0.5)),
            ("closed 1006 1", None),
            ("open_failed", None),
            ("backoff_elapsed", OPEN),
            ("open_failed", StartTimer(1.0)),
            ("open_failed", None),
        ],
        "Reconnecting",
    ),
    "what opens after a disconnect is closed": (
        [("connect", OPEN), ("disconnect", CLOSE), ("opened 0", CLOSE)],
        "Disconnected",
    ),
    "what opens after it was given up is closed": (
        [*OPENED, ("closed 1006 1", StartTimer(0.5)), ("opened 0", CLOSE)],
        "Reconnecting",
    ),
    "a disconnect stops the backoff": (
        [*OPENED, ("closed 1006 1", StartTimer(0.5)), ("disconnect", CLOSE), ("backoff_elapsed", None)],
        "Disconnected",
    ),
    "a new connect starts from the beginning": (
        [*OPENED, ("closed 1006 1", StartTimer(0.5)), ("disconnect", CLOSE), ("connect", OPEN), ("open_failed", None)],
        "Disconnected",
    ),
    "connecting twice opens once": ([("connect", OPEN), ("connect", None)], "Connecting"),
    "disconnecting twice closes once": ([*OPENED, ("disconnect", CLOSE), ("disconnect", None)], "Disconnected"),
}


@pytest.mark.parametrize("title", TRANSCRIPTS)
def test_transcript(title):
    steps, state = TRANSCRIPTS[title]
    life = LifeCycle()
    for number, (step, expected) in enumerate(steps):
        event, *numbers = step.split()
        action = getattr(life, event)(*(float(text) if "." in text else int(text) for text in numbers))
        assert action == expected, f"step {number}: {step}"
    assert life.state is State(state)


def test_reconnects_count_what_opened_again():
    life = LifeCycle()
    life.connect()
    life.opened(0.0)
    assert life.reconnects == 0
    for _ in range(2):
        life.closed(1012, 10.0)
        life.backoff_elapsed()
        life.opened(20.0)
    assert life.reconnects == 2


@pytest.mark.parametrize("code", [1001, 1006, 1008, 1011, 1012, 1013, 1014])
def test_codes_that_speak_of_a_moment_are_retried(code):
    assert is_retryable(code)


@pytest.mark.parametrize("code", [0, 1000, 1002, 1003, 1005, 1007, 1009, 1010, 1015, 3000, 3999, 4000, 4999])
def test_codes_that_would_come_again_are_not(code):
    assert not is_retryable(code)
    life = LifeCycle()
    life.connect()
    life.opened(0.0)
    assert life.closed(code, 1.0) is None
    assert life.state is State.DISCONNECTED


def test_a_life_cycle_has_no_dict():
    assert not hasattr(LifeCycle(), "__dict__")


class AnyOrder(RuleBasedStateMachine):
    """Events in any order, also impossible ones, against what must hold in all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.life = LifeCycle()
        self.now_s = 0.0
        self.opened_s: float | None = None
        self.graph_seen = False
        self.timers: list[float] = []  # delays in a row since the connection last proved itself
        self.waiting = False

    @rule()
    def connect(self):
        was = self.life.state
        assert self.life.connect() == (OPEN if was is State.DISCONNECTED else None)
        if was is State.DISCONNECTED:
            self.timers = []

    @rule()
    def opened(self):
        was = self.life.state
        action = self.life.opened(self.now_s)
        if was is State.CONNECTING:
            self.opened_s, self.graph_seen = self.now_s, False
        assert (action is None) == (was in (State.CONNECTING, State.CONNECTED))

    @rule()
    def open_failed(self):
        was = self.life.state
        self.note(self.life.open_failed(), may=was is State.CONNECTING)

    @rule(type_id=st.sampled_from([FULL_GRAPH, POSITION_UPDATE, MessageType.NOTICE]))
    def message(self, type_id):
        self.life.observe(type_id)
        if self.life.state is State.CONNECTED:
            if type_id is POSITION_UPDATE and self.graph_seen:
                self.timers = []
            self.graph_seen |= type_id is FULL_GRAPH

    @rule(code=st.sampled_from([1000, 1001, 1002, 1006, 1012, 4000]))
    def closed(self, code):
        was = self.life.state
        if was is State.CONNECTED and self.now_s - self.opened_s >= 5.0:
            self.timers = []
        self.note(self.life.closed(code, self.now_s), may=was is State.CONNECTED and is_retryable(code))

    @rule()
    def backoff_elapsed(self):
        assert self.life.backoff_elapsed() == (OPEN if self.waiting else None)
        self.waiting = False

    @rule()
    def disconnect(self):
        self.life.disconnect()
        self.waiting = False
        assert self.life.state is State.DISCONNECTED

    @rule(seconds=st.sampled_from([0.1, 4.9, 5.0, 60.0]))
    def wait(self, seconds):
        self.now_s += seconds

    def note(self, action, *, may: bool):
        if action is not None:
            assert may
            self.timers.append(action.delay_s)
            self.waiting = True

    @invariant()
    def delays_come_in_order_and_end(self):
        assert tuple(self.timers) == DELAYS_S[: len(self.timers)]
        assert self.life.retries <= 5

    @invariant()
    def a_timer_runs_only_while_reconnecting(self):
        assert self.waiting == (self.life.state is State.RECONNECTING)


AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None, derandomize=True)
test_any_order = AnyOrder.TestCase
