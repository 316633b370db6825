"""How is a run of ours watched? Facts before the first step, readings at sampled steps, a diagnosis
while it goes on, and all of it in the record."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from trainwright.check.gather import gather
from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.core.facts import Facts, ScoreFacts
from trainwright.core.records import Metric, RunRecord
from trainwright.data.batch import Batch, Examples
from trainwright.diagnose.judge import judge
from trainwright.run.assemble import Assembly
from trainwright.store.contract import Reading
from trainwright.train.events import Evaluated, Stepped
from trainwright.watch.watcher import Watcher

FACT_EXAMPLES = 1000  # examples of the training split that facts are measured on [assumed]
LOOK_SECONDS = 2.0  # how often rules are asked while a run goes on


class Observation:
    """One run of ours under watch. `keep` takes readings for the store."""

    def __init__(
        self, assembly: Assembly, record: RunRecord, keep: Callable[[Reading], None], budget: float
    ) -> None:
        self.facts = record.facts if record.facts is not None else facts_of(assembly)

        def keep_all(readings: Sequence[Reading]) -> None:
            for reading in readings:
                keep(reading)

        self.watcher = Watcher(
            assembly.module, list(assembly.trainee.optimizers), loss=None, budget=budget,
            sink=keep_all,
        )  # fmt: skip
        self.watcher.attach()
        self._open: dict[str, Finding] = {}
        self._looked = time.perf_counter()

    def stepped(self, event: Stepped) -> None:
        """After a step: what a sampled one showed is kept, the next one is armed."""
        self.watcher.after_step(event.loss, event.rate, event.batches)

    def evaluated(self, event: Evaluated) -> None:
        """The validation split was measured."""
        self.watcher.valid(**{name: float(value) for name, value in event.metrics.items()})

    def changes(self) -> tuple[list[Finding], list[Finding]]:
        """(findings that opened, findings that closed) since the last time; looked for every
        LOOK_SECONDS."""
        now = time.perf_counter()
        if now - self._looked < LOOK_SECONDS:
            return [], []
        self._looked = now
        found = {f.code + f.kind: f for f in self.diagnosis().findings}
        opened = [f for key, f in found.items() if key not in self._open]
        closed = [f for key, f in self._open.items() if key not in found]
        self._open = found
        return opened, closed

    def diagnosis(self) -> Diagnosis:
        """What is wrong so far."""
        return judge(self.facts, self.watcher.history())

    def close(self, record: RunRecord) -> RunRecord:
        """Ends watching; the record with what rules read later."""
        self.watcher.detach()
        return replace(
            record, facts=self.facts, layers=tuple(self.watcher.layers),
            overhead=self.watcher.overhead,
        )  # fmt: skip


def facts_of(assembly: Assembly, *, reference: bool = False) -> Facts:
    """What is known before the first step. A run does not ask quick learners for `reference`: it
    has its baselines."""
    prepared = assembly.prepared
    train = _some(prepared.train)
    valid = _some(prepared.valid) if prepared.valid is not None else None
    facts = gather(
        assembly.module, _pair(train), loss=assembly.objective,
        optimizer=list(assembly.trainee.optimizers), valid=None if valid is None else _pair(valid),
        batch_size=assembly.plan.batch_size, reference=reference,
    )  # fmt: skip
    per_epoch = max(1, len(prepared.train) // assembly.plan.examples_per_step)
    return replace(facts, steps_per_epoch=per_epoch, total_steps=assembly.plan.total_steps)


def _some(examples: Examples) -> Batch:
    return next(examples.batches(min(FACT_EXAMPLES, len(examples))))


def _pair(batch: Batch) -> tuple[object, object]:
    first, *rest = batch.inputs
    return (batch.inputs if rest else first), batch.target


def with_scores(record: RunRecord) -> RunRecord:
    """The record's facts with the scores that judging measured, and the baselines' as what can be
    had."""
    facts = record.facts
    if facts is None or not record.metrics:
        return record
    name = "r2" if "r2" in record.metrics.get("train", {}) else "accuracy"
    values = {split: _value(metrics, name) for split, metrics in record.metrics.items()}
    final = "test" if "test" in values else "valid" if "valid" in values else None
    others = {b.name: _value(b.metrics, name) for b in record.baselines}
    known = {key: value for key, value in others.items() if value is not None}
    constant = known.pop("constant", known.pop("majority", 0.0))
    best = max(known, key=lambda key: known[key], default="")
    judged = record.judgement
    score = ScoreFacts(
        metric="r2" if name == "r2" else "accuracy", constant=constant,
        reference=known.get(best), reference_name=best,
        reference_sd=_error(record, best, name),
        train=values.get("train"), valid=values.get(final) if final else None,
        recalls=tuple(row.recall for row in judged.per_class) if judged is not None else (),
        num_train=_count(record, "train"), num_valid=_count(record, final or ""),
    )  # fmt: skip
    return replace(record, facts=replace(facts, score=score))


def _value(metrics: Mapping[str, Metric], name: str) -> float | None:
    return metrics[name].value if name in metrics else None


def _error(record: RunRecord, baseline: str, name: str) -> float | None:
    """Standard error of the baseline's score, from its 95 % interval."""
    found = next((b.metrics.get(name) for b in record.baselines if b.name == baseline), None)
    if found is None or found.low is None or found.high is None:
        return None
    return (found.high - found.low) / 3.92


def _count(record: RunRecord, split: str) -> int:
    understanding = record.understanding
    return understanding.num_examples.get(split, 0) if understanding is not None else 0
