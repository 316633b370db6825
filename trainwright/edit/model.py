"""Which edits change the network? Surgery on live ones, knobs of recipes."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, Edit, Knobs, habit, knob, nothing_to_change, refused
from trainwright.edit.gradient import reattach_gradient
from trainwright.edit.prior import start_bias
from trainwright.edit.program import Done, Program
from trainwright.edit.resize import resized
from trainwright.edit.surgery.activation import insert_nonlinearity, replace_activation
from trainwright.edit.surgery.anatomy import Anatomy
from trainwright.edit.surgery.deeper import insert_layer
from trainwright.edit.surgery.dropout import dropout_rates, insert_dropout, set_dropout
from trainwright.edit.surgery.initial import initialise
from trainwright.edit.surgery.norm import BATCH_NORMS, insert_norm, replace_norm
from trainwright.edit.surgery.register import hides, register
from trainwright.edit.surgery.skip import insert_skip
from trainwright.edit.surgical import Operation, operated
from trainwright.recipe import Recipe

FEWEST_FOR_BATCH_NORM = 8  # examples a batch; below, statistics are noise [paper: arXiv:1803.08494]
MILD_DROPOUT = 0.3  # [paper: Srivastava et al. 2014, sec. 7.3: .2 to .5]
GENTLE_DROPOUT = 0.2
NORMLESS = ("linear", "rnn")  # built-in networks whose `norm` does nothing: model/resolve.py
POINTS = ("mlp", "bag")  # and those that give one number a unit, no map to average over


def _operation(name: str, operation: Operation, *, once: bool = False, fed: bool = False) -> Any:
    """`once`: done again it would change nothing, or draw anew, and does not notice."""

    def turn(program: Program, context: Context) -> Program:
        if once and any(done.name == name for done in program.done):
            raise nothing_to_change(name)
        return operated(program, name, operation, fed=fed)

    return turn


def _add_norm(program: Program, context: Context) -> Program:
    kind = "batch" if program.habits.batch_size >= FEWEST_FOR_BATCH_NORM else "layer"
    return operated(program, "add_norm", partial(insert_norm, kind=kind), kind=kind)


def _leaky(program: Program, context: Context) -> Program:
    new = partial(replace_activation, new="leaky_relu")
    return operated(program, "leaky_activation", new)


def _he(model: nn.Module, anatomy: Anatomy) -> Any:
    return initialise(model, anatomy, "he", seed=_drawn())


def _xavier(model: nn.Module, anatomy: Anatomy) -> Any:
    return initialise(model, anatomy, "xavier", seed=_drawn())


def _orthogonal(model: nn.Module, anatomy: Anatomy) -> Any:
    return initialise(model, anatomy, "orthogonal", seed=_drawn())


def _lsuv(model: nn.Module, anatomy: Anatomy, batch: Any) -> Any:
    return initialise(model, anatomy, "lsuv", batch=batch, seed=_drawn())


def _drawn() -> int:
    """Another start for each seed of the program."""
    return int(torch.randint(2**31 - 1, ()))


def _less_dropout(model: nn.Module, anatomy: Anatomy) -> Any:
    """Half of the highest rate, at most GENTLE_DROPOUT; that alone where only functions drop."""
    highest = max(dropout_rates(model).values(), default=1.0)
    return set_dropout(model, anatomy, min(GENTLE_DROPOUT, highest / 2))


def _group(model: nn.Module, anatomy: Anatomy) -> Any:
    return replace_norm(model, "group")


def _layer(model: nn.Module, anatomy: Anatomy) -> Any:
    """Batch norms become layer norms; where there are none, hidden layers get layer norms."""
    if any(isinstance(module, BATCH_NORMS) for module in model.modules()):
        return replace_norm(model, "layer")
    return insert_norm(model, anatomy, "layer")


def _some_dropout(model: nn.Module, anatomy: Anatomy) -> Any:
    return insert_dropout(model, anatomy, MILD_DROPOUT)


def _register(program: Program, context: Context) -> Program:
    """Layers in plain containers are registered on each fresh network, before its optimiser is
    built; the optimiser holds all that it was not given."""
    name, plan = "register_parameters", program.optimizer
    model = program.make_model(0)
    program.change(model, program.changes, 0)
    if hides(model):
        program = operated(program, name, register, first=True)
    elif not plan.without:
        raise refused(name, phrase("the optimiser holds every parameter"))
    if not plan.without:
        return program
    plan = replace(plan, without=frozenset())
    line = f"optimizer = {plan.written()}"
    return program.after(Done(name=name, lines=(line,)), optimizer=plan)


class _Unfrozen:
    """Every parameter asks for a gradient."""

    def __call__(self, model: nn.Module, few: Any) -> None:
        model.requires_grad_(True)


def _unfreeze(program: Program, context: Context) -> Program:
    frozen = [n for n, p in program.make_model(0).named_parameters() if not p.requires_grad]
    if not frozen or any(isinstance(change, _Unfrozen) for change in program.changes):
        raise nothing_to_change("unfreeze")
    plan = replace(program.optimizer, without=program.optimizer.without - set(frozen))
    return program.after(Done(name="unfreeze", lines=("model.requires_grad_(True)",)),
                         optimizer=plan, changes=(*program.changes, _Unfrozen()))  # fmt: skip


def _resize(name: str, factor: float) -> Any:
    def turn(program: Program, context: Context) -> Program:
        operation = partial(resized, factor=factor)
        return operated(program, name, operation, first=True, factor=factor)

    return turn


# --- recipes -------------------------------------------------------------------------------------


def _width(name: str, factor: float) -> Any:
    def turn(recipe: Recipe, context: Context) -> Knobs:
        now = context.knob(recipe, "model.width")
        if not isinstance(now, int):
            raise refused(name, phrase("what `auto` meant is not known"))
        return {"model.width": max(1, round(now * factor))}

    return turn


def _initial(how: str) -> Any:
    """Another start, without the settings of those that draw numbers of a size of their own."""

    def turn(recipe: Recipe, context: Context) -> Knobs:
        return {"model.init": how, "model.init_sd": None, "model.init_value": None}

    return turn


def _norm_knob(recipe: Recipe, context: Context) -> Knobs:
    if context.knob(recipe, "model.norm") not in ("none", "auto"):
        raise nothing_to_change("add_norm")
    size = context.knob(recipe, "algorithm.batch_size")
    few = isinstance(size, int) and size < FEWEST_FOR_BATCH_NORM
    return {"model.norm": "layer" if few else "batch"}


def _norm_of(kind: str) -> Any:
    """This norm, where the built-in network has a place for it."""
    name = f"{kind}_norm"

    def turn(recipe: Recipe, context: Context) -> Knobs:
        network = context.knob(recipe, "model.name")
        if network in NORMLESS:
            raise refused(name, phrase("the network {network} has no place for a norm",
                                       network=network))  # fmt: skip
        if kind == "instance" and network == "auto":
            raise refused(name, phrase("what `auto` meant is not known"))
        if kind == "instance" and network in POINTS:
            raise refused(name, phrase("{network} gives one number a unit: nothing to average over",
                                       network=network))  # fmt: skip
        return {"model.norm": kind}

    return turn


def _dropout_knob(recipe: Recipe, context: Context) -> Knobs:
    now = context.knob(recipe, "model.dropout")
    if isinstance(now, int | float) and now >= MILD_DROPOUT:
        raise nothing_to_change("add_dropout")
    return {"model.dropout": MILD_DROPOUT}


def _deeper(recipe: Recipe, context: Context) -> Knobs:
    now = context.knob(recipe, "model.depth")
    if not isinstance(now, int):
        raise refused("deepen", phrase("what `auto` meant is not known"))
    return {"model.depth": now + 1}


def _less_dropout_knob(recipe: Recipe, context: Context) -> Knobs:
    now = context.knob(recipe, "model.dropout")
    if not isinstance(now, int | float):
        raise refused("weaken_dropout", phrase("what `auto` meant is not known"))
    return {"model.dropout": min(GENTLE_DROPOUT, now / 2)}


def edits() -> tuple[Edit, ...]:
    """All of this file; reasons are spoken when they are asked for."""
    forward = phrase("the forward of your network is yours to mend")
    whole = phrase("recipes build networks that cut no gradient; yours is mended in its own file")
    done = phrase("recipes do so by themselves; a network of your own file is mended there")
    modes = habit("call_train_eval", "model.train()  # before training",
                  "model.eval()  # before judging", trains=True, judges=True)  # fmt: skip
    bend, leak = knob("model.activation", "relu"), knob("model.activation", "leaky_relu")
    skip, group = knob("model.skip", True), knob("model.norm", "group")
    he, xavier = (_operation("reinitialise_he", _he, once=True),
                  _operation("reinitialise_xavier", _xavier, once=True))  # fmt: skip
    orthogonal = _operation("reinitialise_orthogonal", _orthogonal, once=True)
    lsuv = _operation("reinitialise_lsuv", _lsuv, once=True, fed=True)
    blind = phrase(
        "a recipe's weights are drawn before any data are seen; model.init = "
        "'orthogonal' is what LSUV begins with"
    )
    mean = phrase("recipes have no knob for it; of numbers data.standardise_target takes the mean")
    drop = _operation("add_dropout", _some_dropout, once=True)
    less = _operation("weaken_dropout", _less_dropout)
    table: dict[str, Any] = {
        "insert_nonlinearity": (
            _operation("insert_nonlinearity", insert_nonlinearity), bend, ""),
        "leaky_activation": (_leaky, leak, ""),
        "replace_activation": (_operation("replace_activation", replace_activation), bend, ""),
        "add_norm": (_add_norm, _norm_knob, ""),
        "layer_norm": (_operation("layer_norm", _layer, once=True), _norm_of("layer"), ""),
        "instance_norm": (_operation("instance_norm", partial(insert_norm, kind="instance")),
                          _norm_of("instance"), ""),
        "rms_norm": (_operation("rms_norm", partial(insert_norm, kind="rms")), _norm_of("rms"), ""),
        "add_skip": (_operation("add_skip", insert_skip), skip, ""),
        "reinitialise_he": (he, _initial("he"), ""),
        "reinitialise_xavier": (xavier, _initial("xavier"), ""),
        "reinitialise_orthogonal": (orthogonal, _initial("orthogonal"), ""),
        "reinitialise_lsuv": (lsuv, None, blind),
        "start_bias": (start_bias, None, mean),
        "widen": (_resize("widen", 2.0), _width("widen", 2.0), ""),
        "shrink": (_resize("shrink", 0.5), _width("shrink", 0.5), ""),
        "deepen": (_operation("deepen", insert_layer), _deeper, ""),
        "add_dropout": (drop, _dropout_knob, ""),
        "weaken_dropout": (less, _less_dropout_knob, ""),
        "call_train_eval": (modes, None, done),
        "group_norm": (_operation("group_norm", _group, once=True), group, ""),
        "register_parameters": (_register, None, done),
        "reattach_gradient": (reattach_gradient, None, whole),
        "unfreeze": (_unfreeze, None, done),
        "fix_axis": (None, None, forward),
        "mask_future": (None, None, forward),
    }  # fmt: skip
    return tuple(Edit(name=name, program=program, knobs=knobs, instead=instead)
                 for name, (program, knobs, instead) in table.items())  # fmt: skip
