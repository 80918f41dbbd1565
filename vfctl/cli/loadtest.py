"""`vfctl loadtest`."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vfctl.cli.graph_options import Generator
from vfctl.cli.output import check_writable, people, replace_file, say

if TYPE_CHECKING:
    from vfctl.loadtest.gates import Gate
    from vfctl.loadtest.results import Results
    from vfctl.loadtest.scenario import Scenario


class Search(StrEnum):
    """What --find can look for."""

    CLIENTS = "clients"
    RATE = "rate"


def command(
    url: Annotated[
        str | None,
        typer.Argument(
            help="Server to test. Without it: ws://127.0.0.1:8765/ws if something answers there, else an embedded "
            "server for this run."
        ),
    ] = None,
    clients: Annotated[int | None, typer.Option(help="Simulated clients.  [default: 1000]", min=1)] = None,
    duration: Annotated[
        float | None, typer.Option(help="Measured seconds, after the ramp.  [default: 30]", metavar="S")
    ] = None,
    ramp: Annotated[
        float | None, typer.Option(help="Seconds to connect them in.  [default: 500 clients a second]", metavar="S")
    ] = None,
    scenario: Annotated[str | None, typer.Option(help="A shipped scenario's name, or a TOML file.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Ask for raw or lz4.", metavar="E")] = None,
    filter: Annotated[
        str | None, typer.Option(help="""What each client asks to see, e.g. '{"kind":["class"]}'.""", metavar="JSON")
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(help="Fail with exit code 3 unless this holds, e.g. 'latency_ms.p95 < 30'. Repeatable."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file; - is stdout.", metavar="FILE")
    ] = None,
    find: Annotated[
        Search | None,
        typer.Option(
            help="Search for the highest load that holds: of clients (up to --clients, or 50,000), or of frames a "
            "second to each (embedded server)."
        ),
    ] = None,
    until: Annotated[
        list[str] | None,
        typer.Option(help="What has to hold for --find, e.g. 'latency_ms.p95 < 30'. Repeatable.", metavar="GATE"),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit code 3 also if the generator was saturated, or a client failed or was lost."
        ),
    ] = False,
    source_ip: Annotated[
        str | None, typer.Option(help="Addresses of this machine to connect from, e.g. 10.0.0.16/28.", metavar="CIDR")
    ] = None,
    graph: Annotated[Path | None, typer.Option(help="Graph file for the embedded server.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Generated graph for the embedded server.", min=1)] = None,
    generator: Annotated[Generator | None, typer.Option(help="Kind of graph that --nodes generates.")] = None,
    active: Annotated[
        bool, typer.Option("--active", help="Keep the embedded server's simulation awake: 20 frames a second each.")
    ] = False,
) -> None:
    """Measure latency and bandwidth with thousands of simulated clients.

    Latency is from the server's time stamp to the kernel's arrival stamp. Exit code 3 if a gate fails or has no data,
    4 if nothing was measured. The first Ctrl-C ends the run and still reports; the second stops at once.
    """
    from vfctl.errors import UsageError
    from vfctl.loadtest.filter_json import parse_filter
    from vfctl.loadtest.gates import parse_gate
    from vfctl.loadtest.scenario import Scenario
    from vfctl.loadtest.scenario_file import load_scenario

    embedded = {"graph": graph and str(graph), "nodes": nodes, "generator": generator and generator.value}
    if url is not None and (active or any(value is not None for value in embedded.values())):
        raise UsageError("--graph, --nodes, --generator and --active are for the embedded server, and there is a URL")
    base = load_scenario(scenario) if scenario else Scenario()
    plan = base.changed(
        clients=clients,
        duration_s=duration,
        ramp_s=ramp,
        encoding=encoding,
        filter=parse_filter(_json(filter)) if filter is not None else None,
        gates=(*base.gates, *map(parse_gate, gate or ())),
        server=base.server.changed(**embedded, state="active" if active else None),
    )
    check_writable(json_file)
    if find is not None:
        _search(find, plan, tuple(map(parse_gate, until or ())), url, source_ip, json_file, duration, clients)
    if until:
        raise UsageError("--until says what has to hold for --find; for one run it is --gate")
    results = _run(plan, url, source_ip)
    document = results.to_json(plan.gates)
    _print_results(document)
    if json_file is not None:
        _write_json(document, json_file)
    _print_what_next(scenario, document)
    raise typer.Exit(_exit_code(plan, results, document, strict))


def _search(
    what: Search,
    plan: Scenario,
    until: tuple[Gate, ...],
    url: str | None,
    source_ip: str | None,
    json_file: Path | None,
    duration: float | None,
    clients: int | None,
) -> NoReturn:
    from vfctl.cli.loadtest_tables import search_table
    from vfctl.errors import EXIT_INTERRUPTED, EXIT_OK, GateError, UsageError
    from vfctl.loadtest import search

    if what is Search.RATE and url is not None:
        raise UsageError(
            "--find rate sets the interval of the embedded server, and there is a URL",
            hint="--find clients works with any server",
        )

    def run(scenario: Scenario) -> dict[str, Any]:
        return _run(scenario, url, source_ip, embedded=what is Search.RATE).to_json(scenario.gates)

    def tell(probe: search.Probe) -> None:
        why = ", ".join(search.reasons(probe.document, what.value, probe.load))
        say(f"{probe.load:,g} {unit}: {'holds' if probe.held else f'does not hold ({why})'}")

    unit = "clients" if what is Search.CLIENTS else "frames/s to each client"
    if duration is None:
        plan = plan.changed(duration_s=search.DURATION_S)
    limit = search.MAX_RATE_HZ if what is Search.RATE else clients or search.MAX_CLIENTS
    found = search.find(what.value, plan, until, run, limit=limit, on_probe=tell)
    people().print(search_table(found.to_json(), unit))
    if json_file is not None:
        _write_json(found.to_json(), json_file)
    interrupted = found.probes[-1].document["interrupted"]
    raise typer.Exit(EXIT_INTERRUPTED if interrupted else EXIT_OK if found.load else GateError.exit_code)


def _json(text: str) -> Any:
    from vfctl.errors import UsageError

    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--filter is not JSON: {error}", hint="""--filter '{"kind":["class"]}'""") from None


def _run(plan: Scenario, url: str | None, source_ip: str | None, *, embedded: bool = False) -> Results:
    """Run with a display on stderr; the first Ctrl-C asks the run to end."""
    import signal

    from vfctl.cli.loadtest_display import LoadtestDisplay
    from vfctl.loadtest.conductor import Stop
    from vfctl.loadtest.run import run_loadtest

    stop = Stop()

    def on_interrupt(*_: object) -> None:
        stop.request()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("ending the run; Ctrl-C again stops at once")

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        with LoadtestDisplay(people()) as display:
            return run_loadtest(
                plan, url, say=say, on_status=display.show, stop=stop, source_ip=source_ip, embedded=embedded
            )
    finally:
        signal.signal(signal.SIGINT, previous)


def _print_results(document: dict[str, Any]) -> None:
    from vfctl.cli.loadtest_tables import results_tables

    console = people()
    for table in results_tables(document):
        console.print(table)


def _write_json(document: dict[str, Any], path: Path) -> None:
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        replace_file(path, text.encode())
        say(f"results are in {path}")


def _print_what_next(scenario: str | None, document: dict[str, Any]) -> None:
    if scenario == "demo":
        say("what to try next:")
        say("  vfctl serve                                            a server of your own; in other shells:")
        say("  vfctl watch ws://127.0.0.1:8765/ws                     what one client sees")
        say("  vfctl record ws://127.0.0.1:8765/ws capture.mcap       then: vfctl decode capture.mcap")
        say("  vfctl loadtest --clients 5000 --gate 'latency_ms.p95 < 30'")
    if document["interrupted"]:
        say("the run was interrupted: these are partial results")


def _exit_code(plan: Scenario, results: Results, document: dict[str, Any], strict: bool) -> int:
    from vfctl.errors import EXIT_INTERRUPTED, EXIT_OK, GateError, PeerError

    if document["interrupted"] and not results.measured_anything:
        return EXIT_INTERRUPTED
    if not all(gate["passed"] for gate in document["gates"]):
        return GateError.exit_code
    outcome = results.outcome
    if strict and (not results.verdict.valid or outcome.failed or outcome.lost):
        say("--strict: the generator was saturated, or clients failed or were lost")
        return GateError.exit_code
    return EXIT_OK if plan.gates or results.measured_anything else PeerError.exit_code
