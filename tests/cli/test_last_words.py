"""What `vfctl replay --to` and `vfctl serve --record` say in the end."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from vfctl.cli.replay import print_sent
from vfctl.cli.serve import print_recorded
from vfctl.client.playback import PlaybackSummary
from vfctl.errors import InputError, VfctlError
from vfctl.server.options import RecordTo


def test_nothing_sent_has_no_kinds(capfd: pytest.CaptureFixture[str]) -> None:
    print_sent(PlaybackSummary(connections=1, duration_s=2.0))
    assert capfd.readouterr().err.splitlines()[0] == "sent 0 messages on 1 connection in 2.0 s"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (None, "missing from the recording: 2 messages, because they arrived faster than they could be written"),
        (InputError("cannot write own.mcap: No space left on device"), "missing from the recording: 2 messages"),
    ],
)
def test_what_a_failed_recording_lacks_did_not_come_too_fast(
    failure: VfctlError | None, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    figures = SimpleNamespace(messages=5, files=1, dropped=2)
    server: Any = SimpleNamespace(scoreboard=SimpleNamespace(recording=figures), recording_failure=failure)
    with pytest.raises(typer.Exit) if failure else nullcontext():
        print_recorded(server, RecordTo("own.mcap"))
    assert capfd.readouterr().err.splitlines()[1] == said
