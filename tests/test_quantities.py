"""Durations, sizes, counts and rates: as people write them, and as vfctl prints them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.errors import UsageError
from vfctl.quantities import (
    byte_rate_scale,
    format_byte_rate,
    format_count,
    format_duration,
    format_size,
    format_three_digits,
    metric_unit,
    parse_byte_rate,
    parse_count,
    parse_count_or_duration,
    parse_duration_s,
    parse_positive_duration_s,
    parse_rate_hz,
    parse_size_bytes,
    parse_size_or_duration,
    three_significant,
    to_metric_unit,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("10s", 10),
        ("1.5min", 90),
        ("250ms", 0.25),
        ("250 ms", 0.25),
        ("20us", 20e-6),
        ("20µs", 20e-6),
        ("2h", 7200),
        ("1d", 86_400),
        (" .5 s ", 0.5),
        ("2.", 2),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text, "--from") == seconds


@pytest.mark.parametrize("number", [9, 35, 1001])
def test_a_duration_is_the_float_nearest_to_what_is_written(number: int) -> None:
    assert parse_duration_s(f"{number}ms", "--every") == number / 1000
    assert parse_duration_s("1.1min", "--every") == 66.0


@pytest.mark.parametrize("text", ["", "s", "-1", "1e3", "1 parsec", "nan", "inf", "10 s s", "1m", "9" * 400, "٣s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match=r"--from is .*, expected a duration") as caught:
        parse_duration_s(text, "--from")
    assert "for example 90, 10s or 1.5min" in (caught.value.hint or "")


def test_a_duration_above_zero() -> None:
    assert parse_positive_duration_s("1ms", "--duration") == 0.001
    with pytest.raises(UsageError, match=r"--duration is '0s', expected a duration above zero"):
        parse_positive_duration_s("0s", "--duration")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("500", 500),
        ("1k", 1000),
        ("1.5k", 1500),
        ("50k", 50_000),
        ("2M", 2_000_000),
        ("1.000001M", 1_000_001),
        ("1,234,567", 1_234_567),
        ("12345678901234567891", 12345678901234567891),
    ],
)
def test_counts(text: str, count: int) -> None:
    assert parse_count(text, "--clients") == count


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5", "1.0005k", "1,5k", "1,23", "1K5", "many", "1e3", "9" * 5000])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(UsageError, match=r"--clients is .*, expected a count") as caught:
        parse_count(text, "--clients")
    assert "500, 1k or 1.5M" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "size"),
    [("100MB", 10**8), ("64KiB", 65_536), ("2gib", 2**31), ("1.5 kB", 1500), ("512B", 512), ("7 bytes", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size_bytes(text, "--max-size") == size


@pytest.mark.parametrize("text", ["", "100", "MB", "0MB", "0.1B", "-1MB", "1 parsec"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"--max-size is .*, expected a size") as caught:
        parse_size_bytes(text, "--max-size")
    assert "100MB or 64KiB" in (caught.value.hint or "")


def test_rates() -> None:
    assert parse_byte_rate("10MB/s", "--rate") == 10**7
    assert parse_byte_rate("100 Mbit/s", "--rate") == 12.5e6
    assert [parse_rate_hz(text, "--rate") for text in ("20", "20Hz", "20/s", "30/min")] == [20, 20, 20, 0.5]
    with pytest.raises(UsageError, match="expected a data rate") as caught:
        parse_byte_rate("10", "--rate")
    assert "10MB/s" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="expected a rate") as caught:
        parse_rate_hz("often", "--rate")
    assert "20Hz" in (caught.value.hint or "")


def test_a_number_or_a_duration() -> None:
    assert parse_count_or_duration("3", "--every") == (3, None)
    assert parse_count_or_duration("1k", "--every") == (1000, None)
    assert parse_count_or_duration("3s", "--every") == (None, 3.0)
    assert parse_count_or_duration("1.5", "--every") == (None, 1.5)
    for text in ("0", "0s", "x"):
        with pytest.raises(UsageError, match=r"--every is"):
            parse_count_or_duration(text, "--every")


def test_a_size_or_a_duration() -> None:
    assert parse_size_or_duration("100mb", "--rotate") == (10**8, None)
    assert parse_size_or_duration("10min", "--rotate") == (None, 600.0)
    for text in ("100", "x", "MB"):
        with pytest.raises(UsageError, match=r"--rotate is .*, expected a size or a duration"):
            parse_size_or_duration(text, "--rotate")


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0 B/s"),
        (0.5, "0.5 B/s"),
        (999.4, "999 B/s"),
        (999.6, "1 kB/s"),
        (1234, "1.23 kB/s"),
        (999_949, "1 MB/s"),
        (999_600_000, "1 GB/s"),
        (999.6e9, "1 TB/s"),
        (12_345e12, "12,300 TB/s"),
        (math.inf, "inf TB/s"),
        (-999.6, "-1 kB/s"),
    ],
)
def test_a_data_rate_is_rounded_before_its_unit_is_chosen(rate: float, text: str) -> None:
    assert format_byte_rate(rate) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (999.6, "1 kB"), (999_600, "1 MB"), (2_710, "2.71 kB")],
)
def test_a_size_is_rounded_before_its_unit_is_chosen(size: float, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.000_02, "20 µs"),
        (0.000_999_6, "1 ms"),
        (0.25, "250 ms"),
        (0.9996, "1 s"),
        (10, "10 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min"),
        (90, "1.5 min"),
        (3599, "1 h"),
        (7200, "2 h"),
        (3.6e6, "1,000 h"),
    ],
)
def test_a_duration_is_rounded_before_its_unit_is_chosen(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (-9.996, "-10.0"),
    ],
)
def test_three_digits(value: float | None, text: str) -> None:
    assert format_three_digits(value) == text


def test_counts_of_things() -> None:
    assert [format_count(count, "message") for count in (0, 1, 1234)] == ["0 messages", "1 message", "1,234 messages"]


def test_the_unit_of_a_scale_depends_on_the_digits_that_are_printed() -> None:
    assert byte_rate_scale(999.6) == (1e3, "kB/s")
    assert byte_rate_scale(999.6, digits=6) == (1.0, "B/s")
    assert byte_rate_scale(5e7) == (1e6, "MB/s")


@given(st.floats(0, 1e15))
def test_three_significant_digits_have_no_exponent(value: float) -> None:
    text = three_significant(value)
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.005, abs=1e-11)


@given(st.floats(1e-6, 1e7))
def test_a_printed_duration_is_parsed(seconds: float) -> None:
    text = format_duration(seconds).replace(",", "")
    assert parse_duration_s(text, "--for") == pytest.approx(seconds, rel=0.005)


@given(st.integers(1, 10**15))
def test_a_printed_size_is_parsed(size: int) -> None:
    assert parse_size_bytes(format_size(size).replace(",", ""), "--size") == pytest.approx(size, rel=0.005)


@given(st.floats(1e-3, 1e15))
def test_a_printed_data_rate_is_parsed(rate: float) -> None:
    assert parse_byte_rate(format_byte_rate(rate).replace(",", ""), "--rate") == pytest.approx(rate, rel=0.005)


@given(st.integers(0, 10**30))
def test_a_printed_count_is_parsed(count: int) -> None:
    assert parse_count(f"{count:,}", "--clients") == count


@given(
    st.sampled_from([parse_duration_s, parse_count, parse_size_bytes, parse_byte_rate, parse_rate_hz]),
    st.text(alphabet=st.sampled_from("0123456789., kMGmsinhdBbytesKiµ/-+e\n")),
)
def test_a_parser_returns_a_number_or_a_usage_error(parse: Callable[[str, str], float], text: str) -> None:
    try:
        value = parse(text, "--it")
    except UsageError as error:
        hint = error.hint or ""
    else:
        assert value >= 0
        assert math.isfinite(value)
        return
    assert "for example" in hint


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("latency_ms.p95", "ms"),
        ("throughput.bytes_per_s", "B/s"),
        ("throughput.messages_per_s", "/s"),
        ("generator.cpu_percent", "%"),
        ("duration_s", "s"),
        ("clients.lost", None),
        ("latency_ms.count", None),
    ],
)
def test_the_unit_of_a_metric(path: str, name: str | None) -> None:
    unit = metric_unit(path)
    assert (unit and unit.name) == name


def test_a_number_is_converted_to_the_unit_of_its_metric() -> None:
    assert to_metric_unit(30, "", "latency_ms.p95") == 30
    assert to_metric_unit(1.5, "s", "latency_ms.p95") == 1500
    assert to_metric_unit(100, "Mbit/s", "throughput.bytes_per_s") == 12.5e6
    with pytest.raises(UsageError, match=r"latency_ms.p95 is in ms") as caught:
        to_metric_unit(30, "%", "latency_ms.p95")
    assert "us, µs, ms, s, min" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="is a count and has no unit"):
        to_metric_unit(3, "ms", "clients.lost")


@pytest.mark.processes
def test_it_loads_nothing_heavy() -> None:
    code = "import sys; import vfctl.quantities, vfctl.files; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pydantic", "asyncio", "typer", "fractions", "decimal"} & set(loaded)
