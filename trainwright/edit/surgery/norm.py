"""Which norm does a network get, or exchange? Behind each hidden layer or its non-linearity; batch
norm for one that looks at each example by itself."""

from collections.abc import Iterable
from typing import Literal

from torch import nn

from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.edit.surgery.anatomy import ELEMENTWISE, Activation, Anatomy, Layer, expression
from trainwright.edit.surgery.hooks import InsteadNorm, OnChannels
from trainwright.edit.surgery.place import Places
from trainwright.edit.surgery.record import Edited, Record

NormKind = Literal["batch", "layer", "group", "instance", "rms"]
KINDS: tuple[NormKind, ...] = ("batch", "layer", "group", "instance", "rms")
GROUPS = 32  # [paper: Group Normalization, arXiv:1803.08494, table 3]
LEAST_CHANNELS = 2  # of a group that has space to average over too [assumed]
LEAST_FEATURES = 8  # of a group without: two features would leave a sign [assumed]
IMPORT = f"from {OnChannels.__module__} import OnChannels"
KINDS_EACH = ("linear", "convolution", "recurrent")
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def insert_norm(
    model: nn.Module, anatomy: Anatomy, kind: NormKind = "batch",
    position: Literal["before", "after"] = "before", *, layers: Iterable[str] | None = None,
) -> Edited:  # fmt: skip
    """A norm `before` or `after` the non-linearity of each hidden layer that has none yet: linear
    and convolution, for layer and rms norm also recurrent, others where they are named.

    Its parameters are new, under the layer's name (`fc1.norm.weight`); rebuild the optimiser. Of
    [example, …, feature] every position counts as an example for batch norm; layer norm of a
    convolution is over channels and space together.

    Raises TrainwrightError where every hidden layer has a norm, where instance norm finds nothing
    to average over, and where `after` has no non-linearity of its own to stand behind.
    Source: Ioffe & Szegedy 2015, arXiv:1502.03167; Wu & He 2018, arXiv:1803.08494.
    """
    if kind not in KINDS:
        raise TrainwrightError(
            phrase("there is no norm {name}", name=shown(kind)),
            allowed=", ".join(KINDS),
            do=did_you_mean(kind, KINDS),
        )
    chosen = list(anatomy.weighted(layers))
    if layers is None:
        chosen = [each for each in chosen if _wants_norm(each, kind)]
        if position == "after":
            chosen = [each for each in chosen if _own_activation(anatomy, each)]
    if not chosen:
        raise TrainwrightError(
            phrase("no hidden layer is left without a norm, or none can take this one"),
            allowed=phrase("hidden linear layers and convolutions without a norm"),
            do=phrase("name layers with `layers=`, or choose another kind"),
        )
    with Record(model) as record:
        places = Places(record, anatomy)
        for layer in chosen:
            part, code = norm_for(layer, kind)
            if position == "before":
                places.behind(layer, "norm", part, code)
                continue
            activation = _own_activation(anatomy, layer)
            if activation is None:
                raise TrainwrightError(
                    phrase("{name} has no non-linearity of its own", name=shown(layer.name)),
                    allowed=phrase("layers followed by an activation that no other layer shares"),
                    do=phrase("put the norm before the non-linearity: position='before'"),
                )
            places.behind_activation(layer, activation, "norm", part, code)
        places.finish()
        needed = [IMPORT] if any("OnChannels(" in line for line in places.lines) else []
        return record.done("insert_norm", places.changed, needed + places.lines)


def replace_norm(
    model: nn.Module, new: Literal["group", "layer"] = "group", *, groups: int | None = None
) -> Edited:
    """Batch norms normalise each example by itself, with their own scale and shift and so with the
    same keys: over groups of channels, or over all (`layer`). Running statistics stand still.

    Raises TrainwrightError for a model without batch norm modules.
    """
    found = {name: m for name, m in model.named_modules() if isinstance(m, BATCH_NORMS)}
    if new not in ("group", "layer"):
        raise TrainwrightError(
            phrase("there is no norm {name}", name=shown(new)), allowed="group, layer",
            do=did_you_mean(new, ("group", "layer")),
        )  # fmt: skip
    if not found:
        raise TrainwrightError(
            phrase("there is no batch norm to replace"),
            allowed=phrase("a network with torch.nn.BatchNorm1d, 2d or 3d"),
            do=phrase("insert_norm adds a norm to layers without one"),
        )
    with Record(model) as record:
        lines = []
        for name, module in found.items():
            channels = module.num_features
            least = LEAST_FEATURES if isinstance(module, nn.BatchNorm1d) else LEAST_CHANNELS
            number = 1 if new == "layer" else num_groups(channels, groups or GROUPS, least)
            record.attribute(module, "forward", InsteadNorm(module, number))
            lines.append(f"{expression(name)} = torch.nn.GroupNorm({number}, {channels})")
        return record.done("replace_norm", list(found), lines)


def norm_for(layer: Layer, kind: NormKind) -> tuple[nn.Module, str]:
    """A fresh norm of what the layer gives, and how it is written."""
    features, last = layer.num_features, layer.channel_axis == len(layer.out_shape) - 1
    spatial = len(layer.out_shape) - 2
    match kind:
        case "batch" if last:
            part = nn.BatchNorm1d(features)
        case "batch":
            part = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[spatial - 1](features)
        case "layer" if last:
            part = nn.LayerNorm(features)
        case "layer":
            part = nn.GroupNorm(1, features)
        case "group":
            least = LEAST_CHANNELS if _has_space(layer) else LEAST_FEATURES
            part = nn.GroupNorm(num_groups(features, GROUPS, least), features)
        case "rms":
            part = nn.RMSNorm(features)
        case _:
            if not _has_space(layer):
                raise TrainwrightError(
                    phrase("{name} gives one number per channel", name=shown(layer.name)),
                    allowed=phrase("instance norm of convolutions"),
                    do=phrase("choose layer, group, batch or rms"),
                )
            kinds = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
            part = kinds[spatial - 1](features, affine=True)
    return _on_axis(part, layer, _code(part))


def num_groups(channels: int, most: int, least: int) -> int:
    """The largest number of groups of equal size, at most `most`, of `least` channels or more."""
    fitting = [g for g in range(1, most + 1) if channels % g == 0 and channels // g >= least]
    return max(fitting, default=1)


def _code(part: nn.Module) -> str:
    kind = f"torch.nn.{type(part).__name__}"
    match part:
        case nn.GroupNorm():
            return f"{kind}({part.num_groups}, {part.num_channels})"
        case nn.LayerNorm() | nn.RMSNorm():
            return f"{kind}({part.normalized_shape[0]})"
        case nn.InstanceNorm1d() | nn.InstanceNorm2d() | nn.InstanceNorm3d():
            return f"{kind}({part.num_features}, affine=True)"
    return f"{kind}({getattr(part, 'num_features', '')})"


def _on_axis(part: nn.Module, layer: Layer, code: str) -> tuple[nn.Module, str]:
    """torch's norms expect channels on axis 1, or last; others are wrapped."""
    axis, dims = layer.channel_axis, len(layer.out_shape)
    lasting = isinstance(part, (nn.LayerNorm, nn.RMSNorm))
    fits = axis == dims - 1 if lasting else axis == 1 and (dims == 2 or axis != dims - 1)
    if fits:
        return part, code
    axis_from_end = axis - dims
    return OnChannels(part, axis_from_end), f"OnChannels({code}, {axis_from_end})"


def _wants_norm(layer: Layer, kind: NormKind) -> bool:
    """Hidden, without a norm, and not a part of attention; of recurrent outputs, which are a
    sequence, layer and root-mean-square norm."""
    kinds = {"instance": ("convolution",), "layer": KINDS_EACH, "rms": KINDS_EACH}
    plain = layer.activation is None or layer.activation in ELEMENTWISE
    return (
        layer.kind in kinds.get(kind, ("linear", "convolution"))
        and not layer.is_head
        and layer.norm is None
        and len(layer.out_shape) > 1
        and (kind != "instance" or _has_space(layer))
        and (plain or layer.kind == "recurrent")
    )


def _own_activation(anatomy: Anatomy, layer: Layer) -> Activation | None:
    """The non-linearity behind this layer and no other."""
    found = anatomy.following(layer)
    return found if found is not None and len(found.behind) == 1 else None


def _has_space(layer: Layer) -> bool:
    return layer.kind == "convolution" and len(layer.out_shape) > 2
