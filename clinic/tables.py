"""How well is each disease recognised, and how often is a healthy program accused? Counts over the
records of `examine`, as Markdown tables."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from clinic.program import Program

Record = Mapping[str, Any]
COSTS = 0.05  # of skill: less than this is no harm [assumed: twice the spread over seeds]


def first(record: Record) -> str:
    """The code named first; "healthy" when none is."""
    return record["named"][0][0] if record["named"] else "healthy"


def sensitivity(records: Sequence[Record], programs: Mapping[str, Program]) -> str:
    """Per rule: how many sick runs were flagged, how many named it at all, how many named it first,
    how many of those that cost skill, how many before the first step; and the commonest wrong
    first answers."""
    free = harmless(records, programs)
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        program = programs[record["program"]]
        if program.fault:
            groups[program.fault].append(record)
    lines = [
        "| rule | programs | runs | flagged | named | named first | of harmful | before step 1 | named instead |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for code in sorted(groups):
        lines.append(_row(code, groups[code], programs, free))
    if len(groups) > 1:
        every = [r for group in groups.values() for r in group]
        lines.append(_row("all", every, programs, free))
    return "\n".join(lines)


def by_kind(records: Sequence[Record], programs: Mapping[str, Program]) -> str:
    """The same per variant of a fault, for those that are not always named first."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        program = programs[record["program"]]
        if program.fault:
            groups[f"{program.fault} {program.kind}"].append(record)
    lines = ["| fault | runs | named first | missed on |", "|---|---|---|---|"]
    for name in sorted(groups):
        group = groups[name]
        missed = [r for r in group if not programs[r["program"]].right(first(r))]
        if missed:
            counted = Counter(f"{r['program'].split('/')[-1]}: {first(r)}" for r in missed)
            shown = ", ".join(f"{what} x{n}" for what, n in counted.most_common(4))
            lines.append(f"| {name} | {len(group)} | {len(group) - len(missed)} | {shown} |")
    return "\n".join(lines)


def _row(
    code: str,
    group: Sequence[Record],
    programs: Mapping[str, Program],
    free: Collection[tuple[str, int]],
) -> str:
    def right(record: Record, codes: Iterable[str]) -> bool:
        return any(programs[record["program"]].right(each) for each in codes)

    named = [right(r, (f[0] for f in r["named"])) for r in group]
    on_top = [right(r, (first(r),)) for r in group]
    costly = [
        h for r, h in zip(group, on_top, strict=True) if (r["program"], r["seed"]) not in free
    ]
    early = [right(r, (f[0] for f in r["checked"])) for r in group]
    instead = Counter(first(r) for r, hit in zip(group, on_top, strict=True) if not hit)
    wrong = ", ".join(f"{what} x{n}" for what, n in instead.most_common(3))
    return (
        f"| {code} | {len({r['program'] for r in group})} | {len(group)} "
        f"| {_share([bool(r['named']) for r in group])} | {_share(named)} | {_share(on_top)} | {_share(costly)} "
        f"| {_share(early)} | {wrong} |"
    )


def harmless(records: Sequence[Record], programs: Mapping[str, Program]) -> set[tuple[str, int]]:
    """Sick runs that reach the skill of their twin's mean to within 0.05: an oddity, no alarm due."""
    mean = _mean_skill(records)
    return {
        (r["program"], r["seed"])
        for r in records
        if programs[r["program"]].harm
        and (twin := programs[r["program"]].twin) in mean
        and _skill(r) > mean[twin] - COSTS
    }


def _skill(record: Record) -> float:
    value = record["skill"]
    return value if value == value else -1.0


def _mean_skill(records: Sequence[Record]) -> dict[str, float]:
    skills: dict[str, list[float]] = defaultdict(list)
    for record in records:
        skills[record["program"]].append(_skill(record))
    return {name: sum(values) / len(values) for name, values in skills.items()}


def false_alarms(records: Sequence[Record], programs: Mapping[str, Program]) -> str:
    """Healthy programs: how many runs, and how many programs in any seed, are accused, and of what."""
    every = [r for r in records if programs[r["program"]].fault is None]
    healthy = [r for r in every if _skill(r) >= programs[r["program"]].learns]
    if not healthy:
        return ""
    accused = [r for r in healthy if r["named"]]
    names = {r["program"] for r in healthy}
    ever = {r["program"] for r in accused}
    lines = [
        f"Healthy: {len(names)} programs, {len(healthy)} runs. Accused: {len(accused)} runs "
        f"({100 * len(accused) / len(healthy):.1f} %), {len(ever)} programs in at least one seed. "
        f"Not counted: {len(every) - len(healthy)} runs without a fault that did not learn enough.",
        "",
        "| accused of | runs | share | programs |",
        "|---|---|---|---|",
    ]
    by_code: dict[str, list[Record]] = defaultdict(list)
    for record in accused:
        for code in dict.fromkeys(f[0] for f in record["named"]):
            by_code[code].append(record)
    for code, group in sorted(by_code.items(), key=lambda item: -len(item[1])):
        counted = Counter(r["program"] for r in group)
        shown = ", ".join(f"{name} x{n}" for name, n in counted.most_common(6))
        lines.append(
            f"| {code} | {len(group)} | {100 * len(group) / len(healthy):.1f} % | {shown} |"
        )
    return "\n".join(lines)


def reliability(records: Sequence[Record], programs: Mapping[str, Program]) -> str:
    """Is confidence what it says? Share of right first findings by the confidence they had."""
    edges = (0.5, 0.6, 0.7, 0.8, 0.9, 1.001)
    findings = [(f[2], programs[r["program"]].right(f[0])) for r in records for f in r["named"][:1]]
    lines = ["| confidence | findings | mean said | right |", "|---|---|---|---|"]
    for low, high in pairwise(edges):
        inside = [(c, hit) for c, hit in findings if low <= c < high]
        if inside:
            said = sum(c for c, _ in inside) / len(inside)
            hits = sum(hit for _, hit in inside) / len(inside)
            lines.append(
                f"| {low:.1f}-{min(high, 1):.1f} | {len(inside)} | {said:.2f} | {hits:.2f} |"
            )
    return "\n".join(lines)


def harm(records: Sequence[Record], programs: Mapping[str, Program]) -> str:
    """Does each fault harm? Mean skill of sick and twin, and those where the loss is below 0.05."""
    mean = _mean_skill(records)
    lines = ["| sick | its skill | twin's |", "|---|---|---|"]
    for name, value in mean.items():
        twin = programs[name].twin
        if programs[name].harm and twin in mean and value > mean[twin] - COSTS:
            lines.append(f"| {name} | {value:.2f} | {mean[twin]:.2f} |")
    return "\n".join(lines) if len(lines) > 2 else "Every fault costs at least 0.05 of skill."


def _share(hits: Sequence[bool]) -> str:
    return f"{sum(hits) / len(hits):.2f}" if hits else "-"
