"""How is a criterion misused? L301-L307: wrong pairs, ranges, families, reductions, unstable forms,
cut paths, terms that drown the rest."""

from clinic.fault import Fault, both, built_with, choosing
from clinic.plant.data import FOUR, FOUR_SGD, ODD, REAL, REAL_SGD, leaked_label
from clinic.program import Built

THREE = ("digits_mlp", "digits_convnet", "digits_functional")
THREE_ODD = ("odd_mlp", "odd_convnet", "odd_functional")
BCE = ("odd_mlp_bce", "odd_convnet_bce", "odd_functional_bce")
HINGE = ("odd_mlp_hinge", "odd_convnet_hinge", "odd_functional_hinge")
NLL = ("digits_mlp_nll", "digits_convnet_nll", "digits_functional_nll")


def sure_soon(built: Built) -> None:
    """The answer lies in the input, first and last, so the network grows certain within the run."""
    leaked_label(built)
    for x in (built.X, built.Xv):
        flat = x.flatten(1)
        flat[:, 0] *= 4
        flat[:, -1] = flat[:, 0]
    built.truth = None


FAULTS: tuple[Fault, ...] = (
    Fault(code="L301", kind="double_softmax", on=FOUR_SGD, change=built_with(head="softmax")),
    Fault(code="L301", kind="logits_into_nll", on=NLL, change=built_with(head="linear")),
    Fault(code="L301", kind="softmax_into_nll", on=NLL, change=built_with(head="softmax")),
    Fault(code="L301", kind="logits_into_bce", on=BCE, change=built_with(head="linear")),
    Fault(code="L301", kind="double_sigmoid", on=(*THREE_ODD, "odd_gru"), change=built_with(head="sigmoid")),
    Fault(code="L301", kind="sigmoid_exclusive", on=FOUR_SGD, change=built_with(head="sigmoid")),
    Fault(code="L301", kind="one_unit_softmax", on=BCE, change=built_with(head="softmax")),
    Fault(code="L301", kind="hinge_zero_one", on=HINGE, change=choosing(loss="hinge_zero_one")),
    Fault(code="L302", kind="relu", on=REAL, change=built_with(head="relu")),
    Fault(code="L302", kind="sigmoid", on=REAL, change=built_with(head="sigmoid")),
    Fault(code="L302", kind="tanh", on=REAL, change=built_with(head="tanh")),
    Fault(code="L303", kind="squared_on_softmax", on=FOUR_SGD, change=both(choosing(loss="squared_one_hot"), built_with(head="softmax"))),
    Fault(code="L303", kind="absolute_on_softmax", on=FOUR_SGD, change=both(choosing(loss="absolute_one_hot"), built_with(head="softmax"))),
    Fault(code="L303", kind="class_number", on=THREE, change=choosing(loss="class_number", outputs=1)),
    Fault(code="L303", kind="cross_entropy_on_reals", on=REAL, change=choosing(loss="real_cross_entropy")),
    Fault(code="L304", kind="broadcast", on=REAL, change=choosing(loss="broadcast_squares")),
    Fault(code="L304", kind="sum", on=FOUR_SGD, change=choosing(loss="sum_cross_entropy"), accepted=("A401",)),
    Fault(code="L304", kind="sum_squares", on=REAL_SGD, change=choosing(loss="sum_squares"), accepted=("A401",)),
    Fault(code="L304", kind="sign", on=(*FOUR, "digits_encoder"), change=choosing(loss="wrong_sign"), accepted=("A407",)),
    Fault(code="L304", kind="sign_squares", on=REAL, change=choosing(loss="wrong_sign_squares"), accepted=("A407",)),
    Fault(code="L305", kind="log_of_zero", on=ODD, change=choosing(loss="raw_log_bce", learning_rate=1e-2, steps=800), plant=sure_soon),
    Fault(code="L305", kind="raw_exponential", on=("digits_mlp", "flipped_mlp", "digits_functional"), change=choosing(loss="raw_log_softmax", learning_rate=3e-2), accepted=("A401",)),
    Fault(code="L306", kind="argmax", on=THREE, change=both(choosing(loss="soft_cross_entropy"), built_with(misuse="argmax"))),
    Fault(code="L306", kind="round", on=REAL, change=built_with(misuse="round")),
    Fault(code="L306", kind="round_trip", on=(*THREE, "digits_gru"), change=built_with(misuse="reborn")),
    Fault(code="L307", kind="calm", on=REAL, change=choosing(body="calm_large"), accepted=("M209",)),
    Fault(code="L307", kind="absolute", on=FOUR, change=choosing(body="penalty_absolute"), accepted=("M209",)),
)  # fmt: skip
