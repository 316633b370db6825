"""What does one example look like? Cards for pictures, sound and text; a table for rows."""

from collections.abc import Sequence

from trainwright.core.records import Example
from trainwright.core.words import say
from trainwright.report import format as show
from trainwright.report.markup import Child, Html, join, media, table, tag

MOST_COLUMNS = 8  # of a row's values beside target, prediction and loss [assumed]


def gallery(examples: Sequence[Example]) -> Html:
    """Examples to look at, in the form that suits what they are."""
    if any(example.media for example in examples):
        return tag("div", *(card(example) for example in examples), class_="cards")
    if all(len(example.content) <= 1 for example in examples):
        return tag("div", *(card(example) for example in examples), class_="texts")
    return rows(examples)


def card(example: Example) -> Html:
    """One example with its true and predicted value under it."""
    body: list[Child] = [media(example.media, example.target)]
    if example.content:
        body.append(_content(example))
    right = example.target == example.prediction
    caption = tag(
        "figcaption",
        tag(
            "div", tag("span", say("report.head.true"), class_="soft"), " ", _value(example.target)
        ),
        tag(
            "div",
            tag("span", say("report.head.predicted"), class_="soft"),
            " ",
            _value(example.prediction, "right" if right else "wrong"),
            _confidence(example),
        ),
        tag("div", _facts(example), class_="facts"),
    )
    return tag("figure", *body, caption, class_="card")


def rows(examples: Sequence[Example]) -> Html:
    """Rows of a table, one line each."""
    names = list(dict.fromkeys(name for example in examples for name in example.content))
    names = names[:MOST_COLUMNS]
    head: list[Child] = [
        say("report.head.row"), say("report.head.true"), say("report.head.predicted"),
        say("report.head.confidence"), say("report.head.loss"), *names,
    ]  # fmt: skip
    lines: list[list[Child]] = [
        [
            show.count(example.row),
            example.target,
            example.prediction,
            show.percent(example.confidence) if example.confidence is not None else "",
            show.number(example.loss, 3) if example.loss is not None else "",
            *(example.content.get(name, "") for name in names),
        ]
        for example in examples
    ]
    numeric = {0, 3, 4} | {
        at for at in range(1, len(head)) if all(_is_number(line[at]) for line in lines)
    }
    kept = [at for at in range(len(head)) if any(line[at] for line in lines)]
    return table(
        [head[at] for at in kept],
        [[line[at] for at in kept] for line in lines],
        numeric={new for new, old in enumerate(kept) if old in numeric},
        kind="rows",
    )


def _content(example: Example) -> Html:
    values = list(example.content.items())
    if len(values) == 1:
        return tag("blockquote", values[0][1])
    return tag(
        "dl", *(join(tag("dt", key), tag("dd", value)) for key, value in values[:MOST_COLUMNS])
    )


def _value(text: str, kind: str = "") -> Html:
    return tag("strong", text, class_=kind or None, title=text)


def _confidence(example: Example) -> Child:
    if example.confidence is None:
        return ""
    return join(" ", tag("span", show.percent(example.confidence), class_="whole"))


def _facts(example: Example) -> Html:
    row = f"{say('report.head.row')} {show.count(example.row)}"
    if example.loss is None:
        return join(row)
    return join(row, " · ", f"{say('report.head.loss')} {show.number(example.loss, 3)}")


def _is_number(text: Child) -> bool:
    try:
        float((text or "0").replace(",", "").replace("−", "-"))
    except ValueError:
        return False
    return True
