"""How does healing read? A tree that grows while remedies are tried, and a card of at most 40 lines
in the end: the verdict, what was kept, the lines to change, and the proof."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.spinner import Spinner
from rich.text import Text

from trainwright.core.words import say
from trainwright.exam.exam import Exam
from trainwright.recipe import Recipe, diff, render
from trainwright.remedy.confirm import Again
from trainwright.remedy.heal import BUDGET_RUNS, LEAST_SECONDS, MOST_SECONDS, Healing, Tell, Told
from trainwright.remedy.search import Step
from trainwright.report import comparison, exams
from trainwright.report import format as show
from trainwright.report import remedy_tree as trees
from trainwright.report.boxes import fitted, plain_text
from trainwright.report.phrases import metric_name
from trainwright.report.remedy_pages import by_hand
from trainwright.report.rule_words import remedy_line, rule_name
from trainwright.report.terminal import tame

MOST_LINES = 40
STYLES = {"healthy": "green", "improved": "yellow", "stuck": "red", "left alone": "green"}
SIGNS = {"healthy": "✓", "improved": "✓", "stuck": "✗", "left alone": "✓"}


# --- while it goes on ----------------------------------------------------------------------------


@contextmanager
def progress(stream: TextIO, *, quiet: bool, budget: float | None = None) -> Iterator[Tell]:
    """What is told each step: on a terminal a tree grows over a clock of the `budget` in seconds,
    elsewhere each step is a line."""
    if quiet:
        yield lambda told: None
        return
    console = Console(file=stream, highlight=False, emoji=False)
    if not stream.isatty():
        steps: list[Step] = []

        def say_line(told: Told) -> None:
            if isinstance(told, Step):
                steps.append(told)
            console.print(_line_of(told, steps), markup=False, soft_wrap=True)

        yield say_line
        return
    growing = Growing(budget=budget)
    with Live(growing, console=console, transient=True, refresh_per_second=8):
        yield growing.tell


def _line_of(told: Told, steps: Sequence[Step]) -> str:
    """A step, an exam, or a run of the proof in one line."""
    if isinstance(told, Step):
        return trees.plain_line(told, steps)
    if isinstance(told, Exam):
        return f"? {exams.question_words(told)} {exams.answer_words(told)}"
    if isinstance(told, Again):
        score = show.share(told.score) if told.score is not None else say("healing.judged.failed")
        return f"= {say('healing.again', step=told.step, seed=told.seed, score=score)}"
    outcome = told.outcome
    score = show.share(outcome.score) if outcome.score is not None else say("healing.judged.failed")
    arm = say(f"healing.head.{('before', 'after')[told.arm]}")
    return f"= {say('healing.proving', seed=outcome.seed, arm=arm, score=score)}"


@dataclass(slots=True, kw_only=True)
class Growing:
    """The search as far as it is: the tree, in as many lines as the window has, and a clock with
    what is going on beside it."""

    steps: list[Step] = field(default_factory=list)
    budget: float | None = None
    began: float = field(default_factory=time.perf_counter)
    _last: str = ""
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def tell(self, told: Told) -> None:
        """One thing more. Without a budget the search takes its own from how long the first run
        took."""
        if isinstance(told, Step):
            self.steps.append(told)
        self._last = "" if isinstance(told, Step) else _line_of(told, self.steps)
        if self.budget is None:
            usual = BUDGET_RUNS * (time.perf_counter() - self.began)
            self.budget = min(MOST_SECONDS, max(LEAST_SECONDS, usual))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        steps = tuple(self.steps)  # the search goes on meanwhile
        if steps:
            yield trees.tree(steps, in_lines(steps, max(3, console.size.height - 3)))
        words = "  ".join(filter(None, (self._clock(bool(steps)), self._last)))
        self._spinner.update(text=Text(words, style="dim", no_wrap=True, overflow="ellipsis"))
        yield self._spinner

    def _clock(self, begun: bool) -> str:
        used = show.clock(time.perf_counter() - self.began)
        if not begun or self.budget is None:
            return say("healing.clock_first", used=used)
        return say("healing.clock", used=used, budget=show.clock(self.budget))


def in_lines(steps: Sequence[Step], most: int) -> set[int]:
    """Which steps are shown in `most` lines: the path to the best one, and of the others as many of
    the latest as have room."""
    shown = {one.number for one in trees.path_to(trees.best_step(steps), steps)}
    for step in reversed(steps):
        more = shown | {one.number for one in trees.path_to(step, steps)}
        if trees.num_lines(steps, more) <= most:
            shown = more
    return shown


# --- in the end ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """How much is said: pairs of the proof, lines to change, codes that are left, exams, and
    whether what was tried in vain is counted."""

    pairs: int
    lines: int
    left: int
    exams: int
    folds: bool = True


_LEVELS = (
    Detail(pairs=10, lines=16, left=4, exams=4),
    Detail(pairs=5, lines=12, left=3, exams=3),
    Detail(pairs=3, lines=12, left=2, exams=2),
    Detail(pairs=0, lines=12, left=1, exams=1),
    Detail(pairs=0, lines=8, left=1, exams=1, folds=False),
    Detail(pairs=0, lines=4, left=1, exams=0, folds=False),
)


@dataclass(frozen=True, slots=True)
class HealingBox:
    """Draws itself with as much detail as 40 lines of the console's width hold."""

    found: Healing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from fitted(console, options, map(self._panel, _LEVELS), most_lines=MOST_LINES)

    def _panel(self, level: Detail) -> Panel:
        found = self.found
        parts: list[RenderableType] = [
            _text(f"{SIGNS[found.state]} {state_words(found)}", f"bold {STYLES[found.state]}"),
            _text(score_words(found), "dim"), *_asked(found, level),
            *_tried(found, level), *_changed(found, level), *_proof(found, level),
            *_left(found, level), *(_text(f"! {note}", "yellow") for note in found.notes),
            _text(say("healing.took", seconds=show.seconds(found.seconds)), "dim"),
        ]  # fmt: skip
        return Panel(Group(*parts), box=ROUNDED, border_style=STYLES[found.state], padding=(0, 1))


def healing_card(found: Healing) -> RenderableType:
    """The healing for `Console.print`, at most 40 lines."""
    return HealingBox(found)


def as_text(found: Healing, *, width: int = 100) -> str:
    """The same card as plain text, for `str()` and files."""
    return plain_text(healing_card(found), width=width)


def _asked(found: Healing, level: Detail) -> Iterator[RenderableType]:
    """What exams settled, each in one line."""
    if found.exams and level.exams:
        yield _head("healing.head.exams")
    for one in found.exams[: level.exams]:
        yield _indented(f"{say(f'exams.{one.name}.title')}: {exams.answer_words(one)}")
    if len(found.exams) > level.exams > 0:
        yield _indented(say("report.and_more", count=len(found.exams) - level.exams), "dim")


def _tried(found: Healing, level: Detail) -> Iterator[RenderableType]:
    """The tree, folded to what was kept."""
    if len(found.steps) > 1:
        yield _head("healing.head.tried")
        kept = {one.number for one in trees.kept_path(found)}
        yield Padding(trees.tree(found.steps, kept, folds=level.folds), (0, 0, 0, 2))


def _changed(found: Healing, level: Detail) -> Iterator[RenderableType]:
    """What was kept, in words, and the lines to change."""
    if not found.done:
        return
    yield _head("healing.head.changed")
    for remedy, times in trees.kept_remedies(found):
        yield _indented(remedy_line(remedy) + times_words(times))
    lines = change_lines(found)
    yield _head(lines_title(found))
    for line in lines[: level.lines]:
        yield _indented(line, "cyan")
    if len(lines) > level.lines:
        yield _indented(say("report.and_more", count=len(lines) - level.lines), "dim")


def _proof(found: Healing, level: Detail) -> Iterator[RenderableType]:
    proof = found.proof
    if proof is None:
        return
    yield _head("healing.head.proof")
    yield _indented(comparison.verdict_words(proof), comparison.STYLES[proof.verdict])
    yield _indented(comparison.effect_words(proof))
    if proof.finding:
        yield _indented(comparison.finding_words(proof))
    if level.pairs:
        yield Padding(comparison.pairs_table(proof, most=level.pairs), (0, 0, 0, 2))
        if counted := comparison.counted_words(proof):
            yield _indented(counted, "dim")


def _left(found: Healing, level: Detail) -> Iterator[RenderableType]:
    """What diagnosis still names."""
    if found.state == "left alone":
        return
    yield _head("healing.head.left")
    if not found.open:
        yield _indented(say("healing.nothing_left"))
        return
    named = [f"{code} {rule_name(code)}" for code in found.open]
    rest = len(named) - level.left
    listed = say("report.between").join(named[: level.left])
    yield _indented(listed + (say("report.between") + say("report.and_more", count=rest)
                              if rest > 0 else ""))  # fmt: skip
    yield from (_indented(line, "yellow") for line in hand_lines(found)[: level.left])


def hand_lines(found: Healing) -> list[str]:
    """What is left for a person: remedies of what is still named, that nobody else can apply."""
    of_recipe = isinstance(found.target, Recipe)
    names = [name for code in found.open for name in by_hand(code, of_recipe=of_recipe)]
    return [say("healing.by_hand", remedy=remedy_line(name)) for name in dict.fromkeys(names)]


# --- words that the page says too ----------------------------------------------------------------


def state_words(found: Healing) -> str:
    """The verdict in a sentence."""
    return say(f"healing.state.{found.state.replace(' ', '_')}", count=num_tried(found))


def num_tried(found: Healing) -> int:
    """How many remedies were trained with."""
    return sum(step.judged not in ("first", "not applicable") for step in found.steps)


def score_words(found: Healing) -> str:
    """`accuracy 0.102 → 0.972 on the examples held out, seed 0`; one number where nothing moved."""
    first, last = found.steps[0], trees.kept_path(found)[-1]
    before, after = show.share(first.score), show.share(last.score)
    if first is last:
        return say("healing.score", metric=metric_name(found.metric), score=before)
    return say("healing.scores", metric=metric_name(found.metric), before=before, after=after)


def times_words(times: int) -> str:
    """` (2 times)` for what was applied more than once."""
    return say("healing.times", times=times) if times > 1 else ""


def lines_title(found: Healing) -> str:
    """Whether knobs are turned or lines of the user's own code change."""
    return "healing.head.knobs" if isinstance(found.target, Recipe) else "healing.head.lines"


def change_lines(found: Healing) -> list[str]:
    """A line of code for each change; of a recipe `--set KNOB=VALUE` and what it was."""
    if not isinstance(found.target, Recipe):
        return [tame(line) for line in found.lines]
    return [f"{_typed(line)}  {say('healing.was', before=tame(str(done.values['before'])[1:-1]))}"
            for done in found.done for line in done.lines]  # fmt: skip


def _typed(line: str) -> str:
    """`--set KNOB=VALUE` as a shell takes it."""
    return f"--set {shlex.quote(tame(line.removeprefix('--set ')))}"


def plain(found: Healing) -> dict[str, object]:
    """As JSON: `kept` are the numbers of the steps that were kept, `recipe` the healed one in TOML
    (null for a network of one's own)."""
    kept = trees.kept_path(found)
    return {
        "state": found.state, "metric": found.metric, "score_before": found.steps[0].score,
        "score_after": kept[-1].score, "open": list(found.open),
        "kept": [step.number for step in kept[1:]],
        "changes": _changes(found), "lines": list(found.lines),
        "proof": comparison.plain(found.proof) if found.proof is not None else None,
        "steps": [
            {"number": s.number, "parent": s.parent, "remedy": s.remedy, "code": s.code,
             "judged": s.judged, "score": s.score, "skill": s.skill, "open": list(s.open),
             "seconds": s.seconds, "reason": s.reason, "left_out": s.left_out} for s in found.steps
        ],
        "exams": [exams.plain(one) for one in found.exams],
        "recipe": render(found.target, only_changed=True)
        if isinstance(found.target, Recipe) else None,
        "notes": list(found.notes), "seconds": round(found.seconds, 3),
    }  # fmt: skip


def _changes(found: Healing) -> list[dict[str, object]]:
    """Knobs with what they were and are, or edits with their values."""
    if isinstance(found.target, Recipe) and isinstance(found.before, Recipe):
        return [{"name": path, "before": _simple(old), "after": _simple(new)}
                for path, old, new in diff(found.before, found.target)]  # fmt: skip
    return [{"name": done.name, **{k: _simple(v) for k, v in done.values.items()}}
            for done in found.done]  # fmt: skip


def _simple(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _head(code: str) -> Text:
    return Text(say(code), style="bold dim", no_wrap=True, overflow="ellipsis")


def _text(value: str, style: str = "") -> Text:
    return Text(tame(value), style=style, overflow="fold")


def _indented(value: str, style: str = "") -> Padding:
    return Padding(_text(value, style), (0, 0, 0, 2))
