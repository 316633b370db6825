"""Every knob says what it is, why it stands where it stands, and what is allowed."""

import re

import pytest
from pydantic import ValidationError

from trainwright import recipe as recipes
from trainwright.core.words import known_codes, use_language
from trainwright.recipe import Recipe

KNOBS = recipes.knobs()
PROMISED = {
    "": "seed budget",
    "data": "target valid_fraction test_fraction group time scale",
    "model": "name depth width activation norm skip dropout init",
    "loss": "name label_smoothing class_weights",
    "algorithm": "optimizer learning_rate momentum weight_decay l1 l2 batch_size schedule "
    "warmup_steps clip_norm clip_value accumulate precision average sampler",
}
SOURCE = re.compile(r"\[(paper|measured|assumed)\b[^\]]*\]")

by_path = pytest.mark.parametrize("info", KNOBS, ids=lambda info: info.path)
numbers = pytest.mark.parametrize(
    "info",
    [i for i in KNOBS if re.search(r"\bnumber\b", i.type) and "table" not in i.type],
    ids=lambda info: info.path,
)


def test_the_promised_names_hold():
    paths = {f"{group}.{n}".lstrip(".") for group, names in PROMISED.items() for n in names.split()}
    assert paths <= {info.path for info in KNOBS}


@by_path
def test_a_knob_says_what_it_is_and_why(info):
    assert len(info.doc.split()) >= 3
    assert len(info.why) >= len("[assumed]")
    assert info.doc.endswith((".", "none"))


@by_path
def test_a_source_that_is_named_is_a_paper_a_measurement_or_an_assumption(info):
    opened = info.why.count("[")
    assert len(SOURCE.findall(info.why)) == opened, info.why


@by_path
def test_a_knob_has_a_chinese_doc_and_why_with_the_same_sources_and_values(info):
    use_language("zh-Hant")
    told = info.spoken()
    assert told.doc.endswith("。")
    assert re.findall(r"\[[^\]]*\]", told.why) == re.findall(r"\[[^\]]*\]", info.why)
    if told.why != info.why:  # a bare source has nothing to translate
        assert re.search("[\u4e00-\u9fff]", told.why)
    else:
        assert SOURCE.fullmatch(info.why)
    assert (told.unit is None) == (info.unit is None)
    assert told.unit != info.unit or info.unit is None
    values = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)|`[^`]*`", info.doc)
    assert [value for value in values if value not in told.doc] == []
    assert "\n" not in told.doc + told.why


def test_no_chinese_line_is_of_a_knob_that_is_gone():
    paths = {info.path for info in KNOBS}
    expected = {f"knob.{path}.{part}" for path in paths for part in ("doc", "why")}
    units = {f"knob_unit.{info.unit}" for info in KNOBS if info.unit}
    found = {code for code in known_codes("zh-Hant") if code.startswith("knob")}
    assert found == expected | units | {"knob_words.why"}


def test_english_is_spoken_as_it_stands_in_the_code():
    assert [info.spoken() for info in KNOBS] == list(KNOBS)


@pytest.mark.parametrize("language", ["en", "zh-Hant"])
def test_a_recipe_with_comments_is_the_same_recipe_in_both_languages(language):
    turned = {"model.width": 96, "loss.class_weights": {"a]b": 2.0}, "data.source": "x.csv"}
    use_language(language)
    for recipe in (Recipe(), recipes.edit(Recipe(), turned)):
        text = recipes.render(recipe, comments=True)
        assert recipes.parse(text) == recipe
        for info in KNOBS:
            assert f"# {info.spoken().doc}" in text
            assert info.spoken().why in text


@numbers
def test_a_number_has_bounds(info):
    assert info.bounds, "a number without bounds lets every mistake through"


@numbers
def test_nothing_beyond_the_bounds_is_taken(info):
    for sign, bound in info.bounds:
        step = max(1.0, abs(bound) * 1e-6)
        beyond = {">": bound, "<": bound, ">=": bound - step, "<=": bound + step}[sign]
        value = int(beyond) if info.type.startswith("whole") else beyond
        with pytest.raises(recipes.RecipeError, match=re.escape(info.path)):
            recipes.edit(Recipe(), {info.path: value})


@by_path
def test_not_a_number_is_no_setting(info):
    if "text" not in info.type and "table" not in info.type:
        for value in (float("nan"), float("inf"), [[]]):
            with pytest.raises(recipes.RecipeError):
                recipes.edit(Recipe(), {info.path: value})


@by_path
def test_the_default_may_be_written_down(info):
    if info.default is not None:
        plain = recipes.to_plain(Recipe())
        *groups, name = info.path.split(".")
        for group in groups:
            plain = plain[group]
        assert recipes.edit(Recipe(), {info.path: plain[name]}) == Recipe()


@by_path
def test_tuning_looks_only_where_the_knob_may_stand(info):
    search = info.search
    if search is None:
        return
    places = search.choices or (search.low, search.high)
    assert all(place is not None for place in places)
    if not search.choices:
        assert search.low < search.high
        assert search.scale != "log" or search.low > 0
    for place in places:
        whole = info.type.startswith("whole")
        try:
            recipes.edit(Recipe(), {info.path: int(place) if whole else place})
        except (recipes.RecipeError, ValidationError) as error:
            # a choice may need another knob turned too; it must not be unknown or out of bounds
            assert "is not possible" not in str(error), error
