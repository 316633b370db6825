"""Which healthy programs fit no common setting? Language models, autoencoders, twins, embeddings,
residual and frozen networks, counts, in the style in which their users write them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinic import score
from clinic.data import load
from clinic.language import language_program
from clinic.program import Built, Program
from clinic.residual import deep_tanh, resnet, zero_residual

Maker = Callable[[int], Built]


class Autoencoder(nn.Module):
    """Code and reconstruction; returns a tuple."""

    def __init__(self, size: int, code: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, code))
        self.decoder = nn.Sequential(nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x)
        return self.decoder(code), code


def first_squared(outputs: Any, y: Tensor) -> Tensor:
    """Squared error of the first output."""
    return F.mse_loss(outputs[0], y)


def autoencoder(noise: float) -> Maker:
    """Digits through a code of 12 numbers; with `noise`, the input is spoilt and the target clean."""

    def make(seed: int) -> Built:
        data = load("digits", seed)
        model = Autoencoder(64, 12)
        spoilt = [x + noise * torch.randn_like(x) for x in (data.X, data.Xv)]
        return Built(
            model=model, loss=first_squared, optimizer=torch.optim.Adam(model.parameters(), 3e-3),
            X=spoilt[0], y=data.X, Xv=spoilt[1], yv=data.Xv, batch_size=64, steps=600,
            score=score.skill_of_number, metric="r2",
        )  # fmt: skip

    return make


class SigmoidDecoder(nn.Module):
    """Pixels in [0, 1] as probabilities, binary cross-entropy on logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10), nn.ReLU(), nn.Linear(10, 48),
            nn.ReLU(), nn.Linear(48, 64),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def pixels_as_probabilities(seed: int) -> Built:
    """Soft targets between 0 and 1 under a logits loss: the floor is far above zero."""
    data = load("digits", seed)
    low, high = data.X.min(), data.X.max()
    x, xv = (data.X - low) / (high - low), (data.Xv - low) / (high - low)
    model = SigmoidDecoder()

    def probability(outputs: Any, y: Tensor) -> score.Scored:
        return score.skill_of_number(outputs.sigmoid(), y)

    return Built(
        model=model, loss=nn.BCEWithLogitsLoss(), optimizer=torch.optim.Adam(model.parameters(), 3e-3),
        X=x, y=x, Xv=xv, yv=xv, batch_size=64, steps=600, score=probability, metric="r2",
    )  # fmt: skip


class Bag(nn.Module):
    """Words of a sentence in a bag, mean of embeddings, linear head."""

    def __init__(self, vocabulary: int, mode: str) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(vocabulary, 16, mode=mode)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.bag(x))


def bag_of_words(mode: str) -> Maker:
    """Sentences of 12 words from 200; each word has a hidden worth, the sign of the sum counts."""

    def make(seed: int) -> Built:
        worth = torch.randn(200)
        x = torch.randint(0, 200, (2400, 12))
        y = (worth[x].sum(1, keepdim=True) > 0).float()
        model = Bag(200, mode)
        return Built(
            model=model, loss=nn.BCEWithLogitsLoss(),
            optimizer=torch.optim.Adam(model.parameters(), 2e-2), X=x[:-600], y=y[:-600], Xv=x[-600:], yv=y[-600:],
            batch_size=64, steps=300, score=score.skill_of_logit,
        )  # fmt: skip

    return make


class Categories(nn.Module):
    """Four integer columns, each through its own embedding, then a small MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(12, 6) for _ in range(4))
        self.layers = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x: Tensor) -> Tensor:
        parts = [table(x[:, i]) for i, table in enumerate(self.embeddings)]
        return self.layers(torch.cat(parts, 1))


def categories(seed: int) -> Built:
    """Class by hidden scores of the categories, integer inputs."""
    x = torch.randint(0, 12, (2400, 4))
    scores = sum(torch.randn(12, 3)[x[:, i]] for i in range(4))
    assert isinstance(scores, Tensor)
    y = (scores + 0.5 * torch.randn(2400, 3)).argmax(1)
    model = Categories()
    return Built(
        model=model, loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(model.parameters(), 1e-2),
        X=x[:-600], y=y[:-600], Xv=x[-600:], yv=y[-600:], batch_size=64, steps=300,
    )  # fmt: skip


class Siamese(nn.Module):
    """One encoder for both of a pair [batch, 2, feature]; the answer is minus the distance."""

    def __init__(self, safe: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.threshold = nn.Parameter(torch.tensor(1.0))
        self.slope = nn.Parameter(torch.tensor(1.0))
        self.safe = safe

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.encoder(x[:, 0]), self.encoder(x[:, 1])
        squared = (a - b).square().sum(1, keepdim=True)
        distance = (squared + 1e-6).sqrt() if self.safe else squared.sqrt()
        return self.slope * (self.threshold - distance)


def pairs(seed: int, count: int = 2400) -> tuple[Tensor, Tensor]:
    """Pairs of digits, half of the same class, and whether they are."""
    data = load("digits", seed)
    first = torch.randint(0, len(data.X), (count,))
    second = torch.randint(0, len(data.X), (count,))
    same = torch.rand(count) < 0.5
    for i in np.flatnonzero(same.numpy()):
        others = (data.y == data.y[first[i]]).nonzero()[:, 0]
        second[i] = others[torch.randint(0, len(others), ())]
    x = torch.stack([data.X[first], data.X[second]], 1)
    return x, (data.y[first] == data.y[second]).float()[:, None]


def siamese(seed: int) -> Built:
    """Same digit or not."""
    x, y = pairs(seed)
    model = Siamese()
    return Built(
        model=model, loss=nn.BCEWithLogitsLoss(), optimizer=torch.optim.Adam(model.parameters(), 3e-3),
        X=x[:-600], y=y[:-600], Xv=x[-600:], yv=y[-600:], batch_size=64, steps=500, score=score.skill_of_logit,
    )  # fmt: skip


def fine_tuning(architecture: str) -> Maker:
    """A body trained on digits 0-4, frozen on purpose, and a new head for 5-9."""

    def make(seed: int) -> Built:
        data = load("digits", seed)
        body = (
            nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU())
            if architecture == "mlp"
            else nn.Sequential(
                nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
                nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                nn.Linear(256, 64), nn.ReLU(),
            )
        )  # fmt: skip
        _pretrain(body, data.X, data.y)
        for p in body.parameters():
            p.requires_grad_(False)
        model = nn.Sequential(body, nn.Linear(64, 5))
        late, late_valid = data.y >= 5, data.yv >= 5
        return Built(
            model=model, loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam(model[1].parameters(), 5e-3), X=data.X[late],
            y=data.y[late] - 5, Xv=data.Xv[late_valid], yv=data.yv[late_valid] - 5, batch_size=32,
            steps=300,
        )  # fmt: skip

    return make


def _pretrain(body: nn.Module, x: Tensor, y: Tensor) -> None:
    early = y < 5
    x, y = x[early], y[early]
    whole = nn.Sequential(body, nn.Linear(64, 5))
    optimizer = torch.optim.Adam(whole.parameters(), 2e-3)
    for _ in range(150):
        rows = torch.randint(0, len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(whole(x[rows]), y[rows]).backward()
        optimizer.step()


def counts(seed: int) -> Built:
    """Poisson counts, log rates as outputs."""
    x = torch.randn(2000, 6)
    rate = (0.6 * x[:, 0] - 0.5 * x[:, 1].abs() + 0.4 * x[:, 2] * x[:, 3] + 1).exp()
    y = torch.poisson(rate.clamp(max=40))[:, None]
    model = nn.Sequential(
        nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1)
    )
    return Built(
        model=model, loss=nn.PoissonNLLLoss(), optimizer=torch.optim.Adam(model.parameters(), 3e-3),
        X=x[:-500], y=y[:-500], Xv=x[-500:], yv=y[-500:], batch_size=64, steps=400, score=score.skill_of_counts, metric="explained",
    )  # fmt: skip


def multilabel(seed: int) -> Built:
    """Five yes-or-no labels per example, independent logits."""
    x = torch.randn(2000, 10)
    y = ((x @ torch.randn(10, 5) + x[:, :5] * x[:, 5:] + 0.3 * torch.randn(2000, 5)) > 0).float()
    model = nn.Sequential(
        nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5)
    )
    return Built(
        model=model, loss=nn.BCEWithLogitsLoss(), optimizer=torch.optim.Adam(model.parameters(), 3e-3),
        X=x[:-500], y=y[:-500], Xv=x[-500:], yv=y[-500:], batch_size=64, steps=400, score=score.skill_of_labels,
    )  # fmt: skip


def imbalanced(seed: int) -> Built:
    """One digit against the other nine, 2.5 % positives, and yet learned."""
    data = load("digits", seed)
    keep, keep_valid = (_thin(y == 0, 4) for y in (data.y, data.yv))
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return Built(
        model=model, loss=nn.BCEWithLogitsLoss(), optimizer=torch.optim.Adam(model.parameters(), 3e-3),
        X=data.X[keep], y=(data.y[keep] == 0).float()[:, None], Xv=data.Xv[keep_valid],
        yv=(data.yv[keep_valid] == 0).float()[:, None], batch_size=64, steps=400,
        score=score.skill_of_logit,
    )  # fmt: skip


def _thin(positive: Tensor, factor: int) -> Tensor:
    """Row numbers with only each `factor`-th positive one."""
    rank = positive.long().cumsum(0)
    return (~positive | (rank % factor == 0)).nonzero()[:, 0]


def raw_bytes(seed: int) -> Built:
    """Pixels 0..255 behind a batch norm: unscaled, and absorbed."""
    data = load("digits", seed)
    low, high = data.X.min(), data.X.max()
    x, xv = (255 * (v - low) / (high - low) for v in (data.X, data.Xv))
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.BatchNorm2d(1), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    return Built(
        model=model, loss=nn.CrossEntropyLoss(), optimizer=torch.optim.Adam(model.parameters(), 3e-3),
        X=x, y=data.y, Xv=xv, yv=data.yv, batch_size=64, steps=300,
    )  # fmt: skip


def two_rates(seed: int) -> Built:
    """Parameter groups: a slow body, a fast head, no decay on biases."""
    data = load("digits", seed)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    groups = [
        {"params": list(model[:4].parameters()), "lr": 5e-4},
        {"params": [model[4].weight], "lr": 5e-3, "weight_decay": 1e-2},
        {"params": [model[4].bias], "lr": 5e-3, "weight_decay": 0.0},
    ]
    return Built(
        model=model, loss=nn.CrossEntropyLoss(), optimizer=torch.optim.AdamW(groups), X=data.X,
        y=data.y, Xv=data.Xv, yv=data.yv, batch_size=64, steps=400,
    )  # fmt: skip


def _named(name: str, family: str, make: Maker, learns: float = 0.5) -> Program:
    return Program(name=name, family=family, make=make, learns=learns)


UNUSUAL: tuple[Program, ...] = (
    _named("resnet", "residual", resnet(False)),
    _named("resnet_zero_branches", "residual", resnet(True)),
    _named("zero_residual_classes", "residual", zero_residual("digits")),
    _named("zero_residual_regression", "residual", zero_residual("friedman")),
    _named("deep_tanh_xavier", "mlp", deep_tanh),
    _named("autoencoder", "autoencoder", autoencoder(0.0)),
    _named("denoising_autoencoder", "autoencoder", autoencoder(0.5), 0.4),
    _named("pixels_as_probabilities", "autoencoder", pixels_as_probabilities),
    _named("bag_of_words", "embedding", bag_of_words("mean")),
    _named("bag_of_words_sum", "embedding", bag_of_words("sum")),
    _named("categories", "embedding", categories, 0.4),
    _named("siamese", "siamese", siamese),
    _named("fine_tuning_mlp", "mlp", fine_tuning("mlp")),
    _named("fine_tuning_convnet", "convnet", fine_tuning("convnet")),
    _named("poisson_counts", "mlp", counts, 0.3),
    _named("multilabel", "mlp", multilabel),
    _named("imbalanced_learned", "mlp", imbalanced),
    _named("raw_bytes_behind_norm", "convnet", raw_bytes),
    _named("two_rates", "mlp", two_rates),
    language_program("transformer"),
    language_program("convnet"),
    language_program("gru"),
)
