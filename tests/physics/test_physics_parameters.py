import re
import subprocess
import sys
from pathlib import Path

import pytest

from vfctl.errors import UsageError
from vfctl.physics import PARAMETERS, PhysicsParameters


def test_the_table_and_the_fields_are_one():
    assert tuple(PARAMETERS) == PhysicsParameters._fields
    assert {name: info.default for name, info in PARAMETERS.items()} == PhysicsParameters()._asdict()


@pytest.mark.parametrize("name", PARAMETERS)
def test_both_ends_of_a_range_are_allowed_and_the_default_lies_within(name):
    info = PARAMETERS[name]
    assert info.minimum <= info.default <= info.maximum
    assert info.unit
    assert info.description
    for value in (info.minimum, info.maximum):
        assert getattr(PhysicsParameters().validated(**{name: value}), name) == value


@pytest.mark.parametrize("name", PARAMETERS)
def test_beyond_a_range_is_refused_with_the_range(name):
    info = PARAMETERS[name]
    for value in (info.minimum - 1, info.maximum * 1.01, float("inf"), -float("inf")):
        with pytest.raises(UsageError, match=re.escape(f"{info.minimum:g} to {info.maximum:g} {info.unit}")) as caught:
            PhysicsParameters().validated(**{name: value})
        assert name in caught.value.message


@pytest.mark.parametrize("value", [float("nan"), True, "10", None])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(UsageError, match="damping is a number, not"):
        PhysicsParameters().validated(damping=value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("spring_K", "did you mean spring_k?"),
        ("max-velocity", "did you mean max_velocity?"),
        ("gravity", "did you mean center_gravity_k?"),
        ("zzz", "the parameters are spring_k, "),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(name, hint):
    with pytest.raises(UsageError, match=f"'{name}'") as caught:
        PhysicsParameters().validated(**{name: 1.0})
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_number_beyond_all_floats_is_out_of_range(value):
    with pytest.raises(UsageError, match="astronomical size is out of range: 0 to 100 1/s"):
        PhysicsParameters().validated(damping=value)


def test_no_name_is_special():
    with pytest.raises(UsageError, match="'self'"):
        PhysicsParameters().validated(self=1.0)


@pytest.mark.processes
def test_the_table_does_not_load_jax():
    program = "import sys; from vfctl.physics import PARAMETERS, PhysicsParameters; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


@pytest.mark.processes
def test_the_documented_table_is_this_one():
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, root / "docs" / "parameter_table.py", "--check"], check=False, timeout=60)
    assert done.returncode == 0, "run `make docs`"


def test_changes_are_merged_and_become_floats():
    changed = PhysicsParameters().validated(damping=3).validated(repel_k=7)
    assert changed == PhysicsParameters()._replace(damping=3.0, repel_k=7.0)
    assert {type(value) for value in changed} == {float}


def test_values_that_were_never_checked_are_checked_too():
    with pytest.raises(UsageError, match="dt"):
        PhysicsParameters(dt=9.0).validated()
