"""Does healing remove what the clinic planted? Every harmful fault whose loop the healer can run, on
one or more networks, healed and proven on fresh seeds, beside the same program without the fault."""

import json
import os
import statistics
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from harness import arguments, header, publish

from clinic.program import Built
from clinic.setting import Setting, assemble
from clinic.sick import FAULTS
from clinic.zoo import BASES
from trainwright.edit.given import maker_of, program_from
from trainwright.edit.loop import train
from trainwright.edit.program import Habits, Penalty, Program
from trainwright.remedy.heal import FRESH, heal
from trainwright.report.remedy_pages import remedy_pages

# Loops of the clinic as habits of ours; the others (a closure, a schedule of one's own, steps in a
# wrong order) are beyond it: a person mends those lines.
BODIES: dict[str, dict[str, Any]] = {
    "plain": {}, "never_clear": {"clears": False}, "clip_1": {"clip_norm": 1.0},
    "clip_5": {"clip_norm": 5.0}, "clip_tiny": {"clip_norm": 1e-4}, "accumulate_4": {"accumulate": 4},
}  # fmt: skip
PENALTIES = {"penalty_squares": {"l2": 0.3}, "penalty_absolute": {"l1": 0.03}}
SCHEDULES = (None, "cosine")
KEPT = Path(__file__).parent / ".cures"  # results, not committed: what is there is not healed again
BUDGET = 20.0  # seconds of the search: ten runs of most of these
BACK = 0.9  # of the healthy twin's skill: as good as without the fault [assumed]


def cases(networks: int) -> Iterator[tuple[int, str]]:
    """(number of the fault, base) of what can be run here."""
    for number, fault in enumerate(FAULTS):
        fitting = [base for base in fault.on if fits(fault.change(BASES[base]))]
        if fault.harm:
            yield from ((number, base) for base in fitting[:networks])


def fits(setting: Setting) -> bool:
    return (setting.body in BODIES or setting.body in PENALTIES) and setting.schedule in SCHEDULES


def converted(setting: Setting, build: Any) -> Program:
    """The clinic's objects as a program of ours."""
    built: Built = build(0)

    def make() -> torch.nn.Module:
        return build(torch.initial_seed() % 2**31).model

    program = program_from(
        built.model, (built.X, built.y), loss=built.loss, optimizer=built.optimizer,
        valid=(built.Xv, built.yv), batch_size=built.batch_size,
    )  # fmt: skip
    per_epoch = -(-len(built.X) // built.batch_size)
    weights = [n for n, p in built.model.named_parameters() if p.requires_grad]
    share = PENALTIES.get(setting.body, {})
    habits = Habits(
        batch_size=built.batch_size, epochs=max(1, -(-setting.steps // per_epoch)), shuffle=built.shuffle, trains=setting.trains_in == "train",
        judges=setting.validates_in == "eval",
        schedule="cosine" if setting.schedule == "cosine" else "constant",
        penalties=tuple(Penalty(parameter=n, **share) for n in weights) if share else (),
        **BODIES.get(setting.body, {}),
    )  # fmt: skip
    return replace(program, habits=habits, make_model=maker_of(make))


def measured(number: int, base: str) -> dict[str, Any]:
    """One fault on one network, healed; what is kept is read."""
    fault = FAULTS[number]
    place = KEPT / f"{fault.code}_{fault.kind}~{base}.json"
    if not place.exists():
        row = healed(number, base)
        place.write_text(json.dumps(row))
    return json.loads(place.read_text())


def healed(number: int, base: str) -> dict[str, Any]:
    """One fault on one network, healed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    fault, setting = FAULTS[number], BASES[base]
    row: dict[str, Any] = {"case": f"{fault.code}_{fault.kind}/{base}", "code": fault.code}
    try:
        twin = train(converted(setting, lambda seed: healthy(setting, seed)), FRESH)
        sick = converted(fault.change(setting), lambda seed: fault.make(setting, seed))
        found = heal(sick, seeds=3, budget=BUDGET)
    except Exception as error:
        return row | {"error": f"{type(error).__name__}: {error}"[:200]}
    row["by_hand"] = not any(fault.code in page.rules and not page.program
                             for page in remedy_pages())  # fmt: skip
    constant = sick.facts.score.constant if sick.facts.score is not None else 0.0
    codes = {fault.code, *fault.accepted}
    row |= {
        "state": found.state, "named": found.steps[0].open, "seconds": found.seconds,
        "edits": [done.name for done in found.done], "twin": twin.score,
        "before": found.steps[0].score, "runs": len(found.steps),
        "verdict": found.proof.verdict if found.proof is not None else "",
    }  # fmt: skip
    if found.proof is not None:
        after = found.proof.arms[1].outcomes
        scores = [o.score if o.score is not None else constant for o in after]
        row["after"] = statistics.fmean(scores)
        row["closed"] = sum(not codes & set(o.open) for o in after) > len(after) / 2
        row["back"] = row["after"] - constant >= BACK * ((twin.score or constant) - constant)
    row["harmless"] = found.state == "left alone" and (found.steps[0].score or 0.0) - constant >= (
        BACK * ((twin.score or constant) - constant)
    )  # fmt: skip
    return row


def healthy(setting: Setting, seed: int) -> Built:
    torch.manual_seed(seed)
    return assemble(setting, seed)


def table(rows: list[dict[str, Any]], skipped: list[str]) -> str:
    known = [r for r in rows if "error" not in r and not r["harmless"] and not r["by_hand"]]
    by_hand = [r["case"] for r in rows if r.get("by_hand")]
    proven = [r for r in known if r["verdict"] in ("cured", "helped")]
    closed, back = (sum(bool(r.get(key)) for r in proven) for key in ("closed", "back"))
    both = sum(bool(r.get("closed") and r.get("back")) for r in proven)
    n = max(1, len(known))
    lines = [
        f"{len(rows)} programs; {sum(r.get('harmless', False) for r in rows)} did no harm here (as good as {BACK:g} of the twin, nothing named), and {len(by_hand)} are of rules whose every remedy is a person's ({', '.join(sorted(by_hand))}): left out of the shares; {sum('error' in r for r in rows)} raised.",
        "", "| of the others | n | share |", "|---|---|---|",
        f"| a remedy proven on fresh seeds | {len(proven)} of {len(known)} | **{len(proven) / n:.2f}** |",
        f"| proven, and the planted code is closed in most runs | {closed} | **{closed / n:.2f}** |",
        f"| proven, and as good as {BACK:g} of the twin's skill | {back} | **{back / n:.2f}** |",
        f"| proven, closed and as good | {both} | **{both / n:.2f}** |",
        "", "Not run, for the loop is beyond habits of ours: " + ", ".join(skipped), "",
        "| case | named at first | score before | after | twin | verdict | closed | back | edits | runs | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in sorted(rows, key=lambda r: r["case"]):
        if "error" in r:
            lines.append(f"| {r['case']} | {r['error']} | | | | | | | | | |")
            continue
        lines.append(
            f"| {r['case']} | {' '.join(r['named'])} | {number_of(r['before'])} | {number_of(r.get('after'))} | {number_of(r['twin'])} | {r['verdict'] or r['state']} | {'yes' if r.get('closed') else ''} | {'yes' if r.get('back') else ''} | {', '.join(r['edits'])} | {r['runs']} | {r['seconds']:.0f} |"
        )
    return "\n".join(lines)


def number_of(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--networks", type=int, default=1, help="of those a fault is planted in")
    parser.add_argument("--only", default="", help="beginning of a case's name")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    KEPT.mkdir(exist_ok=True)
    jobs = [job for job in cases(options.networks)
            if f"{FAULTS[job[0]].code}_{FAULTS[job[0]].kind}/{job[1]}".startswith(options.only)]  # fmt: skip
    chosen = {number for number, _ in cases(1)}
    skipped = [f"{f.code}_{f.kind}" for n, f in enumerate(FAULTS) if f.harm and n not in chosen]
    rows = []
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(measured, *job) for job in jobs]):
            rows.append(future.result())
            print({k: v for k, v in rows[-1].items() if k != "code"}, flush=True)
    text = header("Planted faults, healed", "numpy")
    publish("cures", text + "\n" + table(rows, skipped), write=options.write)


if __name__ == "__main__":
    main()
