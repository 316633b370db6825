"""Which edits change the learning algorithm? Rates, batches, length, optimiser and the order of the
loop, of programs and of recipes."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from trainwright.core.budget import parse_budget
from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, Edit, Knobs, habit, knob, nothing_to_change, refused
from trainwright.edit.optimizer import OptimizerPlan
from trainwright.edit.program import Done, Program
from trainwright.recipe import Recipe

TENFOLD, FOURFOLD, TWOFOLD = 10.0, 4, 2
USUAL_ADAMW = 1e-3  # torch's default, and Kingma and Ba 2015's [paper: arXiv:1412.6980]
WARM_SHARE, WARM_MOST = 0.05, 200  # of the steps, as train/plan.py has them
QUIET_QUANTILE = 0.9  # clips one step in ten [paper: Pascanu et al. 2013, 3.2]


def _rate(program: Program, factor: float, name: str) -> Program:
    plan = program.optimizer.times(factor)
    line = f"optimizer = {plan.kind.__name__}(model.parameters(), lr={plan.learning_rate:g})"
    return program.after(Done(name=name, values={"rate": plan.learning_rate}, lines=(line,)),
                         optimizer=plan)  # fmt: skip


def _toward(context: Context, now: float, factor: float) -> float:
    """By how much to change the rate: to what a range exam liked, where that is the same way."""
    if context.rate is not None and now > 0 and (context.rate > now) == (factor > 1):
        return context.rate / now
    return factor


def _lower(program: Program, context: Context) -> Program:
    return _rate(program, _toward(context, program.optimizer.learning_rate, 1 / TENFOLD),
                 "lower_learning_rate")  # fmt: skip


def _raise(program: Program, context: Context) -> Program:
    return _rate(program, _toward(context, program.optimizer.learning_rate, TENFOLD),
                 "raise_learning_rate")  # fmt: skip


def _warm_up(program: Program, context: Context) -> Program:
    steps = max(1, min(WARM_MOST, round(WARM_SHARE * program.num_steps)))
    line = f"scheduler = LinearLR(optimizer, 1 / {steps}, total_iters={steps})  # step() each batch"
    return habit("warm_up", line, warmup_steps=steps)(program, context)


def _train_longer(program: Program, context: Context) -> Program:
    longer = program.turned(epochs=program.habits.epochs * TWOFOLD)
    if longer.num_steps == program.num_steps:
        raise nothing_to_change("train_longer")
    epochs = longer.habits.epochs
    line = f"epochs = {epochs}"
    return program.after(Done(name="train_longer", values={"epochs": epochs}, lines=(line,)),
                         habits=longer.habits)  # fmt: skip


def _batch(program: Program, size: int, name: str) -> Program:
    size = max(1, min(size, program.train.num_rows))
    if size == program.habits.batch_size:
        raise nothing_to_change(name)
    line = f"loader = DataLoader(dataset, batch_size={size}, shuffle=True)"
    return program.after(Done(name=name, values={"batch": size}, lines=(line,)),
                         habits=replace(program.habits, batch_size=size),
                         train=replace(program.train, batch_size=size))  # fmt: skip


def _larger(program: Program, context: Context) -> Program:
    return _batch(program, program.habits.batch_size * FOURFOLD, "larger_batch")


def _smaller(program: Program, context: Context) -> Program:
    return _batch(program, program.habits.batch_size // FOURFOLD, "smaller_batch")


def _swap(program: Program, context: Context) -> Program:
    rate = context.rate or USUAL_ADAMW
    old = program.optimizer
    if old.kind is torch.optim.AdamW and math.isclose(old.learning_rate, rate):
        raise nothing_to_change("swap_optimizer")
    plan = OptimizerPlan(kind=torch.optim.AdamW, settings={"lr": rate}, without=old.without)
    line = f"optimizer = torch.optim.AdamW(model.parameters(), lr={rate:g})"
    return program.after(Done(name="swap_optimizer", lines=(line,)), optimizer=plan)


def _set_eps(program: Program, context: Context) -> Program:
    plan, usual = program.optimizer, {"eps": 1e-8, "betas": (0.9, 0.999), "alpha": 0.99, "rho": 0.9}
    turned = {name: value for name, value in usual.items()
              if name in plan.settings and plan.settings[name] != value}  # fmt: skip
    if not turned:
        raise nothing_to_change("set_eps")
    words = ", ".join(f"{name}={value}" for name, value in turned.items())
    name, rate = plan.kind.__name__, f"lr={plan.learning_rate:g}"
    line = f"optimizer = torch.optim.{name}(model.parameters(), {rate}, {words})"
    return program.after(Done(name="set_eps", lines=(line,)), optimizer=plan.turned(**turned))


def _clip(program: Program, context: Context) -> Program:
    norm = quiet_norm(context)
    if program.habits.clip_norm is not None and program.habits.clip_norm <= norm < math.inf and (
        context.finding is None or context.finding.code != "A410"
    ):  # fmt: skip
        raise nothing_to_change("clip_gradient_norm")
    line = f"torch.nn.utils.clip_grad_norm_(model.parameters(), {norm:.3g})  # before step()"
    return habit("clip_gradient_norm", line, clip_norm=norm)(program, context)


def quiet_norm(context: Context) -> float:
    """The 90th percentile of the gradient norms of the run's quieter half, 1 where none are
    known: a run that exploded has no usual norm in its second half."""
    norms = None if context.history is None else context.history.by_step.get("gradient_norm_all")
    if norms is None or not len(norms):
        return 1.0
    found = np.sort(norms[np.isfinite(norms) & (norms > 0)])
    if not len(found):
        return 1.0
    quiet = found[: max(1, len(found) // 2 + 1)]
    return float(np.quantile(quiet, QUIET_QUANTILE))


def _sign(program: Program, context: Context) -> Program:
    if program.optimizer.settings.get("maximize"):
        return program.after(
            Done(name="fix_sign", lines=("optimizer = ...(model.parameters(), maximize=False)",)),
            optimizer=program.optimizer.turned(maximize=False),
        )
    loss = program.facts.loss
    if loss is not None and loss.falls_when_right_rises is not False and context.finding is None:
        raise nothing_to_change("fix_sign")
    return program.after(Done(name="fix_sign", lines=("loss = -loss",)), loss=Negated(program.loss))


class Negated:
    """A criterion with its sign turned."""

    def __init__(self, criterion: Any) -> None:
        self.criterion = criterion

    def __call__(self, outputs: Any, targets: Any) -> Any:
        return -self.criterion(outputs, targets)


def _weaken_penalty(program: Program, context: Context) -> Program:
    habits = program.habits
    weaker = tuple(replace(p, l1=p.l1 / TENFOLD, l2=p.l2 / TENFOLD) for p in habits.penalties)
    decay = float(program.optimizer.settings.get("weight_decay") or 0.0)
    if not weaker and not decay:
        raise refused("weaken_penalty", phrase("there is no penalty and no weight decay"))
    plan = program.optimizer.turned(weight_decay=decay / TENFOLD) if decay else program.optimizer
    line = f"weight_decay={decay / TENFOLD:g}" if decay else "penalty = penalty / 10"
    return program.after(Done(name="weaken_penalty", lines=(line,)), optimizer=plan,
                         habits=replace(habits, penalties=weaker))  # fmt: skip


# --- recipes -------------------------------------------------------------------------------------


def _rate_knob(factor: float) -> Any:
    def turn(recipe: Recipe, context: Context) -> Knobs:
        now = context.knob(recipe, "algorithm.learning_rate")
        if not isinstance(now, int | float):
            raise refused("learning_rate", phrase("the rate that `auto` meant is not known"))
        return {"algorithm.learning_rate": min(1e3, now * _toward(context, now, factor))}

    return turn


def _longer_knob(recipe: Recipe, context: Context) -> Knobs:
    if recipe.budget == "auto":
        raise refused("train_longer", phrase("the budget is auto"))
    budget = parse_budget(recipe.budget)
    unit = {"seconds": "s"}.get(budget.unit, f" {budget.unit}")
    return {"budget": f"{budget.amount * TWOFOLD:g}{unit}"}


def _batch_knob(factor: float) -> Any:
    def turn(recipe: Recipe, context: Context) -> Knobs:
        now = context.knob(recipe, "algorithm.batch_size")
        if not isinstance(now, int):
            raise refused("batch_size", phrase("the batch size that `auto` meant is not known"))
        return {"algorithm.batch_size": max(1, round(now * factor))}

    return turn


def _swap_knobs(recipe: Recipe, context: Context) -> Knobs:
    return {"algorithm.optimizer": "adamw", "algorithm.learning_rate": context.rate or "auto",
            "algorithm.momentum": "auto", "algorithm.nesterov": "auto",
            "algorithm.beta2": "auto", "algorithm.eps": "auto"}  # fmt: skip


def _eps_knobs(recipe: Recipe, context: Context) -> Knobs:
    return {f"algorithm.{name}": "auto" for name in ("eps", "beta2", "momentum")}


def _clip_knob(recipe: Recipe, context: Context) -> Knobs:
    return {"algorithm.clip_norm": float(f"{quiet_norm(context):.3g}")}


def _penalty_knobs(recipe: Recipe, context: Context) -> Knobs:
    knobs = recipe.algorithm
    turned = {"algorithm.l1": knobs.l1 / TENFOLD, "algorithm.l2": knobs.l2 / TENFOLD}
    decay = context.knob(recipe, "algorithm.weight_decay")
    if isinstance(decay, int | float) and decay:
        turned["algorithm.weight_decay"] = decay / TENFOLD
    return turned


def _early_knob(recipe: Recipe, context: Context) -> Knobs:
    return {"algorithm.early_stopping": recipe.algorithm.early_stopping or 10}


def edits() -> tuple[Edit, ...]:
    """All of this file; reasons are spoken when they are asked for."""
    order = phrase("the order of the lines in your loop is yours to mend")
    zero = habit("zero_grad", "optimizer.zero_grad()  # before loss.backward()", clears=True)
    decay = habit("decay_learning_rate", "scheduler = CosineAnnealingLR(optimizer, num_steps)",
                  schedule="cosine")  # fmt: skip
    best = habit("keep_best_checkpoint", "best = copy.deepcopy(model.state_dict())  # when better",
                 keeps_best=True)  # fmt: skip
    stop = habit("stop_early", "if no_gain > patience: break", keeps_best=True)
    table: dict[str, Any] = {
        "lower_learning_rate": (_lower, _rate_knob(1 / TENFOLD), ""),
        "raise_learning_rate": (_raise, _rate_knob(TENFOLD), ""),
        "warm_up": (_warm_up, knob("algorithm.warmup_steps", "auto"), ""),
        "decay_learning_rate": (decay, knob("algorithm.schedule", "cosine"), ""),
        "train_longer": (_train_longer, _longer_knob, ""),
        "larger_batch": (_larger, _batch_knob(FOURFOLD), ""),
        "smaller_batch": (_smaller, _batch_knob(1 / FOURFOLD), ""),
        "zero_grad": (zero, None, ""),
        "fix_sign": (_sign, None, ""),
        "swap_optimizer": (_swap, _swap_knobs, ""),
        "set_eps": (_set_eps, _eps_knobs, ""),
        "clip_gradient_norm": (_clip, _clip_knob, ""),
        "weaken_penalty": (_weaken_penalty, _penalty_knobs, ""),
        "keep_best_checkpoint": (best, knob("algorithm.keep", "best"), ""),
        "stop_early": (stop, _early_knob, ""),
        "evolution_strategy": (None, knob("algorithm.optimizer", "evolution"), ""),
        "reorder_steps": (None, None, order),
        "call_step": (None, None, order),
    }
    return tuple(Edit(name=name, program=program, knobs=knobs, instead=instead)
                 for name, (program, knobs, instead) in table.items())  # fmt: skip
