"""The results of a load test, as the one JSON object that others read."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from vfctl import __version__
from vfctl.errors import PeerError, VfctlError
from vfctl.loadtest.generator.health import GeneratorVerdict, judge_generator
from vfctl.loadtest.generator.observations import (
    ConnectStats,
    LatencyWindows,
    Observations,
    Outcome,
    StageObservations,
    merged,
)
from vfctl.loadtest.results.performance import Performance
from vfctl.loadtest.scenario.gates import Gate, judge
from vfctl.loadtest.scenario.gates import Verdict as GateVerdict
from vfctl.loadtest.scenario.model import Scenario
from vfctl.loadtest.scenario.roles import Role
from vfctl.metrics import LatencyHistogram

SCHEMA: Final = "vfctl.loadtest/3"
_KINDS_TOLD: Final = 3


class Results:
    """What a run has found.

    Args:
        url: where the clients connected to.
        peer: who answered there, for people.
        roles: that clients played.
        performance: how the course went.
        scenario: what was asked for, as `Scenario.described` has it.

    Attributes:
        outcome: how the clients fared, at the end of the last measured stage.
        headline: what attentive clients have seen in the measured stages.
    """

    def __init__(
        self,
        url: str,
        peer: str,
        roles: Sequence[Role],
        performance: Performance,
        scenario: Mapping[str, Any] | None = None,
    ) -> None:
        self.url = url
        self.peer = peer
        self.performance = performance
        self.scenario = scenario
        self._roles = roles
        self._stages = [_together(parts) for parts in zip(*(r.stages for r in performance.reports), strict=True)]
        self._played = performance.played[: len(self._stages)]  # none, if no generator could report
        measured = [number for number, played in enumerate(self._played) if played.step.measured]
        self.duration_s = sum(self._played[number].duration_s for number in measured)
        last = measured[-1] if measured else len(self._stages) - 1
        self._outcomes = self._stages[last].outcomes if self._stages else [Outcome() for _ in roles]
        self.outcome = sum(self._outcomes, Outcome())
        self._by_role = [
            merged(self._stages[number].roles[index] for number in measured) for index in range(len(roles))
        ]
        self.headline = merged(self._attentive(self._by_role))
        self.connects = ConnectStats()
        for report in performance.reports:
            self.connects.merge(report.connects)

    def _attentive(self, by_role: Sequence[Observations]) -> list[Observations]:
        return [seen for seen, role in zip(by_role, self._roles, strict=True) if role.attentive]

    @property
    def measured_anything(self) -> bool:
        """Whether a single message was received in the measured time."""
        return any(seen.messages for seen in self._by_role)

    @property
    def failure(self) -> VfctlError | None:
        """What has gone wrong with the run itself, or that in the end nobody was connected; None if nothing has."""
        told, outcome = self.performance, self.outcome
        if told.failure is not None or told.interrupted or told.aborted is not None:
            return told.failure
        if self.connects.errors and outcome.failed + outcome.lost and not outcome.connected + outcome.away:
            what = "is connected any more" if outcome.lost else "could connect"
            kinds = self.connects.errors.most_common(_KINDS_TOLD)
            return PeerError(f"no client {what}: {', '.join(f'{count:,} × {reason}' for reason, count in kinds)}")
        return None

    def to_json(self, gates: Sequence[Gate] = (), baseline: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object of schema `vfctl.loadtest/3`, with the gates judged.

        Args:
            baseline: results of an earlier run, for gates that are relative to it.
        """
        seen = self.headline
        results: dict[str, Any] = {
            "schema": SCHEMA,
            "url": self.url,
            "peer": self.peer,
            "began_at": datetime.fromtimestamp(self.performance.began_unix_s, UTC).isoformat(timespec="seconds"),
            "interrupted": self.performance.interrupted,
            "aborted": None if self.performance.aborted is None else asdict(self.performance.aborted),
            "failure": None if self.failure is None else self.failure.message,
            "scenario": self.scenario,
            "clients": _clients(self.outcome),
            "duration_s": round(self.duration_s, 3),
            **_latencies(seen),
            "latency_clock": "user" if seen.user_space_stamps else "kernel",
            "clock": self._clock(),
            "voice_ms": asdict(seen.voice.summary()),
            "connect_ms": asdict(self.connects.connect.summary()),
            "reconnect_ms": asdict(self.connects.reconnect.summary()),
            "throughput": _throughput(merged(self._by_role), self.duration_s, self.outcome),
            "frames": _frames(seen),
            "stages": [self._stage(number) for number in range(len(self._stages))],
            "roles": {role.label: self._role(index, self._by_role[index]) for index, role in enumerate(self._roles)},
            "generator": self._generator(),
            "errors": dict(self.connects.errors.most_common()),
            "seconds": [asdict(second) for second in self.performance.seconds],
        }
        set_verdicts(results, judge(gates, results, baseline), results["aborted"])
        results["environment"] = environment()
        results["runs"] = [self._histograms()]
        results["spread"] = None
        results["repeat"] = None
        return results

    def _histograms(self) -> dict[str, Any]:
        """All that was counted of latencies, for comparisons."""
        seen = self.headline
        return {
            "histograms": {
                "latency_ms": seen.latency.encoded(),
                "latency_user_ms": seen.latency_user.encoded(),
                "latency_corrected_ms": seen.latency_corrected.encoded(),
                "voice_ms": seen.voice.encoded(),
                "connect_ms": self.connects.connect.encoded(),
                "reconnect_ms": self.connects.reconnect.encoded(),
            },
            "blocks": [
                {
                    "stage": played.step.name,
                    "width_s": stage.windows.width_s,
                    "latency_ms": [each.encoded() for each in stage.windows.histograms],
                }
                for stage, played in zip(self._stages, self._played, strict=True)
                if played.step.measured
            ],
        }

    @property
    def verdict(self) -> GeneratorVerdict:
        """Whether the generator was the bottleneck."""
        healths = [report.health for report in self.performance.reports]
        return judge_generator(healths, self.headline.full_buffers)

    def _stage(self, number: int) -> dict[str, Any]:
        stage, played = self._stages[number], self._played[number]
        outcome = sum(stage.outcomes, Outcome())
        seen = merged(self._attentive(stage.roles))
        return {
            "name": played.step.name,
            "kind": played.step.kind,
            "measured": played.step.measured,
            "duration_s": round(played.duration_s, 3),
            "clients": _clients(outcome),
            **_latencies(seen),
            "throughput": _throughput(merged(stage.roles), played.duration_s, outcome),
            "frames": _frames(seen),
        }

    def _role(self, index: int, seen: Observations) -> dict[str, Any]:
        outcome = self._outcomes[index]
        return {
            "role": self._roles[index].role,
            "clients": _clients(outcome),
            **_latencies(seen),
            "voice_ms": asdict(seen.voice.summary()),
            "throughput": _throughput(seen, self.duration_s, outcome),
            "frames": _frames(seen),
        }

    def _clock(self) -> dict[str, Any]:
        best = self.performance.clock
        return {
            "corrected_by_ms": self.performance.offset_us / 1000,
            "offset_ms": None if best is None else round(best.offset_us / 1000, 3),
            "error_ms": None if best is None else round(best.error_us / 1000, 3),
        }

    def _generator(self) -> dict[str, Any]:
        healths = [report.health for report in self.performance.reports]
        lag = LatencyHistogram()
        for health in healths:
            lag.merge(health.lag)
        summary = lag.summary()
        return {
            "verdict": self.verdict.text,
            "advice": self.verdict.advice,
            "processes": len(healths),
            "cpu_percent": round(sum(health.cpu_percent for health in healths), 1),
            "cpu_percent_max": round(max((health.cpu_percent for health in healths), default=0.0), 1),
            "lag_ms": {"p50": summary.p50, "p99": summary.p99, "max": summary.max},
            "full_buffers": self.headline.full_buffers,
        }


def not_run(url: str, scenario: Scenario, failure: VfctlError | None) -> Results:
    """The results of a run that has not begun: none, and why; None if it was interrupted."""
    performance = Performance([], [], failure is None, None, 0, began_unix_s=time.time(), failure=failure)
    return Results(url, "unknown", scenario.roles, performance, scenario.described())


def _together(parts: Sequence[StageObservations]) -> StageObservations:
    """One stage, of all shards."""
    outcomes = [sum(same_role, Outcome()) for same_role in zip(*(part.outcomes for part in parts), strict=True)]
    windows = LatencyWindows()
    for part in parts:
        windows.merge(part.windows)
    return StageObservations(
        outcomes, [merged(same) for same in zip(*(part.roles for part in parts), strict=True)], windows
    )


def set_verdicts(
    document: dict[str, Any], verdicts: Sequence[GateVerdict], aborted: Mapping[str, Any] | None = None
) -> None:
    """Put what the gates have said into the results; one that has ended the run has failed, whatever came in between
    its verdict and the end.
    """
    document["gates"] = [
        dict(aborted) if aborted and verdict.expression == aborted["expression"] else asdict(verdict)
        for verdict in verdicts
    ]


def _clients(outcome: Outcome) -> dict[str, int]:
    return {
        "target": outcome.target,
        "connected": outcome.connected,
        "failed": outcome.failed,
        "lost": outcome.lost,
        "away": outcome.away,
        "reconnects": outcome.reconnects,
    }


def _latencies(seen: Observations) -> dict[str, Any]:
    return {
        "latency_ms": asdict(seen.latency.summary()),
        "latency_user_ms": asdict(seen.latency_user.summary()),
        "latency_corrected_ms": asdict(seen.latency_corrected.summary()),
    }


def _throughput(seen: Observations, duration_s: float, outcome: Outcome) -> dict[str, float]:
    per_s = 1 / duration_s if duration_s > 0 else 0.0
    served = outcome.connected + outcome.lost + outcome.away
    per_client = 1 / served if served else 0.0
    return {
        "messages_per_s": round(seen.messages * per_s, 1),
        "bytes_per_s": round(seen.bytes * per_s, 1),
        "bytes_per_s_per_client": round(seen.bytes * per_s * per_client, 1),
        "messages_per_s_per_client": round(seen.messages * per_s * per_client, 3),
    }


def _frames(seen: Observations) -> dict[str, int]:
    return {
        "received": seen.frames,
        "gaps": seen.gaps,
        "duplicates": seen.duplicates,
        "reordered": seen.reordered,
        "sampled": seen.sampled,
        "wrong": seen.wrong,
    }


def environment() -> dict[str, Any]:
    """The machine that the numbers come from."""
    return {
        "vfctl": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }
