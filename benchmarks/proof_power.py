"""How often is a comparison wrong, and how often does it see an effect? Pairs of scores are drawn, and
judged as pairs of runs are: look by look, until the answer is clear."""

import math
from collections.abc import Callable

import numpy as np
from harness import arguments, header, publish

from trainwright.remedy.proof import Arm, Outcome, is_clear, looks_for, prove

SEEDS = (3, 5, 10, 20)
EFFECTS = (0.5, 1.0, 1.5, 2.0, 3.0)  # in standard deviations of a difference
SPREAD = 0.02  # of one score: an accuracy's usual spread over seeds [assumed]
EXAMPLES = 500

Draw = Callable[[np.random.Generator, int], np.ndarray]  # -> [arm, pair] of scores around 0.8


def normal(generator: np.random.Generator, n: int) -> np.ndarray:
    return generator.normal(0.8, SPREAD, (2, n))


def heavy(generator: np.random.Generator, n: int) -> np.ndarray:
    """Student's t with 3 degrees of freedom: now and then a run goes astray."""
    return 0.8 + SPREAD / math.sqrt(3) * generator.standard_t(3, (2, n))


def skewed(generator: np.random.Generator, n: int) -> np.ndarray:
    """Most runs near the top, some far below: exponential downwards."""
    return 0.82 - generator.exponential(SPREAD, (2, n))


def lucky(generator: np.random.Generator, n: int) -> np.ndarray:
    """Two kinds of runs: one in five starts badly and stays .1 lower."""
    return 0.8 - 0.1 * (generator.random((2, n)) < 0.2) + generator.normal(0, 0.003, (2, n))


def counted(generator: np.random.Generator, n: int) -> np.ndarray:
    """Right answers of EXAMPLES: binomial."""
    return generator.binomial(EXAMPLES, 0.8, (2, n)) / EXAMPLES


KINDS: dict[str, Draw] = {
    "normal": normal, "heavy tails (t, 3)": heavy, "skewed": skewed,
    "one in five fails by .1": lucky, "binomial, 500 examples": counted,
}  # fmt: skip


def judged(first: np.ndarray, second: np.ndarray, margin: float) -> tuple[str, int]:
    """(verdict, pairs used)."""
    most = len(first)
    for look, pairs in enumerate(looks_for(most)):
        arms = [
            Arm(name=name, outcomes=tuple(Outcome(seed=k, score=float(s))
                                          for k, s in enumerate(scores[:pairs])))
            for name, scores in (("a", first), ("b", second))
        ]  # fmt: skip
        found = prove(arms[0], arms[1], metric="accuracy", most=most, look=look, margin=margin,
                      resolution=1 / EXAMPLES)  # fmt: skip
        if is_clear(found):
            break
    return found.verdict, found.n


def shares(draw: Draw, seeds: int, effect: float, trials: int, margin: float) -> dict[str, float]:
    """How often each verdict, and the mean number of pairs; the effect is in standard deviations of
    a difference of two scores, known from a large draw."""
    generator = np.random.default_rng([seeds, round(100 * effect)])
    large = draw(np.random.default_rng(0), 100_000)
    shift = effect * float((large[1] - large[0]).std())
    found = [judged(pair[0], pair[1] + shift, margin)
             for pair in (draw(generator, seeds) for _ in range(trials))]  # fmt: skip
    names = [name for name, _ in found]
    return {name: names.count(name) / trials for name in set(names)} | {
        "pairs": float(np.mean([n for _, n in found]))}  # fmt: skip


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--trials", type=int, default=4000)
    options = parser.parse_args()
    n = options.trials
    lines = [header("Comparison: false answers and power", "numpy", "scipy"),
             f"{n} comparisons a cell (standard error at 5 %: {100 * math.sqrt(0.05 * 0.95 / n):.1f} points), pairs added until clear. Must reach: false \"helped\" <= 5 % on equal arms.", "",
             "## Equal arms: share called helped / worse, and mean pairs used; without the margin that calls small effects none", "",
             "| scores | " + " | ".join(f"{s} seeds" for s in SEEDS) + " |", "|---|" + "---|" * len(SEEDS)]  # fmt: skip
    for name, draw in KINDS.items():
        cells = []
        for seeds in SEEDS:
            found = shares(draw, seeds, 0.0, n, 0.0)
            cells.append(f"{found.get('helped', 0):.3f} / {found.get('worse', 0):.3f} ({found['pairs']:.1f})")  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    lines += ["", "## Power: share called helped, by effect in standard deviations of a pair's difference", "",
              "| scores | seeds | " + " | ".join(f"{e:g} sd" for e in EFFECTS) + " | mean pairs at 1 sd |",
              "|---|---|" + "---|" * (len(EFFECTS) + 1)]  # fmt: skip
    for name, draw in KINDS.items():
        for seeds in SEEDS:
            found = {effect: shares(draw, seeds, effect, n // 4, 0.0) for effect in EFFECTS}
            cells = [f"{found[e].get('helped', 0):.2f}" for e in EFFECTS]
            lines.append(f"| {name} | {seeds} | {' | '.join(cells)} | {found[1.0]['pairs']:.1f} |")
    publish("proof_power", "\n".join(lines), write=options.write)


if __name__ == "__main__":
    main()
