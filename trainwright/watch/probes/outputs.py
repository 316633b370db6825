"""What do the model's answers look like on a batch, and how many are right? Statistics of the
outputs, and their agreement with the targets."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainwright.watch.probes.collect import Collector
from trainwright.watch.probes.probe import Probe

MAX_ROWS = 512
MAX_CLASSES = 4096
PLAIN = ("output_low", "output_high", "output_spread", "output_entropy", "output_majority",
         "batch_entropy")  # fmt: skip


def put_outputs(probe: Probe, collector: Collector) -> None:
    """Puts range, spread, entropy, margin, majority and agreement of the last batch's outputs.

    Outputs are those that the loss got, where it was seen; else the root's.
    """
    if probe.pair is not None:
        raw = probe.pair[1]
    elif probe.root_outputs:
        raw = probe.root_outputs[-1]
    else:
        return
    if not raw.numel() or not raw.is_floating_point():
        return
    to_rows = probe.input_axis()
    rows = to_rows(raw)
    stride = max(1, math.ceil(rows.shape[0] / MAX_ROWS))
    rows = rows[::stride, :MAX_CLASSES].float()
    N, C = rows.shape
    low, high = torch.aminmax(rows)
    collector.put("output_low", low)
    collector.put("output_high", high)
    if N > 1:
        spread = torch.linalg.vector_norm(rows - rows.mean(dim=0), dim=0).mean()
        collector.put("output_spread", spread, factor=(N - 1) ** -0.5)
    chosen = None
    if C > 1:
        logarithms = torch.log_softmax(rows, dim=-1)
        entropy = torch.dot(logarithms.exp().view(-1), logarithms.view(-1))
        collector.put("output_entropy", entropy, factor=-1 / (N * math.log(C)))
        two, places = rows.topk(2, dim=-1)
        chosen = places[:, 0]
        collector.put("largest", two.mean(dim=0)[0])
        collector.put("second", two.mean(dim=0)[1])
        counts = torch.zeros(C, device=rows.device)
        counts.scatter_add_(0, chosen, torch.ones(N, device=rows.device))
        collector.put("output_majority", counts.max(), factor=1 / N)
    if probe.pair is not None:
        _put_classes(probe.pair[2].detach(), C, collector)
        _put_agreement(probe.pair[0], raw, rows, chosen, probe.pair[2], stride, collector)


def _put_classes(target: Tensor, num_outputs: int, collector: Collector) -> None:
    """Entropy of the batch's classes in nats: of indices, one-hot rows, or zeros and ones."""
    if not target.is_floating_point() and target.dim() == 1 and num_outputs > 1:
        counts = torch.zeros(num_outputs, device=target.device)
        ones = torch.ones(len(target), device=target.device)
        counts.scatter_add_(0, target.long().clamp(0, num_outputs - 1), ones)
    elif target.dim() == 2 and target.shape[1] > 1:
        counts = target.float().clamp(min=0).sum(dim=0)
    elif target.numel() == target.shape[0] and num_outputs == 1:
        share = target.float().clamp(0, 1).mean()
        counts = torch.stack([share, 1 - share])
    else:
        return
    shares = counts / counts.sum().clamp(min=1e-12)
    collector.put("batch_entropy", -torch.xlogy(shares, shares).sum())


def _put_agreement(
    loss: str,
    raw: Tensor,
    rows: Tensor,
    chosen: Tensor | None,
    target: Tensor,
    stride: int,
    collector: Collector,
) -> None:
    target = target.to(rows.device)
    if (
        not target.is_floating_point()
        and chosen is not None
        and target.numel() * rows.shape[1] == raw.numel()
    ):
        right = target.reshape(-1)[::stride]
        # a class below zero marks places that do not count (ignore_index)
        collector.put("agree_class", (chosen == right).sum())
        collector.put("counted", (right >= 0).sum())
        return
    if target.numel() != raw.numel() or target.is_complex():
        return
    shaped = target.reshape(raw.shape)
    if loss in ("cross_entropy", "nll_loss") and shaped.dim() > 1:
        shaped = shaped.movedim(1, -1)
    wanted = shaped.reshape(-1, rows.shape[1] if shaped.dim() > 1 else 1)[
        ::stride, :MAX_CLASSES
    ].float()
    binary = ((wanted == 0) | (wanted == 1)).all()
    signs = (wanted.abs() == 1).all()
    collector.put("target_binary", binary.float())
    collector.put("target_signs", signs.float())
    collector.put("target_one_hot", ((wanted.sum(dim=-1) - 1).abs() < 1e-4).all().float())
    if chosen is not None:
        collector.put("agree_one_hot", (chosen == wanted.argmax(dim=-1)).float().mean())
    border = 0.0 if "logits" in loss or "soft_margin" in loss else 0.5
    collector.put("agree_binary", ((rows > border) == (wanted > 0.5)).float().mean())
    collector.put("agree_signs", ((rows > 0) == (wanted > 0)).float().mean())
    collector.put("high_share", (rows > border).float().mean())
    error = (rows - wanted).square().mean()
    variance = (wanted - wanted.mean(dim=0)).square().mean()
    collector.put("explained", 1 - error / variance)


def output_values(fetched: Mapping[str, list[tuple[int, float]]]) -> dict[str, float]:
    """The step readings of the outputs from what was fetched; NaN where there is none."""

    def get(name: str) -> float:
        pairs = fetched.get(name)
        return pairs[0][1] if pairs else math.nan

    values = {name: get(name) for name in PLAIN}
    values["output_margin"] = get("largest") - get("second")
    if get("counted") > 0:
        score = get("agree_class") / get("counted")
    elif get("target_binary") == 1:
        one_hot = get("target_one_hot") == 1 and not math.isnan(get("agree_one_hot"))
        score = get("agree_one_hot") if one_hot else get("agree_binary")
        if math.isnan(values["output_majority"]):
            values["output_majority"] = max(get("high_share"), 1 - get("high_share"))
    elif get("target_signs") == 1:
        score = get("agree_signs")
    else:
        score = get("explained") if math.isfinite(get("explained")) else math.nan
    return values | {"batch_score": score}
