"""What checks annotations while tests run: beartype, told that an int is also a float (PEP 484).

`addopts` in pyproject.toml names it after the rooms that jaxtyping's import hook puts it into.
"""

from collections import OrderedDict

import polars
from beartype import BeartypeConf, FrozenDict, beartype

checked = beartype(
    conf=BeartypeConf(
        is_pep484_tower=True,
        # beartype refuses polars.DataType, whose repr differs between it and its unions
        hint_overrides=FrozenDict({polars.Schema: OrderedDict}),
    )
)
