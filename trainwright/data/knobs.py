"""How is a source read, split and encoded? The knobs of [data]."""

from typing import Literal

from pydantic import model_validator

from trainwright.core.knob import Knobs, Search, knob
from trainwright.core.phrases import phrase
from trainwright.core.records import Role
from trainwright.core.task import TaskKind


class DataKnobs(Knobs):
    """What to learn from."""

    source: str | None = knob(
        None,
        "File, folder, glob, URL, `sklearn:digits` or `synthetic:spiral`; none for live data.",
        why="what can be named can be repeated by anyone [assumed]",
    )
    target: str | None = knob(
        None,
        "Column to predict; none takes `target`, `label`, `class` or `y`, else the last column.",
        why="[assumed] the commonest names, then the commonest place",
    )
    task: TaskKind | Literal["auto"] = knob(
        "auto",
        "What kind of prediction; auto decides by the target's type and number of values.",
        why="[assumed] numbers with over 20 distinct values or any fraction are regression",
    )
    columns: dict[str, Role] = knob(
        dict,
        "Roles that override the inferred ones, e.g. {zip = 'categorical'}.",
        why="inference is shown with its reasons; the user knows better [assumed]",
    )
    valid_fraction: float = knob(
        0.15,
        "Share of examples to watch training on; 0 makes no such split.",
        why="[assumed] between scikit-learn's 0.1 and the common 0.2",
        ge=0,
        lt=1,
    )
    test_fraction: float = knob(
        0.15,
        "Share of examples looked at once, at the end; 0 makes no such split.",
        why="[assumed] as valid_fraction",
        ge=0,
        lt=1,
    )
    split: str | None = knob(
        None,
        "Column that already says train, valid or test for each row.",
        why="a published split is worth keeping: results compare [assumed]",
    )
    group: str | None = knob(
        None,
        "Column whose values never fall on both sides of a split.",
        why="rows of one person or machine resemble each other [paper: Kapoor & Narayanan 2023]",
    )
    time: str | None = knob(
        None,
        "Column by which the split is in time: the newest rows are the test rows.",
        why="the future must not teach the past [paper: Kapoor & Narayanan 2023]",
    )
    scale: Literal["auto", "standardise", "quantile", "none"] = knob(
        "auto",
        "How numbers are brought to a common scale; auto is quantile for tables with "
        "heavy tails, else standardise; images and audio are standardised by channel.",
        why="quantile-normal is what strong tabular networks use "
        "[paper: Gorishniy et al. 2021, arXiv:2106.11959]",
        search=Search(scale="choice", choices=("standardise", "quantile")),
    )
    categories: Literal["auto", "one_hot", "embedding"] = knob(
        "auto",
        "How categories enter: one 0/1 column each, or a learned vector; auto takes "
        "one_hot up to one_hot_limit values and embedding beyond.",
        why="[paper: Holzmueller et al. 2024, arXiv:2407.04491, section 3]",
    )
    one_hot_limit: int = knob(
        8,
        "Most distinct values that still become one column each.",
        why="[paper: Holzmueller et al. 2024, arXiv:2407.04491, RealMLP's limit]",
        ge=2,
        le=1000,
    )
    standardise_target: bool = knob(
        True,
        "Regression: train on (y - mean) / sd; metrics stay in the user's unit.",
        why="a target far from 0/1 needs another learning rate "
        "[paper: LeCun et al. 1998, Efficient BackProp]",
    )
    image_size: int | None = knob(
        None,
        "Images are brought to this many pixels on each side; none takes their commonest "
        "size, at most 96.",
        why="[assumed] what a CPU trains in minutes",
        unit="pixels",
        ge=4,
        le=1024,
    )
    channels: Literal["auto", "grey", "colour"] = knob(
        "auto",
        "Colour channels of images; auto is grey when all sampled images are.",
        why="a third of the arithmetic when colour says nothing [assumed]",
    )
    augment: tuple[str, ...] | Literal["auto", "none"] = knob(
        "auto",
        "Changes to training examples only: crop, flip, erase, rotate (images), shift, "
        "gain, noise, mask (audio), and any kornia augmentation class by name when kornia is "
        "installed; auto is crop for images, shift for audio, none for tables and text.",
        why="crop by an eighth helps photos and digits alike; flip would harm digits [assumed]",
    )
    audio: Literal["log_mel", "waveform"] = knob(
        "log_mel",
        "What an audio example is to the model.",
        why="with little data a fixed front end beats a learned one [assumed]",
    )
    sample_rate: int | None = knob(
        None,
        "All recordings are resampled to this; none takes the commonest, at most 16000.",
        why="speech holds little above 8 kHz [assumed]",
        unit="hertz",
        ge=1000,
        le=192_000,
    )
    seconds: float | None = knob(
        None,
        "Recordings are cut or padded to this length; none takes the 95th percentile.",
        why="[assumed]",
        unit="seconds",
        gt=0,
        le=600,
    )
    tokens: Literal["byte", "character", "bpe"] = knob(
        "bpe",
        "What text is cut into; bpe is learned on the training rows.",
        why="[paper: Sennrich et al. 2016, arXiv:1508.07909]",
    )
    vocabulary: int = knob(
        4000,
        "Most distinct tokens for character and bpe.",
        why="[assumed] small data",
        ge=16,
        le=200_000,
    )
    length: int | None = knob(
        None,
        "Tokens per text; longer ones are cut; none takes the 95th percentile, at most 512.",
        why="[assumed]",
        unit="tokens",
        ge=1,
        le=65_536,
    )
    num_examples: int = knob(
        1000,
        "How many examples a synthetic source makes.",
        why="[assumed] what a playground draws",
        ge=4,
        le=10_000_000,
    )
    noise: float = knob(
        0.1, "Spread of a synthetic source, as a share of its radius.", why="[assumed]", ge=0, le=10
    )
    label_noise: float = knob(
        0.0,
        "Share of a synthetic source's labels drawn at random.",
        why="off unless studied [assumed]",
        ge=0,
        le=1,
    )
    imbalance: float = knob(
        0.5,
        "Share of the first class in a synthetic source of two classes.",
        why="balanced unless studied [assumed]",
        gt=0,
        lt=1,
    )
    stream: bool | Literal["auto"] = knob(
        "auto",
        "Read a table in blocks instead of holding it; auto does so when it would take "
        "over memory_limit.",
        why="a table larger than memory must train too [measured: benchmarks/stream_*.md]",
    )
    memory_limit: int = knob(
        1 << 30,
        "Most bytes that encoded examples, or decoded files, may hold in memory.",
        why="[assumed] fits every machine that runs torch",
        unit="bytes",
        ge=1 << 16,
    )
    shuffle_rows: int = knob(
        65_536,
        "Rows shuffled together while streaming.",
        why="as near to a full shuffle as memory allows [assumed]",
        unit="rows",
        ge=16,
    )
    workers: int | Literal["auto"] = knob(
        "auto",
        "Processes that decode files ahead; 0 decodes in the loop; auto is one per spare core.",
        why="decoding must not starve the step [assumed]",
        ge=0,
        le=64,
    )

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "DataKnobs":
        if self.valid_fraction + self.test_fraction >= 1:
            raise ValueError(
                phrase(
                    "valid_fraction {valid:g} and test_fraction {test:g} leave no training "
                    "examples: lower one of them so that the sum is below 1",
                    valid=self.valid_fraction,
                    test=self.test_fraction,
                )
            )
        if self.group and self.time:
            raise ValueError(
                phrase("group and time cannot both decide the split: drop one of them")
            )
        return self
