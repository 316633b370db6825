"""Which healthy programs must pass in silence? Usual ones, on which faults are planted, and odd ones
that only look ill; `unusual` builds those that no setting describes."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from clinic.models import Options
from clinic.program import Program
from clinic.setting import Setting, assemble
from clinic.unusual import UNUSUAL

SGD = {"optimizer": "sgd", "learning_rate": 0.1}
MOMENTUM = {"optimizer": "sgd", "learning_rate": 0.05, "extra": (("momentum", 0.9),)}
ODD = {"data": "digits_odd", "loss": "bce_logits"}
CANCER = {"data": "breast_cancer", "loss": "bce_logits"}
FRIEDMAN = {"data": "friedman", "loss": "squared", "steps": 600}
INK = {"data": "digits_ink", "loss": "squared", "steps": 600}
SUMS = {"data": "sums", "loss": "squared", "steps": 500, "learning_rate": 3e-3}
NOISY = {"data": "digits_noisy", "loss": "bce_logits"}
CENTRE = {"data": "digits_centre", "loss": "bce_logits", "steps": 300}
CONVNET = {"architecture": "convnet"}
GRU = {"architecture": "gru"}
ENCODER = {"architecture": "encoder", "options": Options(depth=1)}
OWN = {"architecture": "functional"}


def _setting(*parts: Mapping[str, object], **more: object) -> Setting:
    """Later parts win."""
    choices: dict[str, object] = {}
    for part in (*parts, more):
        choices |= part
    return Setting(**choices)  # pyright: ignore[reportArgumentType]


# Faults are planted on these: name -> setting. At least one each of MLP, convnet, recurrent or
# attention, and an own module with functional calls.
BASES: dict[str, Setting] = {
    "digits_mlp": _setting(),
    "digits_convnet": _setting(CONVNET, learning_rate=3e-3),
    "digits_gru": _setting(GRU, learning_rate=3e-3),
    "digits_encoder": _setting(ENCODER, learning_rate=3e-3),
    "digits_functional": _setting(OWN),
    "digits_mlp_sgd": _setting(SGD),
    "digits_convnet_sgd": _setting(CONVNET, SGD),
    "digits_gru_sgd": _setting(GRU, MOMENTUM),
    "digits_functional_sgd": _setting(OWN, SGD),
    "digits_mlp_batch_norm": _setting(SGD, options=Options(norm="batch")),
    "digits_convnet_batch_norm": _setting(CONVNET, SGD, options=Options(norm="batch")),
    "digits_functional_batch_norm": _setting(OWN, SGD, options=Options(norm="batch")),
    "digits_mlp_four_batch_norm": _setting(SGD, options=Options(norm="batch", depth=4)),
    "digits_mlp_dropout": _setting(options=Options(dropout=0.3)),
    "digits_convnet_dropout": _setting(CONVNET, options=Options(dropout=0.3), learning_rate=3e-3),
    "digits_functional_dropout": _setting(OWN, options=Options(dropout=0.3)),
    "digits_gru_dropout": _setting(GRU, options=Options(dropout=0.3), learning_rate=3e-3),
    "digits_mlp_tanh": _setting(SGD, options=Options(activation="tanh")),
    "digits_convnet_tanh": _setting(CONVNET, SGD, options=Options(activation="tanh")),
    "digits_functional_tanh": _setting(OWN, SGD, options=Options(activation="tanh")),
    "digits_mlp_four": _setting(SGD, options=Options(depth=4)),
    "digits_functional_four": _setting(OWN, SGD, options=Options(depth=4)),
    "digits_convnet_four": _setting(CONVNET, SGD, options=Options(depth=4)),
    "digits_mlp_deep": _setting(options=Options(depth=12, he=True), steps=600),
    "digits_functional_deep": _setting(OWN, options=Options(depth=12, he=True), steps=600),
    "digits_convnet_deep": _setting(CONVNET, options=Options(depth=10, he=True), steps=400),
    "digits_mlp_nll": _setting(SGD, loss="nll", options=Options(head="log_softmax")),
    "digits_convnet_nll": _setting(CONVNET, SGD, loss="nll", options=Options(head="log_softmax")),
    "digits_functional_nll": _setting(OWN, SGD, loss="nll", options=Options(head="log_softmax")),
    "digits_mlp_own_loss": _setting(loss="log_softmax_nll"),
    "flipped_mlp": _setting(data="digits_flipped", options=Options(width=128), steps=600),
    "flipped_convnet": _setting(CONVNET, data="digits_flipped", learning_rate=3e-3, steps=600, options=Options(pool="mean")),
    "flipped_functional": _setting(OWN, data="digits_flipped", options=Options(width=128), steps=600),
    "attention_flipped": _setting(ENCODER, data="digits_flipped", learning_rate=3e-3, steps=600),
    "rings_mlp": _setting(data="rings", loss="bce_logits", learning_rate=3e-3, steps=600),
    "odd_mlp": _setting(ODD),
    "odd_convnet": _setting(CONVNET, ODD, learning_rate=3e-3),
    "odd_gru": _setting(GRU, ODD, learning_rate=3e-3),
    "odd_functional": _setting(OWN, ODD),
    "odd_mlp_bce": _setting(ODD, loss="bce", options=Options(head="sigmoid")),
    "odd_convnet_bce": _setting(CONVNET, ODD, loss="bce", options=Options(head="sigmoid"), learning_rate=3e-3),
    "odd_functional_bce": _setting(OWN, ODD, loss="bce", options=Options(head="sigmoid")),
    "odd_mlp_hinge": _setting(ODD, loss="hinge"),
    "odd_convnet_hinge": _setting(CONVNET, ODD, loss="hinge", learning_rate=3e-3),
    "odd_functional_hinge": _setting(OWN, ODD, loss="hinge"),
    "noisy_mlp": _setting(NOISY, steps=200, extra=(("weight_decay", 1e-3),)),
    "noisy_convnet": _setting(CONVNET, NOISY, steps=300),
    "noisy_functional": _setting(OWN, NOISY, steps=200, extra=(("weight_decay", 1e-3),)),
    "centre_mlp": _setting(CENTRE),
    "centre_convnet": _setting(CONVNET, CENTRE),
    "centre_functional": _setting(OWN, CENTRE),
    "cancer_mlp": _setting(CANCER, steps=200),
    "cancer_functional": _setting(OWN, CANCER, steps=200),
    "friedman_mlp": _setting(FRIEDMAN),
    "friedman_functional": _setting(OWN, FRIEDMAN),
    "ink_convnet": _setting(CONVNET, INK, learning_rate=3e-3),
    "sums_gru": _setting(GRU, SUMS),
    "friedman_mlp_sgd": _setting(FRIEDMAN, SGD, learning_rate=0.05),
    "friedman_functional_sgd": _setting(OWN, FRIEDMAN, SGD, learning_rate=0.05),
    "ink_convnet_sgd": _setting(CONVNET, INK, SGD, learning_rate=0.05),
    "sums_gru_sgd": _setting(GRU, SUMS, MOMENTUM, learning_rate=0.05),
    "waves_gru": _setting(GRU, data="waves", learning_rate=3e-3, options=Options(width=32), steps=300),
    "digits_rnn": _setting(architecture="rnn", learning_rate=1e-3, options=Options(activation="tanh", width=64, depth=1)),
    "digits_rnn_sgd": _setting(SGD, architecture="rnn", options=Options(activation="tanh", width=64, depth=1)),
    "first_sign_gru": _setting(GRU, data="first_sign", loss="bce_logits", learning_rate=5e-3, options=Options(width=32, depth=1), steps=400),
}  # fmt: skip

# Odd but fine.
ODDITIES: dict[str, Setting] = {
    "late_plateau": _setting(data="clean_blobs", loss="bce_logits", steps=1500),
    "plateau_on_iris": _setting(data="iris", learning_rate=1e-2, steps=800, extra=(("weight_decay", 1e-3),), options=Options(width=16, depth=1)),
    "irreducible_noise": _setting(data="blobs", steps=250, extra=(("weight_decay", 1e-3),)),
    "heavy_tails_huber": _setting(data="heavy", loss="huber", steps=400),
    "heavy_tails_absolute": _setting(data="heavy", loss="absolute", steps=400),
    "smooth_l1_diabetes": _setting(data="diabetes", loss="smooth_l1", steps=150, options=Options(width=16, depth=1), extra=(("weight_decay", 1e-2),), learning_rate=3e-3),
    "root_mean_square": _setting(FRIEDMAN, loss="root_mean_square"),
    "quantile": _setting(FRIEDMAN, loss="quantile"),
    "converged_linear_regression": _setting(data="linear", loss="squared", optimizer="sgd", learning_rate=0.05, options=Options(depth=0), steps=1000),
    "logistic_regression": _setting(CANCER, optimizer="sgd", learning_rate=0.3, options=Options(depth=0), steps=400),
    "linear_softmax_digits": _setting(optimizer="sgd", learning_rate=0.05, options=Options(depth=0), steps=500),
    "full_batch": _setting(CANCER, batch_size=10_000, steps=300, learning_rate=3e-3),
    "full_batch_lbfgs": _setting(data="friedman", loss="squared", optimizer="lbfgs", learning_rate=0.5, body="closure", batch_size=10_000, steps=30, extra=(("history_size", 10), ("max_iter", 10)), options=Options(width=16, activation="tanh", depth=1)),
    "small_batch": _setting(batch_size=4, optimizer="sgd", learning_rate=0.01, steps=1200),
    "batch_of_one": _setting(data="iris", batch_size=1, optimizer="sgd", learning_rate=0.01, steps=1000, options=Options(width=16, depth=1)),
    "label_smoothing": _setting(loss="label_smoothing"),
    "weighted_classes": _setting(loss="weighted"),
    "soft_targets": _setting(loss="soft_cross_entropy"),
    "focal": _setting(CONVNET, loss="focal", learning_rate=3e-3),
    "multi_margin": _setting(loss="multi_margin"),
    "one_against_all": _setting(loss="bce_logits_one_hot"),
    "mixup": _setting(body="mixup"),
    "cosine": _setting(MOMENTUM, schedule="cosine"),
    "one_cycle": _setting(CONVNET, optimizer="adamw", learning_rate=1e-2, schedule="one_cycle"),
    "long_warmup": _setting(ENCODER, learning_rate=5e-3, schedule="warmup_half"),
    "exponential_decay": _setting(SGD, schedule="exponential", schedule_per="epoch"),
    "rmsprop": _setting(optimizer="rmsprop", learning_rate=1e-3),
    "adagrad": _setting(optimizer="adagrad", learning_rate=3e-2),
    "adamw_decay": _setting(CONVNET, optimizer="adamw", learning_rate=3e-3, extra=(("weight_decay", 0.05),)),
    "nesterov": _setting(optimizer="sgd", learning_rate=0.05, extra=(("momentum", 0.9), ("nesterov", True))),
    "clipping": _setting(GRU, MOMENTUM, body="clip_5", learning_rate=0.1),
    "clipping_at_one": _setting(architecture="lstm", body="clip_1", learning_rate=3e-3),
    "accumulation": _setting(SGD, body="accumulate_4"),
    "autocast": _setting(CONVNET, body="autocast", learning_rate=3e-3),
    "average": _setting(body="average"),
    "small_penalty": _setting(body="penalty_small"),
    "small_auxiliary": _setting(body="calm_small"),
    "half_dropped": _setting(options=Options(dropout=0.5, width=128), steps=600),
    "slightly_dropped": _setting(ENCODER, options=Options(depth=1, dropout=0.1), learning_rate=3e-3),
    "group_norm": _setting(CONVNET, SGD, options=Options(norm="group")),
    "layer_norm": _setting(OWN, SGD, options=Options(norm="layer", activation="gelu")),
    "wide_sparse_relu": _setting(options=Options(width=256, depth=2), learning_rate=2e-3),
    "leaky": _setting(CONVNET, options=Options(activation="leaky_relu"), learning_rate=3e-3),
    "silu_regression": _setting(FRIEDMAN, options=Options(activation="silu")),
    "one_sigmoid_layer": _setting(learning_rate=5e-3, options=Options(activation="sigmoid", depth=1)),
    "spirals": _setting(data="spirals", learning_rate=5e-3, steps=1000),
    "moons": _setting(data="moons", loss="bce_logits", learning_rate=5e-3, options=Options(width=32), steps=300),
    "wine": _setting(data="wine", options=Options(width=16, depth=1), learning_rate=5e-3, steps=150),
    "lstm_waves": _setting(architecture="lstm", data="waves", learning_rate=5e-3, options=Options(width=32), steps=300),

}  # fmt: skip


def healthy() -> dict[str, Program]:
    """Every healthy program by name."""
    settings = {**BASES, **ODDITIES}
    programs = {
        name: Program(
            name=name,
            family=setting.architecture,
            make=partial(assemble, setting),
            learns=_bar(setting),
        )
        for name, setting in settings.items()
    }
    return programs | {p.name: p for p in UNUSUAL}


def _bar(setting: Setting) -> float:
    """Skill that must be exceeded: half of what is easily had on each set [measured: seeds 0-1]."""
    bars = {"diabetes": 0.2, "digits_noisy": 0.3, "digits_centre": 0.3, "blobs": 0.4, "heavy": 0.3}
    return bars.get(setting.data, 0.6)


def changed(setting: Setting, **options: object) -> Setting:
    """`setting` with other options of its network."""
    return replace(setting, options=replace(setting.options, **options))  # pyright: ignore
