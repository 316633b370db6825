"""How does a causal language model on characters look, and how does it look when it sees the future?
Three architectures that guess the next character; the sick ones read what they must guess."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clinic import score
from clinic.program import Built, Program

TIME, WIDTH = 24, 48
SYLLABLES = ("ka", "lo", "mi", "ren", "tus", "ve", "shi", "od", "an", "que")
LETTERS = "".join(sorted(set("".join(SYLLABLES) + " ")))


def text(seed: int, length: int = 30_000) -> Tensor:
    """A made-up language: words of one to three syllables, each drawing its followers unevenly."""
    generator = torch.Generator().manual_seed(seed)
    follow = torch.rand(len(SYLLABLES), len(SYLLABLES), generator=generator).pow(4)
    current, parts, size = 0, [], 0
    while size < length:
        current = int(torch.multinomial(follow[current], 1, generator=generator))
        gap = " " if torch.rand((), generator=generator) < 0.4 else ""
        parts.append(SYLLABLES[current] + gap)
        size += len(parts[-1])
    return torch.tensor([LETTERS.index(c) for c in "".join(parts)[:length]])


class Attention(nn.Module):
    """Own attention with functional calls; `causal` masks what comes later."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 96), nn.GELU(), nn.Linear(96, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, 3, C // 3).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).reshape(B, T, C))
        return x + self.feed(self.norm2(x))


class Writer(nn.Module):
    """[batch, time] characters -> [batch, time, letter] scores of the next one."""

    def __init__(self, body: str, causal: bool) -> None:
        super().__init__()
        self.body, self.causal = body, causal
        self.embed = nn.Embedding(len(LETTERS), WIDTH)
        self.positions = nn.Embedding(TIME, WIDTH)
        width = WIDTH
        if body == "transformer":
            self.blocks: nn.Module = nn.Sequential(Attention(causal), Attention(causal))
        elif body == "convnet":
            self.blocks = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 5) for _ in range(2))
        else:
            self.blocks = nn.GRU(WIDTH, WIDTH, batch_first=True, bidirectional=not causal)
            width = WIDTH if causal else 2 * WIDTH
        self.head = nn.Linear(width, len(LETTERS))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        if self.body == "transformer":
            h = self.blocks(h + self.positions.weight)
        elif self.body == "gru":
            h, _ = self.blocks(h)
        else:
            assert isinstance(self.blocks, nn.ModuleList)
            h = h.transpose(1, 2)
            for layer in self.blocks:
                padded = F.pad(h, (4, 0) if self.causal else (2, 2))
                h = h + F.relu(layer(padded))
            h = h.transpose(1, 2)
        return self.head(h)


def next_letter(outputs: Any, y: Tensor) -> Tensor:
    """Cross-entropy over all positions."""
    return F.cross_entropy(outputs.flatten(0, 1), y.flatten())


def build(body: str, causal: bool, seed: int) -> Built:
    """X are 24 characters, y the same shifted by one."""
    letters = text(seed)
    windows = letters.unfold(0, TIME + 1, 12)
    x, y = windows[:, :-1].contiguous(), windows[:, 1:].contiguous()
    cut = int(0.85 * len(x))
    model = Writer(body, causal)
    return Built(
        model=model, loss=next_letter, optimizer=torch.optim.AdamW(model.parameters(), 4e-3),
        X=x[:cut], y=y[:cut], Xv=x[cut:], yv=y[cut:], batch_size=32, steps=250,
        score=score.skill_of_classes,
    )  # fmt: skip


def language_program(body: str, *, causal: bool = True) -> Program:
    """Healthy when causal; M213 otherwise, whose score flatters, so that it shows no harm."""
    name = f"language_{body}"
    return Program(
        name=name if causal else f"M213_unmasked/{name}",
        family="language",
        make=partial(build, body, causal),
        fault=None if causal else "M213",
        kind="" if causal else "unmasked",
        twin=None if causal else name,
        learns=0.3,
        harm=causal,
    )
