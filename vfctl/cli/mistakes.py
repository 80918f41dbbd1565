"""Wrong command lines: what is wrong, and what was probably meant.

`explain` prints the errors of the option parser in the form of all other errors. The `check_` functions are callbacks
of arguments.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import typer

from vfctl.cli.completion import described_commands, described_root
from vfctl.errors import UsageError
from vfctl.terminal.output import print_error

EXAMPLE_URL: Final = "ws://127.0.0.1:8765/ws"

_URL: Final = re.compile(r"(wss?|https?):/")
_HOST: Final = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+|\[[\da-fA-F:]+\])(:\d+)?(/.*)?|[\w-]+:\d+(/.*)?")
_FILE: Final = re.compile(r".*\.(mcap|bin|pcap|pcapng|har|json|graphml|ttl|csv|toml|wav|gz|zst)")
_OTHER_WORDS: Final = {
    "help": "vfctl --help",
    "version": "vfctl --version",
    "run": "vfctl loadtest --scenario NAME",
    "test": "vfctl loadtest",
    "start": "vfctl serve",
    "play": "vfctl replay",
    "print": "vfctl decode",
    "say": "vfctl voice send",
    "listen": "vfctl voice receive",
}
"""What people type for a command, and the command."""


def explain(error: Any, arguments: list[str]) -> int:
    """Print what is wrong with a command line; returns the exit code.

    Args:
        error: a `typer.TyperException`.
        arguments: the command line, without `vfctl`.
    """
    kind = type(error).__name__
    if kind == "NoArgsIsHelpError":
        sys.stderr.write(error.format_message() + "\n")
        return int(error.exit_code)
    if arguments[:1] == ["--log-level"]:
        arguments = arguments[2:]
    words, described = _command_of(arguments)
    path = " ".join(["vfctl", *words])
    look_up = f"{path} --help shows all options"
    if kind == "NoSuchOption":
        message, hint = f"{path} has no option {error.option_name}", _meant_option(error.option_name, words, described)
    elif kind == "BadOptionUsage":
        wanted = "takes no value" if "does not take" in error.message else "needs a value"
        wanted = "needs two values" if "2 arguments" in error.message else wanted
        message, hint = f"{error.option_name} {wanted}", _help_of(error.option_name, described)
    elif kind == "MissingParameter":
        name = _name_of(error.param)
        message, hint = f"{path} needs {name}", f"{name}: {error.param.help}"
    elif kind == "BadParameter":
        message, hint = _bad_value(error, described)
    elif error.message.startswith("No such command"):
        word = next((each for each in arguments[len(words) :] if not each.startswith("-")), "")
        message, hint = f"{path} has no command {word!r}", _meant_command(word, words, described)
    elif error.message.startswith("Got unexpected extra"):
        extra = error.message.partition(" (")[2].removesuffix(")")
        message, hint = f"{path} does not take the argument {extra!r}", _place_of(extra, described)
    else:
        message, hint = error.format_message(), None
    print_error(UsageError(message, hint=hint or look_up))
    return int(error.exit_code)


def closest(word: str, known: Iterable[str], count: int = 1) -> list[str]:
    """The names that are nearly the same as a word, also if it differs in case, hyphens and underscores."""
    plain = {re.sub(r"[-_]", "", name.lower()): name for name in known}
    found = difflib.get_close_matches(re.sub(r"[-_]", "", word.lower()), plain, n=count, cutoff=0.65)
    return [plain[name] for name in found]


def check_url(context: typer.Context, parameter: typer.CallbackParam, url: str | None) -> str | None:
    """Callback of arguments and options that take the URL of a server.

    Raises:
        UsageError: a file, a bare host or port, or nothing; with the URL that was probably meant.
    """
    if url is None or (_URL.match(url) and "://" in url):
        return url
    name, meant = _name_of(parameter), None
    scenarios = described_commands()["loadtest"]["options"]["--scenario"]["values"]
    if _URL.match(url):
        meant = re.sub(r":/+", "://", url)
    elif url.isdecimal():
        meant = f"ws://127.0.0.1:{url}/ws"
    elif url in scenarios and context.info_name == "loadtest":
        raise UsageError(f"{name} is {url!r}, which is a scenario", hint=f"did you mean --scenario {url}?")
    elif _FILE.fullmatch(url) or Path(url).is_file():
        raise UsageError(f"{name} is {url!r}, which is a file; expected a URL", hint=_order(context))
    elif _HOST.fullmatch(url):
        host, slash, path = url.partition("/")
        meant = f"ws://{host if re.search(r':[0-9]+$', host) else f'{host}:8765'}/{path if slash else 'ws'}"
    elif "://" in url:
        return url  # of another scheme: the client names those that it accepts
    hint = f"did you mean {meant}?" if meant else f"for example {EXAMPLE_URL}"
    raise UsageError(f"{name} is {url!r}, expected a URL", hint=hint)


def check_file(context: typer.Context, parameter: typer.CallbackParam, file: Any) -> Any:
    """Callback of arguments that take a file, or several.

    Raises:
        UsageError: a URL, or input and output are swapped.
    """
    for each in map(str, file if isinstance(file, list) else [file]):
        if _URL.match(each):
            url = re.sub(r":/+", "://", each)
            elsewhere = {
                "decode": f"record it first: vfctl record {url} run.mcap",
                "serve": f"vfctl watch {url} shows what a server sends",
                "replay": f"--to {url} sends the recording there",
            }
            hint = elsewhere.get(context.info_name or "", _order(context))
            raise UsageError(f"{_name_of(parameter)} is {url!r}, which is a URL; expected a file", hint=hint)
    first = context.params.get("file")
    if parameter.name == "out" and first not in (None, "-") and not Path(first).exists() and Path(file).is_file():
        raise UsageError(f"there is no file {first}, but {file} exists", hint=_order(context))
    return file


def _command_of(arguments: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The command that was called: its words, and its description."""
    words: list[str] = []
    described = described_root()
    for argument in arguments:
        if argument in described.get("commands", ()):
            described = described["commands"][argument]
            words.append(argument)
        elif not argument.startswith("-"):
            break
    return words, described


def _all_commands(commands: dict[str, Any] | None = None, path: str = "vfctl") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, described in (described_commands() if commands is None else commands).items():
        yield f"{path} {name}", described
        yield from _all_commands(described.get("commands", {}), f"{path} {name}")


def _meant_option(option: str, words: list[str], described: dict[str, Any]) -> str | None:
    options = described["options"]
    if len(option) == 2:
        same_letter = [name for name in options if name.startswith(f"-{option}")]
        return f"did you mean {' or '.join(same_letter)}?" if same_letter else None
    for name, each in options.items():
        if option[2:] in each.get("values", ()):
            return f"did you mean {name} {option[2:]}?"
    if near := closest(option, options):
        return f"did you mean {near[0]}?"
    owners = [path for path, each in _all_commands() if option in each["options"]]
    return f"{option} is an option of {', '.join(owners)}" if owners else None


def _meant_command(word: str, words: list[str], described: dict[str, Any]) -> str | None:
    path = " ".join(["vfctl", *words])
    if _URL.match(word):
        return f"did you mean vfctl watch {word}?"
    if near := closest(word, described["commands"]):
        return f"did you mean {path} {near[0]}?"
    if word in _OTHER_WORDS:
        return f"did you mean {_OTHER_WORDS[word]}?"
    elsewhere = [each for each, _ in _all_commands() if each.endswith(f" {word}")]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    if Path(word).is_file():
        return f"did you mean vfctl decode {word}?"
    return f"the commands are {', '.join(described['commands'])}"


def _bad_value(error: Any, described: dict[str, Any]) -> tuple[str, str | None]:
    name, hint = _name_of(error.param), None
    cause = error.__cause__
    value = cause.errors()[0]["input"] if hasattr(cause, "errors") else None
    choices = error.param.type_descriptor.choices
    if choices:
        names = [str(getattr(choice, "value", choice)) for choice in choices]
        expected = f"expected {', '.join(names[:-1])} or {names[-1]}"
        if near := closest(str(value), names):
            hint = f"did you mean {near[0]}?"
    else:
        low, high = error.param.min, error.param.max
        expected = "expected a number" if error.param.type_descriptor.annotation is float else "expected a whole number"
        if low is not None or high is not None:
            expected += f" from {low:g}" + ("" if high is None else f" to {high:g}")
    if value in described["options"]:
        return f"{name} needs a value, but {value} follows", _help_of(name, described)
    return f"{name} is {str(value)!r}, {expected}", hint or _help_of(name, described)


def _place_of(extra: str, described: dict[str, Any]) -> str | None:
    """The option for which an extra argument was probably meant."""
    kinds = (
        (re.fullmatch(r"\d+[kM]?", extra), ("--clients", "--nodes", "--limit")),
        (_URL.match(extra), ("--to",)),
        (re.search(r"[<>=]", extra), ("--gate",)),
        (re.search(r"\.\w+$", extra), ("--output", "--out")),
    )
    for matches, names in kinds:
        name = next((name for name in names if name in described["options"]), None)
        if matches and name:
            return f"did you mean {name} {extra!r}?" if " " in extra else f"did you mean {name} {extra}?"
    return None


def _help_of(name: str, described: dict[str, Any]) -> str | None:
    option = described["options"].get(name)
    return f"{name}: {option['help']}" if option else None


def _name_of(parameter: Any) -> str:
    """`--clients`, `URL`."""
    option = str(parameter.opts[-1])
    return option if option.startswith("-") else str(parameter.metavar or parameter.name.upper())


def _order(context: typer.Context) -> str:
    names = [_name_of(each) for each in context.command.params if each.param_type_name == "argument"]
    return f"the arguments are: {' '.join([context.command_path, *names])}"
