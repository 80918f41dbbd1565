"""`vfctl loadtest`: its options, which of them go together, and what it prints in the end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vfctl.cli.graph_options import Generator
from vfctl.cli.loadtest_reports import ReportPaths, write_reports
from vfctl.cli.loadtest_runs import Session, end, exit_code, open_session, search_load, side_by_side
from vfctl.cli.loadtest_tables import results_tables
from vfctl.cli.mistakes import check_url
from vfctl.cli.options import Panel, takes_options
from vfctl.cli.results import checked_gate, gate_metrics
from vfctl.errors import UsageError
from vfctl.loadtest.results.build import MeasuredRun
from vfctl.loadtest.results.comparable import check_baseline_fits
from vfctl.loadtest.results.file import read_results
from vfctl.loadtest.results.gate_verdicts import check_baseline, check_path, judged
from vfctl.loadtest.results.model import LoadtestResults, OlderResults
from vfctl.loadtest.results.repeats import fold
from vfctl.loadtest.scenario.field_types import parse_filter
from vfctl.loadtest.scenario.file import load_scenario, scenario_names
from vfctl.loadtest.scenario.gates import parse_abort_gate
from vfctl.loadtest.scenario.model import Scenario
from vfctl.loadtest.scenario.traffic import recorded_mix
from vfctl.stream import Encoding
from vfctl.terminal.output import log_line, stderr_console


class Search(StrEnum):
    """What --find can look for."""

    CLIENTS = "clients"
    RATE = "rate"


LOAD, GATES, SEVERAL_RUNS = Panel("Load"), Panel("Gates"), Panel("Several runs")
REPORTS, EMBEDDED = Panel("Reports"), Panel("Embedded server")


def _check_urls(
    context: typer.Context, parameter: typer.CallbackParam, urls: tuple[str, str] | None
) -> tuple[str, str] | None:
    for url in urls or ():
        check_url(context, parameter, url)
    return urls


@dataclass(frozen=True, kw_only=True)
class LoadtestOptions:
    """The command line of `vfctl loadtest`."""

    url: Annotated[
        str | None,
        typer.Argument(
            help="Server to test.",
            metavar="URL",
            callback=check_url,
            show_default="ws://127.0.0.1:8765/ws if a server answers there, else an embedded server for this run",
        ),
    ] = None
    clients: Annotated[int | None, LOAD.count(help="Simulated clients.", min=1, show_default="1000")] = None
    duration: Annotated[
        float | None, LOAD.positive_duration(help="How long to measure, after the ramp.", show_default="30s")
    ] = None
    ramp: Annotated[
        float | None,
        LOAD.duration(help="How long it takes to connect all clients.", show_default="500 clients a second"),
    ] = None
    scenario: Annotated[
        str | None,
        LOAD.option(
            help="Name of a shipped scenario (`vfctl scenario list`), or a TOML file.",
            metavar="NAME|FILE",
            autocompletion=scenario_names,
        ),
    ] = None
    encoding: Annotated[Encoding | None, LOAD.option(help="Encoding that clients request.", show_default="raw")] = None
    filter: Annotated[
        str | None,
        LOAD.option(help="""Filter that each client sends, for example '{"kind":["class"]}'.""", metavar="JSON"),
    ] = None
    traffic: Annotated[
        Path | None,
        LOAD.option(
            help="Let clients repeat what the clients of a recording sent: drags, filters, selections, voice.",
            metavar="FILE",
        ),
    ] = None
    source_ip: Annotated[
        str | None,
        LOAD.option(help="Addresses of this machine to connect from, for example 10.0.0.16/28.", metavar="CIDR"),
    ] = None
    gate: Annotated[
        list[str] | None,
        GATES.option(
            help="Fail with exit code 3 unless this holds, for example 'latency_ms.p95 < 30ms'. With --baseline also "
            "'latency_ms.p95 <= 1.2 * baseline'.",
            metavar="GATE",
            autocompletion=gate_metrics,
        ),
    ] = None
    abort_gate: Annotated[
        list[str] | None,
        GATES.option(
            help="Stop early with exit code 3 if this fails, for example 'latency_ms.p95 < 200ms after 10s' of "
            "measured time.",
            metavar="GATE",
            autocompletion=gate_metrics,
        ),
    ] = None
    baseline: Annotated[
        Path | None, GATES.option(help="Results of an earlier run, for gates relative to it.", metavar="FILE")
    ] = None
    strict: Annotated[
        bool,
        GATES.option(
            "--strict", help="Exit code 3 also if the generator was saturated, or a client failed or was lost."
        ),
    ] = False
    repeat: Annotated[
        int, SEVERAL_RUNS.count(help="Run the test this many times. Metrics and gates use the median.", min=1)
    ] = 1
    ab: Annotated[
        tuple[str, str] | None,
        SEVERAL_RUNS.option(
            help="Test two servers at the same time and compare them. Exit code 3 if the second is slower.",
            metavar="URL_A URL_B",
            callback=_check_urls,
        ),
    ] = None
    find: Annotated[
        Search | None,
        SEVERAL_RUNS.option(
            help="Search for the highest load that holds: number of clients (up to --clients, or 50,000), or frames "
            "per second to each client (embedded server)."
        ),
    ] = None
    until: Annotated[
        list[str] | None,
        SEVERAL_RUNS.option(
            help="What must hold for --find, for example 'latency_ms.p95 < 30'.",
            metavar="GATE",
            autocompletion=gate_metrics,
        ),
    ] = None
    json_file: Annotated[
        Path | None, REPORTS.option("--json", help="Results as JSON; - is stdout.", metavar="FILE")
    ] = None
    junit: Annotated[
        Path | None, REPORTS.option(metavar="FILE", help="JUnit XML with a test case per gate; - is stdout.")
    ] = None
    markdown: Annotated[
        Path | None,
        REPORTS.option(
            metavar="FILE", help="Markdown for a job summary; - is stdout. It is also appended to $GITHUB_STEP_SUMMARY."
        ),
    ] = None
    html: Annotated[Path | None, REPORTS.option(metavar="FILE", help="Page with plots that needs no other file.")] = (
        None
    )
    csv: Annotated[
        Path | None, REPORTS.option(metavar="FILE", help="Time series with a row per second; - is stdout.")
    ] = None
    metrics_port: Annotated[
        int | None,
        REPORTS.option(
            help="Serve live metrics for Prometheus on this port of 127.0.0.1. 0 picks a free port.",
            min=0,
            max=65535,
            metavar="PORT",
        ),
    ] = None
    graph: Annotated[Path | None, EMBEDDED.option(help="Graph file.", metavar="FILE")] = None
    nodes: Annotated[int | None, EMBEDDED.count(help="Generate a graph of this many nodes.", min=1)] = None
    generator: Annotated[
        Generator | None, EMBEDDED.option(help="Kind of graph to generate.", show_default="scale-free with --nodes")
    ] = None
    active: Annotated[
        bool, EMBEDDED.option("--active", help="Keep the layout moving, so that each client gets 20 frames per second.")
    ] = False
    embedded: Annotated[
        bool,
        EMBEDDED.option(
            "--embedded",
            help="Start an embedded server even if another server answers on port 8765. --graph, --nodes, --generator "
            "and --active imply it.",
        ),
    ] = False

    @property
    def reports(self) -> ReportPaths:
        """Where the reports go."""
        return ReportPaths(self.json_file, self.junit, self.markdown, self.html, self.csv)

    @property
    def wants_own_server(self) -> bool:
        """Whether the run must start an embedded server."""
        return self.embedded or self.active or bool(self.graph or self.nodes or self.generator)

    def check(self) -> None:
        """Refuse options that do not go together. No option is ignored silently.

        Raises:
            UsageError: two do not; the hint says what does.
            InputError: a report cannot be written.
        """
        if self.wants_own_server and (self.url is not None or self.ab is not None):
            raise UsageError(
                "--embedded, --graph, --nodes, --generator and --active are for an embedded server, not for a URL",
                hint="omit the URL, or pass these options to `vfctl serve`",
            )
        if self.find is None and self.until:
            raise UsageError("--until is for --find; the same for a single run is --gate")
        if self.ab is not None and (self.find is not None or self.url is not None):
            raise UsageError("--ab names its two servers: it takes no other URL, and no --find")
        if self.ab is not None and self.repeat > 1:
            raise UsageError(
                "--ab is a single run, it takes no --repeat",
                hint="use a longer --duration, because A and B are compared second by second; or run each server with "
                "--repeat, then `vfctl compare`",
            )
        if self.find is not None:
            self._check_search()
        self.reports.check()

    def _check_search(self) -> None:
        of_one_run = {"--gate": self.gate, "--abort-gate": self.abort_gate, "--baseline": self.baseline}
        given = [name for name, value in of_one_run.items() if value]
        if given:
            raise UsageError(f"{given[0]} is not for --find", hint="what must hold for a search is --until")
        if self.repeat > 1:
            raise UsageError(
                "--repeat is not for --find",
                hint="use a longer --duration, or repeat a run at the load that --find reports",
            )
        if not set(self.reports.named()) <= {"json"}:
            raise UsageError(
                "--junit, --markdown, --html and --csv are for a single run; the report of --find is --json",
                hint="run once more with the load that it reports: vfctl loadtest --clients N --html FILE",
            )
        if self.find is Search.RATE and self.url is not None:
            raise UsageError(
                "--find rate sets the interval of the embedded server, but there is a URL",
                hint="--find clients works with any server",
            )

    def plan(self) -> Scenario:
        """The scenario with the changes of the command line.

        Raises:
            UsageError: a value that cannot be.
            InputError: the scenario or the recording cannot be read.
        """
        base = load_scenario(self.scenario, check_path) if self.scenario is not None else Scenario()
        goals = tuple(map(checked_gate, self.until or ()))
        plan = base.changed(
            mix=recorded_mix(self.traffic, base.mix) if self.traffic is not None else None,
            clients=self.clients,
            duration_s=self.duration,
            ramp_s=self.ramp,
            encoding=self.encoding and self.encoding.value,
            filter=parse_filter(_json(self.filter)) if self.filter is not None else None,
            gates=(*base.gates, *map(checked_gate, self.gate or ())),
            abort_gates=(*base.abort_gates, *map(parse_abort_gate, self.abort_gate or ())),
            embedded=self.wants_own_server or None,
            server=base.server.changed(
                graph=self.graph and str(self.graph),
                nodes=self.nodes,
                generator=self.generator and self.generator.value,
                state="active" if self.active else None,
            ),
        )
        for each in (*plan.all_gates, *goals):
            check_path(each, [role.label for role in plan.roles])
        if self.find is None:
            return plan
        for each in base.all_gates:
            log_line(f"the scenario's gate {each.expression} is not judged: --find judges the gates of --until")
        return plan.changed(gates=goals, abort_gates=())

    def read_baseline(self, plan: Scenario) -> LoadtestResults | OlderResults | None:
        """The results that gates refer to, checked against the plan.

        Raises:
            InputError: no results, or of another test.
            UsageError: a gate refers to a baseline, but there is none.
        """
        earlier = read_results(self.baseline) if self.baseline is not None else None
        if earlier is not None and not any(each.baseline_factor is not None for each in plan.all_gates):
            log_line("no gate is relative to the baseline: --baseline is not used")
        elif earlier is not None:
            check_baseline_fits(earlier, plan, self.url if self.ab is None else self.ab[1])
        check_baseline(plan.all_gates, earlier is not None, two_servers=self.ab is not None)
        return earlier


@takes_options(LoadtestOptions)
def command(options: LoadtestOptions) -> None:
    """Measure latency and bandwidth with thousands of simulated clients.

    Latency is the time from the server's time stamp to the kernel's arrival time stamp. Exit code 3 if a gate fails or
    has no data, 4 if nothing was measured. The first Ctrl-C ends the run and still reports. The second stops at once.

    Examples:
        vfctl loadtest --clients 5k --duration 1min --gate 'latency_ms.p95 < 30ms'
        vfctl loadtest ws://10.0.0.5:8765/ws --scenario smoke --json results.json --html report.html
        vfctl loadtest --ab ws://127.0.0.1:8765/ws ws://127.0.0.1:8766/ws
        vfctl loadtest --find clients --until 'latency_ms.p95 < 30ms'
    """
    options.check()
    plan = options.plan()
    earlier = options.read_baseline(plan)
    with open_session(options.metrics_port) as session:
        if options.find is not None:
            search_load(
                session,
                options.find.value,
                plan,
                options.url,
                options.source_ip,
                options.json_file,
                limit=options.clients,
                has_duration=options.duration is not None,
            )
        if options.ab is not None:
            side_by_side(session, options.ab, plan, options.source_ip, options.reports, earlier, options.strict)
        results, last = _repeated(session, plan, options, earlier)
        _print_results(results)
        write_reports(options.reports, results, strict=options.strict)
        _print_what_next(options.scenario, results)
    end(exit_code(results, options.strict), [last])


def _repeated(
    session: Session, plan: Scenario, options: LoadtestOptions, baseline: LoadtestResults | OlderResults | None
) -> tuple[LoadtestResults, MeasuredRun]:
    """The results of all runs as one, with the gates judged, and the last run."""
    runs: list[MeasuredRun] = []
    for number in range(options.repeat):
        if options.repeat > 1:
            log_line(f"run {number + 1} of {options.repeat}")
        runs.append(session.run(plan, options.url, options.source_ip, baseline=baseline))
        if runs[-1].results.ended_early:
            break
    return judged(fold([run.results for run in runs], options.repeat), plan.all_gates, baseline), runs[-1]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--filter is not JSON: {error}", hint="""--filter '{"kind":["class"]}'""") from None


def _print_results(results: LoadtestResults) -> None:
    if results.failure and not results.stages:
        return  # there is nothing to show: the error says why
    console = stderr_console()
    for table in results_tables(results):
        console.print(table)


def _print_what_next(scenario: str | None, results: LoadtestResults) -> None:
    if scenario == "demo":
        log_line("what to try next:")
        log_line("  vfctl serve                                            your own server; in other shells:")
        log_line("  vfctl watch ws://127.0.0.1:8765/ws                     what one client sees")
        log_line("  vfctl record ws://127.0.0.1:8765/ws capture.mcap       then: vfctl decode capture.mcap")
        log_line("  vfctl loadtest --clients 5000 --gate 'latency_ms.p95 < 30'")
    if results.interrupted:
        log_line("the run was interrupted: these are partial results")
    if results.aborted:
        log_line(f"the run was ended early by the gate {results.aborted.expression}: these are partial results")
    if results.failure and results.measured_anything:
        log_line("the run failed: these are partial results")
