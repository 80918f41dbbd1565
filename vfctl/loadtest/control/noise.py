"""How much runs of the same test differ on this machine, and which regression can be detected in spite of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Final

from vfctl.loadtest.control.conductor import Stop
from vfctl.loadtest.control.live import Status
from vfctl.loadtest.control.run import run_loadtest
from vfctl.loadtest.results.model import LoadtestResults
from vfctl.loadtest.results.schema import NoiseMetrics, NoiseScore
from vfctl.loadtest.scenario.model import EmbeddedServer, Scenario
from vfctl.server.process.launch import launch

RUNS: Final = 5
"""About 20 s, with the start of the server."""

SCENARIO: Final = Scenario(clients=200, duration_s=2.0, ramp_s=0.4, server=EmbeddedServer(nodes=100, state="active"))

_CONFIDENCE_95: Final = NormalDist().inv_cdf(0.975)
_DETECTABLE: Final = _CONFIDENCE_95 + NormalDist().inv_cdf(0.8)
"""The minimum detectable difference in standard errors: at 80 % power and 95 % confidence."""

_MEDIAN_ERROR: Final = math.sqrt(math.pi / 2)
"""The standard error of a median, relative to that of a mean."""

REPEATS: Final = (1, 3, 5, 10)
PERCENTILES: Final = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU times of all cores since the machine started, in ticks.

    Attributes:
        total: all time.
        steal: time that the hypervisor gave to other machines.
    """

    total: int
    steal: int


def read_cpu_times() -> CpuTimes | None:
    """The times in /proc/stat; None if it cannot be read."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    return CpuTimes(sum(ticks), ticks[7]) if len(ticks) == 8 else None


def measure(
    log_line: Callable[[str], None], on_status: Callable[[Status], None], stop: Stop
) -> tuple[list[LoadtestResults], CpuTimes | None, CpuTimes | None]:
    """Perform short runs against one embedded server. Returns their results, and the CPU times before and after.

    Raises:
        VfctlError: the server cannot start, or has died.
    """
    runs: list[LoadtestResults] = []
    with launch(SCENARIO.server.options(SCENARIO.peak), on_progress=log_line) as server:
        before = read_cpu_times()
        for number in range(RUNS):
            log_line(f"run {number + 1} of {RUNS}")
            run = run_loadtest(SCENARIO, server.url, on_status=on_status, stop=stop)
            if run.failure is not None:
                raise run.failure
            runs.append(run.results)
            if run.results.interrupted:
                break
        return runs, before, read_cpu_times()


def score(runs: Sequence[LoadtestResults], before: CpuTimes | None = None, after: CpuTimes | None = None) -> NoiseScore:
    """The differences of the latency percentiles from run to run.

    Args:
        runs: results of the same test, at least two, with latencies.
        before, after: CPU times of the machine; None where they are not known.
    """
    steal = None
    if before is not None and after is not None and after.total > before.total:
        steal = round(100 * (after.steal - before.steal) / (after.total - before.total), 2)
    return NoiseScore(
        schema="vfctl.noise/1",
        runs=len(runs),
        clients=runs[0].clients.target,
        steal_percent=steal,
        scheduling_lag_p99_ms=round(statistics.median(run.generator.lag_ms.p99 or 0.0 for run in runs), 3),
        latency_ms={name: _noise([getattr(run.latency_ms, name) for run in runs]) for name in PERCENTILES},
    )


def _noise(values_ms: Sequence[float]) -> NoiseMetrics:
    spread_ms = statistics.stdev(values_ms)
    return NoiseMetrics(
        median=round(statistics.median(values_ms), 3),
        min=min(values_ms),
        max=max(values_ms),
        spread_ms=round(spread_ms, 3),
        two_runs_differ_ms=round(_CONFIDENCE_95 * math.sqrt(2) * spread_ms, 3),
        detectable_ms={str(repeat): detectable_ms(spread_ms, repeat) for repeat in REPEATS},
    )


def detectable_ms(spread_ms: float, repeat: int) -> float:
    """The minimum detectable difference in ms, at 80 % power and 95 % confidence.

    Args:
        spread_ms: standard deviation from run to run.
        repeat: number of runs on each side; from three on, medians are compared.
    """
    error_ms = spread_ms * math.sqrt(2 / repeat) * (_MEDIAN_ERROR if repeat > 2 else 1)
    return round(_DETECTABLE * error_ms, 3)
