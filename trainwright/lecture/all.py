"""How are many claims measured? Each in a process of its own on one thread, as many at once as
there are cores; what is done is kept, and one that breaks does not stop the others."""

import os
import platform
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from trainwright.core.claims import ClaimNews, ClaimResult
from trainwright.core.phrases import language, phrase, use_language
from trainwright.lecture import kept
from trainwright.lecture.claim import SECONDS, SEEDS, Claim, Pace

Tell = Callable[[ClaimNews], None]
TELL_SECONDS = 0.2  # between two words on progress [assumed]
STOP_SECONDS = 5.0  # that a process is given to end when asked [assumed]


def run_all(
    claims: Sequence[Claim], *, folder: Path, fresh: bool = False, processes: int | None = None,
    seeds: int = SEEDS, tell: Tell = lambda news: None,
) -> dict[str, ClaimResult]:  # fmt: skip
    """Code -> result of every claim that could be measured, in the order asked for; why another
    could not be is told. Ctrl-C ends the processes; results until then are kept in `folder`.

    Only a measurement with SEEDS seeds is kept, and only such a one is taken from `folder`.
    """
    full = seeds == SEEDS
    found: dict[str, ClaimResult] = {}
    waiting: list[Claim] = []
    for claim in dict.fromkeys(claims):
        before = kept.load(folder, claim) if full and not fresh else None
        if before is None:
            waiting.append(claim)
        else:
            found[claim.code] = before
            tell(ClaimNews(claim=claim.code, share=1.0, result=before, kept=True))

    def ended(claim: Claim, result: ClaimResult) -> None:
        found[claim.code] = result
        if full:
            kept.save(folder, claim, result)
        tell(ClaimNews(claim=claim.code, share=1.0, result=result))

    _run_apart(waiting, processes or os.cpu_count() or 1, seeds, ended, tell)
    return {claim.code: found[claim.code] for claim in claims if claim.code in found}


def measure(claim: Claim, pace: Pace) -> ClaimResult:
    """The claim measured here and now."""
    began = time.perf_counter()
    measured = claim.measure(pace)
    return ClaimResult(claim=claim.code, measured=measured, device=_device(),
                       seconds=time.perf_counter() - began)  # fmt: skip


# --- processes -----------------------------------------------------------------------------------


class _Worker:
    """A process that measures one claim and tells of it over a pipe."""

    def __init__(self, claim: Claim, seeds: int) -> None:
        context = get_context("spawn")
        self.claim = claim
        self.ear, mouth = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_measure_apart, args=(claim, seeds, language(), mouth), daemon=True
        )
        self.process.start()
        mouth.close()  # the process holds the only end: when it dies the pipe ends

    def hear(self) -> float | ClaimResult | str:
        """A share done, the result, or why there is none."""
        try:
            return self.ear.recv()
        except (EOFError, OSError):
            self.process.join(STOP_SECONDS)
            return phrase("its process ended with {code}", code=self.process.exitcode)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
        self.ear.close()


def _run_apart(
    claims: Sequence[Claim], processes: int, seeds: int,
    ended: Callable[[Claim, ClaimResult], None], tell: Tell,
) -> None:  # fmt: skip
    waiting = list(claims)
    at_work: dict[Any, _Worker] = {}
    try:
        while waiting or at_work:
            while waiting and len(at_work) < processes:
                worker = _Worker(waiting.pop(0), seeds)
                at_work[worker.ear] = worker
                tell(ClaimNews(claim=worker.claim.code))
            for ear in wait(list(at_work)):
                worker = at_work[ear]
                match worker.hear():
                    case float(share):
                        tell(ClaimNews(claim=worker.claim.code, share=share))
                        continue
                    case ClaimResult() as result:
                        ended(worker.claim, result)
                    case str(reason):
                        tell(ClaimNews(claim=worker.claim.code, reason=reason))
                at_work.pop(ear).stop()
    finally:
        for worker in at_work.values():
            worker.stop()


def _measure_apart(claim: Claim, seeds: int, spoken: str, mouth: Connection) -> None:
    """What the process does. Ctrl-C reaches all processes of a terminal; the first answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_language(spoken)
    try:
        import torch
        from threadpoolctl import threadpool_limits

        torch.set_num_threads(1)
        pace = Pace(tell=_Throttled(mouth), seeds=seeds, seconds=SECONDS)
        with threadpool_limits(limits=1):
            mouth.send(measure(claim, pace))
    except KeyboardInterrupt:  # a training takes the signal for itself while it goes on
        return
    except Exception as error:  # whatever breaks in an experiment ends this one only
        mouth.send(f"{type(error).__name__}: {str(error)[:300]}")


class _Throttled:
    """Tells of progress now and then."""

    def __init__(self, mouth: Connection) -> None:
        self._mouth, self._next = mouth, 0.0

    def __call__(self, share: float) -> None:
        now = time.perf_counter()
        if now >= self._next:
            self._next = now + TELL_SECONDS
            self._mouth.send(float(share))


def _device() -> str:
    import torch

    return f"{platform.machine()}, {torch.get_num_threads()} × CPU"
