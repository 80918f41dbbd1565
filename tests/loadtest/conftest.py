"""Results without a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from vfctl.loadtest.generator.health import Health
from vfctl.loadtest.generator.heartbeats import ClockSample
from vfctl.loadtest.generator.observations import ConnectStats, Observations, Outcome, StageObservations
from vfctl.loadtest.generator.shard_process import Report
from vfctl.loadtest.results.build import Results
from vfctl.loadtest.results.performance import Performance, Played
from vfctl.loadtest.scenario.roles import Role, Viewer
from vfctl.loadtest.scenario.stages import Step

RAMP = Step("ramp", "ramp", False, 5, 1.0, 1.0)
HOLD = Step("hold", "hold", True, 5, 0.0, 10.0)


@pytest.fixture
def make_results() -> Callable[..., Results]:
    def make(
        *seen: Observations,
        roles: Sequence[Role] = (Viewer(),),
        outcome: Outcome | None = None,
        health: Health | None = None,
        clock: ClockSample | None = None,
        offset_us: int = 0,
    ) -> Results:
        """Of a ramp and a hold of 10 s, in which the roles have seen this."""
        nothing = StageObservations([Outcome(5, 0, connecting=5)] * len(roles), [Observations() for _ in roles])
        held = StageObservations([outcome or Outcome(5, 5)] * len(roles), list(seen) or [Observations() for _ in roles])
        report = Report(0, [nothing, held], ConnectStats(), health or Health(0))
        played = [Played(RAMP, 1.5), Played(HOLD, 10.0)]
        return Results("ws://x/ws", "nobody", roles, Performance(played, [report], False, clock, offset_us))

    return make
