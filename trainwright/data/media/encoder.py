"""How are new images and recordings brought to what the network was trained on? The fitted form,
scaling and target code, and the examples they make."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Signature
from trainwright.core.task import Task
from trainwright.data.batch import Examples, Inputs, Shown, Values
from trainwright.data.media import audio, image
from trainwright.data.media.arrays import as_images
from trainwright.data.media.audio import AudioForm
from trainwright.data.media.folder import MediaKind, UndecodableError, kind_in_words
from trainwright.data.media.gather import Gathered, gather
from trainwright.data.media.image import ImageForm
from trainwright.data.media.labels import targets_of
from trainwright.data.media.workers import FileExamples, read_all, read_file
from trainwright.data.memory import Augment, MemoryExamples
from trainwright.data.table.target import TargetCoding, coding_from_record

SCALED_EXAMPLES = 2000  # training examples that mean and sd are taken from [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Stored values -> (value / unit - mean) / sd by channel (for log-mel: by band)."""

    unit: float
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def __call__(self, inputs: Inputs) -> Inputs:
        raw = inputs[0]
        mean, sd = (torch.tensor(v, dtype=torch.float64) for v in (self.mean, self.sd))
        ones = (1,) * (raw.dim() - 2)
        factor = (1 / (self.unit * sd)).float().view(1, -1, *ones).to(raw.device)
        offset = (-mean / sd).float().view(1, -1, *ones).to(raw.device)
        scaled = raw.to(torch.float32, copy=True)
        return (scaled.mul_(factor).add_(offset), *inputs[1:])


def fit_scaling(raw: Shaped[Tensor, "example channel ..."], *, standardise: bool) -> Scaling:
    """Mean and sd of each channel; a constant channel has sd 1."""
    unit = 255.0 if raw.dtype == torch.uint8 else 1.0
    num_channels = raw.shape[1]
    if not standardise:
        return Scaling(unit=unit, mean=(0.0,) * num_channels, sd=(1.0,) * num_channels)
    total = torch.zeros(num_channels, dtype=torch.float64)
    squares, count = torch.zeros_like(total), 0
    for part in raw.split(100):  # float64 copies of a few at a time
        values = part.double().transpose(0, 1).reshape(num_channels, -1) / unit
        total += values.sum(dim=1)
        squares += values.square().sum(dim=1)
        count += values.shape[1]
    mean = total / count
    sd = (squares / count - mean.square()).clamp(min=0).sqrt()
    sd = torch.where(sd > 1e-6, sd, 1.0)
    return Scaling(unit=unit, mean=tuple(mean.tolist()), sd=tuple(sd.tolist()))


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaEncoder:
    """Fitted on the training files. `path_column` names the files in a table (None: no table)."""

    kind: MediaKind
    form: ImageForm | AudioForm
    scaling: Scaling
    coding: TargetCoding
    path_column: str | None = None
    memory_limit: int = 1 << 30
    workers: int = 1

    @property
    def task(self) -> Task:
        return self.coding.task

    @property
    def signature(self) -> Signature:
        return Signature(kind="image" if self.kind == "image" else "audio", shape=self.form.shape)

    def encode(self, source: object, *, with_target: bool) -> Examples:
        """A folder, file, list of files, table with the path column, .npz, or array of images.

        Files that cannot be read are left out and named in `.notices`; `show(position).row` tells
        which of the source's examples are left.

        Raises DataError when none can be read or there is no target where one is asked for.
        """
        found = gather(
            source,
            with_target=with_target,
            path_column=self.path_column,
            target=self.task.target,
            memory_limit=self.memory_limit,
        )
        if found.texts is not None or found.kind != self.kind:  # arrays are images
            raise DataError(
                phrase(
                    "{source} holds {kind} files; the run was trained on {trained} files",
                    source=shown(found.source),
                    kind=kind_in_words(found.kind),
                    trained=kind_in_words(self.kind),
                ),
                do=phrase("give {kind} files", kind=kind_in_words(self.kind)),
            )
        found, target = targets_of(found, self.coding, wanted=with_target)
        if found.arrays is not None:
            return self.examples(found, self.as_trained(found.arrays), target)
        fits = len(found) * self.form.num_bytes <= self.memory_limit
        done = read_all(found.paths, self.form, keep=fits, workers=self.workers)
        left = found.without(done.failures)
        kept = torch.from_numpy(np.flatnonzero(np.isin(found.numbers, left.numbers)))
        raw = None if done.raw is None else done.raw[kept]
        return self.examples(left, raw, target[kept])

    def examples(
        self,
        found: Gathered,
        raw: Shaped[Tensor, "example channel ..."] | None,
        target: Shaped[Tensor, "example ..."],
        augment: Augment | None = None,
    ) -> Examples:
        """One split, from decoded values `raw` or (None) from files as they come up."""
        shower = _Shower(kind=self.kind, found=found, raw=raw)
        if raw is not None:
            return MemoryExamples(
                signature=self.signature,
                task=self.task,
                inputs=(raw,),
                target=target,
                notices=found.notices,
                transform=self.scaling,
                augment=augment,
                shower=shower,
            )
        return FileExamples(
            signature=self.signature,
            task=self.task,
            paths=found.paths,
            form=self.form,
            target=target,
            workers=self.workers,
            transform=self.scaling,
            notices=found.notices,
            augment=augment,
            shower=shower,
        )

    def decode(self, values: Values) -> Values:
        return self.coding.decode(values)

    def to_record(self) -> dict[str, object]:
        """Floats survive JSON exactly: Python writes the shortest text that reads back equal."""
        return {
            "kind": self.kind,
            "form": self.form.to_record(),
            "unit": self.scaling.unit,
            "mean": list(self.scaling.mean),
            "sd": list(self.scaling.sd),
            "target": self.coding.to_record(),
            "path_column": self.path_column,
            "memory_limit": self.memory_limit,
            "workers": self.workers,
        }

    def as_trained(
        self, arrays: Shaped[np.ndarray, "example ..."]
    ) -> Shaped[Tensor, "example channel height width"]:
        """Arrays of images in the form and range of the training images.

        Raises DataError when they cannot be.
        """
        assert isinstance(self.form, ImageForm), "recordings do not come as arrays"
        channels = "grey" if self.form.channels == 1 else "colour"
        same = arrays.shape[-2:] == self.form.shape[1:] or arrays.shape[1:3] == self.form.shape[1:]
        images = as_images(arrays, channels, None if same else self.form.height)
        if images is None or tuple(images.shape[1:]) != self.form.shape:
            raise DataError(
                phrase(
                    "arrays of shape {shape} do not fit the images of the run", shape=arrays.shape
                ),
                allowed=phrase("[example, {shape}]", shape=", ".join(map(str, self.form.shape))),
                do=phrase("save the images as they were for training"),
            )
        if self.scaling.unit == 255 and images.dtype != torch.uint8:
            return images.round().clamp(0, 255).to(torch.uint8)
        return images


def media_encoder_from_record(record: dict[str, Any]) -> MediaEncoder:
    """The value of `MediaEncoder.to_record` as an encoder."""
    form = ImageForm if record["kind"] == "image" else AudioForm
    scaling = Scaling(unit=record["unit"], mean=tuple(record["mean"]), sd=tuple(record["sd"]))
    return MediaEncoder(
        kind=record["kind"],
        form=form(**record["form"]),
        scaling=scaling,
        coding=coding_from_record(record["target"]),
        path_column=record["path_column"],
        memory_limit=record["memory_limit"],
        workers=record["workers"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shower:
    """Renders examples for people."""

    kind: MediaKind
    found: Gathered
    raw: Shaped[Tensor, "example channel ..."] | None

    def __call__(self, position: int) -> Shown:
        content = {"file": self.found.names[position]} if self.found.names else {}
        row = int(self.found.numbers[position])
        try:
            media = self._sound(position) if self.kind == "audio" else self._picture(position)
        except UndecodableError:  # the file has gone since
            media = None
        return Shown(row=row, content=content, media=media)

    def _picture(self, position: int) -> str:
        if self.raw is None:
            picture = image.open_image(read_file(self.found.paths[position]), want=image.THUMBNAIL)
            content = image.thumbnail(np.asarray(picture.convert("RGB")).transpose(2, 0, 1))
        else:
            content = image.thumbnail(_as_bytes(self.raw[position]).numpy())
        return "image/png;base64," + base64.b64encode(content).decode()

    def _sound(self, position: int) -> str:
        content = audio.playable(read_file(self.found.paths[position]))
        return "audio/wav;base64," + base64.b64encode(content).decode()


def _as_bytes(pixels: Shaped[Tensor, "*place"]) -> UInt8[Tensor, "*place"]:
    """Float pixels of any range as 0 to 255."""
    if pixels.dtype == torch.uint8:
        return pixels
    low, high = pixels.min(), pixels.max()
    return ((pixels - low) / (high - low).clamp(min=1e-12) * 255).to(torch.uint8)
