"""How does an exam read? A card: the question, the answer with its numbers, a curve in letters, and
what it moved; and the same as plain values."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from trainwright.core.claims import Picture, Series
from trainwright.core.diagnosis import Diagnosis
from trainwright.core.words import known_codes, say
from trainwright.diagnose.catalogue import RULES
from trainwright.exam.ask import Asked
from trainwright.exam.exam import Exam
from trainwright.report.rule_words import rule_name

STYLES = {"yes": "bold", "no": "bold", "undecided": "dim"}
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40  # characters of a curve
LEAST_MOVED = 0.05  # of log odds: less is not worth a line [assumed]


def exam_card(
    found: Exam, *, before: Diagnosis | None = None, after: Diagnosis | None = None
) -> Panel:
    """One exam. With the diagnoses before and after, what moved is said in their confidences, else
    as factors of the odds."""
    lines: list[RenderableType] = [
        Text(question_words(found), style="italic"),
        Text(answer_words(found), style=STYLES[found.answer]),
    ]
    for picture in found.pictures:
        lines += [Text(line) for line in drawn(picture)]
    lines += [Text(say(note), style="dim") for note in found.notes]
    moved = moved_lines(found, before, after) or [say("exams.card.nothing")]
    lines += [Text(line, style="dim") for line in moved]
    title = say(f"exams.{found.name}.title")
    return Panel(Group(*lines), title=title, title_align="left", subtitle_align="right",
                 subtitle=say("exams.card.seconds", seconds=found.seconds))  # fmt: skip


def cards(asked: Asked) -> Group:
    """All exams that were taken, and why the others were not."""
    parts: list[RenderableType] = [
        exam_card(exam, before=asked.before, after=asked.after) for exam in asked.exams
    ]
    seconds = sum(exam.seconds for exam in asked.exams)
    parts.append(Text(say("exams.card.summary", taken=len(asked.exams), seconds=seconds,
                          skipped=len(asked.skipped))))  # fmt: skip
    for name, why in asked.skipped:
        said = say("exams.card.no_time") if why == "time" else why
        parts.append(Text(f"  {say(f'exams.{name}.title')}: {said}", style="dim"))
    return Group(*parts)


def moved_lines(found: Exam, before: Diagnosis | None, after: Diagnosis | None) -> list[str]:
    """What the answer moved, most first: confidences of what was suspected, odds of the rest."""
    was, now = _confidences(before), _confidences(after)
    lines = []
    for code, shift in sorted(found.shifts.items(), key=lambda item: -abs(item[1])):
        name = rule_name(code, RULES[code].name)
        if code in was and code in now:
            if was[code] != now[code]:
                lines.append(say("exams.card.moved", code=code, name=name, before=was[code],
                                 after=now[code]))  # fmt: skip
        elif abs(shift) > LEAST_MOVED:
            lines.append(say("exams.card.odds", code=code, name=name, factor=math.exp(shift)))
    return lines


def _confidences(diagnosis: Diagnosis | None) -> dict[str, float]:
    if diagnosis is None:
        return {}
    named = [f for cause in diagnosis.findings for f in (cause, *cause.consequences)]
    return {f.code: f.confidence for f in (*diagnosis.suspected, *named)}


def question_words(found: Exam) -> str:
    """What was asked, with the exam's values."""
    return say(f"exams.{found.name}.question", **found.values)


def answer_words(found: Exam) -> str:
    """What was found, with the exam's values."""
    return say(f"exams.{found.name}.{found.answer}", **found.values)


def drawn(picture: Picture) -> list[str]:
    """Each curve of a picture as one line of bars on a shared scale, with its ends in numbers."""
    values = [y for line in picture.series for y in line.y if math.isfinite(y)]
    if not values:
        return []
    low, high = min(values), max(values)
    names = [_name(line) for line in picture.series]
    width = max(len(name) for name in names)
    axis = f"{say(picture.y)} / {say(picture.x)}"
    lines = [
        f"{name:<{width}}  {_bars(line, low, high)}  {line.y[0]:.3g} → {line.y[-1]:.3g}"
        for name, line in zip(names, picture.series, strict=True) if line.y
    ]  # fmt: skip
    return [axis, *lines]


def _name(line: Series) -> str:
    return say(line.name) if line.name in known_codes() else line.name


def _bars(line: Series, low: float, high: float) -> str:
    step = max(1.0, len(line.y) / WIDTH)
    picked = [line.y[int(i * step)] for i in range(min(WIDTH, len(line.y)))]
    unit = (high - low) or 1.0
    return "".join(
        BARS[min(7, int(8 * (y - low) / unit))] if math.isfinite(y) else "×" for y in picked
    )


def plain(found: Exam) -> dict[str, Any]:
    """For `--json`."""
    return {
        "name": found.name, "answer": found.answer, "values": dict(found.values),
        "shifts": dict(found.shifts), "seconds": round(found.seconds, 3),
        "notes": [note.removeprefix("exams.note.") for note in found.notes],
        "question": question_words(found), "sentence": answer_words(found),
    }  # fmt: skip


def plain_asked(asked: Asked) -> dict[str, Any]:
    """For `--json`, with the confidences before and after where there is a run."""
    return {
        "run": asked.run, "exams": [plain(exam) for exam in asked.exams],
        "skipped": [{"name": name, "why": why} for name, why in asked.skipped],
        "before": _confidences(asked.before), "after": _confidences(asked.after),
    }  # fmt: skip


@contextmanager
def progress(stream: TextIO, *, quiet: bool) -> Iterator[Any]:
    """Hears how far the exams are, a share from 0 to 1: a bar on a terminal moves."""
    bar = Progress(
        TextColumn(say("exams.card.running")), BarColumn(), TimeElapsedColumn(),
        console=Console(file=stream), transient=True, disable=quiet or not stream.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=1.0)
        yield lambda share: bar.update(task, completed=min(1.0, share))
