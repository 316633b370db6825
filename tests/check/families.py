"""Models as users write them: functional calls, own parameters, residual and recurrent nets."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.c1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.b1 = nn.BatchNorm2d(out)
        self.c2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.b2 = nn.BatchNorm2d(out)
        nn.init.zeros_(self.b2.weight)
        self.skip = nn.Conv2d(channels, out, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        h = F.relu(self.b1(self.c1(x)), inplace=True)
        return F.relu(self.b2(self.c2(h)) + self.skip(x), inplace=True)


class ResNet(nn.Module):
    def __init__(self, width=8, classes=10, channels=3):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(Block(width, width, 1), Block(width, 2 * width, 2))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.head(self.blocks(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


class CharacterModel(nn.Module):
    """A small decoder with tied embeddings, written with functional attention."""

    def __init__(self, vocab=11, size=16, length=12, causal=True):
        super().__init__()
        self.embed = nn.Embedding(vocab, size)
        self.place = nn.Parameter(torch.randn(length, size) * 0.02)
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
        self.n1, self.n2, self.n3 = (nn.LayerNorm(size) for _ in range(3))
        self.head = nn.Linear(size, vocab, bias=False)
        self.head.weight = self.embed.weight
        self.causal = causal

    def forward(self, x):
        h = self.embed(x) + self.place[: x.shape[1]]
        B, T, D = h.shape
        q, k, v = self.qkv(self.n1(h)).view(B, T, 3, 2, D // 2).permute(2, 0, 3, 1, 4)
        rate = 0.1 if self.training else 0.0
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, dropout_p=rate)
        h = h + self.out(seen.transpose(1, 2).reshape(B, T, D))
        h = h + self.down(F.gelu(self.up(self.n2(h))))
        return self.head(self.n3(h))


class Encoder(nn.Module):
    """A dict comes back, as from many libraries."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        return {"logits": self.head(self.encoder(self.embed(tokens)).mean(1)), "length": 7}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 8, 2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Bare(nn.Module):
    """No layers at all, only parameters and functions."""

    def __init__(self, inputs=6, hidden=16):
        super().__init__()
        self.first = nn.Parameter(torch.randn(inputs, hidden) * 0.4)
        self.offset = nn.Parameter(torch.zeros(hidden))
        self.second = nn.Parameter(torch.randn(hidden, 1) * 0.3)

    def forward(self, x):
        hidden = torch.tanh(x @ self.first + self.offset)
        return torch.sigmoid(hidden @ self.second).squeeze(1)


class Siamese(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 4))

    def forward(self, a, b):
        a, b = self.body(a), self.body(b)
        return (a * b).sum(1, keepdim=True), a


class Between(nn.Module):
    """Two layers with any function between them."""

    def __init__(self, between, head=None, outputs=3):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, outputs)
        self.between = between
        self.last = head or (lambda x: x)

    def forward(self, x):
        return self.last(self.b(self.between(self.a(x))))


def table(rows=200, features=6, classes=3, seed=0):
    own = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, features, generator=own)
    return x, (x @ torch.randn(features, classes, generator=own)).argmax(1)


def text(rows=64, length=12, vocab=11, seed=0):
    own = torch.Generator().manual_seed(seed)
    steps = torch.randint(0, 3, (rows, length + 1), generator=own)
    tokens = steps.cumsum(1) % vocab
    return tokens[:, :-1], tokens[:, 1:]
