"""`vfctl capture`: exit codes, what is said, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vfctl.capture import open_capture, open_writer
from vfctl.cli.app import run
from vfctl.protocol import (
    EDGE_DTYPE,
    NODE_DTYPE,
    FullGraph,
    Heartbeat,
    NodeSelect,
    PositionUpdate,
    Trailer,
    encode,
)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A FullGraph, thirty TIMED updates of two nodes (round 11 is missing), a Heartbeat."""
    nodes = np.zeros(2, NODE_DTYPE)
    rounds = [number for number in range(1, 32) if number != 11]
    messages = [
        FullGraph(nodes, np.zeros(0, EDGE_DTYPE), trailer=Trailer(1, 50_000, 50_000)),
        *(PositionUpdate(nodes, trailer=Trailer(number, number * 50_000, 50_000)) for number in rounds),
        Heartbeat(1),
    ]
    path = tmp_path / "plain.bin"
    path.write_bytes(b"".join(map(encode, messages)))
    return path


def said(capfd: pytest.CaptureFixture[str]) -> str:
    output, errors = capfd.readouterr()
    assert "Traceback" not in output + errors
    return output + errors


def test_info(plain: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", "info", str(plain)]) == 0
    text = said(capfd)
    for words in ("V4 messages, one after another", "30 PositionUpdate", "1.500 s", "30 raw", "2 nodes, 0 edges"):
        assert words in text
    assert run(["capture", "info", str(plain), "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["schema"] == "vfctl.capture-info/1"
    assert document["counts"] == {"PositionUpdate": 30, "FullGraph": 1, "Heartbeat": 1}
    assert document["updates_per_s"] == pytest.approx(29 / 1.5)
    assert document["connections"] == [{"number": 0, "about": "", "from_server": 32, "from_client": 0}]
    assert document["losses"] == []


def test_info_has_long_words_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url = "ws://127.0.0.1:8765/ws?" + "&".join(f"option{number}=1" for number in range(20))
    with open_writer(tmp_path / "a.mcap", metadata={"url": url}) as writer:
        writer.write(encode(Heartbeat(1)), 1)
    assert run(["capture", "info", str(tmp_path / "a.mcap")]) == 0
    assert url in "".join(capfd.readouterr().out.split())


def test_info_of_a_damaged_one_says_where(plain: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain.write_bytes(plain.read_bytes()[:-1])
    assert run(["capture", "info", str(plain), "--json"]) == 5
    document = json.loads(capfd.readouterr().out)
    assert document["messages"] == 31
    assert document["losses"][0]["offset"] == plain.stat().st_size - 11
    assert document["damage"]


def test_what_a_peer_says_cannot_steer_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open_writer(tmp_path / "a.mcap", metadata={"url": "ws://x/\x1b[31m\u202e"}) as writer:
        writer.write(encode(Heartbeat(1)), 1)
    assert run(["capture", "info", str(tmp_path / "a.mcap")]) == 0
    assert "\x1b[31m" not in said(capfd)


def test_check(plain: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", "check", str(plain)]) == 0
    text = said(capfd)
    assert "32 messages read and decoded" in text
    assert "connection 0: 1 update missing" in text
    assert "whole" in text
    assert run(["capture", "check", str(plain), "--strict"]) == 5
    plain.write_bytes(plain.read_bytes()[:-1])
    assert run(["capture", "check", str(plain), "--json"]) == 5
    output = capfd.readouterr().out
    document = json.loads(output[output.index("{") :])
    assert (document["whole"], document["messages"], document["missing_rounds"]) == (False, 31, {"0": 1})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no recording", encode(Heartbeat(1))[:-1]])
def test_check_of_what_cannot_be_read_at_all(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(content)
    assert run(["capture", "check", str(tmp_path / "a")]) == 1
    assert "error:" in said(capfd)
    assert run(["capture", "check", str(tmp_path / "missing")]) == 1


def test_repair_tells_what_is_lost(plain: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mcap"
    assert run(["capture", "repair", str(plain), str(out)]) == 0
    assert run(["capture", "repair", str(plain), str(out)]) == 1
    assert "already exists" in said(capfd)
    content = bytearray(plain.read_bytes())
    content[88:92] = bytes(4)  # the header of the first update
    plain.write_bytes(content[:-3])
    assert run(["capture", "repair", str(plain), str(out), "--overwrite"]) == 5
    text = said(capfd)
    assert "byte 88: " in text
    assert f"byte {len(content) - 12}: " in text
    assert "2 places could not be recovered" in text
    with open_capture(out) as capture:
        assert len(list(capture)) == 30


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no recording", encode(Heartbeat(1))[:-1]])
def test_repair_of_nothing(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(content)
    assert run(["capture", "repair", str(tmp_path / "a"), str(tmp_path / "out.mcap")]) == 1
    assert "error:" in said(capfd)
    assert not (tmp_path / "out.mcap").exists()


def test_cut_convert_merge(plain: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, second, both = (tmp_path / name for name in ("first.mcap", "second.mcap", "both.bin"))
    assert run(["capture", "cut", str(plain), str(first), "--to", "0.5s"]) == 0
    assert run(["capture", "cut", str(plain), str(second), "--from", "500ms"]) == 0
    assert run(["capture", "convert", str(second), str(second), "--encoding", "lz4", "--overwrite"]) == 0
    assert run(["capture", "merge", str(first), str(second), str(both)]) == 0
    assert "left out" not in said(capfd), "what is outside of a stretch was not asked for"
    with open_capture(both) as capture:
        assert len(list(capture)) == 32 + 2, "the second begins with the graph and the newest positions"
    assert run(["capture", "check", str(both)]) == 0


def test_a_single_message_is_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.bin").write_bytes(encode(Heartbeat(1)))
    assert run(["capture", "convert", str(tmp_path / "a.bin"), str(tmp_path / "b.mcap")]) == 0
    assert run(["capture", "check", str(tmp_path / "b.mcap")]) == 0
    text = said(capfd)
    assert "b.mcap: 1 message, " in text
    assert "1 message read and decoded" in text


def test_an_error_names_no_file_that_nobody_has_heard_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v2").write_bytes(b"\x02" + bytes(2 * 36))
    assert run(["capture", "convert", str(tmp_path / "v2"), str(tmp_path / "out.bin")]) == 1
    text = said(capfd)
    assert "a .bin cannot hold V2 frames" in text
    assert "/.out" not in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["cut", "FILE", "OUT.mcap", "--from", "3", "--to", "2"], 2, "--to is 2s, expected more than --from"),
        (["cut", "FILE", "OUT.mcap", "--from", "x"], 2, "--from is 'x'"),
        (["cut", "FILE", "OUT.mcap", "--from", "1h"], 1, "no message was left"),
        (["cut", "FILE", "OUT.txt"], 2, ".mcap"),
        (["convert", "FILE", "/no/such/folder/x.mcap"], 1, "no directory"),
        (["convert", "FILE", "OUT.mcap", "--encoding", "compact"], 2, "--encoding"),
        (["repair", "FILE", "OUT.bin"], 2, ".mcap"),
        (["merge", "FILE"], 2, "the file to write"),
        (["merge", "FILE", "OUT.mcap"], 2, "two recordings"),
        (["merge", "FILE", "FILE", "OUT.mcap"], 2, "twice"),
        (["info", "missing"], 1, "missing"),
    ],
)
def test_wrong_uses(
    arguments: list[str], code: int, says: str, plain: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = {
        "FILE": str(plain),
        **{f"OUT.{suffix}": str(tmp_path / f"OUT.{suffix}") for suffix in ("mcap", "bin", "txt")},
    }
    assert run(["capture", *(names.get(argument, argument) for argument in arguments)]) == code
    assert says in said(capfd)
    assert [path.name for path in tmp_path.iterdir()] == [plain.name]


@pytest.mark.processes
def test_stdin(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "vfctl", "capture", "repair", "-", str(tmp_path / "out.mcap")]
    content = encode(NodeSelect(1)) + b"garbage" + encode(NodeSelect(2))
    done = subprocess.run(command, input=content, capture_output=True, check=False, timeout=60)
    assert done.returncode == 5
    assert b"byte 8: " in done.stderr
    with open_capture(tmp_path / "out.mcap") as capture:
        assert [message.payload for message in capture] == [encode(NodeSelect(1)), encode(NodeSelect(2))]
