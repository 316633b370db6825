"""What comes of training a target once? Its score on held-out examples, what diagnosis says of it,
and what the next edit may know; a crash is an outcome, no error."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn
from torch.optim import Optimizer

from trainwright.core.diagnosis import Diagnosis
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.facts import Facts, ScoreFacts, with_known
from trainwright.core.history import History
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord
from trainwright.core.task import LOWER_IS_BETTER
from trainwright.diagnose.judge import judge
from trainwright.edit.edit import Target
from trainwright.edit.loop import Trained, train
from trainwright.edit.program import Program
from trainwright.exam.rate import with_measured_rate
from trainwright.recipe import Recipe
from trainwright.remedy.past import trained
from trainwright.run.assemble import assemble
from trainwright.run.attach import Watch
from trainwright.run.facts import facts_of
from trainwright.run.recall import judge_stored
from trainwright.run.surroundings import own_randomness

BALANCED = "balanced_accuracy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One training of a target at one seed. `score` is larger when better, None when the run
    crashed or left the numbers; `resolution` the score's smallest step."""

    seed: int
    score: float | None
    metric: str = ""
    state: str = "finished"
    seconds: float = 0.0
    num_parameters: int = 0
    resolution: float = 0.0
    diagnosis: Diagnosis = field(default_factory=Diagnosis)
    facts: Facts | None = None
    history: History | None = None
    resolved: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""  # why there is no score

    @property
    def measured(self) -> ScoreFacts | None:
        """What was measured of the answers and of what can be had, in the task's own metric."""
        return self.facts.score if self.facts is not None else None

    @property
    def known(self) -> ScoreFacts | None:
        """What can be had on these examples, as far as that is known, in this metric."""
        score = self.measured
        if score is None or self.metric != BALANCED or score.metric == BALANCED:
            return score
        constant = 1 / max(1, _num_seen(score))
        return replace(score, metric=BALANCED, constant=constant, reference=None, linear=None,
                       reference_sd=None)  # fmt: skip

    def balanced(self) -> "Visit":
        """The same training by its balanced accuracy; itself where recalls are not known.

        Source: Brodersen et al. 2010, The balanced accuracy and its posterior distribution.
        """
        score = self.measured
        if self.score is None or score is None or not _num_seen(score):
            return self
        value = float(np.nanmean(score.recalls))
        return replace(self, score=value, metric=BALANCED, resolution=0.0)


def _num_seen(score: ScoreFacts) -> int:
    """How many classes occur among the examples that were judged."""
    return int(np.isfinite(score.recalls).sum())


def visit(
    target: Target,
    seed: int,
    *,
    metric: str | None = None,
    allow_code: bool = False,
    known: ScoreFacts | None = None,
    past: str = "",
) -> Visit:
    """Trains and diagnoses once; of a program whose loop breaks, what is known before its first
    step is judged. `known` is what `known_of` says can be had on a recipe's data, and `past` the
    file of `remedy.past`.

    Raises nothing but KeyboardInterrupt and wrong use of `metric`.
    """
    try:
        if isinstance(target, Program):
            seen = _visit_program(target, seed)
            return seen.balanced() if metric == BALANCED else seen
        return _visit_recipe(target, seed, metric, allow_code, known, past)
    except _NoMetric:
        raise
    except Exception as error:  # users' networks may raise anything
        reason = error.what if isinstance(error, TrainwrightError) else (
            f"{type(error).__name__}: {error}")  # fmt: skip
        facts = target.facts if isinstance(target, Program) else None
        return Visit(
            seed=seed, score=None, state="failed", reason=reason[:300], facts=facts,
            diagnosis=judge(facts) if facts is not None else Diagnosis(),
        )  # fmt: skip


def known_of(target: Target, *, allow_code: bool = False) -> ScoreFacts | None:
    """What quick learners and the best constant answer reach on a recipe's data, in about a second;
    None for a program, whose facts say it themselves, and where it cannot be found out."""
    if isinstance(target, Program):
        return None
    try:
        with own_randomness(target.seed):
            assembly = assemble(target, allow_code=allow_code)
            try:
                return facts_of(assembly, reference=True).score
            finally:
                assembly.prepared.close()
    except Exception:  # the run says better what is wrong
        return None


class _NoMetric(TrainwrightError):
    """A metric was asked for that the task has not."""


def _visit_program(program: Program, seed: int) -> Visit:
    watches: list[Watch] = []

    def watch(model: nn.Module, optimizer: Optimizer) -> Watch:
        held = program.valid
        watches.append(Watch(
            model, optimizer, loss=program.loss, data=program.train.as_given(),
            valid=held.as_given() if held is not None else None,
            batch_size=program.habits.batch_size, known=_had(program),
        ))  # fmt: skip
        return watches[0]

    trained: Trained = train(program, seed, watch=watch)
    seen = watches[0]
    facts = seen.facts()
    name = facts.score.metric if facts.score is not None else "accuracy"
    rows = program.judged.num_rows
    return Visit(
        seed=seed, score=_finite(trained.score), metric=name, state=trained.state,
        seconds=trained.seconds, num_parameters=trained.num_parameters,
        resolution=1 / rows if name == "accuracy" else 0.0,
        diagnosis=seen.diagnose(), facts=facts, history=seen.history,
    )  # fmt: skip


def _had(program: Program) -> ScoreFacts | None:
    """What can be had, known of the program as it was given."""
    score = program.facts.score
    return score if score is not None and score.reference is not None else None


def _visit_recipe(
    recipe: Recipe, seed: int, metric: str | None, allow_code: bool, known: ScoreFacts | None,
    past: str,
) -> Visit:  # fmt: skip
    """A whole run apart from the user's store, judged and diagnosed as any."""
    seeded = recipe.model_copy(update={"seed": seed, "baselines": False})
    if seeded.algorithm.learning_rate == "measured":
        seeded, _ = with_measured_rate(seeded, allow_code=allow_code)
    record, readings = trained(seeded, past, allow_code=allow_code)
    record = _with_known(record, known)
    found, history = judge_stored(record, readings)
    name, value, count = _score(record, metric)
    return Visit(
        seed=seed, score=_finite(value), metric=name, state=record.state, seconds=record.seconds,
        num_parameters=record.num_parameters, diagnosis=found, facts=record.facts, history=history,
        resolved=record.resolved, resolution=1 / count if name == "accuracy" and count else 0.0,
    )  # fmt: skip


def _finite(score: float | None) -> float | None:
    """A score that is no number is none: R2 of targets that do not vary."""
    return score if score is not None and math.isfinite(score) else None


def _with_known(record: RunRecord, known: ScoreFacts | None) -> RunRecord:
    """The record with what can be had on its data."""
    if known is None or record.facts is None:
        return record
    return replace(record, facts=with_known(record.facts, known))


def _score(record: RunRecord, metric: str | None) -> tuple[str, float | None, int]:
    """(metric, its value as larger is better, number of held-out examples); an empty name when
    the run was not judged."""
    split = next((s for s in ("test", "valid", "train") if s in record.metrics), None)
    if split is None:
        return "", None, 0
    measured = record.metrics[split]
    name = metric or ("r2" if "r2" in measured else "accuracy")
    if name not in measured:
        raise _NoMetric(
            phrase("there is no metric {name}", name=shown(name)),
            allowed=", ".join(measured),
            do=phrase("name one of these, or leave it out"),
        )
    value = measured[name].value
    understanding = record.understanding
    count = understanding.num_examples.get(split, 0) if understanding is not None else 0
    return name, -value if name in LOWER_IS_BETTER else value, count
