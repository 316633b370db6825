"""How does a measured claim read in a terminal? A card for each, a table of all, and bars while
they are measured."""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from trainwright.core.claims import ClaimNews, ClaimResult, Measured
from trainwright.core.words import LANGUAGES, known_codes, language, said_in, say
from trainwright.report import format as show
from trainwright.report.terminal import tame

STYLES = {"holds": "green", "differs": "red", "undecided": "yellow"}


# --- words ---------------------------------------------------------------------------------------


def title(code: str) -> str:
    """In the language spoken."""
    return say(f"lecture.{code}.title")


def other_titles(code: str) -> list[str]:
    """In each other language."""
    found = (said_in(one, f"lecture.{code}.title") for one in LANGUAGES if one != language())
    return [name for name in found if name]


def reading_words(result: ClaimResult) -> str:
    """What was found, in a sentence; values that a result of other code lacks leave it out."""
    try:
        return say(f"lecture.{result.claim}.reading", **result.measured.values)
    except (KeyError, ValueError):
        return ""


def effect_name(code: str) -> str:
    """What the effect is; a claim whose words do not say it has one called `effect`."""
    own = f"lecture.{code}.effect"
    return say(own) if own in known_codes("en") else say("lecture.head.effect")


def number(value: float) -> str:
    """Three figures: `0.446`, `5.7e-08`."""
    return show.number(value, 3)


def effect_words(measured: Measured) -> str:
    """`0.446, 95 % interval 0.42 to 0.47, n = 10`."""
    low, high = measured.interval
    return say("lecture.effect", effect=number(measured.effect), low=number(low),
               high=number(high), n=measured.n)  # fmt: skip


def note_words(note: str) -> str:
    """A note's sentence; text that is no code stands for itself."""
    return say(note) if note in known_codes("en") else note


# --- terminal ------------------------------------------------------------------------------------


def claim_card(result: ClaimResult, *, kept: bool = False) -> Panel:
    """Title in both languages, the lecture's sentence, verdict, effect, reading and rule."""
    code, measured = result.claim, result.measured
    verdict = Text(say(f"lecture.verdict_long.{measured.verdict}"),
                   style=f"bold {STYLES[measured.verdict]}")  # fmt: skip
    made = say("lecture.made", seconds=show.seconds(result.seconds), device=tame(result.device))
    lines: list[RenderableType] = [
        Text(say(f"lecture.{code}.sentence"), style="italic"), Text(""), verdict,
        Text(tame(f"{effect_name(code)}: {effect_words(measured)}")), Text(""),
        Text(tame(reading_words(result))), Text(""),
        Text(f"{say('lecture.head.rule')}: {say(f'lecture.{code}.rule')}", style="dim"),
        *(Text(tame(note_words(note)), style="yellow") for note in measured.notes),
        Text(made, style="dim"),
    ]  # fmt: skip
    if kept:
        lines.append(Text(say("lecture.kept"), style="dim"))
    names = " · ".join((code, title(code), *other_titles(code)))
    return Panel(Group(*lines), title=Text(names), title_align="left")


def claims_table(codes: Sequence[str], results: Mapping[str, ClaimResult]) -> Table:
    """One line each; what was not measured has no verdict."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("code", "title", "verdict", "effect", "interval", "n", "seconds"):
        right = name in ("effect", "n", "seconds")
        table.add_column(say(f"lecture.head.{name}"), justify="right" if right else "left",
                         no_wrap=name != "title", ratio=1 if name == "title" else None)  # fmt: skip
    for code in codes:
        table.add_row(code, title(code), *_row(results.get(code)))
    return table


def _row(result: ClaimResult | None) -> list[Text | str]:
    if result is None:
        return [""] * 5
    measured = result.measured
    low, high = measured.interval
    return [
        Text(say(f"lecture.verdict.{measured.verdict}"), style=STYLES[measured.verdict]),
        number(measured.effect), f"{number(low)} … {number(high)}", str(measured.n),
        show.seconds(result.seconds),
    ]  # fmt: skip


@contextmanager
def measuring(
    stream: TextIO, *, claims: int, quiet: bool
) -> Iterator[Callable[[ClaimNews], None]]:  # fmt: skip
    """What is told while claims are measured: on a terminal a bar for each at work and one for all,
    elsewhere a line for each that ended."""
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else _columns())
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        console=console, transient=True, disable=quiet or not stream.isatty(),
    )  # fmt: skip
    with bars:
        everything = bars.add_task(say("lecture.measuring"), total=claims)
        at_work: dict[str, object] = {}

        def tell(news: ClaimNews) -> None:
            if news.result is None and not news.reason:
                if news.claim not in at_work:
                    at_work[news.claim] = bars.add_task(
                        f"{news.claim} {title(news.claim)}", total=1
                    )
                bars.update(at_work[news.claim], completed=news.share)  # pyright: ignore[reportArgumentType]
                return
            if news.claim in at_work:
                bars.remove_task(at_work.pop(news.claim))  # pyright: ignore[reportArgumentType]
            bars.advance(everything)
            if not quiet:
                bars.console.print(ended_line(news), markup=False)

        yield tell


def ended_line(news: ClaimNews) -> str:
    """`C07  holds  20.1 s  Layers of linear maps are one linear map`."""
    if news.result is None:
        said = say("lecture.failed", reason=tame(news.reason))
        return f"{news.claim}  {said}"
    return say("lecture.one_done", code=news.claim, title=title(news.claim),
               verdict=say(f"lecture.verdict.{news.result.measured.verdict}"),
               seconds=show.seconds(news.result.seconds))  # fmt: skip


def plain(result: ClaimResult) -> dict[str, object]:
    """As JSON: numbers as they are, null where there is no bound."""
    measured = result.measured
    return {
        "claim": result.claim, "verdict": measured.verdict, "effect": _finite(measured.effect),
        "interval": [_finite(bound) for bound in measured.interval], "n": measured.n,
        "seconds": round(result.seconds, 3), "title": title(result.claim),
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _columns() -> int:
    return shutil.get_terminal_size((100, 24)).columns
