"""Comparing runs: noise is no difference, a delay is one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.loadtest.results.golden_inputs import a_run, changed
from vfctl.errors import InputError
from vfctl.loadtest.control.noise import CpuTimes, detectable_ms, score
from vfctl.loadtest.generator.observations import MAX_WINDOWS, LatencyWindows
from vfctl.loadtest.results.comparable import check_baseline_fits, check_comparable, latencies_of, run_latencies
from vfctl.loadtest.results.comparison import Question, RunLatencies, compare_runs
from vfctl.loadtest.results.model import Block, LoadtestResults, OlderResults, Run
from vfctl.loadtest.scenario.model import Scenario
from vfctl.loadtest.scenario.roles import Dragger
from vfctl.loadtest.scenario.stages import Ramp, Spike
from vfctl.metrics import LatencyHistogram
from vfctl.metrics.histogram import bucket_of
from vfctl.protocol import Filter

FIVE = Scenario(clients=5, duration_s=3.0)


def run(draw: np.random.Generator, *, later_ms: float = 0.0, blocks: int = 4, swing: float = 0.1) -> RunLatencies:
    """Latencies of about 1 ms whose level differs from block to block, and so from run to run."""
    made = []
    for _ in range(blocks):
        level = np.exp(draw.normal(0, swing))
        made.append(np.bincount(bucket_of((draw.gamma(4, 250, 300) * level + 1000 * later_ms).astype(np.int64))))
    return run_latencies(made)


def verdicts(later_ms: float, runs: int, swing: float) -> Counter[str]:
    draw = np.random.default_rng(7)
    return Counter(
        compare_runs(
            [run(draw, swing=swing) for _ in range(runs)],
            [run(draw, later_ms=later_ms, swing=swing) for _ in range(runs)],
            Question(),
        ).verdict
        for _ in range(20)
    )


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("swing", [0.02, 0.1])
def test_noise_is_no_difference_and_5_ms_always_are_one(runs: int, swing: float) -> None:
    assert verdicts(0.0, runs, swing)["no difference"] >= 19
    assert verdicts(5.0, runs, swing) == {"slower": 20}


def test_percentiles_of_resampled_runs_are_those_of_their_samples() -> None:
    draw = np.random.default_rng(3)
    samples = [draw.integers(0, 300, size) for size in (40, 0, 7)]
    made = run_latencies([np.bincount(each) if len(each) else np.zeros(1, np.int64) for each in samples])
    weights = np.array([[1, 0, 0], [0, 0, 2], [1, 1, 1], [0, 1, 0]])
    for percentile in (0.1, 50.0, 95.0, 100.0):
        found = made.percentiles_ms(weights, percentile)
        for row, value in zip(weights, found, strict=True):
            drawn = np.sort(np.concatenate([np.repeat(each, times) for each, times in zip(samples, row, strict=True)]))
            if not len(drawn):
                assert np.isnan(value)
                continue
            rank = max(1, int(np.ceil(percentile / 100 * len(drawn) - 1e-6)))
            assert value == drawn[rank - 1] / 1000


def test_single_samples_would_call_noise_a_difference() -> None:
    """Why blocks: with each sample a unit of its own, the same runs differ in most pairs."""
    draw = np.random.default_rng(7)
    wrong = 0
    for _ in range(20):
        sides = []
        for _ in range(2):
            level = np.exp(draw.normal(0, 0.2))
            whole = (draw.gamma(4, 250, 1200) * level).astype(np.int64)
            sides.append(
                [run_latencies([np.bincount(bucket_of(part)) for part in np.split(draw.permutation(whole), 100)])]
            )
        wrong += compare_runs(*sides, Question()).verdict != "no difference"  # type: ignore[arg-type, misc]
    assert wrong >= 5


def test_b_can_be_faster_and_the_sentence_says_by_how_much() -> None:
    draw = np.random.default_rng(1)
    slow, fast = run(draw, later_ms=5, swing=0.01), run(draw, swing=0.01)
    answer = compare_runs([slow], [fast], Question())
    assert answer.verdict == "faster"
    assert answer.sentence.startswith("B is faster by 5.")
    assert answer.high_ms < -4.5
    assert compare_runs([slow], [fast], Question()) == answer, "the same seed, the same answer"


def test_a_difference_that_does_not_matter_is_none() -> None:
    draw = np.random.default_rng(1)
    one, other = run(draw, swing=0.001), run(draw, later_ms=1, swing=0.001)
    assert compare_runs([one], [other], Question(percentile=50)).verdict == "slower"
    assert compare_runs([one], [other], Question(percentile=50, min_ms=2)).verdict == "no difference"
    assert compare_runs([one], [other], Question(percentile=50, min_percent=200)).verdict == "no difference"


def test_at_the_same_time_what_slows_down_both_cancels() -> None:
    draw = np.random.default_rng(3)
    waits_us = draw.uniform(0, 5000, 8)
    a, b = (
        run_latencies([np.bincount(bucket_of((draw.gamma(400, 2.5, 300) + wait).astype(np.int64))) for wait in waits])
        for waits in (waits_us, waits_us + 1000)
    )
    question = Question(percentile=50)
    paired, apart = compare_runs([a], [b], question, paired=True), compare_runs([a], [b], question)
    assert (paired.verdict, apart.verdict) == ("slower", "no difference")
    assert paired.high_ms - paired.low_ms < apart.high_ms - apart.low_ms


def results(scenario: Scenario = FIVE, /, **changes: Any) -> LoadtestResults:
    """Results to compare; `changes` are by path."""
    run = a_run(scenario, outcome=(5, 5), errors={}, count=400, url="ws://x/ws?timed=1").results
    made: LoadtestResults = changed(changed(run, clients__target=5), **changes)
    return made


def test_histograms_come_from_the_results() -> None:
    (only,) = latencies_of(results(), "a.json")
    assert only.blocks.sum() == 6 * 2000
    assert only.percentile_ms(50) == pytest.approx(3.5, abs=0.1)


@pytest.mark.parametrize(
    ("blocks", "what"), [([], "two seconds"), ([Block(stage="hold", width_s=1, latency_ms=["AAAA"])], "HdrHistogram")]
)
def test_what_has_no_latencies_is_refused(blocks: list[Block], what: str) -> None:
    with pytest.raises(InputError, match=what):
        latencies_of(results(runs=[Run(histograms={}, blocks=blocks)]), "a.json")
    with pytest.raises(InputError, match="no histograms"):
        latencies_of(OlderResults(schema="vfctl.loadtest/2", url="ws://x/ws"), "a.json")


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (results(clients__target=6), "number of clients"),
        (results(url="ws://x/ws?encoding=lz4"), "encoding"),
        (results(Scenario(clients=5, mix=(Dragger(),))), "roles"),
        (results(Scenario(clients=5, filter=Filter(frozenset({"class"})))), "mix"),
        (results(Scenario(clients=5, mix=(Dragger(name="viewer"),))), "mix"),
        (results(Scenario(clients=5, stages=(Ramp(), Spike(clients=5, measured=True)))), "course"),
        (results(latency_clock="user"), "clock"),
    ],
)
def test_different_tests_are_not_compared(other: LoadtestResults, what: str) -> None:
    with pytest.raises(InputError, match=what):
        check_comparable(results(), other)


@pytest.mark.parametrize(
    ("scenario", "url", "what"),
    [
        (Scenario(clients=6), None, "number of clients of the baseline is 5, of this run is 6"),
        (Scenario(clients=5, encoding="lz4"), None, "encoding"),
        (Scenario(clients=5), "ws://x/ws?encoding=lz4", "encoding"),
        (Scenario(clients=5, filter=Filter(frozenset({"class"}))), "ws://x/ws", "mix"),
        (Scenario(clients=5, mix=(Dragger(),)), None, "roles"),
    ],
)
def test_a_baseline_of_another_test_is_found_before_the_run(scenario: Scenario, url: str | None, what: str) -> None:
    check_baseline_fits(results(), Scenario(clients=5, duration_s=99), "ws://elsewhere/ws")
    with pytest.raises(InputError, match=what):
        check_baseline_fits(results(), scenario, url)


def test_what_makes_a_comparison_doubtful_is_told() -> None:
    assert check_comparable(results(), results()) == []
    longer = results(Scenario(clients=5, duration_s=3.1, description="other words, same test"))
    assert check_comparable(results(), longer) == []
    assert check_comparable(results(scenario=None), longer) == [], "results of before did not tell"
    assert check_comparable(results(), results(failure="the server died")) == ["B was ended early"]
    told = check_comparable(
        results(duration_s=30.0),
        results(interrupted=True, environment__machine="6502", url="ws://y/ws"),
    )
    assert [line.split(",")[0] for line in told] == [
        "the measured time in s of A is 30",
        "they are from different machines",
        "B was ended early",
    ]


def test_blocks_of_a_long_run_become_fewer_and_wider_and_keep_all() -> None:
    one, other = LatencyWindows(), LatencyWindows()
    second = LatencyHistogram()
    second.record(np.array([5], np.int64))
    for half in range(1, 600):
        one.add(half / 2, second)
    for half in range(1, 20):
        other.add(half / 2, second)
    assert len(one.histograms) <= MAX_WINDOWS
    assert one.width_s == 8
    assert [block.count for block in other.histograms][:3] == [2, 2, 2]
    other.merge(one)
    assert sum(block.count for block in other.histograms) == 599 + 19
    assert other.width_s == 8


def test_a_score_of_noise_recommends_what_can_be_found() -> None:
    runs = [results(latency_ms__p50=1.0, latency_ms__p95=p95, latency_ms__p99=9.0) for p95 in (2.0, 2.2, 1.8)]
    made = score(runs, CpuTimes(1000, 10), CpuTimes(2000, 30))
    p95 = made.latency_ms["p95"]
    assert made.steal_percent == 2.0
    assert p95.spread_ms == 0.2
    assert made.latency_ms["p50"].detectable_ms["1"] == 0
    assert p95.two_runs_differ_ms == pytest.approx(1.96 * 0.2 * 2**0.5, rel=0.01)
    assert p95.detectable_ms["1"] == pytest.approx(2.8 * 0.2 * 2**0.5, rel=0.01)
    assert detectable_ms(0.2, 10) < detectable_ms(0.2, 5) < detectable_ms(0.2, 1)
