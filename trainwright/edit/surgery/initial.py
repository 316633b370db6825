"""Which weights does training start from? By the fan-in and the non-linearity that was observed, by
the data (LSUV), or a fresh draw from the user's own."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import init

from trainwright.check.network.layers import output_statistics
from trainwright.check.network.trace import Trace
from trainwright.check.subject import same_random_states
from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.edit.surgery.anatomy import Anatomy, Layer, expression
from trainwright.edit.surgery.dry_run import call
from trainwright.edit.surgery.record import Edited, Record

How = Literal["he", "xavier", "orthogonal", "lecun", "lsuv"]
# sqrt of 1 / (mean of f(z)^2 for standard normal z), as in torch.nn.init.calculate_gain;
# silu, mish, gelu and elu like relu [assumed]
GAINS = {"relu": math.sqrt(2), "relu6": math.sqrt(2), "leaky_relu": math.sqrt(2 / 1.0001),
         "prelu": math.sqrt(2 / 1.0625), "tanh": 5 / 3, "selu": 3 / 4, "gelu": math.sqrt(2),
         "silu": math.sqrt(2), "mish": math.sqrt(2), "elu": math.sqrt(2)}  # fmt: skip
GATES = {"lstm": 4, "lstm_cell": 4, "gru": 3, "gru_cell": 3}  # blocks of rows in a weight
MOST_PASSES = 5  # LSUV stops here [paper: arXiv:1511.06422, T_max]
NEAR = 0.05  # of unit standard deviation [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One tensor of a layer and how to give it a value, reparametrised or not."""

    owner: nn.Module
    attribute: str
    value: Tensor
    path: str

    def write(self, new: Tensor) -> None:
        if nn.utils.parametrize.is_parametrized(self.owner, self.attribute):
            setattr(self.owner, self.attribute, new)
        else:
            self.value.copy_(new)


def initialise(
    model: nn.Module, anatomy: Anatomy, how: How = "he", *, layers: Iterable[str] | None = None,
    batch: Any = None, seed: int = 0,
) -> Edited:  # fmt: skip
    """New weights, normal unless orthogonal, with gain g of the non-linearity that follows:
        he          sd g / sqrt(fan in)
        xavier      sd g sqrt(2 / (fan in + fan out))
        lecun       sd 1 / sqrt(fan in)
        orthogonal  orthogonal rows or columns, times g
        lsuv        orthogonal, then scaled until each layer's outputs on `batch` have unit sd
    Biases become 0, scale and shift of norms 1 and 0. Recurrent weights are orthogonal by gate and
    their input's Xavier; embeddings are standard normal unless they are the head too. Frozen
    parameters are left as they are.

    Raises TrainwrightError for lsuv without a batch, and where nothing is trainable.
    Source: arXiv:1502.01852, Glorot & Bengio 2010, arXiv:1511.06422.
    """
    if how not in get_args(How):
        raise TrainwrightError(
            phrase("there is no initialisation {name}", name=shown(how)),
            allowed=", ".join(get_args(How)),
            do=did_you_mean(str(how), get_args(How)),
        )
    if how == "lsuv" and batch is None:
        raise TrainwrightError(
            phrase("lsuv needs data"),
            allowed=phrase("one batch, as the model is called with it"),
            do=phrase("give batch=, or choose he, xavier, orthogonal or lecun"),
        )
    chosen = [anatomy.layer(n) for n in layers] if layers is not None else list(anatomy.layers)
    random = torch.Generator().manual_seed(seed)
    linear = {p for each in chosen if each.kind in ("linear", "convolution")
              for p in each.parameters}  # fmt: skip
    with Record(model) as record, torch.no_grad():
        changed, lines = [], []
        for layer in chosen:
            for weight in _weights(model, layer):
                if layer.kind == "embedding" and linear & set(layer.parameters):
                    continue
                code = _draw(layer, weight, how, random)
                changed.append(weight.path)
                lines.append(f"{code}  # {layer.activation or layer.kind}")
        if not changed:
            raise TrainwrightError(
                phrase("no parameter is trainable"),
                allowed=phrase("layers with requires_grad"),
                do=phrase("unfreeze them with model.requires_grad_(True)"),
            )
        record.touch()
        if how == "lsuv":
            _unit_variance(model, [each for each in chosen if _scalable(each)], batch)
            lines.append("# " + say("surgery.lsuv"))
        return record.done("initialise", changed, lines)


def _weights(model: nn.Module, layer: Layer) -> Iterator[Weight]:
    """The trainable tensors of a layer."""
    met: set[tuple[int, str]] = set()
    for name in layer.parameters:
        path, _, attribute = name.rpartition(".")
        if ".parametrizations." in f".{name}":
            path, _, rest = f".{name}".partition(".parametrizations.")
            path, attribute = path[1:], rest.partition(".")[0]
        owner = model.get_submodule(path)
        if (id(owner), attribute) not in met and model.get_parameter(name).requires_grad:
            met.add((id(owner), attribute))
            shown_path = f"{path}.{attribute}" if path else attribute
            value = getattr(owner, attribute)
            yield Weight(owner=owner, attribute=attribute, value=value, path=shown_path)


def _draw(layer: Layer, weight: Weight, how: How, random: torch.Generator) -> str:
    """Writes new values; the code for it."""
    value, place = weight.value, expression(weight.path)
    if value.ndim < 2 or layer.kind == "norm":
        number = float(layer.kind == "norm" and weight.path == _scale(layer))
        weight.write(torch.full_like(value, number))
        return f"torch.nn.init.constant_({place}, {number})"
    if layer.kind == "embedding":
        new = torch.empty_like(value).normal_(generator=random)
        if (row := getattr(weight.owner, "padding_idx", None)) is not None:
            new[row] = 0
        weight.write(new)
        return f"torch.nn.init.normal_({place})"
    if layer.kind in ("recurrent", "attention"):
        blocks = GATES.get(layer.operation, 1)
        if layer.kind == "attention":
            blocks = 3 if "in_proj" in weight.attribute else 1
        orthogonal = "_hh" in weight.attribute
        draw = _orthogonal if orthogonal else _xavier
        parts = [draw(part, random) for part in value.chunk(blocks)]
        weight.write(torch.cat(parts))
        function = "orthogonal_" if orthogonal else "xavier_normal_"
        return f"[torch.nn.init.{function}(part) for part in {place}.data.chunk({blocks})]"
    gain = GAINS.get(layer.activation or "", 1.0) if not layer.is_head else 1.0
    if how in ("orthogonal", "lsuv"):
        weight.write(_orthogonal(value, random) * gain)
        return f"torch.nn.init.orthogonal_({place}, gain={gain:.6g})"
    sd = {
        "he": gain / math.sqrt(layer.fan_in),
        "xavier": gain * math.sqrt(2 / (layer.fan_in + layer.fan_out)),
        "lecun": 1 / math.sqrt(layer.fan_in),
    }[how]
    weight.write(torch.empty_like(value).normal_(0, sd, generator=random))
    return f"torch.nn.init.normal_({place}, std={sd:.6g})"


def _scale(layer: Layer) -> str:
    """The first parameter of a norm is its scale, the second its shift."""
    return layer.parameters[0]


def _orthogonal(part: Tensor, random: torch.Generator) -> Tensor:
    return init.orthogonal_(torch.empty_like(part), generator=random)


def _xavier(part: Tensor, random: torch.Generator) -> Tensor:
    return init.xavier_normal_(torch.empty_like(part), generator=random)


def _scalable(layer: Layer) -> bool:
    return layer.kind in ("linear", "convolution")


def _unit_variance(model: nn.Module, layers: list[Layer], batch: Any) -> None:
    """Scales layer after layer until its outputs on the batch have sd 1, as often as it takes."""
    buffers = [(b, b.clone()) for b in model.buffers()]
    modes = [(m, m.training) for m in model.modules()]
    model.train()
    with same_random_states():
        for layer in layers:
            for _ in range(MOST_PASSES):
                sd = _output_sd(model, batch).get(layer.name)
                if sd is None or sd == 0 or not math.isfinite(sd) or abs(sd - 1) < NEAR:
                    break
                for weight in _weights(model, layer):
                    if weight.value.ndim >= 2:
                        weight.write(weight.value / sd)
    for module, training in modes:
        module.training = training
    for buffer, value in buffers:
        buffer.copy_(value)


def _output_sd(model: nn.Module, batch: Any) -> dict[str, float]:
    trace = Trace(model, after=output_statistics)
    for value in batch.values() if isinstance(batch, dict) else _as_tuple(batch):
        if isinstance(value, Tensor):
            trace.feed(value)
    with trace:
        call(model, batch)
    found: dict[str, float] = {}
    for node in trace.nodes:
        if node.layer and "sd" in node.seen:
            found.setdefault(node.layer, node.seen["sd"])
    return found


def _as_tuple(batch: Any) -> tuple[Any, ...]:
    return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)


def reset_weights(model: nn.Module, seed: int = 0) -> Edited:
    """A fresh start for a model that was handed over as an object, whose initialiser is not known.

    The entries of each parameter change places at random (within gates of recurrent layers and
    within query, key and value), so that each keeps its distribution; a padding row stays, and so
    do constants and tensors whose rows are equal. Statistics of norms are forgotten. What a start
    owes to structure (orthogonal, identity, sinusoids) is lost, and of a trained model the
    distribution is that of trained weights: give a factory where there is one.

    Raises TrainwrightError for a model whose parameters are all constant.
    """
    with Record(model) as record:
        changed = redraw(model, seed)
        if not changed:
            raise TrainwrightError(
                phrase("all parameters are constant"),
                allowed=phrase("a model with drawn weights"),
                do=phrase("use initialise, which draws them anew"),
            )
        record.touch()
        return record.done("reset_weights", changed, ["# " + say("surgery.reset", seed=seed)])


@torch.no_grad()
def redraw(model: nn.Module, seed: int) -> list[str]:
    """`reset_weights` without a way back; the names of the parameters whose entries moved."""
    random = torch.Generator().manual_seed(seed)
    changed: list[str] = []
    met: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in met or not _is_drawn(parameter):
                continue
            met.add(id(parameter))
            for part in _parts(module, name, parameter):
                order = torch.randperm(part.numel(), generator=random).to(part.device)
                part.copy_(part.reshape(-1)[order].view_as(part))
            changed.append(f"{path}.{name}" if path else name)
        reset: Callable[[], None] | None = getattr(module, "reset_running_stats", None)
        if reset is not None:
            reset()
    return changed


def _is_drawn(parameter: Tensor) -> bool:
    rows = parameter.reshape(len(parameter), -1) if parameter.ndim > 1 else parameter.reshape(1, -1)
    equal = len(rows) > 1 and bool((rows == rows[:1]).all())
    return parameter.numel() > 1 and not equal and bool((parameter != parameter.flatten()[0]).any())


def _parts(module: nn.Module, name: str, parameter: Tensor) -> tuple[Tensor, ...]:
    """Pieces within which entries may change places."""
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        gates = {"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3}
        return parameter.chunk(gates.get(type(module).__name__, 1))
    if isinstance(module, nn.MultiheadAttention) and name.startswith("in_proj"):
        return parameter.chunk(3)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        row = module.padding_idx
        return tuple(p for p in (parameter[:row], parameter[row + 1 :]) if p.numel())
    return (parameter,)
