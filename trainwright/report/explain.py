"""What is this word? Any knob, metric, rule, remedy, reading or column of a report: what it is, its
default, what is allowed, why, and by whose word."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.knob import KnobInfo
from trainwright.core.task import LOWER_IS_BETTER, METRICS
from trainwright.core.words import known_codes, say
from trainwright.report import phrases, remedy_pages, rule_pages
from trainwright.report import rule_words as words
from trainwright.report.markup import visible
from trainwright.report.reading_reasons import RULES_OF, SOURCES

Kind = Literal["knob", "metric", "column", "rule", "reading", "remedy"]
REMEDIES = "remedies"  # the word that lists them
_SOURCE = re.compile(r"\[((?:paper|measured|assumed|source)[^\]]*)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer; what does not apply is empty text."""

    topic: str
    kind: Kind
    what: str
    default: str = ""
    allowed: str = ""
    unit: str = ""
    search: str = ""
    why: str = ""
    source: str = ""
    title: str = ""
    more: tuple[tuple[str, str], ...] = ()  # headings of its own, with their text

    def to_plain(self) -> dict[str, Any]:
        """For `--json`."""
        plain = asdict(self)
        more = dict(plain.pop("more"))
        return plain | ({"more": more} if more else {})

    def __rich__(self) -> RenderableType:
        title = Text(self.topic, style="bold")
        if self.title:
            title.append(f"  {visible(self.title)}", style="bold")
        title.append(f"  {say(f'explain.kind_{self.kind}')}", style="dim")
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        for name in ("what", "default", "allowed", "unit", "search", "why", "source"):
            value = getattr(self, name)
            if value:
                grid.add_row(say(f"explain.{name}"), Text(visible(value)))
        for heading, text in self.more:
            grid.add_row(heading, Text(visible(text)))
        return Group(title, grid)


def explain(topic: str, knobs: Iterable[KnobInfo]) -> Explanation:
    """The explanation of a rule (code or name), of a knob (full path, or its last part where that
    is unique), of a metric, a column of the report and of `show`, a reading, or a remedy; looked
    for in this order. `remedies` lists all of those.

    Raises TrainwrightError with near names when nothing or too much is found.
    """
    infos = list(knobs)
    word = topic.strip()
    rule = rule_pages.find_rule(word)
    if rule is not None:
        return _of_rule(rule_pages.rule_page(rule))
    found = [info for info in infos if info.path == word] or [
        info for info in infos if info.path.rpartition(".")[2] == word
    ]
    if len(found) == 1:
        return _of_knob(found[0])
    if found:
        paths = ", ".join(info.path for info in found)
        raise TrainwrightError(
            say("explain.several", topic=shown(word)[1:-1]),
            do=say("explain.several_do", paths="{paths}").replace("{paths}", paths),
        )
    if word in metric_names():
        return _of_metric(word)
    if word in column_names():
        return Explanation(topic=word, kind="column", what=say(f"column.{word}"))
    reading = rule_pages.find_reading(word)
    if reading is not None:
        return _of_reading(reading)
    if word in rule_pages.remedy_codes():
        return _of_remedy(word)
    if word == REMEDIES:
        return Explanation(topic=word, kind="remedy", what=say("explain.remedy.all"),
                           more=tuple(remedy_pages.list_rows()))  # fmt: skip
    lasts = [info.path.rpartition(".")[2] for info in infos]
    names = dict.fromkeys([*topics(infos), *lasts])
    group = [info.path for info in infos if info.path.startswith(f"{word}.")]
    raise TrainwrightError(
        say("explain.unknown", topic=shown(word)),
        allowed=say("explain.unknown_allowed"),
        do=say("explain.several_do", paths="{paths}").replace("{paths}", ", ".join(group))
        if group
        else did_you_mean(word, names),
    )


def topics(knobs: Iterable[KnobInfo]) -> list[str]:
    """Every word that `explain` knows: for completion and generated pages."""
    paths = [info.path for info in knobs]
    taken = {path.rpartition(".")[2] for path in paths}  # a knob's name means the knob
    pages = rule_pages.rule_pages()
    found = [
        *paths, *metric_names(), *column_names(), *(page.code for page in pages),
        *(page.name for page in pages), *rule_pages.remedy_codes(), REMEDIES,
        *(code for code in rule_pages.reading_codes() if code not in taken),
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def metric_names() -> Sequence[str]:
    """Every metric of every task, and the loss."""
    return tuple(dict.fromkeys(["loss", *(name for names in METRICS.values() for name in names)]))


def column_names() -> Sequence[str]:
    """Every column that has words."""
    return tuple(
        sorted(c.removeprefix("column.") for c in known_codes("en") if c.startswith("column."))
    )


def _of_knob(info: KnobInfo) -> Explanation:
    info = info.spoken()
    sources = [found.strip() for found in _SOURCE.findall(info.why)]
    why = re.sub(r"\s+", " ", _SOURCE.sub("", info.why)).strip(" ;,；，")
    why = re.sub(r" (?=[;,；，])", "", why)  # where a source stood before it
    search = ""
    if info.search is not None:
        bounds = (info.search.low, info.search.high)
        search = ", ".join(str(c) for c in info.search.choices) or " … ".join(
            f"{bound:g}" for bound in bounds if bound is not None
        )
        search = f"{search} ({info.search.scale})" if info.search.scale == "log" else search
    return Explanation(
        topic=info.path,
        kind="knob",
        what=info.doc,
        default=_default(info.default),
        allowed=info.allowed,
        unit=info.unit or "",
        search=search,
        why=why,
        source="; ".join(sources),
    )


def _of_metric(name: str) -> Explanation:
    match name:
        case "r2":
            allowed = "r2"
        case "loss" | "log_loss" | "rmse" | "mae":
            allowed = "positive_lower"
        case _:
            allowed = "unit_lower" if name in LOWER_IS_BETTER else "unit"
    return Explanation(
        topic=name,
        kind="metric",
        what=say(f"metric.{name}"),
        allowed=say(f"explain.metric_allowed.{allowed}"),
        source=phrases.words_for(f"explain.metric_source.{name}", ""),
    )


def _of_rule(page: rule_pages.RulePage) -> Explanation:
    names = " · ".join([page.title, *words.other_names(page.code)])
    return Explanation(
        topic=page.code, kind="rule", title=names, what=page.what,
        more=tuple(rule_pages.spoken_sections(page)),
    )  # fmt: skip


def _of_remedy(name: str) -> Explanation:
    page = remedy_pages.remedy_page(name)
    return Explanation(topic=name, kind="remedy", what=page.does,
                       more=tuple(remedy_pages.spoken_rows(page)))  # fmt: skip


def _of_reading(code: str) -> Explanation:
    rules = RULES_OF.get(code, ())
    named = say("diagnosis.semicolon").join(f"{rule} {words.rule_name(rule)}" for rule in rules)
    return Explanation(
        topic=code, kind="reading", title=words.reading_name(code),
        what=say(f"reading.{code}.what"),
        why=say("explain.reading_why", rules=named) if rules else "",
        source="; ".join([*filter(None, [SOURCES.get(code)]), *map(_source_of_rule, rules)]),
    )  # fmt: skip


def _source_of_rule(code: str) -> str:
    """`L306: lecture, …`, as its page has it."""
    rule = rule_pages.find_rule(code)
    assert rule is not None, code
    return f"{code}: {rule_pages.rule_page(rule).sections['source'].rstrip('.')}"


def _default(value: Any) -> str:
    if value is None:
        return say("explain.none")
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
