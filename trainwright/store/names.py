"""What is a run called? Fresh names such as `swift-otter-12`, which names are fit, and which run a
half-typed or misspelt name means."""

import os
import re
from collections.abc import Callable, Sequence

from trainwright.core.errors import RunNotFound, StoreError, nearest, shown
from trainwright.core.phrases import phrase

LONGEST_NAME = 80  # characters; fits a listing and a file name [assumed]
LISTED_NAMES = 8  # so many candidates are named in a message [assumed]

_ADJECTIVES = (
    "able agile amber ample apt aware bold brave bright brisk calm candid careful cheerful clear "
    "clever cosy crisp curious dapper daring deft eager early earnest fair fleet fond frank fresh "
    "gentle glad golden grand happy hardy honest humble jolly keen kind lively loyal lucid lucky "
    "mellow merry mild neat nimble noble patient plucky polite proud quick quiet rapid ready "
    "sharp sincere steady swift witty"
)
ADJECTIVES = tuple(_ADJECTIVES.split())
_ANIMALS = (
    "ant badger bat bear beaver bee bison bittern cat cheetah cod crane cricket crow deer dingo "
    "dolphin dove eagle eel egret elk falcon ferret finch fox frog gecko gibbon goose gull hare "
    "heron horse ibex ibis jackal jay kestrel koala lark lemur lion llama lynx marten mole moose "
    "newt otter owl panda parrot puffin rabbit raven robin salmon seal swan tapir tern toad "
    "wren"
)
ANIMALS = tuple(_ANIMALS.split())


def new_name(taken: Callable[[str], bool]) -> str:
    """A name that is not `taken`: adjective-animal-number, random from the system, not the seed
    (two runs of one recipe need two names). The number grows when short ones are used up."""
    highest = 99
    while True:
        number = 1 + _random(highest)
        name = f"{ADJECTIVES[_random(len(ADJECTIVES))]}-{ANIMALS[_random(len(ANIMALS))]}-{number}"
        if not taken(name):
            return name
        highest = min(2 * highest, 10**12)


def is_fit(name: str) -> bool:
    """Whether a run may be called so."""
    return len(name) <= LONGEST_NAME and bool(re.fullmatch(r"[^\W_][\w.-]*", name))


def check_name(name: str) -> str:
    """`name`, when it is fit to be a run's id. Raises StoreError."""
    if is_fit(name):
        return name
    raise StoreError(
        phrase("{name} cannot be the name of a run", name=shown(name)),
        allowed=phrase(
            "letters, digits, '-', '_' and '.', beginning with a letter or digit, at most "
            "{longest} characters",
            longest=LONGEST_NAME,
        ),
        do=phrase("choose another name, or none: one is made up"),
    )


def name_taken(name: str, place: str) -> StoreError:
    """The error for a second run of one name."""
    return StoreError(
        phrase("there is a run {name} in {place} already", name=shown(name), place=place),
        allowed=phrase("a name that no run has"),
        do=phrase("choose another name, go on with `trainwright resume`, or delete the run first"),
    )


def meant_run(run_id: str, ids: Sequence[str], place: str) -> str:
    """The one of `ids` (newest first) that equals `run_id` or alone begins with it.

    Raises RunNotFound.
    """
    if run_id in ids:
        return run_id
    begin = [one for one in ids if run_id and one.startswith(run_id)]
    if len(begin) == 1:
        return begin[0]
    if begin:
        raise RunNotFound(
            phrase(
                "{num} runs in {place} begin with {run}",
                num=len(begin),
                place=place,
                run=shown(run_id),
            ),
            allowed=_some(begin),
            do=phrase("type more of the name"),
        )
    raise run_not_found(run_id, ids, place)


def run_not_found(run_id: str, ids: Sequence[str], place: str) -> RunNotFound:
    """The error for an unknown run, with the name that was probably meant."""
    if is_path(run_id):
        return file_for_run(run_id, allowed=phrase("the name of a run"))
    what = phrase("there is no run {run} in {place}", run=shown(run_id), place=place)
    if not ids:
        return RunNotFound(
            what, do=phrase("this store holds no runs yet: train one, or name another store")
        )
    near = nearest(run_id, ids)
    listing = phrase("list them all with `trainwright runs`")
    do = phrase("did you mean '{near}'?", near=near) if near else listing
    return RunNotFound(what, allowed=_some(ids), do=do)


def is_path(text: str) -> bool:
    """Whether `text`, no run's name, was meant for a file: it has a separator or a suffix."""
    return bool(re.search(r"[/\\]|\.[A-Za-z]\w*$", text))


def file_for_run(path: str, *, allowed: str) -> RunNotFound:
    """The error for a file that is not there, or is not taken, where no run has that name."""
    if os.path.exists(path):
        return RunNotFound(
            phrase("{path} is a file or folder, and no run", path=shown(path)),
            allowed=allowed,
            do=phrase("`trainwright check` looks at data, `trainwright fit` trains on it"),
        )
    return RunNotFound(
        phrase("there is no file {path}, and no run of that name", path=shown(path)),
        allowed=allowed,
        do=phrase("check the path; `trainwright runs` lists the runs"),
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - LISTED_NAMES
    listed = ", ".join(names[:LISTED_NAMES])
    return phrase("{listed}, and {more} more", listed=listed, more=more) if more > 0 else listed


def _random(below: int) -> int:
    """Uniform in [0, below) but for a share of 2^-64 * below, which is nothing here."""
    return int.from_bytes(os.urandom(8), "big") % below
