"""`vfctl loadtest`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from vfctl.cli.graph_options import Generator
from vfctl.cli.loadtest_reports import ReportPaths, json_text, write_report, write_reports
from vfctl.cli.output import people, say

if TYPE_CHECKING:
    from vfctl.loadtest.conductor import Stop
    from vfctl.loadtest.gates import Gate
    from vfctl.loadtest.live import Status
    from vfctl.loadtest.metrics_endpoint import MetricsEndpoint
    from vfctl.loadtest.results import Results
    from vfctl.loadtest.scenario import Scenario


_Found = TypeVar("_Found")


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
        typer.Option(
            help="Fail with exit code 3 unless this holds, e.g. 'latency_ms.p95 < 30ms'; with --baseline also "
            "'latency_ms.p95 <= 1.2 * baseline'. Repeatable."
        ),
    ] = None,
    abort_gate: Annotated[
        list[str] | None,
        typer.Option(
            help="End the run early, with exit code 3, if this does not hold, e.g. 'latency_ms.p95 < 200ms after 10s' "
            "of measured time. Repeatable.",
            metavar="GATE",
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Results of an earlier run, for gates relative to it.", metavar="FILE")
    ] = None,
    repeat: Annotated[
        int, typer.Option(help="Run the test so many times; figures and gates are of the median.", min=1, metavar="N")
    ] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file; - is stdout.", metavar="FILE")
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(help="Write JUnit XML, a test case for each gate; - is stdout.", metavar="FILE"),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            help="Write Markdown for a job's summary; - is stdout. It is added to $GITHUB_STEP_SUMMARY in any case.",
            metavar="FILE",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with plots, which needs no other file.", metavar="FILE")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write the time series, a row a second; - is stdout.", metavar="FILE")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Serve the running test's figures to Prometheus on this port of 127.0.0.1; 0 takes a free one.",
            min=0,
            max=65535,
            metavar="PORT",
        ),
    ] = None,
    ab: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Test two servers at the same time and compare them; exit code 3 if the second is slower.",
            metavar="URL_A URL_B",
        ),
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
    from vfctl.loadtest.gates import check_baseline, parse_abort_gate, parse_gate
    from vfctl.loadtest.results_file import read_results
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
        abort_gates=(*base.abort_gates, *map(parse_abort_gate, abort_gate or ())),
        server=base.server.changed(**embedded, state="active" if active else None),
    )
    reports = ReportPaths(json_file, junit, markdown, html, csv)
    if (find is not None or ab is not None) and len(reports.named()) > (json_file is not None):
        raise UsageError(
            "--junit, --markdown, --html and --csv are of one run against one server; the report of --find and --ab "
            "is --json"
        )
    reports.check()
    if find is not None and (repeat > 1 or abort_gate or baseline):
        raise UsageError("--repeat, --abort-gate and --baseline are not for --find")
    earlier = read_results(baseline) if baseline is not None else None
    if find is not None:
        check_baseline((*map(parse_gate, until or ()), *plan.abort_gates), None)
        _search(find, plan, tuple(map(parse_gate, until or ())), url, source_ip, json_file, duration, clients)
    if until:
        raise UsageError("--until says what has to hold for --find; for one run it is --gate")
    if ab is not None:
        if url is not None or find is not None or repeat > 1 or plan.abort_gates:
            raise UsageError("--ab names its servers and is one run: no URL, --find, --repeat or abort gates")
        _side_by_side(ab, plan, source_ip, reports, metrics_port, earlier, strict)
    check_baseline(plan.all_gates, earlier)
    results, document = _repeated(plan, url, source_ip, repeat, metrics_port, earlier)
    _print_results(document)
    write_reports(reports, document, results, strict=strict)
    _print_what_next(scenario, document)
    raise typer.Exit(_exit_code(plan, results, document, strict))


def _side_by_side(
    urls: tuple[str, str],
    plan: Scenario,
    source_ip: str | None,
    reports: ReportPaths,
    metrics_port: int | None,
    baseline: dict[str, Any] | None,
    strict: bool,
) -> NoReturn:
    from vfctl.cli.loadtest_ab import ab_document, ab_exit_code, print_ab
    from vfctl.loadtest.run import run_side_by_side

    def both(stop: Stop, on_status: Callable[[Status], None]) -> list[Results]:
        return run_side_by_side(plan, urls, say=say, on_status=on_status, stop=stop, source_ip=source_ip)

    document = ab_document(plan, _displayed(both, metrics_port), baseline)
    print_ab(document)
    if reports.json is not None:
        write_report(reports.json, json_text(document))
    raise typer.Exit(ab_exit_code(document, strict))


def _repeated(
    plan: Scenario,
    url: str | None,
    source_ip: str | None,
    repeat: int,
    metrics_port: int | None,
    baseline: dict[str, Any] | None,
) -> tuple[Results, dict[str, Any]]:
    """All runs as one document, with the gates judged; and the middle run."""
    from vfctl.loadtest.repeats import fold, middle_run
    from vfctl.loadtest.results import set_verdicts

    runs: list[Results] = []
    documents: list[dict[str, Any]] = []
    for number in range(repeat):
        if repeat > 1:
            say(f"run {number + 1} of {repeat}")
        runs.append(_run(plan, url, source_ip, metrics_port=metrics_port, baseline=baseline))
        documents.append(runs[-1].to_json())
        if documents[-1]["interrupted"] or documents[-1]["aborted"]:
            break
    document = fold(documents)
    set_verdicts(document, plan.all_gates, baseline)
    return runs[middle_run(documents)], document


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
        write_report(json_file, json_text(found.to_json()))
    interrupted = found.probes[-1].document["interrupted"]
    raise typer.Exit(EXIT_INTERRUPTED if interrupted else EXIT_OK if found.load else GateError.exit_code)


def _json(text: str) -> Any:
    from vfctl.errors import UsageError

    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--filter is not JSON: {error}", hint="""--filter '{"kind":["class"]}'""") from None


def _run(
    plan: Scenario,
    url: str | None,
    source_ip: str | None,
    *,
    embedded: bool = False,
    metrics_port: int | None = None,
    baseline: dict[str, Any] | None = None,
) -> Results:
    from vfctl.loadtest.run import run_loadtest

    def one(stop: Stop, on_status: Callable[[Status], None]) -> Results:
        return run_loadtest(
            plan,
            url,
            say=say,
            on_status=on_status,
            stop=stop,
            source_ip=source_ip,
            embedded=embedded,
            baseline=baseline,
        )

    return _displayed(one, metrics_port)


def _displayed(run: Callable[[Stop, Callable[[Status], None]], _Found], metrics_port: int | None) -> _Found:
    """Run with a display on stderr; the first Ctrl-C asks the run to end."""
    import signal

    from vfctl.cli.loadtest_display import LoadtestDisplay
    from vfctl.loadtest.conductor import Stop

    stop = Stop()

    def on_interrupt(*_: object) -> None:
        stop.request()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("ending the run; Ctrl-C again stops at once")

    def on_status(status: Status) -> None:
        display.show(status)
        if endpoint is not None:
            endpoint.show(status)

    with contextlib.ExitStack() as stack:
        endpoint = _serve_metrics(metrics_port, stack)
        previous = signal.signal(signal.SIGINT, on_interrupt)
        stack.callback(signal.signal, signal.SIGINT, previous)
        display = stack.enter_context(LoadtestDisplay(people()))
        return run(stop, on_status)


def _serve_metrics(port: int | None, stack: contextlib.ExitStack) -> MetricsEndpoint | None:
    from vfctl.loadtest.metrics_endpoint import MetricsEndpoint

    if port is None:
        return None
    endpoint = MetricsEndpoint(port)
    stack.callback(endpoint.close)
    say(f"metrics of this run are on {endpoint.url}")
    return endpoint


def _print_results(document: dict[str, Any]) -> None:
    from vfctl.cli.loadtest_tables import results_tables

    console = people()
    for table in results_tables(document):
        console.print(table)


def _print_what_next(scenario: str | None, document: dict[str, Any]) -> None:
    if scenario == "demo":
        say("what to try next:")
        say("  vfctl serve                                            a server of your own; in other shells:")
        say("  vfctl watch ws://127.0.0.1:8765/ws                     what one client sees")
        say("  vfctl record ws://127.0.0.1:8765/ws capture.mcap       then: vfctl decode capture.mcap")
        say("  vfctl loadtest --clients 5000 --gate 'latency_ms.p95 < 30'")
    if document["interrupted"]:
        say("the run was interrupted: these are partial results")
    if document["aborted"]:
        say(f"the run was ended early by the gate {document['aborted']['expression']}: these are partial results")


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
    return EXIT_OK if plan.all_gates or results.measured_anything else PeerError.exit_code
