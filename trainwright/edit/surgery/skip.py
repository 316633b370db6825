"""Where does a signal also go past a layer? output + input, around layers or blocks."""

from collections.abc import Iterable

from torch import nn

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.edit.surgery.anatomy import Anatomy, expression
from trainwright.edit.surgery.hooks import AddInput
from trainwright.edit.surgery.place import Places
from trainwright.edit.surgery.record import Edited, Record


def insert_skip(
    model: nn.Module, anatomy: Anatomy, *, layers: Iterable[str] | None = None
) -> Edited:
    """output + input of each hidden layer whose shapes agree and around which no addition leads yet
    (linear, convolution, recurrent), or of the named layers or blocks.

    Raises TrainwrightError where there is none, or a named one has differing shapes.
    Source: He et al. 2016, arXiv:1512.03385, equation 1.
    """
    blocks = {block.name: block for block in anatomy.blocks}
    with Record(model) as record:
        places = Places(record, anatomy)
        if layers is None:
            for layer in anatomy.weighted():
                kinds = layer.kind in ("linear", "convolution", "recurrent")
                agree = layer.in_shape == layer.out_shape
                if kinds and agree and not layer.is_head and not layer.in_residual:
                    places.add_input(layer)
        for name in layers or ():
            if name in blocks:
                record.hook(model.get_submodule(name), AddInput())
                places.changed.append(name)
                places.lines.append(
                    f"{expression(name)}.register_forward_hook("
                    f"lambda module, inputs, output: output + inputs[0])  # {say('surgery.skip')}"
                )
                continue
            layer = anatomy.layer(name)
            if layer.in_shape != layer.out_shape:
                raise _no_skip(
                    phrase("{name} makes {out} of {given}", name=shown(name),
                           out=list(layer.out_shape), given=list(layer.in_shape)),
                    phrase("name another one"),
                )  # fmt: skip
            places.add_input(layer)
        if not places.changed:
            raise _no_skip(
                phrase("no hidden layer gives the shape that it gets, or all have skips"),
                phrase("make hidden layers equally wide, then add skips"),
            )
        places.finish()
        return record.done("insert_skip", places.changed, places.lines)


def _no_skip(what: str, do: str) -> TrainwrightError:
    allowed = phrase("layers and blocks whose outputs have the shape of their inputs")
    return TrainwrightError(what, allowed=allowed, do=do)
