"""What does a finding say in words? Names, sentences and numbers for its codes, in the language
spoken; what has no words yet shows its code."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainwright.core.diagnosis import Diagnosis, Evidence, Finding, Unseen
from trainwright.core.phrases import translations
from trainwright.core.words import LANGUAGES, known_codes, language, said_in, say
from trainwright.report import format as show
from trainwright.report.phrases import words_for
from trainwright.report.terminal import tame
from trainwright.watch.share import SHARE

# Words for probabilities, so that a number is read alike by everybody
# [paper: Mastrandrea et al. 2010, IPCC guidance note on uncertainties, table 1].
_CONFIDENCE = ((0.99, "certain"), (0.90, "very_likely"), (0.66, "likely"), (0.50, "even"))
_SHARES = ("share", "overlap", "overlap_share", "output_majority", "clip_share", "idle")
_YES_NO = frozenset(
    {"loss.broadcasts", "loss.differentiable", "loss.scalar", "loss.falls_when_right_rises",
     "optimizer.maximize", "train_mode"}
)  # fmt: skip
FEW_STEPS, SHORT_SECONDS = 200, 1.0  # a share of so little says nothing of longer runs [assumed]
LONGEST_REASON = 80  # characters of why something could not be seen [assumed]
LONGEST_NAME = 32  # cells of a layer's name in a line of words [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened at a step; step 0 is before the first."""

    step: int
    words: str

    @property
    def line(self) -> str:
        return step_words(self.step) + say("diagnosis.colon") + self.words


def rule_name(code: str, name: str = "") -> str:
    """`A401` -> learning rate too high."""
    return words_for(f"rule.{code}.name", tame((name or code).replace("_", " ")))


def other_names(code: str) -> list[str]:
    """The rule's name in the languages that are not spoken now."""
    found = (said_in(other, f"rule.{code}.name") for other in LANGUAGES if other != language())
    return [name for name in found if name]


def sentence(finding: Finding) -> str:
    """What is wrong: of its kind where that has words, else of its rule."""
    rule = f"rule.{finding.code}"
    said = _filled((f"{rule}.kind.{finding.kind}", f"{rule}.what"), finding)
    kind = f": {tame(finding.kind).replace('_', ' ')}" if finding.kind else ""
    return said or rule_name(finding.code, finding.name) + kind


def note_line(finding: Finding) -> str:
    """`M208: The best weights, …`."""
    said = _filled((f"rule.{finding.code}.note.{finding.kind}",), finding) or sentence(finding)
    return tame(finding.code) + say("diagnosis.colon") + said


def _filled(codes: Sequence[str], finding: Finding) -> str:
    """The words of the first of the codes that the finding's values fill; empty if none."""
    values = {key: _plain(value) for key, value in finding.values.items()}
    for code in codes:
        if code in known_codes("en"):
            try:
                return say(code, **values)
            except (KeyError, IndexError, ValueError, TypeError, AttributeError):
                continue  # a finding of another version: its values do not fill the sentence
    return ""


def refutation(finding: Finding) -> str:
    """What would show that it is not so; empty when nobody has said."""
    return _filled((f"rule.{finding.code}.refuted",), finding)


def confidence_words(confidence: float) -> str:
    """`likely, 78 %`."""
    return say("diagnosis.confidence", word=confidence_word(confidence),
               percent=percent(confidence))  # fmt: skip


def confidence_word(confidence: float) -> str:
    """virtually certain, very likely, likely, more likely than not, possible."""
    shown = round(confidence, 2)  # as it is printed, so that word and number agree
    name = next((name for low, name in _CONFIDENCE if shown >= low), "possible")
    return say(f"confidence.{name}")


def percent(share: float) -> str:
    """Never 100 %: nothing measured is that sure."""
    return show.percent(min(share, 0.99)) if math.isfinite(share) else show.MISSING


def severity_word(severity: str) -> str:
    return words_for(f"severity.{severity}", tame(severity))


def remedy_words(name: str) -> str:
    """What to change, in one line; empty for a remedy of another version."""
    return words_for(f"remedy.{name}", "")


def remedy_line(name: str) -> str:
    """`lower_learning_rate: divide the learning rate by ten`."""
    said = remedy_words(name)
    return tame(name) + say("diagnosis.colon") + said if said else tame(name)


def reading_name(reading: str) -> str:
    """`inputs.sd` -> spread of the inputs; the code itself, in words, where it has none."""
    parts = reading.split(".")
    if parts[0] == "exam" and f"exams.{parts[-1]}.title" in known_codes("en"):
        return say(f"exams.{parts[-1]}.title")
    for start in range(len(parts)):
        code = f"reading.{'.'.join(parts[start:])}.name"
        if code in known_codes("en"):
            return say(code)
    return tame(reading).replace("_", " ").replace(".", " ")


def missing_name(missing: str) -> str:
    """What a rule lacked: a reading, a fact, or all facts of one part (`inputs`, `model`, …)."""
    return words_for(f"reading.of_{missing}.name", reading_name(missing))


def value_words(reading: str, value: float | str | None) -> str:
    """The value in the unit of its reading: shares as per cent, switches as yes and no."""
    if value is None:
        return show.MISSING
    if isinstance(value, str) and reading.startswith("exam."):
        return say(f"exams.answer.{value}")
    if isinstance(value, str):
        return {"nan": "NaN", "inf": "∞", "-inf": f"{show.MINUS}∞"}.get(value, tame(value[:60]))
    if reading in _YES_NO and value in (0.0, 1.0):
        return say("diagnosis.yes") if value else say("diagnosis.no")
    last = reading.rpartition(".")[2]
    if last.endswith(_SHARES) and 0 <= value <= 1:
        return show.percent(value)
    return number(value)


def number(value: float) -> str:
    """Three figures, without the zeros at the end; whole numbers in full."""
    if math.isfinite(value) and value == round(value) and abs(value) < 1e6:
        return f"{value:,.0f}".replace("-", show.MINUS)
    text = show.number(value, 3)
    return text.rstrip("0").rstrip(".") if re.fullmatch(r"\D?[\d,]+\.\d+", text) else text


def evidence_words(evidence: Evidence) -> str:
    """`update ratio 0.8 in fc1, threshold 0.1`."""
    parts = {"name": reading_name(evidence.reading),
             "value": value_words(evidence.reading, evidence.value)}  # fmt: skip
    if evidence.where:
        parts["where"] = short(evidence.where)
    if evidence.threshold is None:
        return say("diagnosis.event_in" if evidence.where else "diagnosis.event", **parts)
    parts["threshold"] = value_words(evidence.reading, evidence.threshold)
    return say("diagnosis.compared_in" if evidence.where else "diagnosis.compared", **parts)


def strongest(finding: Finding) -> Evidence | None:
    """The evidence that is farthest from its threshold, as a ratio; else the first."""
    return max(finding.evidence, key=_distance) if finding.evidence else None


def chain(finding: Finding) -> list[Event]:
    """What happened in time: evidence of the finding and of what it explains, by step."""
    found: dict[tuple[int, str], Event] = {}
    for one in (finding, *_below(finding)):
        dated = [(e.step, _event_words(e)) for e in one.evidence if e.step is not None]
        if not dated and one.since_step is not None:
            best = strongest(one) if one is finding else None
            name = f"{one.code} {rule_name(one.code, one.name)}"
            dated = [(one.since_step, _event_words(best) if best else name)]
        for step, words in dated:
            found.setdefault((step, words), Event(step=step, words=words))
    return sorted(found.values(), key=lambda event: event.step)


def step_words(step: int) -> str:
    """`before step 1`, `step 3`."""
    return say("diagnosis.since_start") if step <= 0 else say("diagnosis.step", step=f"{step:,}")


def layer_list(names: Sequence[str], most: int = 3) -> str:
    """`fc1, fc2, fc3, and 7 more`."""
    return shortened([short(name) for name in names], most, say("report.between"))


def shortened(parts: Sequence[str], most: int, between: str) -> str:
    """The first parts, then how many more there are."""
    listed = between.join(parts[:most])
    hidden = len(parts) - most
    return listed + say("diagnosis.and_more", count=hidden) if hidden > 0 else listed


def place(finding: Finding, most: int = 3) -> str:
    """Layers, and the user's own line where it is known; empty when there is neither."""
    layers = [layer_list(finding.where, most)] if finding.where else []
    return " · ".join([*layers, *([tame(finding.line)] if finding.line else [])])


def overhead_words(diagnosis: Diagnosis) -> str:
    """What watching took: a share of the time; seconds where a short run makes it look large."""
    share, seconds = diagnosis.overhead or 0.0, diagnosis.seconds
    short = seconds is not None and (diagnosis.steps < FEW_STEPS or seconds < SHORT_SECONDS)
    if seconds is None or not short or share <= SHARE:
        return say("diagnosis.overhead_value", percent=show.percent(share))
    took = show.seconds(max(0.01, share * seconds))
    return say("diagnosis.overhead_short", seconds=took, percent=show.percent(SHARE))


def unseen_groups(unseen: Iterable[Unseen]) -> list[str]:
    """One line for each thing that was missing, with the rules that lacked it; the most missed
    first."""
    codes: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    first: set[str] = set()  # told for themselves: they explain what follows
    for one in unseen:
        first |= {one.missing} if not one.code and one.reason else set()
        listed = codes.setdefault(one.missing, [])
        listed += [one.code] if one.code and one.code not in listed else []
        if one.reason:
            reasons.setdefault(one.missing, one.reason)
    lines = []
    for missing in sorted(codes, key=lambda name: (name not in first, -len(codes[name]))):
        name, lacked = missing_name(missing), codes[missing]
        listed = ", ".join(lacked[:3]) + (", …" if len(lacked) > 3 else "")
        line = say("diagnosis.unseen_one", missing=name, codes=listed) if lacked else name
        reason = tame(reason_words(reasons.get(missing, ""))[:LONGEST_REASON])
        lines.append(line + say("diagnosis.colon") + reason if reason else line)
    return lines


def reason_words(reason: str) -> str:
    """Why, in the language spoken: records may keep it in English, behind an exception's name."""
    known = translations(language())
    kind, colon, said = reason.partition(": ")
    behind = kind + colon + known[said] if said in known else reason
    return known.get(reason, behind)


def short(name: str, most: int = LONGEST_NAME) -> str:
    """A foreign name on one line; the end of a long one, where layers differ."""
    safe = tame(name)
    return safe if len(safe) <= most else "…" + safe[1 - most :]


def _below(finding: Finding) -> Iterable[Finding]:
    for one in finding.consequences:
        yield one
        yield from _below(one)


def _event_words(evidence: Evidence) -> str:
    values = {"name": reading_name(evidence.reading),
              "value": value_words(evidence.reading, evidence.value)}  # fmt: skip
    if evidence.where:
        return say("diagnosis.event_in", **values, where=short(evidence.where))
    return say("diagnosis.event", **values)


def _distance(evidence: Evidence) -> float:
    value, threshold = evidence.value, evidence.threshold
    if isinstance(value, str) or isinstance(threshold, str) or threshold is None:
        return 0.0
    if not math.isfinite(value):
        return math.inf
    if value <= 0 or threshold <= 0:
        return 0.0
    return abs(math.log(value / threshold))


def _plain(value: object) -> object:
    return number(value) if isinstance(value, float) else value
