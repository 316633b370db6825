"""Where is dropout put in, and at which rate does it work?"""

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.edit.surgery.anatomy import ELEMENTWISE, Anatomy, expression
from trainwright.edit.surgery.place import Places
from trainwright.edit.surgery.record import Edited, Record
from trainwright.edit.surgery.rewire import Rule


def insert_dropout(
    model: nn.Module, anatomy: Anatomy, p: float = 0.5, *, layers: Iterable[str] | None = None
) -> Edited:
    """Dropout behind the non-linearity of each hidden layer that has one.

    Raises TrainwrightError for a rate outside 0..1, and where no hidden non-linearity runs.
    """
    _check_rate(p)
    chosen = [each for each in anatomy.weighted(layers) if layers is not None or not each.is_head]
    with Record(model) as record:
        places = Places(record, anatomy)
        met: set[str] = set()
        kept = {a.module for a in anatomy.activations if a.module and (a.is_head or a.is_gate)}
        for layer in chosen:
            found = anatomy.following(layer)
            usable = found is not None and found.name in ELEMENTWISE and not found.is_gate
            if found is None or not usable or found.is_head or found.module in kept:
                continue
            place = found.module or f"{found.inside} {found.call.site} {found.name}"
            if place in met:  # one module, or one line, serves several layers
                continue
            met.add(place)
            part = nn.Dropout(p)
            places.behind_activation(layer, found, "dropout", part, f"torch.nn.Dropout({p})")
        if not places.changed:
            raise TrainwrightError(
                phrase("no non-linearity of a hidden layer runs"),
                allowed=phrase("a network with hidden activations"),
                do=phrase("set_dropout changes the rate of dropout that is there"),
            )
        places.finish()
        return record.done("insert_dropout", places.changed, places.lines)


def set_dropout(model: nn.Module, anatomy: Anatomy | None, p: float) -> Edited:
    """The rate of all dropout that is there, 0 for none: modules, recurrent layers, attention, and,
    where an anatomy is given, calls of functions. A rate of 0 stays 0: it was switched off.

    Raises TrainwrightError for a rate outside 0..1, and where there is no dropout.
    """
    _check_rate(p)
    with Record(model) as record:
        changed, lines = [], []
        for name in dropout_rates(model):
            module = model.get_submodule(name)
            attribute = _rate_of(module)
            record.attribute(module, attribute, float(p))
            changed.append(name)
            lines.append(f"{expression(name)}.{attribute} = {float(p)}")
        for name in anatomy.dropout_functions if anatomy is not None else ():
            where = type(model.get_submodule(name)).__name__
            changed.append(name or where)
            lines.append("# " + say("surgery.dropout_call", where=where, rate=p))
        if anatomy is not None and anatomy.dropout_functions:
            record.rewire(Rule(dropout=float(p)))
        if not changed:
            raise TrainwrightError(
                phrase("there is no dropout at a rate above zero"),
                allowed=phrase("a network with dropout; functions are found with an anatomy"),
                do=phrase("insert_dropout adds it"),
            )
        return record.done("set_dropout", changed, lines)


def dropout_rates(model: nn.Module) -> dict[str, float]:
    """The rate of each module that drops: dropout of its own, in recurrent layers, in attention."""
    kinds = (_DropoutNd, nn.RNNBase, nn.MultiheadAttention)
    found = {name: float(getattr(module, _rate_of(module)))
             for name, module in model.named_modules() if isinstance(module, kinds)}  # fmt: skip
    return {name: rate for name, rate in found.items() if rate > 0}


def _rate_of(module: nn.Module) -> str:
    return "p" if isinstance(module, _DropoutNd) else "dropout"


def _check_rate(p: float) -> None:
    if not 0 <= p < 1:
        raise TrainwrightError(
            phrase("a dropout rate of {rate} is not possible", rate=p),
            allowed=phrase("a share of the activations, from 0 to below 1"),
            do=phrase("start with 0.1 to 0.5"),
        )
