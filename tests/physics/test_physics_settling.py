from functools import reduce

import pytest

from vfctl.physics.simulation import QUIET_STEPS, Settling, rest_energy


def after(energies, start=None):
    return reduce(lambda settling, energy: settling.after(energy, 1.0), energies, start or Settling())


def test_a_start_at_rest_is_no_rest():
    assert not Settling().settled
    # Nothing moves in the first step, then the forces do their work.
    assert not after([0.0, 0.3, 5.0, 40.0]).settled


def test_rest_takes_that_many_quiet_steps_in_a_row():
    assert not after([0.5] * (QUIET_STEPS - 1)).settled
    assert after([0.5] * QUIET_STEPS).settled


def test_one_step_of_motion_starts_the_count_anew():
    almost = [0.5] * (QUIET_STEPS - 1)
    assert not after([*almost, 1.0, *almost]).settled
    assert after([*almost, 1.0, *almost, 0.5]).settled


@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), float("nan")])
def test_an_energy_that_is_not_finite_is_motion_and_forgotten(bad):
    assert not after([0.5] * QUIET_STEPS + [bad]).settled
    assert after([bad] * 5 + [0.5] * QUIET_STEPS).settled


def test_the_threshold_goes_with_the_size_of_the_layout():
    assert rest_energy(20.0) == pytest.approx(4 * rest_energy(10.0))
    assert rest_energy(10.0) == pytest.approx(0.5 * 0.1**2)
