"""Where does a page go that was asked for? Refused before anything trains, written in the end."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainwright.cli.output import console, refuse_place
from trainwright.core.words import say

Page = Annotated[str | None, Parameter(name="--report", help=say("option.page"))]


def can_be_written(place: str | None, option: str) -> None:
    """Refuses a file that cannot be written, now and not after minutes of training."""
    if place is not None:
        with refuse_place(place, option=option):
            path = Path(place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("ab").close()  # a folder of that name is refused, too


def write_page(render: Callable[[], str], place: str | None, *, quiet: bool) -> None:
    """The page that `render()` makes, in a file, if one was asked for."""
    if place is None:
        return
    with refuse_place(place, option="--report"):
        Path(place).write_text(render(), encoding="utf-8")
    if not quiet:
        console().print(say("healing.written", place=place), markup=False)
