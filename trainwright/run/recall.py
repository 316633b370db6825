"""What did a run of the store show? Its record and readings become facts and history again; no
torch is needed for that."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from trainwright.core.diagnosis import Diagnosis
from trainwright.core.facts import Facts
from trainwright.core.history import Curve, History
from trainwright.core.phrases import phrase
from trainwright.core.records import RunRecord
from trainwright.diagnose.judge import judge
from trainwright.store.contract import Reading
from trainwright.watch.record import history_from_readings


def recall(record: RunRecord, readings: Sequence[Reading]) -> tuple[Facts, History]:
    """Facts and history of a stored run. One not watched has our own loop's curves only."""
    watched = any(r.kind == "watch" for r in readings)
    history = history_from_readings(
        readings, record.layers, num_steps=record.steps, overhead=record.overhead,
        unseen={} if watched else {"watch": phrase("this run was not watched")},
    )  # fmt: skip
    own = {kind: curves([r for r in readings if r.kind == kind]) for kind in ("train", "valid")}
    loss = history.loss if len(history.loss.steps) else own["train"].get("loss", history.loss)
    bad = [r.step for r in readings if r.kind == "non_finite"]
    bad += [int(step) for step in loss.steps[~np.isfinite(loss.values)][:1]]
    history = replace(
        history, train={**own["train"], **history.train}, valid={**own["valid"], **history.valid},
        loss=loss, first_nonfinite=min(bad, default=None), num_steps=record.steps,
    )  # fmt: skip
    return record.facts or Facts(unseen={"facts": phrase("this run was not checked")}), history


def judge_stored(
    record: RunRecord, readings: Sequence[Reading], *, mute: Collection[str] = ()
) -> tuple[Diagnosis, History]:
    """What was wrong in a stored run, and what it was read from."""
    facts, history = recall(record, readings)
    found = judge(facts, history, mute=mute)
    return replace(found, seconds=_watched_seconds(record)), history


def _watched_seconds(record: RunRecord) -> float:
    """Of training: our own loop tells them apart, of somebody else's all are."""
    parts = record.seconds_by_part
    trained = sum(parts.get(part, 0.0) for part in ("train", "input", "evaluate", "checkpoint"))
    return trained or record.seconds


def curves(readings: Sequence[Reading]) -> dict[str, Curve]:
    """What our own loop measured, by metric."""
    names = dict.fromkeys(name for r in readings for name in r.values)
    found: dict[str, Curve] = {}
    for name in names:
        points = [(r.step, float(r.values[name])) for r in readings if name in r.values]
        found[name] = Curve(steps=np.array([p[0] for p in points], np.int64),
                            values=np.array([p[1] for p in points]))  # fmt: skip
    return found
