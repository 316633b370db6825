"""How does a user's own model join? It is made if need be, tried once on a few examples without
leaving a trace, and its outputs are read whether tensor, tuple or dict."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.core.errors import ModelError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Signature
from trainwright.core.seeds import derive

_INPUTS = frozenset({
    "in_features", "input_size", "num_features", "n_features", "n_in", "num_inputs", "input_dim",
    "in_dim",
})  # fmt: skip
_CHANNELS = frozenset({"in_channels", "channels", "num_channels"})
_VOCABULARY = frozenset({"vocabulary", "vocab_size", "vocabulary_size", "num_embeddings"})
_OUTPUTS = frozenset({
    "out_features", "output_size", "num_classes", "n_classes", "num_outputs", "n_out",
    "output_dim", "out_dim",
})  # fmt: skip
_KEYS = ("logits", "output", "prediction")


def adopt(candidate: object, signature: Signature, num_outputs: int, seed: int) -> nn.Module:
    """The user's module: an instance is used as it is and trained in place, a class or factory is
    called, with the sizes that its parameters ask for by name (in_features, in_channels,
    vocab_size, num_classes, … and their usual synonyms).

    Weights of a class or factory come from `seed` alone. Raises ModelError.
    """
    if isinstance(candidate, nn.Module):
        return _with_weights(candidate)
    name = _name(candidate)
    if not callable(candidate):
        raise ModelError(
            phrase("the model is {type}", type=_article(type(candidate).__name__)),
            allowed=phrase("a name, a torch.nn.Module, its class, or a function that returns one"),
            do=phrase("pass the module itself, e.g. model=MyNet()"),
        )
    sizes = _asked_sizes(candidate, name, signature, num_outputs)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "init"))
        try:
            module = candidate(**sizes)
        except Exception as error:
            given = ", ".join(f"{key}={value}" for key, value in sizes.items())
            raise ModelError(
                phrase(
                    "{name}({given}) failed: {error}", name=name, given=given, error=_said(error)
                ),
                allowed=phrase("a class or function that makes the module when called so"),
                do=phrase("make the module yourself and pass the instance"),
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            phrase(
                "{name} returned {type}, not a module",
                name=name,
                type=_article(type(module).__name__),
            ),
            allowed=phrase("a function that returns a torch.nn.Module"),
            do=phrase("return the module, or pass it directly"),
        )
    return _with_weights(module)


def first_output(outputs: Any) -> Tensor:
    """The tensor to learn from: itself; of a dict `logits`, `output`, `prediction`, or its only
    tensor; of a tuple the first; of another object its `logits`.

    Raises ModelError when none of these is a tensor.
    """
    if isinstance(outputs, Tensor):
        return outputs
    found: Any = None
    if isinstance(outputs, Mapping):
        named: list[Any] = [outputs[key] for key in _KEYS if key in outputs]
        tensors = [value for value in outputs.values() if isinstance(value, Tensor)]
        found = named[0] if named else tensors[0] if len(tensors) == 1 else None
    elif isinstance(outputs, Sequence) and outputs and not isinstance(outputs, str):
        found = outputs[0]
    else:
        found = next((getattr(outputs, key) for key in _KEYS if hasattr(outputs, key)), None)
    if not isinstance(found, Tensor):
        holds = ""
        if isinstance(outputs, dict):
            holds = phrase(" with {keys}", keys=shown(", ".join(map(str, outputs))))
        raise ModelError(
            phrase(
                "the model's forward returned {type}{holds}",
                type=_article(type(outputs).__name__),
                holds=holds,
            ),
            allowed=phrase("a tensor, a tuple that starts with it, or a dict with it as 'logits'"),
            do=phrase("return the tensor of predictions"),
        )
    return found


def try_forward(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[int, ...]:
    """The shape of the outputs for a few examples, [batch] or [batch, output].

    Runs in evaluation mode without gradient; random state, buffers and each module's mode are put
    back. Raises ModelError with torch's own words when the model cannot take the inputs, or
    returns another form.
    """
    modes = [(part, part.training) for part in module.modules()]
    before = {
        name: buffer.detach().clone()
        for name, buffer in module.named_buffers()
        if not nn.parameter.is_lazy(buffer)
    }
    first = next((p for p in module.parameters() if not nn.parameter.is_lazy(p)), None)
    there = tuple(x.to(first.device) for x in inputs) if first is not None else inputs
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            outputs = first_output(module.eval()(*there))
    except ModelError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{list(x.shape)} {str(x.dtype)[6:]}" for x in inputs)
        raise ModelError(
            phrase(
                "{model} failed on {inputs} of shape {shapes}: {error}",
                model=_name(module),
                inputs=_count(inputs),
                shapes=shapes,
                error=_said(error),
            ),
            allowed=phrase("a forward that takes {shapes} (batch first)", shapes=shapes),
            do=phrase("fit the first layer to the data, or reshape at the start of forward"),
        ) from error
    finally:
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                if name in before:
                    buffer.copy_(before[name])
    return _checked_shape(outputs, inputs[0].shape[0])


def _checked_shape(outputs: Tensor, batch: int) -> tuple[int, ...]:
    shape = tuple(outputs.shape)
    if outputs.dim() not in (1, 2) or shape[0] != batch or 0 in shape:
        raise ModelError(
            phrase(
                "the model turned {batch} examples into an output of shape {shape}",
                batch=batch,
                shape=list(shape),
            ),
            allowed=phrase("[batch] or [batch, outputs], one row for each example"),
            do=phrase("flatten or average the other dimensions at the end of forward"),
        )
    if not outputs.is_floating_point():
        raise ModelError(
            phrase(
                "the model's outputs are {dtype}, which has no gradient",
                dtype=str(outputs.dtype)[6:],
            ),
            allowed=phrase("floating-point outputs, e.g. logits"),
            do=phrase("return scores before argmax or rounding"),
        )
    return shape


def _asked_sizes(
    candidate: Callable[..., Any], name: str, signature: Signature, num_outputs: int
) -> dict[str, int]:
    """Values for the parameters that name a size."""
    try:
        parameters = inspect.signature(candidate).parameters.values()
    except (TypeError, ValueError):
        return {}  # written in C: it says nothing about its parameters
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    sizes: dict[str, int] = {}
    for parameter in parameters:
        if parameter.kind in fixed:
            continue
        size = _size(parameter.name, signature, num_outputs)
        if size is not None and parameter.kind != inspect.Parameter.POSITIONAL_ONLY:
            sizes[parameter.name] = size
        elif parameter.default is inspect.Parameter.empty:
            raise ModelError(
                phrase(
                    "{name} needs {parameter}, and what that should be is not known",
                    name=name,
                    parameter=shown(parameter.name),
                ),
                allowed=phrase(
                    "no parameters, or ones named in_features, in_channels, vocab_size, "
                    "num_classes or num_outputs"
                ),
                do=phrase(
                    "pass an instance, or lambda: {name}({parameter}=…)",
                    name=name,
                    parameter=parameter.name,
                ),
            )
    return sizes


def _size(parameter: str, signature: Signature, num_outputs: int) -> int | None:
    if parameter in _OUTPUTS:
        return num_outputs
    if parameter in _INPUTS:
        return math.prod(signature.shape)
    if parameter in _CHANNELS and len(signature.shape) > 1:
        return signature.shape[0]
    if parameter in _VOCABULARY and signature.vocabulary:
        return signature.vocabulary
    return None


def _with_weights(module: nn.Module) -> nn.Module:
    if not any(p.requires_grad for p in module.parameters()):
        raise ModelError(
            phrase("{model} has no weights that can be trained", model=_name(module)),
            allowed=phrase("a module with at least one parameter that requires a gradient"),
            do=phrase("register layers as attributes or in nn.ModuleList, not in a plain list"),
        )
    return module


def _name(value: Any) -> str:
    return shown(str(getattr(value, "__name__", type(value).__name__)))[1:-1]


def _article(noun: str) -> str:
    plain = shown(noun)[1:-1]
    if noun[:1].lower() in "aeiou":
        return phrase("an {noun}", noun=plain)
    return phrase("a {noun}", noun=plain)


def _count(inputs: tuple[Tensor, ...]) -> str:
    if len(inputs) == 1:
        return phrase("an input")
    return phrase("{num} inputs", num=len(inputs))


def _said(error: Exception) -> str:
    """The error's own words in one safe line; longer than a value, since torch puts shapes last."""
    text = " ".join(str(error).split())[:240]
    safe = "".join(c if c.isprintable() else "?" for c in text)
    return f"{type(error).__name__}: {safe}" if safe else type(error).__name__
