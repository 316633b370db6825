"""How does a run go, from recipe to record? Data, training with its history and checkpoints, then
judgement; whatever interrupts it, the store is left in a state that opens and resumes."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch

from trainwright.core.errors import RunFailed, StoreError, TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice, RunRecord, RunState
from trainwright.recipe import Recipe
from trainwright.run.assemble import Assembly, assemble
from trainwright.run.clock import Clock
from trainwright.run.facts import Start, with_scores
from trainwright.run.interrupt import Interruption
from trainwright.run.judge import judge_run, look
from trainwright.run.messages import (
    TELL_SECONDS,
    Diagnosed,
    Finished,
    Listener,
    Looked,
    Progressed,
    Said,
    Teller,
    Understood,
)  # fmt: skip
from trainwright.run.observe import Observation
from trainwright.run.surroundings import own_randomness, versions
from trainwright.run.use import use_record
from trainwright.store.contract import Headline, Lease, Reading, Store
from trainwright.train.checkpoint import Checkpoints, weights_sha256
from trainwright.train.events import Ended, Evaluated, NonFinite, Stepped
from trainwright.train.loop import Look, train

FLUSH_SECONDS = 1.0  # history goes to the store this often: a reader sees a run live
LEASE_SECONDS = 300.0  # judging and baselines write nothing for a while; a writer that died on
# this machine is taken over at once all the same
RENEW_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class Execution:
    """One run in this process. Not reusable."""

    store: Store
    record: RunRecord
    recipe: Recipe
    listener: Listener
    watch_budget: float  # share of the time that watching may take; 0: nobody watches
    allow_code: bool = False
    keeps: bool = True  # False: nothing can be resumed, so no checkpoint is made
    observation: Observation | None = None
    assembly: Assembly | None = None
    checkpoints: Checkpoints = field(init=False)
    lease: Lease | None = None
    readings: list[Reading] = field(default_factory=list)
    clock: Clock = field(init=False)
    _begun: bool = False  # the store says that it is running: from here on it is left in order
    _flushed: float = 0.0
    _told: float = 0.0
    _renewed: float = 0.0

    def __post_init__(self) -> None:
        self.clock = Clock(self.record.seconds_by_part)
        self.checkpoints = Checkpoints(store=self.store, run_id=self.record.id)

    def run(self, *, resume: bool) -> RunRecord:
        """Runs to the end, or until stopped; the record says which.

        Raises RunFailed when the store fails in the middle, and whatever the user's own code
        raises, after the record was brought to safety.
        """
        began = time.perf_counter()
        before = self.record.seconds
        try:
            if resume:
                self._claim()
            with Interruption() as interruption, own_randomness(self.recipe.seed):
                self._assemble(resume=resume)
                with interruption.held():
                    state = self._train(interruption)
                if state == "finished":
                    state = self._judge(interruption)
                self._save(state=state, seconds=before + time.perf_counter() - began)
        except StoreError as error:
            if not self._begun:
                raise  # a name that is taken, a run that another writes: nothing has happened yet
            raise self._unwritable(error) from error
        except BaseException as error:
            self._rescue(error)
            raise
        finally:
            self._close()
        self.listener(Finished(record=self.record))
        return self.record

    # --- parts of a run, in order ---------------------------------------------------------------

    def _claim(self) -> None:
        """Becomes the run's one writer, unless another has ended it since it was read."""
        self.lease = self.store.claim(self.record.id, seconds=LEASE_SECONDS)
        if self.store.run(self.record.id).state == "finished":
            raise nothing_to_resume(self.record.id)

    def _assemble(self, *, resume: bool) -> None:
        with self.clock.timed("data"), Teller(self.listener) as tell:
            self.assembly = assemble(
                self.recipe, allow_code=self.allow_code, tell=tell, resolved=self.record.resolved
            )
        prepared = self.assembly.prepared
        start = self._start(self.assembly)
        if resume:
            self._same_data(prepared.understanding.fingerprint)
            for notice in self.checkpoints.restore(self.assembly.trainee):
                self._say(notice)
            self.store.truncate_readings(self.record.id, after_step=self.assembly.trainee.step)
        else:  # a recipe that cannot be assembled leaves no run behind
            self.store.create_run(self.record)
            self.lease = self.store.claim(self.record.id, seconds=LEASE_SECONDS)
        self._begun = True
        for notice in self.assembly.notices:
            self._say(notice)
        self._save(
            state="running",
            understanding=prepared.understanding,
            num_parameters=sum(p.numel() for p in self.assembly.module.parameters()),
            device=str(self.assembly.trainee.device),
            resolved=self.assembly.resolved(),
            versions=versions(),
        )
        self.listener(Understood(run_id=self.record.id, understanding=prepared.understanding))
        if start is not None:
            with self.clock.timed("watch"):
                self.observation = Observation(
                    self.assembly, start, self._keep_reading, self.watch_budget
                )

    def _train(self, interruption: Interruption) -> RunState:
        assembly = self.assembly
        assert assembly is not None
        events = train(
            assembly.trainee,
            assembly.prepared.train,
            assembly.order,
            assembly.step,
            knobs=assembly.algorithm,
            plan=assembly.plan,
            look=self._look(assembly) if assembly.prepared.valid is not None else None,
            metric=assembly.metric,
        )
        state: RunState = "finished"
        waited = assembly.trainee.waited
        with self.clock.timed("train"):
            for event in events:
                match event:
                    case Stepped():
                        self._stepped(event, assembly)
                        if interruption.asked:
                            state = self._stopped("interrupted", Notice(code="interrupted"))
                            break
                    case Evaluated():
                        self._evaluated(event, assembly)
                    case NonFinite():
                        self._keep_for_replay(event)
                        notice = Notice(
                            code="loss_not_finite",
                            values={"step": event.step, "loss": str(event.loss)},
                        )
                        state = self._stopped("failed", notice)
                    case Ended():
                        if event.reason != "budget":
                            self._say(
                                Notice(code=f"ended_{event.reason}", values={"step": event.step})
                            )
            events.close()
        self._stop_watching()
        self.clock.move(assembly.trainee.waited - waited, "train", to="input")
        planned, total = assembly.plan.total_steps, assembly.trainee.total_steps
        if planned is not None and total is not None and total < planned:
            values = {"planned": planned, "steps": total, "seconds": assembly.plan.seconds}
            self._say(Notice(code="budget_shortened", values=values))
        if self.keeps and assembly.trainee.step:
            with self.clock.timed("checkpoint"):
                self.checkpoints.save(assembly.trainee)
        self._flush()
        return state

    def _judge(self, interruption: Interruption) -> RunState:
        """Measures what was trained. Stopped here, a resumed run has only this left to do."""
        assembly = self.assembly
        assert assembly is not None
        if interruption.asked:
            return self._stopped("interrupted", Notice(code="interrupted"))
        step, weights = assembly.trainee.chosen(assembly.algorithm.keep)
        assembly.module.load_state_dict(weights)
        assembly.module.eval()
        if self.keeps:
            with self.clock.timed("checkpoint"):
                self.checkpoints.save_weights(
                    weights, step=step, kind="final", plain=use_record(assembly)
                )
        self.record = replace(self.record, chosen_step=step, weights_sha256=weights_sha256(weights))
        try:
            judged = judge_run(self.record, assembly, self.listener, self.clock.parts)
            self.record = with_scores(judged)
        except KeyboardInterrupt:
            return self._stopped("interrupted", Notice(code="interrupted"))
        return "finished"

    # --- events ---------------------------------------------------------------------------------

    def _stepped(self, event: Stepped, assembly: Assembly) -> None:
        if self.observation is not None:
            self.observation.stepped(event)
        trainee, plan = assembly.trainee, assembly.plan
        trainee.loss_sum = trainee.loss_sum + event.loss
        trainee.loss_steps += 1
        if event.step % plan.record_every == 0 or event.step == 1:
            mean = float(trainee.loss_sum) / trainee.loss_steps
            trainee.loss_sum, trainee.loss_steps = 0.0, 0
            values = {
                "loss": mean,
                "learning_rate": event.rate,
                "examples": float(event.step * plan.examples_per_step),
                "seconds": trainee.seconds,
            }
            self.readings.append(Reading(step=event.step, kind="train", values=values))
            self._housekeep(mean, assembly)
        if self.keeps and self.checkpoints.is_due():
            self._flush()
            with self.clock.timed("checkpoint"):
                self.checkpoints.save(trainee)

    def _housekeep(self, loss: float, assembly: Assembly) -> None:
        """What is due by the clock: a word to the listener, history to the store, the lease."""
        now = time.perf_counter()
        trainee = assembly.trainee
        if now - self._told > TELL_SECONDS:
            self._told = now
            pace = trainee.seconds / max(1, trainee.step)
            total = trainee.total_steps
            self.listener(
                Progressed(
                    step=trainee.step,
                    total_steps=total,
                    loss=loss,
                    examples_per_second=assembly.plan.examples_per_step / max(pace, 1e-9),
                    seconds=trainee.seconds,
                    seconds_left=None if total is None else (total - trainee.step) * pace,
                )
            )
        if now - self._flushed > FLUSH_SECONDS:
            self._flush()
            self._tell_changes(assembly)
        if now - self._renewed > RENEW_SECONDS and self.lease is not None:
            self._renewed = now
            self.store.renew(self.lease)

    def _evaluated(self, event: Evaluated, assembly: Assembly) -> None:
        values = {name: float(value) for name, value in event.metrics.items()}
        self.readings.append(Reading(step=event.step, kind="valid", values=values))
        self.listener(Looked(step=event.step, metrics=values, best=event.best))
        if self.observation is not None:
            self.observation.evaluated(event)

    def _keep_for_replay(self, event: NonFinite) -> None:
        """Which examples the step read: with the weights in the checkpoint it can be replayed."""
        rows = torch.cat([batch.rows for batch in event.batches]).double().cpu().numpy()
        self.readings.append(Reading(step=event.step, kind="non_finite", values={"rows": rows}))

    # --- watching -------------------------------------------------------------------------------

    def _start(self, assembly: Assembly) -> Start | None:
        """The run before its first step, to be measured later: taken before a checkpoint's weights
        are put in."""
        if self.watch_budget <= 0:
            return None
        with self.clock.timed("watch"):
            return Start(assembly, self.record.facts)

    def _keep_reading(self, reading: Reading) -> None:
        self.readings.append(reading)

    def _tell_changes(self, assembly: Assembly) -> None:
        """Rules are not asked while steps are timed to make a budget of seconds one of steps."""
        timing = assembly.plan.seconds is not None and not assembly.trainee.paced
        if self.observation is None or timing:
            return
        with self.clock.timed("watch"):
            opened, closed = self.observation.changes()
        for finding in opened:
            self.listener(Diagnosed(finding=finding, open=True))
        for finding in closed:
            self.listener(Diagnosed(finding=finding, open=False))

    def _stop_watching(self, *, measure: bool = True) -> None:
        """Takes the instruments off; what rules need later goes into the record."""
        if self.observation is not None:
            with self.clock.timed("watch"):
                self.record = self.observation.close(self.record, measure=measure)
            self.observation = None

    # --- record ---------------------------------------------------------------------------------

    def _stopped(self, state: RunState, notice: Notice) -> RunState:
        self.record = replace(self.record, stopped=notice)
        self.listener(Said(notice=notice))
        return state

    def _say(self, notice: Notice) -> None:
        if notice not in self.record.notices:
            self.record = replace(self.record, notices=(*self.record.notices, notice))
        self.listener(Said(notice=notice))

    def _save(self, **changes: object) -> None:
        if self.assembly is not None:
            trainee, plan = self.assembly.trainee, self.assembly.plan
            changes |= {
                "steps": trainee.step,
                "total_steps": trainee.total_steps,
                "examples": trainee.step * plan.examples_per_step,
                "seconds_by_part": dict(self.clock.parts),
            }
        self.record = replace(self.record, **changes)  # pyright: ignore[reportArgumentType]
        self.store.save_run(self.record, headline=self._headline())

    def _headline(self) -> Headline | None:
        judged, metric = self.record.judgement, self.assembly and self.assembly.metric
        if judged is None or not metric or metric not in judged.metrics:
            return None
        return Headline(name=metric, split=judged.split, value=judged.metrics[metric].value)

    def _flush(self) -> None:
        self._flushed = time.perf_counter()
        if self.readings:
            self.store.append(self.record.id, self.readings)
            self.readings = []

    def _same_data(self, fingerprint: str) -> None:
        before = self.record.understanding
        if before is not None and before.fingerprint != fingerprint:
            raise TrainwrightError(
                phrase("the data has changed since this run began"),
                allowed=phrase("the same bytes as before: a resumed run continues exactly"),
                do=phrase("put the old data back, or begin a new run with `trainwright fit`"),
            )

    def _rescue(self, error: BaseException) -> None:
        """Keeps what can be kept after an error that is not ours to handle."""
        if not self._begun:
            return
        self._stop_watching(measure=not isinstance(error, KeyboardInterrupt))
        state: RunState = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        words = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        crashed = Notice(code="crashed", values=words)
        stopped = Notice(code="interrupted") if state == "interrupted" else crashed
        self.record = replace(self.record, stopped=stopped)
        with suppress(StoreError):  # the first error is the one to hear about
            self._flush()
            self._save(state=state)

    def _unwritable(self, error: StoreError) -> RunFailed:
        return RunFailed(
            phrase("run {run} stopped: {what}", run=self.record.id, what=error.what),
            allowed=error.allowed,
            do=phrase("{do}; then `trainwright resume {run}` goes on from the last checkpoint",
                      do=error.do or phrase("mend the store"), run=self.record.id),
        )  # fmt: skip

    def _close(self) -> None:
        if self.assembly is not None:
            self.assembly.prepared.close()
        if self.lease is not None:
            with suppress(StoreError):  # else it expires by itself
                self.store.release(self.lease)

    def _look(self, assembly: Assembly) -> Look:
        measure_now = look(assembly)

        def timed() -> Mapping[str, float]:
            with self.clock.timed("evaluate"):
                return measure_now()

        return timed


def nothing_to_resume(run_id: str) -> TrainwrightError:
    """The error for a run that has its result."""
    return TrainwrightError(
        phrase("run {run} is finished: there is nothing to resume", run=run_id),
        allowed=phrase("a run that is running, interrupted or failed"),
        do=phrase("`trainwright show {run}` shows its result; `trainwright fit` begins another",
                  run=run_id),
    )  # fmt: skip
