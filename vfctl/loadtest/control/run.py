"""Runs a load test from start to end: an embedded server if there is none, generator processes, and the results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from vfctl.errors import PeerError, UsageError, VfctlError
from vfctl.loadtest.control.abort import AbortWatch
from vfctl.loadtest.control.conductor import Conductor, Stop
from vfctl.loadtest.control.live import Status
from vfctl.loadtest.control.preflight import preflight, read_limits
from vfctl.loadtest.control.target import DEFAULT_URL, Peer, fetch_context, identify, resolve
from vfctl.loadtest.generator.plan import (
    Shard,
    check_source_addresses,
    clients_per_process,
    is_local,
    plan_shards,
    source_addresses,
)
from vfctl.loadtest.results.build import MeasuredRun, build_results, not_run
from vfctl.loadtest.results.gate_verdicts import Judged
from vfctl.loadtest.scenario.model import Scenario
from vfctl.server.capacity import raise_descriptor_limit
from vfctl.server.process.launch import Server, launch

EMBEDDED: Final = "embedded server"
"""Stands for the URL of an embedded server that has not started."""


def run_loadtest(
    scenario: Scenario,
    url: str | None,
    *,
    log_line: Callable[[str], None] = lambda _: None,
    on_status: Callable[[Status], None] = lambda _: None,
    stop: Stop | None = None,
    source_ip: str | None = None,
    embedded: bool = False,
    baseline: Judged | None = None,
) -> MeasuredRun:
    """Run a scenario against a server.

    A run that fails has results as well: what was measured until then, if anything, and `failure`. It fails if nothing
    answers at the URL, if the server cannot start or dies, or if a generator process dies.

    Args:
        url: of the server. None uses the server at the default address; if there is none, or if `embedded` or the
            scenario requires it, an embedded server is started.
        log_line: prints a line about the progress.
        on_status: called several times a second.
        stop: ends the run early.
        source_ip: addresses of this machine to connect from, as a CIDR; None chooses.
        embedded: start an embedded server even if one answers at the default address.
        baseline: results of an earlier run, for abort gates that are relative to it.

    Raises:
        UsageError: the scenario or an argument is not possible here.
    """
    name = url or EMBEDDED
    stop = stop or Stop()
    with ExitStack() as stack:
        try:
            name, peer, check_server = _find_peer(scenario, url, embedded or scenario.embedded, stack, log_line)
            name, shards = _prepare(scenario, name, peer, source_ip, log_line)
        except UsageError:
            raise
        except VfctlError as error:
            # Ctrl-C on a terminal also ends a server that is starting, which is no failure of the server.
            return not_run(name, scenario, None if stop.requested else error)
        abort = AbortWatch(scenario.abort_gates, baseline)
        conductor = stack.enter_context(Conductor(shards, scenario.steps(), on_status, stop, check_server, abort))
        return build_results(name, peer.name, scenario, conductor.run())


def run_side_by_side(
    scenario: Scenario,
    urls: tuple[str, str],
    *,
    log_line: Callable[[str], None] = lambda _: None,
    on_status: Callable[[Status], None] = lambda _: None,
    stop: Stop | None = None,
    source_ip: str | None = None,
    baseline: Judged | None = None,
) -> list[MeasuredRun]:
    """Run a scenario against two servers at the same time. Each gets all clients, in processes of its own.

    Args:
        log_line, on_status, stop, source_ip: as for `run_loadtest`.
        baseline: results of an earlier run, for relative abort gates; None uses the first server.

    Returns:
        The results of each server. If one cannot be reached, neither is tested, and both results have the failure.

    Raises:
        UsageError: the scenario or an argument is not possible here.
    """
    try:
        peers = [identify(url) for url in urls]
        prepared = [_prepare(scenario, url, peer, source_ip, log_line) for url, peer in zip(urls, peers, strict=True)]
    except UsageError:
        raise
    except VfctlError as error:
        return [not_run(url, scenario, error) for url in urls]
    first, second = (shards for _, shards in prepared)
    second = [replace(shard, number=shard.number + len(first), target_index=1) for shard in second]
    abort = AbortWatch(scenario.abort_gates, baseline)
    with Conductor([*first, *second], scenario.steps(), on_status, stop or Stop(), abort=abort) as conductor:
        runs = conductor.run_all()
    return [
        build_results(full_url, peer.name, scenario, run)
        for (full_url, _), peer, run in zip(prepared, peers, runs, strict=True)
    ]


def _prepare(
    scenario: Scenario, url: str, peer: Peer, source_ip: str | None, log_line: Callable[[str], None]
) -> tuple[str, list[Shard]]:
    """The URL with its options, and the shards of the clients."""
    full_url, target = resolve(url, scenario.encoding)
    clients = scenario.peak
    log_line(f"{clients:,} clients against {full_url} ({peer.name})")
    if not peer.is_vfctl:
        log_line("messages are counted; latency is measured only if the frames are V4 with TIMED trailers")
    per_process = clients_per_process(raise_descriptor_limit())
    sources = source_addresses(target, clients, source_ip)
    if source_ip is not None:
        check_source_addresses(sources)
    for check in preflight(clients, read_limits(), sources=max(1, len(sources)), server_here=is_local(target)):
        if not check.ok:
            log_line(f"{check.what}: {check.needed} needed, {check.available} available; try: {check.command}")
    context = fetch_context(url, scenario.roles)
    shards = plan_shards(target, scenario.roles, clients, context=context, per_process=per_process, sources=sources)
    return full_url, shards


def _find_peer(
    scenario: Scenario, url: str | None, embedded: bool, stack: ExitStack, log_line: Callable[[str], None]
) -> tuple[str, Peer, Callable[[], None]]:
    """The URL, the server that answers there, and a check of an embedded server to call during the run."""
    if url is not None:
        if scenario.embedded:
            log_line("the scenario asks for an embedded server, but the URL overrides it")
        return url, identify(url), _no_check
    if not embedded:
        try:
            peer = identify(DEFAULT_URL)
            log_line(f"{peer.name} answers on port 8765; options of the embedded server are not used")
            return DEFAULT_URL, peer, _no_check
        except PeerError:
            log_line("nothing answers on port 8765, starting an embedded server for this run")
    else:
        log_line("starting an embedded server for this run")
    server: Server = stack.enter_context(launch(scenario.server.options(scenario.peak), on_progress=log_line))
    return server.url, identify(server.url), lambda: server.watch(0, log_line)


def _no_check() -> None:
    """A server that was started by others is not checked."""
