"""What do the rows of exam_outcomes say? How often yes by exam and code, and likelihoods made of that,
with what was assumed as a prior."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from trainwright.core.stats import wilson
from trainwright.exam.algorithm import Ranged
from trainwright.exam.catalogue import EXAMS
from trainwright.exam.exam import Likelihood, Question

Row = Mapping[str, Any]
Yes = Callable[[Row], float | None]
RANGE = "learning_rate_range"
PSEUDO = 4.0  # rows that the assumed likelihood counts for: Beta(4 p, 4 (1 - p))
FEWEST = 4  # rows of a side below which its likelihood stays assumed
SUSPECTED = ("open", "shares")  # kinds of rows that "wrong though suspected" is measured on
LEAST_OTHERS = 6  # of them; where fewer, healthy programs are added

# P(yes | right), P(yes | wrong) before anything was measured: the prior of what is.
ASSUMED: dict[str, dict[str, tuple[float, float]]] = {
    "shuffled_labels": {"D105": (0.05, 0.9), "D104": (0.5, 0.9)},
    "zeroed_input": {"D105": (0.1, 0.9), "M202": (0.3, 0.9)},
    "standardised_inputs": {"D101": (0.85, 0.1), "D102": (0.8, 0.1)},
    "standardised_target": {"D103": (0.85, 0.1)},
    "shuffled_epochs": {"D109": (0.8, 0.05)},
    "augmentation_off": {"M209": (0.4, 0.1)},
    "data_halves": {"D110": (0.85, 0.3), "M208": (0.7, 0.35)},
    "label_noise": {"D104": (0.9, 0.1)},
    "overfit_one_batch": {
        "M207": (0.25, 0.85), "M204": (0.3, 0.85), "M202": (0.35, 0.85), "A402": (0.3, 0.85),
        "A401": (0.4, 0.85), "M201": (0.5, 0.85), "L301": (0.5, 0.85), "D110": (0.95, 0.8),
    },
    "half_width": {"M208": (0.2, 0.03), "M207": (0.01, 0.06)},
    "double_width": {"M207": (0.8, 0.12)},
    "half_depth": {"M204": (0.7, 0.1), "M214": (0.75, 0.1)},
    "double_depth": {"M207": (0.4, 0.12)},
    "reinitialised": {"M206": (0.85, 0.1)},
    "dropout_off": {"M209": (0.75, 0.12)},
    "ablate_block": {"M214": (0.7, 0.1), "M204": (0.4, 0.12)},
    "eval_mode": {"M210": (0.85, 0.08), "M212": (0.4, 0.1)},
    "float32_arm": {"L305": (0.5, 0.05), "M205": (0.3, 0.05)},
    "repaired_head": {"L301": (0.75, 0.1), "L302": (0.85, 0.1), "L303": (0.45, 0.1)},
    "penalty_off": {"L307": (0.85, 0.06), "M209": (0.7, 0.06)},
    "tiny_step_downhill": {"A407": (0.05, 0.97), "L306": (0.1, 0.97), "A414": (0.1, 0.97),
                           "A411": (0.5, 0.97)},
    "lower_rate": {"A401": (0.85, 0.08), "M202": (0.4, 0.12), "M205": (0.6, 0.12)},
    "higher_rate": {"A402": (0.85, 0.1)},
    "adamw_arm": {"A408": (0.85, 0.2), "A402": (0.5, 0.2)},
    "prodigy_arm": {"A401": (0.75, 0.12), "A402": (0.8, 0.15), "A408": (0.6, 0.2)},
    "larger_batch": {"A404": (0.75, 0.08)},
    "smaller_batch": {"A405": (0.8, 0.12)},
    "train_on": {"A403": (0.85, 0.08)},
    "noise_scale": {"A404": (0.9, 0.4), "A405": (0.15, 0.5)},
    "replay": {"M205": (0.8, 0.1), "L305": (0.8, 0.1), "D111": (0.6, 0.1)},
}  # fmt: skip
# Of the range test: the own rate is near the best; it is off on the side that the finding says.
ASSUMED_RANGE = {code: {"near": (0.05, 0.7), "said": (0.9, 0.15)} for code in ("A401", "A402")}


class Counted(NamedTuple):
    """How many rows there are, and how many of them said yes (parts of a row where noise left that
    open)."""

    n: int
    yes: float

    def __str__(self) -> str:
        if not self.n:
            return "-"
        share = self.yes / self.n
        low, high = wilson(share, self.n)
        return f"{share:.2f} [{low:.2f}, {high:.2f}] of {self.n}"


def yes_of(row: Row) -> float | None:
    """How likely the answer was yes; None where it said neither or could not be asked."""
    if row["answer"] not in ("yes", "no", "undecided"):
        return None
    if row["chance"] is not None:
        return row["chance"]
    return {"yes": 1.0, "no": 0.0}.get(row["answer"])


def side_of(row: Row, code: str) -> float | None:
    """Whether a range test said that the rate is off, on the side of that code."""
    if row["answer"] not in ("yes", "no"):
        return None
    above = row["values"]["own"] > row["values"]["best"]
    return float(row["answer"] == "no" and above == (code == "A401"))


def side_for(code: str) -> Yes:
    return partial(side_of, code=code)


def counted(
    rows: Iterable[Row], exam: str, code: str, kinds: tuple[str, ...],
    yes: Yes = yes_of,
) -> Counted:  # fmt: skip
    values = [value for row in rows if row["exam"] == exam and code in row["codes"]
              and row["codes"][code]["kind"] in kinds and (value := yes(row)) is not None]  # fmt: skip
    return Counted(len(values), sum(values))


def fitted(
    rows: Iterable[Row], exam: str, code: str, prior: tuple[float, float],
    yes: Yes = yes_of,
) -> Likelihood:  # fmt: skip
    """The measured likelihood, PSEUDO rows of the assumed one among them; a side that has fewer
    than FEWEST rows stays as it was assumed."""
    right = counted(rows, exam, code, ("right",), yes)
    wrong = counted(rows, exam, code, SUSPECTED, yes)
    if wrong.n < LEAST_OTHERS:
        wrong = counted(rows, exam, code, (*SUSPECTED, "healthy"), yes)
    (given, num_right), (otherwise, num_wrong) = _smooth(prior[0], right), _smooth(prior[1], wrong)
    return Likelihood(given, otherwise, num_right, num_wrong)


def _smooth(prior: float, side: Counted) -> tuple[float, int]:
    if side.n < FEWEST:
        return prior, 0
    found = round((prior * PSEUDO + side.yes) / (PSEUDO + side.n), 2)
    return min(max(found, 0.01), 0.99), side.n


def questions_of(rows: Iterable[Row]) -> dict[str, Question]:
    """The catalogue with likelihoods fitted on rows."""
    return {exam: replace(EXAMS[exam], about={
        code: fitted(rows, exam, code, prior) for code, prior in codes.items()})
        for exam, codes in (*ASSUMED.items(), (RANGE, {c: p["near"] for c, p in ASSUMED_RANGE.items()}))
    }  # fmt: skip


def ranged_of(rows: Iterable[Row]) -> dict[str, Ranged]:
    """What a range test says of each code, fitted on rows."""
    return {code: Ranged(
        fitted(rows, RANGE, code, prior["near"]),
        fitted(rows, RANGE, code, prior["said"], side_for(code)),
    ) for code, prior in ASSUMED_RANGE.items()}  # fmt: skip


# --- words -----------------------------------------------------------------------------------------


def counts(rows: list[dict[str, Any]]) -> list[str]:
    """What rows there are."""
    answers = Counter(row["answer"] for row in rows)
    programs = Counter(
        source for _, _, source in {(r["program"], r["seed"], r["source"]) for r in rows}
    )
    raised = Counter(row["why"].split(":")[0] for row in rows if row["answer"] == "raised")
    seconds = sum(row["spent"] for row in rows)
    return [
        "", f"{len(rows)} questions put to {sum(programs.values())} programs "
        f"({', '.join(f'{n} {name}' for name, n in sorted(programs.items()))}) in {seconds:.0f} s of one core: "
        + ", ".join(f"{n} {answer}" for answer, n in answers.most_common())
        + (f" ({', '.join(f'{n} {why}' for why, n in raised.items())})." if raised else "."),
    ]  # fmt: skip


def likelihoods(rows: list[dict[str, Any]]) -> list[str]:
    """How often yes, by exam and code, beside what was assumed."""
    lines = [
        "", "## How often yes", "",
        f"`open`: the code is wrong and was suspected; `shares`: another fault is planted that is known to bring its symptoms about; `healthy`: no fault. Intervals are Wilson's, 95 %. The likelihood is Beta's mean with {PSEUDO:g} rows as assumed: P(yes \\| wrong) is of `open` and `shares` (with fewer than {LEAST_OTHERS} of them, `healthy` too). A side with fewer than {FEWEST} rows stays assumed (a).",
        "", "| exam | code | yes, right | yes, open | yes, shares | yes, healthy | assumed | likelihood |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for exam, codes in ASSUMED.items():
        lines += [_line(rows, exam, exam, code, prior, yes_of) for code, prior in codes.items()]
    for code, prior in ASSUMED_RANGE.items():
        lines.append(_line(rows, RANGE, "range: near", code, prior["near"], yes_of))
        lines.append(_line(rows, RANGE, "range: off as said", code, prior["said"], side_for(code)))
    return lines


def _line(
    rows: Iterable[Row], exam: str, name: str, code: str, prior: tuple[float, float], yes: Yes
) -> str:  # fmt: skip
    each = [
        str(counted(rows, exam, code, (kind,), yes))
        for kind in ("right", "open", "shares", "healthy")
    ]
    now = fitted(rows, exam, code, prior, yes)
    sides = [f"{p:g}{'' if n else ' (a)'}" for p, n in zip(now[:2], now[2:], strict=True)]
    return f"| {name} | {code} | {' | '.join(each)} | {prior[0]:g}, {prior[1]:g} | {', '.join(sides)} |"
