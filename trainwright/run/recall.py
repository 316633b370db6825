"""What did a run of the store show? Its record and readings become facts and history again; no
torch is needed for that."""

from collections.abc import Sequence

import numpy as np

from trainwright.core.facts import Facts
from trainwright.core.history import Curve, History
from trainwright.core.records import RunRecord
from trainwright.store.contract import Reading


def recall(record: RunRecord, readings: Sequence[Reading]) -> tuple[Facts, History]:
    """Facts and history of a stored run. One that was not watched has the curves only."""
    samples = [r for r in readings if r.kind == "watch"]
    bad = [r.step for r in readings if r.kind == "non_finite"]
    curves = {kind: _curves([r for r in readings if r.kind == kind]) for kind in ("train", "valid")}
    loss = _losses(readings)
    if not len(loss.steps):
        loss = curves["train"].get("loss", loss)
    off = loss.steps[~np.isfinite(loss.values)]
    first_bad = min([*bad, *(int(s) for s in off[:1])], default=None)
    unseen = {} if samples else {"watch": "this run was not watched"}
    history = History(
        steps=np.array([r.step for r in samples], np.int64), layers=record.layers,
        by_layer=_by_layer(samples, len(record.layers)), by_step=_by_step(samples), loss=loss,
        train=curves["train"], valid=curves["valid"], num_steps=record.steps,
        first_nonfinite=first_bad, unseen=unseen, overhead=record.overhead,
    )  # fmt: skip
    return record.facts or Facts(unseen={"facts": "this run was not checked"}), history


def _losses(readings: Sequence[Reading]) -> Curve:
    """The loss of every step, from blocks."""
    blocks = [r for r in readings if r.kind == "loss"]
    if not blocks:
        return Curve(steps=np.zeros(0, np.int64), values=np.zeros(0))
    steps = np.concatenate([np.atleast_1d(r.values["steps"]) for r in blocks]).astype(np.int64)
    values = np.concatenate([np.atleast_1d(r.values["loss"]) for r in blocks])
    return Curve(steps=steps, values=values)


def _curves(readings: Sequence[Reading]) -> dict[str, Curve]:
    names = dict.fromkeys(name for r in readings for name in r.values)
    found: dict[str, Curve] = {}
    for name in names:
        points = [(r.step, float(r.values[name])) for r in readings if name in r.values]
        found[name] = Curve(steps=np.array([p[0] for p in points], np.int64),
                            values=np.array([p[1] for p in points]))  # fmt: skip
    return found


def _by_step(samples: Sequence[Reading]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(n for r in samples for n, v in r.values.items() if np.ndim(v) == 0)
    return {name: np.array([float(r.values.get(name, np.nan)) for r in samples]) for name in names}


def _by_layer(samples: Sequence[Reading], num_layers: int) -> dict[str, np.ndarray]:
    """[T, L] by name; a layer that turned up late has NaN before."""
    names = dict.fromkeys(n for r in samples for n, v in r.values.items() if np.ndim(v) == 1)
    found = {name: np.full((len(samples), num_layers), np.nan) for name in names}
    for at, reading in enumerate(samples):
        for name, table in found.items():
            if name in reading.values:
                row = np.asarray(reading.values[name])[:num_layers]
                table[at, : len(row)] = row
    return found
