"""Recipes are values: read, written, hashed, compared, edited; mistakes come all at once."""

import json
import os
import subprocess
import sys

import pytest
import tomli_w
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainwright import recipe as recipes
from trainwright.core.errors import RecipeError
from trainwright.recipe import Live, Recipe

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**40),
        "budget": st.sampled_from(["60s", "5 epochs", "100 steps", "1e4 examples", "auto"]),
        "data.target": st.text(st.characters(exclude_categories=("Cs",)), max_size=12),
        "data.valid_fraction": st.floats(0, 0.45),
        "data.columns": st.dictionaries(
            st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
            st.sampled_from(["numeric", "categorical", "ignored"]),
            max_size=3,
        ),
        "data.augment": st.sampled_from(["auto", "none", ["crop", "flip"]]),
        "model.width": st.integers(1, 4096),
        "model.activation": st.sampled_from(["relu", "tanh", ["relu", "none"]]),
        "loss.label_smoothing": st.floats(0, 0.5),
        "algorithm.learning_rate": st.floats(1e-8, 10),
        "algorithm.batch_size": st.one_of(st.just("auto"), st.integers(1, 10**6)),
    },
)


@given(SETTINGS)
@settings(max_examples=60, deadline=None)
def test_parsing_what_was_rendered_gives_the_recipe_back(chosen):
    recipe = recipes.edit(Recipe(), chosen)
    for text in (
        recipes.render(recipe),
        recipes.render(recipe, comments=True),
        recipes.render(recipe, only_changed=True),
    ):
        assert recipes.parse(text) == recipe


@given(SETTINGS)
@settings(max_examples=30, deadline=None)
def test_diff_names_exactly_what_edit_turned(chosen):
    recipe = recipes.edit(Recipe(), chosen)
    turned = {path: after for path, _, after in recipes.diff(Recipe(), recipe)}
    assert recipes.edit(Recipe(), turned) == recipe
    assert set(turned) <= set(chosen)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_hash_is_the_same_in_another_process_and_differs_by_any_knob(seed):
    code = (
        "from trainwright import recipe as r;"
        "print(r.recipe_hash(r.edit(r.Recipe(), {'model.width': 77, 'data.columns': {'b': 'date', 'a': 'text'}})))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONHASHSEED": seed},
    )  # fmt: skip
    here = recipes.edit(Recipe(), {"data.columns": {"a": "text", "b": "date"}, "model.width": 77})
    assert other.stdout.strip() == recipes.recipe_hash(here)
    assert recipes.recipe_hash(here) != recipes.recipe_hash(recipes.edit(here, {"seed": 1}))


def test_fifty_mistakes_are_raised_at_once_with_near_names():
    knobs = "\n".join(f"learnin_rate{i} = {i}" for i in range(48))
    text = f"sed = 1\n[algorithm]\n{knobs}\nmomentum = 7\n"
    with pytest.raises(RecipeError) as caught:
        recipes.parse(text)
    assert len(caught.value.problems) == 50
    assert "did you mean 'seed'?" in str(caught.value)
    assert "did you mean 'learning_rate'?" in str(caught.value)
    momentum = next(p for p in caught.value.problems if p.path == "algorithm.momentum")
    assert "<" in momentum.allowed


@pytest.mark.parametrize(
    "words", [["model.widht=3"], ["algorithm.learning_rate=nan"], ["algorithm.learning_rate=fast"],
              ["data.valid_fraction=-1"], ["model.width"], ["budget=soon"], ["live=1"],
              ["data.valid_fraction=0.6", "data.test_fraction=0.6"], ["loss.name=zero_one"]],
)  # fmt: skip
def test_a_wrong_setting_is_refused_with_the_way_out(words):
    with pytest.raises(RecipeError) as caught:
        recipes.edit_all(Recipe(), {}, words)
    problem = caught.value.problems[0]
    assert problem.what
    assert problem.allowed or problem.do or ":" in problem.what


def test_settings_are_read_as_toml_or_else_as_text():
    recipe = recipes.edit_all(
        Recipe(),
        {"data.target": "old"},
        [
            "model.width=128",
            "data.target=churned",
            'data.columns={zip="categorical"}',
            "dropout=0.2",
        ],
    )
    assert recipe.model.width == 128
    assert recipe.data.target == "churned"
    assert recipe.data.columns == {"zip": "categorical"}
    assert recipe.model.dropout == 0.2


def test_live_parts_survive_edits_and_make_a_recipe_not_portable():
    live = Recipe().model_copy(update={"live": Live(model=print)})
    edited = recipes.edit(live, {"model.width": 5})
    assert edited.live.model is print
    assert not edited.portable
    assert Recipe().portable
    assert "print" not in recipes.render(edited)


def test_the_schema_is_json_and_knows_bounds_and_search_ranges():
    schema = json.loads(json.dumps(recipes.schema()))
    rate = schema["$defs"]["AlgorithmKnobs"]["properties"]["learning_rate"]
    assert rate["search"]["scale"] == "log"
    assert "live" not in schema["properties"]


def test_every_default_of_a_knob_is_valid_and_has_a_reason():
    infos = recipes.knobs()
    assert len({info.path for info in infos}) == len(infos) > 60
    for info in infos:
        assert info.doc, info.path
        assert info.why, info.path
    assert recipes.from_plain(recipes.to_plain(Recipe())) == Recipe()


def answered(text: str) -> None:
    """A recipe that survives being written, or an error whose every part is fit to be read."""
    try:
        recipe = recipes.parse(text)
    except RecipeError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.what
            assert problem.allowed or problem.do or ":" in problem.what
        assert all(c.isprintable() or c == "\n" for c in str(error))
        return
    assert recipes.parse(recipes.render(recipe)) == recipe


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
@example(b"\xef\xbb\xbfseed = 1\r\n[model]\r\nwidth = 3\r\n")
@example(b"seed = " + b"9" * 5000)
@example(b"a = " + b"[" * 5000)
@example("seed = 1".encode("utf-16"))
def test_any_bytes_are_a_recipe_or_an_error_in_words(tmp_path_factory, blob):
    path = tmp_path_factory.mktemp("recipe") / "r.toml"
    path.write_bytes(blob)
    try:
        assert isinstance(recipes.load(path), Recipe)
    except recipes.TrainwrightError as error:
        assert error.what


VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=6),
        st.dates(), st.times(), st.datetimes(),
        st.sampled_from(["auto", "none", "relu", "3 epochs", "pkg.mod:Net", "\x1b[31m", "<b>"]),
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from([info.path.rpartition(".")[2] for info in recipes.knobs()])


@given(
    st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=5),
    st.dictionaries(
        st.sampled_from(["data", "model", "loss", "algorithm", "live", "modle"]),
        st.dictionaries(NAMES | st.text(max_size=8), VALUES, max_size=8) | VALUES,
        max_size=5,
    ),
)
@settings(max_examples=150, deadline=None)
def test_any_values_under_the_knobs_names_are_a_recipe_or_problems_in_words(top, groups):
    answered(tomli_w.dumps(top | groups))


RENDERED = recipes.render(Recipe())


@given(st.integers(0, len(RENDERED)), st.integers(0, 12), st.text(max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_slip_of_the_pen_in_a_sound_recipe_is_a_recipe_or_problems_in_words(place, cut, typed):
    answered(RENDERED[:place] + typed + RENDERED[place + cut :])


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    path = tmp_path / "r.toml"
    path.write_bytes(b"\xef\xbb\xbfseed = 1\r\n[model]\r\nwidth = 3\r\n")
    assert recipes.load(path) == recipes.edit(Recipe(), {"seed": 1, "model.width": 3})


def test_true_is_no_number_and_bytes_are_no_text():
    """Wrong types that Python would take for right ones."""
    with pytest.raises(RecipeError) as caught:
        recipes.parse("seed = true\n[algorithm]\nclip_norm = false\nlearning_rate = true\n")
    assert [p.path for p in caught.value.problems] == [
        "seed", "algorithm.learning_rate", "algorithm.clip_norm",
    ]  # fmt: skip
    for problem in caught.value.problems:
        assert "number" in problem.allowed
        assert "explain" in problem.do
    name = os.fsdecode(b"caf\xe9")
    for settings_ in ({"data.source": name}, {"data.columns": {name: "numeric"}}):
        with pytest.raises(RecipeError, match="no UTF-8"):
            recipes.edit(Recipe(), settings_)


def test_none_on_the_command_line_is_a_value_where_the_knob_has_it_and_unsets_others():
    words = ["data.augment=none", "model.norm=none", "activation=none", "data.target=none"]
    recipe = recipes.edit_all(recipes.edit(Recipe(), {"data.target": "y"}), {}, words)
    assert (recipe.data.augment, recipe.model.norm, recipe.model.activation) == ("none",) * 3
    assert recipe.data.target is None
