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
from trainwright.report.phrases import metric_name, state_name

STYLES = {"cured": "green", "helped": "green", "worse": "red", "no effect": "yellow",
          "undecided": "dim"}  # fmt: skip


def comparison_card(found: Comparison) -> Panel:
    """At most 30 lines for up to 20 seeds."""
    first, second = found.arms
    verdict = Text(verdict_words(found), style=STYLES[found.verdict])
    lines: list[RenderableType] = [verdict, pairs_table(found), Text(effect_words(found))]
    if found.finding:
        lines.append(Text(finding_words(found)))
    last = (counted_words(found), cost_words(found))
    lines += [Text(words, style="dim") for words in last if words]
    lines += [Text(note, style="dim") for note in found.notes]
    return Panel(Group(*lines), title=f"{first.name} → {second.name}", title_align="left")


def pairs_table(found: Comparison, *, most: int | None = None) -> Table:
    """One line for each seed, of the first `most`, and how many more there are."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    first, second = found.arms
    for column in (say("compare.seed"), first.name, second.name, say("compare.difference")):
        table.add_column(column, justify="right")
    rows = pair_rows(found)
    for row in rows[:most]:
        table.add_row(*row)
    if most is not None and len(rows) > most:
        table.add_row("", "", "", Text(say("report.and_more", count=len(rows) - most), "dim"))
    return table


def pair_rows(found: Comparison) -> list[tuple[str, str, str, str]]:
    """(seed, first, second, difference) of each pair; a run without a score shows its state."""
    sign = -1.0 if found.metric in LOWER_IS_BETTER else 1.0
    rows: list[tuple[str, str, str, str]] = []
    for a, b in zip(*(arm.outcomes for arm in found.arms), strict=True):
        known = a.score is not None and b.score is not None
        difference = f"{b.score - a.score:+.4f}" if known else "–"  # pyright: ignore
        rows.append((str(a.seed), _value(a, sign), _value(b, sign), difference))
    return rows


def verdict_words(found: Comparison) -> str:
    """The verdict in a sentence."""
    return say(f"compare.verdict.{found.verdict.replace(' ', '_')}")


def effect_words(found: Comparison) -> str:
    """The mean difference with its interval."""
    low, high = found.interval
    return say("compare.effect", metric=metric_name(found.metric), effect=f"{found.effect:+.4f}",
               low=_bound(low), high=_bound(high), n=found.n)  # fmt: skip


def finding_words(found: Comparison) -> str:
    """In how many runs of each arm the finding was open."""
    return say("compare.finding", code=found.finding, before=found.open_before,
               after=found.open_after, n=found.n)  # fmt: skip


def scores(found: Comparison) -> list[tuple[float, float]]:
    """What each pair counts as, larger is better: a run without a score as the worst."""
    worst = found.worst
    return [(worst if a.score is None else a.score, worst if b.score is None else b.score)
            for a, b in zip(*(arm.outcomes for arm in found.arms), strict=True)]  # fmt: skip


def counted_words(found: Comparison) -> str:
    """What a run without a score counts as; empty where each has one."""
    if all(o.score is not None for arm in found.arms for o in arm.outcomes):
        return ""
    return say("compare_page.counted", worst=f"{found.worst:.4g}")


def cost_words(found: Comparison) -> str:
    """Seconds of all runs, and how large both networks are."""
    return say("compare.cost", seconds=f"{found.seconds:.0f}",
               first=f"{_parameters(found, 0):,}", second=f"{_parameters(found, 1):,}")  # fmt: skip


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
    return state_name(outcome.state) if outcome.score is None else f"{sign * outcome.score:.4f}"


def _bound(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "?"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _parameters(found: Comparison, arm: int) -> int:
    return max((o.num_parameters for o in found.arms[arm].outcomes), default=0)
