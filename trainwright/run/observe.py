"""How is a run of ours watched? Readings at sampled steps, a diagnosis while it goes on, and all of
it in the record."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.core.history import Curve, History
from trainwright.core.records import RunRecord
from trainwright.diagnose.judge import judge
from trainwright.run.assemble import Assembly
from trainwright.run.facts import Start
from trainwright.run.recall import curves
from trainwright.store.contract import Reading
from trainwright.train.events import Evaluated, Stepped
from trainwright.watch.watcher import Watcher

OF_THE_END = ("A403", "A405", "M207")  # what only a run that is over can have
LOOK_SECONDS = 2.0  # how often rules are asked while a run goes on


class Observation:
    """One run of ours under watch, from where it stands now. `keep` takes readings for the store.

    Rules are first asked after LOOK_SECONDS: until then nothing is measured of `start`.
    """

    def __init__(
        self, assembly: Assembly, start: Start, keep: Callable[[Reading], None], budget: float
    ) -> None:
        self._start = start
        self._before = assembly.trainee.step  # the watcher counts from where it began

        def keep_all(readings: Sequence[Reading]) -> None:
            for reading in readings:
                keep(_later(reading, self._before))

        self.watcher = Watcher(
            assembly.module, list(assembly.trainee.optimizers), loss=None, budget=budget,
            sink=keep_all,
        )  # fmt: skip
        self.watcher.attach()
        self._valid: list[Reading] = []
        self._open: dict[str, Finding] = {}
        self._looked = time.perf_counter()

    def stepped(self, event: Stepped) -> None:
        """After a step: what a sampled one showed is kept, the next one is armed."""
        self.watcher.after_step(event.loss, event.rate, event.batches)

    def evaluated(self, event: Evaluated) -> None:
        """The validation split was measured; the store has it from the run itself."""
        self._valid.append(Reading(step=event.step, kind="valid", values=dict(event.metrics)))

    def changes(self) -> tuple[list[Finding], list[Finding]]:
        """(findings that opened, findings that closed) since the last time; looked for every
        LOOK_SECONDS."""
        now = time.perf_counter()
        if now - self._looked < LOOK_SECONDS:
            return [], []
        found = {f.code + f.kind: f for f in self.diagnosis().findings}
        opened = [f for key, f in found.items() if key not in self._open]
        closed = [f for key, f in self._open.items() if key not in found]
        self._open = found
        self._looked = time.perf_counter()
        return opened, closed

    def diagnosis(self) -> Diagnosis:
        """What is wrong so far, while it goes on."""
        history = _shifted(self.watcher.history(), self._before)
        history = replace(history, valid=curves(self._valid))
        return judge(self._start.facts(), history, mute=OF_THE_END)

    def close(self, record: RunRecord, *, measure: bool = True) -> RunRecord:
        """Ends watching; the record with what rules read later. Facts that nobody has asked for
        are measured now, unless there is no time to `measure`."""
        self.watcher.detach()
        return replace(
            record, facts=self._start.facts() if measure else record.facts,
            layers=tuple(self.watcher.layers), overhead=self.watcher.overhead,
        )  # fmt: skip


def _later(reading: Reading, steps: int) -> Reading:
    """The same reading, `steps` later."""
    values = reading.values
    if steps and reading.kind == "loss":
        values = {**values, "steps": np.asarray(values["steps"]) + steps}
    return replace(reading, step=reading.step + steps, values=values)


def _shifted(history: History, steps: int) -> History:
    """The same history, `steps` later."""
    bad = history.first_nonfinite
    told = {name: _from(curve, steps) for name, curve in history.train.items()}
    return replace(
        history, steps=history.steps + steps, loss=_from(history.loss, steps), train=told,
        num_steps=history.num_steps + steps, first_nonfinite=None if bad is None else bad + steps,
    )  # fmt: skip


def _from(curve: Curve, steps: int) -> Curve:
    return Curve(steps=curve.steps + steps, values=curve.values)
