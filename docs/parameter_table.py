"""Writes the table of physics parameters into docs/physics.md; with --check, only tells if it is there.

`make docs` runs it, and a test checks.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from vfctl.physics import PARAMETERS

PAGE = Path(__file__).with_name("physics.md")
BETWEEN = re.compile(r"(?<=<!-- parameters -->\n).*?(?=<!-- end of parameters -->)", re.DOTALL)


def table() -> str:
    """The table, in Markdown."""
    lines = ["| parameter | default | unit | range | |", "|---|---|---|---|---|"]
    for info in PARAMETERS.values():
        allowed = f"{info.minimum:,.10g} to {info.maximum:,.10g}"
        lines.append(f"| `{info.name}` | {info.default:,.10g} | {info.unit} | {allowed} | {info.description} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write, or check."""
    before = PAGE.read_text("utf-8")
    after = BETWEEN.sub(lambda _: table(), before)
    if "--check" in sys.argv:
        return int(after != before or table() not in before)
    PAGE.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
