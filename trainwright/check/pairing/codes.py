"""Which two numbers stand for no and yes, where the loss wants 0 and 1? Found by asking the loss
again, with 0 and 1 in their places."""

from dataclasses import replace

import torch
from torch import Tensor

from trainwright.check.sample import Sample
from trainwright.core.facts import HeadFacts, LossFacts, TargetFacts

Codes = tuple[float, float]


def suspected(sample: Sample, head: HeadFacts | None, loss: LossFacts | None) -> Codes | None:
    """The two values of targets, one for each example, that one output is to learn by a loss that
    is not content with them: it raises, it has no least value, or it means 0 and 1 by them."""
    targets = sample.targets
    if head is None or loss is None or head.num_outputs != 1 or not isinstance(targets, Tensor):
        return None
    if targets.ndim == 0 or targets.numel() != len(targets) or targets.is_complex():
        return None
    flat = targets.detach().reshape(-1)
    values = torch.unique(flat[torch.isfinite(flat)]).tolist()
    if len(values) != 2 or values == [0, 1]:
        return None
    low, high = map(float, values)
    signs = (low, high) == (-1.0, 1.0)
    meant = loss.target_kind == "zero_one" if signs else loss.falls_when_right_rises is False
    return (low, high) if meant or loss.error is not None else None


def wants_zero_one(loss: LossFacts) -> bool:
    """Asked with 0 and 1, it takes them for what they are."""
    falls = loss.falls_when_right_rises is True
    return loss.error is None and falls and loss.target_kind == "zero_one"


def zero_one(targets: Tensor, codes: Codes) -> Tensor:
    """0 for the lower code, 1 for the higher; what is neither stays."""
    low, high = codes
    found = targets.clone()
    found[targets == low], found[targets == high] = 0, 1
    return found


def recoded(sample: Sample, codes: Codes) -> Sample:
    """The sample with 0 and 1 for targets."""
    whole = sample.all_targets
    return replace(sample, targets=zero_one(sample.targets, codes),
                   all_targets=None if whole is None else zero_one(whole, codes))  # fmt: skip


def with_codes(found: TargetFacts, given: TargetFacts, codes: Codes) -> TargetFacts:
    """Facts that were `found` of recoded targets, beside what the `given` ones are."""
    return replace(found, kind=given.kind, codes=codes, low=given.low, high=given.high,
                   mean=given.mean, sd=given.sd, kurtosis=given.kurtosis)  # fmt: skip
