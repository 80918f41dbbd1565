"""`vfctl loadtest`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vfctl.cli.graph_options import Generator
from vfctl.cli.loadtest_ab import side_by_side
from vfctl.cli.loadtest_find import Search, search_load
from vfctl.cli.loadtest_options import check_combination
from vfctl.cli.loadtest_reports import ReportPaths, write_reports
from vfctl.cli.loadtest_session import end, session
from vfctl.terminal.output import people, say

if TYPE_CHECKING:
    from vfctl.cli.loadtest_session import Session
    from vfctl.loadtest.results.build import Results
    from vfctl.loadtest.scenario.model import Scenario


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
    encoding: Annotated[str | None, typer.Option(help="Ask for raw, lz4 or compact.", metavar="E")] = None,
    filter: Annotated[
        str | None, typer.Option(help="""What each client asks to see, e.g. '{"kind":["class"]}'.""", metavar="JSON")
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option(
            help="Have clients do what those of a recording did: drags, filters, selections, speech, over and over.",
            metavar="FILE",
        ),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            help="Fail with exit code 3 unless this holds, e.g. 'latency_ms.p95 < 30ms'; with --baseline also "
            "'latency_ms.p95 <= 1.2 * baseline'. Repeatable.",
            metavar="GATE",
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
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded",
            help="Start the embedded server even if another one answers on port 8765; so do --graph, --nodes, "
            "--generator and --active.",
        ),
    ] = False,
) -> None:
    """Measure latency and bandwidth with thousands of simulated clients.

    Latency is from the server's time stamp to the kernel's arrival stamp. Exit code 3 if a gate fails or has no data,
    4 if nothing was measured. The first Ctrl-C ends the run and still reports; the second stops at once.
    """
    from vfctl.errors import UsageError
    from vfctl.loadtest.results.ab import check_gates
    from vfctl.loadtest.results.comparable import check_baseline_fits
    from vfctl.loadtest.results.file import read_results
    from vfctl.loadtest.scenario.file import load_scenario
    from vfctl.loadtest.scenario.filter_json import parse_filter
    from vfctl.loadtest.scenario.gates import check_baseline, check_no_sides, parse_abort_gate, parse_gate
    from vfctl.loadtest.scenario.model import Scenario
    from vfctl.loadtest.scenario.traffic import recorded_mix

    own_server = {"graph": graph and str(graph), "nodes": nodes, "generator": generator and generator.value}
    embedded = embedded or active or any(value is not None for value in own_server.values())
    if embedded and (url is not None or ab is not None):
        raise UsageError(
            "--embedded, --graph, --nodes, --generator and --active are for a server of this run's own, and there is a "
            "URL",
            hint="leave the URL out, or give these options to `vfctl serve`",
        )
    base = load_scenario(scenario) if scenario else Scenario()
    plan = base.changed(
        mix=recorded_mix(traffic, base.mix) if traffic is not None else None,
        clients=clients,
        duration_s=duration,
        ramp_s=ramp,
        encoding=encoding,
        filter=parse_filter(_json(filter)) if filter is not None else None,
        gates=(*base.gates, *map(parse_gate, gate or ())),
        abort_gates=(*base.abort_gates, *map(parse_abort_gate, abort_gate or ())),
        embedded=embedded or None,
        server=base.server.changed(**own_server, state="active" if active else None),
    )
    goals = tuple(map(parse_gate, until or ()))
    reports = ReportPaths(json_file, junit, markdown, html, csv)
    check_combination(
        find,
        ab is not None,
        url,
        {"--gate": gate, "--abort-gate": abort_gate, "--baseline": baseline},
        repeat,
        goals,
        reports,
    )
    if find is not None:
        plan = plan.changed(gates=goals, abort_gates=())
        for each in base.all_gates:
            say(f"the scenario's gate {each.expression} is not judged: --until says what has to hold for --find")
    reports.check()
    earlier = read_results(baseline) if baseline is not None else None
    if earlier is not None and not any(each.baseline_factor is not None for each in plan.all_gates):
        say("no gate is relative to the baseline: --baseline is not used")
    elif earlier is not None:
        check_baseline_fits(earlier, plan, url if ab is None else ab[1])
    if ab is None:
        check_no_sides(plan.all_gates)
        check_baseline(plan.all_gates, earlier)
    else:
        check_gates(plan.all_gates, earlier)
    with session(metrics_port) as running:
        if find is not None:
            search_load(running, find, plan, goals, url, source_ip, json_file, duration, clients)
        if ab is not None:
            side_by_side(running, ab, plan, source_ip, reports, earlier, strict)
        results, document, last = _repeated(running, plan, url, source_ip, repeat, earlier)
        _print_results(document)
        write_reports(reports, document, [results], strict=strict)
        _print_what_next(scenario, document)
    end(_exit_code(results, document, strict), [last])


def _repeated(
    running: Session,
    plan: Scenario,
    url: str | None,
    source_ip: str | None,
    repeat: int,
    baseline: dict[str, Any] | None,
) -> tuple[Results, dict[str, Any], Results]:
    """The middle run, all runs as one document with the gates judged, and the last run."""
    from vfctl.loadtest.results.build import set_verdicts
    from vfctl.loadtest.results.repeats import ended_early, fold, middle_run
    from vfctl.loadtest.scenario.gates import judge

    runs: list[Results] = []
    documents: list[dict[str, Any]] = []
    for number in range(repeat):
        if repeat > 1:
            say(f"run {number + 1} of {repeat}")
        runs.append(running.run(plan, url, source_ip, baseline=baseline))
        documents.append(runs[-1].to_json())
        if ended_early(documents[-1]):
            break
    document = fold(documents, repeat)
    set_verdicts(document, judge(plan.all_gates, document, baseline), document["aborted"])
    return runs[middle_run(documents)], document, runs[-1]


def _json(text: str) -> Any:
    from vfctl.errors import UsageError

    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--filter is not JSON: {error}", hint="""--filter '{"kind":["class"]}'""") from None


def _print_results(document: dict[str, Any]) -> None:
    if document["failure"] and not document["stages"]:
        return  # nothing to show: the error says why
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
    if document["failure"] and document["throughput"]["messages_per_s"]:
        say("the run failed: these are partial results")


def _exit_code(results: Results, document: dict[str, Any], strict: bool) -> int:
    from vfctl.errors import EXIT_INTERRUPTED, EXIT_OK, GateError, PeerError
    from vfctl.loadtest.reports.figures import minded_by_strict, nothing_measured

    if document["interrupted"] and not results.measured_anything:
        return EXIT_INTERRUPTED
    if not all(gate["passed"] for gate in document["gates"]):
        return GateError.exit_code
    if strict and (minded := minded_by_strict(document)):
        say(f"--strict: {minded}")
        return GateError.exit_code
    if document["interrupted"]:
        return EXIT_INTERRUPTED  # the rest of the run might have failed them
    if results.measured_anything:
        return EXIT_OK
    say(nothing_measured(document) or "most runs have measured nothing")
    return PeerError.exit_code
