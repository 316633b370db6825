"""What does a diagnosis look like in a terminal? A box of at most 30 lines: the verdict first, then
each cause with its reasons, last what could not be seen and what watching cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.box import ROUNDED
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trainwright.core.diagnosis import Diagnosis, Finding
from trainwright.core.words import say
from trainwright.report import format as show
from trainwright.report import rule_words as words
from trainwright.report.boxes import fitted, plain_text
from trainwright.report.rate_words import suspected_rate
from trainwright.report.rule_pages import RulePage
from trainwright.report.terminal import tame

MOST_LINES = 30
_LABELS = tuple(
    f"diagnosis.{name}"
    for name in ("where", "when", "chain", "number", "refuted", "remedies", "consequences",
                 "note", "rate", "possible", "unseen", "muted", "overhead")
)  # fmt: skip
_STYLES = {"critical": "red", "serious": "yellow", "minor": "cyan"}


_ROWS = ("what", "where", "when", "chain", "number", "refuted", "remedies", "consequences")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """How much is said of one cause."""

    rows: tuple[str, ...] = _ROWS
    remedies: int = 3
    events: int = 5
    wrap: bool = True


_FULL = Detail()
_LESS = Detail(remedies=1, events=4)
_FLAT = Detail(remedies=1, events=3, wrap=False)
_SHORT = Detail(
    rows=("what", "where", "chain", "number", "remedies", "consequences"),
    remedies=1, events=3, wrap=False,
)  # fmt: skip
_LEAST = Detail(rows=("what", "number", "remedies"), remedies=1, events=2, wrap=False)
# From the most that is said of the first, second and third cause to the least.
_LEVELS = (
    (_FULL, _FULL, _FULL),
    (_FULL, _LESS, _LESS),
    (_LESS, _LESS, _LESS),
    (_LESS, _FLAT, _FLAT),
    (_FLAT, _FLAT, _FLAT),
    (_FLAT, _SHORT, _SHORT),
    (_SHORT, _SHORT, _SHORT),
    (_SHORT, _LEAST, _LEAST),
    (_LEAST, _LEAST, _LEAST),
)


@dataclass(frozen=True, slots=True)
class DiagnosisBox:
    """Draws itself with as much detail as 30 lines of the console's width hold."""

    diagnosis: Diagnosis
    title: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from fitted(console, options, map(self._panel, _LEVELS), most_lines=MOST_LINES)

    def _panel(self, level: Sequence[Detail]) -> Panel:
        flat = level[0] is not _FULL
        parts: list[RenderableType] = [verdict(self.diagnosis), *_scope(self.diagnosis, flat)]
        for finding, detail in zip(self.diagnosis.findings, level, strict=False):
            parts += _cause(finding, detail)
        tail = list(_last(self.diagnosis, flat))
        if tail:
            parts.append(_grid(tail, wrap=not flat))
        worst = next((f.severity for f in self.diagnosis.findings), "")
        style = _STYLES.get(worst, "green" if self.diagnosis.healthy else "")
        title = Text(tame(self.title)) if self.title else None
        return Panel(Group(*parts), title=title, title_align="left", box=ROUNDED,
                     border_style=style, padding=(0, 1))  # fmt: skip


def box(diagnosis: Diagnosis, *, title: str = "") -> RenderableType:
    """The diagnosis for `Console.print`; `title` is what was diagnosed."""
    return DiagnosisBox(diagnosis, title)


def as_text(diagnosis: Diagnosis, *, title: str = "", width: int = 100) -> str:
    """The same box as plain text, for `str()` and files."""
    return plain_text(box(diagnosis, title=title), width=width)


def rules_table(pages: Sequence[RulePage]) -> RenderableType:
    """One line per rule: code, name, severity, and what it is."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(say("rules.code"), no_wrap=True, style="bold")
    table.add_column(say("rules.name"), no_wrap=True)
    table.add_column(say("rules.severity"), no_wrap=True)
    table.add_column(say("rules.what"), overflow="fold")
    for page in pages:
        style = _STYLES.get(page.severity, "")
        severity = Text(words.severity_word(page.severity), style=style)
        table.add_row(page.code, page.title, severity, page.what)
    return table


def verdict(diagnosis: Diagnosis) -> Text:
    """`nothing wrong found`, or how many causes; or that too little was seen to say either."""
    if diagnosis.healthy and _is_blind(diagnosis):
        return _flat(f"? {say('diagnosis.blind')}", "bold yellow")
    if diagnosis.healthy:
        return _flat(f"✓ {say('diagnosis.healthy')}", "bold green")
    count = len(diagnosis.findings)
    said = say("diagnosis.one_cause") if count == 1 else say("diagnosis.causes", count=count)
    return _flat(f"✗ {said}", f"bold {_STYLES.get(diagnosis.findings[0].severity, '')}".strip())


def _is_blind(diagnosis: Diagnosis) -> bool:
    """Nothing trained, or more than half of the rules lacked what they need."""
    from trainwright.diagnose.catalogue import RULES

    undecided = {one.code for one in diagnosis.unseen} & set(RULES)
    untrained = any(one.missing == "training" for one in diagnosis.unseen)
    return untrained or len(undecided) > len(RULES) / 2


def scope_words(diagnosis: Diagnosis) -> str:
    """What was looked at: steps, and how many rules could decide."""
    from trainwright.diagnose.catalogue import RULES

    looked = (
        say("diagnosis.looked_steps", steps=show.count(diagnosis.steps))
        if diagnosis.steps
        else say("diagnosis.looked_static")
    )
    undecided = {one.code for one in diagnosis.unseen} & set(RULES)
    out = undecided | set(diagnosis.muted) & set(RULES)
    decided = say("diagnosis.rules_decided", count=len(RULES) - len(out))
    parts = [looked, decided]
    if undecided:
        parts.append(say("diagnosis.rules_undecided", count=len(undecided)))
    return say("report.between").join(parts)


def suspicion_words(diagnosis: Diagnosis) -> str:
    """How near a healthy verdict was to another one."""
    if not diagnosis.suspected:
        return say("diagnosis.none_suspected")
    nearest = max(diagnosis.suspected, key=lambda finding: finding.confidence)
    return say(
        "diagnosis.most_likely",
        name=f"{nearest.code} {words.rule_name(nearest.code, nearest.name)}",
        percent=words.percent(nearest.confidence),
        word=words.confidence_word(nearest.confidence),
    )


def _scope(diagnosis: Diagnosis, flat: bool) -> Iterator[Text]:
    yield _text(scope_words(diagnosis), "dim", flat)
    if diagnosis.healthy:
        yield _text(suspicion_words(diagnosis), "dim", flat)


def _cause(finding: Finding, detail: Detail) -> list[RenderableType]:
    style = _STYLES.get(finding.severity, "")
    title = _flat(finding.code, f"bold {style}".strip())
    title.append(f"  {tame(words.rule_name(finding.code, finding.name))}", style="bold")
    title.append(
        f"  {words.severity_word(finding.severity)} · {words.confidence_words(finding.confidence)}"
    )
    for other in words.other_names(finding.code):
        title.append(f"  {other}", style="dim")
    rows = [row for name in detail.rows for row in _row(name, finding, detail)]
    return [title, _grid(rows, wrap=detail.wrap)]


def _row(name: str, finding: Finding, detail: Detail) -> Iterator[tuple[str, str]]:
    """Label and text of each line of one kind; none where there is nothing to say."""
    if name == "remedies":
        for at, remedy in enumerate(finding.remedies[: detail.remedies]):
            yield "" if at else say("diagnosis.remedies"), words.remedy_line(remedy)
        return
    value = _value(name, finding, detail)
    if value:
        yield "" if name == "what" else say(f"diagnosis.{name}"), value


def _value(name: str, finding: Finding, detail: Detail) -> str:
    """What a line says; empty where there is nothing to say."""
    match name:
        case "what":
            return words.sentence(finding)
        case "where":
            return words.place(finding)
        case "when":
            step = finding.since_step
            return "" if step is None or _has_chain(finding) else words.step_words(step)
        case "chain":
            return _chain(finding, detail.events) if _has_chain(finding) else ""
        case "number":
            return _number(finding)
        case "refuted":
            return words.refutation(finding)
    return _consequences(finding)


def _has_chain(finding: Finding) -> bool:
    return len(words.chain(finding)) > 1


def _chain(finding: Finding, most: int) -> str:
    """Events in time; a long chain loses its middle, not its beginning or end."""
    lines = [event.line for event in words.chain(finding)]
    if len(lines) > most:
        hidden = len(lines) - most
        lines = [*lines[: most - 1], say("diagnosis.more", count=hidden), lines[-1]]
    return " → ".join(lines)


def _number(finding: Finding) -> str:
    best = words.strongest(finding)
    if best is None:
        return ""
    said = words.evidence_words(best)
    return f"{said}  {tame(best.provenance)}" if best.provenance else said


def _consequences(finding: Finding) -> str:
    named = [f"{one.code} {words.rule_name(one.code, one.name)}" for one in finding.consequences]
    return words.shortened(named, 3, say("report.between"))


def _last(diagnosis: Diagnosis, flat: bool) -> Iterator[tuple[str, str]]:
    for note in diagnosis.notes:
        yield say("diagnosis.note"), words.note_line(note)
    rate = suspected_rate(diagnosis)
    if rate:
        yield say("diagnosis.rate"), rate
    if diagnosis.suspected and not diagnosis.healthy:
        yield say("diagnosis.possible"), say("report.between").join(
            say("diagnosis.possible_one", percent=words.percent(one.confidence),
                name=f"{one.code} {words.rule_name(one.code, one.name)}")
            for one in diagnosis.suspected[:2]
        )  # fmt: skip
    groups = words.unseen_groups(diagnosis.unseen)
    if groups:
        listed = words.shortened(groups, 1 if flat else 3, say("diagnosis.semicolon"))
        yield say("diagnosis.unseen"), listed
    if diagnosis.muted:
        yield say("diagnosis.muted"), ", ".join(diagnosis.muted)
    if diagnosis.overhead is not None:
        yield say("diagnosis.overhead"), words.overhead_words(diagnosis)


def _grid(rows: Sequence[tuple[str, str]], *, wrap: bool) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(no_wrap=True, width=2 + max(cell_len(say(label)) for label in _LABELS))
    grid.add_column(no_wrap=not wrap, overflow="fold" if wrap else "ellipsis", ratio=1)
    for label, value in rows:
        grid.add_row(_flat(f"  {label}", "dim"), _text(value, "", not wrap))
    return grid


def _flat(value: str, style: str = "") -> Text:
    return Text(tame(value), style=style, no_wrap=True, overflow="ellipsis")


def _text(value: str, style: str, flat: bool) -> Text:
    return _flat(value, style) if flat else Text(tame(value), style=style, overflow="fold")
