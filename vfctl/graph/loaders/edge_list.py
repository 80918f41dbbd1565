"""Edge lists: one edge per line, separated by commas, semicolons, tabs or spaces."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import NoReturn

from vfctl.errors import InputError
from vfctl.graph.loaders.builder import GraphBuilder
from vfctl.graph.model import Graph

_log = logging.getLogger(__name__)

_DELIMITERS = "\t;, "
_SNIFFED_ROWS = 50
_HEADERS = {
    "source": ("source", "src", "from", "subject", "parent", "node1"),
    "target": ("target", "dst", "to", "object", "child", "node2"),
    "weight": ("weight", "value"),
}
_HEADER_HINT = "name the columns in a first line, such as source,target,weight"

Row = tuple[int, list[str]]  # line number (of the row's last line, from 1), cells


def load_edge_list(path: Path, text: str) -> Graph:
    """Read source, target and an optional weight from each line. Nodes are in the order of their first occurrence.

    The delimiter is the first of tab, semicolon, comma and space that splits each of the first rows into the same
    number of columns, at least two. Lines before the first row that start with `#` or `%` are comments. The first row
    is a header if it names a source and a target (`source`, `src`, `from`, …), or if it has no number while a column
    has only numbers below it. Named columns may be in any order, and unknown ones are ignored. Columns without names
    are source, target and weight. For depths, edges count as directed.

    Raises:
        InputError: a row of another length, an empty end, a wrong weight, or no edge. Names the line.
    """
    rows = _rows(path, text)
    header = rows[0][1] if _has_header(rows) else None
    columns = _named_columns(header) if header else {}
    if header:
        _log.info("%s: the first row, %s, is used as a header", path, header)
        width, rows = len(header), rows[1:]
    else:
        width = len(rows[0][1])
    if not columns:
        if width > 3:
            _fail(path, rows[0][0] if rows else 1, f"{width} columns without names", _HEADER_HINT)
        columns = {"source": 0, "target": 1, **({"weight": 2} if width == 3 else {})}
    builder = GraphBuilder(path, "line {}", "line {}", directed=True)
    for line, cells in rows:
        if len(cells) != width:
            _fail(path, line, f"{len(cells)} columns, expected {width}", None)
        source, target = cells[columns["source"]], cells[columns["target"]]
        if not source or not target:
            _fail(path, line, f"the {'target' if source else 'source'} is empty", None)
        for node in (source, target):
            if node not in builder:
                builder.add_node(node, line, attributes={"id": node})
        builder.add_edge(source, target, line, cells[columns["weight"]] if "weight" in columns else None)
    return builder.graph()


def _rows(path: Path, text: str) -> list[Row]:
    lines = [line.strip(" \r\n") + "\n" for line in io.StringIO(text, newline="")]
    first = next((number for number, line in enumerate(lines) if line.strip() and line[0] not in "#%"), None)
    if first is None:
        raise InputError(f"{path}: holds no edge")
    body = ["\n"] * first + [line if line.strip() else "\n" for line in lines[first:]]
    for delimiter in _DELIMITERS:
        try:
            sample = _split(path, body[: first + _SNIFFED_ROWS], delimiter)
        except InputError:
            continue
        widths = {len(cells) for _, cells in sample}
        if len(widths) == 1 and widths.pop() > 1:
            return _split(path, body, delimiter)
    # No delimiter fits all rows. Use the one that fits the first, so that the error names the row that does not.
    for delimiter in _DELIMITERS:
        rows = _split(path, body, delimiter)
        if len(rows[0][1]) > 1:
            return rows
    return _fail(path, first + 1, "one column, expected at least a source and a target", _HEADER_HINT)


def _split(path: Path, lines: list[str], delimiter: str) -> list[Row]:
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    except csv.Error as error:
        return _fail(path, reader.line_num, f"cannot be read ({error})", None)


def _has_header(rows: list[Row]) -> bool:
    first, rest = rows[0][1], rows[1:]
    if {"source", "target"} <= _named_columns(first).keys():
        return True
    if not rest or any(map(_is_number, first)):
        return False
    return any(
        all(len(cells) > column and _is_number(cells[column]) for _, cells in rest) for column in range(len(first))
    )


def _named_columns(header: list[str]) -> dict[str, int]:
    """The indices of source, target and weight, if the header names the two ends; else empty."""
    names = [cell.lower() for cell in header]
    columns = {
        column: names.index(alias)
        for column, aliases in _HEADERS.items()
        for alias in reversed(aliases)
        if alias in names
    }
    return columns if {"source", "target"} <= columns.keys() else {}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _fail(path: Path, line: int, message: str, hint: str | None) -> NoReturn:
    raise InputError(f"{path}: line {line}: {message}", hint=hint)
