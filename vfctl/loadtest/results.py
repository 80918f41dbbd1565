"""The results of a load test, as the one JSON object that others read."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from vfctl import __version__
from vfctl.loadtest.gates import Gate, judge
from vfctl.loadtest.health import Health, Verdict, judge_generator
from vfctl.loadtest.observations import Observations, Outcome
from vfctl.metrics import LatencyHistogram

SCHEMA: Final = "vfctl.loadtest/1"


@dataclass(frozen=True, slots=True)
class Results:
    """What a run has found.

    Attributes:
        url: where the clients connected to.
        peer: who answered there, for people.
        outcome: how the clients fared.
        observations: what they have seen.
        duration_s: the measured time.
        healths: how the generator processes fared.
        interrupted: the run was ended early.
    """

    url: str
    peer: str
    outcome: Outcome
    observations: Observations
    duration_s: float
    healths: tuple[Health, ...]
    interrupted: bool = False

    @property
    def measured_anything(self) -> bool:
        """Whether a single message was received in the measured time."""
        return self.observations.messages > 0

    def to_json(self, gates: Sequence[Gate] = ()) -> dict[str, Any]:
        """The object of schema `vfctl.loadtest/1`, with the gates judged."""
        seen, outcome = self.observations, self.outcome
        seen.flush()
        per_s = 1 / self.duration_s if self.duration_s > 0 else 0.0
        served = outcome.connected + outcome.lost
        per_client = 1 / served if served else 0.0
        results: dict[str, Any] = {
            "schema": SCHEMA,
            "url": self.url,
            "peer": self.peer,
            "interrupted": self.interrupted,
            "clients": {
                "target": outcome.target,
                "connected": outcome.connected,
                "failed": outcome.failed,
                "lost": outcome.lost,
                "reconnects": outcome.reconnects,
            },
            "duration_s": round(self.duration_s, 3),
            "latency_ms": asdict(seen.latency.summary()),
            "latency_user_ms": asdict(seen.latency_user.summary()),
            "latency_corrected_ms": asdict(seen.latency_corrected.summary()),
            "latency_clock": "user" if seen.user_space_stamps else "kernel",
            "connect_ms": asdict(seen.connect.summary()),
            "throughput": {
                "messages_per_s": round(seen.messages * per_s, 1),
                "bytes_per_s": round(seen.bytes * per_s, 1),
                "bytes_per_s_per_client": round(seen.bytes * per_s * per_client, 1),
                "messages_per_s_per_client": round(seen.messages * per_s * per_client, 3),
            },
            "frames": {
                "received": seen.frames,
                "gaps": seen.gaps,
                "duplicates": seen.duplicates,
                "reordered": seen.reordered,
                "sampled": seen.sampled,
                "wrong": seen.wrong,
            },
            "generator": self._generator(),
            "errors": dict(seen.errors.most_common()),
        }
        results["gates"] = [asdict(verdict) for verdict in judge(gates, results)]
        results["environment"] = environment()
        return results

    @property
    def verdict(self) -> Verdict:
        """Whether the generator was the bottleneck."""
        return judge_generator(self.healths, self.observations.full_buffers)

    def _generator(self) -> dict[str, Any]:
        lag = LatencyHistogram()
        for health in self.healths:
            lag.merge(health.lag)
        summary = lag.summary()
        return {
            "verdict": self.verdict.text,
            "advice": self.verdict.advice,
            "processes": len(self.healths),
            "cpu_percent": round(sum(health.cpu_percent for health in self.healths), 1),
            "cpu_percent_max": round(max((health.cpu_percent for health in self.healths), default=0.0), 1),
            "lag_ms": {"p50": summary.p50, "p99": summary.p99, "max": summary.max},
            "full_buffers": self.observations.full_buffers,
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
