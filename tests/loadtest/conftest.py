"""Results without a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from vfctl.loadtest.generator.health import Health
from vfctl.loadtest.generator.observations import ConnectStats, Observations, Outcome, StageObservations
from vfctl.loadtest.generator.shard_process import Report
from vfctl.loadtest.results.build import FinishedRun, FinishedStage, MeasuredRun, build_results
from vfctl.loadtest.results.model import LoadtestResults
from vfctl.loadtest.scenario.model import Scenario
from vfctl.loadtest.scenario.roles import Role, Viewer
from vfctl.loadtest.scenario.stages import Step

RAMP = Step("ramp", "ramp", False, 5, 1.0, 1.0)
HOLD = Step("hold", "hold", True, 5, 0.0, 10.0)


@pytest.fixture
def measure() -> Callable[..., MeasuredRun]:
    def make(
        *seen: Observations,
        roles: Sequence[Role] = (Viewer(),),
        outcome: Outcome | None = None,
        health: Health | None = None,
        connects: ConnectStats | None = None,
        url: str = "ws://x/ws",
        peer: str = "nobody",
        interrupted: bool = False,
        **finished: Any,
    ) -> MeasuredRun:
        """A ramp and a hold of 10 s, in which the roles have seen this; `finished` is more of `FinishedRun`."""
        nothing = StageObservations([Outcome(5, 0, connecting=5)] * len(roles), [Observations() for _ in roles])
        held = StageObservations([outcome or Outcome(5, 5)] * len(roles), list(seen) or [Observations() for _ in roles])
        report = Report(0, [nothing, held], connects or ConnectStats(), health or Health(0))
        stages = [FinishedStage(RAMP, 1.5), FinishedStage(HOLD, 10.0)]
        finished = {"clock": None, "offset_us": 0, **finished}
        run = FinishedRun(stages, [report], interrupted, **finished)
        return build_results(url, peer, Scenario(clients=5, mix=tuple(roles)), run)

    return make


@pytest.fixture
def make_results(measure: Callable[..., MeasuredRun]) -> Callable[..., LoadtestResults]:
    return lambda *seen, **changes: measure(*seen, **changes).results
