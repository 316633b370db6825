"""How does a run survive a kill? Its state goes to the store every now and then, so rarely that it
costs a stated share of the time, and comes back to the bit."""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from trainwright.core.errors import StoreError
from trainwright.core.records import Notice
from trainwright.store.contract import Lease, Store
from trainwright.train.trainee import Tensors, Trainee, capture, restore

COST_SHARE = 0.01  # time between checkpoints is this many times what one costs, inverted
FEWEST_SECONDS = 5.0  # and never more often than this [assumed: less is quickly redone]
KEPT = 2  # the newest may be damaged: the one before is kept too

Kind = Literal["latest", "best", "final"]


@dataclass(slots=True, kw_only=True)
class Checkpoints:
    """Writes and reads the states of one run."""

    store: Store
    run_id: str
    lease: Lease | None = None
    _cost: float = 0.0
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._last = time.perf_counter()

    def is_due(self) -> bool:
        """Whether the time since the last one has earned what the next one costs."""
        return time.perf_counter() - self._last > max(FEWEST_SECONDS, self._cost / COST_SHARE)

    def save(self, trainee: Trainee) -> None:
        """Writes the whole state as the newest checkpoint, and drops all but the last two."""
        began = time.perf_counter()
        tensors, plain = capture(trainee)
        files = {
            "state.safetensors": self._put(tensors),
            "state.json": self._put_plain(plain),
        }
        if trainee.best is not None:
            files["best.safetensors"] = self._put(trainee.best.weights)
        self.store.save_checkpoint(self.run_id, step=trainee.step, kind="latest", files=files)
        self._forget_old()
        self._last = time.perf_counter()
        self._cost = self._last - began

    def _forget_old(self) -> None:
        """Drops all but the last two, with the files that only they name."""
        saved = self.store.checkpoints(self.run_id)
        latest = [checkpoint for checkpoint in saved if checkpoint.kind == "latest"]
        old = latest[KEPT:]
        kept = {digest for c in saved if c not in old for digest in c.files.values()}
        for checkpoint in old:
            self.store.delete_checkpoint(checkpoint)
            for digest in set(checkpoint.files.values()) - kept:
                self.store.artefacts.delete(digest)

    def save_weights(self, weights: Tensors, *, step: int, kind: Kind, plain: Any = None) -> None:
        """Writes weights alone, with any plain values needed to use them."""
        files = {"weights.safetensors": self._put(weights)}
        if plain is not None:
            files["use.json"] = self._put_plain(plain)
        self.store.save_checkpoint(self.run_id, step=step, kind=kind, files=files)

    def restore(self, trainee: Trainee, *, before: int | None = None) -> list[Notice]:
        """Puts the newest readable state into `trainee`, of a step below `before` where that is
        given; none is the start of the run.

        A damaged checkpoint is passed over with a notice.
        """
        notices = []
        for saved in self.store.checkpoints(self.run_id, kind="latest"):
            if before is not None and saved.step >= before:
                continue
            try:
                state = load_tensors(self.store.artefacts.get(saved.files["state.safetensors"]))
                plain = json.loads(self.store.artefacts.get(saved.files["state.json"]))
                best = saved.files.get("best.safetensors")
                weights = None if best is None else load_tensors(self.store.artefacts.get(best))
            except (StoreError, SafetensorError, ValueError, KeyError):
                notices.append(Notice(code="checkpoint_damaged", values={"step": saved.step}))
                continue
            restore(trainee, state, plain, weights)
            return notices
        return notices

    def load_weights(self, kind: Kind) -> tuple[Tensors, Any] | None:
        """The newest weights of a kind and their plain values."""
        saved = next(iter(self.store.checkpoints(self.run_id, kind=kind)), None)
        if saved is None:
            return None
        weights = load_tensors(self.store.artefacts.get(saved.files["weights.safetensors"]))
        use = saved.files.get("use.json")
        return weights, None if use is None else json.loads(self.store.artefacts.get(use))

    def _put(self, tensors: Tensors) -> str:
        """The run's name goes in with the bytes: equal weights of two runs stay two files, so that
        one run's clearing up never takes the other's."""
        data = save_tensors(_apart(tensors), metadata={"run": self.run_id})
        return self.store.artefacts.put(data)

    def _put_plain(self, plain: Any) -> str:
        return self.store.artefacts.put(json.dumps({"run": self.run_id, **plain}).encode())


def _apart(tensors: Tensors) -> Tensors:
    """Contiguous copies on the host that share no memory, as safetensors asks."""
    return {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}


def weights_sha256(weights: Tensors) -> str:
    """sha256 over the tensors' bytes in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
