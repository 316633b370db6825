"""What is a rule, a reading, a remedy? Its page, read from the rule's own docstring and from the
words, for `explain`, `rules` and the generated documentation."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainwright.core.words import known_codes, line, say
from trainwright.report import rule_words as words
from trainwright.report.phrases import words_for

if TYPE_CHECKING:
    from trainwright.diagnose.catalogue import Rule

HEADINGS = ("Looks like", "Why it harms", "Look-alikes", "Exams", "Remedies", "Source")


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePage:
    """A rule in words. `sections` are those of its docstring, by `looks_like`, `why_it_harms`, …,
    in the language of the code; the rest is in the language spoken."""

    code: str
    name: str
    title: str
    room: str
    severity: str
    what: str
    refuted: str
    kinds: Mapping[str, str]
    sections: Mapping[str, str]
    remedies: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "code": self.code, "name": self.name, "title": self.title, "room": self.room,
            "severity": self.severity, "what": self.what, "refuted": self.refuted,
            "kinds": dict(self.kinds), **self.sections, "remedies": list(self.remedies),
        }  # fmt: skip


def find_rule(word: str) -> "Rule | None":
    """The rule of a code (`A401`, `a401`) or a name (`learning_rate_too_high`)."""
    from trainwright.diagnose.catalogue import RULES

    return RULES.get(word.upper()) or next((r for r in RULES.values() if r.name == word), None)


def rule_page(rule: "Rule") -> RulePage:
    """The page of one rule."""
    sections = docstring_sections(rule.function.__doc__ or "")
    start = f"rule.{rule.code}.kind."
    kinds = {
        code.removeprefix(start): say(code)
        for code in sorted(known_codes("en"))
        if code.startswith(start)
    }
    return RulePage(
        code=rule.code, name=rule.name, title=words.rule_name(rule.code, rule.name),
        room=rule.room, severity=rule.severity, what=words_for(f"rule.{rule.code}.what", ""),
        refuted=words_for(f"rule.{rule.code}.refuted", ""), kinds=kinds,
        sections={key: text for key, text in sections.items() if key != "remedies"},
        remedies=tuple(re.findall(r"[a-z][a-z0-9_]+", sections.get("remedies", ""))),
    )  # fmt: skip


def rule_pages() -> list[RulePage]:
    """Every rule, in the order of the catalogue."""
    from trainwright.diagnose.catalogue import RULES

    return [rule_page(rule) for rule in RULES.values()]


def docstring_sections(docstring: str) -> dict[str, str]:
    """`Looks like: …` of a rule's docstring -> {"looks_like": "…"}; each on one line."""
    found: dict[str, str] = {}
    key = ""
    for written in inspect.cleandoc(docstring).splitlines():
        heading = re.match(rf"({'|'.join(HEADINGS)}):\s*(.*)", written)
        if heading:
            key = heading[1].lower().replace(" ", "_").replace("-", "_")
            found[key] = heading[2].strip()
        elif not written.strip():
            key = ""
        elif key:
            found[key] = f"{found[key]} {written.strip()}".strip()
    return found


def spoken_sections(page: RulePage) -> list[tuple[str, str]]:
    """Heading and text of everything the page says, in the order in which it is read. What the
    docstring says is translated in `locales/*/rule_pages.toml`; the source stays."""
    rows = [(say("rules.name"), page.name),
            (say("rule.heading.severity"), words.severity_word(page.severity))]  # fmt: skip
    for key in ("looks_like", "why_it_harms", "look_alikes"):
        if text := page.sections.get(key, ""):
            rows.append((say(f"rule.heading.{key}"), line(f"rule_page.{page.code}.{key}", text)))
    if exams := page.sections.get("exams", ""):
        rows.append((say("rule.heading.exams"), exam_words(exams)))
    kinds = [f"{kind}{say('diagnosis.colon')}{said}" for kind, said in page.kinds.items()]
    remedies = [words.remedy_line(name) for name in page.remedies]
    rows += [
        (say(f"rule.heading.{key}"), text)
        for key, text in (
            ("kinds", "\n".join(kinds)), ("refuted", page.refuted),
            ("remedies", "\n".join(remedies)), ("source", page.sections.get("source", "")),
        )
        if text
    ]  # fmt: skip
    return rows


def exam_words(exams: str) -> str:
    """What would settle it, in words; `none, it is certain` where nothing has to."""
    names = exam_names(exams)
    if not names:
        return say("exam.none")
    return say("diagnosis.semicolon").join(
        words_for(f"exam.{name}", name.replace("_", " ")) for name in names
    )


def exam_names(exams: str) -> list[str]:
    """`half_width, more_data.` of a rule's docstring -> its exams."""
    names = [name.strip() for name in exams.rstrip(".").split(",")]
    return [] if names[0] == "none" else names


def reading_codes() -> list[str]:
    """Every reading and fact that has words, by its full name."""
    ends = ".what"
    return sorted(
        code.removeprefix("reading.").removesuffix(ends)
        for code in known_codes("en")
        if code.startswith("reading.")
        and code.endswith(ends)
        and not code.startswith("reading.of_")
    )


def find_reading(word: str) -> str | None:
    """The full name of a reading asked for by it, or by its last part where only one has it."""
    codes = reading_codes()
    if word in codes:
        return word
    found = [code for code in codes if code.rpartition(".")[2] == word]
    return found[0] if len(found) == 1 else None


def remedy_codes() -> list[str]:
    """Every remedy that has words."""
    return sorted(c.removeprefix("remedy.") for c in known_codes("en") if c.startswith("remedy."))
