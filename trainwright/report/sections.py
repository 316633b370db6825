"""What was trained, on what, and how did it go? The page's sections beside the scores."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainwright.core.records import Column, RunRecord, Signature, Understanding
from trainwright.core.words import say
from trainwright.report import curves as series
from trainwright.report import figures, phrases
from trainwright.report import format as show
from trainwright.report.markup import Child, Html, join, table, tag
from trainwright.report.scores import about, bar_scale, heads

MOST_COLUMNS = 500  # rows of the table of columns on a page [assumed]
OPEN_COLUMNS = 30  # of these, rows that are seen without asking for more
MOST_CLASSES = 20  # rows of the table of class counts


def headline(record: RunRecord) -> Html:
    """What was trained, the result beside the best baseline, and the verdict."""
    made = " · ".join(
        filter(None, (record.id, phrases.state_name(record.state), show.moment(record.created)))
    )
    parts: list[Child] = [
        tag("p", made, class_="eyebrow"),
        tag("h1", phrases.task_sentence(record)),
    ]
    found = phrases.result(record)
    if found is None:
        foreign = record.understanding is None and record.layers
        said = say("report.no_result_watched" if foreign else "report.no_result")
        return tag("header", *parts, tag("p", said, class_="verdict plain"))
    name, ours = found
    rival = phrases.best_baseline(record)
    known = [ours, *([rival.metrics[name]] if rival else [])]
    draw, _ = bar_scale(name, known, from_zero=True)
    scores = [_score("ours", say("report.network"), name, ours, draw(ours, "ours"))]
    if rival is not None:
        theirs = rival.metrics[name]
        label = say("report.best_baseline", name=phrases.baseline_name(rival.name))
        scores.append(_score("theirs", label, name, theirs, draw(theirs, "theirs")))
    parts += [
        tag("p", _measured_on(record, name), class_="measured"),
        tag("div", *scores, class_="scores"),
    ]
    if record.verdict is not None:
        mark = phrases.words_for(f"report.verdict_mark.{record.verdict.code}", record.verdict.code)
        parts.append(
            tag(
                "p",
                tag("span", mark, class_="mark"),
                " ",
                phrases.verdict_sentence(record),
                class_=f"verdict {_kind(record.verdict.code)}",
            )
        )
    return tag("header", *parts)


def understood(record: RunRecord) -> Html | None:
    """Task, input, columns with role and reason, counts, and what had to be said."""
    found = record.understanding
    if found is None:
        return None
    facts = [
        (say("report.head.task"), phrases.words_for(f"report.task_kind.{found.task.kind}", "")),
        (
            say("report.head.source"),
            f"{found.source} ({found.format})" if found.format else found.source,
        ),
        (say("report.head.input"), input_words(found.signature)),
        (say("report.head.count"), split_words(found)),
    ]
    parts: list[Child] = [definitions(facts)]
    if found.class_counts:
        parts.append(_classes(found.class_counts))
    if found.columns:
        parts.append(columns(found.columns))
    parts.append(_notices(phrases.notice_words(n) for n in found.notices))
    return join(*parts)


def columns(known: Sequence[Column]) -> Html:
    """The table of columns; numbers that no column has are left out."""
    head: list[Child] = heads("column", "role", "reason", "missing", "distinct", "examples")
    rows: list[list[Child]] = [
        [
            tag("strong", column.name),
            tag(
                "span",
                phrases.words_for(f"report.role.{column.role}", column.role),
                class_=f"role {column.role}",
            ),
            phrases.notice_words(column.reason),
            show.count(column.missing) if column.missing else "",
            show.count(column.distinct) if column.distinct is not None else "",
            tag("span", ", ".join(column.examples[:3]), class_="soft"),
        ]
        for column in special_first(known)[:MOST_COLUMNS]
    ]
    kept = [0, 1, 2] + [
        at
        for at, has in (
            (3, any(c.missing for c in known)),
            (4, any(c.distinct is not None for c in known)),
            (5, any(c.examples for c in known)),
        )
        if has
    ]

    def lines(some: list[list[Child]]) -> Html:
        return table(
            [head[at] for at in kept],
            [[row[at] for at in kept] for row in some],
            numeric={new for new, old in enumerate(kept) if old in (3, 4)},
            kind="columns",
        )

    first, rest = rows[:OPEN_COLUMNS], rows[OPEN_COLUMNS:]
    if not rest:
        return lines(first)
    more = tag("summary", say("report.and_more", count=show.count(len(known) - len(first))))
    return join(lines(first), tag("details", more, lines(rest)))


def special_first(known: Sequence[Column]) -> list[Column]:
    """Target, group and time before the rest: a long table must not hide them."""
    special = ("target", "group", "time")
    return sorted(known, key=lambda c: special.index(c.role) if c.role in special else len(special))


def curves(record: RunRecord, history: Sequence[series.Reading]) -> Html | None:
    """Loss, the main metric and the learning rate over steps."""
    main = phrases.main_metric(record)
    wanted = (
        ("loss", (("train", "loss", "blue"), ("valid", "loss", "orange")), True),
        (main, (("train", main, "blue"), ("valid", main, "orange")), False),
        ("learning_rate", (("train", "learning_rate", "blue"),), False),
    )
    drawn: dict[str, Html] = {}
    thinned = False
    for name, lines, log in wanted:
        found = [(kind, series.series(history, kind, key), colour) for kind, key, colour in lines]
        known = [(kind, line, colour) for kind, line, colour in found if line is not None]
        if name in drawn or not any(len(line.steps) > 1 for _, line, _ in known):
            continue
        thinned = thinned or any(line.thinned for _, line, _ in known)
        marked = record.chosen_step if name != "learning_rate" else None
        colours = {"blue": figures.BLUE, "orange": figures.ORANGE}
        figure = figures.curve(
            f"curve-{name}", [(line, colours[c]) for _, line, c in known], marked=marked, log=log
        )
        keys = [] if name == "learning_rate" else [(kind, colour) for kind, _, colour in known]
        drawn[name] = _plot(name, figure, keys, marked)
    if not drawn:
        return None
    said = about("curves") if thinned else None
    return join(said, tag("div", *drawn.values(), class_="plots"))


def course(record: RunRecord) -> Html | None:
    """How it ran, how it ended, and what had to be said on the way."""
    facts = [(say("report.head.state"), phrases.state_name(record.state))]
    if record.steps:
        facts.append((say("report.head.training"), phrases.step_words(record)))
    if record.examples:
        facts.append((say("report.head.seen"), show.count(record.examples)))
    if record.chosen_step is not None:
        facts.append(
            (
                say("report.head.chosen"),
                f"{say('report.head.step')} {show.count(record.chosen_step)}",
            )
        )
    if record.num_parameters:
        facts.append((say("report.head.parameters"), show.count(record.num_parameters)))
    if record.stopped is not None:
        facts.append((say("report.head.stopped"), phrases.notice_words(record.stopped)))
    if record.weights_sha256:
        facts.append((say("report.head.weights"), record.weights_sha256))
    said = _notices(phrases.notice_words(n) for n in record.notices)
    return join(definitions(facts), said)


def recipe(record: RunRecord) -> Html | None:
    """The recipe as TOML, and whether text alone can repeat it."""
    if not record.recipe:
        return None
    said = None if record.portable else about("not_portable")
    identity = tag("p", record.recipe_hash, class_="note mono") if record.recipe_hash else None
    return join(said, tag("pre", tag("code", recipe_text(record.recipe))), identity)


def recipe_text(known: Mapping[str, Any]) -> str:
    """The recipe as TOML; None, which TOML lacks, is left out as in a recipe file."""
    import tomli_w

    plain = _plain(known)
    return tomli_w.dumps(plain).strip()


def repeat(record: RunRecord) -> Html | None:
    """The exact command."""
    if not record.command:
        return None
    command = tag("pre", tag("code", record.command), class_="command")
    return join(command, about("repeat") if record.portable else None)


def versions(record: RunRecord) -> Html | None:
    """Packages and machine."""
    known = list(record.versions.items())
    if record.device:
        known.append((say("report.head.device"), record.device))
    return definitions(known, kind="inline") if record.versions else None


def time(record: RunRecord) -> Html | None:
    """One bar, cut by part; what no part has is 'other'."""
    parts = {k: v for k, v in record.seconds_by_part.items() if v > 0 and v < float("inf")}
    if not parts:
        return None
    other = record.seconds - sum(parts.values())
    if other > 0.01 * record.seconds:
        parts["other"] = other
    total = sum(parts.values())
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    bar = tag(
        "div",
        *(
            tag("i", style=f"width:{100 * value / total:.2f}%", class_=f"part-{at % 7}")
            for at, (_, value) in enumerate(ordered)
        ),
        class_="stack",
        aria_hidden="true",
    )
    keys = [
        tag(
            "li",
            tag("i", class_=f"part-{at % 7}"),
            " ",
            phrases.words_for(f"report.part.{name}", name),
            " ",
            tag("strong", show.seconds(value)),
            " ",
            tag("span", show.percent(value / total), class_="soft"),
        )
        for at, (name, value) in enumerate(ordered)
    ]
    return join(bar, tag("ul", *keys, class_="keys"))


def definitions(facts: Iterable[tuple[str, str]], kind: str = "") -> Html:
    """Names and values in two columns."""
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts),
        class_=f"facts-list {kind}".strip(),
    )


def input_words(signature: Signature) -> str:
    """`12 features`, `image 1 × 28 × 28`."""
    shape = " × ".join(map(str, signature.shape))
    features = signature.shape[0] if signature.shape else 0
    kind = signature.kind
    if kind == "features" and signature.cardinalities:
        kind = "features_and_categories"
    return say(
        f"report.input.{kind}",
        count=show.count(features),
        shape=shape,
        categories=len(signature.cardinalities),
        vocabulary=show.count(signature.vocabulary),
    )


def split_words(found: Understanding) -> str:
    """`700 training, 150 validation, 150 test`."""
    counts = {split: show.count(found.num_examples.get(split, 0)) for split in phrases.SPLITS}
    return say("report.splits.line", **counts)


def _classes(counts: Mapping[str, int]) -> Html:
    total = sum(counts.values()) or 1
    most = max(counts.values(), default=1) or 1
    ordered = list(counts.items())[:MOST_CLASSES]
    rows: list[list[Child]] = [
        [
            name,
            tag(
                "span",
                tag("i", style=f"width:{100 * amount / most:.1f}%", class_="theirs"),
                class_="bar",
                aria_hidden="true",
            ),
            show.count(amount),
            show.percent(amount / total),
        ]
        for name, amount in ordered
    ]
    head: list[Child] = [say("report.head.class"), "", say("report.head.count"), ""]
    hidden = len(counts) - len(ordered)
    more = tag("p", say("report.and_more", count=show.count(hidden)), class_="note")
    return join(table(head, rows, numeric={2, 3}, kind="bars"), more if hidden else None)


def _score(kind: str, label: str, name: str, metric: Any, bar: Html) -> Html:
    bounds = show.interval(name, metric)
    return tag(
        "div",
        tag("div", label, class_="label"),
        tag("div", show.metric_value(name, metric.value), class_="value"),
        bar,
        tag(
            "div", say("report.interval_95", interval=bounds) if bounds else "", class_="soft small"
        ),
        class_=f"score {kind}",
    )


def _measured_on(record: RunRecord, name: str) -> str:
    split = phrases.judged_split(record)
    amount = record.understanding.num_examples.get(split) if record.understanding else None
    words = {"metric": phrases.metric_name(name), "split": phrases.split_name(split)}
    if amount:
        sentence = say("report.measured_on", count=show.count(amount), **words)
    else:
        sentence = say("report.measured_on_split", **words)
    less = phrases.direction(name)
    return f"{sentence} ({less})" if less else sentence


def _plot(name: str, figure: Html, keys: list[tuple[str, str]], marked: int | None) -> Html:
    legend: list[Child] = [
        tag("span", tag("i", class_=f"key {colour}"), phrases.split_name(kind))
        for kind, colour in keys
    ]
    if marked is not None:
        legend.append(
            tag(
                "span",
                tag("i", class_="key dashed"),
                say("report.kept_step", step=show.count(marked)),
            )
        )
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("strong", phrases.metric_name(name)),
            tag("span", *legend, class_="legend"),
        ),
        figure,
        tag("div", say("report.head.step"), class_="axis across"),
        class_="plot",
    )


def _notices(sentences: Iterable[str]) -> Html | None:
    said = list(dict.fromkeys(sentences))
    return tag("ul", *(tag("li", words) for words in said), class_="notices") if said else None


def _plain(value: Any) -> Any:
    """A value as TOML can hold it: surrogates and unknown kinds become text that shows them."""
    match value:
        case dict() | Mapping():
            return {_text(str(k)): _plain(v) for k, v in value.items() if v is not None}
        case list() | tuple():
            return [_plain(item) for item in value if item is not None]
        case bool() | int() | float():
            return value
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _kind(code: str) -> str:
    return code if re.fullmatch(r"[a-z_]+", code) else "plain"
