"""Which options do several commands share? Each is written once, with words in the reader's
language."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say

MOST = 1e9  # a count or days: more is a slip of the hand [assumed]

Store = Annotated[
    str, Parameter(name="--store", help=say("option.store"), env_var="TRAINWRIGHT_STORE")
]
# --store may stand in every command line, also where no store is looked at.
AnyStore = Annotated[str | None, Parameter(name="--store", show=False)]
Json = Annotated[bool, Parameter(name="--json", negative="", help=say("option.json"))]
RunName = Annotated[str, Parameter(name="RUN", help=say("option.run"))]
Source = Annotated[str, Parameter(name="SOURCE", help=say("option.source"))]
Target = Annotated[str | None, Parameter(name="--target", help=say("option.target"))]
RecipeFile = Annotated[str | None, Parameter(name="--recipe", help=say("option.recipe"))]
Settings = Annotated[
    Sequence[str] | None,
    Parameter(name="--set", help=say("option.set"), negative="", allow_leading_hyphen=False),
]
Seed = Annotated[int | None, Parameter(name="--seed", help=say("option.seed"))]
Budget = Annotated[str | None, Parameter(name="--budget", help=say("option.budget"))]
AllowCode = Annotated[
    bool, Parameter(name="--allow-code", negative="", help=say("option.allow_code"))
]
Out = Annotated[str | None, Parameter(name="--out", help=say("option.out"))]


def not_negative(option: str, value: float) -> None:
    """Refuses a number below 0, and what is none."""
    if not 0 <= value < MOST:
        raise TrainwrightError(
            phrase("{option} {value} is not possible", option=option, value=shown(value)),
            allowed=phrase("a number from 0 to {most:g}", most=MOST),
            do=phrase("leave {option} out, or write another number", option=option),
        )
