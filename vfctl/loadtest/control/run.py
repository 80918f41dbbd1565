"""A load test from start to end: an embedded server if there is none, generator processes, one set of results."""

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
"""What was tested, where it has not got as far as to have a URL."""


def run_loadtest(
    scenario: Scenario,
    url: str | None,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_status: Callable[[Status], None] = lambda _: None,
    stop: Stop | None = None,
    source_ip: str | None = None,
    embedded: bool = False,
    baseline: Judged | None = None,
) -> MeasuredRun:
    """Run a scenario against `url`; None is the default address if something answers there, else a server of our own
    (always one of our own if the scenario or `embedded` says so).

    A run that fails has results, too: what was measured until then, if anything, and `failure`. Nothing answers at the
    URL, the server cannot start or has died, or a generator has.

    Args:
        say: told in a line what happens that people want to know.
        on_status: called several times a second.
        source_ip: addresses of this machine to connect from, as a CIDR; None chooses.
        embedded: start a server of our own even if one answers at the default address.
        baseline: results of an earlier run, for abort gates that are relative to it.

    Raises:
        UsageError: it asks for what cannot be.
    """
    where = url or EMBEDDED
    with ExitStack() as stack:
        try:
            where, peer, watch = _find_peer(scenario, url, embedded or scenario.embedded, stack, say)
            where, shards = _prepare(scenario, where, peer, source_ip, say)
        except UsageError:
            raise
        except VfctlError as error:
            # A terminal's Ctrl-C also hits the server that is just starting, which is no failure of the server.
            return not_run(where, scenario, None if stop is not None and stop.requested else error)
        abort = AbortWatch(scenario.abort_gates, baseline)
        conductor = Conductor(shards, scenario.steps(), on_status, stop or Stop(), watch, abort)
        stack.callback(conductor.kill)
        return build_results(where, peer.name, scenario, conductor.play())


def run_side_by_side(
    scenario: Scenario,
    urls: tuple[str, str],
    *,
    say: Callable[[str], None] = lambda _: None,
    on_status: Callable[[Status], None] = lambda _: None,
    stop: Stop | None = None,
    source_ip: str | None = None,
    baseline: Judged | None = None,
) -> list[MeasuredRun]:
    """Run a scenario against two servers at the same time, with all its clients for each, in processes of its own.

    Args:
        say, on_status, stop, source_ip: as for `run_loadtest`.
        baseline: results of an earlier run, for abort gates that are relative to it; None: of the first server.

    Returns:
        The results of each server. If one cannot be reached, neither is tested, and both say why.

    Raises:
        UsageError: it asks for what cannot be.
    """
    try:
        peers = [identify(url) for url in urls]
        prepared = [_prepare(scenario, url, peer, source_ip, say) for url, peer in zip(urls, peers, strict=True)]
    except UsageError:
        raise
    except VfctlError as error:
        return [not_run(url, scenario, error) for url in urls]
    first, second = (shards for _, shards in prepared)
    second = [replace(shard, number=shard.number + len(first), target_index=1) for shard in second]
    abort = AbortWatch(scenario.abort_gates, baseline)
    conductor = Conductor([*first, *second], scenario.steps(), on_status, stop or Stop(), abort=abort)
    try:
        runs = conductor.play_all()
    finally:
        conductor.kill()
    return [
        build_results(full_url, peer.name, scenario, run)
        for (full_url, _), peer, run in zip(prepared, peers, runs, strict=True)
    ]


def _prepare(
    scenario: Scenario, url: str, peer: Peer, source_ip: str | None, say: Callable[[str], None]
) -> tuple[str, list[Shard]]:
    """The URL with its options, and what each generator process does there."""
    full_url, target = resolve(url, scenario.encoding)
    clients = scenario.peak
    say(f"{clients:,} clients against {full_url} ({peer.name})")
    if not peer.is_vfctl:
        say("what it sends is counted; latency is measured if its frames are V4 with TIMED trailers, else not")
    per_process = clients_per_process(raise_descriptor_limit())
    sources = source_addresses(target, clients, source_ip)
    if source_ip is not None:
        check_source_addresses(sources)
    for check in preflight(clients, read_limits(), sources=max(1, len(sources)), server_here=is_local(target)):
        if not check.ok:
            say(f"{check.what}: {check.needed} needed, {check.available} there; try: {check.command}")
    context = fetch_context(url, scenario.roles)
    shards = plan_shards(target, scenario.roles, clients, context=context, per_process=per_process, sources=sources)
    return full_url, shards


def _find_peer(
    scenario: Scenario, url: str | None, embedded: bool, stack: ExitStack, say: Callable[[str], None]
) -> tuple[str, Peer, Callable[[], None]]:
    """Where to connect to, who answers there, and what is to be called during the run to look after it."""
    if url is not None:
        if scenario.embedded:
            say("the scenario asks for the embedded server; the URL has been given instead")
        return url, identify(url), _nothing_to_watch
    if not embedded:
        try:
            peer = identify(DEFAULT_URL)
            say(f"{peer.name} answers on port 8765; options of the embedded server are not used")
            return DEFAULT_URL, peer, _nothing_to_watch
        except PeerError:
            say("nothing answers on port 8765, starting an embedded server for this run")
    else:
        say("starting an embedded server for this run")
    server: Server = stack.enter_context(launch(scenario.server.options(scenario.peak), on_progress=say))
    return server.url, identify(server.url), lambda: server.watch(0, say)


def _nothing_to_watch() -> None:
    """A server that others have started is theirs to look after."""
