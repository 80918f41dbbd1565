"""The runs of one `vfctl loadtest`."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

import typer
from rich.table import Table

from vfctl.cli.loadtest_display import LoadtestDisplay
from vfctl.cli.loadtest_reports import ReportPaths, write_report, write_reports
from vfctl.cli.loadtest_tables import gates_table, milliseconds, search_table
from vfctl.errors import EXIT_INTERRUPTED, EXIT_OK, GateError, PeerError, VfctlError
from vfctl.loadtest.control import find
from vfctl.loadtest.control.conductor import Stop
from vfctl.loadtest.control.live import Status
from vfctl.loadtest.control.metrics_endpoint import MetricsEndpoint
from vfctl.loadtest.control.run import run_loadtest, run_side_by_side
from vfctl.loadtest.reports.as_data import render_json
from vfctl.loadtest.reports.wording import minded_by_strict, nothing_measured
from vfctl.loadtest.results.build import MeasuredRun, NobodyConnectedError
from vfctl.loadtest.results.comparable import compare_sides
from vfctl.loadtest.results.gate_verdicts import Judged, judged
from vfctl.loadtest.results.model import AbResults, LoadtestResults, OlderResults, Probe
from vfctl.loadtest.scenario.model import Scenario
from vfctl.terminal.output import log_line, print_error, stderr_console

_Found = TypeVar("_Found")


class Session:
    """Open from before the first run until the reports are written: the first Ctrl-C (or SIGTERM, which pipelines send)
    asks the run to end, and is never in the way of its reports; the second stops at once.

    Attributes:
        stop: requested by the first.
    """

    def __init__(self, stop: Stop, endpoint: MetricsEndpoint | None) -> None:
        self.stop = stop
        self._endpoint = endpoint

    def show(self, run: Callable[[Stop, Callable[[Status], None]], _Found]) -> _Found:
        """Run with a display on stderr."""

        def on_status(status: Status) -> None:
            display.show(status)
            if self._endpoint is not None:
                self._endpoint.show(status)

        with LoadtestDisplay(stderr_console()) as display:
            return run(self.stop, on_status)

    def run(
        self,
        plan: Scenario,
        url: str | None,
        source_ip: str | None,
        *,
        embedded: bool = False,
        baseline: Judged | None = None,
    ) -> MeasuredRun:
        """One run against one server, with a display."""

        def one(stop: Stop, on_status: Callable[[Status], None]) -> MeasuredRun:
            return run_loadtest(
                plan,
                url,
                log_line=log_line,
                on_status=on_status,
                stop=stop,
                source_ip=source_ip,
                embedded=embedded,
                baseline=baseline,
            )

        return self.show(one)


def end(code: int, runs: Sequence[MeasuredRun]) -> NoReturn:
    """End the command, after its reports are written.

    Args:
        code: if nothing has failed beside gates.
        runs: the last run, or that of each of two servers.

    Raises:
        VfctlError: the run has failed. That nobody is connected any more is told, but a gate that says so goes first.
    """
    for each in runs:
        if each.failure is not None:
            if not isinstance(each.failure, NobodyConnectedError) or code != GateError.exit_code:
                raise each.failure
            print_error(each.failure)
    raise typer.Exit(code)


@contextlib.contextmanager
def open_session(metrics_port: int | None) -> Iterator[Session]:
    """A session, with its metrics on this port of 127.0.0.1 if there is to be any.

    Raises:
        VfctlError: the port is taken.
    """
    stop = Stop()

    def on_signal(*_: object) -> None:
        stop.request()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.default_int_handler)
        log_line("ending the run; Ctrl-C again stops at once")

    with contextlib.ExitStack() as stack:
        endpoint = None
        if metrics_port is not None:
            endpoint = MetricsEndpoint(metrics_port)
            stack.callback(endpoint.close)
            log_line(f"metrics of this run are on {endpoint.url}")
        for each in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, each, signal.signal(each, on_signal))
        yield Session(stop, endpoint)


def search_load(
    session: Session,
    what: Literal["clients", "rate"],
    plan: Scenario,
    url: str | None,
    source_ip: str | None,
    json_file: Path | None,
    *,
    limit: int | None,
    has_duration: bool,
) -> NoReturn:
    """Find the highest load at which all gates of the plan hold, report it, and end the command.

    Args:
        limit: the most clients to try; None for the search's own limit.
        has_duration: whether the plan's duration was asked for; if not, each run lasts `find.DURATION_S`.

    Raises:
        VfctlError: a run has failed; the report is written.
    """
    failures: list[VfctlError] = []

    def run(scenario: Scenario) -> LoadtestResults:
        measured = session.run(scenario, url, source_ip, embedded=what == "rate")
        if measured.failure is not None and not isinstance(measured.failure, NobodyConnectedError):
            failures.append(measured.failure)
        return judged(measured.results, scenario.gates)

    def print_probe(probe: Probe) -> None:
        why = ", ".join(find.reasons(probe.results, what, probe.load))
        log_line(f"{probe.load:,g} {unit}: {'holds' if probe.held else f'does not hold ({why})'}")

    unit = "clients" if what == "clients" else "frames/s to each client"
    goals = plan.gates
    if not has_duration:
        plan = plan.changed(duration_s=find.DURATION_S)
    highest = find.MAX_RATE_HZ if what == "rate" else limit or find.MAX_CLIENTS
    found = find.find(what, plan, goals, run, limit=highest, on_probe=print_probe, failed=lambda: bool(failures))
    stderr_console().print(search_table(found, unit))
    if json_file is not None:
        write_report(json_file, render_json(found))
    if failures:
        raise failures[0]
    interrupted = found.probes[-1].results.interrupted
    raise typer.Exit(EXIT_INTERRUPTED if interrupted else EXIT_OK if found.load else GateError.exit_code)


def side_by_side(
    session: Session,
    urls: tuple[str, str],
    plan: Scenario,
    source_ip: str | None,
    reports: ReportPaths,
    baseline: LoadtestResults | OlderResults | None,
    strict: bool,
) -> NoReturn:
    """Test both, compare them, report, and end the command.

    Raises:
        VfctlError: the run has failed; its reports are written.
    """

    def both(stop: Stop, on_status: Callable[[Status], None]) -> list[MeasuredRun]:
        return run_side_by_side(
            plan, urls, log_line=log_line, on_status=on_status, stop=stop, source_ip=source_ip, baseline=baseline
        )

    a, b = session.show(both)
    results = compare_sides(a.results, b.results, plan.all_gates, baseline)
    print_ab(results)
    write_reports(reports, results, strict=strict)
    end(ab_exit_code(results, strict), [a, b])


def print_ab(results: AbResults) -> None:
    """Both servers in a table, then the gates and the answer, on stderr."""
    a, b = both = results.a, results.b
    if a.failure and not a.stages:
        return  # nothing to show: the error says why
    table = Table("", "A", "B", title=f"{a.clients.target:,} clients each, {a.duration_s:g} s")
    table.add_row("server", a.peer, b.peer)
    for name in ("p50", "p95", "p99", "max"):
        table.add_row(f"latency {name} ms", *(milliseconds(getattr(side.latency_ms, name)) for side in both))
    table.add_row("messages/s", *(f"{side.throughput.messages_per_s:,.0f}" for side in both))
    table.add_row("failed or lost", *(f"{side.clients.failed + side.clients.lost:,}" for side in both))
    stderr_console().print(table)
    if results.gates:
        stderr_console().print(gates_table(results.gates))
    for warning in results.warnings:
        log_line(f"careful: {warning}")
    if results.comparison is not None:
        stderr_console().print(results.comparison.sentence)
    if a.aborted or a.interrupted:
        why = f"ended early by the gate {a.aborted.expression}" if a.aborted else "interrupted"
        log_line(f"the run was {why}: these are partial results")


def ab_exit_code(results: AbResults, strict: bool) -> int:
    """3 if B is slower, a gate failed or --strict finds a fault; else 130 if interrupted, 4 if nothing was compared."""
    comparison = results.comparison
    failed = not all(gate.passed for gate in results.gates)
    faulty = any(minded_by_strict(side) for side in (results.a, results.b))
    if failed or (strict and faulty) or (comparison is not None and comparison.verdict == "slower"):
        return GateError.exit_code
    if results.a.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_OK if comparison is not None else PeerError.exit_code


def exit_code(results: LoadtestResults, strict: bool) -> int:
    """Exit code of one run, or of several as one; prints the reason where no table shows it."""
    if results.interrupted and not results.measured_anything:
        return EXIT_INTERRUPTED
    if not all(gate.passed for gate in results.gates):
        return GateError.exit_code
    if strict and (minded := minded_by_strict(results)):
        log_line(f"--strict: {minded}")
        return GateError.exit_code
    if results.interrupted:
        return EXIT_INTERRUPTED  # the rest of the run might have failed them
    if results.measured_anything:
        return EXIT_OK
    log_line(nothing_measured(results))
    return PeerError.exit_code
