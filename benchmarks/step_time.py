"""Is our loop slower than a well-written bare PyTorch loop? Seconds per step of an MLP and a CNN on
digits, beside the loops that people use."""

import logging
import os
import warnings

os.environ["KERAS_BACKEND"] = "torch"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from harness import arguments, header, interleaved, publish, ratios, timed
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import trainwright as tw

BATCH, RATE, MOMENTUM = 64, 0.05, 0.9
SHORT, LONG = 10, 60  # epochs; the slope between them is the cost of a step


def digits(*, image: bool) -> tuple[torch.Tensor, torch.Tensor]:
    bunch = load_digits()
    X = torch.tensor(bunch.data / 16.0, dtype=torch.float32)
    return (X.reshape(-1, 1, 8, 8) if image else X), torch.tensor(bunch.target)


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def bare(make, X, y, epochs: int) -> None:
    """The reference: randperm index, plain optimiser, nothing else."""
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    n = len(X) // BATCH * BATCH
    for _ in range(epochs):
        order = torch.randperm(len(X))
        for i in range(0, n, BATCH):
            rows = order[i : i + BATCH]
            loss = F.cross_entropy(model(X[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def dataloader(make, X, y, epochs: int) -> None:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    data = torch.utils.data.TensorDataset(X, y)
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True)
    for _ in range(epochs):
        total = 0.0
        for inputs, target in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), target)
            loss.backward()
            optimizer.step()
            total += loss.item()


def ours(make, X, y, epochs: int, *, watch: bool = True) -> None:
    """Watched as by default, at a budget of 2 %."""
    tw.fit(
        X, y, model=make, loss="cross_entropy", budget=f"{epochs} epochs", quiet=True, watch=watch,
        data={"valid_fraction": 0.0, "test_fraction": 0.0},
        algorithm={"optimizer": "sgd", "learning_rate": RATE, "momentum": MOMENTUM,
                   "batch_size": BATCH, "schedule": "constant", "weight_decay": 0.0},
    )  # fmt: skip


def skorch_loop(make, X, y, epochs: int) -> None:
    from skorch import NeuralNetClassifier

    NeuralNetClassifier(
        make(), criterion=nn.CrossEntropyLoss, max_epochs=epochs, lr=RATE, batch_size=BATCH,
        optimizer=torch.optim.SGD, optimizer__momentum=MOMENTUM, train_split=None, verbose=0,
        iterator_train__shuffle=True, iterator_train__drop_last=True,
    ).fit(X, y)  # fmt: skip


def lightning_loop(make, X, y, epochs: int) -> None:
    import lightning

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = make()

        def training_step(self, batch, index):
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=RATE, momentum=MOMENTUM)

    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(X, y), batch_size=BATCH, shuffle=True, drop_last=True
    )
    lightning.Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    ).fit(Net(), loader)  # fmt: skip


def keras_loop(make, X, y, epochs: int) -> None:
    import keras

    layers = keras.layers
    if X.dim() == 2:
        model = keras.Sequential([
            layers.Dense(128, activation="relu"), layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ])  # fmt: skip
        inputs = X.numpy()
    else:
        model = keras.Sequential([
            layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPool2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPool2D(),
            layers.Flatten(), layers.Dense(10),
        ])  # fmt: skip
        inputs = X.permute(0, 2, 3, 1).contiguous().numpy()
    model.compile(
        optimizer=keras.optimizers.SGD(RATE, momentum=MOMENTUM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    n = len(X) // BATCH * BATCH
    model.fit(inputs[:n], np.asarray(y)[:n], batch_size=BATCH, epochs=epochs, verbose=0)


LOOPS = {
    "bare": bare, "trainwright": ours, "DataLoader loop": dataloader, "skorch": skorch_loop,
    "Lightning": lightning_loop, "Keras on torch": keras_loop,
}  # fmt: skip


def measure(make, *, image: bool, rounds: int, names: list[str]) -> list[str]:
    X, y = digits(image=image)
    steps = len(X) // BATCH

    def slope(loop) -> float:
        short = timed(lambda: loop(make, X, y, SHORT))
        return (timed(lambda: loop(make, X, y, LONG)) - short) / ((LONG - SHORT) * steps)

    for name in names:
        LOOPS[name](make, X, y, 2)  # imports and warm-up
    seconds = interleaved(
        {name: (lambda loop=LOOPS[name]: slope(loop)) for name in names}, rounds=rounds
    )
    table = ratios(seconds, "bare")
    lines = []
    for name in names:
        middle, low, high = table[name]
        micro = 1e6 * float(np.median(seconds[name]))
        lines.append(
            f"| {make.__name__} | {name} | {micro:.0f} | {middle:.3f} | {low:.3f}-{high:.3f} |"
        )
    return lines


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=list(LOOPS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    names = ["bare", *[n for n in options.only if n != "bare"]]
    lines = [
        header("Step time: our loop beside others", *(["skorch", "lightning", "keras"] if len(names) > 3 else [])),
        f"Digits, batch {BATCH}, SGD momentum {MOMENTUM}, one thread. Slope between {SHORT} and {LONG} epochs;",
        f"{options.rounds} interleaved rounds; ratio to the bare loop of the same round. Must reach: <= 0.95.\n",
        "| model | loop | us a step (median) | ratio (median) | low-high |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for make, image in ((mlp, False), (cnn, True)):
        lines += measure(make, image=image, rounds=options.rounds, names=names)
    publish("step_time", "\n".join(lines), write=options.write)


if __name__ == "__main__":
    main()
