"""What does the size of a network do? The gap between training rows and new ones over parameters
and rows, the training error of nets that are too small, and a gap before and after shrinking."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from trainwright.core.claims import ClaimVerdict, Measured, Picture, Series
from trainwright.core.stats import Interval
from trainwright.edit.catalogue import edit_named
from trainwright.edit.edit import Context
from trainwright.lecture.claim import Pace, repetitions, verdict_of_all, verdict_within
from trainwright.lecture.training import mean_interval, recipe_of, trained
from trainwright.recipe import Recipe

# Two real sets, since noise decides what capacity does: what makes disease progress is hardly in
# diabetes' ten columns, while a digit's pixels say nearly all.
ROWS: Mapping[str, int] = {"diabetes": 442, "digits": 1797}
SCORE: Mapping[str, str] = {"diabetes": "r2", "digits": "accuracy"}
# Adam at a constant rate, nothing against overfitting, the last weights.
SETTINGS: Mapping[str, Any] = {
    "model.name": "mlp", "model.depth": 1, "data.valid_fraction": 0.0, "data.scale": "standardise",
    "algorithm.optimizer": "adam", "algorithm.learning_rate": 0.003, "algorithm.weight_decay": 0.0,
    "algorithm.schedule": "constant", "algorithm.warmup_steps": 0, "algorithm.batch_size": 32,
    "algorithm.precision": "float32", "algorithm.keep": "last", "budget": "500 steps",
}  # fmt: skip
GRID_WIDTHS, GRID_ROWS = (2, 8, 32, 128), (50, 100, 300)
CAPACITIES = (1, 2, 4, 8, 16, 32)
CAPACITY_RATES = (0.01, 0.03)  # the best is lower or higher by width [measured: seeds 100, 101]
TRAINED_SHARE = 0.7  # of all rows, for C14
UNDERFIT = 0.1  # an error above it has not fitted its rows [assumed]
LARGE, HALVINGS, FEW = 128, 4, 100  # units, a sixteenth of them at the end; rows [assumed]
ABOVE = (math.nextafter(0.0, 1.0), math.inf)  # what is 0 in every seed is neither above nor below
BELOW = (-math.inf, math.nextafter(0.0, -1.0))
MORE = 2  # times the pace's seeds for C18: on three, one set was undecided [measured: 100 to 102]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One trained net: its scores on training rows and on `new` ones, accuracy or R², 1 at best."""

    name: str
    width: int
    rows: int
    parameters: int
    train: float
    new: float

    @property
    def gap(self) -> float:
        return self.train - self.new

    @property
    def error(self) -> float:
        """On training rows."""
        return 1 - self.train


def recipe_for(name: str, seed: int, *, width: int, rows: int, **turned: Any) -> Recipe:
    """`rows` drawn from the set to train on, all others to look at once; further settings by their
    last name, `learning_rate=0.1`, of the algorithm."""
    own = {f"algorithm.{knob}": value for knob, value in turned.items()}
    settings = {"data.source": f"sklearn:{name}", "model.width": width,
                "data.test_fraction": 1 - rows / ROWS[name]}  # fmt: skip
    return recipe_of({**SETTINGS, **settings, **own}, seed)


def fitted(recipe: Recipe) -> Fit:
    """The recipe trained to its end."""
    name = (recipe.data.source or "").removeprefix("sklearn:")
    run, width = trained(recipe), recipe.model.width
    assert isinstance(width, int)
    return Fit(name=name, width=width, rows=round((1 - recipe.data.test_fraction) * ROWS[name]),
               parameters=run.record.num_parameters or 0, train=run.metric(SCORE[name], "train"),
               new=run.metric(SCORE[name]))  # fmt: skip


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's, with equal values sharing a rank; 0 where one side does not vary at all."""
    first, second = rankdata(x), rankdata(y)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One number of one set: its mean over seeds, the interval of that, and the verdict."""

    mean: float
    interval: Interval
    verdict: ClaimVerdict


def part_of(values: Sequence[float], allowed: Interval) -> Part:
    """Seeds are what is drawn anew: the runs of one seed share its rows, so that the interval is
    over seeds, not over runs."""
    interval = mean_interval(values)
    return Part(mean=float(np.mean(values)), interval=interval,
                verdict=verdict_within(interval, allowed))  # fmt: skip


def bounded(part: Part) -> Part:
    """Of correlations: Student's interval does not know that none is beyond 1."""
    low, high = part.interval
    return replace(part, interval=(max(low, -1.0), min(high, 1.0)))


# --- C13: overfitting ----------------------------------------------------------------------------


def measure_c13(pace: Pace) -> Measured:
    """Every width with every number of rows, on both sets; a seed is a split, a start, an order."""
    grids: list[list[Fit]] = []
    cells = [(name, width, rows) for name in ROWS for width in GRID_WIDTHS for rows in GRID_ROWS]
    for seed in repetitions(pace):
        grids.append([])
        for name, width, rows in cells:
            grids[-1].append(fitted(recipe_for(name, seed, width=width, rows=rows)))
            pace.tell((seed + len(grids[-1]) / len(cells)) / pace.seeds)
    return judged_c13(grids)


def judged_c13(grids: Sequence[Sequence[Fit]]) -> Measured:
    """Holds when on each set the rank correlation of the gap with parameters / rows, mean over
    seeds, is above 0 for sure. The effect is the weaker set's; the same at equal rows, by width
    alone, and at equal width, by rows alone, are told beside it."""

    def correlated(by: Callable[[Sequence[Fit]], float], allowed: Interval) -> dict[str, Part]:
        return {n: bounded(part_of([by(_of(grid, n)) for grid in grids], allowed)) for n in ROWS}

    whole, width = correlated(_by_ratio, ABOVE), correlated(_by_width, ABOVE)
    rows = correlated(_by_rows, BELOW)
    weak = min(whole.values(), key=lambda part: part.mean)
    values: dict[str, float | str] = {}
    for name in ROWS:
        values |= _told(name, whole[name]) | _told(f"{name}_width", width[name])
        values |= _told(f"{name}_rows", rows[name])
    notes = tuple(f"lecture.note.width_{name}" for name in ROWS if width[name].verdict == "differs")
    return Measured(verdict=verdict_of_all(tuple(part.verdict for part in whole.values())),
                    effect=weak.mean, interval=weak.interval, n=len(grids), values=values,
                    notes=notes, pictures=tuple(_grid_picture(grids, n) for n in ROWS))  # fmt: skip


def _of(fits: Sequence[Fit], name: str) -> list[Fit]:
    return [one for one in fits if one.name == name]


def _by_ratio(fits: Sequence[Fit]) -> float:
    return rank_correlation([f.parameters / f.rows for f in fits], [f.gap for f in fits])


def _by_width(fits: Sequence[Fit]) -> float:
    """Mean over numbers of rows."""
    alike = [[f for f in fits if f.rows == rows] for rows in sorted({f.rows for f in fits})]
    return float(np.mean([rank_correlation([f.width for f in a], [f.gap for f in a])
                          for a in alike]))  # fmt: skip


def _by_rows(fits: Sequence[Fit]) -> float:
    """Mean over widths."""
    alike = [[f for f in fits if f.width == width] for width in sorted({f.width for f in fits})]
    return float(np.mean([rank_correlation([f.rows for f in a], [f.gap for f in a])
                          for a in alike]))  # fmt: skip


def _told(name: str, part: Part) -> dict[str, float | str]:
    return {name: part.mean, f"{name}_low": part.interval[0], f"{name}_high": part.interval[1]}


def _grid_picture(grids: Sequence[Sequence[Fit]], name: str) -> Picture:
    """The gap over parameters / rows, a curve for each number of rows."""
    fits = [_of(grid, name) for grid in grids]
    series = []
    for rows in sorted({f.rows for f in fits[0]}):
        curves = [[f for f in seed if f.rows == rows] for seed in fits]
        x = tuple(f.parameters / f.rows for f in curves[0])
        gaps = np.array([[f.gap for f in curve] for curve in curves])
        series.append(_band(f"lecture.series.rows_{rows}", x, gaps))
    return Picture(x="lecture.axis.parameters_per_row", y=f"lecture.axis.gap_{name}",
                   series=tuple(series), log_x=True)  # fmt: skip


def _band(name: str, x: tuple[float, ...], values: np.ndarray) -> Series:
    """Mean and range over seeds, of values [seed, point]."""
    middle, low, high = (tuple(line.tolist()) for line in
                         (values.mean(0), values.min(0), values.max(0)))  # fmt: skip
    return Series(name=name, x=x, y=middle, low=low, high=high)


# --- C14: underfitting ---------------------------------------------------------------------------


def measure_c14(pace: Pace) -> Measured:
    """Nets of 1 to 32 units on as many rows as there are, each at the rate that serves it best: a
    rate that suits only wide nets is not to blame."""
    ladders: list[list[Fit]] = []
    steps = [(name, width) for name in ROWS for width in CAPACITIES]
    for seed in repetitions(pace):
        ladders.append([])
        for name, width in steps:
            ladders[-1].append(best_fit(name, seed, width))
            pace.tell((seed + len(ladders[-1]) / len(steps)) / pace.seeds)
    return judged_c14(ladders)


def best_fit(name: str, seed: int, width: int) -> Fit:
    """At the rate of CAPACITY_RATES with the least training error."""
    rows = round(TRAINED_SHARE * ROWS[name])
    fits = [fitted(recipe_for(name, seed, width=width, rows=rows, learning_rate=rate))
            for rate in CAPACITY_RATES]  # fmt: skip
    return min(fits, key=lambda one: one.error)


def judged_c14(ladders: Sequence[Sequence[Fit]]) -> Measured:
    """Holds when on each set the training error's rank correlation with the width is below 0 and
    the smallest net's error above the largest's, both for sure; undecided where the smallest net
    fits its rows: then there is no underfitting to end. The effect is the lesser fall."""
    rank: dict[str, Part] = {}
    fall: dict[str, Part] = {}
    errors = {name: _table(ladders, name, "error") for name in ROWS}
    for name, table in errors.items():
        rank[name] = part_of([rank_correlation(CAPACITIES, row) for row in table.tolist()], BELOW)
        fall[name] = part_of((table[:, 0] - table[:, -1]).tolist(), ABOVE)
    hard = all(mean_interval(table[:, 0].tolist())[0] > UNDERFIT for table in errors.values())
    verdict = verdict_of_all(tuple(p.verdict for p in (*rank.values(), *fall.values())))
    weak = min(fall.values(), key=lambda part: part.mean)
    values: dict[str, float | str] = {"least": CAPACITIES[0], "most": CAPACITIES[-1]}
    for name, table in errors.items():
        values |= _told(name, fall[name])
        values |= {f"{name}_small": float(table[:, 0].mean()), f"{name}_rank": rank[name].mean,
                   f"{name}_large": float(table[:, -1].mean())}  # fmt: skip
    picture = Picture(
        x="lecture.axis.capacity", y="lecture.axis.train_error", log_x=True,
        series=tuple(_band(f"lecture.series.{name}", tuple(map(float, CAPACITIES)), table)
                     for name, table in errors.items()),
    )  # fmt: skip
    return Measured(verdict=verdict if hard else "undecided", effect=weak.mean,
                    interval=weak.interval, n=len(ladders), values=values,
                    pictures=(picture,))  # fmt: skip


def _table(ladders: Sequence[Sequence[Fit]], name: str, kind: str) -> np.ndarray:
    """[seed, net] of a number of the fits on that set."""
    return np.array([[getattr(one, kind) for one in _of(ladder, name)] for ladder in ladders])


# --- C18: a smaller model ------------------------------------------------------------------------


def measure_c18(pace: Pace) -> Measured:
    """A net of 128 units on 100 rows, halved four times by our own remedy `shrink`."""
    ladders: list[list[Fit]] = []
    for seed in repetitions(pace, MORE * pace.seeds):
        ladders.append([])
        for name in ROWS:
            large = recipe_for(name, seed, width=LARGE, rows=FEW)
            ladders[-1].extend(fitted(recipe) for recipe in shrunk(large))
        pace.tell((seed + 1) / (MORE * pace.seeds))
    return judged_c18(ladders)


def shrunk(recipe: Recipe) -> list[Recipe]:
    """The recipe, and what the remedy makes of it when it is applied again and again."""
    found = [recipe]
    for _ in range(HALVINGS):
        smaller = edit_named("shrink").apply(found[-1], Context())
        assert isinstance(smaller, Recipe)
        found.append(smaller)
    return found


def judged_c18(ladders: Sequence[Sequence[Fit]]) -> Measured:
    """Holds when on each set the gap of the smallest net is below that of the largest, paired by
    seed, for sure. The effect is the change on the set where it shrinks least."""
    change: dict[str, Part] = {}
    values: dict[str, float | str] = {"few": FEW, "large": LARGE}
    gaps = {name: _table(ladders, name, "gap") for name in ROWS}
    scores = {name: _table(ladders, name, "new") for name in ROWS}
    for name, gap in gaps.items():
        change[name] = part_of((gap[:, -1] - gap[:, 0]).tolist(), BELOW)
        better = part_of((scores[name][:, -1] - scores[name][:, 0]).tolist(), ABOVE)
        values |= {f"{name}_large": float(gap[:, 0].mean()),
                   f"{name}_small": float(gap[:, -1].mean())}  # fmt: skip
        values |= _told(name, change[name]) | _told(f"{name}_new", better)
    weak = max(change.values(), key=lambda part: part.mean)
    widths = tuple(float(one.width) for one in _of(ladders[0], next(iter(ROWS))))
    pictures = tuple(
        Picture(x="lecture.axis.capacity", y=f"lecture.axis.{kind}", log_x=True,
                series=tuple(_band(f"lecture.series.{name}", widths, table)
                             for name, table in tables.items()))
        for kind, tables in (("score_gap", gaps), ("new_score", scores))
    )  # fmt: skip
    notes = tuple(f"lecture.note.shrink_{n}" for n in ROWS if change[n].verdict == "differs")
    return Measured(verdict=verdict_of_all(tuple(part.verdict for part in change.values())),
                    effect=weak.mean, interval=weak.interval, n=len(ladders),
                    values={**values, "small": widths[-1]}, notes=notes,
                    pictures=pictures)  # fmt: skip
