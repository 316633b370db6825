"""What is known of a training program without training it? Plain values, measured by `check`, read
by rules and kept in the record. None: not measured, so that a rule can say "cannot tell"."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

HeadKind = Literal[
    "linear", "softmax", "log_softmax", "sigmoid", "tanh", "non_negative", "bounded", "constant",
]  # fmt: skip
Expects = Literal["logits", "probabilities", "log_probabilities", "values", "margins"]
Family = Literal["cross_entropy", "binary_cross_entropy", "squared", "absolute", "hinge", "other"]
TargetKind = Literal["indices", "one_hot", "multi_hot", "zero_one", "plus_minus_one", "real"]
TaskKind = Literal["multiclass", "binary", "multilabel", "regression", "sequence", "other"]
LayerKind = Literal["linear", "convolution", "recurrent", "embedding", "attention", "norm", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts:
    """The inputs, over at most a few thousand training examples.

    `feature_*` are over the features of a table or the channels of an image. `wild_share` is the
    share of features whose |mean| or sd lies outside [0.02, 20]; shares are 0..1.
    """

    kind: Literal["table", "image", "sequence", "tokens", "other"]
    num_examples: int
    num_features: int
    low: float
    high: float
    mean: float
    sd: float
    feature_sd_low: float | None = None  # smallest sd of a feature that varies
    feature_sd_high: float | None = None
    feature_offset_high: float | None = None  # largest |mean| / sd of a feature that varies
    constant_features: tuple[int, ...] = ()
    nonfinite_rows: int = 0
    outlier_rows: tuple[int, ...] = ()  # 10 times as far from the median row as usual
    duplicate_share: float = 0.0
    overlap_share: float | None = None  # of validation examples that are also training examples
    shift_sd: float | None = None  # median over features: |train mean - valid mean| in train sd
    shift_scale: float | None = None  # median over features: valid sd / train sd, or its inverse


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """The targets, as the loss gets them, over the same examples. `low high mean sd` are in
    the user's unit, over all target columns; `counts` by class, in class order."""

    kind: TargetKind
    task: TaskKind
    shape: tuple[int, ...]  # of one batch, without the batch axis
    num_classes: int = 0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    sd: float = 0.0
    kurtosis: float | None = None  # excess; of real targets
    counts: tuple[int, ...] = ()
    valid_counts: tuple[int, ...] = ()
    conflicting_share: float = 0.0  # equal inputs, other target
    neighbour_agreement: float | None = None  # classes: share; real: 1 - MSE/variance of the 5 NN
    neighbour_chance: float | None = None  # the same with shuffled targets, mean
    neighbour_chance_high: float | None = None  # and its 99 % point
    # the feature that alone predicts best, its score, and the next best one's
    single_feature: tuple[int, float, float] | None = None
    order_correlation: float | None = None  # of neighbours in file order, classes or values
    bad_values: int = 0  # NaN, infinite, or not what the loss takes
    # real targets of few whole numbers: how often a near neighbour has the same one, and by how
    # much the others differ on average; numbers of classes differ by anything, degrees by one
    neighbour_same: float | None = None
    neighbour_apart: float | None = None
    codes: tuple[float, float] | None = None  # numbers for no and yes where the loss wants 0 and 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFacts:
    """What the model's outputs can be, whatever its weights (found by drawing them anew)."""

    kind: HeadKind
    num_outputs: int
    shape: tuple[int, ...]  # of one batch, without the batch axis
    low: float  # reachable with any weights that were drawn
    high: float
    sums_over: Literal["class", "batch", "other"] | None = None  # outputs sum to one over this axis
    first_low: float = 0.0  # with the weights as given
    first_high: float = 0.0
    first_sd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LossFacts:
    """What the criterion does, found by feeding it outputs made by hand.

    Losses are per the criterion's own reduction on the training sample. `prior` is that of the
    best constant outputs, `perfect` of outputs equal to what it expects for the targets,
    `reachable` of the best outputs inside the head's reachable range.
    """

    expects: Expects | None = None
    family: Family | None = None
    target_kind: TargetKind | None = None  # what it takes targets for
    exclusive: bool | None = None  # outputs compete (softmax-like), or each stands alone
    falls_when_right_rises: bool | None = None
    scalar: bool = True
    reduction: Literal["mean", "sum", "other"] | None = None
    broadcasts: bool = False  # outputs [N] against targets [N, 1] become N x N
    differentiable: bool = True
    nonfinite_at: str | None = None  # an input inside the head's range where it is not finite
    initial: float | None = None
    prior: float | None = None
    perfect: float | None = None
    reachable: float | None = None
    error: str | None = None  # it raised on the model's own outputs and targets


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """One layer that holds weights, in the order in which it runs."""

    name: str
    kind: LayerKind
    fan_in: int
    fan_out: int
    nonlinearity: str | None = None  # relu, sigmoid, … of what follows before the next layer
    line: str | None = None  # file:line of the call in the user's code, where known
    weight_sd: float | None = None
    he_sd: float | None = None  # sqrt(2 / fan_in)
    rows_equal: bool = False
    constant: bool = False  # every weight the same number
    bias_high: float | None = None  # largest |bias|
    bias_mean: float | None = None
    preactivation_sd: float | None = None  # over the sample, at the weights as given
    preactivation_mean: float | None = None
    dead_share: float | None = None  # units that no example of the sample activates
    saturated_share: float | None = None  # of values in the flat part of the non-linearity
    gradient_rms: float | None = None  # of the loss by this layer's outputs
    weight_gradient_norm: float | None = None
    residual_start: bool = False  # zero-initialised last layer of a branch with a skip
    has_norm: bool = False  # a norm layer follows before the non-linearity
    units: int = 0  # or channels; 0: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The network as given."""

    num_parameters: int
    layers: tuple[LayerFacts, ...] = ()
    affine: bool | None = None  # the whole map is affine in its input (eval mode)
    linear_pairs: tuple[tuple[str, str], ...] = ()  # layers with only linear maps between them
    repeated_nonlinearities: tuple[str, ...] = ()  # after these layers an activation runs twice
    normalisation: tuple[str, ...] = ()  # kinds in use: batch layer group instance rms
    dropout: tuple[float, ...] = ()
    mode_difference: float | None = None  # |train - eval outputs| / sd, beyond dropout's own
    mixes_examples: float | None = None  # share of foreign gradient in eval mode
    sees_future: float | None = None  # share of gradient from later positions
    is_training: bool = True
    gradient_missing: tuple[str, ...] = ()  # parameters that no path of the loss reaches
    gradient_zero: tuple[str, ...] = ()  # reached, and the gradient is exactly zero
    frozen: tuple[str, ...] = ()  # requires_grad is off
    cuts: tuple[tuple[str, str], ...] = ()  # (operation, file:line) that cuts the graph
    bad_gradients: tuple[tuple[str, float], ...] = ()  # custom functions: name, relative error
    unregistered: tuple[str, ...] = ()  # modules kept where parameters() cannot see them
    input_norm: bool = False  # a norm layer comes before the first weights


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerFacts:
    """The optimiser as given; values are of the first group."""

    name: str
    learning_rate: float
    momentum: float | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    weight_decay: float = 0.0
    maximize: bool = False
    missing: tuple[str, ...] = ()  # trainable parameters of the model that no optimiser holds
    foreign: int = 0  # parameters that are not the model's
    twice: tuple[str, ...] = ()  # parameters in two optimisers or groups


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFacts:
    """How good the answers are, and what can be had: accuracy, or R2 for real targets; balanced
    accuracy where rare classes are what matters.

    `reference` is the best of quick learners, cross-validated on the training sample (or on the
    validation split where there is one), `constant` the best constant answer, `linear` the best
    linear one.
    """

    metric: Literal["accuracy", "r2", "balanced_accuracy"]
    constant: float
    linear: float | None = None
    reference: float | None = None
    reference_name: str = ""
    reference_sd: float | None = None  # standard error of the reference
    confident_error: float | None = None  # out of fold, among the surest half of predictions
    train: float | None = None  # of the trained model
    valid: float | None = None
    recalls: tuple[float, ...] = ()  # by class, on validation if there is any
    num_train: int = 0
    num_valid: int = 0
    train_loss: float | None = None  # the criterion on training rows, in eval mode
    of_step: int | None = None  # whose weights were kept and scored; None: the last step's
    confident_score: float | None = None  # of the learner whose errors `confident_error` are


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it. `unseen` says what could not be measured: name of the probe -> reason."""

    inputs: InputFacts | None = None
    targets: TargetFacts | None = None
    head: HeadFacts | None = None
    loss: LossFacts | None = None
    model: ModelFacts | None = None
    optimizer: OptimizerFacts | None = None
    score: ScoreFacts | None = None
    batch_size: int | None = None
    steps_per_epoch: int | None = None
    total_steps: int | None = None  # planned
    penalty_share: float | None = None  # of the trained loss that is not the criterion's
    warnings: tuple[str, ...] = ()  # that torch gave during the probes (broadcasting)
    unseen: Mapping[str, str] = field(default_factory=dict)


def with_known(facts: Facts, known: ScoreFacts) -> Facts:
    """The facts with what can be had by another measurement; as they are where that one was of
    another metric."""
    if facts.score is None or facts.score.metric != known.metric:
        return facts
    score = replace(facts.score, reference=known.reference, constant=known.constant,
                    reference_name=known.reference_name,
                    reference_sd=known.reference_sd)  # fmt: skip
    return replace(facts, score=score)
