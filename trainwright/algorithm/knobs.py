"""How are the weights moved? The knobs of [algorithm]."""

from typing import Literal

from pydantic import model_validator

from trainwright.core.knob import Knobs, Search, knob
from trainwright.core.phrases import phrase

Optimizer = Literal["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "muon", "evolution"]
Schedule = Literal[
    "constant", "linear", "cosine", "step", "one_cycle", "warmup_stable_decay", "plateau"
]
OPTIMIZERS: tuple[Optimizer, ...] = (  # those that a gradient feeds
    "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "muon",
)  # fmt: skip
WITHOUT_MOMENTUM = frozenset({"adagrad"})
WITH_BETA2 = frozenset({"adam", "adamw", "nadam", "rmsprop", "muon", "evolution"})
WITH_NESTEROV = frozenset({"sgd", "muon"})
WITHOUT_FINAL_SHARE = frozenset({"constant", "step"})


class AlgorithmKnobs(Knobs):
    """What happens between a gradient and the next weights."""

    optimizer: Optimizer = knob(
        "adamw",
        "The rule that turns a gradient into a step; evolution needs none: it tries changed "
        "weights and moves where they lose least.",
        why="Adam and its kin stay near the best across problems without tuning "
        "[paper: Schmidt et al. 2021, arXiv:2007.01547]",
        search=Search(scale="choice", choices=("adamw", "sgd", "muon")),
    )
    learning_rate: float | Literal["auto", "measured"] = knob(
        "auto",
        "Peak size of a step; auto is the optimiser's customary rate; of adam and adamw 3 times as "
        "much for `auto` tables, 10 times for `auto` images and sound; measured tries some in "
        "short trainings before the run.",
        why="the one knob most worth tuning [paper: Bengio 2012, arXiv:1206.5533, section 3.1]; "
        "the customary rates and their sources are in algorithm/resolve.py",
        search=Search(low=1e-5, high=1.0, scale="log"),
        gt=0,
        le=1e3,
    )
    momentum: float | Literal["auto"] = knob(
        "auto",
        "Share of the last direction kept in the next: momentum of sgd, rmsprop and muon, beta1 of "
        "adam, adamw, nadam and evolution; auto is 0.9, for muon 0.95, for rmsprop 0.",
        why="[paper: Sutskever et al. 2013; Kingma & Ba 2015, arXiv:1412.6980; Jordan 2024, Muon]",
        search=Search(low=0.5, high=0.99),
        ge=0,
        lt=1,
    )
    nesterov: bool | Literal["auto"] = knob(
        "auto",
        "Look ahead along the momentum (sgd, muon); auto does so for muon only.",
        why="muon was published with it [paper: Jordan 2024]; for sgd it changes little [assumed]",
    )
    beta2: float | Literal["auto"] = knob(
        "auto",
        "Memory of the mean squared gradient (adam, adamw, nadam, evolution, muon's adamw part, "
        "and rmsprop's alpha); auto is 0.999, for rmsprop 0.99, for `auto` tables 0.95.",
        why="[paper: Kingma & Ba 2015, arXiv:1412.6980; Hinton 2012, lecture 6e, as torch has it]",
        search=Search(low=0.9, high=0.9999),
        ge=0,
        lt=1,
    )
    eps: float | Literal["auto"] = knob(
        "auto",
        "Added to the root mean squared gradient, so that a tiny gradient makes no huge step; auto "
        "is 1e-8, for adagrad 1e-10.",
        why="[paper: Kingma & Ba 2015, arXiv:1412.6980; torch's defaults]",
        ge=0,
        le=1,
    )
    population: int | Literal["auto"] = knob(
        "auto",
        "evolution: changed weights that are tried at each step, half of them mirror images; even; "
        "auto is 64.",
        why="more tries see the slope more clearly and cost as much more [measured: docs/LOG.md]",
        unit="tries",
        ge=2,
        le=100_000,
    )
    sigma: float | Literal["auto"] = knob(
        "auto",
        "evolution: standard deviation of the change of each weight in a try; auto is 0.2.",
        why="[paper: Salimans et al. 2017, arXiv:1703.03864; measured: docs/LOG.md]",
        search=Search(low=1e-3, high=0.3, scale="log"),
        gt=0,
        le=100,
    )
    weight_decay: float | Literal["auto"] = knob(
        "auto",
        "Each step shrinks the weights by rate * weight_decay, apart from the gradient; never "
        "biases and norms; auto is 0.01 for adamw, 0.1 for muon, 0 for others.",
        why="[paper: Loshchilov & Hutter 2019, arXiv:1711.05101; Liu et al. 2025, "
        "arXiv:2502.16982 for muon]",
        search=Search(low=1e-5, high=1.0, scale="log"),
        ge=0,
        le=100,
    )
    l1: float = knob(
        0.0,
        "Strength of l1 * sum |w| over the weights; never biases and norms. The loss shown is "
        "without it.",
        why="off unless sparse weights are wanted [paper: Tibshirani 1996]",
        search=Search(low=1e-6, high=1e-1, scale="log"),
        ge=0,
        le=1e3,
    )
    l1_form: Literal["proximal", "penalty"] = knob(
        "proximal",
        "proximal: weights are pulled to zero after each step and reach it exactly; penalty: "
        "l1 * sign(w) is added to the gradient, which only comes near zero.",
        why="only the proximal step gives exact zeros [paper: Parikh & Boyd 2014, section 6.5.2]",
    )
    l2: float = knob(
        0.0,
        "Strength of l2 / 2 * sum w^2 over the weights, added to the gradient; never biases and "
        "norms. The loss shown is without it.",
        why="off: decoupled decay does the same for sgd, and better for adaptive optimisers "
        "[paper: Loshchilov & Hutter 2019, arXiv:1711.05101]",
        search=Search(low=1e-6, high=1e-1, scale="log"),
        ge=0,
        le=1e3,
    )
    batch_size: int | Literal["auto"] = knob(
        "auto",
        "Examples per gradient; as many as there are, or more, make it full batch. auto grows "
        "from 16 to 256 with the data; evolution: 256.",
        why="small data needs the steps, large data the speed [paper: Shallue et al. 2019, "
        "arXiv:1811.03600]; 256 as in RealMLP [paper: Holzmueller et al. 2024, arXiv:2407.04491]",
        unit="examples",
        search=Search(low=16, high=1024, scale="log"),
        ge=1,
        le=10_000_000,
    )
    accumulate: int = knob(
        1,
        "Batches whose gradients are averaged into one step.",
        why="1: more only helps when a larger batch does not fit in memory [assumed]",
        unit="batches",
        ge=1,
        le=100_000,
    )
    schedule: Schedule = knob(
        "cosine",
        "How the rate moves from its peak to the end.",
        why="some decay is always worth having, which one matters little "
        "[paper: Godbole et al. 2023, Deep Learning Tuning Playbook]",
        search=Search(scale="choice", choices=("cosine", "linear", "warmup_stable_decay")),
    )
    warmup_steps: int | Literal["auto"] = knob(
        "auto",
        "Steps in which the rate rises from near 0; auto is a twentieth of all steps, at most 200.",
        why="early second moments are unreliable [paper: Ma & Yarats 2021, arXiv:1910.04209]; "
        "their 2 / (1 - beta2) steps are too many for short runs [assumed]",
        unit="steps",
        ge=0,
        le=10_000_000,
    )
    final_share: float = knob(
        0.0,
        "Rate at the end as a share of its peak (linear, cosine, one_cycle, warmup_stable_decay); "
        "the lowest share that plateau goes down to.",
        why="0 is what the cosine was published with [paper: Loshchilov & Hutter 2017, "
        "arXiv:1608.03983]",
        ge=0,
        le=1,
    )
    step_every: int | Literal["auto"] = knob(
        "auto",
        "schedule = step: steps between two drops of the rate; auto is a third of all steps.",
        why="[paper: He et al. 2016, arXiv:1512.03385 drop about twice in a run]",
        unit="steps",
        ge=1,
        le=10_000_000,
    )
    step_factor: float = knob(
        0.1,
        "schedule = step: the rate is multiplied by this at each drop.",
        why="[paper: He et al. 2016, arXiv:1512.03385]",
        gt=0,
        le=1,
    )
    rise_share: float = knob(
        0.3,
        "schedule = one_cycle: share of all steps in which the rate rises.",
        why="[paper: Smith & Topin 2018, arXiv:1708.07120, as torch has it]",
        gt=0,
        lt=1,
    )
    decay_share: float = knob(
        0.2,
        "schedule = warmup_stable_decay: share of all steps in which the rate falls, at the end.",
        why="[paper: Hägele et al. 2024, arXiv:2405.18392: a fifth about reaches the cosine]",
        gt=0,
        le=1,
    )
    plateau_patience: int = knob(
        5,
        "schedule = plateau: looks at the validation loss without gain before the rate drops.",
        why="[assumed]",
        unit="evaluations",
        ge=0,
        le=100_000,
    )
    plateau_factor: float = knob(
        0.3, "schedule = plateau: the rate is multiplied by this at each drop.",
        why="[assumed] between torch's 0.1 and the 0.5 of slower schemes", gt=0, lt=1,
    )  # fmt: skip
    clip_norm: float | None = knob(
        None,
        "Most length of the whole gradient; a longer one is scaled down; none leaves it alone.",
        why="off: it hides a rate that is too high; recurrent networks need it "
        "[paper: Pascanu et al. 2013, arXiv:1211.5063]",
        search=Search(low=0.1, high=10.0, scale="log"),
        gt=0,
        le=1e9,
    )
    clip_value: float | None = knob(
        None,
        "Most size of each single gradient entry; none leaves it alone.",
        why="off: it bends the gradient's direction [paper: Pascanu et al. 2013, arXiv:1211.5063]",
        gt=0,
        le=1e9,
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = knob(
        "auto",
        "Numbers in which layers compute; the weights stay float32; float16 scales the loss; auto "
        "is bfloat16 for `auto` networks on images and sound where the hardware has it (CUDA from "
        "Ampere on, CPUs with AMX), else float32.",
        why="convolutions take half the time [measured: 28x28, batch 256, one thread of a CPU with "
        "AMX], small layers gain nothing; final metrics are measured in float32 "
        "[paper: Kalamkar et al. 2019, arXiv:1905.12322; Micikevicius et al. 2018, "
        "arXiv:1710.03740]",
    )
    average: Literal["none", "ema"] = knob(
        "none",
        "Which weights are judged and kept: the last ones, or their running average.",
        why="off: a rate that falls to 0 averages already [paper: Hägele et al. 2024, "
        "arXiv:2405.18392]",
        search=Search(scale="choice", choices=("none", "ema")),
    )
    average_decay: float = knob(
        0.99,
        "average = ema: what remains of the average at each step; 1 / (1 - this) steps count.",
        why="[assumed] 100 steps suit runs of some thousands",
        search=Search(low=0.9, high=0.9999),
        ge=0,
        lt=1,
    )
    sampler: Literal["uniform", "weighted", "balanced"] = knob(
        "uniform",
        "How often an example is drawn: each once an epoch; by sampler_weights; or every class "
        "equally often. The last two draw with replacement.",
        why="others change what the probabilities mean [paper: King & Zeng 2001]",
        search=Search(scale="choice", choices=("uniform", "balanced")),
    )
    sampler_weights: dict[str, float] = knob(
        dict,
        "sampler = weighted: how often an example of each class is drawn, relative to 1.",
        why="[assumed] a class left out weighs 1, as in loss.class_weights",
    )
    device: Literal["auto", "cpu", "cuda"] = knob(
        "auto", "Where to compute; auto takes an accelerator when there is one.",
        why="what is there should be used [assumed]",
    )  # fmt: skip
    evaluate_every: int | None = knob(
        None,
        "Steps between looks at the validation split; none chooses by its cost, see train/plan.py.",
        why="a look is worth a tenth of the training time [assumed]",
        unit="steps",
        ge=1,
        le=10_000_000,
    )
    early_stopping: int | None = knob(
        None,
        "Looks without gain after which the run ends; none runs through the budget.",
        why="off: a schedule that is cut short never reaches its low rates "
        "[paper: Godbole et al. 2023, Deep Learning Tuning Playbook]",
        unit="evaluations",
        ge=1,
        le=100_000,
    )
    keep: Literal["best", "last"] = knob(
        "best",
        "Which weights are the result: those best on the validation split, or the last.",
        why="costs nothing and guards against overfitting [paper: Prechelt 1998]",
    )

    @model_validator(mode="after")
    def _settings_fit_the_optimizer(self) -> "AlgorithmKnobs":
        name = self.optimizer
        if name in WITHOUT_MOMENTUM and self.momentum not in ("auto", 0):
            raise ValueError(
                phrase(
                    "momentum is {value}, but {name} has none: drop momentum, or choose "
                    "optimizer = 'rmsprop' or 'adamw'",
                    value=self.momentum,
                    name=name,
                )
            )
        if self.nesterov is True and name not in WITH_NESTEROV:
            nadam = phrase("choose optimizer = 'nadam'")
            way = nadam if name.startswith("adam") else phrase("drop nesterov")
            raise ValueError(
                phrase(
                    "nesterov works with sgd and muon, not with {name}: {way}", name=name, way=way
                )
            )
        if self.nesterov is True and self.momentum == 0:
            raise ValueError(
                phrase("nesterov needs momentum > 0: raise momentum, or drop nesterov")
            )
        if self.beta2 != "auto" and name not in WITH_BETA2:
            raise ValueError(
                phrase(
                    "beta2 is {value}, but {name} has none: drop beta2, or choose optimizer = "
                    "'adamw'",
                    value=self.beta2,
                    name=name,
                )
            )
        if self.eps != "auto" and name == "sgd":
            raise ValueError(phrase("eps is set, but sgd divides by nothing: drop eps"))
        return self

    @model_validator(mode="after")
    def _settings_fit_evolution(self) -> "AlgorithmKnobs":
        if self.optimizer != "evolution":
            for setting in ("population", "sigma"):
                if getattr(self, setting) != "auto":
                    raise ValueError(
                        phrase(
                            "{setting} is set, but {name} tries no changed weights: drop "
                            "{setting}, or choose optimizer = 'evolution'",
                            setting=setting,
                            name=self.optimizer,
                        )
                    )
            return self
        if isinstance(self.population, int) and self.population % 2:
            raise ValueError(
                phrase(
                    "population is {num}, and tries come in mirrored pairs: write {even}",
                    num=self.population,
                    even=self.population + 1,
                )
            )
        if self.l2 or (self.l1 and self.l1_form == "penalty"):
            raise ValueError(
                phrase(
                    "l2 and the l1 penalty are added to a gradient of the loss, and evolution has "
                    "one of ranks: write weight_decay, or l1_form = 'proximal'"
                )
            )
        if self.precision == "float16":
            raise ValueError(
                phrase(
                    "float16 scales the loss for small gradients, and evolution has none: write "
                    "precision = 'bfloat16' or 'float32'"
                )
            )
        return self

    @model_validator(mode="after")
    def _settings_fit_the_schedule(self) -> "AlgorithmKnobs":
        if self.schedule in WITHOUT_FINAL_SHARE and self.final_share not in (0.0, 1.0):
            raise ValueError(
                phrase(
                    "final_share is {value:g}, but schedule = '{schedule}' does not use it: drop "
                    "final_share, or choose schedule = 'linear'",
                    value=self.final_share,
                    schedule=self.schedule,
                )
            )
        if self.schedule == "one_cycle" and self.warmup_steps not in ("auto", 0):
            raise ValueError(
                phrase("one_cycle rises by itself: drop warmup_steps, or set rise_share instead")
            )
        return self

    @model_validator(mode="after")
    def _settings_fit_the_sampler(self) -> "AlgorithmKnobs":
        if any(weight < 0 for weight in self.sampler_weights.values()):
            raise ValueError(
                phrase("sampler_weights must not be negative: give 0 to leave a class out")
            )
        if self.sampler_weights and self.sampler != "weighted":
            raise ValueError(
                phrase(
                    "sampler_weights are given, but sampler = '{sampler}' does not use them: "
                    "choose sampler = 'weighted', or drop sampler_weights",
                    sampler=self.sampler,
                )
            )
        return self
