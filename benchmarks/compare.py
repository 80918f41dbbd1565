"""Checks that `vfctl compare` finds a server that is 5 ms slower, and reports no difference where there is none.

    python benchmarks/compare.py [--pairs 20] [--clients 300] [--seconds 3] [--repeat 1] [--ab]

For each pair it runs `vfctl loadtest` three times, twice against frame_source.py and once with `--delay-ms 5`. It
compares the second and the third run with the first. With --ab each comparison is one `vfctl loadtest --ab` instead.
The exit code is 1 if more than one of twenty pairs of the same server differ, or if a delayed server is not found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from processes import VFCTL, Source

DELAY_MS = 5.0
WRONG_OF_TWENTY = 1


def vfctl(*arguments: object) -> str:
    """The output of a command. Exit code 3 is a result, too.

    Raises:
        RuntimeError: the command has failed.
    """
    done = subprocess.run([VFCTL, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


def measure(url: str, asked: argparse.Namespace, path: Path) -> Path:
    """Run a load test and write its results to a file."""
    load = f"--clients {asked.clients} --duration {asked.seconds} --ramp 0.5 --repeat {asked.repeat}"
    vfctl("loadtest", url, *load.split(), "--json", path)
    return path


def compare(a: Path, b: Path) -> dict[str, Any]:
    """The comparison that `vfctl compare` prints."""
    return json.loads(vfctl("compare", a, b, "--json"))


def side_by_side(a: str, b: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The comparison of one run with `--ab`."""
    load = f"--clients {asked.clients} --duration {asked.seconds} --ramp 0.5 --json -"
    return json.loads(vfctl("loadtest", "--ab", a, b, *load.split()))["comparison"]


def shown(answer: dict[str, Any]) -> str:
    between = f"{answer['low_ms']:+.2f} to {answer['high_ms']:+.2f}"
    return f"{answer['a_ms']:6.2f} {answer['b_ms']:6.2f}  {between:16} {answer['verdict']:13}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--ab", action="store_true")
    asked = parser.parse_args()
    wrong = found = 0
    print("         the same server: P95 of both, B - A in ms        5 ms slower")
    with (
        tempfile.TemporaryDirectory() as folder,
        Source(processes=1, nodes=100, rate=1) as plain,
        Source(processes=1, nodes=100, rate=1, delay_ms=DELAY_MS) as delayed,
    ):
        for pair in range(1, asked.pairs + 1):
            if asked.ab:
                same, slower = (side_by_side(plain.url, other.url, asked) for other in (plain, delayed))
            else:
                a, b, c = (
                    measure(source.url, asked, Path(folder, f"{pair}-{name}.json"))
                    for name, source in (("a", plain), ("b", plain), ("c", delayed))
                )
                same, slower = compare(a, b), compare(a, c)
            wrong += same["verdict"] != "no difference"
            found += slower["verdict"] == "slower"
            print(f"pair {pair:2}  {shown(same)}  {shown(slower)}", flush=True)
    print(f"no difference between runs of one server: {asked.pairs - wrong} of {asked.pairs} pairs")
    print(f"a server {DELAY_MS:g} ms slower found: {found} of {asked.pairs} pairs")
    sys.exit(wrong > WRONG_OF_TWENTY * asked.pairs / 20 or found < asked.pairs)


if __name__ == "__main__":
    main()
