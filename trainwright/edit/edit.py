"""What is an edit? A name, and how it changes a recipe or a program; what it was given to know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trainwright.core.diagnosis import Finding
from trainwright.core.errors import RecipeError, TrainwrightError, shown
from trainwright.core.facts import Facts
from trainwright.core.history import History
from trainwright.core.phrases import phrase
from trainwright.edit.program import Done, Program
from trainwright.recipe import Recipe, diff, edit

Target = Recipe | Program
Knobs = Mapping[str, Any]


class NotApplicable(TrainwrightError):
    """An edit that means nothing here; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known when an edit is applied: the finding that it is to mend, what was seen of the
    run, the rate that a range exam liked, and what the recipe's `auto`s meant in its run."""

    finding: Finding | None = None
    facts: Facts | None = None
    history: History | None = None
    rate: float | None = None
    resolved: Mapping[str, Any] = field(default_factory=dict)

    def knob(self, recipe: Recipe, path: str) -> Any:
        """The value that a knob had in the run, `auto` resolved where that is known."""
        group, _, name = path.partition(".")
        table = self.resolved.get(group)
        if isinstance(table, Mapping) and name in table:
            return table[name]
        value: Any = recipe
        for part in path.split("."):
            value = getattr(value, part)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One thing to change. `knobs` says which knobs of a recipe to turn to what, `program` makes
    the changed program; None where it cannot be done there, with the reason in `instead`."""

    name: str
    program: Callable[[Program, Context], Program] | None = None
    knobs: Callable[[Recipe, Context], Knobs] | None = None
    instead: str = ""

    def apply(self, target: Target, context: Context) -> Target:
        """The edited target. Raises NotApplicable."""
        if isinstance(target, Program):
            if self.program is None:
                raise self._refused(phrase("a network of your own"))
            return self.program(target, context)
        if self.knobs is None:
            raise self._refused(phrase("a recipe"))
        turned = self.knobs(target, context)
        try:
            edited = edit(target, turned)
        except RecipeError as error:  # other knobs of the recipe stand against it
            raise refused(self.name, error.problems[0].what) from None
        if edited == target or all(context.knob(target, p) == v for p, v in turned.items()):
            raise nothing_to_change(self.name)
        return edited

    def _refused(self, target: str) -> NotApplicable:
        return NotApplicable(
            phrase("{name} cannot be applied to {target}", name=self.name, target=target),
            allowed=phrase("`trainwright explain` names the remedies of a finding"),
            do=self.instead or phrase("do it by hand, and train again"),
        )


def nothing_to_change(name: str) -> NotApplicable:
    """The error for an edit that would leave everything as it is."""
    return NotApplicable(
        phrase("{name} changes nothing here: it is so already", name=name),
        allowed=phrase("a target on which it has something to change"),
        do=phrase("try another remedy"),
    )


def refused(name: str, why: str) -> NotApplicable:
    """The error for an edit that does not fit; `why` is a whole phrase."""
    return NotApplicable(
        phrase("{name} does not fit here: {why}", name=name, why=why),
        allowed=phrase("a target that it fits"), do=phrase("try another remedy"),
    )  # fmt: skip


def changes(before: Target, after: Target) -> tuple[Done, ...]:
    """What was done to get from one to the other: edits of a program, or knobs of a recipe."""
    if isinstance(after, Program):
        assert isinstance(before, Program)
        return after.done[len(before.done) :]
    assert isinstance(before, Recipe)
    return tuple(
        Done(name=path, values={"before": shown(str(old)), "after": shown(str(new))},
             lines=(f"--set {path}={_word(new)}",))
        for path, old, new in diff(before, after)
    )  # fmt: skip


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def knob(path: str, value: Any) -> Callable[[Recipe, Context], Knobs]:
    """Turns one knob of a recipe."""

    def turn(recipe: Recipe, context: Context) -> Knobs:
        return {path: value}

    return turn


def habit(name: str, *lines: str, **habits: Any) -> Callable[[Program, Context], Program]:
    """Sets habits of a program's loop; `lines` are what a user would write."""

    def turn(program: Program, context: Context) -> Program:
        changed = replace(program.habits, **habits)
        if changed == program.habits:
            raise nothing_to_change(name)
        return program.after(Done(name=name, lines=lines), habits=changed)

    return turn
