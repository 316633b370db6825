"""Which exams are about the data? Inputs and targets scaled, shuffled or taken away, and fewer
examples."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.check.sample import Sample, first_tensor
from trainwright.core.claims import Picture, Series
from trainwright.core.phrases import phrase
from trainwright.edit.program import Program
from trainwright.exam.arms import (
    LEAST_GAIN,
    SAFETY,
    answer_of,
    compared,
    run_arm,
    seconds_per_step,
)
from trainwright.exam.exam import Answer, Likelihood, Question, Terms, not_here

CURVE_SHARES = (0.125, 0.25, 0.5, 1.0)
CURVE_SEEDS = 3
CURVE_DRAWS = 200
FEWEST_ROWS = 64  # of a training split that is cut to an eighth [assumed]
FOLDS = 5
LEAST_NEEDED = 0.05  # that a program must be better by than one that knows nothing [assumed]
MANY_ISSUES = 0.05  # of the labels that are doubted [paper: Northcutt et al. 2021, 3.3 % are usual]


def shuffled_labels(program: Program, terms: Terms) -> Answer:
    """Targets given to other rows: what is learned from them still is no relation to the inputs."""
    order = np.random.default_rng(terms.seed).permutation(program.train.num_rows)
    mixed = replace(program.train, targets=program.train.pick(order).targets)
    return _needed(program, replace(program, train=mixed), terms)


def zeroed_input(program: Program, terms: Terms) -> Answer:
    """Every input the same, in training and in judging."""
    if not any(isinstance(p, Tensor) for p in program.train.inputs):
        raise not_here("zeroed_input", phrase("the inputs are no tensors"))
    empty = replace(program, train=_zeroed(program.train), judged=_zeroed(program.judged))
    return _needed(program, empty, terms)


def _zeroed(sample: Sample) -> Sample:
    return replace(sample, inputs=tuple(
        torch.zeros_like(p) if isinstance(p, Tensor) else p for p in sample.inputs
    ))  # fmt: skip


def _needed(program: Program, without: Program, terms: Terms) -> Answer:
    """Is the program better than the one that lacks something? The control comes first."""
    pairs = compared(without, program, terms)
    found = answer_of(without, pairs, least=LEAST_NEEDED)
    control = replace(found.pictures[0], series=tuple(
        replace(line, name=name) for line, name in zip(
            found.pictures[0].series, ("exams.series.control", "exams.series.own"), strict=True)
    ))  # fmt: skip
    return replace(found, pictures=(control,))


def edited(name: str, edit: str) -> Callable[[Program, Terms], Answer]:
    """The arm of an edit of data, network, loss or algorithm."""

    def work(program: Program, terms: Terms) -> Answer:
        from trainwright.edit.catalogue import edit_named
        from trainwright.edit.edit import Context, NotApplicable

        context = Context(facts=program.facts, history=terms.history)
        try:
            changed = edit_named(edit).apply(program, context)
        except NotApplicable as error:
            raise not_here(name, error.what) from None
        assert isinstance(changed, Program)
        return answer_of(program, compared(program, changed, terms))

    return work


def augmentation_off(program: Program, terms: Terms) -> Answer:
    """A recipe's own runs with and without augmentation, in memory."""
    from trainwright.exam.runs import compared_recipes

    recipe = terms.recipe
    inputs = program.facts.inputs
    plain = inputs is not None and inputs.kind in ("table", "tokens")  # `auto` leaves them alone
    if recipe is None or recipe.data.augment == "none" or (
        plain and recipe.data.augment == "auto"
    ):  # fmt: skip
        raise not_here("augmentation_off", phrase("nothing is augmented"))
    return compared_recipes(recipe, {"data.augment": "none"}, terms)


def data_halves(program: Program, terms: Terms) -> Answer:
    """The learning curve loss of score(n) = a + b n^-c, from an eighth of the rows to all of them,
    each trained for as many steps: what would twice the rows bring?

    Source: Viering and Loog 2022, arXiv:2103.10948, the power law with a floor.
    """
    count = program.train.num_rows
    if count < FEWEST_ROWS:
        raise not_here("data_halves", phrase("{count} training rows are too few to halve",
                                             count=count))  # fmt: skip
    pace = seconds_per_step(program)
    arms = len(CURVE_SHARES) * CURVE_SEEDS
    steps = max(10, min(program.num_steps, int(SAFETY * terms.seconds / max(1e-9, arms * pace))))
    sizes = np.array([max(2, round(share * count)) for share in CURVE_SHARES])
    missed = np.array([[1 - _with_rows(program, int(size), terms.seed + seed, steps, terms)
                        for size in sizes] for seed in range(CURVE_SEEDS)])  # fmt: skip
    draws = _curve_draws(sizes, missed, terms.seed)
    now = missed[:, -1].mean()
    gain, low, high = (
        float(now - v) for v in (np.median(draws), *np.quantile(draws, [0.975, 0.025]))
    )
    verdict = "yes" if low >= LEAST_GAIN / 2 and gain >= LEAST_GAIN else (
        "no" if high < LEAST_GAIN else "undecided")  # fmt: skip
    cut = () if steps >= program.num_steps else ("exams.note.cut",)
    scores = 1 - missed
    line = Series(name="exams.series.score", x=tuple(map(float, sizes)),
                  y=tuple(scores.mean(0).tolist()), low=tuple(scores.min(0).tolist()),
                  high=tuple(scores.max(0).tolist()))  # fmt: skip
    values = {**_metric_value(program), "rows": float(count), "now": float(1 - now), "gain": gain,
              "low": low, "high": high, "half": float(1 - missed[:, -2].mean())}  # fmt: skip
    picture = Picture(x="exams.axis.rows", y="exams.axis.score", series=(line,), log_x=True)
    return Answer(verdict=verdict, values=values, pictures=(picture,), notes=cut)


def _metric_value(program: Program) -> dict[str, str]:
    known = program.facts.score
    return {"metric": known.metric if known is not None else "accuracy"}


def _with_rows(program: Program, size: int, seed: int, steps: int, terms: Terms) -> float:
    """Score after `steps` steps on that many rows; the smaller sets lie within the larger ones."""
    if size >= program.train.num_rows:
        return run_arm(program, seed, steps, terms).score
    order = np.random.default_rng(seed).permutation(program.train.num_rows)[:size]
    fewer = replace(program, train=program.train.pick(np.sort(order)))
    per_epoch = -(-size // program.habits.batch_size)
    needed = steps * program.habits.accumulate
    fewer = fewer.turned(epochs=-(-needed // per_epoch), most_steps=steps)
    return run_arm(fewer, seed, steps, terms).score


def _curve_draws(sizes: np.ndarray, missed: np.ndarray, seed: int) -> np.ndarray:
    """[draw] what the curve says of twice the rows, over resampled seeds: each size's own mean is
    drawn anew, so that the luck of a seed is in the spread."""
    from scipy.optimize import nnls

    own = np.random.default_rng(seed)
    powers = np.linspace(0.1, 1.0, 10)  # slopes that are met [paper: Hestness 2017, 1712.00409]
    relative = sizes / sizes[-1]
    found = np.empty(CURVE_DRAWS)
    for draw in range(CURVE_DRAWS):
        rows = own.integers(0, len(missed), size=missed.shape)
        means = np.take_along_axis(missed, rows, axis=0).mean(0)
        fits = []
        for power in powers:
            table = np.stack([np.ones_like(relative), relative**-power], axis=1)
            weights, rest = nnls(table, np.maximum(means, 0.0))
            fits.append((rest, float(weights[0] + weights[1] * 2.0**-power)))
        found[draw] = min(fits)[1]
    return found


def label_noise(program: Program, terms: Terms) -> Answer:
    """Labels that learners which did not see them find wrong, by confident learning.

    Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068; the package cleanlab.
    """
    from importlib import import_module, util

    targets, inputs = program.train.targets, first_tensor(program.train.inputs)
    known = program.facts.targets
    if known is None or known.kind not in ("indices", "zero_one") or inputs is None:
        raise not_here("label_noise", phrase("only labels of classes can be doubted"))
    if util.find_spec("cleanlab") is None:
        raise not_here("label_noise", phrase("the package cleanlab is not installed"),
                       do=phrase("install it: `pip install cleanlab`"))  # fmt: skip
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import cross_val_predict

    labels = targets.reshape(len(targets)).long().cpu().numpy()
    _, labels = np.unique(labels, return_inverse=True)
    flat = inputs.detach().cpu().reshape(len(inputs), -1).float().nan_to_num().numpy()
    learner = ExtraTreesClassifier(200, random_state=terms.seed, n_jobs=1)
    chances = cross_val_predict(learner, flat, labels, cv=FOLDS, method="predict_proba")
    filters: Any = import_module("cleanlab.filter")
    worst = filters.find_label_issues(labels=labels, pred_probs=chances, n_jobs=1,
                                      return_indices_ranked_by="self_confidence")  # fmt: skip
    share = len(worst) / len(labels)
    rows = ", ".join(str(int(row)) for row in worst[:10])
    return Answer(verdict="yes" if share >= MANY_ISSUES else "no",
                  values={"count": float(len(worst)), "share": share, "rows": rows})  # fmt: skip


QUESTIONS = (
    Question(name="shuffled_labels", work=shuffled_labels, trainings=4,
             about={"D105": Likelihood(0.03, 0.66, 7, 9), "D104": Likelihood(0.82, 0.64, 7, 8)}),
    Question(name="zeroed_input", work=zeroed_input, trainings=4,
             about={"D105": Likelihood(0.04, 0.66, 7, 9), "M202": Likelihood(0.13, 0.18, 5, 22)}),
    Question(name="standardised_inputs",
             work=edited("standardised_inputs", "standardise_inputs"), trainings=4,
             about={"D101": Likelihood(0.94, 0.13, 7, 8), "D102": Likelihood(0.64, 0.15, 6, 7)}),
    Question(name="standardised_target",
             work=edited("standardised_target", "standardise_target"), trainings=4,
             about={"D103": Likelihood(0.95, 0.1, 7, 0)}),
    Question(name="shuffled_epochs", work=edited("shuffled_epochs", "shuffle"), trainings=4,
             about={"D109": Likelihood(0.8, 0.05, 5, 0)}),
    Question(name="augmentation_off", work=augmentation_off, trainings=4,
             about={"M209": Likelihood(0.4, 0.1)}),
    Question(name="data_halves", work=data_halves, trainings=12,
             about={"D110": Likelihood(0.85, 0.3), "M208": Likelihood(0.7, 0.18, 0, 9)}),
    Question(name="label_noise", work=label_noise, steps=200,
             about={"D104": Likelihood(0.9, 0.1)}),
)  # fmt: skip
