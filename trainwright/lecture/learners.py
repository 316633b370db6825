"""Is a network with another learner's objective that learner? A net of one layer with the hinge
loss beside the support vector machine, with trees on the same rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainwright.core.claims import Measured, Picture, Series
from trainwright.lecture.claim import Pace, repetitions, verdict_within
from trainwright.lecture.training import mean_interval, ready, recipe_of, trained
from trainwright.recipe import Recipe

SETS = ("breast_cancer", "wine", "digits")
MARGIN = 0.02  # of accuracy: the net and the machine are alike within it [assumed]
SVM = "linear_svm"
OTHERS = ("tree", "boosted_trees", "logistic", "constant")
SETTINGS: Mapping[str, Any] = {
    "model.name": "linear", "loss.name": "hinge", "data.valid_fraction": 0.0,
    "data.test_fraction": 0.3, "algorithm.optimizer": "sgd", "algorithm.momentum": 0.9,
    "algorithm.weight_decay": 0.0, "algorithm.learning_rate": 0.1, "algorithm.keep": "last",
    "budget": "1000 steps",
}  # fmt: skip
Scores = Mapping[str, float]  # learner -> accuracy on the test rows; "net" is ours


def measure_c03(pace: Pace) -> Measured:
    """Three tables; a seed is a split and an order. Every learner sees the same rows."""
    scores: list[dict[str, Scores]] = []
    for seed in repetitions(pace):
        scores.append({})
        for at, name in enumerate(SETS):
            scores[-1][name] = compared(hinge_recipe(name, seed))
            pace.tell((seed + (at + 1) / len(SETS)) / pace.seeds)
    return judged(scores)


def hinge_recipe(name: str, seed: int) -> Recipe:
    """|w|^2 / 2 + C sum hinge, divided by C n, is mean hinge + l2 |w|^2 / 2 with l2 = 1 / (C n);
    C = 1 as scikit-learn's machine has it, n the training rows."""
    plain = recipe_of({**SETTINGS, "data.source": f"sklearn:{name}"}, seed)
    with ready(plain) as assembly:
        rows = len(assembly.prepared.train)
    settings = {**SETTINGS, "data.source": f"sklearn:{name}", "algorithm.l2": 1 / rows}
    return recipe_of(settings, seed, baselines=True)


def compared(recipe: Recipe) -> Scores:
    """The recipe's network and the simple learners that are fitted beside it."""
    run = trained(recipe)
    found = {one.name: one.metrics["accuracy"].value for one in run.record.baselines}
    return {"net": run.metric("accuracy"), **found}


def judged(scores: Sequence[Mapping[str, Scores]]) -> Measured:
    """Holds when the mean difference to the machine over the tables, paired by split, is within
    MARGIN for sure: an interval that lies inside is a test of equivalence."""
    differences = [
        float(np.mean([table["net"] - table[SVM] for table in split.values()])) for split in scores
    ]
    interval = mean_interval(differences)
    values: dict[str, float | str] = {"margin": MARGIN, "tables": len(SETS)}
    for learner in ("net", SVM, *OTHERS):
        values[learner] = float(np.mean([t[learner] for split in scores for t in split.values()]))
    return Measured(verdict=verdict_within(interval, (-MARGIN, MARGIN)),
                    effect=float(np.mean(differences)), interval=interval, n=len(scores),
                    values=values, pictures=(_picture(scores),))  # fmt: skip


def _picture(scores: Sequence[Mapping[str, Scores]]) -> Picture:
    """Each learner over the machine, a dot for each table and split."""
    pairs = [table for split in scores for table in split.values()]
    machine = tuple(table[SVM] for table in pairs)
    series = [
        Series(name=f"lecture.series.{name}", dots=True, x=machine,
               y=tuple(table[name] for table in pairs))
        for name in ("net", "boosted_trees", "tree")
    ]  # fmt: skip
    ends = (min(machine), max(machine))
    series.append(Series(name="lecture.series.equal", x=ends, y=ends))
    return Picture(x="lecture.axis.svm_accuracy", y="lecture.axis.accuracy", series=tuple(series))
