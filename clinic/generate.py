"""Which programs has nobody written by hand? Healthy ones drawn by number (network, sizes, data,
criterion, rate, batch, length) and the same with a fault planted: what calibration is fitted on."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from clinic.everyday import BEST, ENOUGH
from clinic.fault import Fault
from clinic.program import Program
from clinic.setting import Setting, assemble
from clinic.sick import FAULTS
from clinic.zoo import BASES

PREFIX = "generated/"
ACTIVATIONS = ("relu", "relu", "leaky_relu", "gelu", "elu", "silu", "tanh")
# Sets of the same shape and task, between which a program may be moved.
FLAT_CLASSES = ("digits", "digits_flipped")
TABLE_CLASSES = (*FLAT_CLASSES, "blobs", "spirals", "wine")
TABLE_BINARY = ("digits_odd", "rings", "moons", "breast_cancer", "digits_noisy")
TABLE_NUMBERS = ("friedman", "heavy", "linear", "digits_ink")
# These faults live from their data (something non-linear, ten classes, overlap): no moving.
TIED_TO_DATA = frozenset({"M201", "M207", "M208", "M211", "M214", "D104", "D107", "D108", "D109", "D110", "D111", "L305"})  # fmt: skip
TIED_TO_ACTIVATION = frozenset({"M201", "M202", "M203", "M204", "M205", "M216"})


def draw(number: int) -> tuple[Program, Program]:
    """The healthy program `number` and its sick twin, alike in everything but the fault."""
    dice = random.Random(number)
    fault = dice.choice(_by_code(dice))
    base = dice.choice(fault.on)
    setting = _varied(BASES[base], fault, dice)
    name = f"{PREFIX}{number}"
    family = setting.architecture
    healthy = Program(
        name=name,
        family=family,
        make=partial(assemble, setting),
        learns=ENOUGH * BEST[setting.data],
    )
    sick = Program(
        name=f"{name}/{fault.code}_{fault.kind}/{base}",
        family=family,
        make=partial(fault.make, setting),
        fault=fault.code,
        kind=fault.kind,
        accepted=fault.accepted,
        twin=name,
        harm=fault.harm,
    )
    return healthy, sick


def find(name: str) -> Program:
    """The program of that name, as `draw` made it."""
    number = int(name.removeprefix(PREFIX).split("/")[0])
    healthy, sick = draw(number)
    found = {healthy.name: healthy, sick.name: sick}
    assert name in found, f"{name} is not drawn any more; {number} gives {sorted(found)}"
    return found[name]


def _by_code(dice: random.Random) -> Sequence[Fault]:
    """The variants of one code, each code as likely as another."""
    code = dice.choice(sorted({fault.code for fault in FAULTS}))
    return [fault for fault in FAULTS if fault.code == code]


def _varied(setting: Setting, fault: Fault, dice: random.Random) -> Setting:
    """The base with sizes, rate, batch, length, and what the fault leaves free, drawn anew."""
    options = setting.options
    if options.width >= 16:
        options = replace(options, width=dice.choice((32, 48, 64, 96, 128)))
    if options.depth in (1, 2):
        options = replace(options, depth=dice.choice((1, 2, 3)))
    if fault.code not in TIED_TO_ACTIVATION and setting.architecture != "rnn":
        options = replace(options, activation=dice.choice(ACTIVATIONS))
    rate = setting.learning_rate * 2 ** dice.uniform(-1, 0.7)
    batch = dice.choice((32, 64, 64, 128))
    steps = int(setting.steps * dice.uniform(0.8, 2))
    varied = replace(setting, options=options, learning_rate=rate, batch_size=batch, steps=steps)
    if fault.code in TIED_TO_DATA:
        return varied
    return replace(varied, data=dice.choice(_movable(setting)))


def _movable(setting: Setting) -> Sequence[str]:
    """The sets on which this program would run just as well."""
    table = setting.architecture in ("mlp", "functional")
    for sets, everywhere in (
        (TABLE_CLASSES, FLAT_CLASSES),
        (TABLE_BINARY, ("digits_odd",)),
        (TABLE_NUMBERS, ("digits_ink",)),
    ):
        if setting.data in sets:
            return sets if table else everywhere
    return (setting.data,)
