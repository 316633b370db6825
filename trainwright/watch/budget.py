"""When may a step be sampled? A purse that fills with elapsed time and pays what sampling really
costs, after a short dense opening and a few pairs ever farther apart."""

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

OPENING_STEPS = 12  # causes are in the first steps: symptoms.md, "Watch"
LATER_PAIRS = (40, 120, 360, 1080)  # paid like the opening: short runs are seen to their end
OPENING_SECONDS = 0.018
LATER_SECONDS = 0.012  # for the later pairs
OPENING_LEAST = 6  # steps that are sampled even when they are dear [assumed]
DENSE_STEPS = 8  # samples in a row once something looks odd [assumed]
SPACING = 0.01  # a pair at most every 1 % of the steps so far: 100 pairs per factor e of length
INDIRECT = 1.7  # all that a sampled step costs over what is timed in it [measured: 1.6-1.8]
DEAR = 3.0  # a sampled step never counts more than this times its directly measured part [assumed]


class Purse:
    """Allowance minus expense, in seconds; and the number of the next step to sample.

    Allowance is `share` of the time since `begin`. Expenses: the constant cost of each step that
    is not sampled (`each`, calibrated), and of sampled steps how much longer they and their
    successors took than the steps after those, between what was directly timed and `DEAR` times
    that (validation or a slow batch inside a sampled step is not ours). In the opening there are no
    other steps to compare with: its expense is corrected afterwards.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.each = 0.0
        self.began = 0.0
        self.spent = 0.0
        self._sampled = 0
        self._opening: list[tuple[float, float]] | None = []  # (duration, directly timed)
        self._opening_spent = 0.0
        self._later_spent = 0.0
        self._granted = 0  # sampled steps that the allowance for later pairs still pays
        self._costs: deque[float] = deque(maxlen=8)
        self._dense = 0
        self._ends: deque[float] = deque(maxlen=64)  # ends of unsampled steps, successive
        self._usual: float | None = None  # seconds of an unsampled step
        self._num_judged = 0  # ends that `_usual` was reckoned from

    def begin(self, now: float) -> None:
        """The clock starts."""
        self.began = now

    def plain_step(self, now: float) -> None:
        """A step that was not sampled ends; called each step, so the watcher inlines it."""
        self._ends.append(now)

    @property
    def ends(self) -> deque[float]:
        """Where the watcher notes ends of unsampled steps."""
        return self._ends

    def usual_seconds(self) -> float | None:
        """Duration of an unsampled step: mean of the later half of those since the last sample,
        each at most twice their median. The earlier half still pays for the sample."""
        ends = list(self._ends)
        if len(ends) >= 5 and len(ends) != self._num_judged:
            self._num_judged = len(ends)
            later = _durations(ends[len(ends) // 2 :])
            self._usual = _clipped_sum(later, 2 * median(later)) / len(later)
        return self._usual

    @property
    def knows_usual(self) -> bool:
        """Whether enough plain steps were seen to compare with."""
        return self._usual is not None

    def settle(self, *, began: float, ended: float, direct: float) -> None:
        """A sampled step is over: it lasted `ended - began`, of which `direct` was surely ours."""
        usual = self.usual_seconds()
        self._sampled += 1
        if usual is None:
            assert self._opening is not None, "steps without comparison are the opening's"
            self._opening.append((ended - began, direct))
            self._opening_spent += INDIRECT * direct
            self.spent += INDIRECT * direct
            self._costs.append(INDIRECT * direct)
        else:
            self._correct_opening(usual)
            cost = _within(ended - began - usual, direct)
            cost += self._aftermath(usual)
            self.spent += cost
            if self._granted:
                self._granted -= 1
                self._later_spent += cost
            self._costs.append(cost)
        self._ends.clear()
        self._ends.append(ended)
        self._num_judged = 0

    def pay(self, seconds: float) -> None:
        """An expense outside steps, timed directly."""
        self.spent += seconds

    def _aftermath(self, usual: float) -> float:
        """What the steps after a sample lost to cold caches, and to planning what comes next
        [measured: 200, 70, 45 us, then 25 us until the 16th, of 500 us: 0.65 ms for each pair of
        4.0 ms; 3 us in the 17th to 30th, none after]."""
        ends = list(self._ends)
        earlier = _durations(ends[: len(ends) // 2 + 1])
        return max(_clipped_sum(earlier, 2 * usual) - len(earlier) * usual, 0.0)

    def _correct_opening(self, usual: float) -> None:
        if self._opening is None:
            return
        real = sum(_within(lasted - usual, direct) for lasted, direct in self._opening)
        self.spent += real - self._opening_spent
        self._opening = None

    def expected(self) -> float:
        """What one more sampled step will cost, from the last ones."""
        return median(self._costs) if self._costs else 0.0

    def balance(self, now: float, num_steps: int) -> float:
        """Seconds that may be spent now."""
        return self.share * (now - self.began) - self.spent - self.each * num_steps

    def next_step(self, step: int, now: float) -> int:
        """The next step to sample, when `step` was just sampled or could not be paid."""
        if self.in_opening:
            return step + 1
        if self._dense > 0 and self.affordable(now, step, pairs=0.5):
            self._dense -= 1
            return step + 1
        usual = self.usual_seconds() or max((now - self.began) / max(step, 1), 1e-6)
        if self._usual is not None:
            self._correct_opening(usual)
        income = self.share * usual - self.each
        missing = 2 * self.expected() - self.balance(now, step)
        least = max(6, math.ceil(SPACING * step))
        if missing <= 0:
            after = least
        elif income <= 0:
            after = 1000
        else:
            after = min(max(least, math.ceil(missing / income)), 5000)
        return min([step + after, *(later for later in LATER_PAIRS if later > step)])

    def affordable(self, now: float, step: int, *, pairs: float = 1.0) -> bool:
        """Whether a pair of sampled steps (or half of one) can be paid now."""
        return self.balance(now, step) >= 2 * pairs * self.expected()

    def grants(self, step: int) -> bool:
        """Whether the allowance for later pairs pays for one that begins at this step."""
        granted = step in LATER_PAIRS and self._later_spent + 2 * self.expected() <= LATER_SECONDS
        if granted:
            self._granted = 2
        return granted

    def alarm(self) -> None:
        """Something looks odd: sample densely for a while, as far as the purse reaches."""
        if self._dense == 0:
            self._dense = DENSE_STEPS

    @property
    def in_opening(self) -> bool:
        """Whether each step is sampled, as the first ones are."""
        if self._opening is None or self._sampled >= OPENING_STEPS:
            return False
        return self._opening_spent < OPENING_SECONDS or self._sampled < OPENING_LEAST

    def share_spent(self, now: float, num_steps: int) -> float:
        """The measured share of the elapsed time."""
        elapsed = now - self.began
        return (self.spent + self.each * num_steps) / elapsed if elapsed > 0 else 0.0


def _durations(ends: Sequence[float]) -> list[float]:
    return [b - a for a, b in pairwise(ends)]


def _clipped_sum(durations: Sequence[float], limit: float) -> float:
    return sum(min(d, limit) for d in durations)


def _within(difference: float, direct: float) -> float:
    return min(max(difference, direct), DEAR * direct + 1e-4)


def odd_above(losses: Sequence[float]) -> float:
    """The loss above which one looks odd: beyond twice the median of the last ones and above
    their highest (a median below zero: by its own size above it) [assumed]."""
    finite = sorted(x for x in losses if math.isfinite(x))
    if len(finite) < 8:
        return math.inf
    middle = finite[len(finite) // 2]
    return max(middle + max(abs(middle), 1e-12), finite[-1])


def looks_odd(losses: Sequence[float]) -> bool:
    """Whether the newest loss is odd beside those before it, or not finite."""
    return bool(losses) and (not math.isfinite(losses[-1]) or losses[-1] > odd_above(losses[:-1]))
