"""The page holds everything, loads nothing, and never lets data become markup."""

import re
import string
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_records import (
    ANSI,
    FORMULA,
    HOSTILE,
    RUNS,
    Reading,
    history,
    image_run,
    picture,
    table_run,
)  # fmt: skip

from trainwright.core.records import Example, Judgement, RunRecord
from trainwright.core.words import use_language
from trainwright.report import curves
from trainwright.report.markup import media, visible
from trainwright.report.page import render_page

VOID = {"meta", "img", "br", "col", "hr"}


class Page(HTMLParser):
    """Checks that elements close in order, and keeps what is in them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_every_kind_of_run_makes_a_page_whose_elements_close_in_order(name, language):
    use_language(language)
    page = Page(render_page(RUNS[name](), history(steps=300)))
    assert page.open == []
    assert ("html", {"lang": language}) in page.tags
    ids = page.ids()
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", RUNS)
def test_the_page_refers_to_nothing_outside_itself(name):
    page = Page(render_page(RUNS[name](), history(steps=300)))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes)
        for key, value in attributes.items():
            if key in ("src", "href", "xlink:href", "action", "poster", "srcset"):
                assert (value or "").startswith(("data:image/", "data:audio/", "#")), (tag, key)
            if key == "style":
                assert "url(" not in (value or "") or "url(#" in (value or "")


def test_a_browser_is_told_to_load_and_run_nothing():
    page = Page(render_page(table_run(), []))
    policies = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policies
    assert "default-src 'none'" in (policies[0] or "")
    assert "script-src" not in (policies[0] or "")


def test_strings_that_mean_harm_are_shown_as_what_they_are():
    text = render_page(table_run(), [])
    assert HOSTILE not in text
    assert "\x1b" not in text
    page = Page(text)
    assert HOSTILE in page.text
    assert FORMULA in page.text
    assert visible(ANSI) in page.text


def poisoned(record: Any, text: str) -> Any:
    """The record with `text` in every free string, however deep."""
    closed = {"code", "kind", "role", "state", "media", "split", "metric"}
    changes: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name not in closed or is_dataclass(value):
            changes[field.name] = _poison(value, text)
    return replace(record, **changes)


def _poison(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return text
    if is_dataclass(value):
        return poisoned(value, text)
    if isinstance(value, tuple):
        return tuple(_poison(item, text) for item in value)
    if isinstance(value, dict):
        keys = {"train", "valid", "test"} | {"accuracy", "ece", "log_loss", "rmse", "data"}
        return {k if k in keys else k + text: _poison(v, text) for k, v in value.items()}
    return value


MARKUP = st.text(
    alphabet=st.sampled_from(list("<>\"'&;/=!-`{}") + list("scripta \x1b\x00\u202e")), max_size=30
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(inside=st.one_of(MARKUP, st.text(max_size=30)))
def test_hostile_text_in_every_field_never_becomes_an_element(inside):
    marker = f"<xyz {inside}></xyz><b onclick='x'>\"><img src=x>"
    for run in (image_run(), table_run()):
        text = render_page(poisoned(run, marker), [])
        page = Page(text)
        assert page.open == []
        assert "<xyz" not in text
        assert all("onclick" not in attributes for _, attributes in page.tags)
        assert not any(a.get("src") == "x" for _, a in page.tags)
        assert set(text) <= {"\n", "\t"} | {c for c in text if c.isprintable()} | {"　"}
        text.encode("utf-8")


@given(text=st.text())
def test_a_medium_that_is_not_base64_of_a_known_kind_is_left_out(text):
    assert media(f"image/svg+xml;base64,{text}", "") == ""
    assert media(text, "") == ""
    found = media(f"image/png;base64,{text}", "")
    assert found == "" or set(text) <= set(string.ascii_letters + string.digits + "+/=")


def test_a_run_that_has_just_begun_has_no_empty_sections():
    page = Page(render_page(RunRecord(id="new-fox-1"), []))
    assert page.ids() == ["course"]
    assert "Nothing has been measured yet." in page.text
    watched = Page(render_page(RunRecord(id="new-fox-1", layers=("0", "2")), []))
    assert "Somebody's own loop, watched." in watched.text


@pytest.mark.parametrize(
    ("field", "section"),
    [("confusion", "confusion"), ("per_class", "per_class"), ("reliability", "calibration"),
     ("worst", "worst"), ("slices", "slices")],
)  # fmt: skip
def test_what_was_not_judged_is_left_out(field, section):
    run = table_run()
    judgement = run.judgement
    assert isinstance(judgement, Judgement)
    assert section in Page(render_page(run, [])).ids()
    without = replace(run, judgement=replace(judgement, **{field: ()}))
    assert section not in Page(render_page(without, [])).ids()


def test_twelve_thumbnails_stay_below_two_megabytes():
    run = image_run()
    assert run.judgement is not None
    many = tuple(Example(row=i, target="a", prediction="b", media=picture(i)) for i in range(12))
    page = render_page(replace(run, judgement=replace(run.judgement, worst=many)), history())
    assert len(page.encode()) < 2_000_000
    assert page.count("data:image/png") >= 12


def test_many_classes_are_listed_by_their_commonest_confusions():
    page = Page(render_page(RUNS["many_classes"](), []))
    assert "64 classes" in page.text
    cells = [a for t, a in page.tags if t == "td"]
    assert len(cells) < 64 * 64


def test_the_recipe_on_the_page_reads_back_as_toml():
    import tomllib

    from trainwright.report.sections import recipe_text

    run = table_run()
    again = tomllib.loads(recipe_text(run.recipe))
    assert again["algorithm"]["learning_rate"] == run.recipe["algorithm"]["learning_rate"]
    assert "class_weights" not in again["loss"]


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3000),
    broken=st.sets(st.integers(0, 2999), max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_thinning_keeps_at_most_500_points_and_every_extreme(values, broken):
    readings = [
        Reading(step=i, kind="train", values={"loss": float("nan") if i in broken else v})
        for i, v in enumerate(values)
    ]
    kept = [v for i, v in enumerate(values) if i not in broken]
    found = curves.series(readings, "train", "loss")
    if not kept:
        assert found is None
        return
    assert found is not None
    assert len(found.steps) <= 500
    assert min(found.low) == min(kept)
    assert max(found.high) == max(kept)
    assert list(found.steps) == sorted(found.steps)
    assert found.values[-1] == kept[-1]


def test_figures_carry_no_colour_font_or_address_of_their_own():
    text = render_page(table_run(), history(steps=2000))
    drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawn) == 4
    for svg in drawn:
        assert "http" not in svg
        assert "font-family" not in svg
        assert not re.search(r"#[0-9a-f]{6}", svg)
        assert "var(--" in svg


def test_the_kept_step_is_marked_and_said():
    page = Page(render_page(table_run(), history(steps=3000)))
    assert "weights kept: step 1,800" in page.text
