"""Where is a new part put? Behind a layer or behind its activation: as a child of the layer's own
module called by a hook, or, where a function uses a bare parameter, by a rule of the forward."""

from collections.abc import Sequence

from torch import nn

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.edit.surgery.anatomy import Activation, Anatomy, Call, Layer, expression
from trainwright.edit.surgery.hooks import AddInput, Then
from trainwright.edit.surgery.record import Record
from trainwright.edit.surgery.rewire import Rule

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # a new child would become a member
TRANSFORMERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)  # they read `.weight`


class Places:
    """Puts parts in, and gathers what the forward must do for them; `finish` makes it so."""

    def __init__(self, record: Record, anatomy: Anatomy) -> None:
        self.record, self.anatomy = record, anatomy
        self.behind_weights: dict[str, str] = {}
        self.adding: list[str] = []
        self.following: list[tuple[Call, str]] = []
        self.changed: list[str] = []
        self.lines: list[str] = []

    def behind(self, layer: Layer, name: str, part: nn.Module, code: str) -> None:
        """`part` is applied to what the layer gives, before its non-linearity."""
        path = self._host(layer, name, part)
        if layer.is_module:
            module = self.record.model.get_submodule(layer.name)
            self.record.hook(module, Then(path.rpartition(".")[2]))
        else:
            self.behind_weights[layer.weight] = path
        self.changed.append(path)
        self.lines.append(self._line(layer, code))

    def behind_activation(
        self, layer: Layer, activation: Activation, name: str, part: nn.Module, code: str
    ) -> None:
        """`part` is applied to what the non-linearity behind the layer gives."""
        if activation.module:
            module = self.record.model.get_submodule(activation.module)
            child = self.record.child(module, name, part)
            self.record.hook(module, Then(child))
            self.changed.append(f"{activation.module}.{child}")
            place = expression(activation.module)
            self.lines.append(f"{place} = torch.nn.Sequential({place}, {code})")
            return
        path = self._host(layer, name, part)
        self.following.append((site(self.anatomy, [activation]), path))
        self.changed.append(path)
        where = activation.line or activation.inside
        words = say("surgery.behind_call", new=code, old=activation.name)
        self.lines.append(f"# {where}: {words}")

    def add_input(self, layer: Layer) -> None:
        """What goes into the layer is added to what it gives."""
        self.changed.append(layer.name)
        if layer.is_module:
            self.record.hook(self.record.model.get_submodule(layer.name), AddInput())
            place = expression(layer.name)
            if layer.kind in ("recurrent", "attention"):
                self.lines.append("# " + say("surgery.skip_outputs", place=place))
                return
            self.lines.append(
                f"{place}.register_forward_hook(lambda module, inputs, output: output + inputs[0])"
                f"  # {say('surgery.skip')}"
            )
        else:
            self.adding.append(layer.weight)
            words = say("surgery.skip_call", weight=layer.name)
            self.lines.append(f"# {layer.line}: {words}")

    def finish(self) -> None:
        """The forward is changed, once for all parts that need it."""
        if self.behind_weights or self.adding or self.following:
            behind, adding = dict(self.behind_weights), frozenset(self.adding)
            rule = Rule(behind=behind, adding=adding, following=tuple(self.following))
            self.record.rewire(rule)

    def _host(self, layer: Layer, name: str, part: nn.Module) -> str:
        """Makes the part a child of the module that holds the layer's parameters; its path."""
        model = self.record.model
        owner, _, leaf = layer.weight.rpartition(".")
        if layer.is_module:
            owner, leaf = layer.name, ""
        while owner and isinstance(
            model.get_submodule(owner), (nn.ParameterList, nn.ParameterDict)
        ):
            owner, _, above = owner.rpartition(".")
            leaf = f"{above}_{leaf}"
        module = model.get_submodule(owner)
        if isinstance(module, CONTAINERS):
            raise TrainwrightError(
                phrase("the weights {name} lie in a container", name=shown(layer.name)),
                allowed=phrase("weights in a module whose children are not run by their order"),
                do=phrase("move the weights into a module of their own"),
            )
        child = self.record.child(module, f"{leaf}_{name}" if leaf else name, part)
        return f"{owner}.{child}" if owner else child

    def _line(self, layer: Layer, code: str) -> str:
        """What a user writes, once the model is built."""
        place = expression(layer.name)
        if not layer.is_module:
            return "# " + say(
                "surgery.behind_weight", where=layer.line, new=code, weight=layer.name
            )
        above = self.record.model.get_submodule(layer.name.rpartition(".")[0])
        if layer.kind in ("recurrent", "attention"):
            return "# " + say("surgery.behind_outputs", place=place, new=code)
        if isinstance(above, TRANSFORMERS):
            return (
                f"{place}.part = {code}; {place}.register_forward_hook("
                "lambda module, inputs, output: module.part(output))"
            )
        return f"{place} = torch.nn.Sequential({place}, {code})"


def site(anatomy: Anatomy, calls: Sequence[Activation]) -> Call:
    """Where activations of one place and name are called: all calls there, or, where others are
    made there too (a loop, one line), only their turns.

    Raises TrainwrightError where those turns are not the same on every batch.
    """
    first = calls[0]
    alike = [
        a for a in anatomy.activations if (a.call.site, a.name) == (first.call.site, first.name)
    ]
    if all(any(a is c for c in calls) for a in alike):
        return Call(site=first.call.site, name=first.name)
    if any(a.varies for a in alike):
        where = first.line or first.inside
        raise TrainwrightError(
            phrase("calls of {name} at {where} cannot be told apart", name=first.name,
                   where=shown(where)),
            allowed=phrase("activations that are called on lines of their own, or in one order"),
            do=phrase("write the activation that differs on its own line"),
        )  # fmt: skip
    turns = tuple(sorted({t for c in calls for t in c.call.turns or ()}))
    return Call(site=first.call.site, name=first.name, turns=turns)
