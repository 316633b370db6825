"""What do people train on an ordinary day? Programs drawn by number from wide, sensible choices that
no rule was made on: those that come near what their data allow have to pass in silence."""

import random
from functools import partial

from clinic.models import Options
from clinic.program import Program
from clinic.setting import Setting, assemble

PREFIX = "everyday/"
ENOUGH = 0.9  # of the best skill seen on the same data: such a run is a success [assumed]
# Best skill of the zoo's own programs [measured: seed 0].
BEST = {
    "digits": 0.99, "digits_flipped": 0.97, "blobs": 0.8, "spirals": 1.0, "wine": 0.98, "iris": 0.97,
    "digits_odd": 0.98, "digits_noisy": 0.52, "rings": 0.94, "moons": 0.96, "breast_cancer": 1.0,
    "friedman": 0.99, "heavy": 0.85, "linear": 0.99, "digits_ink": 0.97, "diabetes": 0.49,
    "sums": 0.92, "first_sign": 1.0, "waves": 1.0, "digits_centre": 0.72, "clean_blobs": 1.0,
}  # fmt: skip
TABLES = tuple(BEST)[:19]
IMAGES = ("digits", "digits", "digits_flipped", "digits_odd", "digits_ink")
SEQUENCES = ("sums", "first_sign", "waves", "digits", "digits_odd")
NUMBERS = frozenset({"friedman", "heavy", "linear", "digits_ink", "diabetes", "sums"})
BINARY = frozenset({"digits_odd", "digits_noisy", "rings", "moons", "breast_cancer", "first_sign"})
RATES = {"sgd": (0.01, 0.03, 0.1, 0.3), "adam": (3e-4, 1e-3, 1e-3, 3e-3, 1e-2),
         "adamw": (1e-3, 3e-3), "rmsprop": (3e-4, 1e-3), "adagrad": (1e-2, 3e-2)}  # fmt: skip


def draw(number: int) -> Program:
    """Program `number`; whether it learns enough to count as healthy shows when it was run."""
    dice = random.Random(f"everyday {number}")
    architecture = dice.choice(
        ("mlp", "mlp", "functional", "convnet", "gru", "lstm", "rnn", "encoder")
    )
    table = architecture in ("mlp", "functional")
    data = dice.choice(
        TABLES if table else IMAGES if architecture == "convnet" else SEQUENCES
    )  # fmt: skip
    if table and data in ("sums", "first_sign", "waves"):
        data = "digits"
    optimizer = dice.choice(("sgd", "sgd", "adam", "adam", "adam", "adamw", "rmsprop", "adagrad"))
    momentum = optimizer == "sgd" and dice.random() < 0.5
    rate = dice.choice(RATES[optimizer]) * (0.2 if momentum else 1.0)
    loss, head = dice.choice(_losses(data))
    schedule = dice.choice((None, None, None, "cosine", "step_tenth"))
    setting = Setting(
        data=data,
        architecture=architecture,
        options=_options(dice, architecture, head),
        loss=loss,
        optimizer=optimizer,
        learning_rate=rate,
        extra=(("momentum", 0.9),) if momentum else (),
        schedule=schedule,
        body=dice.choice(("plain", "plain", "plain", "clip_1", "penalty_small", "average")),
        batch_size=dice.choice((8, 16, 32, 64, 128)),
        schedule_per="epoch" if schedule == "step_tenth" else "step",
        steps=int(2 ** dice.uniform(7.5, 11.5)),
    )
    make = partial(assemble, setting)
    name, bar = f"{PREFIX}{number}", ENOUGH * BEST[data]
    return Program(name=name, family=architecture, make=make, learns=bar)


def find(name: str) -> Program:
    """The program of that name."""
    return draw(int(name.removeprefix(PREFIX)))


def _losses(data: str) -> tuple[tuple[str, str], ...]:
    """(criterion, head) pairs that belong together."""
    if data in NUMBERS:
        return (
            ("squared", "linear"),
            ("squared", "linear"),
            ("absolute", "linear"),
            ("huber", "linear"),
        )
    if data in BINARY:
        return ("bce_logits", "linear"), ("bce", "sigmoid"), ("hinge", "linear")
    return (
        ("cross_entropy", "linear"),
        ("cross_entropy", "linear"),
        ("nll", "log_softmax"),
        ("label_smoothing", "linear"),
        ("log_softmax_nll", "linear"),
        ("bce_logits_one_hot", "linear"),
    )


def _options(dice: random.Random, architecture: str, head: str) -> Options:
    depth = dice.choice((1, 1, 2, 2, 3, 4, 6))
    if architecture in ("gru", "lstm", "rnn", "encoder"):
        depth = min(depth, 2)
    names = (
        "relu",
        "relu",
        "relu",
        "leaky_relu",
        "gelu",
        "elu",
        "silu",
        "tanh",
        "sigmoid",
        "softplus",
    )
    activation = dice.choice(names[:7] if architecture == "encoder" else names)
    normed = architecture in ("mlp", "convnet", "functional") and dice.random() < 0.3
    norm = (
        dice.choice(("batch", "group" if architecture == "convnet" else "layer"))
        if normed
        else None
    )
    return Options(
        width=dice.choice((16, 32, 64, 64, 128, 256)),
        depth=depth,
        activation=activation,
        norm=norm,
        dropout=dice.choice((0.0, 0.0, 0.0, 0.1, 0.2, 0.5)),
        head=head,
        he=activation == "relu" and architecture in ("mlp", "convnet") and dice.random() < 0.3,
    )
