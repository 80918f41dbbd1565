"""The conductor against a generator process that the test plays, at the other end of the pipe."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from vfctl.loadtest.control import conductor
from vfctl.loadtest.control.conductor import Conductor, Stop
from vfctl.loadtest.control.live import Status
from vfctl.loadtest.generator.health import Health
from vfctl.loadtest.generator.observations import ConnectStats, Outcome
from vfctl.loadtest.generator.plan import Target, plan_shards
from vfctl.loadtest.generator.shard_process import Begin, Finish, Progress, Report
from vfctl.loadtest.scenario.roles import Viewer
from vfctl.loadtest.scenario.stages import Step
from vfctl.metrics import LatencyHistogram

TARGET = Target(socket.AF_INET, ("127.0.0.1", 1), "127.0.0.1:1", "/ws")
STEPS = [Step("ramp", "ramp", False, 5, 0.1, 0.1), Step("spike", "spike", True, 5, 0.0, 0.2)]
QUIET_S = 0.3


class Process:
    """A generator process that has ended by itself."""

    exitcode = 0

    def join(self, timeout: float | None = None) -> None: ...

    def is_alive(self) -> bool:
        return False


def progress(at_s: float, stage: int) -> Progress:
    return Progress(0, at_s, stage, Outcome(5, 5), 0, 0, LatencyHistogram(), Counter(), None)


def play(pipe: Connection, began: list[int], early: list[bool]) -> None:
    """A generator that takes longer to start than its clients may take to connect."""
    early.append(pipe.poll(QUIET_S))
    pipe.send(progress(0.0, -1))
    while True:
        message = pipe.recv()
        if isinstance(message, Begin):
            began.append(message.stage)
            pipe.send(progress(1.0 + message.stage, message.stage))
        elif isinstance(message, Finish):
            pipe.send(Report(0, [], ConnectStats(), Health(0)))
            return


def test_the_first_stage_waits_for_a_generator_that_starts_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Pipe()
    monkeypatch.setattr(conductor, "spawn", lambda *_, **__: (Process(), ours))
    monkeypatch.setattr(conductor, "CONNECT_TIMEOUT_S", QUIET_S / 10)
    began: list[int] = []
    early: list[bool] = []
    statuses: list[Status] = []
    generator = threading.Thread(target=play, args=(theirs, began, early))
    generator.start()
    with Conductor(plan_shards(TARGET, (Viewer(),), 5), STEPS, statuses.append, Stop()) as leading:
        run = leading.run()
    generator.join()
    theirs.close()
    assert early == [False], "no stage begins before the generator has reported"
    assert began == [0, 1]
    assert run.failure is None
    assert [stage.step for stage in run.stages] == STEPS
    assert run.stages[0].duration_s < QUIET_S
    assert all(status.elapsed_s <= status.limit_s + 1 for status in statuses)
