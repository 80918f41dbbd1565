"""Commands used wrongly: one clear error, the right exit code, no traceback. In-process: the whole command runs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vfctl.cli.app import run
from vfctl.protocol import Heartbeat, NodeSelect, encode

FIND = ("--find", "clients", "--until", "clients.lost == 0")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["loadtest", "ws://127.0.0.1:1/ws", "--clients", "1"], 4, "connection refused"),
        (["loadtest", "ftp://x"], 2, "ws"),
        (["loadtest", "--gate", "p95"], 2, "PATH OPERATOR NUMBER"),
        (["loadtest", "--clients", "0"], 2, "--clients"),
        (["loadtest", "--filter", "{"], 2, "--filter is not JSON"),
        (["loadtest", "--filter", '{"knd":[]}'], 2, "unknown filter key"),
        (["loadtest", "--scenario", "nope"], 1, "the scenarios are"),
        (["loadtest", "--json", "/no/such/folder/x.json"], 1, "cannot write"),
        (["record", "ws://127.0.0.1:1/ws", "OUT.mcap"], 4, "nothing listens"),
        (["record", "ws://127.0.0.1:1/ws", "OUT.txt"], 2, ".mcap"),
        (["decode", "/dev/null"], 5, "empty"),
        (["decode", "/etc/passwd"], 5, "expected an MCAP recording"),
        (["decode", "no-such-file"], 1, "no-such-file"),
        (["replay", "no-such-file"], 1, "no-such-file"),
        (["serve", "no-such-file.ttl"], 1, "no-such-file.ttl"),
        (["serve", "x.ttl", "--nodes", "5"], 2, "not both"),
        (["serve", "--workers", "many"], 2, "--workers"),
        (["serve", "--host", "not.an.address.invalid"], 2, "cannot listen"),
        (["serve", "--port", "99999"], 2, "--port"),
        (["watch", "ws://127.0.0.1:1/ws"], 4, "nothing listens"),
        (["watch", "ws://127.0.0.1:1/ws", "--duration", "nan"], 2, "--duration is 'nan'"),
        (["record", "ws://127.0.0.1:1/ws", "OUT.mcap", "--duration", "-3"], 2, "--duration is '-3'"),
        (["record", "ws://127.0.0.1:1/ws", "OUT.mcap", "--rotate", "often"], 2, "--rotate is 'often'"),
        (["record", "ws://127.0.0.1:1/ws", "OUT.mcap", "--max-size", "3"], 2, "--max-size is '3'"),
        (["serve", "--rotate", "10min"], 2, "--rotate is for a recording"),
        (["serve", "--record", "/no/such/folder/a.mcap"], 1, "there is no directory"),
        (["serve", "--record", "/proc/a.mcap"], 1, "cannot write /proc/a.mcap: "),
        (["serve", "--record", "OUT.txt"], 2, "no recording format"),
        (["replay", "x.mcap", "--to", "ws://127.0.0.1:1/ws", "--loop"], 2, "--loop and --paused are for serving"),
        (["replay", "x.mcap", "--to", "ws://127.0.0.1:1/ws"], 1, "x.mcap"),
        (["replay", "/dev/null", "--speed", "0"], 2, "speed 0"),
        (["loadtest", "--traffic", "no-such.mcap"], 1, "no-such.mcap"),
        (["serve", "--active-interval-ms", "inf"], 2, "active_interval_ms is inf"),
        (["serve", "--stable-interval-ms", "5"], 2, "less than active_interval_ms"),
        (["serve", "/dev/zero"], 1, "not a regular file"),
        (["serve", "--set", "spring_k"], 2, "NAME=VALUE"),
        (["serve", "--set", "spring_k=501"], 2, "spring_k = 501 is out of range: 0 to 500 1/s²"),
        (["serve", "--set", "spring_k=nan"], 2, "spring_k is a number, not nan"),
        (["serve", "--set", "spring_k=x"], 2, "spring_k is a number, not 'x'"),
        (["serve", "--set", "sprong_k=x"], 2, "did you mean spring_k?"),
        (["serve", "--set", "self=1"], 2, "there is no physics parameter 'self'"),
        (["serve", "--config", "no-such.toml"], 1, "no-such.toml"),
        (["serve", "--device", "tpu"], 2, "--device"),
        (["layout"], 2, "--out positions.npz"),
        (["layout", "--out", "OUT.xlsx"], 2, ".npz, .json, .graphml"),
        (["layout", "--plot", "OUT.gif"], 2, ".png, .svg, .pdf"),
        (["layout", "--out", "/no/such/folder/x.npz"], 1, "cannot write"),
        (["layout", "--out", "/proc/x.npz"], 1, "cannot write"),
        (["layout", "no-such-file.ttl", "--out", "OUT.npz"], 1, "no-such-file.ttl"),
        (["layout", "x.ttl", "--nodes", "5", "--out", "OUT.npz"], 2, "not both"),
        (["layout", "--set", "dt=1", "--out", "OUT.npz"], 2, "dt = 1 is out of range: 0.001 to 0.05 s"),
        (["loadtest", "ws://127.0.0.1:1/ws", "--active"], 2, "are for an embedded server"),
        (["loadtest", "ws://127.0.0.1:1/ws", "--embedded"], 2, "are for an embedded server"),
        (["loadtest", "--ab", "ws://a/", "ws://b/", "--nodes", "9"], 2, "are for an embedded server"),
        (["loadtest", "--ab", "ws://a/", "ws://b/", "--repeat", "2"], 2, "a longer --duration"),
        (["loadtest", "--ab", "ws://a/", "ws://b/", "--find", "clients"], 2, "--ab names its two servers"),
        (
            ["loadtest", *FIND, "--gate", "clients.lost == 0"],
            2,
            "--until",
        ),
        (
            ["loadtest", *FIND, "--repeat", "2"],
            2,
            "at the load that --find reports",
        ),
        (
            ["loadtest", *FIND, "--csv", "x"],
            2,
            "vfctl loadtest --clients N",
        ),
        (["loadtest", "--gate", "latency_ms.p59 < 30"], 2, "did you mean latency_ms.p9"),
        (["loadtest", "--gate", "roles.dragger.latency_ms.p95 < 30"], 2, "there is no role dragger"),
        (["loadtest", "--gate", "b.latency_ms.p95 < 30"], 2, "--ab URL_A URL_B"),
        (["loadtest", "--abort-gate", "clients.lots == 0 after 1s"], 2, "did you mean clients.lost?"),
        (["loadtest", "--ab", "ws://a/", "ws://b/", "--gate", "a.latency_ms.p95 < baseline"], 2, "needs a baseline"),
        (["loadtest", "--encoding", "zip"], 2, "'raw'"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_an_error_says_what_to_do(
    arguments: list[str], code: int, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / argument) if argument.startswith("OUT") else argument for argument in arguments]
    got = run(arguments)
    output, errors = capfd.readouterr()
    assert (got, output) == (code, ""), errors
    assert says in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("format", ["table", "ndjson", "json", "csv"])
def test_a_full_disk_is_an_error_and_no_bug(tmp_path: Path, format: str) -> None:
    path = tmp_path / "some.bin"
    path.write_bytes(encode(Heartbeat(7)) * 5000)
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "vfctl", "decode", str(path), "--format", format]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_report_is_not_touched_before_there_is_another(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "results.json"
    report.write_text("the one before")
    assert run(["loadtest", "ws://127.0.0.1:1/ws", "--json", str(report), "--duration", "0"]) == 2
    assert report.read_text() == "the one before"
    assert run(["loadtest", "ws://127.0.0.1:1/ws", "--json", str(report)]) == 4
    assert "nothing answers at ws://127.0.0.1:1/ws" in json.loads(report.read_text())["failure"]
    assert list(tmp_path.iterdir()) == [report]


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
@pytest.mark.parametrize("stdout", [">/dev/full", ">&-"])
def test_what_cannot_be_printed_is_an_error_and_no_bug(command: str, stdout: str) -> None:
    shell = f"{sys.executable} -m vfctl {command} {stdout}"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    reason = "No space left on device" if "full" in stdout else "Bad file descriptor"
    assert done.stderr == f"error: cannot write to stdout: {reason}\n"


def test_a_reader_that_leaves_changes_no_exit_code(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    figures = {"clients": {"lost": 1}, "latency_ms": {"count": 1}, "throughput": {}, "frames": {"received": 1}}
    results.write_text(json.dumps({"schema": "vfctl.loadtest/2", "roles": {}, **figures}))
    for command, code in (("scenario list", 0), (f"gate {results} --gate clients.lost==0", 3)):
        shell = f"{sys.executable} -m vfctl {command} | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize("stderr", ["2>&1 >/dev/null | true", "2>/dev/full"])
def test_a_load_test_outlives_the_reader_of_its_log(stderr: str, tmp_path: Path) -> None:
    report = tmp_path / "results.json"
    shell = f"{sys.executable} -m vfctl loadtest ws://127.0.0.1:1/ws --json {report} {stderr}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (4, b"")
    assert "nothing answers" in json.loads(report.read_text())["failure"]


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
