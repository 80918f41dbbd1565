"""The page's life cycle against the Python one: the same table, delays, close codes, and answers to anything."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from vfctl.client.lifecycle import BACKOFF_MS, PROOF_S, TRANSITIONS, Close, LifeCycle, Open, StartTimer, is_retryable
from vfctl.protocol import MessageType

if TYPE_CHECKING:
    from .conftest import Tab

RUN = """async lives => {
    const {LifeCycle} = await import('/viewer/lifecycle.js');
    return lives.map(steps => {
        const life = new LifeCycle();
        return steps.map(([event, ...rest]) => {
            const action = life[event](...rest) ?? null;
            return [action, life.state, life.retries, life.reconnects, life.proven];
        });
    });
}"""
IN_PYTHON = {"openFailed": "open_failed", "backoffElapsed": "backoff_elapsed"}
TYPES = {
    "FullGraph": MessageType.FULL_GRAPH,
    "PositionUpdate": MessageType.POSITION_UPDATE,
    "Notice": MessageType.NOTICE,
}


def as_json(action: Any) -> Any:
    match action:
        case Open():
            return {"do": "open"}
        case Close():
            return {"do": "close"}
        case StartTimer(delay_s):
            return {"do": "wait", "delay_s": delay_s}
    return None


def lived(steps: list[list[Any]]) -> list[list[Any]]:
    life, found = LifeCycle(), []
    for event, *rest in steps:
        values = [TYPES.get(value, value) for value in rest]
        action = getattr(life, IN_PYTHON.get(event, event))(*values)
        found.append([as_json(action), life.state.value, life.retries, life.reconnects, life.proven])
    return found


def any_life(random: Random) -> list[list[Any]]:
    now_s, steps = 0.0, []
    for _ in range(60):
        now_s += random.choice((0.1, 4.9, 5.0, 60.0))
        steps.append(
            random.choice(
                [
                    *([["connect"], ["openFailed"], ["backoffElapsed"], ["opened", now_s]] * 3),
                    ["disconnect"],
                    ["closed", random.choice((1000, 1001, 1002, 1005, 1006, 1012, 4000)), now_s],
                    ["closed", 1006, now_s],
                    ["observe", random.choice(list(TYPES))],
                    ["observe", "PositionUpdate"],
                ]
            )
        )
        if random.random() < 0.05:
            steps += [["backoffElapsed"], ["openFailed"]] * random.randrange(7)
    return steps


def test_the_table_the_delays_and_the_codes_are_the_same(modules: Tab) -> None:
    found = modules.ask("""async () => {
        const {TRANSITIONS, BACKOFF_MS, PROOF_S, isRetryable} = await import('/viewer/lifecycle.js');
        return [TRANSITIONS, BACKOFF_MS, PROOF_S, [...Array(5000).keys()].filter(isRetryable)];
    }""")
    table, backoff_ms, proof_s, codes = found
    assert {tuple(row) for row in table} == {
        (row.state.value, row.event.value, row.next_state.value) for row in TRANSITIONS
    }
    assert len(table) == len(TRANSITIONS)
    assert (tuple(backoff_ms), proof_s) == (BACKOFF_MS, PROOF_S)
    assert codes == [code for code in range(5000) if is_retryable(code)]


def test_any_life_goes_the_same_way(modules: Tab) -> None:
    random = Random(9)
    lives = [any_life(random) for _ in range(120)]
    expected = [lived(steps) for steps in lives]
    seen = {(action["do"] if action else None, state) for life in expected for action, state, *_ in life}
    assert {"Disconnected", "Connecting", "Connected", "Reconnecting"} == {state for _, state in seen}
    assert max(retries for life in expected for _, _, retries, *_ in life) == 5
    assert modules.ask(RUN, lives) == expected
