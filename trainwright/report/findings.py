"""What is wrong, for someone who was not there? The page's section: causes with their evidence, the
loss curve with each cause marked in it, and the layers over time."""

from collections.abc import Iterator, Sequence

import numpy as np

from trainwright.core.diagnosis import Diagnosis, Evidence, Finding
from trainwright.core.history import History
from trainwright.core.words import say
from trainwright.report import diagnosis as boxed
from trainwright.report import figures, heatmap
from trainwright.report import format as show
from trainwright.report import rule_words as words
from trainwright.report.curves import MOST_POINTS, Series
from trainwright.report.markup import Child, Html, join, table, tag
from trainwright.report.rate_words import rate_beside_curve

# Which readings' evidence is framed in which picture.
_OWN = {
    "gradient": ("gradient_norm", "nonfinite"),
    "gain": ("output_gradient", "gain"),
    "update": ("update",),
    "dead": ("dead_share", "zero_share"),
}


def findings(diagnosis: Diagnosis, history: History | None = None) -> Html:
    """The section's content."""
    parts: list[Child] = [_verdict(diagnosis)]
    if diagnosis.findings:
        parts.append(tag("p", say("diagnosis.page_about"), class_="about"))
    parts += [_cause(finding) for finding in diagnosis.findings]
    parts.append(_last(diagnosis))
    if history is not None:
        parts += [_curve(diagnosis, history), _maps(diagnosis, history)]
    return join(*parts)


def _verdict(diagnosis: Diagnosis) -> Html:
    if diagnosis.healthy:
        mark, kind = say("diagnosis.page_healthy"), "worth_it"
        said = f"{boxed.scope_words(diagnosis)} · {boxed.suspicion_words(diagnosis)}"
    else:
        count = len(diagnosis.findings)
        mark = say("diagnosis.one_cause") if count == 1 else say("diagnosis.causes", count=count)
        kind, said = "not_worth_it", boxed.scope_words(diagnosis)
    return tag("p", tag("span", mark, class_="mark"), " ", said, class_=f"verdict {kind}")


def _cause(finding: Finding) -> Html:
    """One cause: name in both languages, sentence, facts, remedies, evidence, consequences."""
    others = [tag("span", f" {name}", class_="soft") for name in words.other_names(finding.code)]
    name = words.rule_name(finding.code, finding.name)
    title = tag("h3", tag("code", finding.code), f" {name}", *others)
    grade = (
        f"{words.severity_word(finding.severity)} · {words.confidence_words(finding.confidence)}"
    )
    facts = "".join(
        tag("div", tag("dt", label), tag("dd", value)) for label, value in _facts(finding)
    )
    consequences = [
        tag("li", tag("code", one.code), f" {words.rule_name(one.code, one.name)}: "
            f"{words.sentence(one)}")
        for one in finding.consequences
    ]  # fmt: skip
    below: Child = None
    if consequences:
        said = f"{say('diagnosis.consequences')}: {len(consequences)}"
        below = tag("details", tag("summary", said), tag("ul", *consequences))
    return tag(
        "article", title,
        tag("p", tag("span", grade, class_=f"grade {_safe(finding.severity)}"), " ",
            words.sentence(finding)),
        tag("dl", Html(facts), class_="facts-list"),
        _remedies(finding), _evidence(finding), below,
        class_="cause",
    )  # fmt: skip


def _facts(finding: Finding) -> Iterator[tuple[str, str]]:
    place = words.place(finding, most=8)
    if place:
        yield say("diagnosis.where"), place
    if finding.since_step is not None:
        yield say("diagnosis.when"), words.step_words(finding.since_step)
    events = words.chain(finding)
    if len(events) > 1:
        yield say("diagnosis.chain"), " → ".join(event.line for event in events[:12])
    refuted = words.refutation(finding)
    if refuted:
        yield say("diagnosis.refuted"), refuted


def _remedies(finding: Finding) -> Html | None:
    if not finding.remedies:
        return None
    lines = [
        tag("li", tag("code", name), " ", with_code(words.remedy_words(name)))
        for name in finding.remedies
    ]
    return join(tag("p", say("diagnosis.remedies"), class_="label"), tag("ul", *lines))


def _evidence(finding: Finding) -> Html | None:
    if not finding.evidence:
        return None
    head: list[Child] = [
        say("diagnosis.evidence"), "", say("diagnosis.threshold"), say("diagnosis.where"),
        say("report.head.step"), say("diagnosis.provenance"),
    ]  # fmt: skip
    rows = [_evidence_row(one) for one in finding.evidence]
    kept = [at for at in range(len(head)) if any(row[at] for row in rows)]
    return table([head[at] for at in kept], [[row[at] for at in kept] for row in rows],
                 numeric={new for new, old in enumerate(kept) if old in (1, 2, 4)})  # fmt: skip


def _evidence_row(one: Evidence) -> list[Child]:
    return [
        words.reading_name(one.reading),
        tag("strong", words.value_words(one.reading, one.value)),
        words.value_words(one.reading, one.threshold) if one.threshold is not None else "",
        words.short(one.where),
        "" if one.step is None else show.count(one.step),
        tag("span", one.provenance, class_="soft") if one.provenance else "",
    ]


def _last(diagnosis: Diagnosis) -> Html | None:
    """Notes, other possibilities, what could not be seen, what watching cost."""
    lines = [(say("diagnosis.note"), words.note_line(note)) for note in diagnosis.notes]
    possible = [
        say("diagnosis.possible_one", percent=words.percent(one.confidence),
            name=f"{one.code} {words.rule_name(one.code, one.name)}")
        for one in diagnosis.suspected
    ]  # fmt: skip
    between = say("report.between")
    if possible and (diagnosis.findings or len(possible) > 1):
        lines.append((say("diagnosis.possible"), words.shortened(possible, 10, between)))
    groups = words.unseen_groups(diagnosis.unseen)
    if groups:
        listed = words.shortened(groups, 20, say("diagnosis.semicolon"))
        lines.append((say("diagnosis.unseen"), listed))
    if diagnosis.muted:
        lines.append((say("diagnosis.muted"), between.join(diagnosis.muted)))
    if diagnosis.overhead is not None:
        lines.append((say("diagnosis.overhead"), words.overhead_words(diagnosis)))
    if not lines:
        return None
    rows = (tag("div", tag("dt", name), tag("dd", value)) for name, value in lines)
    return tag("dl", *rows, class_="facts-list")


def _curve(diagnosis: Diagnosis, history: History) -> Html | None:
    """The loss with a line and a code where each cause began, and what it says of the rate."""
    line = _series(history)
    if line is None:
        return None
    marks = [(step, finding.code) for finding in diagnosis.findings for step in _steps(finding)]
    title = say("diagnosis.curve") if marks else say("diagnosis.plain_curve")
    rate, label = rate_beside_curve(diagnosis), say("diagnosis.rate") + say("diagnosis.colon")
    return tag(
        "figure",
        tag("figcaption", tag("strong", title)),
        figures.marked_curve("diagnosis-loss", line, marks),
        tag("div", say("report.head.step"), class_="axis across"),
        tag("p", tag("strong", label), rate, class_="note") if rate else None,
        class_="plot wide",
    )


def _steps(finding: Finding) -> list[int]:
    """Where its evidence stands in time: one mark per step, at most three."""
    dated = {e.step for e in finding.evidence if e.step is not None}
    if not dated and finding.since_step is not None:
        dated = {finding.since_step}
    return sorted(dated)[:3]


def _series(history: History) -> Series | None:
    """The finite losses, in at most MOST_POINTS buckets with their extremes."""
    good = np.isfinite(history.loss.values)
    steps, values = history.loss.steps[good], history.loss.values[good]
    if len(steps) < 2:
        return None
    width = -(-len(steps) // MOST_POINTS)
    cuts = range(0, len(steps), width)
    return Series(
        steps=tuple(float(steps[c : c + width].mean()) for c in cuts),
        values=tuple(float(values[c : c + width].mean()) for c in cuts),
        low=tuple(float(values[c : c + width].min()) for c in cuts),
        high=tuple(float(values[c : c + width].max()) for c in cuts),
        thinned=width > 1,
    )


def _maps(diagnosis: Diagnosis, history: History) -> Html | None:
    marks = marks_of(diagnosis)
    named = [name for finding in _all(diagnosis.findings) for name in finding.where]
    pictures = heatmap.maps(history, named=[*(mark.layer for _, mark in marks), *named])
    if not pictures:
        return None
    drawn = [
        heatmap.drawn(one, [mark for reading, mark in marks if reading.startswith(_OWN[one.name])])
        for one in pictures
    ]
    said = [say("diagnosis.maps_about")]
    first = pictures[0]
    if first.num_layers > len(first.layers):
        said.append(say("diagnosis.thinned_rows", shown=len(first.layers), count=first.num_layers))
    if first.per_column > 1:
        said.append(say("diagnosis.thinned_columns", count=first.per_column))
    return join(
        tag("h3", say("diagnosis.maps")),
        tag("p", " ".join(said).replace("。 ", "。"), class_="about"),
        tag("div", *drawn, class_="plots"),
    )  # fmt: skip


def marks_of(diagnosis: Diagnosis) -> list[tuple[str, heatmap.Mark]]:
    """(reading, mark) of each evidence that has a layer and a step, consequences included."""
    return [
        (e.reading, heatmap.Mark(code=finding.code, layer=e.where, step=e.step))
        for finding in _all(diagnosis.findings)
        for e in finding.evidence
        if e.where and e.step is not None
    ]


def _all(found: Sequence[Finding]) -> Iterator[Finding]:
    for one in found:
        yield one
        yield from _all(one.consequences)


def with_code(text: str) -> Html:
    """Our own words: what stands in backticks becomes code."""
    parts = text.split("`")
    return join(*(tag("code", part) if at % 2 else part for at, part in enumerate(parts)))


def _safe(name: str) -> str:
    return name if name in ("critical", "serious", "minor") else "plain"
