"""A file that is one frame of a deployed server: V2, V3, V5 or `0x42`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from vfctl.capture.losses import Report
from vfctl.capture.message import CapturedMessage
from vfctl.capture.source import ByteSource
from vfctl.errors import ProtocolError
from vfctl.protocol.deployed import Form, decode_deployed, whole_records
from vfctl.protocol.wire import MAX_MESSAGE_BYTES

_SMALLEST: Final = 1e-20
_LARGEST: Final = 1e9
_COORDINATES: Final = ("x", "y", "z", "vx", "vy", "vz")


def read_deployed_file(source: ByteSource, report: Report) -> Iterator[CapturedMessage]:
    """The one frame; if the file is cut off, its complete nodes.

    Raises:
        InputError: the operating system cannot read on.
    """
    content = source.read(MAX_MESSAGE_BYTES)
    form = decode_form(content)
    whole = whole_records(content)
    if whole:
        yield CapturedMessage(content[:whole], None, 0, form=form)
    lost = len(content) - whole
    while piece := source.read_some():
        lost += len(piece)
    if lost:
        report.losses.note(
            whole,
            f"{lost} bytes that are no whole node of a {form.value.capitalize()} frame, expected the rest",
            lost,
            cut_off=True,
        )


def looks_deployed(start: bytes) -> bool:
    """Whether a file that begins with these bytes has nodes. The first byte alone is not enough evidence.

    At least half of the nodes must have credible positions and velocities: zero, not finite, or between 1e-20 and 1e9.
    Of random bytes, three in a thousand look like such a node.
    """
    try:
        whole = whole_records(start)
        records = decode_deployed(start[:whole]).records
    except ProtocolError:
        return False
    if not len(records):
        return False
    values = np.stack([records[name] for name in _COORDINATES])
    sizes = np.abs(values)
    usual = (sizes == 0) | ((sizes > _SMALLEST) & (sizes < _LARGEST)) | ~np.isfinite(values)
    return bool(usual.all(axis=0).mean() >= 0.5)


def decode_form(content: bytes) -> Form:
    """The form by the first byte, which must be that of a deployed server."""
    return decode_deployed(content[: whole_records(content)]).form
