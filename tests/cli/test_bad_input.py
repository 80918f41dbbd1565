"""Commands used wrongly: one clear error, the right exit code, no traceback. In-process: the whole command runs."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vfctl.cli.app import run
from vfctl.protocol import Heartbeat, NodeSelect, encode


def test_a_port_that_is_taken(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(["serve", "--port", port]) == 1
    errors = capfd.readouterr().err
    assert port in errors
    assert "--port" in errors


def test_serve_replaces_no_recording_and_does_not_say_that_it_could(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "own.mcap"
    recording.write_bytes(b"the one before")
    assert run(["serve", "--port", "0", "--record", str(recording)]) == 1
    errors = capfd.readouterr().err
    assert "already exists" in errors
    assert "choose another name, or remove the file" in errors
    assert "--overwrite" not in errors


def test_a_broken_recording_prints_what_is_readable_then_where_it_breaks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.bin"
    whole = encode(Heartbeat(7)) + encode(NodeSelect(3))
    path.write_bytes(whole + b"\x04\x02\x00\x00\xff\x00")
    assert run(["decode", str(path), "--format", "ndjson"]) == 5
    output, errors = capfd.readouterr()
    assert len(output.splitlines()) == 2
    assert f"byte {len(whole)}" in errors


def run_without_room(arguments: list[str]) -> int:
    """Run a command whose stdout is a device without room."""
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    with full, contextlib.redirect_stdout(full):
        return run(arguments)


@pytest.mark.parametrize("format", ["table", "ndjson", "json", "csv"])
def test_a_full_disk_is_an_error_and_no_bug(tmp_path: Path, format: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some.bin"
    path.write_bytes(encode(Heartbeat(7)) * 5000)
    assert run_without_room(["decode", str(path), "--format", format]) == 1
    errors = capfd.readouterr().err
    assert "No space left" in errors
    assert "Traceback" not in errors


def test_a_report_is_not_touched_before_there_is_another(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "results.json"
    report.write_text("the one before")
    assert run(["loadtest", "ws://127.0.0.1:1/ws", "--json", str(report), "--duration", "0"]) == 2
    assert report.read_text() == "the one before"
    assert run(["loadtest", "ws://127.0.0.1:1/ws", "--json", str(report)]) == 4
    assert "nothing answers at ws://127.0.0.1:1/ws" in json.loads(report.read_text())["failure"]
    assert list(tmp_path.iterdir()) == [report]


@pytest.mark.processes
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "long.bin"
    path.write_bytes(encode(Heartbeat(7)) * 50_000)
    shell = f"{sys.executable} -m vfctl decode {path} --format ndjson | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0
    assert done.stderr.decode().splitlines() == [f"{path}: V4 messages, one after another, 600 kB"]


@pytest.mark.parametrize(
    "command",
    ["--help", "--version", "doctor --clients 1", "scenario list", "scenario show demo", "scenario check demo"],
)
def test_what_cannot_be_printed_is_an_error_and_no_bug(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_without_room(command.split()) == 1
    assert capfd.readouterr().err == "error: cannot write to stdout: No space left on device\n"


@pytest.mark.processes
@pytest.mark.parametrize("command", ["--help", "scenario list"])
def test_a_closed_stdout_is_an_error_and_no_bug(command: str) -> None:
    shell = f"{sys.executable} -m vfctl {command} >&-"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: cannot write to stdout: Bad file descriptor\n")


@pytest.mark.processes
def test_a_reader_that_leaves_changes_no_exit_code() -> None:
    results = Path(__file__).parents[1] / "loadtest" / "results" / "golden" / "loadtest.json"
    for command, code in (("scenario list", 0), (f"gate {results} --gate clients.lost==77", 3)):
        shell = f"{sys.executable} -m vfctl {command} | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.processes
@pytest.mark.parametrize("stderr", ["2>&1 >/dev/null | true", "2>/dev/full"])
def test_a_load_test_outlives_the_reader_of_its_log(stderr: str, tmp_path: Path) -> None:
    report = tmp_path / "results.json"
    shell = f"{sys.executable} -m vfctl loadtest ws://127.0.0.1:1/ws --json {report} {stderr}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (4, b"")
    assert "nothing answers" in json.loads(report.read_text())["failure"]


@pytest.mark.processes
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    """As those who start daemons may leave them. What cannot be written is an error."""
    recording = tmp_path / "a.bin"
    recording.write_bytes(encode(Heartbeat(1)))
    command = f"{sys.executable} -m vfctl decode {recording} {closed}"
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == (1 if ">&-" in closed.replace("2>&-", "") else 0)
    if closed == ">&-":
        assert "cannot write to stdout: Bad file descriptor" in ended.stderr
