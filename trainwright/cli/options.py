"""Which options do several commands share? Each is written once, with words in the reader's
language."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from trainwright.core.words import say

Store = Annotated[
    str, Parameter(name="--store", help=say("option.store"), env_var="TRAINWRIGHT_STORE")
]
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
