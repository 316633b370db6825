"""What is read of one program, and what does diagnosis say of it? The program is built, watched while
it trains by the public API, and scored; facts and readings are kept, so that rules can be asked anew."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch

import trainwright as tw
from clinic.program import Program, skill, train
from trainwright.core.facts import Facts
from trainwright.core.history import Curve, History
from trainwright.core.records import from_plain
from trainwright.diagnose.judge import judge

DIGITS = 6  # significant, of readings that are kept


def examine(program: Program, seed: int) -> dict[str, Any]:
    """One program and seed: facts and history as plain values, the skill reached, seconds, the cost
    of watching, and what the loop raised, if it did."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = program.build(seed)
        record: dict[str, Any] = {"program": program.name, "seed": seed, "raised": ""}
        began = time.perf_counter()
        watching = tw.watch(
            built.model, built.optimizer, loss=built.loss, data=(built.X, built.y),
            valid=(built.Xv, built.yv), batch_size=built.batch_size,
        )  # fmt: skip
        try:
            with watching as w:
                record["opened_seconds"] = round(time.perf_counter() - began, 3)
                train(built, w)
        except Exception as error:
            record["raised"] = f"{type(error).__name__}: {error}"[:200]
        trained = time.perf_counter()
        record["facts"] = plain(watching.facts())
        record["history"] = plain(watching.history)
        record["closed_seconds"] = round(time.perf_counter() - trained, 3)
        record["overhead"] = watching.overhead
        record["skill"] = 0.0 if record["raised"] else _number(skill(built))
    record["seconds"] = round(time.perf_counter() - began, 3)
    return record


def answer(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the diagnosis that today's rules make of it: `named` and `possible` (code,
    kind, confidence), `checked` (named before step 1); facts and history are left out."""
    facts, history = facts_of(record), history_of(record)
    found, early = judge(facts, history), judge(_before(facts))
    rest = {key: value for key, value in record.items() if key not in ("facts", "history")}
    return rest | {
        "named": named(found.findings),
        "possible": named(found.possible),
        "checked": named(early.findings),
        "broken": [f"{u.code}: {u.reason}" for u in found.unseen if u.missing == "rule"],
    }


def named(findings: Any) -> list[tuple[str, str, float]]:
    """Code, kind and confidence, in the order of the diagnosis."""
    return [(f.code, f.kind, round(float(f.confidence), 3)) for f in findings]


def _before(facts: Facts) -> Facts:
    """As `check` has them: without what only the trained model can tell."""
    if facts.score is None:
        return facts
    return replace(facts, score=replace(facts.score, train=None, valid=None, recalls=()))


def facts_of(record: Mapping[str, Any]) -> Facts:
    """The facts as they were."""
    return from_plain(Facts, record["facts"])


def history_of(record: Mapping[str, Any]) -> History:
    """The readings as they were, to six significant digits."""
    kept = record["history"]
    arrays = {name: _arrays(kept[name]) for name in ("by_layer", "by_step")}
    curves = {
        name: {metric: _curve(each) for metric, each in kept[name].items()}
        for name in ("train", "valid")
    }
    known = {f.name for f in fields(History)}
    plain_ones = {k: v for k, v in kept.items() if k in known and k not in (*arrays, *curves, "steps", "layers", "loss")}  # fmt: skip
    return History(
        steps=np.asarray(kept["steps"], np.int64), layers=tuple(kept["layers"]),
        loss=_curve(kept["loss"]), **arrays, **curves, **plain_ones,
    )  # fmt: skip


def _arrays(kept: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, np.float64) for name, values in kept.items()}


def _curve(kept: Mapping[str, Any]) -> Curve:
    return Curve(
        steps=np.asarray(kept["steps"], np.int64), values=np.asarray(kept["values"], np.float64)
    )


def plain(value: Any) -> Any:
    """Records, arrays and mappings as JSON has them; NaN and infinities stay what they are."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain({f.name: getattr(value, f.name) for f in fields(value)})
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
