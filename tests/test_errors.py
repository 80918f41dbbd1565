"""The table of errors: every kind has its exit code, and crosses between processes."""

from __future__ import annotations

import pickle

import pytest

from vfctl import errors
from vfctl.errors import ProtocolError, VfctlError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VfctlError)]


def test_the_table() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "VfctlError": 1,
        "InputError": 1,
        "MissingError": 1,
        "UsageError": 2,
        "GateError": 3,
        "PeerError": 4,
        "ProtocolError": 5,
        "CaptureError": 5,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_errors_cross_between_processes(kind: type[VfctlError]) -> None:
    options = {"offset": 7} if kind is ProtocolError else {}
    error = kind("what happened", hint="what to do", **options)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.message, copy.hint, str(copy)) == (error.message, error.hint, str(error))


def test_an_offset_can_be_shifted() -> None:
    error = ProtocolError("wrong", offset=3, hint="do").shifted(10)
    assert (error.offset, error.message, error.hint) == (13, "byte 13: wrong", "do")
