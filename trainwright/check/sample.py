"""Which examples do the probes look at? Data as users hold them become one sample."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase

MOST_EXAMPLES = 2000  # shares are then known to about one point [assumed]
MOST_VALUES = 24_000_000  # numbers in a sample: 100 MB of float32 [assumed]
SEED = 1
Criterion = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Training examples, rows of equal length, in file order as far as there is one.

    `inputs` are what the model is called with (`names` are their keywords, if any); `targets` a
    tensor, or whatever else the criterion takes. `all_inputs` (the first of them) and `all_targets`
    are those of the whole data set where it was given at once; `num_examples` its length;
    `numbers` the rows' places in it.
    """

    inputs: tuple[Any, ...]
    targets: Any
    names: tuple[str, ...] = ()
    all_inputs: Tensor | None = None
    all_targets: Tensor | None = None
    numbers: np.ndarray | None = None
    num_examples: int = 0
    batch_size: int = 32

    @property
    def num_rows(self) -> int:
        return num_rows(self.inputs)

    def rows(self, limit: int, *, seed: int = SEED) -> "Sample":
        """At most `limit` rows, drawn at random by an own generator, in order."""
        if limit >= self.num_rows:
            return self
        own = np.random.default_rng(seed)
        return self.pick(np.sort(own.choice(self.num_rows, limit, replace=False)))

    def pick(self, index: np.ndarray) -> "Sample":
        """These rows."""
        return Sample(
            inputs=take(self.inputs, index), targets=take(self.targets, index), names=self.names,
            num_examples=self.num_examples, batch_size=self.batch_size,
            numbers=index if self.numbers is None else self.numbers[index],
        )  # fmt: skip

    def arguments(self) -> Any:
        """What the model is called with, as users hold it: a tensor, several, or by keyword."""
        if self.names:
            return dict(zip(self.names, self.inputs, strict=True))
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    def as_given(self) -> tuple[Any, Any]:
        """(X, y)"""
        return self.arguments(), self.targets

    def run(self, module: nn.Module) -> Any:
        """The model's outputs, whatever they are; where it flattens [row, time] for its loss, as
        language models do, [row, time, …] again."""
        outputs, targets = self.call(module), self.targets
        if not isinstance(targets, Tensor) or targets.dim() != 2 or targets.is_floating_point():
            return outputs
        return folded(outputs, tuple(targets.shape))

    def call(self, module: nn.Module) -> Any:
        """The model's outputs as they are."""
        if self.names:
            return module(**dict(zip(self.names, self.inputs, strict=True)))
        return module(*self.inputs)


def folded(value: Any, shape: tuple[int, ...]) -> Any:
    """Tensors of rows * time rows as [rows, time, …], with `shape` (rows, time)."""
    if isinstance(value, Tensor):
        flat = value.dim() == 2 and shape[1] > 1 and len(value) == shape[0] * shape[1]
        return value.reshape(*shape, value.shape[1]) if flat else value
    if isinstance(value, (tuple, list)):
        return tuple(folded(v, shape) for v in value)
    if isinstance(value, Mapping):
        return {k: folded(v, shape) for k, v in value.items()}
    return value


def num_rows(value: Any) -> int:
    """Length of the first tensor that is found."""
    first = first_tensor(value)
    return 0 if first is None or first.ndim == 0 else len(first)


def take(value: Any, index: np.ndarray) -> Any:
    """These rows of every tensor within."""
    if isinstance(value, Tensor):
        return value[torch.from_numpy(index).to(value.device)] if value.ndim else value
    if isinstance(value, Mapping):
        return {k: take(v, index) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(take(v, index) for v in value)
    return value


def first_tensor(value: Any) -> Tensor | None:
    """The outputs proper of what a model returned: a tensor, `.logits`, the first of a dict or a
    tuple; floating point before integers."""
    if isinstance(value, Tensor):
        return value
    logits = getattr(value, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    if isinstance(value, Mapping):
        value = list(value.values())
    elif not isinstance(value, (tuple, list)):
        return None
    found = [t for t in map(first_tensor, value) if t is not None]
    return next((t for t in found if t.is_floating_point()), found[0] if found else None)


def replace_first(value: Any, old: Tensor, new: Tensor) -> Any:
    """`value` with the tensor `old` replaced by `new`, other tensors detached."""
    if value is old:
        return new
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(replace_first(v, old, new) for v in value)
    if isinstance(value, Mapping):
        changed = copy.copy(value)
        for key, held in value.items():
            changed[key] = replace_first(held, old, new)  # type: ignore[index]
        return changed
    if getattr(value, "logits", None) is old:
        other: Any = copy.copy(value)
        other.logits = new
        return other
    return value


def sample_from(data: Any, *, device: torch.device, batch_size: int | None = None) -> Sample:
    """(X, y) or batches of (x, y) -> at most MOST_EXAMPLES examples on the model's device.

    Raises TrainwrightError on data of another form, or tensors on another device than the model.
    """
    if isinstance(data, tuple) and len(data) == 2:
        return _from_arrays(data[0], data[1], device, batch_size)
    if isinstance(data, Mapping) or not isinstance(data, Iterable) or isinstance(data, str):
        raise _wrong_data(data)
    if isinstance(data, Iterator):
        raise TrainwrightError(
            phrase("the data are an iterator, and looking at it would use it up"),
            allowed=phrase("(X, y), a DataLoader, or a list of batches (x, y)"),
            do=phrase("pass the DataLoader itself instead of iter(loader)"),
        )
    return _from_batches(data, device, batch_size)


def whole_from(data: Any, *, device: torch.device) -> Sample:
    """All of (X, y), or of batches of (x, y), on `device`: for programs that are trained again.

    Raises TrainwrightError as `sample_from` does.
    """
    if isinstance(data, tuple) and len(data) == 2:
        inputs, names = _as_inputs(data[0])
        targets = _tensor(data[1])
        _match(inputs, targets)
        return Sample(inputs=_to(inputs, device), targets=_to(targets, device), names=names,
                      num_examples=num_rows(inputs))  # fmt: skip
    found = sample_from(data, device=device)  # refuses other forms
    return found if found.num_rows >= found.num_examples else _from_batches(
        data, device, None, limit=found.num_examples)  # fmt: skip


def _wrong_data(data: Any) -> TrainwrightError:
    return TrainwrightError(
        phrase("data of type {type} are no examples", type=shown(type(data).__name__)),
        allowed=phrase("(X, y), a DataLoader, or a list of batches (x, y)"),
        do=phrase("pass inputs and targets as a pair: (X, y)"),
    )


def _tensor(value: Any) -> Any:
    """Arrays as tensors, numbers in torch's default precision, structures kept."""
    if isinstance(value, Tensor) or value is None:
        return value
    if isinstance(value, Mapping):
        return {k: _tensor(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)) and any(hasattr(v, "shape") for v in value):
        return tuple(_tensor(v) for v in value)
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise _wrong_data(value)
    if array.dtype.kind == "f":
        return torch.tensor(array, dtype=torch.get_default_dtype())
    return torch.tensor(array.astype(np.int64) if array.dtype.kind in "iu" else array)


def _as_inputs(x: Any) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    if isinstance(x, Mapping):
        return tuple(_tensor(v) for v in x.values()), tuple(map(str, x))
    x = _tensor(x)
    return (x if isinstance(x, tuple) else (x,)), ()


def _from_arrays(x: Any, y: Any, device: torch.device, batch_size: int | None) -> Sample:
    inputs, names = _as_inputs(x)
    targets = _tensor(y)
    given = first_tensor(x)
    if given is not None and given.device != device:
        raise TrainwrightError(
            phrase("the inputs are on {data}, the model is on {model}",
                   data=str(given.device), model=str(device)),
            allowed=phrase("model and data on one device"),
            do=phrase("move the model with model.to({device!r})", device=str(given.device)),
        )  # fmt: skip
    total = _match(inputs, targets)
    whole = Sample(
        inputs=_to(inputs, device), targets=_to(targets, device), names=names,
        num_examples=total, batch_size=batch_size or min(32, total),
    )  # fmt: skip
    chosen = whole.rows(_affordable(inputs))
    everything = first_tensor(targets)
    return Sample(
        inputs=chosen.inputs, targets=chosen.targets, names=names, all_targets=everything,
        all_inputs=first_tensor(inputs), numbers=chosen.numbers, num_examples=total,
        batch_size=whole.batch_size,
    )  # fmt: skip


def _match(inputs: Any, targets: Any) -> int:
    """The number of rows. Raises TrainwrightError where inputs and targets have not as many."""
    total, num_targets = num_rows(inputs), num_rows(targets)
    if total == 0 or (num_targets and num_targets != total):
        raise TrainwrightError(
            phrase("{x} rows of inputs and {y} rows of targets", x=total, y=num_targets),
            allowed=phrase("as many targets as inputs, at least one"),
            do=phrase("check how X and y are cut"),
        )
    return total


def _affordable(inputs: Any) -> int:
    first = first_tensor(inputs)
    each = max(1, first[0].numel()) if first is not None and len(first) else 1
    return int(min(MOST_EXAMPLES, max(32, MOST_VALUES // each)))


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to(device)
    if isinstance(value, Mapping):
        return {k: _to(v, device) for k, v in value.items()}
    return tuple(_to(v, device) for v in value) if isinstance(value, (tuple, list)) else value


def _from_batches(
    data: Iterable[Any], device: torch.device, batch_size: int | None, limit: int = MOST_EXAMPLES
) -> Sample:
    """The first batches, joined; a last, shorter one counts as well."""
    batches: list[tuple[Any, Any]] = []
    wanted, rows, total = limit, 0, 0
    with _same_stream(data) as stream:
        for batch in stream:
            if not isinstance(batch, (tuple, list)) or len(batch) < 2:
                raise _wrong_data(batch)
            x = batch[0] if len(batch) == 2 else tuple(batch[:-1])
            batches.append((x, batch[-1]))
            if wanted == MOST_EXAMPLES:
                limit = min(limit, _affordable(_as_inputs(x)[0]))
            rows += num_rows(_as_inputs(x)[0])
            if rows >= limit:
                break
    if not batches or rows == 0:
        raise _wrong_data(data)
    with suppress(TypeError):
        total = len(data.dataset) if isinstance(data, DataLoader) else 0  # type: ignore[arg-type]
    names = _as_inputs(batches[0][0])[1]
    parts = [_as_inputs(x)[0] for x, _ in batches]
    inputs = tuple(_joined([p[i] for p in parts]) for i in range(len(parts[0])))
    joined = Sample(
        inputs=_to(inputs, device), targets=_to(_joined([_tensor(y) for _, y in batches]), device),
        names=names, num_examples=max(total, rows), batch_size=batch_size or num_rows(parts[0]),
    )  # fmt: skip
    return joined.pick(np.arange(min(limit, joined.num_rows)))


def _joined(values: list[Any]) -> Any:
    """Batches as one; of unequal shapes (padding differs) only the first's like."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat([v for v in values if v.shape[1:] == first.shape[1:]])
    if isinstance(first, Mapping):
        return {k: _joined([v[k] for v in values]) for k in first}
    if isinstance(first, tuple):
        return tuple(_joined([v[i] for v in values]) for i in range(len(first)))
    return first


@contextmanager
def _same_stream(data: Iterable[Any]) -> Iterator[Iterable[Any]]:
    """The batches in the user's order, read in this process; the loader's own generators are put
    back, so that the user's first epoch is shuffled as it would have been."""
    if not isinstance(data, DataLoader):
        yield data
        return
    kept = [data.generator, getattr(data.sampler, "generator", None)]
    kept += [getattr(data.batch_sampler, "generator", None)]
    states = [(g, g.get_state()) for g in kept if isinstance(g, torch.Generator)]
    try:
        if data.num_workers and data.batch_sampler is not None:
            yield DataLoader(data.dataset, batch_sampler=data.batch_sampler,
                             collate_fn=data.collate_fn, generator=data.generator)  # fmt: skip
        else:
            yield data
    finally:
        for generator, state in states:
            generator.set_state(state)
