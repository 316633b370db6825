"""Which edits change the network? Surgery on live ones, knobs of recipes."""

from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from trainwright.core.phrases import phrase
from trainwright.edit.edit import Context, Edit, Knobs, habit, knob, nothing_to_change, refused
from trainwright.edit.program import Done, Program
from trainwright.edit.resize import resized
from trainwright.edit.surgery.activation import insert_nonlinearity, replace_activation
from trainwright.edit.surgery.anatomy import Anatomy
from trainwright.edit.surgery.dropout import insert_dropout, set_dropout
from trainwright.edit.surgery.initial import initialise
from trainwright.edit.surgery.norm import insert_norm, replace_norm
from trainwright.edit.surgery.skip import insert_skip
from trainwright.edit.surgical import Operation, operated
from trainwright.recipe import Recipe

FEWEST_FOR_BATCH_NORM = 8  # examples a batch; below, statistics are noise [paper: arXiv:1803.08494]
MILD_DROPOUT = 0.3  # [paper: Srivastava et al. 2014, sec. 7.3: .2 to .5]
GENTLE_DROPOUT = 0.2


def _operation(name: str, operation: Operation) -> Any:
    def turn(program: Program, context: Context) -> Program:
        return operated(program, name, operation)

    return turn


def _add_norm(program: Program, context: Context) -> Program:
    kind = "batch" if program.habits.batch_size >= FEWEST_FOR_BATCH_NORM else "layer"
    return operated(program, "add_norm", partial(insert_norm, kind=kind), kind=kind)


def _leaky(program: Program, context: Context) -> Program:
    new = partial(replace_activation, new="leaky_relu")
    return operated(program, "leaky_activation", new)


def _he(model: nn.Module, anatomy: Anatomy) -> Any:
    return initialise(model, anatomy, "he")


def _xavier(model: nn.Module, anatomy: Anatomy) -> Any:
    return initialise(model, anatomy, "xavier")


def _less_dropout(model: nn.Module, anatomy: Anatomy) -> Any:
    return set_dropout(model, anatomy, GENTLE_DROPOUT)


def _group(model: nn.Module, anatomy: Anatomy) -> Any:
    return replace_norm(model, "group")


def _some_dropout(model: nn.Module, anatomy: Anatomy) -> Any:
    return insert_dropout(model, anatomy, MILD_DROPOUT)


def _register(program: Program, context: Context) -> Program:
    if not program.optimizer.without:
        raise refused("register_parameters", phrase("the optimiser holds every parameter"))
    line = "optimizer = ...(model.parameters(), ...)"
    plan = replace(program.optimizer, without=frozenset())
    return program.after(Done(name="register_parameters", lines=(line,)), optimizer=plan)


class _Unfrozen:
    """Every parameter asks for a gradient."""

    def __call__(self, model: nn.Module, few: Any) -> None:
        model.requires_grad_(True)


def _unfreeze(program: Program, context: Context) -> Program:
    frozen = [n for n, p in program.make_model(0).named_parameters() if not p.requires_grad]
    if not frozen:
        raise nothing_to_change("unfreeze")
    plan = replace(program.optimizer, without=program.optimizer.without - set(frozen))
    return program.after(Done(name="unfreeze", lines=("model.requires_grad_(True)",)),
                         optimizer=plan, changes=(*program.changes, _Unfrozen()))  # fmt: skip


def _resize(name: str, factor: float) -> Any:
    def turn(program: Program, context: Context) -> Program:
        return operated(program, name, partial(resized, factor=factor), factor=factor)

    return turn


# --- recipes -------------------------------------------------------------------------------------


def _scaled(path: str, factor: float, least: int) -> Any:
    def turn(recipe: Recipe, context: Context) -> Knobs:
        now = context.knob(recipe, path)
        if not isinstance(now, int):
            raise refused(path, phrase("what `auto` meant is not known"))
        return {path: max(least, round(now * factor))}

    return turn


def _deeper(recipe: Recipe, context: Context) -> Knobs:
    now = context.knob(recipe, "model.depth")
    if not isinstance(now, int):
        raise refused("deepen", phrase("what `auto` meant is not known"))
    return {"model.depth": now + 1}


def _less_dropout_knob(recipe: Recipe, context: Context) -> Knobs:
    now = context.knob(recipe, "model.dropout")
    return {"model.dropout": min(GENTLE_DROPOUT, now / 2) if isinstance(now, float) else 0.0}


def edits() -> tuple[Edit, ...]:
    """All of this file; reasons are spoken when they are asked for."""
    forward = phrase("the forward of your network is yours to mend")
    table: dict[str, Any] = {
        "insert_nonlinearity": (
            _operation("insert_nonlinearity", insert_nonlinearity),
            knob("model.activation", "relu"),
        ),
        "leaky_activation": (_leaky, knob("model.activation", "leaky_relu")),
        "replace_activation": (
            _operation("replace_activation", replace_activation),
            knob("model.activation", "relu"),
        ),
        "add_norm": (_add_norm, knob("model.norm", "batch")),
        "add_skip": (_operation("add_skip", insert_skip), knob("model.skip", True)),
        "reinitialise_he": (_operation("reinitialise_he", _he), knob("model.init", "he")),
        "reinitialise_xavier": (
            _operation("reinitialise_xavier", _xavier),
            knob("model.init", "xavier"),
        ),
        "widen": (_resize("widen", 2.0), _scaled("model.width", 2.0, 1)),
        "shrink": (_resize("shrink", 0.5), _scaled("model.width", 0.5, 1)),
        "deepen": (None, _deeper),
        "add_dropout": (_operation("add_dropout", _some_dropout), knob("model.dropout", 0.3)),
        "weaken_dropout": (_operation("weaken_dropout", _less_dropout), _less_dropout_knob),
        "call_train_eval": (
            habit("call_train_eval", "model.train()  # before training",
                  "model.eval()  # before judging", trains=True, judges=True), None,
        ),
        "group_norm": (_operation("group_norm", _group), knob("model.norm", "group")),
        "register_parameters": (_register, None),
        "unfreeze": (_unfreeze, None),
        "fix_axis": (None, None),
        "mask_future": (None, None),
    }  # fmt: skip
    return tuple(Edit(name=name, program=program, knobs=knobs, instead=forward)
                 for name, (program, knobs) in table.items())  # fmt: skip
