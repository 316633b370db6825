"""Where is a program found by its name? All of the clinic's programs in one mapping, and the small
choice that every test run diagnoses."""

from functools import cache

from clinic import everyday, generate
from clinic.peers import peers
from clinic.program import Program
from clinic.sick import sick
from clinic.zoo import healthy

QUICK = (
    "digits_mlp", "digits_convnet_sgd", "friedman_mlp", "fine_tuning_mlp",
    "A401_sgd/digits_mlp_sgd", "A402_1e-5/digits_mlp", "M206_zero/digits_mlp",
    "M202_low_biases/digits_functional", "L301_double_softmax/digits_mlp_sgd",
    "D105_shuffled/digits_mlp", "A406_sgd/digits_mlp_sgd", "D111_nan/digits_convnet",
    "M201_no_activation/rings_mlp", "L302_relu/friedman_mlp",
)  # fmt: skip


@cache
def programs() -> dict[str, Program]:
    """Name -> program: healthy, sick, and those of the comparison with peers."""
    return {**healthy(), **sick(), **peers()}


def find(name: str) -> Program:
    """The program of that name, drawn ones too."""
    if name.startswith(everyday.PREFIX):
        return everyday.find(name)
    return generate.find(name) if name.startswith(generate.PREFIX) else programs()[name]


def choose(
    *, only: tuple[str, ...] = (), zoo: bool = False, peer: bool = False, quick: bool = False
) -> list[Program]:
    """The programs asked for: `only` are rule codes or beginnings of names, with their twins."""
    every = programs()
    if quick:
        return [every[name] for name in QUICK]
    if peer:
        return [p for name, p in every.items() if name.startswith("peers")]
    if zoo:
        return list(healthy().values())
    if not only:
        return [p for name, p in every.items() if not name.startswith("peers")]
    chosen = [p for p in every.values() if p.fault in only or p.name.startswith(only)]
    twins = {p.twin: every[p.twin] for p in chosen if p.twin in every}
    return list({p.name: p for p in (*chosen, *twins.values())}.values())
