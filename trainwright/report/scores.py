"""How good is it, and beside what? The page's sections of numbers: baselines, metrics, classes,
confusion, calibration, slices."""

from collections.abc import Callable, Iterable
from math import isfinite

from trainwright.core.records import ClassRow, Judgement, Metric, RunRecord
from trainwright.core.task import LOWER_IS_BETTER
from trainwright.core.words import say
from trainwright.report import examples, figures, phrases
from trainwright.report import format as show
from trainwright.report.markup import Child, Html, join, table, tag

MOST_CLASSES_IN_MATRIX = 20
MOST_CONFUSIONS = 20
MOST_CLASSES_IN_TABLE = 100  # rows; the least supported beyond it are counted only [assumed]

Bar = Callable[[Metric, str], Html]


def bar_scale(
    name: str, metrics: Iterable[Metric], *, from_zero: bool = False
) -> tuple[Bar, float]:
    """A function that draws a metric as a bar with its interval, and where its bars start.

    Lower-is-better metrics start at 0, as lengths must. Shares start at 0 unless all lie above
    0.5: then they start at 0.5, which is said beside the table [assumed: below it, differences
    between good models are too short to see].
    """
    known = [m for m in metrics if isfinite(m.value)]
    lows = [m.value if m.low is None else m.low for m in known]
    highs = [m.value if m.high is None else m.high for m in known]
    share = name not in LOWER_IS_BETTER and name != "loss" and max(highs, default=1) <= 1
    start = 0.5 if share and not from_zero and min(lows, default=0) >= 0.5 else min(0.0, *lows, 0.0)
    end = 1.0 if share else max([*highs, start + 1e-12])

    def place(value: float) -> float:
        within = (value - start) / (end - start)
        return 100 * max(0.0, min(1.0, within)) if isfinite(within) else 0.0

    def draw(metric: Metric, kind: str) -> Html:
        parts: list[Child] = [tag("i", style=f"width:{place(metric.value):.2f}%", class_=kind)]
        if metric.low is not None and metric.high is not None:
            left, right = place(metric.low), place(metric.high)
            parts.append(tag("b", style=f"left:{left:.2f}%;width:{max(0, right - left):.2f}%"))
        return tag("span", *parts, class_="bar", aria_hidden="true")

    return draw, start


def baselines(record: RunRecord) -> Html | None:
    """Network and simple learners on one axis, best first."""
    found = phrases.result(record)
    rivals = [b for b in record.baselines if b.metrics]
    if found is None or not rivals:
        return None
    name, ours = found
    lines = [(say("report.network"), ours, phrases.training_seconds(record) or None, "ours")]
    lines += [
        (phrases.baseline_name(b.name), b.metrics[name], b.seconds, "theirs")
        for b in rivals
        if name in b.metrics
    ]
    sign = 1 if name in LOWER_IS_BETTER else -1
    lines.sort(key=lambda line: sign * line[1].value)
    draw, start = bar_scale(name, [line[1] for line in lines])
    rows: list[list[Child]] = [
        [
            tag("strong", label) if kind == "ours" else label,
            draw(metric, kind),
            show.metric_value(name, metric.value),
            show.interval(name, metric),
            show.seconds(seconds),
        ]
        for label, metric, seconds, kind in lines
    ]
    head: list[Child] = [
        say("report.head.learner"),
        "",
        phrases.metric_name(name),
        say("report.head.interval"),
        say("report.head.seconds"),
    ]
    said = [phrases.notice_words(n) for b in rivals for n in b.notices]
    return join(
        about("baselines", start=f"{start:g}"),
        table(head, rows, numeric={2, 3, 4}, kind="bars"),
        *(tag("p", words, class_="note") for words in dict.fromkeys(said)),
    )


def metrics(record: RunRecord) -> Html | None:
    """One line per metric, one column per split."""
    splits = [split for split in phrases.SPLITS if record.metrics.get(split)]
    table_of = {split: dict(record.metrics[split]) for split in splits}
    if record.judgement is not None:
        split = record.judgement.split
        table_of[split] = {**table_of.get(split, {}), **record.judgement.metrics}
        splits = [s for s in phrases.SPLITS if s in table_of]
    names = list(dict.fromkeys(name for split in reversed(splits) for name in table_of[split]))
    if not names:
        return None
    rows: list[list[Child]] = []
    for name in names:
        line: list[Child] = [
            join(tag("span", phrases.metric_name(name)), " ", _less(name)),
        ]
        for split in splits:
            one = table_of[split].get(name)
            line.append("" if one is None else _with_interval(name, one))
        rows.append(line)
    head: list[Child] = [say("report.head.metric"), *(phrases.split_name(s) for s in splits)]
    return join(about("metrics"), table(head, rows, numeric=set(range(1, len(head)))))


def confusion(record: RunRecord) -> Html | None:
    """A heat map up to 20 classes, beyond that the commonest mistakes; then examples of them."""
    judgement = record.judgement
    if judgement is None or not judgement.confusion:
        return None
    size = len(judgement.confusion)
    classes = _class_names(record, size)
    many = size > MOST_CLASSES_IN_MATRIX
    shown = _mistakes(judgement, classes) if many else _matrix(judgement, classes)
    said = about("confusion_many", count=show.count(size)) if many else about("confusion")
    parts: list[Child] = [said, shown]
    if judgement.confusion_examples:
        parts += [tag("h3", say("report.about.confusion_examples"))]
        parts += [examples.gallery(judgement.confusion_examples)]
    return join(*parts)


def per_class(record: RunRecord) -> Html | None:
    """Precision, recall and F1 of each class."""
    judgement = record.judgement
    if judgement is None or not judgement.per_class:
        return None
    lines = judgement.per_class
    if len(lines) > MOST_CLASSES_IN_TABLE:
        lines = tuple(sorted(lines, key=lambda line: -line.support)[:MOST_CLASSES_IN_TABLE])
    head: list[Child] = heads("class", "precision", "recall", "f1", "support")
    body = table(head, [_class_line(line) for line in lines], numeric={1, 2, 3, 4}, kind="shares")
    hidden = len(judgement.per_class) - len(lines)
    more = tag("p", say("report.and_more", count=hidden), class_="note") if hidden else None
    return join(body, more)


def calibration(record: RunRecord) -> Html | None:
    """The reliability curve."""
    judgement = record.judgement
    if judgement is None or not any(b.count for b in judgement.reliability):
        return None
    drawn = figures.reliability("reliability", judgement.reliability)
    labels = (say("report.head.confidence"), phrases.metric_name("accuracy"))
    ece = judgement.metrics.get("ece")
    value = (
        tag("p", phrases.metric_name("ece"), " ", tag("strong", _with_interval("ece", ece)))
        if ece is not None
        else None
    )
    return join(
        tag(
            "div",
            _labelled(drawn, *labels),
            tag("div", about("calibration"), value),
            class_="beside",
        )
    )


def residuals(record: RunRecord) -> Html | None:
    """Predictions against targets, for regression."""
    judgement = record.judgement
    if judgement is None or not judgement.residuals:
        return None
    drawn = figures.residuals("residuals", judgement.residuals)
    labels = (say("report.head.true"), say("report.head.predicted"))
    return tag("div", _labelled(drawn, *labels), about("residuals"), class_="beside")


def worst(record: RunRecord) -> Html | None:
    """The examples with the largest loss."""
    judgement = record.judgement
    if judgement is None or not judgement.worst:
        return None
    said = about("worst", split=phrases.split_name(judgement.split))
    return join(said, examples.gallery(judgement.worst))


def slices(record: RunRecord) -> Html | None:
    """The metric where a column has a value, beside all other rows."""
    judgement = record.judgement
    if judgement is None or not judgement.slices:
        return None
    name = phrases.main_metric(record)
    draw, _ = bar_scale(name, [one.metric for one in judgement.slices], from_zero=True)
    rows: list[list[Child]] = [
        [
            join(tag("span", f"{one.column} = ", class_="soft"), one.value),
            draw(one.metric, "theirs"),
            _with_interval(name, one.metric),
            show.metric_value(name, one.rest),
            show.count(one.count),
        ]
        for one in judgement.slices
    ]
    head: list[Child] = [
        say("report.head.value"),
        "",
        phrases.metric_name(name),
        say("report.head.rest"),
        say("report.head.count"),
    ]
    said = about("slices", metric=phrases.metric_name(name))
    return join(said, table(head, rows, numeric={2, 3, 4}, kind="bars"))


def heads(*keys: str) -> list[Child]:
    """The titles of a table's columns."""
    return [say(f"report.head.{key}") for key in keys]


def about(section: str, **values: str) -> Html:
    """The line under a heading that says how to read what follows."""
    return tag("p", say(f"report.about.{section}", **values), class_="about")


def _labelled(figure: Html, across: str, up: str) -> Html:
    return tag(
        "figure",
        tag("div", up, class_="axis up"),
        figure,
        tag("div", across, class_="axis across"),
        class_="plot square",
    )


def _with_interval(name: str, metric: Metric) -> Html:
    bounds = show.interval(name, metric)
    extra = tag("span", f" {bounds}", class_="soft") if bounds else None
    return join(show.metric_value(name, metric.value), extra)


def _less(name: str) -> Html | None:
    words = phrases.direction(name)
    return tag("span", words, class_="soft small") if words else None


def _class_names(record: RunRecord, size: int) -> list[str]:
    known = record.understanding.task.classes if record.understanding else ()
    return [known[at] if at < len(known) else str(at) for at in range(size)]


def _class_line(line: ClassRow) -> list[Child]:
    def cell(value: float) -> Html:
        bar = tag("i", style=f"width:{100 * max(0.0, min(1.0, value or 0)):.1f}%")
        return join(tag("span", bar, class_="bar", aria_hidden="true"), show.share(value))

    values: list[Child] = [cell(line.precision), cell(line.recall), cell(line.f1)]
    return [line.name, *values, show.count(line.support)]


def _matrix(judgement: Judgement, classes: list[str]) -> Html:
    linked = {(e.target, e.prediction) for e in judgement.confusion_examples}
    upright = max(len(name) for name in classes) > 6 and len(classes) > 3
    corner = tag(
        "td", say("report.head.true"), " ↓  ", say("report.head.predicted"), " →", class_="corner"
    )
    head = [
        tag(
            "th",
            tag("span", name, title=name),
            scope="col",
            class_=_head_class(name) if upright else None,
        )
        for name in classes
    ]
    lines: list[Html] = []
    for true, counts in enumerate(judgement.confusion):
        total = sum(counts) or 1
        cells = [tag("th", tag("span", classes[true], title=classes[true]), scope="row")]
        for predicted, amount in enumerate(counts):
            kind = "right" if true == predicted else "wrong"
            # the root lifts rare mistakes off the ground, where a share of 2 % would be white
            depth = 100 * (amount / total) ** 0.5
            mark = (classes[true], classes[predicted]) in linked and kind == "wrong"
            cells.append(
                tag(
                    "td",
                    show.count(amount) if amount else "·",
                    class_=f"{kind} {_ink(depth)}" + (" marked" if mark else ""),
                    style=f"--depth:{depth:.0f}%" if amount else None,
                )
            )
        lines.append(tag("tr", *cells))
    inner = tag("table", tag("thead", tag("tr", corner, *head)), tag("tbody", *lines))
    return tag("div", inner, class_="scroll matrix")


def _head_class(name: str) -> str:
    # Latin names read from below when turned; Chinese ones stand as they are written downwards
    return "up wide" if any(ord(c) >= 0x2E80 for c in name) else "up"


def _ink(depth: float) -> str:
    return "deep" if depth > 62 else "pale"  # where the number turns to the paper's colour


def _mistakes(judgement: Judgement, classes: list[str]) -> Html:
    pairs = [
        (amount, amount / (sum(counts) or 1), true, predicted)
        for true, counts in enumerate(judgement.confusion)
        for predicted, amount in enumerate(counts)
        if true != predicted and amount
    ]
    pairs.sort(reverse=True)
    rows: list[list[Child]] = [
        [classes[true], classes[predicted], show.count(amount), show.percent(part)]
        for amount, part, true, predicted in pairs[:MOST_CONFUSIONS]
    ]
    head: list[Child] = heads("true", "predicted", "times", "share")
    return table(head, rows, numeric={2, 3})
