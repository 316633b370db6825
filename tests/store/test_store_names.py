"""Names are fit, fresh, and easy to say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.errors import RunNotFound, StoreError
from trainwright.store.names import ADJECTIVES, ANIMALS, check_name, meant_run, new_name


def test_there_are_64_adjectives_and_64_animals_each_once():
    assert len(set(ADJECTIVES)) == len(ADJECTIVES) == 64
    assert len(set(ANIMALS)) == len(ANIMALS) == 64
    assert all(word.isascii() and word.isalpha() and word.islower() for word in ADJECTIVES)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in ANIMALS)


def test_a_new_name_is_three_words_and_fit():
    for _ in range(50):
        adjective, animal, number = check_name(new_name(lambda _: False)).split("-")
        assert adjective in ADJECTIVES
        assert animal in ANIMALS
        assert 1 <= int(number) <= 99


def test_a_taken_name_is_not_given_again():
    given_out: set[str] = set()
    for _ in range(200):
        name = new_name(given_out.__contains__)
        assert name not in given_out
        given_out.add(name)


def test_numbers_grow_when_all_short_names_are_taken():
    assert int(new_name(lambda name: int(name.split("-")[2]) <= 99).split("-")[2]) > 99


@settings(deadline=None)
@given(name=st.text(max_size=100))
def test_a_name_is_safe_to_print_and_to_write_or_is_refused_with_what_is_allowed(name):
    try:
        check_name(name)
    except StoreError as error:
        refusal = error
    else:
        assert name.isprintable()
        assert not set(name) & set("/\\:*?\"<>| '`$;&%")
        assert name[0] not in ".-"
        return
    assert refusal.allowed
    assert str(refusal).replace("\n", "").isprintable()


@settings(deadline=None)
@given(
    ids=st.lists(st.text(alphabet="ab-1", min_size=1, max_size=6), unique=True),
    asked=st.text(alphabet="ab-1"),
)
def test_the_run_that_is_meant_begins_as_asked_and_is_the_only_one(ids, asked):
    try:
        found = meant_run(asked, ids, "memory")
    except RunNotFound:
        assert asked not in ids
        assert not asked or sum(one.startswith(asked) for one in ids) != 1
    else:
        assert found == asked or [one for one in ids if one.startswith(asked)] == [found]


def test_many_candidates_are_cut_short():
    ids = [f"run-{number}" for number in range(1000)]
    with pytest.raises(RunNotFound) as error:
        meant_run("run", ids, "memory")
    assert "and 992 more" in str(error.value)
    assert len(str(error.value)) < 300
