"""Progress is drawn at most so often, reads the device only then, and fits where it goes."""

import io
import json
import math

import pytest
from report_records import metric, table_run
from rich.console import Console

from trainwright.core.records import Baseline, Notice
from trainwright.report.live import json_listener, listener_for
from trainwright.report.progress import (
    BAR_SECONDS,
    BarSurface,
    JsonSurface,
    LineSurface,
    Moment,
    Progress,
    open_progress,
)  # fmt: skip
from trainwright.run.messages import (
    Compared,
    Finished,
    Loaded,
    Looked,
    Progressed,
    Said,
    Understood,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class DeviceLoss:
    """Counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __float__(self) -> float:
        self.reads += 1
        return 0.5


class Notebook:
    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.closed = False

    def draw(self, moment: Moment) -> None:
        self.moments.append(moment)

    def tell(self, event, sentence, values) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_a_thousand_steps_in_a_second_are_drawn_ten_times_and_the_last_at_the_end():
    clock, notebook, loss = Clock(), Notebook(), DeviceLoss()
    with Progress(notebook, BAR_SECONDS, clock) as progress:
        for step in range(1000):
            clock.now = step / 1000
            progress.step(step, 1000, loss=loss)
    assert len(notebook.moments) <= 12
    assert loss.reads == len(notebook.moments)
    assert notebook.moments[-1].step == 999
    assert notebook.closed


def test_share_follows_steps_or_else_the_clock():
    clock, notebook = Clock(), Notebook()
    progress = Progress(notebook, 0.0, clock)
    progress.step(1, 4)
    progress.step(1, None, seconds_left=10.0)
    clock.now = 5.0
    progress.step(2, None, seconds_left=5.0)
    progress.step(3)
    assert [m.share for m in notebook.moments] == [0.25, 0.0, 0.5, None]


def test_lines_without_a_terminal_are_plain_and_evaluations_always_shown():
    stream = io.StringIO()
    console = Console(file=stream, width=60)
    with open_progress(console=console) as progress:
        assert isinstance(progress._surface, LineSurface)
        progress.step(1, 3000, loss=0.25, examples_per_second=12_000, seconds_left=83.4)
        progress.step(2, 3000, loss=0.24)
        progress.evaluated(2, "valid", {"loss": 0.3, "accuracy": 0.912})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 1/3,000  loss 0.2500  12,000 examples/s  1:23 left"
    assert lines[1] == "step 2  validation: loss 0.3000, accuracy 0.912"
    assert len(lines) == 2
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_a_bar_that_gives_the_cursor_back():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    with open_progress(console=console) as progress:
        assert isinstance(progress._surface, BarSurface)
        progress.step(50, 100, loss=float("nan"))
        progress.tell("notice", "[bold]as it is[/bold]")
    text = stream.getvalue()
    assert "50 %" in text
    assert "NaN" in text
    assert "[bold]as it is[/bold]" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_json_lines_are_strict_json_even_when_the_loss_is_not_a_number():
    stream = io.StringIO()
    with open_progress(as_json=True, stream=stream) as progress:
        progress.step(1, None, loss=math.nan, seconds_left=math.inf)
        progress.evaluated(1, "valid", {"accuracy": math.inf})
    events = [
        json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()
    ]
    assert [e["event"] for e in events] == ["progress", "evaluated"]
    assert events[0]["loss"] is None
    assert events[1]["metrics"] == {"accuracy": None}


def reads(listen, clock=None):
    """Reading of 4000 files in four seconds, then of rows that fails."""
    for done in range(500, 4001, 500):
        if clock is not None:
            clock.now += 0.5
        listen(Loaded(stage="files", done=done, total=4000, over=done == 4000))
    listen(Loaded(stage="rows_sampled", done=10_000, total=None, over=False))
    listen(Loaded(stage="rows_sampled", done=20_000, total=None, over=True))


def test_a_log_has_a_line_of_reading_and_its_end_and_training_follows_at_once():
    stream = io.StringIO()
    listen = listener_for(stream)
    reads(listen)
    listen(messages()[1])
    assert stream.getvalue().splitlines() == [
        "reading files  500/4,000",
        "reading files  4,000/4,000",
        "sampling rows  10,000",
        "sampling rows  20,000",
        "step 1/10  loss 0.5000  100 examples/s  0:01 left",
    ]


def test_a_terminal_gets_a_bar_of_reading_that_goes_when_it_is_over():
    stream = io.StringIO()
    listen = listener_for(Console(file=stream, force_terminal=True, width=80))
    reads(listen)
    text = stream.getvalue()
    assert "reading files  500/4,000" in text
    assert "12 %" in text
    assert "100 %" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2
    listen(messages()[1])
    listen(Finished(record=table_run()))
    assert "step 1/10" in stream.getvalue()
    assert stream.getvalue().count("\x1b[?25h") == 3


def test_a_program_is_told_of_reading_by_an_event():
    events: list[dict] = []
    reads(json_listener(events.append))
    assert events[0] == {"event": "reading", "stage": "files", "done": 500, "total": 4000}
    assert events[1] == {"event": "reading", "stage": "files", "done": 4000, "total": 4000}
    assert events[-1] == {"event": "reading", "stage": "rows_sampled", "done": 20000, "total": None}
    assert len(events) == 4


def test_quiet_says_nothing(capsys):
    with open_progress(quiet=True) as progress:
        progress.step(1, 2, loss=1.0)
        progress.evaluated(1, "valid", {"loss": 1.0})
    assert capsys.readouterr() == ("", "")


def messages():
    run = table_run()
    assert run.understanding is not None
    return [
        Understood(run_id=run.id, understanding=run.understanding),
        Progressed(
            step=1,
            total_steps=10,
            loss=0.5,
            examples_per_second=100.0,
            seconds=0.1,
            seconds_left=0.9,
        ),
        Looked(step=5, metrics={"loss": 0.4, "accuracy": 0.9}, best=True),
        Said(notice=Notice(code="odd\x1b[2J", values={"column": "[bold]"})),
        Compared(
            baseline=Baseline(name="logistic", metrics={"accuracy": metric(0.8)}, seconds=0.2)
        ),
        Finished(record=run),
    ]


def test_a_run_told_to_a_log_reads_from_understanding_to_baselines():
    stream = io.StringIO()
    listen = listener_for(stream)
    for message in messages():
        listen(message)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "[bold]" in text
    parts = [
        "swift-otter-12",
        "MonthlyCharges",
        "step 1/10",
        "validation: loss",
        "logistic regression",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_a_run_told_to_a_program_is_one_object_an_event():
    events: list[dict] = []
    listen = json_listener(events.append)
    for message in messages():
        listen(message)
    assert [e["event"] for e in events] == [
        "understood", "progress", "evaluated", "notice", "compared",
    ]  # fmt: skip
    assert events[0]["understanding"]["source"] == "customers.csv"
    json.dumps(events, allow_nan=False)


def test_a_json_surface_hands_over_the_loss_as_a_number():
    events: list[dict] = []
    JsonSurface(events.append).draw(Moment(step=3, loss=0.5, metric=("accuracy", 0.9)))
    assert events == [{"event": "progress", "step": 3, "loss": 0.5, "metric": {"accuracy": 0.9}}]
