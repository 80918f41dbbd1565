"""What surrounds the runs of one `vfctl loadtest`: their display, their metrics, and how they are ended early."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from vfctl.terminal.output import complain, people, say

if TYPE_CHECKING:
    from vfctl.loadtest.control.conductor import Stop
    from vfctl.loadtest.control.live import Status
    from vfctl.loadtest.control.metrics_endpoint import MetricsEndpoint
    from vfctl.loadtest.results.build import Results
    from vfctl.loadtest.scenario.model import Scenario

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
        from vfctl.cli.loadtest_display import LoadtestDisplay

        def on_status(status: Status) -> None:
            display.show(status)
            if self._endpoint is not None:
                self._endpoint.show(status)

        with LoadtestDisplay(people()) as display:
            return run(self.stop, on_status)

    def run(
        self,
        plan: Scenario,
        url: str | None,
        source_ip: str | None,
        *,
        embedded: bool = False,
        baseline: dict[str, Any] | None = None,
    ) -> Results:
        """One run against one server, with a display."""
        from vfctl.loadtest.control.run import run_loadtest

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

        return self.show(one)


def end(code: int, results: Sequence[Results]) -> NoReturn:
    """End the command, after its reports are written.

    Args:
        code: if nothing has failed beside gates.
        results: of the last run, or of the servers of one.

    Raises:
        VfctlError: the run has failed. That nobody is connected any more is told, but a gate that says so goes first.
    """
    from vfctl.errors import GateError

    for each in results:
        if each.failure is not None:
            if each.performance.failure is not None or code != GateError.exit_code:
                raise each.failure
            complain(each.failure)
    raise typer.Exit(code)


@contextlib.contextmanager
def session(metrics_port: int | None) -> Iterator[Session]:
    """A session, with its metrics on this port of 127.0.0.1 if there is to be any.

    Raises:
        VfctlError: the port is taken.
    """
    from vfctl.loadtest.control.conductor import Stop
    from vfctl.loadtest.control.metrics_endpoint import MetricsEndpoint

    stop = Stop()

    def on_signal(*_: object) -> None:
        stop.request()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.default_int_handler)
        say("ending the run; Ctrl-C again stops at once")

    with contextlib.ExitStack() as stack:
        endpoint = None
        if metrics_port is not None:
            endpoint = MetricsEndpoint(metrics_port)
            stack.callback(endpoint.close)
            say(f"metrics of this run are on {endpoint.url}")
        for each in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, each, signal.signal(each, on_signal))
        yield Session(stop, endpoint)
