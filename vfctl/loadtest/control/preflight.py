"""What a load needs from the machine, computed before it runs: open files, ports, memory, bandwidth."""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vfctl.loadtest.generator.plan import MAX_CLIENTS_PER_PROCESS, clients_per_process

DEFAULT_FRAME_BYTES: Final = 8_856
"""316 nodes, raw: the bundled graph."""

_USER_BYTES_PER_CLIENT: Final = 2_048
_KERNEL_BYTES_PER_SOCKET: Final = 4_096
"""A TCP socket's own structures (slabinfo: TCP 2.5 KB, its file and dentry), without its queues."""

_PAGE_BYTES: Final = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a machine; see `read_limits`.

    Attributes:
        descriptors: open files per process, the hard limit.
        system_descriptors: open files of the whole machine.
        local_ports: ephemeral ports for one pair of addresses.
        memory_bytes: available memory.
        tcp_memory_bytes: memory that all TCP sockets may use.
    """

    descriptors: int
    system_descriptors: int
    local_ports: int
    memory_bytes: int
    tcp_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Check:
    """One resource that a load needs.

    Attributes:
        what: its name.
        needed, available: texts with units.
        ok: whether there is enough.
        command: the command that raises the limit; empty if there is enough.
    """

    what: str
    needed: str
    available: str
    ok: bool
    command: str = ""


def read_limits() -> Limits:
    """The limits of this machine. Limits that cannot be read count as unlimited."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = _read_numbers("/proc/sys/net/ipv4/ip_local_port_range", [32_768, 60_999])[:2]
    return Limits(
        descriptors=2**31 if hard == resource.RLIM_INFINITY else hard,
        system_descriptors=_read_numbers("/proc/sys/fs/file-max", [2**62])[0],
        local_ports=high - low + 1,
        memory_bytes=_available_memory_bytes(),
        tcp_memory_bytes=_read_numbers("/proc/sys/net/ipv4/tcp_mem", [0, 0, 2**50])[2] * _PAGE_BYTES,
    )


def preflight(
    clients: int,
    limits: Limits,
    *,
    sources: int,
    server_here: bool,
    frame_bytes: int = DEFAULT_FRAME_BYTES,
    frames_per_s: float = 1.0,
) -> list[Check]:
    """Compare what a load needs with the limits.

    Args:
        sources: number of local addresses that clients connect from.
        server_here: whether the server runs on this machine, too, so that each connection has two ends here.
        frame_bytes, frames_per_s: size and rate of the frames for each client.
    """
    ends = 2 if server_here else 1
    return [
        _descriptors(clients, limits),
        _system_descriptors(clients * ends, limits),
        _ports(clients, limits, sources),
        _memory(clients, limits, ends, frame_bytes),
        _tcp_memory(clients, limits, frame_bytes),
        _bandwidth(clients, frame_bytes, frames_per_s),
    ]


def _descriptors(clients: int, limits: Limits) -> Check:
    each = clients_per_process(limits.descriptors)
    processes = math.ceil(clients / each) if each else 1
    return Check(
        "open files a process",
        f"{math.ceil(clients / processes):,} in each of {processes} generator process{'es' if processes > 1 else ''}",
        f"{limits.descriptors:,}",
        each >= min(clients, 1000),
        "" if each >= min(clients, 1000) else f"ulimit -Hn {MAX_CLIENTS_PER_PROCESS + 1000}",
    )


def _system_descriptors(needed: int, limits: Limits) -> Check:
    ok = needed + 10_000 <= limits.system_descriptors
    command = "" if ok else f"sudo sysctl -w fs.file-max={2 * needed + 100_000}"
    return Check("open files of the machine", f"{needed:,}", f"{limits.system_descriptors:,}", ok, command)


def _ports(clients: int, limits: Limits, sources: int) -> Check:
    available = (
        limits.local_ports // 2 * sources
    )  # Linux finds the other half only by a slow search: see CLIENTS_PER_SOURCE
    ok = clients <= available
    command = ""
    if not ok and clients <= 64_512 // 2 * sources:
        command = 'sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"'
    elif not ok:
        command = f"--source-ip with at least {math.ceil(2 * clients / limits.local_ports)} addresses of this machine"
    plural = "es" if sources > 1 else ""
    return Check("local ports", f"{clients:,}", f"{available:,} from {sources} source address{plural}", ok, command)


def _memory(clients: int, limits: Limits, ends: int, frame_bytes: int) -> Check:
    needed = clients * (_USER_BYTES_PER_CLIENT + ends * _KERNEL_BYTES_PER_SOCKET + 2 * frame_bytes)
    ok = needed <= limits.memory_bytes
    command = "" if ok else f"fewer clients: --clients {clients * limits.memory_bytes // needed}"
    return Check("memory", f"{needed / 1e6:,.0f} MB", f"{limits.memory_bytes / 1e6:,.0f} MB", ok, command)


def _tcp_memory(clients: int, limits: Limits, frame_bytes: int) -> Check:
    """Every client can have a frame in transit. Beyond tcp_mem the kernel drops packets, and connections stall."""
    needed = clients * 2 * frame_bytes
    ok = needed <= limits.tcp_memory_bytes
    pages = math.ceil(needed / _PAGE_BYTES)
    command = "" if ok else f'sudo sysctl -w net.ipv4.tcp_mem="{pages // 2} {pages} {2 * pages}"'
    return Check(
        "kernel's TCP memory", f"{needed / 1e6:,.0f} MB", f"{limits.tcp_memory_bytes / 1e6:,.0f} MB", ok, command
    )


def _bandwidth(clients: int, frame_bytes: int, frames_per_s: float) -> Check:
    """The capacity of the network is unknown; readers can compare this rate with it."""
    rate = clients * frame_bytes * frames_per_s
    return Check("bandwidth", f"{rate / 1e6:,.0f} MB/s, {rate * 8 / 1e9:.2f} Gbit/s", "not checked", True)


def _read_numbers(path: str, default: list[int]) -> list[int]:
    try:
        return [int(word) for word in Path(path).read_text("ascii").split()] or default
    except (OSError, ValueError):
        return default


def _available_memory_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 2**62
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 2**62)
