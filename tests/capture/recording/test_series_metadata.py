"""Each file of a series can be read alone: what is learnt in the midst of one stands in all that follow."""

from __future__ import annotations

from pathlib import Path

from vfctl.capture import open_capture
from vfctl.capture.formats.mcap import METADATA_NAME
from vfctl.capture.recording.series import Rotation, SeriesWriter
from vfctl.protocol import FullGraph, encode


def test_what_was_noted_of_the_recording_stands_in_every_later_file(tmp_path: Path, graph_message: FullGraph) -> None:
    path = tmp_path / "a.mcap"
    with SeriesWriter(path, metadata={"url": "ws://test/ws"}, rotation=Rotation(max_s=1.0)) as writer:
        for second in range(4):
            writer.write(encode(graph_message), second * 10**9)
            if second == 0:
                writer.note(METADATA_NAME, {"server": "vfctl 0.1.0"})
                writer.note("vfctl.reconnect", {"reason": "only here"})
    assert len(writer.files) == 4
    noted = []
    for file in writer.files:
        capture = open_capture(file)
        list(capture)
        noted.append(capture.metadata)
    assert [each["server"] for each in noted] == ["vfctl 0.1.0"] * 4
    assert [each["file_number"] for each in noted] == ["1", "2", "3", "4"]
    assert all(each["graph_nodes"] == "3" and "reason" not in each for each in noted)
