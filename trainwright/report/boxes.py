"""How does a box fit its place? It says as much as its lines hold, and is plain text where there is
no terminal."""

import io
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

WIDEST = 110  # longer lines are hard to follow [assumed]


def fitted(
    console: Console, options: ConsoleOptions, panels: Iterable[RenderableType], *, most_lines: int
) -> RenderResult:
    """The first of `panels`, ordered from the most that is said to the least, that has at most
    `most_lines`; the last one cut where none has."""
    narrow = options.update_width(min(options.max_width, WIDEST))
    lines: list[list[Segment]] = []
    for panel in panels:
        lines = console.render_lines(panel, narrow, pad=False)
        if len(lines) <= most_lines:
            break
    for line in lines[:most_lines]:
        yield from line
        yield Segment.line()


def plain_text(drawn: RenderableType, *, width: int) -> str:
    """The same without colour, for `str()` and files."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, highlight=False, emoji=False,
                      legacy_windows=False)  # fmt: skip
    console.print(drawn, end="")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
