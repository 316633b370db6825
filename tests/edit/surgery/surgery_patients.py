"""Networks as people write them, each with a batch, a loss and what is special about it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class FunctionalLoop(nn.Module):
    """Layers in a list, the non-linearity a function in a loop."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16)])
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return F.log_softmax(self.out(F.dropout(x, 0.1, self.training)), dim=1)


class SharedRelu(nn.Module):
    """One module of the non-linearity, used everywhere, and a method of a tensor at the end."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.c(self.act(self.b(self.act(self.a(x))))).softmax(-1)


class Recurrent(nn.Module):
    """An LSTM and a plain recurrent layer."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 10, num_layers=2, batch_first=True, dropout=0.1)
        self.rnn = nn.RNN(10, 10, batch_first=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x):
        outputs, _ = self.lstm(x)
        outputs, _ = self.rnn(outputs)
        return self.head(outputs[:, -1])


class Encoder(nn.Module):
    """torch's own Transformer encoder with its fused inference path."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens)).mean(1))


class DataBranch(nn.Module):
    """Which layers run depends on the numbers."""

    def __init__(self):
        super().__init__()
        self.first, self.one, self.two = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        if x.sum() > 0:
            return self.head(F.relu(self.one(x)))
        return self.head(self.two(x).relu())


class ShapeBranch(nn.Module):
    """A dict comes out; vectors and images go in."""

    def __init__(self):
        super().__init__()
        self.flat = nn.Linear(8, 12)
        self.conv = nn.Conv2d(1, 12, 3, padding=1)
        self.mix = nn.Linear(12, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        h = F.elu(self.flat(x)) if x.ndim == 2 else F.elu(self.conv(x)).mean((2, 3))
        return {"logits": self.head(F.elu(self.mix(h))), "features": h}


class Projection(nn.Module):
    """GPT-2's Conv1D: weights the other way round, through addmm."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) * 0.1)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return flat.view(*x.shape[:-1], self.weight.shape[1])


class NewGelu(nn.Module):
    """As transformers writes it for GPT-2."""

    def forward(self, x):
        inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
        return 0.5 * x * (1.0 + torch.tanh(inner))


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = Projection(width, 3 * width), Projection(width, width)
        self.act = NewGelu()
        self.c_fc, self.c_out = Projection(width, 4 * width), Projection(4 * width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(C, dim=2)
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=0.1 if self.training else 0.0
        )
        x = x + self.c_proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.c_out(self.act(self.c_fc(self.ln_2(x))))


class Gpt(nn.Module):
    """A small GPT-2: tied head, learned positions, functional attention."""

    def __init__(self, vocabulary=20, width=16, num_blocks=2):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(16, width)
        self.blocks = nn.ModuleList(GptBlock(width, 2) for _ in range(num_blocks))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight
        nn.init.normal_(self.wte.weight, std=0.1)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class BertLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.act, self.drop = nn.GELU(), nn.Dropout(0.1)

    def forward(self, x, mask):
        B, T, C = x.shape
        parts = (f(x).view(B, T, self.heads, -1).transpose(1, 2)
                 for f in (self.query, self.key, self.value))  # fmt: skip
        q, k, v = parts
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(mask[:, None, None, :] == 0, -1e9)
        attended = self.drop(torch.softmax(scores, -1)) @ v
        x = self.norm_1(x + self.output(attended.transpose(1, 2).reshape(B, T, C)))
        return self.norm_2(x + self.drop(self.down(self.act(self.up(x)))))


class Bert(nn.Module):
    """A small BERT: keyword arguments, softmax attention by hand, tanh pooler."""

    def __init__(self, width=16):
        super().__init__()
        self.words, self.places = nn.Embedding(20, width, padding_idx=0), nn.Embedding(16, width)
        self.norm = nn.LayerNorm(width)
        self.layer = nn.ModuleList(BertLayer(width, 2) for _ in range(2))
        self.pooler, self.classifier = nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, input_ids, attention_mask):
        x = self.norm(self.words(input_ids) + self.places.weight[: input_ids.shape[1]])
        for layer in self.layer:
            x = layer(x, attention_mask)
        return self.classifier(torch.tanh(self.pooler(x[:, 0])))


class ResidualBlock(nn.Module):
    def __init__(self, given, made, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(made), nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1:
            self.down = nn.Sequential(
                nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x if self.down is None else self.down(x)
        return self.relu(y)


class ResNet(nn.Module):
    """A small residual network, in-place ReLU used twice a block."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(ResidualBlock(8, 8), ResidualBlock(8, 16, 2))
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


class Tagger(nn.Module):
    """An LSTM over packed sequences, a tag for each token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, 6, bidirectional=True, batch_first=True)
        self.hidden, self.out = nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(
            self.embed(tokens), lengths, batch_first=True, enforce_sorted=False
        )
        outputs, _ = self.lstm(packed)
        padded, _ = pad_packed_sequence(outputs, batch_first=True, total_length=tokens.shape[1])
        return self.out(torch.tanh(self.hidden(padded)))


def twice(given, made):
    return nn.Sequential(nn.Conv2d(given, made, 3, padding=1), nn.ReLU(),
                         nn.Conv2d(made, made, 3, padding=1), nn.ReLU())  # fmt: skip


class UNet(nn.Module):
    """Down, up through a transposed convolution, and across by concatenation; sigmoid at the end."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = twice(1, 4), twice(4, 8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.up1 = twice(8, 4)
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        return torch.sigmoid(self.out(self.up1(torch.cat([a, self.up(b)], 1))))


class Bare(nn.Module):
    """Parameters without layers of their own."""

    def __init__(self):
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(8, 12) * 0.3)
        self.b1 = nn.Parameter(torch.zeros(12))
        self.w2 = nn.Parameter(torch.randn(12, 12) * 0.3)
        self.w3 = nn.Parameter(torch.randn(3, 12) * 0.3)

    def forward(self, x):
        return F.linear(F.relu(x @ self.w1 + self.b1) @ self.w2, self.w3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    build: Callable[[], nn.Module]
    batches: tuple[Any, ...]
    targets: torch.Tensor
    loss: Callable[[Any, torch.Tensor], torch.Tensor]


def cross_entropy(outputs, targets):
    outputs = outputs["logits"] if isinstance(outputs, dict) else outputs
    return F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))


def square(outputs, targets):
    return (outputs - targets).square().mean()


def own(seed):
    return torch.Generator().manual_seed(seed)


ROWS = torch.randn(16, 8, generator=own(0))
CLASSES = torch.randint(0, 3, (16,), generator=own(1))
TOKENS = torch.randint(1, 20, (16, 7), generator=own(2))
IMAGES = torch.rand(16, 1, 8, 8, generator=own(3))
SERIES = torch.randn(16, 5, 6, generator=own(4))
LENGTHS = torch.randint(2, 8, (16,), generator=own(5))
MASK = (torch.arange(7)[None] < LENGTHS[:, None]).long()


def deep_linear():
    return nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12),
                         nn.Dropout(0.1), nn.Linear(12, 3), nn.Softmax(-1))  # fmt: skip


PATIENTS = {
    name: Patient(build=build, batches=batches, targets=targets, loss=loss)
    for name, build, batches, targets, loss in (
        ("Sequential", deep_linear, (ROWS,), CLASSES, cross_entropy),
        ("functional in a loop", FunctionalLoop, (ROWS,), CLASSES, cross_entropy),
        ("shared ReLU", SharedRelu, (ROWS,), CLASSES, cross_entropy),
        ("LSTM and RNN", Recurrent, (SERIES,), CLASSES, cross_entropy),
        ("TransformerEncoder", Encoder, (TOKENS,), CLASSES, cross_entropy),
        ("data branch", DataBranch, (ROWS, ROWS + 3, -ROWS - 3), CLASSES, cross_entropy),
        ("shape branch, dict", ShapeBranch, (ROWS, IMAGES), CLASSES, cross_entropy),
        ("GPT-2", Gpt, (TOKENS,), TOKENS.roll(-1, 1), cross_entropy),
        ("BERT", Bert, ({"input_ids": TOKENS, "attention_mask": MASK},), CLASSES, cross_entropy),
        ("ResNet", ResNet, (IMAGES,), CLASSES, cross_entropy),
        ("LSTM tagger", Tagger, ((TOKENS, LENGTHS),), TOKENS % 3, cross_entropy),
        ("U-Net", UNet, (IMAGES,), IMAGES.round(), square),
        ("bare parameters", Bare, (ROWS,), CLASSES, cross_entropy),
    )
}


def built(name: str, seed: int = 0) -> nn.Module:
    """The patient's network, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PATIENTS[name].build()
