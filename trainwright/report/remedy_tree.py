"""How does a search for remedies read? One line for each thing tried, under what it was tried on;
what brought nothing is folded into a count."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from rich.text import Text
from rich.tree import Tree

from trainwright.core.words import say
from trainwright.remedy.heal import Healing
from trainwright.remedy.search import Step
from trainwright.report import format as show
from trainwright.report.terminal import tame

SIGNS = {"first": "●", "better": "✓", "same": "·", "worse": "✗", "failed": "✗",
         "not applicable": "–"}  # fmt: skip
STYLES = {"better": "green", "same": "dim", "worse": "red", "failed": "red",
          "not applicable": "dim"}  # fmt: skip
LONGEST_REASON = 90  # characters of a reason on a line of its own [assumed]


def best_step(steps: Sequence[Step]) -> Step:
    """The best run so far, as the search ranks them; the first where none has a score."""
    scored = [step for step in steps if step.score is not None or step.parent < 0]
    return max(scored, key=lambda step: step.rank)


def path_to(step: Step, steps: Sequence[Step]) -> tuple[Step, ...]:
    """From the first run to `step`, each remedy applied on top of the one before."""
    by_number = {one.number: one for one in steps}
    path = [step]
    while path[-1].parent in by_number:
        path.append(by_number[path[-1].parent])
    return tuple(reversed(path))


def kept_path(found: Healing) -> tuple[Step, ...]:
    """The first run and the remedies that were kept; the first run alone where none was."""
    return path_to(found.steps[found.kept], found.steps)


def kept_remedies(found: Healing) -> list[tuple[str, int]]:
    """(remedy, how many times it was applied), in the order of the first; what was left out again
    is not counted."""
    counts = Counter[str]()
    for step in kept_path(found)[1:]:
        for name in step.remedies:
            counts[name] += -1 if step.left_out else 1
    return [(name, times) for name, times in counts.items() if times > 0]


def gain(step: Step, steps: Sequence[Step]) -> float | None:
    """By how much it scores above what it was tried on; None where either has no score."""
    parent = next((one for one in steps if one.number == step.parent), None)
    if parent is None or parent.score is None or step.score is None:
        return None
    return step.score - parent.score


def children(step: Step, steps: Sequence[Step]) -> list[Step]:
    """What was tried on it, in the order of trying."""
    return [one for one in steps if one.parent == step.number]


# --- words ---------------------------------------------------------------------------------------


def step_name(step: Step) -> str:
    """The remedy's name; the first run is called so, and one left out again too."""
    if not step.remedy:
        return say("healing.first_run")
    name = tame(step.remedy)
    return say("healing.left_out", remedy=name) if step.left_out else name


def step_result(step: Step, steps: Sequence[Step]) -> str:
    """`0.962 (+0.450)`; or why there is no score."""
    if step.score is None:
        said = say(f"healing.judged.{step.judged.replace(' ', '_')}")
        reason = tame(step.reason)
        if len(reason) > LONGEST_REASON:
            reason = reason[: LONGEST_REASON - 1] + "…"
        return said + say("diagnosis.colon") + reason if reason else said
    gained = gain(step, steps)
    return show.share(step.score) + (f" ({_signed(gained)})" if gained is not None else "")


def step_asked(step: Step) -> str:
    """`for A401`: which finding asked for it; empty for what helps in general."""
    return say("healing.asked_by", code=step.code) if step.code else ""


def step_open(step: Step) -> str:
    """`open: A401 A403`; empty where the run has no score, for then nothing was judged."""
    if step.judged in ("failed", "not applicable"):
        return ""
    codes = " ".join(step.open)
    return say("healing.open", codes=codes) if codes else say("healing.nothing_open")


def folded_words(steps: Sequence[Step]) -> str:
    """`12 tried without gain, 3 that do not fit`."""
    counts = Counter("unfit" if s.judged == "not applicable" else "tried" for s in steps)
    return say("report.between").join(
        say(f"healing.folded_{kind}", count=counts[kind]) for kind in ("tried", "unfit")
        if counts[kind]
    )  # fmt: skip


def plain_line(step: Step, steps: Sequence[Step]) -> str:
    """`✓ lower_learning_rate  0.962 (+0.450)  for A401  open: A403`."""
    parts = (step_name(step), step_result(step, steps), step_asked(step), step_open(step))
    return f"{SIGNS[step.judged]} " + "  ".join(part for part in parts if part)


def _signed(value: float) -> str:
    text = show.share(value)
    return f"+{text}" if value > 0 else text


# --- terminal ------------------------------------------------------------------------------------


def tree(steps: Sequence[Step], shown: Collection[int], *, folds: bool = True) -> Tree:
    """Those steps whose numbers are in `shown`, one a line; others as counts, with `folds`."""
    root = Tree(_line(steps[0], steps), guide_style="dim")
    _grow(root, steps[0], steps, shown, folds)
    return root


def num_lines(steps: Sequence[Step], shown: Collection[int]) -> int:
    """How many lines `tree` takes."""
    folds = {one.parent for one in steps if one.number not in shown and one.parent in shown}
    return len(set(shown)) + len(folds)


def _grow(
    branch: Tree, step: Step, steps: Sequence[Step], shown: Collection[int], folds: bool
) -> None:  # fmt: skip
    below = children(step, steps)
    for one in below:
        if one.number in shown:
            _grow(branch.add(_line(one, steps)), one, steps, shown, folds)
    hidden = list(_under([one for one in below if one.number not in shown], steps))
    if hidden and folds:
        branch.add(Text(f"… {folded_words(hidden)}", style="dim", no_wrap=True,
                        overflow="ellipsis"))  # fmt: skip


def _under(roots: Sequence[Step], steps: Sequence[Step]) -> Iterator[Step]:
    for one in roots:
        yield one
        yield from _under(children(one, steps), steps)


def _line(step: Step, steps: Sequence[Step]) -> Text:
    style = STYLES.get(step.judged, "")
    line = Text(f"{SIGNS[step.judged]} ", style=style, no_wrap=True, overflow="ellipsis")
    line.append(step_name(step), style="bold" if step.judged in ("first", "better") else "")
    line.append(f"  {step_result(step, steps)}")
    for part in (step_asked(step), step_open(step)):
        line.append(f"  {part}" if part else "", style="dim")
    return line
