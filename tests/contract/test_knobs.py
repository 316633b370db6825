"""Every knob says what it is, why it stands where it stands, and what is allowed."""

import re

import pytest
from pydantic import ValidationError

from trainwright import recipe as recipes
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
