"""How good is diagnosis? `python -m clinic.measure` runs the clinic's programs over seeds, keeps what was
read of each, asks the rules of today, and prints sensitivity, false alarms and confusion."""

import argparse
import gzip
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from clinic import everyday, tables
from clinic.catalogue import choose, find
from clinic.generate import draw
from clinic.program import Program

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
CACHE = FOLDER / ".cache"
# What readings depend on. Rules are not among it: they are asked anew each time, in milliseconds.
READERS = ("core/facts.py", "core/history.py", "watch", "check", "run/attach.py")
TELLERS = frozenset(
    {"measure.py", "tables.py", "catalogue.py", "peers.py", "generate.py", "everyday.py"}
)
Job = tuple[str, int]


def main(words: Sequence[str] | None = None) -> int:
    """Measure what was asked for; print; write if asked."""
    asked = _parser().parse_args(words)
    jobs = _jobs(asked)
    folder = CACHE / (asked.readings or fingerprint())
    _read(jobs, folder, asked.workers, fresh=asked.fresh)
    if asked.facts:
        return _dump(_kept(jobs, folder), Path(asked.facts))
    text = report(_answers(jobs, folder), is_peers=asked.peers)
    print(text)
    if asked.write:
        _write(text, words, _part(asked))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clinic.measure", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fourteen programs only")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=(), help="rule codes or beginnings of names")
    parser.add_argument("--zoo", action="store_true", help="healthy programs only")
    parser.add_argument("--peers", action="store_true", help="the 21 faults and 3 healthy runs")
    parser.add_argument("--generated", type=int, help="this many drawn pairs, one seed each")
    parser.add_argument("--everyday", type=int, help="this many drawn programs without a fault")
    parser.add_argument("--write", action="store_true", help="to benchmarks/, dated")
    parser.add_argument("--fresh", action="store_true", help="read everything again")
    parser.add_argument("--readings", help="name of a folder under clinic/.cache to use as it is")
    parser.add_argument(
        "--facts", help="write facts and readings of every run to this file (jsonl)"
    )
    parser.add_argument("--workers", type=int, default=2)
    return parser


def _jobs(asked: argparse.Namespace) -> list[Job]:
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    if asked.generated:
        drawn = [p for n in range(asked.generated) for p in draw(asked.first_seed + n)]
        return [(p.name, 0) for p in drawn]
    if asked.everyday:
        numbers = range(asked.first_seed, asked.first_seed + asked.everyday)
        return [(f"{everyday.PREFIX}{number}", 0) for number in numbers]
    only = tuple(asked.only)
    chosen = choose(only=only, zoo=asked.zoo, peer=asked.peers, quick=asked.quick)
    return [(p.name, seed) for p in chosen for seed in seeds]


def fingerprint() -> str:
    """Of the code that readings depend on: what was kept is only as good as the code it came from."""
    package = [ROOT / "trainwright" / name for name in READERS]
    files = [f for place in package for f in ([place] if place.suffix else place.rglob("*.py"))]
    clinic = [f for f in FOLDER.rglob("*.py") if f.name not in TELLERS]
    found = hashlib.sha256()
    for path in sorted([*files, *clinic]):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _file(folder: Path, job: Job) -> Path:
    return folder / f"{job[0].replace('/', '~')}@{job[1]}.json.gz"


def _read(jobs: Sequence[Job], folder: Path, workers: int, *, fresh: bool) -> None:
    """Runs what is not kept yet, in one-threaded processes; one line of progress on standard error."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if fresh or not _file(folder, job).exists()]
    if not missing:
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_run, job, folder): job for job in missing}
        for count, future in enumerate(as_completed(futures), start=1):
            name, seed = futures[future]
            failed = future.result()
            if failed:
                print(f"\nfailed: {name} seed {seed}: {failed}", file=sys.stderr)
            print(f"\r{count}/{len(missing)} {name:50.50}", end="", file=sys.stderr)
    print(file=sys.stderr)


def _run(job: Job, folder: Path) -> str:
    """One run in a worker, kept in its file; what fails outside the user's own loop is told."""
    from clinic.examine import examine

    name, seed = job
    try:
        record = examine(find(name), seed)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    path = _file(folder, job)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(gzip.compress(json.dumps(record).encode(), 5))
    unfinished.replace(path)
    return ""


def _kept(jobs: Iterable[Job], folder: Path) -> Iterator[dict[str, Any]]:
    for job in jobs:
        path = _file(folder, job)
        if path.exists():
            yield json.loads(gzip.decompress(path.read_bytes()))


def _answers(jobs: Iterable[Job], folder: Path) -> list[dict[str, Any]]:
    """What today's rules say; readings of another version that cannot be understood are told of."""
    from pydantic import ValidationError

    from clinic.examine import answer

    answers, foreign = [], 0
    for record in _kept(jobs, folder):
        try:
            answers.append(answer(record))
        except ValidationError:
            foreign += 1
    if foreign:
        print(f"{foreign} runs in {folder} are of another version: left out", file=sys.stderr)
    return answers


def _dump(records: Iterable[dict[str, Any]], path: Path) -> int:
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            program = find(record["program"])
            truth = {"fault": program.fault, "kind": program.kind, "twin": program.twin}
            file.write(json.dumps(record | truth | {"accepted": program.accepted}) + "\n")
    return 0


def report(records: Sequence[dict[str, Any]], *, is_peers: bool = False) -> str:
    """All tables."""
    every = {r["program"]: find(r["program"]) for r in records}
    broken = sorted({reason for r in records for reason in r["broken"]})
    parts = [_peers(records, every)] if is_peers else []
    parts += [
        "## Sensitivity\n" + tables.sensitivity(records, every),
        "## Not always named first\n" + tables.by_kind(records, every),
        "## False alarms\n" + tables.false_alarms(records, every),
        "## Confidence\n" + tables.reliability(records, every),
        "## Faults that do little harm\n" + tables.harm(records, every),
    ]
    if broken:
        parts.append("## Rules that failed\n" + "\n".join(f"- {reason}" for reason in broken))
    return "\n\n".join(parts)


def _peers(records: Sequence[dict[str, Any]], every: dict[str, Program]) -> str:
    figure = [r for r in records if not r["program"].startswith("peers_convnet/")]
    sick = [r for r in figure if every[r["program"]].fault]
    healthy = [r for r in figure if not every[r["program"]].fault]
    seeds = len({r["seed"] for r in figure}) or 1
    hits = sum(every[r["program"]].right(tables.first(r)) for r in sick)
    flagged = sum(bool(r["named"]) for r in healthy)
    lines = [
        f"Named first: {hits / seeds:.1f} of 21; flagged among 3 healthy: {flagged / seeds:.1f} "
        f"(means over {seeds} seeds)",
        "",
        "| fault | right | answers |",
        "|---|---|---|",
    ]
    for name in dict.fromkeys(r["program"] for r in records):
        answers = ", ".join(tables.first(r) for r in records if r["program"] == name)
        lines.append(f"| {name} | {every[name].fault or 'healthy'} | {answers} |")
    return "\n".join(lines)


def _part(asked: argparse.Namespace) -> str:
    """What the programs that were asked for are called in the result's file name."""
    parts = {"peers": asked.peers, "generated": asked.generated, "everyday": asked.everyday,
             "quick": asked.quick, "zoo": asked.zoo, "some": bool(asked.only)}  # fmt: skip
    return next((f"clinic_{name}" for name, chosen in parts.items() if chosen), "clinic")


def _write(text: str, words: Sequence[str] | None, name: str) -> None:
    from benchmarks.harness import header

    path = ROOT / "benchmarks" / f"{name}_cpu2_{date.today():%Y-%m-%d}.md"
    command = f"python -m clinic.measure {' '.join(words or sys.argv[1:])}"
    head = header("Clinic: sick and healthy programs, diagnosed", "scikit-learn").split("\n")
    lines = [f"- command: `{command}`" if x.startswith("- command") else x for x in head]
    path.write_text("\n".join([*lines, text, ""]), encoding="utf-8")
    print(f"written: {path}")


if __name__ == "__main__":
    raise SystemExit(main())
