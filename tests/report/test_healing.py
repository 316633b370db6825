"""A healing reads the same in a card, in lines, in JSON and on a page: what was kept, and why."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from healing_records import STEPS, healing, left_alone, proof, step, stuck
from rich.cells import cell_len
from rich.console import Console

from trainwright.core.words import use_language
from trainwright.edit.program import Done
from trainwright.exam.exam import Exam
from trainwright.remedy.search import Step
from trainwright.report import remedy_tree as trees
from trainwright.report.comparison import comparison_card, counted_words, scores
from trainwright.report.comparison_page import render_comparison
from trainwright.report.healing import Growing, as_text, in_lines, plain, progress
from trainwright.report.healing_page import render_healing


def drawn(renderable, width=100, height=30):
    out = io.StringIO()
    Console(file=out, width=width, height=height, color_system=None).print(renderable)
    return out.getvalue()


EXAM = Exam(name="higher_rate", answer="yes", pictures=(), shifts={"A402": 1.8}, seconds=1.0,
            values={"metric": "accuracy", "pairs": 2.0, "before": 0.5, "after": 0.7,
                    "gain": 0.2, "steps": 60.0, "own": 1e-4, "other": 1e-3})  # fmt: skip


# --- what was kept -------------------------------------------------------------------------------


def test_the_kept_path_leads_from_the_first_run_to_the_best_one():
    assert [one.number for one in trees.kept_path(healing())] == [0, 2, 5]
    assert trees.kept_remedies(healing()) == [("raise_learning_rate", 1), ("train_longer", 1)]


@pytest.mark.parametrize("found", [left_alone(), stuck()])
def test_where_nothing_was_kept_the_path_is_the_first_run(found):
    assert [one.number for one in trees.kept_path(found)] == [0]


def test_of_equally_good_runs_the_one_with_fewer_findings_is_best_and_then_the_earlier():
    first = step(0, -1, "", "first", 0.9, still=("A403",))
    closed = step(1, 0, "train_longer", "same", 0.901)
    later = step(2, 0, "widen", "same", 0.901)
    assert trees.best_step((first, later, closed)) is closed


def test_a_run_without_a_score_is_never_the_best():
    first = step(0, -1, "", "first", None, still=("A401",))
    failed = step(1, 0, "widen", "failed")
    assert trees.best_step((first, failed)) is first


def test_several_remedies_at_once_are_counted_apart_and_one_left_out_is_not():
    steps = (
        STEPS[0], step(1, 0, "swap_optimizer + widen", "better", 0.9, code="A402"),
        replace(step(2, 1, "widen", "same", 0.9), left_out=True),
    )  # fmt: skip
    found = healing(steps=steps, kept=2)
    assert trees.kept_remedies(found) == [("swap_optimizer", 1)]
    text = as_text(found)
    assert "swap_optimizer + widen  0.900" in text
    assert "without widen" in text


def test_exams_are_said_in_a_line_each_on_the_card_and_as_cards_on_the_page():
    found = healing(exams=(EXAM,))
    text = as_text(found)
    assert "what exams settled" in text
    page = render_healing(found)
    assert 'id="exams"' in page
    assert 'id="higher_rate"' in page
    assert plain(found)["exams"][0]["name"] == "higher_rate"


def test_what_only_a_person_can_mend_is_said_below_what_is_still_named():
    found = healing(before=object(), target=object(), open=("M212",))
    assert "yours to mend: fix_axis" in as_text(found)
    assert "yours to mend: fix_axis" in re.sub(r"<[^>]+>", "", render_healing(found))
    assert "yours to mend" not in as_text(healing(open=("A402",)))


# --- card ----------------------------------------------------------------------------------------


def test_the_card_says_verdict_path_lines_and_proof():
    text = as_text(healing())
    for part in (
        "✓ healed: nothing wrong is found any more", "accuracy 0.102 → 0.972",
        "raise_learning_rate  0.550 (+0.448)  for A402  open: A403",
        "train_longer: train for twice as many steps",
        "--set 'budget=20 epochs'", "--set algorithm.learning_rate=0.01  (was auto)",
        "cured:", "A402 was found in 3 of 3 runs of the first, 0 of the second", "1002",
        "2 tried without being kept", "1 that did not fit", "31.2 s in all",
    ):  # fmt: skip
        assert part in text, part


def test_a_remedy_applied_twice_is_said_once():
    steps = (*STEPS[:3], step(3, 2, "raise_learning_rate", "better", 0.9, code="A402"))
    text = as_text(healing(steps=steps, kept=3))
    said = re.sub(r"[\s│]+", " ", text)
    assert "raise_learning_rate: raise the rate" in said
    assert "(2 times)" in said
    assert said.count("raise_learning_rate:") == 1


def test_a_network_of_ones_own_gets_lines_of_code():
    done = (Done(name="clip_gradient_norm", lines=("clip_grad_norm_(model.parameters(), 1.0)",)),)
    text = as_text(healing(before=object(), target=object(), done=done))
    assert "lines to change in your code" in text
    assert "  clip_grad_norm_(model.parameters(), 1.0)" in text


def test_a_stuck_card_counts_what_was_trained_and_names_what_is_left():
    text = as_text(stuck())
    assert "none of 5 remedies helped" in text
    assert "A402 learning rate too low, A403 stopped too early" in text
    assert "knobs to turn" not in text


def test_a_healthy_run_is_said_to_be_left_alone_in_five_lines():
    text = as_text(left_alone())
    assert "left as it is" in text
    assert "accuracy 0.970" in text
    assert len(text.splitlines()) == 5


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_the_card_keeps_to_forty_lines_and_the_width(width, language):
    use_language(language)
    steps, parent = [STEPS[0]], 0
    for number in range(1, 9):
        steps.append(step(number, parent, "clip_gradient_norm", "better", 0.1 + number / 10,
                          code="A401", still=("A401", "A403")))  # fmt: skip
        parent = number
    done = tuple(Done(name="x", lines=(f"line_{at} = {'long ' * 12}",)) for at in range(30))
    big = proof(first=(0.1,) * 12, second=(0.9, 0.91) * 6)
    found = healing(before=object(), target=object(), steps=tuple(steps), done=done, proof=big,
                    kept=8, exams=(EXAM,) * 6,
                    open=("A401", "A402", "A403", "M207", "D101"), notes=("stopped by you",))  # fmt: skip
    lines = as_text(found, width=width).splitlines()
    assert len(lines) <= 40
    assert max(cell_len(line) for line in lines) <= min(width, 110)
    if width >= 80:
        assert "line_0" in "\n".join(lines)
        assert lines[-1].startswith("╰"), "the frame is closed: nothing was cut off"


def test_foreign_text_cannot_act_on_the_terminal():
    assert "\x1b" not in trees.plain_line(STEPS[4], STEPS)
    assert "boom" in trees.plain_line(STEPS[4], STEPS)
    done = (Done(name="x", lines=("a\x1b[2J\x07",)),)
    assert "\x1b" not in as_text(healing(before=object(), target=object(), done=done))


# --- while it goes on ----------------------------------------------------------------------------


def test_elsewhere_than_on_a_terminal_each_step_is_one_line():
    out = io.StringIO()
    with progress(out, quiet=False) as tell:
        for one in STEPS:
            tell(one)
    lines = out.getvalue().splitlines()
    assert len(lines) == len(STEPS)
    assert lines[0] == "● as it was  0.102  open: A402 A403"
    assert lines[5] == "✓ train_longer  0.972 (+0.422)  for A403  nothing open"
    assert "does not fit: it is so already" in lines[1]


def test_a_quiet_search_says_nothing():
    out = io.StringIO()
    with progress(out, quiet=True) as tell:
        tell(STEPS[0])
    assert out.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_tree_grows_and_goes_away_in_the_end():
    out = Terminal()
    with progress(out, quiet=False, budget=60.0) as tell:
        for one in STEPS:
            tell(one)
    said = out.getvalue()
    assert "train_longer" in said
    assert "of 1:00" in said
    assert said.rstrip().endswith("\x1b[2K"), "the last lines are taken back"


@pytest.mark.parametrize("height", [8, 12, 30])
def test_a_long_search_stays_within_the_window(height):
    many = [*STEPS, *(step(n, 5, "widen", "same", 0.97) for n in range(7, 60))]
    text = drawn(Growing(steps=many, budget=60.0), height=height)
    assert len(text.rstrip("\n").splitlines()) <= height
    assert "raise_learning_rate" in text, "the path to the best is there"


def test_the_latest_steps_are_shown_first_where_there_is_room_for_some():
    many = (*STEPS, *(step(n, 0, "widen", "same", 0.1) for n in range(7, 40)))
    shown = in_lines(many, 10)
    assert {0, 2, 5, 39} <= shown
    assert trees.num_lines(many, shown) <= 10
    assert in_lines(STEPS, 100) == {one.number for one in STEPS}


def test_the_tree_has_as_many_lines_as_were_counted():
    for shown in ({0}, {0, 2}, {0, 2, 5}, {0, 2, 3, 5, 6}, set(range(7))):
        assert len(drawn(trees.tree(STEPS, shown)).rstrip("\n").splitlines()) == trees.num_lines(
            STEPS, shown
        )


def test_without_a_budget_the_clock_takes_the_one_that_the_search_takes():
    growing = Growing(steps=[])
    growing.began -= 12.0
    growing.tell(STEPS[0])
    assert growing.budget == pytest.approx(120, abs=2)


# --- plain values --------------------------------------------------------------------------------


def test_the_object_for_machines_is_plain_json_and_whole():
    told = json.loads(json.dumps(plain(healing()), allow_nan=False))
    assert told["state"] == "healthy"
    assert told["kept"] == [2, 5]
    assert (told["score_before"], told["score_after"]) == (0.102, 0.972)
    assert told["changes"][1] == {
        "name": "algorithm.learning_rate",
        "before": "auto",
        "after": 0.01,
    }
    assert told["proof"]["verdict"] == "cured"
    assert len(told["steps"]) == len(STEPS)
    assert told["steps"][4]["score"] is None
    assert "learning_rate = 0.01" in told["recipe"]


def test_a_network_of_ones_own_has_no_recipe_in_json():
    done = (Done(name="clip", values={"norm": 1.0, "of": STEPS[0]}, lines=("clip()",)),)
    told = plain(healing(before=object(), target=object(), done=done))
    assert told["recipe"] is None
    assert told["lines"] == ["clip()"]
    json.dumps(told)


# --- comparison and pages ------------------------------------------------------------------------


def test_a_run_without_a_score_is_said_to_count_as_nothing_learned():
    found = proof(first=(None, 0.1, None))
    assert scores(found)[0] == (0.0, 0.97)
    assert counted_words(found) == "A run without a score counts as 0."
    text = drawn(comparison_card(found))
    assert "failed" in text
    assert "counts as 0" in text
    assert counted_words(proof()) == ""


class Whole(HTMLParser):
    """Every element is closed in its turn; nothing runs and nothing is loaded."""

    void = frozenset({"meta", "img", "br", "col", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert tag not in ("script", "iframe", "link", "object", "embed")
        assert not any(name.startswith("on") or name == "src" for name in values)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [v for n, v in values.items() if n == "href" and v]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
@pytest.mark.parametrize("found", [healing(), left_alone(), stuck(), healing(proof=None)])
def test_the_page_is_whole_and_needs_nothing_else(found, language):
    use_language(language)
    page = render_healing(found, title="<b>swift</b>")
    whole = Whole(page)
    assert len(whole.ids) == len(set(whole.ids))
    assert all(link.startswith("#") and link[1:] in whole.ids for link in whole.links)
    assert f'lang="{language}"' in page
    assert "<b>swift" not in page
    if language == "zh-Hant":
        assert re.search(r"[一-鿿]", page)


def test_the_page_marks_the_kept_path_and_shows_all_that_was_tried():
    page = render_healing(healing())
    assert page.count(' kept"') == 3
    assert page.count('<span class="sign">') == len(STEPS)
    assert '<span class="gone">- budget = auto' in page
    assert '<span class="new">+ algorithm.learning_rate = 0.01' in page
    assert "learning rate too low" in page


def test_the_page_does_not_show_a_knob_that_was_not_set_as_python_would():
    assert "None" not in render_healing(healing())


@pytest.mark.parametrize("second", [(0.97, 0.96, 0.975), (0.1, None, 0.12), (None, None, None)])
def test_the_page_of_a_comparison_is_whole_whatever_the_arms_came_to(second):
    page = render_comparison(proof(second=second))
    Whole(page)
    assert page.count("<svg") == 2
    assert "before against after" in page


def test_one_pair_has_a_page_though_its_interval_has_no_bounds():
    Whole(render_comparison(proof(first=(0.1,), second=(0.9,))))


def test_every_judgement_has_a_sign_and_every_sign_a_judgement():
    judged = set(Step.__annotations__["judged"].__args__)
    assert set(trees.SIGNS) == judged
