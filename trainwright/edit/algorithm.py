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
LEAST_CHANGE = 1.5  # of a rate: half of a range exam's grid, in logarithms [assumed]
USUAL_ADAMW = 1e-3  # torch's default, and Kingma and Ba 2015's [paper: arXiv:1412.6980]
WARM_SHARE, WARM_MOST = 0.05, 200  # of the steps, as train/plan.py has them
MEMORY = ("eps", "betas", "alpha", "rho")  # what an optimiser keeps of gradients, and divides by
CLIPPED_TO = 1.1  # times the limit: a norm below was clipped to it [assumed]
MOST_UNQUIET = 10.0  # [assumed]
QUIET_QUANTILE = 0.9  # clips one step in ten [paper: Pascanu et al. 2013, 3.2]


def _rate(program: Program, factor: float, name: str) -> Program:
    plan = program.optimizer.times(factor)
    line = f"optimizer = {plan.written()}"
    return program.after(Done(name=name, values={"rate": plan.learning_rate}, lines=(line,)),
                         optimizer=plan)  # fmt: skip


def _toward(context: Context, now: float, factor: float) -> float:
    """By how much to change the rate: to what a range exam liked, where that is the same way and
    farther than such an exam can tell apart."""
    liked = context.rate / now if context.rate is not None and now > 0 else 1.0
    if max(liked, 1 / liked) < LEAST_CHANGE or (liked > 1) != (factor > 1):
        return factor
    return liked


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
        raise refused("train_longer", phrase("a limit of its own ends the loop at {steps} steps",
                                             steps=program.num_steps))  # fmt: skip
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


def _accumulate(program: Program, context: Context) -> Program:
    """Four times the batches for each step, and a quarter of the steps."""
    name, habits = "accumulate", program.habits
    number = habits.accumulate * FOURFOLD
    batches = -(-program.train.num_rows // habits.batch_size)
    if batches < number:
        raise refused(name, phrase("the training set has {batches} batches, and {number} are asked "
                                   "for", batches=batches, number=number))  # fmt: skip
    if issubclass(program.optimizer.kind, torch.optim.LBFGS):
        raise refused(name, phrase("LBFGS calls for one batch several times, not for several"))
    most = None if habits.most_steps is None else -(-habits.most_steps // FOURFOLD)
    lines = (
        f"(loss / {number}).backward()  # each batch",
        f"if num_batches % {number} == 0: optimizer.step(); optimizer.zero_grad()",
    )
    return program.after(Done(name=name, values={"batches": number}, lines=lines),
                         habits=replace(habits, accumulate=number, most_steps=most))  # fmt: skip


def _swap(program: Program, context: Context) -> Program:
    rate = context.rate or USUAL_ADAMW
    old = program.optimizer
    if old.kind is torch.optim.AdamW and math.isclose(old.learning_rate, rate):
        raise nothing_to_change("swap_optimizer")
    plan = OptimizerPlan(kind=torch.optim.AdamW, settings={"lr": rate}, without=old.without)
    line = f"optimizer = {plan.written()}"
    return program.after(Done(name="swap_optimizer", lines=(line,)), optimizer=plan)


def _set_eps(program: Program, context: Context) -> Program:
    plan, usual = program.optimizer, program.optimizer.usual()
    turned = {name: usual[name] for name in MEMORY if name in usual and name in plan.settings
              and _plain(plan.settings[name]) != usual[name]}  # fmt: skip
    if not turned:
        raise nothing_to_change("set_eps")
    plan = plan.turned(**turned)
    line = f"optimizer = {plan.written()}"
    return program.after(Done(name="set_eps", lines=(line,)), optimizer=plan)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _clip(program: Program, context: Context) -> Program:
    norm, now = _fitting_norm(context, program.habits.clip_norm), program.habits.clip_norm
    if now is not None and now <= norm < math.inf and not _clips_too_much(context):
        raise nothing_to_change("clip_gradient_norm")
    line = f"torch.nn.utils.clip_grad_norm_(model.parameters(), {norm:.3g})  # before step()"
    return habit("clip_gradient_norm", line, clip_norm=norm)(program, context)


def _clips_too_much(context: Context) -> bool:
    return context.finding is not None and context.finding.code == "A410"


def _fitting_norm(context: Context, now: float | None) -> float:
    """The quiet norm; where it was read behind a clipping that is too tight, 1."""
    norm = quiet_norm(context)
    hidden = now is not None and _clips_too_much(context) and norm <= CLIPPED_TO * now
    return 1.0 if hidden else norm


def quiet_norm(context: Context) -> float:
    """The 90th percentile of the gradient norms of the run's quieter half, 1 where none are
    known: a run that exploded has no usual norm in its second half. At most MOST_UNQUIET times that
    of the quietest quarter, for a run may explode within a few steps."""
    norms = None if context.history is None else context.history.by_step.get("gradient_norm_all")
    if norms is None or not len(norms):
        return 1.0
    found = np.sort(norms[np.isfinite(norms) & (norms > 0)])
    if not len(found):
        return 1.0
    quiet = found[: max(1, len(found) // 2 + 1)]
    return float(min(np.quantile(quiet, QUIET_QUANTILE), MOST_UNQUIET * found[len(found) // 4]))


def _sign(program: Program, context: Context) -> Program:
    if program.optimizer.settings.get("maximize"):
        plan = program.optimizer.turned(maximize=False)
        line = f"optimizer = {plan.written()}"
        return program.after(Done(name="fix_sign", lines=(line,)), optimizer=plan)
    loss = program.facts.loss
    if isinstance(program.loss, Negated) or (
        loss is not None and loss.falls_when_right_rises is not False and context.finding is None
    ):
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
    now = program.optimizer
    decays = any(own.get("weight_decay") for own in (now.settings, *now.by_name.values()))
    if not weaker and not decays:
        raise refused("weaken_penalty", phrase("there is no penalty and no weight decay"))
    plan = now.times(1 / TENFOLD, "weight_decay") if decays else now
    lines = [f"optimizer = {plan.written()}"] if decays else []
    lines += ["penalty = penalty / 10"] if weaker else []
    return program.after(Done(name="weaken_penalty", lines=tuple(lines)), optimizer=plan,
                         habits=replace(habits, penalties=weaker))  # fmt: skip


# --- recipes -------------------------------------------------------------------------------------


def _rate_knob(name: str, factor: float) -> Any:
    def turn(recipe: Recipe, context: Context) -> Knobs:
        now = context.knob(recipe, "algorithm.learning_rate")
        if not isinstance(now, int | float):
            raise refused(name, phrase("the rate that `auto` meant is not known"))
        return {"algorithm.learning_rate": min(1e3, now * _toward(context, now, factor))}

    return turn


def _longer_knob(recipe: Recipe, context: Context) -> Knobs:
    if recipe.budget == "auto":
        raise refused("train_longer", phrase("the budget is auto"))
    budget = parse_budget(recipe.budget)
    unit = {"seconds": "s"}.get(budget.unit, f" {budget.unit}")
    return {"budget": f"{budget.amount * TWOFOLD:g}{unit}"}


def _batch_knob(name: str, factor: float) -> Any:
    def turn(recipe: Recipe, context: Context) -> Knobs:
        now = context.knob(recipe, "algorithm.batch_size")
        if not isinstance(now, int):
            raise refused(name, phrase("the batch size that `auto` meant is not known"))
        return {"algorithm.batch_size": max(1, round(now * factor))}

    return turn


def _accumulate_knob(recipe: Recipe, context: Context) -> Knobs:
    """As `larger_batch`, within the same budget."""
    steps = None if context.facts is None else context.facts.steps_per_epoch
    number = recipe.algorithm.accumulate * FOURFOLD
    if steps is not None and steps < FOURFOLD:
        batches = steps * recipe.algorithm.accumulate
        raise refused("accumulate", phrase("the training set has {batches} batches, and {number} "
                                           "are asked for", batches=batches, number=number)
                      )  # fmt: skip
    return {"algorithm.accumulate": number}


def _swap_knobs(recipe: Recipe, context: Context) -> Knobs:
    own = {f"algorithm.{name}": "auto" for name in
           ("momentum", "nesterov", "beta2", "eps", "population", "sigma")}  # fmt: skip
    rate = context.rate or "auto"
    return {"algorithm.optimizer": "adamw", "algorithm.learning_rate": rate} | own


def _evolution_knobs(recipe: Recipe, context: Context) -> Knobs:
    """At its own customary rate: that of a gradient means nothing to it."""
    return {"algorithm.optimizer": "evolution", "algorithm.learning_rate": "auto",
            "algorithm.nesterov": "auto"}  # fmt: skip


def _eps_knobs(recipe: Recipe, context: Context) -> Knobs:
    return {f"algorithm.{name}": "auto" for name in ("eps", "beta2", "momentum")}


def _clip_knob(recipe: Recipe, context: Context) -> Knobs:
    norm = _fitting_norm(context, recipe.algorithm.clip_norm)
    return {"algorithm.clip_norm": float(f"{norm:.3g}")}


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
    done = phrase("recipes do so by themselves; a network of your own file is mended there")
    evolve = phrase("make a recipe of it, with algorithm.optimizer = 'evolution'")
    zero = habit("zero_grad", "optimizer.zero_grad()  # before loss.backward()", clears=True)
    decay = habit("decay_learning_rate", "scheduler = CosineAnnealingLR(optimizer, num_steps)",
                  schedule="cosine")  # fmt: skip
    best = habit("keep_best_checkpoint", "best = copy.deepcopy(model.state_dict())  # when better",
                 keeps_best=True)  # fmt: skip
    stop = habit("stop_early", "if no_gain > patience: break", keeps_best=True)
    table: dict[str, Any] = {
        "lower_learning_rate": (_lower, _rate_knob("lower_learning_rate", 1 / TENFOLD), ""),
        "raise_learning_rate": (_raise, _rate_knob("raise_learning_rate", TENFOLD), ""),
        "warm_up": (_warm_up, knob("algorithm.warmup_steps", "auto"), ""),
        "decay_learning_rate": (decay, knob("algorithm.schedule", "cosine"), ""),
        "train_longer": (_train_longer, _longer_knob, ""),
        "larger_batch": (_larger, _batch_knob("larger_batch", FOURFOLD), ""),
        "smaller_batch": (_smaller, _batch_knob("smaller_batch", 1 / FOURFOLD), ""),
        "accumulate": (_accumulate, _accumulate_knob, ""),
        "zero_grad": (zero, None, done),
        "fix_sign": (_sign, None, done),
        "swap_optimizer": (_swap, _swap_knobs, ""),
        "set_eps": (_set_eps, _eps_knobs, ""),
        "clip_gradient_norm": (_clip, _clip_knob, ""),
        "weaken_penalty": (_weaken_penalty, _penalty_knobs, ""),
        "keep_best_checkpoint": (best, knob("algorithm.keep", "best"), ""),
        "stop_early": (stop, _early_knob, ""),
        "evolution_strategy": (None, _evolution_knobs, evolve),
        "reorder_steps": (None, None, order),
        "call_step": (None, None, order),
    }
    return tuple(Edit(name=name, program=program, knobs=knobs, instead=instead)
                 for name, (program, knobs, instead) in table.items())  # fmt: skip
