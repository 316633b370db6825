"""How does a comparison read? A card: one line per seed, the effect with its interval, the verdict;
and a bar while its runs go on."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from trainwright.core.task import LOWER_IS_BETTER
from trainwright.core.words import say
from trainwright.remedy.arms import Tell
from trainwright.remedy.proof import Comparison, Outcome

STYLES = {"cured": "green", "helped": "green", "worse": "red", "no effect": "yellow",
          "undecided": "dim"}  # fmt: skip


def comparison_card(found: Comparison) -> Panel:
    """At most 30 lines for up to 20 seeds."""
    sign = -1.0 if found.metric in LOWER_IS_BETTER else 1.0
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    first, second = found.arms
    for column in (say("compare.seed"), first.name, second.name, say("compare.difference")):
        table.add_column(column, justify="right")
    for a, b in zip(first.outcomes, second.outcomes, strict=True):
        both = a.score is not None and b.score is not None
        difference = f"{b.score - a.score:+.4f}" if both else "–"  # pyright: ignore
        table.add_row(str(a.seed), _value(a, sign), _value(b, sign), difference)
    verdict = Text(say(f"compare.verdict.{found.verdict.replace(' ', '_')}"),
                   style=STYLES[found.verdict])  # fmt: skip
    low, high = found.interval
    lines: list[RenderableType] = [verdict, table, Text(say(
        "compare.effect", metric=found.metric, effect=f"{found.effect:+.4f}",
        low=_bound(low), high=_bound(high), n=found.n,
    ))]  # fmt: skip
    if found.finding:
        lines.append(Text(say("compare.finding", code=found.finding, before=found.open_before,
                              after=found.open_after, n=found.n)))  # fmt: skip
    lines.append(Text(say("compare.cost", seconds=f"{found.seconds:.0f}",
                          first=f"{_parameters(found, 0):,}",
                          second=f"{_parameters(found, 1):,}"), style="dim"))  # fmt: skip
    lines += [Text(note, style="dim") for note in found.notes]
    return Panel(Group(*lines), title=f"{first.name} → {second.name}", title_align="left")


@contextmanager
def progress(stream: TextIO, *, runs: int, quiet: bool) -> Iterator[Tell]:
    """What is called when a run ends: a bar on a terminal moves, elsewhere nothing does."""
    bar = Progress(
        TextColumn(say("compare.running")), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(file=stream), transient=True, disable=quiet or not stream.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=runs)
        yield lambda ended: bar.advance(task)


def plain(found: Comparison) -> dict[str, object]:
    """As JSON: numbers as they are, None where there is no bound."""
    low, high = found.interval
    return {
        "verdict": found.verdict, "metric": found.metric, "effect": found.effect,
        "interval": [_finite(low), _finite(high)],
        "bootstrap": [_finite(bound) for bound in found.bootstrap],
        "n": found.n, "finding": found.finding, "open_before": found.open_before,
        "open_after": found.open_after, "seconds": round(found.seconds, 3),
        "notes": list(found.notes),
        "arms": [
            {"name": arm.name, "outcomes": [
                {"seed": o.seed, "score": o.score, "state": o.state, "seconds": o.seconds,
                 "num_parameters": o.num_parameters, "open": list(o.open)} for o in arm.outcomes]}
            for arm in found.arms
        ],
    }  # fmt: skip


def _value(outcome: Outcome, sign: float) -> str:
    return outcome.state if outcome.score is None else f"{sign * outcome.score:.4f}"


def _bound(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "?"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _parameters(found: Comparison, arm: int) -> int:
    return max((o.num_parameters for o in found.arms[arm].outcomes), default=0)
