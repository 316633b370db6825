"""What is printed fits, says the result beside the baselines, and obeys nobody but us."""

import io
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_records import HOSTILE, RUNS, column, history, table_run
from rich.cells import cell_len
from rich.console import Console, RenderableType
from test_report_page import poisoned

from trainwright.core.records import Baseline, Notice, RunRecord
from trainwright.core.words import use_language
from trainwright.report.terminal import columns_table, run_details, runs_table, summary
from trainwright.store.contract import RunRow


def printed(what: RenderableType, width: int = 80, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=terminal, color_system=None).print(what)
    return stream.getvalue()


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_the_summary_takes_at_most_thirty_lines_and_fits_the_width(name, width, language):
    use_language(language)
    run = RUNS[name]()
    text = printed(
        summary(run, history(300), record_at="/a/" + "long/" * 60, report_at="b" * 300), width
    )
    lines = text.splitlines()
    assert len(lines) <= 30
    assert max(cell_len(line) for line in lines) <= width
    assert run.id in text


def test_a_summary_of_much_is_still_thirty_lines():
    run = table_run()
    many = tuple(
        Baseline(name=f"b{i} " + "x" * 200, metrics=run.baselines[0].metrics) for i in range(40)
    )
    notices = tuple(Notice(code="y" * 300, values={"n": i}) for i in range(40))
    run = replace(run, baselines=many, notices=notices, stopped=notices[0])
    text = printed(summary(run, history(300), record_at="r" * 500, report_at="p" * 500))
    assert len(text.splitlines()) <= 30
    assert "this network" in text


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(inside=st.text(max_size=80))
def test_hostile_text_moves_no_cursor_and_is_no_markup(language, inside):
    use_language(language)
    run = poisoned(table_run(), f"[bold red]{inside}\x1b[2J")
    for what in (summary(run, history(150)), run_details(run), columns_table(run.understanding)):
        text = printed(what)
        assert all(c.isprintable() or c in "\n　" for c in text)
        assert "[bold" in text
    assert len(printed(summary(run, history(150))).splitlines()) <= 30


def test_the_result_stands_beside_the_baselines_best_first():
    lines = printed(summary(table_run(), [])).splitlines()
    at = {name: i for i, line in enumerate(lines) for name in ("this network", "constant guess")
          if line.startswith(name)}  # fmt: skip
    assert at["this network"] < at["constant guess"]
    assert "0.812  [0.792, 0.832]" in lines[at["this network"]]


def test_a_lower_is_better_metric_puts_the_lowest_first():
    lines = printed(summary(RUNS["regression"](), [])).splitlines()
    order = [line.split("  ")[0] for line in lines if "━" in line]
    assert order == ["this network", "linear model", "constant guess"]


def test_a_stopped_run_says_how_to_go_on():
    assert "trainwright resume calm-heron-3" in printed(summary(RUNS["regression"](), []))


def test_a_run_without_results_is_summarised_without_tables():
    text = printed(summary(RunRecord(id="new-fox-1"), []))
    assert "new-fox-1" in text
    assert "━" not in text


def test_no_colour_is_written_when_there_is_none_to_be():
    stream = io.StringIO()
    Console(file=stream, width=80, no_color=True, force_terminal=False).print(summary(table_run()))
    assert "\x1b" not in stream.getvalue()


def test_thirty_columns_are_shown_and_the_rest_counted():
    found = table_run().understanding
    assert found is not None
    plain = tuple(column(f"c{i}", "numeric") for i in range(49))
    text = printed(columns_table(replace(found, columns=(*plain, column("last", "target")))))
    assert "c28" in text
    assert "c29" not in text
    assert "last" in text
    assert "20 more" in text


def test_a_listing_cuts_no_name_and_no_number():
    rows = [
        RunRow(id="swift-otter-12", state="interrupted", created=1_795_478_400, updated=0.0,
               recipe_hash="5f2c9b1e", steps=1_234_567, metric_name="balanced_accuracy",
               metric_split="test", metric_value=0.8123),
        RunRow(id=HOSTILE, state="new", created=0.0, updated=0.0, recipe_hash="", steps=0),
    ]  # fmt: skip
    text = printed(runs_table(rows), 80)
    for whole in ("swift-otter-12", "interrupted", "1,234,567", "0.812", HOSTILE):
        assert whole in text
