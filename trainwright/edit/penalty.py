"""Which edits pull weights toward zero? Weight decay, and penalties on what weights measure."""

from dataclasses import replace
from typing import Any, Literal

from trainwright.algorithm.gradient import is_weight
from trainwright.algorithm.resolve import DECAYS
from trainwright.check.subject import same_random_states
from trainwright.core.errors import shown
from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, Edit, Knobs, refused
from trainwright.edit.loop import batches, take_step
from trainwright.edit.optimizer import OptimizerPlan
from trainwright.edit.program import Done, Penalty, Program
from trainwright.edit.surgical import EXPECTED
from trainwright.recipe import Recipe

DECAY = 1e-4  # added to a gradient [paper: He et al. 2016, arXiv:1512.03385, section 3.4]
DECAY_APART = 0.01  # times the rate, apart from it [paper: arXiv:1711.05101; torch's AdamW]
L1, L1_APART = 1e-4, 0.01  # as strong as the decays, for weights near 1 [assumed]
TENFOLD = 10.0
STRONG = 100.0  # times the usual: the most that an edit asks for [assumed]
APART = frozenset(("AdamW", "Adafactor", "Muon"))  # optimisers that decay apart from the gradient


def _add_weight_decay(program: Program, context: Context) -> Program:
    """The optimiser's own decay; a penalty on squares where it has none."""
    name, plan = "add_weight_decay", program.optimizer
    if "weight_decay" not in plan.usual():
        return _penalised(program, name, "l2", DECAY / 2)  # whose slope is DECAY times the weight
    usual = DECAY_APART if _decays_apart(plan) else DECAY
    now = max(float(own.get("weight_decay") or 0.0)
              for own in (plan.settings, *plan.by_name.values()))  # fmt: skip
    plan = (plan.times(_factor(name, now, usual), "weight_decay") if now
            else plan.turned(weight_decay=usual))  # fmt: skip
    done = Done(name=name, lines=(f"optimizer = {plan.written()}",))
    return _tried(program.after(done, optimizer=plan), name)


def _decays_apart(plan: OptimizerPlan) -> bool:
    return plan.kind.__name__ in APART or bool(plan.settings.get("decoupled_weight_decay"))


def _add_l1(program: Program, context: Context) -> Program:
    return _penalised(program, "add_l1", "l1", L1)


def _penalised(
    program: Program, name: str, norm: Literal["l1", "l2"], usual: float
) -> Program:  # fmt: skip
    """A penalty on each matrix of weights that is trained, ten times the one that is there."""
    penalties = program.habits.penalties
    now = max((getattr(each, norm) for each in penalties), default=0.0)
    if now:
        factor = _factor(name, now, usual)
        penalties = tuple(replace(p, **{norm: getattr(p, norm) * factor}) for p in penalties)
    else:
        factor, now = 1.0, usual
        new = {norm: usual}
        penalties += tuple(Penalty(parameter=weight, **new) for weight in _weights(program, name))
    size = "p.abs()" if norm == "l1" else "(p ** 2)"
    line = (f"loss = loss + {now * factor:g} * sum({size}.sum() for p in model.parameters() "
            "if p.ndim > 1)")  # fmt: skip
    after = program.after(Done(name=name, values={norm: now * factor}, lines=(line,)),
                          habits=replace(program.habits, penalties=penalties))  # fmt: skip
    return _tried(after, name)


def _weights(program: Program, name: str) -> list[str]:
    model, _ = program.start(0)
    found = [path for path, parameter in model.named_parameters() if is_weight(parameter)
             and parameter.requires_grad and path not in program.optimizer.without]  # fmt: skip
    if not found:
        raise refused(name, phrase("no matrix of weights is trained"))
    return found


def _factor(name: str, now: float, usual: float) -> float:
    """Ten, or what is left to STRONG times the usual."""
    factor = min(TENFOLD, STRONG * usual / now)
    if factor < 1.0 + 1e-6:
        raise refused(name, phrase("it is strong already, at {now}", now=f"{now:g}"))
    return factor


def _tried(program: Program, name: str) -> Program:
    """The program, once it has taken a step: some optimisers take no such gradient."""
    try:
        with same_random_states():
            model, optimizer = program.start(0)
            take_step(program, model, optimizer, batches(program.train, program.habits, 0))
    except EXPECTED as error:
        why = phrase("a step with it fails: {reason}", reason=shown(str(error)))
        raise refused(name, why) from None
    return program


# --- recipes -------------------------------------------------------------------------------------


def _decay_knobs(recipe: Recipe, context: Context) -> Knobs:
    """More of what there is; else what the optimiser customarily has: recipes decay apart from the
    gradient, and for sgd l2 is what others call weight decay."""
    name, kind = "add_weight_decay", recipe.algorithm.optimizer
    decay, l2 = context.knob(recipe, "algorithm.weight_decay"), recipe.algorithm.l2
    decay = DECAYS.get(kind, 0.0) if decay == "auto" else decay
    if not decay and (l2 or kind == "sgd"):
        return {"algorithm.l2": _raised(name, l2, DECAY)}
    return {"algorithm.weight_decay": _raised(name, decay, DECAY_APART)}


def _l1_knob(recipe: Recipe, context: Context) -> Knobs:
    """A proximal step is apart from the gradient, too: for all but sgd it is weaker."""
    now, knobs = recipe.algorithm.l1, recipe.algorithm
    through = knobs.optimizer == "sgd" or knobs.l1_form == "penalty"
    return {"algorithm.l1": _raised("add_l1", now, L1 if through else L1_APART)}


def _raised(name: str, now: float, usual: float) -> float:
    return now * _factor(name, now, usual) if now else usual


def edits() -> tuple[Edit, ...]:
    """All of this file."""
    table: dict[str, Any] = {
        "add_weight_decay": (_add_weight_decay, _decay_knobs),
        "add_l1": (_add_l1, _l1_knob),
    }
    return tuple(Edit(name=name, program=program, knobs=knobs)
                 for name, (program, knobs) in table.items())  # fmt: skip
