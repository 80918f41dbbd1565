"""Addresses and the options that are added to them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vfctl.client.url import shown, with_options
from vfctl.errors import UsageError


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("ws://h:1/ws", {}, "ws://h:1/ws"),
        ("http://h/ws", {}, "ws://h/ws"),
        ("https://h/ws", {}, "wss://h/ws"),
        ("HTTP://h/ws", {}, "ws://h/ws"),
        ("ws://h", {}, "ws://h/ws"),
        ("ws://h/", {}, "ws://h/"),
        ("ws://[::1]:80/deep/path", {"timed": True}, "ws://[::1]:80/deep/path?timed=1"),
        ("ws://h/ws", {"encoding": "lz4", "voice": True}, "ws://h/ws?encoding=lz4&voice=1"),
        ("ws://h/ws?timed=0&a=%20&b", {"timed": True, "metadata": True}, "ws://h/ws?timed=0&a=%20&b&metadata=1"),
        ("ws://h/ws?encoding=", {"encoding": "raw", "notices": True}, "ws://h/ws?encoding=&notices=1"),
    ],
)
def test_options_are_added_and_nothing_is_replaced(url, options, expected):
    assert with_options(url, **options) == expected


def test_adding_twice_changes_nothing():
    once = with_options("ws://h", encoding="raw", timed=True, metadata=True, voice=True, notices=True)
    assert with_options(once, encoding="lz4", timed=True, metadata=True, voice=True, notices=True) == once


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no scheme"),
        ("localhost:8080", "no scheme"),
        ("ftp://h/ws", "schemes"),
        ("ws://", "no host"),
        ("ws:///ws", "no host"),
        ("ws://:80/ws", "no host"),
        ("ws://h:99999/ws", "ort"),
        ("ws://h:abc/ws", "ort"),
        ("ws://h:0/ws", "port"),
        ("ws://[::1/ws", "not an address"),
        ("ws://h/ws#part", "fragment"),
        ("ws://h/a b", "blanks"),
        ("ws://h/\x1b[2J", "control"),
        ("ws://h/ws\n", "control"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(url, says):
    with pytest.raises(UsageError, match=says):
        with_options(url)


def test_a_missing_scheme_is_proposed():
    with pytest.raises(UsageError) as caught:
        with_options("localhost:8080/ws")
    assert caught.value.hint == "perhaps ws://localhost:8080/ws"


def test_an_unknown_encoding_names_the_known_ones():
    with pytest.raises(UsageError, match="raw, lz4, compact"):
        with_options("ws://h", encoding="zip")


def test_passwords_are_not_shown():
    assert shown("wss://user:secret@h:1/ws?a=1") == "wss://h:1/ws?a=1"


@pytest.mark.processes
def test_the_life_cycle_loads_no_aiohttp():
    code = (
        "import sys, vfctl.client.lifecycle, vfctl.client.url; "
        "assert 'aiohttp' not in sys.modules; "
        "from vfctl.client import connect; "
        "assert 'aiohttp' in sys.modules and connect.__module__ == 'vfctl.client.connection'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
