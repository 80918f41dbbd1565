"""Whether one server is slower than another: a bootstrap confidence interval on the difference of a percentile.

Samples of the same second are alike (they come in bursts, and a machine that is busy is busy for all of them), so that
resampling single samples would call noise a difference. What is resampled are blocks of a second, and whole runs
where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from vfctl.loadtest.results.model import Comparison

RESAMPLES: Final = 2000

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RunLatencies:
    """The latencies of one run.

    Attributes:
        edges_us: upper edges of the buckets that are used, int64 [buckets], ascending.
        blocks: counts, int64 [blocks, buckets].
    """

    edges_us: Counts
    blocks: Counts

    def percentiles_ms(self, weights: Counts, percentile: float) -> npt.NDArray[np.float64]:
        """The percentile of resampled runs, float64 [resamples] in ms; NaN where nothing was drawn.

        Args:
            weights: how often each block was drawn, int64 [resamples, blocks].
        """
        up_to = np.cumsum(self.blocks, axis=1)
        total = weights @ up_to[:, -1]
        rank = np.maximum(1, np.ceil(percentile / 100 * total - 1e-6))
        low, high = np.zeros(len(weights), np.int64), np.full(len(weights), len(self.edges_us) - 1)
        while (low < high).any():  # a bisection for all of them at once
            middle = (low + high) // 2
            enough = np.einsum("rb,br->r", weights, up_to[:, middle]) >= rank
            low = np.where(enough, low, np.minimum(middle + 1, high))
            high = np.where(enough, middle, high)
        return np.where(total > 0, self.edges_us[low] / 1000, np.nan)

    def percentile_ms(self, percentile: float) -> float:
        """The percentile of the run as it was."""
        return float(self.percentiles_ms(np.ones((1, len(self.blocks)), np.int64), percentile)[0])


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a comparison.

    Attributes:
        percentile: of latency, above 0 and at most 100.
        confidence_percent: of the interval.
        min_percent, min_ms: the smallest difference that matters, in percent of A and in ms: the larger of both.
        seed: of the resampling; the same gives the same answer.
    """

    percentile: float = 95.0
    confidence_percent: float = 95.0
    min_percent: float = 5.0
    min_ms: float = 0.2
    seed: int = 0


def compare_runs(
    a: Sequence[RunLatencies], b: Sequence[RunLatencies], question: Question, *, paired: bool = False
) -> Comparison:
    """Decide whether the latencies of B differ from A's.

    The whole interval has to lie beyond the smallest difference that matters: runs of one server differ by what
    happens on the machine meanwhile, of which a single run knows nothing.

    Args:
        a, b: runs, each with latencies in at least two blocks.
        paired: block by block at the same time, of one run each: what has slowed down both cancels.
    """
    draw = np.random.default_rng(question.seed)
    a_ms, b_ms = (_middle_ms(runs, question.percentile) for runs in (a, b))
    if paired:
        weights = _weights(min(len(a[0].blocks), len(b[0].blocks)), draw)
        resampled = [_resampled_run(runs[0], weights, question.percentile) for runs in (a, b)]
        units = [weights.shape[1]]
    else:
        resampled = [_resampled(runs, draw, question.percentile) for runs in (a, b)]
        units = [len(runs) if len(runs) > 1 else len(runs[0].blocks) for runs in (a, b)]
    difference_ms = b_ms - a_ms
    outside = (1 - question.confidence_percent / 100) / 2
    low_ms, high_ms = map(float, np.quantile(resampled[1] - resampled[0], [outside, 1 - outside]))
    wider = _widening(units, outside)
    low_ms = min(difference_ms, difference_ms - wider * (difference_ms - low_ms))
    high_ms = max(difference_ms, difference_ms + wider * (high_ms - difference_ms))
    smallest_ms = max(question.min_ms, question.min_percent / 100 * a_ms)
    return Comparison(
        verdict="slower" if low_ms > smallest_ms else "faster" if high_ms < -smallest_ms else "no difference",
        percentile=question.percentile,
        confidence_percent=question.confidence_percent,
        a_ms=round(a_ms, 3),
        b_ms=round(b_ms, 3),
        difference_ms=round(difference_ms, 3),
        low_ms=round(low_ms, 3),
        high_ms=round(high_ms, 3),
        smallest_ms=round(smallest_ms, 3),
        runs_a=len(a),
        runs_b=len(b),
    )


def _middle_ms(runs: Sequence[RunLatencies], percentile: float) -> float:
    return float(np.median([run.percentile_ms(percentile) for run in runs]))


def _weights(units: int, draw: np.random.Generator) -> Counts:
    """How often each of `units` is drawn, int64 [resamples, units]."""
    return draw.multinomial(units, np.full(units, 1 / units), RESAMPLES)


def _resampled_run(run: RunLatencies, weights: Counts, percentile: float) -> npt.NDArray[np.float64]:
    found = run.percentiles_ms(np.pad(weights, ((0, 0), (0, len(run.blocks) - weights.shape[1]))), percentile)
    return np.where(np.isnan(found), run.percentile_ms(percentile), found)


def _resampled(runs: Sequence[RunLatencies], draw: np.random.Generator, percentile: float) -> npt.NDArray[np.float64]:
    """The median over runs, of runs that are drawn and made of blocks that are drawn; float64 [resamples] in ms."""
    each = np.stack([_resampled_run(run, _weights(len(run.blocks), draw), percentile) for run in runs])
    drawn = draw.integers(len(runs), size=(len(runs), RESAMPLES))
    return np.median(np.take_along_axis(each, drawn, axis=0), axis=0)


def _widening(units: Sequence[int], outside: float) -> float:
    """How much wider an interval from few units has to be: the bootstrap of n knows (n - 1) / n of the variance, and
    that from n - 1 degrees of freedom (T. Hesterberg, What Teachers Should Know About the Bootstrap, 2014).
    """
    from scipy.special import stdtrit  # the quantile of Student's t distribution; loading it takes a tenth of a second

    freedom = sum(count - 1 for count in units)
    fewest = min(units)
    student = float(stdtrit(freedom, 1 - outside))
    return student / NormalDist().inv_cdf(1 - outside) * math.sqrt(fewest / (fewest - 1))
