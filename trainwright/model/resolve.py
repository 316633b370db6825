"""What will be built? Every `auto` of [model] becomes a value, by what one example looks like,
without torch: so that a record can show the network as it was."""

import math
from typing import Any, Literal

from trainwright.core.errors import ModelError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice, Signature
from trainwright.model.knobs import MODELS, ModelKnobs

EMBEDDED_NUMBERS = 100  # more are pixels or expression levels, and each costs [assumed]
WAVEFORM_SAMPLES = 1000  # a longer signal in one or two channels is raw sound [assumed]
LARGE_IMAGE = 64  # pixels, from where the first stage strides [assumed]

_BY_KIND = {"features": "mlp", "image": "convnet", "audio": "convnet", "text": "bag"}
_FITTING = {
    "linear": ("features", "image", "audio", "text", "any"),
    "mlp": ("features", "image", "audio", "any"),
    "rnn": ("image", "audio", "text", "any"),
    "convnet": ("image", "audio", "any"),
    "bag": ("text",),
}
_ANY_DIMENSIONS = {"convnet": (2, 3), "rnn": (2,)}  # of examples that are just arrays
_CONVNET_ONLY = ("kernel", "stride", "pool")
_READERS_ONLY = ("readout",)
_RNN_ONLY = ("cell",)
_TABLE_ONLY = ("numeric_embedding", "embedding_width", "frequency_sd", "category_width",
               "input_scale", "members", "wide")  # fmt: skip
_BAG_ONLY = ("ngrams", "buckets")
_HIDDEN = ("depth", "width", "activation", "norm", "norm_position", "skip", "dropout")
_WITHOUT_EFFECT: dict[str, tuple[str, ...]] = {
    "linear": _HIDDEN + _CONVNET_ONLY + _READERS_ONLY + _TABLE_ONLY + _BAG_ONLY + _RNN_ONLY,
    "mlp": _CONVNET_ONLY + _READERS_ONLY + _BAG_ONLY + _RNN_ONLY,
    "convnet": _TABLE_ONLY + _BAG_ONLY + _RNN_ONLY,
    "bag": _CONVNET_ONLY + _READERS_ONLY + _TABLE_ONLY + _RNN_ONLY,
    "rnn": ("norm", "norm_position", "skip") + _CONVNET_ONLY + _TABLE_ONLY + _BAG_ONLY,
}
_READOUTS = {"convnet": ("average", "max", "grid"), "rnn": ("last", "average", "max")}


def chosen_name(knobs: ModelKnobs, signature: Signature) -> str:
    """The built-in model for this data.

    Raises ModelError when the name is unknown, or the model cannot read such examples.
    """
    name = knobs.name
    if name == "auto":
        by_dimensions = {2: "convnet", 3: "convnet"}.get(len(signature.shape), "mlp")
        name = _BY_KIND.get(signature.kind, by_dimensions)
    if name not in _FITTING:
        raise ModelError(
            phrase("{name} is no built-in model", name=shown(name)),
            allowed=phrase("{models}, or your own code as pkg.mod:Net", models=", ".join(MODELS)),
            do=did_you_mean(name, MODELS),
        )
    fitting = [m for m, kinds in _FITTING.items() if signature.kind in kinds]
    if signature.kind == "any":
        dimensions = len(signature.shape)
        fitting = [m for m in fitting if dimensions in _ANY_DIMENSIONS.get(m, (dimensions,))]
    if name not in fitting:
        raise ModelError(
            phrase(
                "{name} does not read {kind} examples of shape {shape}",
                name=name,
                kind=signature.kind,
                shape=signature.shape,
            ),
            allowed=", ".join(["auto", *fitting]),
            do=phrase("write model.name = '{fitting}'", fitting=fitting[-1]),
        )
    return name


def auto_network(
    knobs: ModelKnobs, signature: Signature
) -> Literal["table", "image", "other"] | None:
    """Which of our own networks stands for `auto`; None when a model was asked for by name."""
    if knobs.name != "auto":
        return None
    if signature.kind == "features":
        return "table"
    return "image" if chosen_name(knobs, signature) == "convnet" else "other"


def resolve(knobs: ModelKnobs, signature: Signature, *, regression: bool = False) -> ModelKnobs:
    """The knobs with every `auto` but `init` replaced by what is built; what is resolved already
    stays as it is.

    Raises ModelError as `chosen_name`, and when activations and layers differ in number.
    """
    name = chosen_name(knobs, signature)
    match name:
        case "linear":
            values: dict[str, Any] = {"depth": 0, "width": 1, "activation": "none"}
        case "convnet":
            values = _convnet(knobs, signature)
        case "rnn":
            readout = "average" if signature.kind == "text" else "last"
            values = {"depth": 1, "width": 128, "activation": "tanh", "readout": readout}
        case "bag":
            values = {"depth": 1, "width": 64, "dropout": 0.3}
        case _:
            values = {"depth": 3, "width": 256}
            if auto_network(knobs, signature) == "table":
                values |= {"dropout": 0.1, "input_scale": True, "members": 4, "wide": regression}
                few = math.prod(signature.shape) <= EMBEDDED_NUMBERS
                values["numeric_embedding"] = "pbld" if few else "none"
    off: dict[str, Any] = {
        "activation": "relu", "norm": "none", "dropout": 0.0, "kernel": 3, "stride": 1, "pool": 2,
        "readout": "max",
        "numeric_embedding": "none", "input_scale": False, "members": 1, "wide": False,
    }  # fmt: skip
    if isinstance(knobs.activation, tuple) and knobs.depth == "auto":
        values["depth"] = len(knobs.activation)
    update = {key: value for key, value in (off | values).items() if getattr(knobs, key) == "auto"}
    resolved = knobs.model_copy(update={"name": name} | update)
    _check_readout(resolved)
    return resolved


def without_effect(knobs: ModelKnobs, signature: Signature) -> tuple[Notice, ...]:
    """Knobs that were turned but do nothing in this model, each said once."""
    name = chosen_name(knobs, signature)
    fields = type(knobs).model_fields
    idle = _WITHOUT_EFFECT[name]
    if name == "rnn" and knobs.cell != "rnn":
        idle = ("activation", *idle)
    return tuple(
        Notice(code="model_knob_without_effect", values={"knob": f"model.{knob}", "model": name})
        for knob in idle
        if getattr(knobs, knob) != fields[knob].default
    )


def _check_readout(knobs: ModelKnobs) -> None:
    known = _READOUTS.get(knobs.name, (knobs.readout,))
    if knobs.readout not in known:
        raise ModelError(
            phrase("{model} has no readout '{readout}'", model=knobs.name, readout=knobs.readout),
            allowed=", ".join(["auto", *known]),
            do=phrase("write model.readout = '{known}'", known=known[0]),
        )


def _convnet(knobs: ModelKnobs, signature: Signature) -> dict[str, Any]:
    side = min(signature.shape[1:])
    if len(signature.shape) == 3:
        stride = 2 if side >= LARGE_IMAGE else 1
        kernel, pool, width = 3, 2, 32
    elif is_waveform(signature):
        stride, kernel, pool, width = 4, 5, 4, 64
    else:
        stride, kernel, pool, width = 1, 5, 2, 64
    if knobs.stride != "auto":
        stride = knobs.stride
    if knobs.pool != "auto":
        pool = knobs.pool
    left = max(side / stride, 1)
    stages = round(math.log(left, max(pool, 2))) - (1 if is_waveform(signature) else 2)
    return {
        "depth": min(max(stages, 2), 5), "width": width, "norm": "batch", "stride": stride,
        "kernel": kernel, "pool": pool, "readout": "grid" if len(signature.shape) == 3 else "max",
    }  # fmt: skip


def is_waveform(signature: Signature) -> bool:
    """Whether examples are raw sound: (channels, time) with few channels and many samples."""
    shape = signature.shape
    return len(shape) == 2 and shape[0] <= 2 and shape[1] >= WAVEFORM_SAMPLES
