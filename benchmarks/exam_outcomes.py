"""How often does each exam say yes where a finding is right, and where it is wrong though suspected?
The clinic's programs, sick and healthy, diagnosed; exams of what is open, and of what was planted.

python benchmarks/exam_outcomes.py [--minutes 30] [--readings final] [--write]

Rows are kept under benchmarks/.exam_outcomes (not committed) and never taken twice; what they say
is in exam_fit.py, what it does to diagnoses in exam_replay.py.
"""

import gzip
import json
import os
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from cures import converted, fits
from harness import arguments, header, publish

from clinic import everyday, generate
from clinic.catalogue import find
from clinic.examine import examine, facts_of, history_of
from clinic.measure import CACHE
from clinic.program import Program as Clinical
from clinic.setting import Setting, assemble
from clinic.sick import FAULTS
from clinic.zoo import BASES, ODDITIES
from trainwright.check.subject import same_random_states
from trainwright.core.diagnosis import Diagnosis
from trainwright.core.facts import Facts
from trainwright.core.history import History
from trainwright.diagnose.causes import CONSEQUENCES
from trainwright.diagnose.judge import judge
from trainwright.exam.arms import seconds_per_step
from trainwright.exam.catalogue import EXAMS
from trainwright.exam.exam import Answer, NotHere, Terms
from trainwright.exam.settle import LEAST_SURE, MOST_SURE, OVERHEAD

HERE = Path(__file__).parent
KEPT = HERE / ".exam_outcomes"
SECONDS = 3.0  # of one exam: what settle gives one where a program has eight in all
DRAWN, EVERYDAY = 40, range(1000, 1060)  # generated pairs, and everyday programs
ZOO_SEEDS, FOUR = 3, 4
ASKED = {name: question for name, question in EXAMS.items()
         if name not in ("replay", "augmentation_off")}  # fmt: skip  # these ask a recipe's run
ENOUGH = {"right": 7, "open": 10, "shares": 5, "healthy": 4}  # rows of an exam and a code


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One program of the clinic and a seed, with what its readings say."""

    program: Clinical
    seed: int
    setting: Setting
    facts: Facts
    history: History
    diagnosis: Diagnosis
    source: str  # planted, zoo, generated or everyday

    @property
    def name(self) -> str:
        return f"{self.program.name}@{self.seed}"

    @property
    def open(self) -> dict[str, float]:
        """Confidence of what an exam may move."""
        return {c: p for c, p in self.found.items() if LEAST_SURE <= p <= MOST_SURE}

    @property
    def found(self) -> dict[str, float]:
        """Confidence by code of all that is named, folded or suspected."""
        now = self.diagnosis
        named = [f for cause in now.findings for f in (cause, *cause.consequences)]
        return {f.code: f.confidence for f in (*now.suspected, *named)}

    def kind(self, code: str) -> str:
        """What a row of that code is: `right`; wrong but `open`; wrong, and the planted fault
        `shares` its symptoms; wrong in an `other` sick program, or in a `healthy` one."""
        if self.program.right(code):
            return "right"
        if code in self.open:
            return "open"
        fault = self.program.fault
        if fault is None:
            return "healthy"
        return "shares" if code in CONSEQUENCES.get(fault, ()) else "other"


def setting_of(program: Clinical) -> Setting | None:
    """The choices that it is assembled from, the fault's too; None for one built by hand."""
    make = program.make
    if not isinstance(make, partial):
        return None
    if make.func is assemble:
        return make.args[0]
    return make.func.__self__.change(make.args[0])  # pyright: ignore[reportFunctionMemberAccess]


def record_of(program: Clinical, seed: int, readings: str) -> dict[str, Any]:
    """What was read of a program, from the clinic's own cache or ours, or read now."""
    name = f"{program.name.replace('/', '~')}@{seed}.json.gz"
    places = [KEPT / name, *([CACHE / readings / name] if readings else [])]
    if program.name.startswith(everyday.PREFIX) and readings:
        places.append(CACHE / f"{readings}_ev" / name)
    for place in places:
        if place.exists():
            return json.loads(gzip.decompress(place.read_bytes()))
    record = examine(program, seed)
    places[0].write_bytes(gzip.compress(json.dumps(record).encode(), 5))
    return record


def cases(seeds: int, readings: str, until: float) -> Iterator[Case]:
    """Programs whose loop can be run here, and of those without a fault the ones that learned."""
    for program, seed, source in _programs(seeds):
        setting = setting_of(program)
        if setting is None or not fits(setting) or time.monotonic() > until:
            continue
        record = record_of(program, seed, readings)
        if program.fault is None and record["skill"] < program.learns:
            continue
        facts, history = facts_of(record), history_of(record)
        yield Case(program=program, seed=seed, setting=setting, facts=facts, history=history,
                   diagnosis=judge(facts, history), source=source)  # fmt: skip


def _programs(seeds: int) -> Iterator[tuple[Clinical, int, str]]:
    planted = [program for fault in FAULTS for program in fault.programs()]
    zoo = [find(name) for name in (*BASES, *ODDITIES)]
    for seed in range(seeds):
        yield from ((program, seed, "planted") for program in planted)
    for seed in range(ZOO_SEEDS):
        yield from ((program, seed, "zoo") for program in zoo)
    yield from ((everyday.draw(number), 0, "everyday") for number in EVERYDAY)
    for number in range(DRAWN):
        yield from ((program, 0, "generated") for program in generate.draw(number))


# --- which exams of which programs -----------------------------------------------------------------


def planned(every: list[Case]) -> Iterator[tuple[Case, str]]:
    """(case, exam): first all exams about what is open, programs of all faults by turns; then what
    is still lacking of each exam and code, asked of programs with the fault, with another that
    shares symptoms, and without any."""
    dice = random.Random(0)
    rows: Counter[tuple[str, str, str]] = Counter()
    chosen: set[tuple[str, str]] = set()
    shuffled = dice.sample(every, len(every))
    for case in _by_turns([c for c in shuffled if c.open]):
        for exam in _asked_by(case, rows):
            chosen.add((case.name, exam))
            rows.update((exam, code, case.kind(code)) for code in EXAMS[exam].about)
            yield case, exam
    for case in _by_turns(shuffled):
        for exam, question in ASKED.items():
            lacking = [code for code in question.about
                       if rows[exam, code, case.kind(code)] < ENOUGH.get(case.kind(code), 0)]  # fmt: skip
            if lacking and (case.name, exam) not in chosen:
                chosen.add((case.name, exam))
                rows.update((exam, code, case.kind(code)) for code in question.about)
                yield case, exam


def _asked_by(case: Case, rows: Counter[tuple[str, str, str]]) -> list[str]:
    """All exams about what is open, unless each of them has been asked often enough of the like."""
    about = {exam: [code for code in q.about if code in case.open] for exam, q in ASKED.items()}
    asked = [exam for exam, codes in about.items() if codes]
    new = any(rows[exam, code, case.kind(code)] < ENOUGH[case.kind(code)]
              for exam in asked for code in about[exam])  # fmt: skip
    always = case.source in ("generated", "everyday", "zoo")
    return asked if new or always else []


def _by_turns(every: list[Case]) -> list[Case]:
    """One of each planted code, and FOUR of each other source, after the other."""
    piles: dict[str, list[Case]] = {}
    for case in every:
        pile = case.source if case.source != "planted" else case.program.fault or ""
        piles.setdefault(pile, []).append(case)
    turns = [
        (place // (1 if case.source == "planted" else FOUR), pile, case)
        for pile, cases in piles.items()
        for place, case in enumerate(cases)
    ]
    return [case for _, _, case in sorted(turns, key=lambda turn: turn[:2])]


# --- asking ----------------------------------------------------------------------------------------


def file_of(case: Case) -> Path:
    return KEPT / f"{case.name.replace('/', '~')}.jsonl"


def rows_of(case: Case) -> list[dict[str, Any]]:
    place = file_of(case)
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


def ask(case: Case, exam: str, kept: dict[str, Any]) -> dict[str, Any]:
    """One exam of one program, as a row; `kept` are the program and its terms."""
    question = EXAMS[exam]
    row = {"program": case.program.name, "seed": case.seed, "source": case.source,
           "fault": case.program.fault, "exam": exam}  # fmt: skip
    began = time.perf_counter()
    try:
        if kept.get("name") != case.name:
            program = converted(case.setting, case.program.build)
            kept |= {"name": case.name, "program": program, "terms": Terms(seed=case.seed),
                     "pace": seconds_per_step(program)}  # fmt: skip
        price = question.price(kept["program"], kept["pace"])
        seconds = min(SECONDS, 4 * (OVERHEAD + price))
        with same_random_states():  # as Question.ask, which does not tell the chance of yes
            answer = question.work(kept["program"], kept["terms"].lasting(seconds))
        row |= _told(answer) | {"price": round(price, 3)}
    except NotHere as error:
        row |= {"answer": "not here", "why": error.what[:120]}
    except Exception as error:
        row |= {"answer": "raised", "why": f"{type(error).__name__}: {error}"[:200]}
    codes = {code: {"kind": case.kind(code), "prior": round(case.found.get(code, 0.0), 3)}
             for code in question.about}  # fmt: skip
    return row | {"codes": codes, "spent": round(time.perf_counter() - began, 3)}


def _told(answer: Answer) -> dict[str, Any]:
    values = {name: value for name, value in answer.values.items()
              if name in ("gain", "own", "best", "before", "after")}  # fmt: skip
    return {"answer": answer.verdict, "chance": answer.chance, "values": values}


def collect(every: list[Case], until: float) -> None:
    """Asks what is planned and not kept, until the time is over."""
    kept: dict[str, Any] = {}
    plan = list(planned(every))
    for number, (case, exam) in enumerate(plan):
        if time.monotonic() > until:
            print(f"time is over at {number} of {len(plan)}", file=sys.stderr)
            return
        if any(row["exam"] == exam for row in rows_of(case)):
            continue
        row = ask(case, exam, kept)
        with file_of(case).open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{number}/{len(plan)} {case.name} {exam} {row['answer']} {row['spent']}", flush=True)


def main() -> None:
    from exam_replay import report

    parser = arguments(__doc__ or "")
    parser.add_argument("--minutes", type=float, default=30.0, help="for what is not kept yet")
    parser.add_argument("--seeds", type=int, default=1, help="of planted faults")
    parser.add_argument("--readings", default="", help="a folder of clinic/.cache to use")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    KEPT.mkdir(exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    every = list(cases(options.seeds, options.readings, until))
    collect(every, until)
    pairs = [(case, rows) for case in every if (rows := rows_of(case))]
    publish("exam_outcomes", header("What exams answered", "numpy") + "\n" + report(pairs),
            write=options.write)  # fmt: skip


if __name__ == "__main__":
    main()
