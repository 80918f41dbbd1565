"""`vfctl decode` as people call it: options, files, what is said on stderr, what is left behind."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vfctl.cli.app import run
from vfctl.cli.progress import Progress
from vfctl.protocol import EDGE_DTYPE, NODE_DTYPE, FullGraph, Heartbeat, Metadata, NodeSelect, PositionUpdate, encode


def nodes(x: float) -> np.ndarray:
    made = np.zeros(2, NODE_DTYPE)
    made["id"], made["x"] = (5, 6), x
    return made


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A FullGraph of two nodes, Left and Right, and forty updates, 50 ms apart."""
    metadata = Metadata(("Left", "Right"), ("class",) * 2, (0, 0), (0, 0))
    messages = [FullGraph(nodes(0), np.zeros(0, EDGE_DTYPE), metadata), *(PositionUpdate(nodes(x)) for x in range(40))]
    path = tmp_path / "recording.bin"
    path.write_bytes(b"".join(map(encode, messages)))
    return path


def test_what_it_was_recognised_as_comes_first(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["decode", str(recording), "--limit", "3"]) == 0
    output, errors = capfd.readouterr()
    assert errors.splitlines()[0] == f"{recording}: V4 messages, one after another, 2.71 kB"
    assert [line.split()[1] for line in output.splitlines()[1:]] == ["FullGraph", "PositionUpdate", "PositionUpdate"]


def test_options_choose(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["decode", str(recording), "--format", "ndjson", "--type", "positionupdate", "--node", "Right"]
    assert run([*command, "--from", "500ms", "--to", "1.5", "--every", "0.25s"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["time_s"] for line in lines] == [0.5, 0.75, 1.0, 1.25]
    assert [line["nodes"]["id"] for line in lines] == [[6]] * 4


def test_output_to_files(recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for format in ("npz", "parquet", "csv", "json", "table"):
        assert run(["decode", str(recording), "--format", format, "-o", str(tmp_path / f"out.{format}")]) == 0
    assert capfd.readouterr().out == ""
    with np.load(tmp_path / "out.npz") as columns:
        assert columns["nodes"]["x"].reshape(40, 2)[:, 0].tolist() == list(range(40))
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 82
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 83
    assert len(json.loads((tmp_path / "out.json").read_bytes())) == 41
    assert len((tmp_path / "out.table").read_text().splitlines()) == 42


@pytest.mark.processes
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("format", ["table", "json", "ndjson", "csv", "npz", "parquet"])
def test_a_device_without_room(format: str, recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["decode", str(recording), "--format", format, "-o", "/dev/full", "--overwrite"]) == 1
    assert "cannot write /dev/full: No space left on device" in capfd.readouterr().err


def test_an_existing_file_is_only_replaced_if_told(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    assert run(["decode", str(recording), "--format", "csv", "-o", str(out)]) == 1
    assert "--overwrite" in capfd.readouterr().err
    assert out.read_text() == "mine"
    assert run(["decode", str(recording), "--format", "csv", "-o", str(out), "--overwrite"]) == 0
    assert out.read_text().startswith("message,")


@pytest.mark.parametrize("name", ["n" * 248 + ".csv", "n" * 251 + ".csv"])
def test_a_long_name_and_a_link(recording: Path, tmp_path: Path, name: str) -> None:
    """What `vfctl.files` promises holds for exported and for copied recordings."""
    (tmp_path / "link.csv").symlink_to(tmp_path / name)
    assert run(["decode", str(recording), "--format", "csv", "-o", str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / name).read_text().startswith("message,")
    (tmp_path / "link.bin").symlink_to(tmp_path / ("n" * 248 + ".bin"))
    assert run(["capture", "convert", str(recording), str(tmp_path / "link.bin")]) == 0
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / ("n" * 248 + ".bin")).stat().st_size


def test_a_damaged_recording_leaves_a_file_of_what_is_intact(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(recording.read_bytes())
    where = [len(content) - 64 * place for place in (10, 20)]
    for at in where:
        content[at : at + 8] = bytes(8)
    recording.write_bytes(content)
    assert run(["decode", str(recording), "--format", "npz", "-o", str(tmp_path / "out.npz")]) == 5
    errors = capfd.readouterr().err
    assert all(f"byte {at}: " in errors for at in where)
    assert "error:" in errors
    with np.load(tmp_path / "out.npz") as columns:
        assert len(columns["time_s"]) == 38


def test_a_plot(recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["decode", str(recording), "--plot", str(tmp_path / "a.svg"), "--node", "Left"]) == 0
    assert capfd.readouterr().out == ""
    assert "Left" in (tmp_path / "a.svg").read_text()
    assert run(["decode", str(recording), "--plot", str(tmp_path / "a.svg"), "--node", "Nobody"]) == 1
    assert run(["decode", str(recording), "--plot", str(tmp_path / "b.svg"), "--node", "Nobody"]) == 1
    assert not (tmp_path / "b.svg").exists()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--from", "x"], 2, "--from is 'x'"),
        (["--to", "-1"], 2, "--to is '-1'"),
        (["--from", "2", "--to", "1s"], 2, "--to is 1s, expected more than --from"),
        (["--every", "0"], 2, "--every is '0'"),
        (["--every", "1.5"], 0, ""),
        (["--type", "Frame"], 2, "no message type is called 'Frame'"),
        (["--node", "Nobody"], 1, "no node of the recording is called 'Nobody'"),
        (["--plot", "a.gif"], 2, ".png, .svg"),
        (["--plot", "a.png", "--format", "csv"], 2, "run vfctl decode twice"),
        (["--format", "npz", "-o", "/no/such/folder/x.npz"], 1, "there is no directory"),
        (["--format", "npz", "-o", "/"], 1, "is a directory"),
    ],
)
def test_options_that_are_wrong(
    options: list[str], code: int, says: str, recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["decode", str(recording), *options]) == code
    errors = capfd.readouterr().err
    assert says in errors
    assert "Traceback" not in errors
    assert [path.name for path in recording.parent.iterdir()] == [recording.name]


def test_parquet_without_pyarrow_says_what_to_install(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["decode", str(recording), "--format", "parquet", "-o", str(recording.with_suffix(".parquet"))]) == 1
    assert "pip install 'vfctl[parquet]'" in capfd.readouterr().err


@pytest.mark.processes
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ended_early_it_leaves_nothing_half_done(end: signal.Signals, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    out = tmp_path / "out.csv"
    command = [sys.executable, "-m", "vfctl", "decode", "-", "--format", "csv", "-o", str(out)]
    with subprocess.Popen(command, stdin=reading, stderr=subprocess.PIPE) as process:
        os.close(reading)
        os.write(writing, encode(PositionUpdate(nodes(1))))
        deadline_s = time.monotonic() + 30
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert [path.name.startswith(".vfctl-") for path in tmp_path.iterdir()] == [True]
        process.send_signal(end)
        _, errors = process.communicate(timeout=30)
    os.close(writing)
    assert process.returncode == (130 if end == signal.SIGINT else -signal.SIGTERM), errors
    assert b"Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_a_signal_in_the_midst_of_a_finaliser_ends_it_too() -> None:
    """Python swallows what is raised there."""
    script = """
import os, signal, time
from vfctl.cli.signals import clean_up_on_sigterm
class Ending:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
try:
    with clean_up_on_sigterm():
        ending = Ending()
        del ending
        time.sleep(60)
finally:
    print("tidied")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == -signal.SIGTERM


@pytest.mark.processes
def test_a_pipe_is_decoded_as_it_comes() -> None:
    command = [sys.executable, "-m", "vfctl", "decode", "-", "--format", "ndjson"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for number in range(2):
            process.stdin.write(encode(NodeSelect(number)))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["node_id"] == number, "before anything more has come"
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_progress_is_a_line_every_five_seconds_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    with Progress("reading", 2_000_000_000) as progress:
        for second in range(13):
            now_s = 100.0 + second
            progress(second * 100_000_000)
    assert capfd.readouterr().err.splitlines() == [
        "reading: 25 % (500 MB of 2 GB), 5 s",
        "reading: 50 % (1 GB of 2 GB), 10 s",
    ]


@pytest.mark.processes
def test_progress_is_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """In a real one: the bar is there while it reads, and gone at the end."""
    script = (
        "import time\n"
        "from vfctl.cli.progress import Progress\n"
        "with Progress('reading', 1000) as progress:\n"
        "    for offset in range(0, 1000, 100): progress(offset); time.sleep(0.1)\n"
    )
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script], stderr=follower, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:  # the other side has closed it
                break
            if not piece:
                break
            shown += piece
    os.close(leader)
    assert process.returncode == 0
    assert b"reading" in shown
    assert b"\x1b[2K" in shown, "the line is taken away"


def test_heartbeats_alone_make_no_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.bin").write_bytes(encode(Heartbeat(1)))
    assert run(["decode", str(tmp_path / "a.bin"), "--format", "csv"]) == 0
    assert capfd.readouterr().out == "message,time_s,type,connection,sequence,timestamp_us,id,x,y,z,vx,vy,vz\n"
