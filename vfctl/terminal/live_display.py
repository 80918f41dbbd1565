"""What the live displays of long commands share: a picture that redraws on a terminal, and is not there elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live


class LiveDisplay:
    """Draws on a terminal while it is entered, and leaves nothing behind.

    Args:
        console: on stderr; without a terminal the picture is not drawn, and subclasses print lines instead.
        whole_screen: the picture takes the terminal's other screen, and all of it.
    """

    def __init__(self, console: Console, *, whole_screen: bool = False) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False, screen=whole_screen)
        self._next_s = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
