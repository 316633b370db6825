"""How does an exam train a recipe as a run does? In memory, by the run's own loop: for what a
program of live parts leaves out."""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainwright.core.records import RunRecord
from trainwright.exam.arms import LEAST_GAIN, MOST_PAIRS, chance_of, verdict_of
from trainwright.exam.exam import Answer, Terms
from trainwright.recipe import Recipe, edit
from trainwright.run.begin import run_in_memory

SHARE_OF_TIME = 0.2  # of the exam's, that one of its runs trains for [assumed]


def compared_recipes(recipe: Recipe, settings: Mapping[str, Any], terms: Terms) -> Answer:
    """Runs of a recipe and of it with knobs turned, both for as many seconds, in pairs of seeds as
    long as the time allows."""
    began = time.perf_counter()
    budget = {"budget": f"{max(1.0, SHARE_OF_TIME * terms.seconds):g}s"}
    sides = [edit(recipe, budget), edit(recipe, {**budget, **settings})]
    scores: list[list[float]] = []
    metric = "accuracy"
    while len(scores) < MOST_PAIRS:
        seed = terms.seed + len(scores)
        pair = [_run(side, seed, terms.allow_code) for side in sides]
        metric = pair[0][0]
        scores.append([score for _, score in pair])
        terms.tell(len(scores) / MOST_PAIRS)
        spent = time.perf_counter() - began
        if spent * (1 + 1 / len(scores)) > terms.seconds:
            break
    table = np.array(scores)
    gains = table[:, 1] - table[:, 0]
    noise = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else LEAST_GAIN
    gain = float(gains.mean())
    chance = chance_of(gain, noise)
    return Answer(
        verdict=verdict_of(chance), chance=chance,
        values={"metric": metric, "pairs": float(len(scores)), "before": float(table[:, 0].mean()),
                "after": float(table[:, 1].mean()), "gain": gain},
    )  # fmt: skip


def _run(recipe: Recipe, seed: int, allow_code: bool) -> tuple[str, float]:
    """(metric, its value on the validation rows; 0 for a run that failed)."""
    seeded = recipe.model_copy(update={"seed": seed, "baselines": False})
    return _score(run_in_memory(seeded, command="exam", allow_code=allow_code).record)


def _score(record: RunRecord) -> tuple[str, float]:
    measured = record.metrics.get("valid") or record.metrics.get("train") or {}
    name = "r2" if "r2" in measured else "accuracy"
    return name, measured[name].value if name in measured else 0.0
