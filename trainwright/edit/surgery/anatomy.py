"""What does a network consist of, in the order in which it runs? Plain values, found by a dry run
(observe.py), that the operations of surgery read."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainwright.check.network.trace import words
from trainwright.core.caller import users_line
from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.facts import LayerKind
from trainwright.core.phrases import phrase

# What bends each value by itself; `custom` is a module of the user's own that does.
ELEMENTWISE = words(
    "relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid tanh softsign softplus hardtanh "
    "hardsigmoid hardswish prelu rrelu logsigmoid tanhshrink softshrink hardshrink threshold custom"
)

# What seldom suits hidden units (it grows without bound, or looks across them), and elsewhere is a
# scale, a distance, a link to rates, the softmax of attention, a guard.
GROWS = words("exp expm1 sinh cosh square pow")
UNSUITED = GROWS | words("softmax log_softmax softmin clamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an activation in the code: the user's `site` (file.py:line, empty where the user
    wrote no forward), the name of what it applies, and its turns there where they differ."""

    site: str
    name: str
    turns: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Something with weights that ran. Shapes are of the first batch, with the batch axis.

    `name` is that of the module which holds the parameters, or of the parameter where a function
    (F.linear, @) uses it bare; `is_module`: a hook on that module sees the inputs and outputs.
    """

    name: str
    kind: LayerKind
    operation: str
    is_module: bool
    parameters: tuple[str, ...]
    weight: str  # the matrix among them, or the largest
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    channel_axis: int
    fan_in: int
    fan_out: int
    activation: str | None = None  # the non-linearity that follows
    norm: str | None = None  # batch, layer, group, instance, rms: what follows
    norm_layer: str = ""  # the name of that norm, where it has parameters
    next_linear: tuple[str, ...] = ()  # layers reached through linear maps only
    in_residual: bool = False  # an addition joins its outputs with what it was computed from
    is_head: bool = False
    line: str | None = None
    num_calls: int = 1
    varies: bool = False  # on some batches it did not run

    @property
    def num_features(self) -> int:
        return self.out_shape[self.channel_axis]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A non-linearity that ran. `module` is its own module, or empty: a function, or a method of a
    tensor, called in the forward of module `inside`. `behind` are the layers it follows."""

    name: str
    operation: str
    module: str
    inside: str
    call: Call
    line: str | None
    behind: tuple[str, ...] = ()
    is_head: bool = False  # no weights after it
    is_gate: bool = False  # it weighs, scales or guards other values (gates.py)
    part_of: str = ""  # a module that is one non-linearity in several steps
    varies: bool = False  # ran at differing turns on different batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A module with several layers whose outputs have the shape of its inputs."""

    name: str
    shape: tuple[int, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Layers and activations in order of execution, over all batches that were tried.

    `head_activation` makes the (first) output; nothing but reshapes stand between, and it is no
    exponential or power, which squash nothing.
    `cannot_copy`: why the model has no deep copy; None where it has.
    """

    layers: tuple[Layer, ...]
    activations: tuple[Activation, ...]
    blocks: tuple[Block, ...] = ()
    head_activation: Activation | None = None
    dropout_functions: tuple[str, ...] = ()  # lines where dropout is called as a function
    cannot_copy: str | None = None

    def layer(self, name: str) -> Layer:
        """Raises TrainwrightError for a name that no layer has."""
        found = next((each for each in self.layers if each.name == name), None)
        if found is None:
            names = [each.name for each in self.layers]
            raise TrainwrightError(
                phrase("no layer {name} ran", name=shown(name)),
                allowed=", ".join(names[:30]),
                do=did_you_mean(name, names),
            )
        return found

    def weighted(self, names: Iterable[str] | None = None) -> tuple[Layer, ...]:
        """The named layers, or all that are no norms."""
        if names is not None:
            return tuple(self.layer(name) for name in names)
        return tuple(each for each in self.layers if each.kind != "norm")

    def following(self, layer: Layer) -> Activation | None:
        """The elementwise non-linearity right behind a layer."""
        return next((a for a in self.activations if layer.name in a.behind), None)


def call_site() -> str:
    """file.py:line of the user's innermost frame; empty where only torch's and ours lie between.
    Without the folder: a pickled model is loaded elsewhere."""
    line = users_line()
    return Path(line).name if line else ""


def expression(path: str, root: str = "model") -> str:
    """How the part is reached in code: `net.0.fc` -> `model.net[0].fc`."""
    text = root
    for part in path.split(".") if path else []:
        text += f"[{part}]" if part.isdigit() else f".{part}"
    return text
