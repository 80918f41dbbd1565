"""The stages of a load test."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vfctl.loadtest.scenario.stages import Hold, Ramp, Spike, level_at, resolve_stages


def test_a_course_is_worked_out() -> None:
    stages = (Ramp(), Hold(duration_s=5), Spike(clients=900), Hold(name="after"), Ramp(clients=0, duration_s=3))
    steps = resolve_stages(stages, 700)
    assert [(step.name, step.clients, step.over_s, step.lasts_s, step.measured) for step in steps] == [
        ("ramp", 700, 1.4, 1.4, False),
        ("hold", 700, 0.0, 5, True),
        ("spike", 900, 0.0, 10.0, False),
        ("after", 700, 0.0, 30.0, True),
        ("ramp", 0, 3, 3, False),
    ]


@given(st.floats(0, 100), st.floats(0, 20), st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_ramp_is_linear_and_complete(elapsed_s: float, over_s: float, first: int, last: int) -> None:
    level = level_at(elapsed_s, over_s, first, last)
    assert min(first, last) <= level <= max(first, last)
    if elapsed_s >= over_s:
        assert level == last
    else:
        assert abs(level - (first + (last - first) * elapsed_s / over_s)) <= 1
    later = level_at(elapsed_s + 0.1, over_s, first, last)
    assert later >= level if last >= first else later <= level
