"""Which network, and how is it built? The knobs of [model]."""

from typing import Literal

from pydantic import field_validator, model_validator

from trainwright.core.errors import did_you_mean, shown
from trainwright.core.knob import Knobs, Search, knob
from trainwright.core.phrases import phrase

Activation = Literal[
    "relu", "leaky_relu", "gelu", "silu", "mish", "elu", "selu", "tanh", "sigmoid", "softplus",
    "hardswish", "none",
]  # fmt: skip
Norm = Literal["none", "batch", "layer", "instance", "group", "rms"]
NormPosition = Literal["before_activation", "after_activation", "before_layer"]
Init = Literal["auto", "he", "xavier", "lecun", "orthogonal", "normal", "constant", "torch"]
NumericEmbedding = Literal["none", "pbld", "plr"]

Cell = Literal["rnn", "gru", "lstm"]

MODELS = ("auto", "linear", "mlp", "convnet", "bag", "rnn")


class ModelKnobs(Knobs):
    """What is trained. `auto` becomes a value in `model/resolve.py`."""

    name: str = knob(
        "auto",
        "auto, linear, mlp, convnet, bag, rnn, or own code as `pkg.mod:Net`; auto is an mlp with "
        "embeddings for tables, a convnet for images and audio, a bag for text. rnn reads text, "
        "sound, images row by row, and arrays [example, time, channel].",
        why="each fits the structure of its data: locality in images and sound, order hardly "
        "matters for topics [paper: Joulin et al. 2016, arXiv:1607.01759]",
        search=Search(scale="choice", choices=MODELS),
    )
    depth: int | Literal["auto"] = knob(
        "auto",
        "Hidden layers of mlp, bag and rnn, stages of convnet; 0 leaves a linear map.",
        why="3 in tables [paper: Gorishniy et al. 2025, TabM, arXiv:2410.24210]; stages until "
        "about 6 pixels are left [assumed]; 1 in text and rnn [assumed]",
        ge=0,
        le=100,
        search=Search(low=1, high=6),
    )
    width: int | Literal["auto"] = knob(
        "auto",
        "Units of each hidden layer; convnet: channels of the first stage, doubled by each next "
        "one up to 8 times as many.",
        why="256 in tables [paper: Holzmueller et al. 2024, arXiv:2407.04491]; 32 in images, 64 in "
        "sound and text and 128 in rnn [assumed] what two cores train in minutes",
        unit="units",
        ge=1,
        le=65_536,
        search=Search(low=32, high=512, scale="log"),
    )
    activation: Activation | tuple[Activation, ...] | Literal["auto"] = knob(
        "auto",
        "After each hidden layer, one for all or one per layer; none leaves it linear. rnn: tanh "
        "or relu of an rnn cell; auto is tanh there, else relu.",
        why="relu, cheap and as good [measured: 3 seeds on phoneme, satimage, spambase, "
        "wine: never "
        "behind mish by more than the seeds' spread, in 0.8 of the time]",
        search=Search(scale="choice", choices=("relu", "gelu", "silu", "mish")),
    )
    norm: Norm | Literal["auto"] = knob(
        "auto",
        "Normalisation in each hidden layer; auto is batch in a convnet, else none.",
        why="batch norm lets a convnet take large steps "
        "[paper: Ioffe & Szegedy 2015, arXiv:1502.03167]",
        search=Search(scale="choice", choices=("none", "batch", "layer")),
    )
    norm_position: NormPosition = knob(
        "before_activation",
        "Where the norm stands: before_activation, after_activation or before_layer.",
        why="[paper: Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2]",
    )
    skip: bool = knob(
        False,
        "Add each layer's input to its output where shapes agree; a convnet's stage becomes a "
        "block of two convolutions with a shortcut.",
        why="needed when deep, not at these depths [paper: He et al. 2016, arXiv:1512.03385]",
        search=Search(scale="choice", choices=(False, True)),
    )
    dropout: float | Literal["auto"] = knob(
        "auto",
        "Share of hidden units dropped in training: after each hidden layer; convnet: before the "
        "head. auto is 0.1 for `auto` tables, 0.3 for text, else 0.",
        why="0.1 as in [paper: Gorishniy et al. 2025, TabM, arXiv:2410.24210]; 0.3 [assumed]; a "
        "network asked for by name is left plain",
        ge=0,
        lt=1,
        search=Search(low=0, high=0.5),
    )
    init: Init = knob(
        "auto",
        "Weights at the start; auto goes by the activation that follows: He for the ReLU family, "
        "Xavier for tanh, sigmoid and none, LeCun for selu. Biases start at 0; torch leaves both "
        "as torch does.",
        why="keeps variance through depth [paper: He et al. 2015, arXiv:1502.01852; Glorot & "
        "Bengio 2010; Klambauer et al. 2017, arXiv:1706.02515]",
        search=Search(scale="choice", choices=("auto", "orthogonal", "torch")),
    )
    init_sd: float = knob(
        0.01,
        "Standard deviation for init = 'normal'.",
        why="the textbook's small random numbers [paper: Krizhevsky et al. 2012]",
        gt=0,
        le=100,
    )
    init_value: float = knob(
        0.0,
        "Every weight for init = 'constant', which makes all units of a layer alike.",
        why="0 shows best what symmetry does [assumed]",
        ge=-100,
        le=100,
    )
    kernel: int | Literal["auto"] = knob(
        "auto",
        "convnet: pixels or samples that a filter sees, odd; auto is 3 in images, 5 in audio. "
        "The first filter on raw sound is 16 times as long, less one.",
        why="stacked 3x3 see as far as larger ones at less cost "
        "[paper: Simonyan & Zisserman 2015, arXiv:1409.1556]; 5 [assumed]",
        ge=1,
        le=255,
        search=Search(scale="choice", choices=(3, 5, 7)),
    )
    stride: int | Literal["auto"] = knob(
        "auto",
        "convnet: step of the first convolution; auto is 2 from 64 pixels on, 4 in raw sound, "
        "else 1.",
        why="the first stage is the dearest [paper: He et al. 2016, arXiv:1512.03385; Dai et al. "
        "2017, arXiv:1610.00087]",
        ge=1,
        le=64,
    )
    pool: int | Literal["auto"] = knob(
        "auto",
        "convnet: each stage but the last keeps the largest of this many neighbours; auto is 4 in "
        "raw sound, else 2; 1 pools nothing.",
        why="[paper: LeCun et al. 1998; Dai et al. 2017, arXiv:1610.00087]",
        ge=1,
        le=16,
    )
    readout: Literal["auto", "average", "max", "grid", "last"] = knob(
        "auto",
        "What the head reads: convnet: of each channel the average or max over all positions, or "
        "a grid of maxima over 3 by 3 regions (sound: 3); auto is grid in images, max in sound. "
        "rnn: the last state, or the average or max of all; auto is last, for text average.",
        why="where a stroke lies matters in centred images [measured: 10 000 MNIST images, 4 "
        "epochs: average .955, max .968, grid .978; Fashion-MNIST .873, .890, .891]",
        search=Search(scale="choice", choices=("average", "max", "grid")),
    )
    cell: Cell = knob(
        "gru",
        "rnn: what a step does with the state: rnn overwrites it, gru and lstm have gates that "
        "keep it.",
        why="gates carry a gradient over many steps; gru and lstm are alike in skill, gru is "
        "cheaper [paper: Chung et al. 2014, arXiv:1412.3555]",
        search=Search(scale="choice", choices=("gru", "lstm", "rnn")),
    )
    numeric_embedding: NumericEmbedding | Literal["auto"] = knob(
        "auto",
        "mlp on tables: each number becomes a short learned vector of periodic functions; auto is "
        "pbld for model.name = 'auto' with at most 100 numbers, else none.",
        why="narrows the gap to boosted trees [paper: Gorishniy et al. 2022, arXiv:2203.05556 "
        "(plr); Holzmueller et al. 2024, arXiv:2407.04491 (pbld)]",
        search=Search(scale="choice", choices=("none", "pbld", "plr")),
    )
    embedding_width: int = knob(
        4,
        "Length of each number's vector.",
        why="[paper: Holzmueller et al. 2024, arXiv:2407.04491, table B.1]",
        ge=2,
        le=256,
        search=Search(low=4, high=32, scale="log"),
    )
    frequency_sd: float = knob(
        0.5,
        "Spread of the first frequencies, in periods per standard deviation of the number.",
        why="tuned between 0.01 and 100 in [paper: Gorishniy et al. 2022, arXiv:2203.05556]; 0.5 "
        "[measured: phoneme .886 and satimage .915, with 0.1 .860 and .899; wine within noise]",
        gt=0,
        le=100,
        search=Search(low=0.02, high=5, scale="log"),
    )
    category_width: int = knob(
        8,
        "mlp on tables: length of the learned vector of a category.",
        why="[paper: Holzmueller et al. 2024, arXiv:2407.04491, table B.1]",
        ge=1,
        le=1024,
        search=Search(low=2, high=32, scale="log"),
    )
    input_scale: bool | Literal["auto"] = knob(
        "auto",
        "mlp on tables: a learned factor on every input; auto as numeric_embedding.",
        why="lets training weigh columns "
        "[paper: Holzmueller et al. 2024, arXiv:2407.04491, section 3]",
    )
    members: int | Literal["auto"] = knob(
        "auto",
        "mlp: networks trained at once that share all but a factor on each input and the last "
        "layer; predictions are averaged. auto is 4 for `auto` tables, else 1.",
        why="an ensemble for the price of one in parameters, not in time "
        "[paper: Gorishniy et al. 2025, TabM-mini, arXiv:2410.24210]; 4 take twice the time of 1 "
        "[measured: benchmarks/quality_*.md, docs/LOG.md]",
        ge=1,
        le=128,
        search=Search(scale="choice", choices=(1, 4, 8, 16, 32)),
    )
    wide: bool | Literal["auto"] = knob(
        "auto",
        "mlp on tables: add a linear map of the embedded row to the output, from 0 at the start; "
        "auto does so for numbers (regression) in `auto` tables.",
        why="a sum of columns need not be bent into shape [paper: Cheng et al. 2016, "
        "arXiv:1606.07792]; for classes it gains nothing [measured: docs/LOG.md]",
        search=Search(scale="choice", choices=(False, True)),
    )
    ngrams: int = knob(
        1,
        "bag: longest run of neighbouring tokens that has its own vector, 1 or 2.",
        why="pairs bring back some order [paper: Joulin et al. 2016, arXiv:1607.01759], but need "
        "much text [measured: 10 000 sentences, accuracy .75 with 1, .74 with 2]",
        ge=1,
        le=2,
        search=Search(scale="choice", choices=(1, 2)),
    )
    buckets: int = knob(
        16_384,
        "bag: vectors that pairs of tokens share by hashing.",
        why="[assumed] few collisions on small text, cheap to update",
        ge=1,
        le=10_000_000,
    )

    @field_validator("name")
    @classmethod
    def _is_a_model(cls, name: str) -> str:
        if name in MODELS or (":" in name and not name.startswith(":")):
            return name
        raise ValueError(
            phrase("{name} is no model: {near}", name=shown(name), near=did_you_mean(name, MODELS))
        )

    @model_validator(mode="after")
    def _settings_agree(self) -> "ModelKnobs":
        if isinstance(self.activation, tuple):
            if not self.activation:
                raise ValueError(
                    phrase("activation is an empty list: write one name, or one per layer")
                )
            if isinstance(self.depth, int) and len(self.activation) != self.depth:
                raise ValueError(
                    phrase(
                        "activation names {num} layers and depth is {depth}: give one activation "
                        "for each hidden layer, or one name for all",
                        num=len(self.activation),
                        depth=self.depth,
                    )
                )
        if isinstance(self.kernel, int) and self.kernel % 2 == 0:
            raise ValueError(
                phrase(
                    "kernel is {kernel}: an even kernel has no middle, write {below} or {above}",
                    kernel=self.kernel,
                    below=self.kernel - 1,
                    above=self.kernel + 1,
                )
            )
        for setting, owner in (("init_sd", "normal"), ("init_value", "constant")):
            default = type(self).model_fields[setting].default
            if getattr(self, setting) != default and self.init != owner:
                raise ValueError(
                    phrase(
                        "{setting} belongs to init = '{owner}', and init is '{init}': drop "
                        "{setting}, or write init = '{owner}'",
                        setting=setting,
                        owner=owner,
                        init=self.init,
                    )
                )
        return self
