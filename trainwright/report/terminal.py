"""What does a run look like in a terminal? A summary of at most 30 lines, and the tables of
columns, runs and details. Foreign text is never read as markup and never moves the cursor."""

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trainwright.core.records import Metric, RunRecord, Understanding
from trainwright.core.task import LOWER_IS_BETTER
from trainwright.core.words import say
from trainwright.report import curves, phrases
from trainwright.report import format as show
from trainwright.report.markup import visible
from trainwright.report.sections import input_words, special_first, split_words
from trainwright.store.contract import RunRow

MOST_COLUMNS = 30  # rows of the table of columns
MOST_BASELINES = 7  # lines beside the result; the summary has 30 in all
MOST_NOTICES = 3
BAR_CELLS = 20


def summary(
    record: RunRecord,
    history: Sequence[curves.Reading] = (),
    *,
    record_at: str = "",
    report_at: str = "",
    next_commands: Sequence[str] | None = None,
) -> RenderableType:
    """What came out, in at most 30 lines at 80 columns or more.

    `record_at` and `report_at` say where record and page are; `next_commands` what to type next
    (at most four are shown; None means what suits the run's state).
    """
    facts = _facts_grid()
    for name, value in _understood(record) + _course(record, history):
        facts.add_row(_soft(name), _line(value))
    parts: list[RenderableType] = [_title(record), facts]
    scores = _scores(record)
    if scores is not None:
        parts += [Text(""), scores]
    if record.verdict is not None:
        parts += [Text(""), _capped(phrases.verdict_sentence(record), 240, style="bold")]
    said = [phrases.notice_words(n) for n in record.notices[:MOST_NOTICES]]
    if len(record.notices) > MOST_NOTICES:
        said.append(say("report.and_more", count=len(record.notices) - MOST_NOTICES))
    parts += [_line(f"! {words}", style="yellow") for words in said]
    ways = _facts_grid()
    if record_at:
        ways.add_row(_soft(say("report.head.record")), _capped(record_at, 120))
    if report_at:
        ways.add_row(_soft(say("report.head.report")), _capped(report_at, 120))
    following = _next_commands(record) if next_commands is None else next_commands
    for at, command in enumerate(following[:4]):
        ways.add_row(
            _soft(say("report.head.next") if at == 0 else ""), _line(command, style="cyan")
        )
    return Group(*parts, Text(""), ways) if ways.row_count else Group(*parts)


def columns_table(understanding: Understanding) -> RenderableType:
    """Each column's role and the reason for it; at most 30 rows, then how many more."""
    shown = special_first(understanding.columns)[:MOST_COLUMNS]
    table = _table()
    table.add_column(say("report.head.column"), no_wrap=True, overflow="ellipsis", max_width=28)
    table.add_column(say("report.head.role"), no_wrap=True)
    table.add_column(say("report.head.reason"), overflow="fold", ratio=1)
    for column in shown:
        role = phrases.words_for(f"report.role.{column.role}", column.role)
        table.add_row(
            _text(column.name, style="bold" if column.role == "target" else ""),
            _text(role, style="dim" if column.role in ("ignored", "constant") else ""),
            _text(phrases.notice_words(column.reason)),
        )
    hidden = len(understanding.columns) - len(shown)
    return (
        Group(table, _soft(say("report.and_more", count=show.count(hidden)))) if hidden else table
    )


def runs_table(rows: Iterable[RunRow]) -> RenderableType:
    """One line per run of a store's listing."""
    lines = [_run_line(row) for row in rows]
    table = _table()
    names = ("run", "state", "created", "steps", "result", "recipe")
    for at, name in enumerate(names):
        title = say(f"report.head.{name}")
        # a name or number cut short is a wrong name or number; results give way instead
        widest = max([cell_len(title), *(line[at].cell_len for line in lines)])
        table.add_column(
            title,
            justify="right" if name == "steps" else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=min(widest, 16 if name == "result" else 40),
        )
    for line in lines:
        table.add_row(*line)
    return table


def run_details(record: RunRecord) -> RenderableType:
    """Everything that `show` prints: course, metrics by split, baselines, identity."""
    facts = _facts_grid()
    rows = _understood(record)
    rows += [(say("report.head.training"), _training_words(record))]
    if record.stopped is not None:
        rows.append((say("report.head.stopped"), phrases.notice_words(record.stopped)))
    rows += [
        (say(f"report.head.{key}"), value)
        for key, value in (
            ("created", show.moment(record.created)),
            ("parameters", show.count(record.num_parameters) if record.num_parameters else ""),
            ("device", record.device),
            ("recipe", record.recipe_hash),
            ("weights", record.weights_sha256),
            ("command", record.command),
        )
        if value
    ]
    for name, value in rows:
        facts.add_row(_soft(name), _text(value))
    parts: list[RenderableType] = [_title(record), facts]
    if any(record.metrics.values()):
        parts += [Text(""), metrics_table(record.metrics)]
    scores = _scores(record)
    if scores is not None and record.baselines:
        parts += [Text(""), scores]
    if record.verdict is not None:
        parts += [Text(""), _text(phrases.verdict_sentence(record), style="bold")]
    parts += [_text(f"! {phrases.notice_words(n)}", style="yellow") for n in record.notices]
    return Group(*parts)


def metrics_table(metrics: Mapping[str, Mapping[str, Metric]]) -> RenderableType:
    """One line per metric, one column per split (or source): its name and metrics are given."""
    splits = [split for split in metrics if metrics[split]]
    splits.sort(key=lambda s: phrases.SPLITS.index(s) if s in phrases.SPLITS else -1)
    names = list(dict.fromkeys(name for split in reversed(splits) for name in metrics[split]))
    table = _table()
    table.add_column(say("report.head.metric"), no_wrap=True, overflow="ellipsis")
    for split in splits:
        table.add_column(_text(phrases.split_name(split)), justify="right", no_wrap=True)
    for name in names:
        values = [metrics[split].get(name) for split in splits]
        words = [show.with_interval(name, value) if value else "" for value in values]
        table.add_row(_text(phrases.metric_name(name)), *(_text(word) for word in words))
    return table


def _title(record: RunRecord) -> Text:
    title = _line(record.id, style="bold")
    title.append("  ")
    title.append(phrases.state_name(record.state), style=_state_style(record.state))
    return title


def _understood(record: RunRecord) -> list[tuple[str, str]]:
    found = record.understanding
    if found is None:
        return []
    return [
        (say("report.head.task"), phrases.task_sentence(record)),
        (say("report.head.input"), input_words(found.signature)),
        (say("report.head.count"), split_words(found)),
    ]


def _course(record: RunRecord, history: Sequence[curves.Reading]) -> list[tuple[str, str]]:
    rows = [(say("report.head.training"), _training_words(record))]
    ends = curves.first_and_last(history, "valid", "loss")
    if ends is not None:
        (_, first), (_, last) = ends
        words = say("report.course.loss_fell", first=show.number(first), last=show.number(last))
        if record.chosen_step is not None:
            step = show.count(record.chosen_step)
            words = _listed([words, say("report.course.valid_best", step=step)])
        rows.append(("", words))
    if record.stopped is not None:
        rows.append((say("report.head.stopped"), phrases.notice_words(record.stopped)))
    return rows


def _training_words(record: RunRecord) -> str:
    training = phrases.training_seconds(record)
    parts = [phrases.step_words(record), show.seconds(training or record.seconds)]
    if training > 0 and record.examples:
        speed = show.count(record.examples / training)
        parts.append(say("report.live.speed", speed=speed))
    if training > 0 and record.seconds > training:
        parts.append(say("report.in_all", seconds=show.seconds(record.seconds)))
    return _listed(parts)


def _listed(parts: list[str]) -> str:
    return say("report.between").join(parts)


def _scores(record: RunRecord) -> Table | None:
    """The network's number beside the baselines', best first, with bars."""
    found = phrases.result(record)
    if found is None:
        return None
    name, ours = found
    lines = [(say("report.network"), ours, True)]
    lines += [
        (phrases.baseline_name(b.name), b.metrics[name], False)
        for b in record.baselines
        if name in b.metrics
    ]
    sign = 1 if name in LOWER_IS_BETTER else -1
    lines.sort(key=lambda line: sign * line[1].value)
    if len(lines) > MOST_BASELINES:
        lines = [line for at, line in enumerate(lines) if at < MOST_BASELINES or line[2]]
    most = max([1.0 if name not in LOWER_IS_BETTER else 0.0, *(m.value for _, m, _ in lines)])
    less = phrases.direction(name)
    title = phrases.metric_name(name) + (f" ({less})" if less else "")
    table = _table()
    split = phrases.split_name(phrases.judged_split(record))
    table.add_column(split, no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=40)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column(say("report.head.interval"), no_wrap=True)
    for label, metric, mine in lines:
        style = "bold" if mine else ""
        table.add_row(
            _text(label, style=style),
            _bar(metric.value, most, mine),
            _text(show.metric_value(name, metric.value), style=style),
            _text(show.interval(name, metric)),
        )
    return table


def _bar(value: float, most: float, mine: bool) -> Text:
    share = value / most if most > 0 and abs(value) < float("inf") else 0.0
    cells = round(BAR_CELLS * max(0.0, min(1.0, share)))
    return Text("━" * cells, style="blue" if mine else "bright_black")


def _run_line(row: RunRow) -> list[Text]:
    result = show.MISSING
    if row.metric_name is not None and row.metric_value is not None:
        parts = [
            show.metric_value(row.metric_name, row.metric_value),
            phrases.metric_name(row.metric_name),
        ]
        parts += [f"({phrases.split_name(row.metric_split)})"] if row.metric_split else []
        result = " ".join(parts)
    return [
        _text(row.id, style="bold"),
        _text(phrases.state_name(row.state), style=_state_style(row.state)),
        _text(show.moment(row.created).removesuffix(" UTC")),
        _text(show.count(row.steps)),
        _text(result),
        _text(row.recipe_hash[:8], style="dim"),
    ]


def _next_commands(record: RunRecord) -> list[str]:
    name = record.id
    if record.state in ("interrupted", "failed"):
        return [f"trainwright resume {name}", f"trainwright report {name}"]
    if record.state == "finished":
        return [f"trainwright report {name}", f"trainwright predict {name} NEW_DATA"]
    return []


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _facts_grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _state_style(state: str) -> str:
    return {"finished": "green", "failed": "red", "interrupted": "yellow"}.get(state, "")


def _text(value: object, style: str = "") -> Text:
    """Foreign text as it is, on one line of its own making: no markup, no control characters."""
    return Text(tame(str(value)), style=style)


def _line(value: object, style: str = "") -> Text:
    """Text that never takes more than one line."""
    return Text(tame(str(value)), style=style, no_wrap=True, overflow="ellipsis")


def _capped(value: str, most_cells: int, style: str = "") -> Text:
    """Text that wraps, but not beyond `most_cells` cells in all."""
    text = tame(value)
    if cell_len(text) > most_cells:
        text = set_cell_size(text, most_cells - 1).rstrip() + "…"
    return Text(text, style=style, overflow="fold")


def _soft(value: str) -> Text:
    return Text(tame(value), style="dim")


def tame(text: str) -> str:
    """Foreign text in which nothing acts on a terminal, on one line."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")
