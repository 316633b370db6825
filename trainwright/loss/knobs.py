"""What is minimised? The knobs of [loss]."""

from typing import Literal

from pydantic import field_validator, model_validator

from trainwright.core.errors import did_you_mean, shown
from trainwright.core.knob import Knobs, Search, knob
from trainwright.core.phrases import phrase

LOSSES = (
    "auto", "cross_entropy", "binary_cross_entropy", "hinge", "zero_one", "squared", "absolute",
    "huber", "quantile", "poisson",
)  # fmt: skip
WITHOUT_GRADIENT = "zero_one"  # trained by optimizer = 'evolution' only: recipe.py

# What other libraries call the same losses.
_OTHER_NAMES = {
    "mse": "squared", "l2": "squared", "mean_squared_error": "squared",
    "mae": "absolute", "l1": "absolute", "mean_absolute_error": "absolute",
    "smooth_l1": "huber", "pinball": "quantile", "svm": "hinge", "margin": "hinge",
    "bce": "binary_cross_entropy", "bce_with_logits": "binary_cross_entropy",
    "log_loss": "cross_entropy", "nll": "cross_entropy", "ce": "cross_entropy",
    "softmax": "cross_entropy", "categorical_cross_entropy": "cross_entropy",
}  # fmt: skip
_ZERO_ONE = frozenset({"zero_one", "0_1", "01", "accuracy", "error", "error_rate", "0/1"})


def without_gradient(called: str) -> str:
    """Why the 0-1 loss is refused, as the user called it, quoted, and what to do."""
    return phrase(
        "{name} cannot be trained on by gradients: the 0-1 loss is piecewise constant, so its "
        "gradient is zero almost everywhere; choose cross_entropy, or hinge (a convex upper bound "
        "of it), and read accuracy as a metric; or write loss.name = 'zero_one' with "
        "algorithm.optimizer = 'evolution', which asks for no gradient",
        name=called,
    )


class LossKnobs(Knobs):
    """What training makes small."""

    name: str = knob(
        "auto",
        "auto, cross_entropy, binary_cross_entropy, hinge, zero_one (with evolution only), "
        "squared, absolute, huber, quantile, poisson, or own code as `pkg.mod:loss`; auto is "
        "the task's usual one.",
        why="cross-entropy and squared error are the log-likelihoods of the usual output "
        "distributions [paper: Goodfellow et al. 2016, ch. 6.2.2]",
        search=Search(scale="choice", choices=LOSSES[:4]),
    )
    label_smoothing: float = knob(
        0.0,
        "Share of the target's probability that is spread over all classes.",
        why="off: it blurs calibration on small tables; 0.1 is usual on images "
        "[paper: Szegedy et al. 2016, arXiv:1512.00567, section 7]",
        ge=0,
        lt=1,
        search=Search(low=0.0, high=0.2),
    )
    class_weights: Literal["none", "balanced"] | dict[str, float] = knob(
        "none",
        "Weight of each class: none, balanced (n / (classes * n_class)), or a table of class name "
        "= weight, where a class left out weighs 1.",
        why="off: weights trade probability for recall, so they must be asked for "
        "[paper: King & Zeng 2001; balanced as in scikit-learn]",
        search=Search(scale="choice", choices=("none", "balanced")),
    )
    huber_delta: float = knob(
        1.0,
        "Error beyond which the Huber loss grows linearly, in units of the trained target.",
        why="one standard deviation of a standardised target [paper: Huber 1964]",
        gt=0,
        le=1e6,
        search=Search(low=0.1, high=10, scale="log"),
    )
    quantile: float = knob(
        0.5,
        "Which quantile the quantile loss predicts; 0.5 is the median.",
        why="[paper: Koenker & Bassett 1978]",
        gt=0,
        lt=1,
    )
    hinge_power: int = knob(
        1,
        "1: hinge, 2: squared hinge.",
        why="1 is the textbook's support vector machine [paper: Cortes & Vapnik 1995]; "
        "2 is what scikit-learn's LinearSVC minimises",
        ge=1,
        le=2,
        search=Search(scale="choice", choices=(1, 2)),
    )

    @field_validator("name")
    @classmethod
    def _is_a_loss(cls, asked: str) -> str:
        plain = asked.strip().lower().replace("-", "_").replace(" ", "_")
        if asked in LOSSES or (":" in asked and not asked.startswith(":")):
            return asked
        if plain in _ZERO_ONE:
            raise ValueError(without_gradient(shown(asked)))
        if plain in _OTHER_NAMES:
            raise ValueError(
                phrase(
                    "{name} is called '{known}' here: write that",
                    name=shown(asked),
                    known=_OTHER_NAMES[plain],
                )
            )
        raise ValueError(
            phrase("{name} is no loss: {near}", name=shown(asked), near=did_you_mean(asked, LOSSES))
        )

    @field_validator("class_weights")
    @classmethod
    def _weights_are_positive(cls, weights: str | dict[str, float]) -> str | dict[str, float]:
        if isinstance(weights, dict):
            bad = [name for name, weight in weights.items() if not weight > 0]
            if bad:
                raise ValueError(
                    phrase(
                        "class {name} weighs {weight:g}: weights must be above 0",
                        name=shown(bad[0]),
                        weight=weights[bad[0]],
                    )
                )
        return weights

    @model_validator(mode="after")
    def _settings_belong_to_the_loss(self) -> "LossKnobs":
        owners = {"huber_delta": "huber", "quantile": "quantile", "hinge_power": "hinge"}
        for setting, owner in owners.items():
            if self.name in LOSSES and self.name != owner and self._is_set(setting):
                raise ValueError(
                    phrase(
                        "{setting} belongs to the {owner} loss, and name is '{loss}': drop "
                        "{setting}, or write name = '{owner}'",
                        setting=setting,
                        owner=owner,
                        loss=self.name,
                    )
                )
        if self.name in LOSSES[3:] and self._is_set("label_smoothing"):
            raise ValueError(
                phrase(
                    "label_smoothing needs class probabilities, which '{loss}' has not: drop it, "
                    "or choose cross_entropy",
                    loss=self.name,
                )
            )
        if self.name in LOSSES[5:] and self._is_set("class_weights"):
            raise ValueError(
                phrase(
                    "class_weights needs classes, and '{loss}' is a loss for numbers: drop it",
                    loss=self.name,
                )
            )
        return self

    def _is_set(self, setting: str) -> bool:
        return getattr(self, setting) != type(self).model_fields[setting].default
