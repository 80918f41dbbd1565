"""Wrong command lines: the exit code, and a message that names the mistake and what was meant. All run in-process."""

from __future__ import annotations

import shlex
import wave
from pathlib import Path

import pytest

from vfctl.cli.app import run
from vfctl.protocol import Heartbeat, encode

URL = "ws://127.0.0.1:1/ws"
"""Nothing listens there."""

FIND = "loadtest --find clients --until 'clients.lost == 0'"
AB = "loadtest --ab ws://a/ ws://b/"

MISTAKES = [
    # --- commands -------------------------------------------------------------------------------------------------
    ("frobnicate", 2, ["vfctl has no command 'frobnicate'", "the commands are serve, "]),
    ("laodtest", 2, ["did you mean vfctl loadtest?"]),
    ("load-test", 2, ["did you mean vfctl loadtest?"]),
    ("Serve", 2, ["did you mean vfctl serve?"]),
    ("help", 2, ["did you mean vfctl --help?"]),
    ("version", 2, ["did you mean vfctl --version?"]),
    ("-v", 2, ["vfctl has no option -v", "did you mean --version?"]),
    ("--verison", 2, ["did you mean --version?"]),
    (f"{URL}", 2, [f"did you mean vfctl watch {URL}?"]),
    ("REC.bin", 2, ["did you mean vfctl decode REC.bin?"]),
    ("capture inf REC.bin", 2, ["vfctl capture has no command 'inf'", "did you mean vfctl capture info?"]),
    ("capture decode REC.bin", 2, ["did you mean vfctl decode?"]),
    ("voice say WAV.wav", 2, ["did you mean vfctl voice send?"]),
    ("scenario run smoke", 2, ["did you mean vfctl loadtest --scenario NAME?"]),
    ("scenario lst", 2, ["did you mean vfctl scenario list?"]),
    # --- options --------------------------------------------------------------------------------------------------
    ("loadtest --client 10", 2, ["vfctl loadtest has no option --client", "did you mean --clients?"]),
    ("loadtest -n 10", 2, ["has no option -n", "did you mean --nodes?"]),
    ("loadtest -c 10", 2, ["did you mean --clients or --csv?"]),
    (f"watch {URL} -n 5", 2, ["vfctl watch has no option -n", "vfctl watch --help"]),
    ("serve --clients 100", 2, ["did you mean --max-clients?"]),
    ("serve --prot 80", 2, ["did you mean --port?"]),
    ("noise --duration 5", 2, ["--duration is an option of vfctl watch"]),
    ("decode REC.bin --json", 2, ["did you mean --format json?"]),
    ("decode REC.bin --form csv", 2, ["did you mean --format?"]),
    ("layout GRAPH.json --output OUT.npz", 2, ["did you mean --out?"]),
    ("loadtest --clients", 2, ["--clients needs a value", "Simulated clients"]),
    ("loadtest --clients --duration 5", 2, ["--clients needs a value, but --duration follows"]),
    ("serve --port --nodes 5", 2, ["--port needs a value, but --nodes follows"]),
    ("loadtest --json", 2, ["--json needs a value"]),
    ("loadtest --ab ws://a/", 2, ["--ab needs two values"]),
    ("loadtest --strict=yes", 2, ["--strict takes no value"]),
    # --- arguments ------------------------------------------------------------------------------------------------
    ("watch", 2, ["vfctl watch needs URL", "for example ws://127.0.0.1:8765/ws"]),
    (f"record {URL}", 2, ["vfctl record needs OUT", "File to write: .mcap"]),
    ("gate results.json", 2, ["vfctl gate needs --gate", "latency_ms.p95"]),
    ("gate --gate 'clients.lost == 0'", 2, ["vfctl gate needs RESULTS"]),
    ("schema", 2, ["vfctl schema needs DOCUMENT"]),
    ("compare", 2, ["vfctl compare needs A"]),
    (f"record {URL} OUT.mcap extra", 2, ["vfctl record does not take the argument 'extra'"]),
    ("decode REC.bin OUT.csv", 2, ["did you mean --output OUT.csv?"]),
    ("layout GRAPH.json OUT.npz", 2, ["did you mean --out OUT.npz?"]),
    ("doctor 50000", 2, ["did you mean --clients 50000?"]),
    (f"record OUT.mcap {URL}", 2, ["URL is 'OUT.mcap', which is a file", "vfctl record URL OUT"]),
    (f"voice send {URL} WAV.wav", 2, [f"FILE is '{URL}', which is a URL", "vfctl voice send FILE URL"]),
    (f"voice receive OUT.wav {URL}", 2, ["URL is 'OUT.wav', which is a file", "vfctl voice receive URL OUT"]),
    ("capture convert OUT.mcap REC.bin", 2, ["there is no file OUT.mcap, but REC.bin exists", "convert FILE OUT"]),
    (f"replay REC.bin {URL}", 2, [f"--to {URL} sends the recording there"]),
    (f"decode {URL}", 2, [f"record it first: vfctl record {URL} run.mcap"]),
    (f"serve {URL}", 2, [f"vfctl watch {URL}"]),
    (f"bandwidth {URL}", 2, ["which is a URL; expected a file"]),
    ("loadtest smoke", 2, ["URL is 'smoke', which is a scenario", "did you mean --scenario smoke?"]),
    ("capture merge REC.bin", 2, ["merge takes two or more recordings", "merge A.mcap B.mcap OUT.mcap"]),
    ("capture merge REC.bin OUT.mcap", 2, ["two recordings"]),
    ("capture merge REC.bin REC.bin OUT.mcap", 2, ["twice"]),
    # --- URLs -----------------------------------------------------------------------------------------------------
    ("record 127.0.0.1:8765 OUT.mcap", 2, ["did you mean ws://127.0.0.1:8765/ws?"]),
    ("record 8765 OUT.mcap", 2, ["URL is '8765', expected a URL", "did you mean ws://127.0.0.1:8765/ws?"]),
    ("record localhost OUT.mcap", 2, ["did you mean ws://localhost:8765/ws?"]),
    ("watch localhost:9000/stream", 2, ["did you mean ws://localhost:9000/stream?"]),
    ("record '' OUT.mcap", 2, ["URL is '', expected a URL", "for example ws://127.0.0.1:8765/ws"]),
    ("watch wss:/127.0.0.1/ws", 2, ["did you mean wss://127.0.0.1/ws?"]),
    ("loadtest ftp://x", 2, ["ws"]),
    ("loadtest --ab ws://a/ b:1", 2, ["--ab is 'b:1', expected a URL", "did you mean ws://b:1/ws?"]),
    ("replay REC.bin --to 127.0.0.1:8765", 2, ["--to is '127.0.0.1:8765'", "did you mean ws://127.0.0.1:8765/ws?"]),
    (f"record {URL} OUT.mcap", 4, ["nothing listens", "start a server with `vfctl serve`"]),
    (f"watch {URL}", 4, ["nothing listens"]),
    (f"loadtest {URL} --clients 1", 4, ["connection refused"]),
    # --- values ---------------------------------------------------------------------------------------------------
    ("loadtest --scenario smok", 2, ["there is no scenario 'smok'", "did you mean smoke?"]),
    ("scenario show smok", 2, ["did you mean smoke?"]),
    ("serve --config smok", 2, ["did you mean smoke?"]),
    ("loadtest --scenario ''", 2, ["there is no scenario ''", "the scenarios are "]),
    ("loadtest --scenario xyz", 2, ["the scenarios are "]),
    ("loadtest --encoding lz5", 2, ["--encoding is 'lz5', expected raw, lz4 or compact", "did you mean lz4?"]),
    ("loadtest --encoding LZ4", 2, ["did you mean lz4?"]),
    ("loadtest --find client", 2, ["did you mean clients?"]),
    ("loadtest --generator scalefree", 2, ["did you mean scale-free?"]),
    ("serve --device cuda", 2, ["--device is 'cuda', expected auto, cpu or gpu"]),
    ("serve --slow-client drop", 2, ["expected skip or disconnect"]),
    ("serve --admin everybody", 2, ["expected nobody, local or anyone"]),
    ("decode REC.bin --format jsn", 2, ["did you mean json?"]),
    ("schema loadtests", 2, ["did you mean loadtest?"]),
    ("capture convert REC.bin OUT.mcap --encoding compact", 2, ["expected raw or lz4"]),
    ("serve --port 99999", 2, ["--port is '99999', expected a whole number from 0 to 65535"]),
    ("serve --port http", 2, ["--port is 'http', expected a whole number from 0 to 65535"]),
    ("loadtest --metrics-port 99999", 2, ["expected a whole number from 0 to 65535"]),
    ("compare a.json b.json --percentile 101", 2, ["expected a number from 0.1 to 99.999"]),
    ("serve --active-interval-ms 50ms", 2, ["expected a number from 1", "in ms"]),
    ("serve --active-interval-ms inf", 2, ["active_interval_ms is inf"]),
    ("serve --stable-interval-ms 5", 2, ["less than active_interval_ms"]),
    ("serve --workers many", 2, ["--workers is 'many', expected a number from 1 to"]),
    ("serve --set spring_k", 2, ["NAME=VALUE"]),
    ("serve --set spring_k=501", 2, ["spring_k = 501 is out of range: 0 to 500 1/s²"]),
    ("serve --set spring_k=nan", 2, ["spring_k is a number, not nan"]),
    ("serve --set spring_k=x", 2, ["spring_k is a number, not 'x'"]),
    ("serve --set sprong_k=x", 2, ["did you mean spring_k?"]),
    ("serve --set self=1", 2, ["there is no physics parameter 'self'"]),
    ("layout --set dt=1 --out OUT.npz", 2, ["dt = 1 is out of range: 0.001 to 0.05 s"]),
    ("replay REC.bin --speed 2x", 2, ["--speed is '2x', expected a number"]),
    ("replay REC.bin --speed 0", 2, ["speed 0"]),
    (f"voice receive {URL} OUT.wav --speaker bob", 2, ["--speaker is 'bob', expected a whole number from 0"]),
    ("decode REC.bin --type PositonUpdate", 2, ["no message type is called 'PositonUpdate'"]),
    ("loadtest --filter kind=class", 2, ["--filter is not JSON", """--filter '{"kind":["class"]}'"""]),
    ("""loadtest --filter '{"knd":[]}'""", 2, ["unknown filter key", "kind, depth"]),
    # --- durations, counts, sizes ---------------------------------------------------------------------------------
    ("loadtest --clients many", 2, ["--clients is 'many', expected a count", "500, 1k or 1.5M"]),
    ("loadtest --clients 0", 2, ["--clients is 0, expected 1 or more"]),
    ("loadtest --clients -5", 2, ["--clients is '-5', expected a count"]),
    ("loadtest --repeat 0", 2, ["--repeat is 0, expected 1 or more"]),
    ("layout --nodes 0 --out OUT.npz", 2, ["--nodes is 0, expected 1 or more"]),
    ("serve --physics-hz 0", 2, ["--physics-hz is 0, expected 1 to 1000"]),
    ("serve --stall-timeout 0", 2, ["--stall-timeout is 0, expected 0.1 or more"]),
    ("loadtest --duration 10m", 2, ["--duration is '10m', expected a duration", "did you mean 10min?"]),
    ("loadtest --duration '1 hour'", 2, ["expected a duration", "1.5min"]),
    (f"watch {URL} --duration nan", 2, ["--duration is 'nan', expected a duration"]),
    (f"record {URL} OUT.mcap --duration 0", 2, ["expected a duration above zero"]),
    (f"record {URL} OUT.mcap --duration -3", 2, ["--duration is '-3', expected a duration"]),
    (f"record {URL} OUT.mcap --max-size 3", 2, ["--max-size is '3', expected a size", "100MB"]),
    (f"record {URL} OUT.mcap --rotate often", 2, ["--rotate is 'often'"]),
    ("doctor --frame-bytes big", 2, ["--frame-bytes is 'big', expected a size"]),
    ("decode REC.bin --from 5s --to 1s", 2, ["--to is 1s, expected more than --from, which is 5s"]),
    ("capture cut REC.bin OUT.mcap --from 1:30", 2, ["--from is '1:30', expected a duration"]),
    # --- gates ----------------------------------------------------------------------------------------------------
    ("loadtest --gate p95", 2, ["PATH OPERATOR NUMBER", "latency_ms.p95 < 30ms"]),
    ("loadtest --gate 'p95 < 30ms'", 2, ["no metric p95", "latency_ms.p95"]),
    ("loadtest --gate 'latency_ms.p59 < 30'", 2, ["did you mean latency_ms.p9"]),
    ("loadtest --gate 'latency_ms.p95 < 30MB'", 2, ["latency_ms.p95 is in ms"]),
    ("loadtest --gate 'latency_ms.p95 < fast'", 2, ["PATH OPERATOR NUMBER"]),
    ("loadtest --gate 'roles.dragger.latency_ms.p95 < 30'", 2, ["there is no role dragger"]),
    ("loadtest --gate 'b.latency_ms.p95 < 30'", 2, ["--ab URL_A URL_B"]),
    ("loadtest --abort-gate 'clients.lots == 0 after 1s'", 2, ["did you mean clients.lost?"]),
    ("loadtest --gate 'latency_ms.p95 < baseline'", 2, ["--baseline"]),
    (f"{AB} --gate 'a.latency_ms.p95 < baseline'", 2, ["needs a baseline"]),
    # --- options that do not go together --------------------------------------------------------------------------
    ("loadtest --until 'clients.lost == 0'", 2, ["--until is for --find"]),
    ("loadtest --find clients", 2, ["add --until"]),
    (f"{FIND} --gate 'clients.lost == 0'", 2, ["--until"]),
    (f"{FIND} --repeat 2", 2, ["at the load that --find reports"]),
    (f"{FIND} --csv x", 2, ["vfctl loadtest --clients N"]),
    (f"loadtest {URL} --active", 2, ["are for an embedded server", "omit the URL"]),
    (f"loadtest {URL} --nodes 5", 2, ["are for an embedded server"]),
    (f"{AB} --nodes 9", 2, ["are for an embedded server"]),
    (f"{AB} --repeat 2", 2, ["a longer --duration"]),
    (f"{AB} --find clients", 2, ["--ab names its two servers"]),
    ("loadtest --json - --csv -", 2, ["--json and --csv both write to stdout"]),
    ("serve GRAPH.json --nodes 5", 2, ["not both"]),
    ("serve --rotate 10min", 2, ["--rotate is for a recording", "add --record FILE"]),
    (f"replay REC.bin --to {URL} --loop", 2, ["--loop and --paused are for serving"]),
    ("bandwidth REC.bin --nodes 5", 2, ["REC.bin is a recording: --nodes is for graphs"]),
    ("decode REC.bin --plot a.png --format csv", 2, ["run vfctl decode twice"]),
    ("layout GRAPH.json", 2, ["there is nothing to write", "add --out positions.npz"]),
    # --- files ----------------------------------------------------------------------------------------------------
    ("decode missing.bin", 1, ["cannot read missing.bin: No such file"]),
    ("decode DIR", 1, ["cannot read DIR: Is a directory"]),
    ("decode /dev/null", 5, ["empty"]),
    ("decode WAV.wav", 5, ["expected an MCAP recording"]),
    ("replay missing.bin", 1, ["missing.bin"]),
    ("serve missing.ttl", 1, ["missing.ttl"]),
    ("serve /dev/zero", 1, ["not a regular file"]),
    ("serve --config missing.toml", 1, ["missing.toml"]),
    ("serve --host not.an.address.invalid", 2, ["cannot listen"]),
    ("loadtest --traffic missing.mcap", 1, ["missing.mcap"]),
    ("loadtest --scenario missing.toml", 1, ["missing.toml"]),
    ("gate missing.json --gate 'clients.lost == 0'", 1, ["cannot read missing.json"]),
    ("gate GRAPH.json --gate 'clients.lost == 0'", 1, ["vfctl loadtest --json FILE"]),
    (f"voice send missing.wav {URL}", 1, ["cannot read missing.wav"]),
    (f"voice receive {URL} OUT.mp3", 2, ["expected a .wav file", "did you mean OUT.wav?"]),
    (f"record {URL} DIR", 2, [".mcap"]),
    (f"record {URL} EXISTING.mcap", 1, ["already exists", "--overwrite"]),
    (f"record {URL} OUT.txt", 2, [".mcap"]),
    ("serve --record OUT.txt", 2, ["no recording format"]),
    ("serve --record /no/such/folder/a.mcap", 1, ["/no/such/folder"]),
    ("serve --record /proc/a.mcap", 1, ["cannot write /proc/a.mcap: "]),
    ("loadtest --json /no/such/folder/x.json", 1, ["cannot write"]),
    ("loadtest --json DIR", 1, ["cannot write DIR: it is a directory"]),
    ("layout GRAPH.json --out GRAPH.json", 2, ["is the graph file itself"]),
    ("layout GRAPH.json --out OUT.xlsx", 2, [".npz, .json, .graphml"]),
    ("layout GRAPH.json --plot OUT.gif", 2, [".png, .svg, .pdf"]),
    ("layout --out /no/such/folder/x.npz", 1, ["cannot write"]),
    ("layout --out /proc/x.npz", 1, ["cannot write"]),
    ("layout missing.ttl --out OUT.npz", 1, ["missing.ttl"]),
    ("capture repair REC.bin OUT.bin", 2, [".mcap"]),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a recording, a graph, a sound file, an existing output, a directory."""
    (tmp_path / "REC.bin").write_bytes(encode(Heartbeat(7)) * 20)
    (tmp_path / "GRAPH.json").write_text('{"nodes": [{"id": 1}, {"id": 2}], "links": [{"source": 1, "target": 2}]}')
    (tmp_path / "EXISTING.mcap").write_bytes(b"the one before")
    (tmp_path / "DIR").mkdir()
    with wave.open(str(tmp_path / "WAV.wav"), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(3200))
    monkeypatch.chdir(tmp_path)
    return tmp_path


START_A_SERVER = {"replay REC.bin --speed 0", "replay missing.bin", "serve missing.ttl", "serve /dev/zero"}
"""The source process finds these mistakes, because it reads the file."""


@pytest.mark.parametrize(
    ("line", "code", "fragments"),
    [
        pytest.param(*row, id=row[0], marks=[pytest.mark.processes] if row[0] in START_A_SERVER else [])
        for row in MISTAKES
    ],
)
def test_a_mistake_is_named_with_what_to_do(
    line: str, code: int, fragments: list[str], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    got = run(shlex.split(line))
    output, errors = capfd.readouterr()
    assert (got, output) == (code, ""), errors
    for fragment in fragments:
        assert fragment in errors
    assert "Traceback" not in errors
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
