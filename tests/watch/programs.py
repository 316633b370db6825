"""Training programs of many kinds, each a function of a `watching` context: what a watcher must not
change. Every one returns its tensors at the end."""

import contextlib

import torch
from torch import nn
from torch.nn import functional as F


def _data(features=6, classes=3, n=48):
    generator = torch.Generator().manual_seed(7)
    X = torch.randn(n, features, generator=generator)
    y = (X @ torch.randn(features, classes, generator=generator)).argmax(1)
    return X, y


def _mlp(hidden=8, classes=3):
    return nn.Sequential(
        nn.Linear(6, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.Tanh(),
        nn.Linear(hidden, classes),
    )


def _state(*models):
    return [t.detach().clone() for m in models for t in m.state_dict().values()] + [
        torch.get_rng_state().float()
    ]


def mlp(watching):
    model, criterion = _mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    X, y = _data()
    with watching(model, optimizer, loss=criterion):
        for _ in range(40):
            rows = torch.randperm(48)[:16]
            optimizer.zero_grad()
            criterion(model(X[rows]), y[rows]).backward()
            optimizer.step()
    return _state(model)


def convnet(watching):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Dropout(0.3),
        nn.Conv2d(4, 6, 3),
        nn.LeakyReLU(),
        nn.Flatten(),
        nn.Linear(24, 3),
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    X, (_, y) = torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(1)), _data()
    with watching(model, optimizer):
        for _ in range(30):
            rows = torch.randperm(48)[:12]
            optimizer.zero_grad()
            F.cross_entropy(model(X[rows]), y[rows]).backward()
            optimizer.step()
    return _state(model)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 5)
        self.lstm = nn.LSTM(5, 7, num_layers=2, batch_first=True, dropout=0.2)
        self.gru = nn.GRU(7, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 11)

    def forward(self, tokens):
        states, _ = self.lstm(self.embed(tokens))
        states, _ = self.gru(states)
        return {"logits": self.head(states)}


def lstm(watching):
    model = Recurrent()
    optimizer = torch.optim.RMSprop(model.parameters(), 1e-2)
    tokens = torch.randint(0, 11, (24, 9), generator=torch.Generator().manual_seed(3))
    with watching(model, optimizer):
        for _ in range(25):
            batch = tokens[torch.randperm(24)[:8]]
            logits = model(batch[:, :-1])["logits"]
            optimizer.zero_grad()
            F.cross_entropy(logits.transpose(1, 2), batch[:, 1:]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    return _state(model)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = (t.reshape(*x.shape[:2], 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(x.shape))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inputs = nn.Linear(6, 8)
        self.own = Attention()
        self.norm = nn.LayerNorm(8)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1, activation="gelu"),
            2,
            enable_nested_tensor=False,
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.inputs(x)
        x = self.norm(x + self.own(x))
        return self.head(self.encoder(x).mean(1)), x


def transformer(watching):
    model, criterion = Transformer(), nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    X, (_, y) = torch.randn(48, 5, 6, generator=torch.Generator().manual_seed(1)), _data()
    with watching(model, optimizer, loss=criterion):
        for _ in range(25):
            rows = torch.randperm(48)[:8]
            optimizer.zero_grad()
            criterion(model(X[rows])[0], y[rows]).backward()
            optimizer.step()
    return _state(model)


def gan(watching):
    generator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6))
    critic = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    first = torch.optim.Adam(generator.parameters(), 1e-3)
    second = torch.optim.Adam(critic.parameters(), 1e-3)
    X, _ = _data()
    with watching([generator, critic], [first, second]):
        for _ in range(25):
            for _ in range(2):
                fake = generator(torch.randn(12, 3)).detach()
                real = X[torch.randperm(48)[:12]]
                second.zero_grad()
                a = F.binary_cross_entropy_with_logits(critic(real), torch.ones(12, 1))
                b = F.binary_cross_entropy_with_logits(critic(fake), torch.zeros(12, 1))
                a.backward()
                b.backward()
                second.step()
            first.zero_grad()
            F.binary_cross_entropy_with_logits(
                critic(generator(torch.randn(12, 3))), torch.ones(12, 1)
            ).backward()
            first.step()
    return _state(generator, critic)


def lbfgs(watching):
    model, criterion = _mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    X, y = _data()

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(X), y)
        loss.backward()
        return loss

    with watching(model, optimizer, loss=criterion):
        for _ in range(15):
            optimizer.step(closure)
    return _state(model)


def accumulation(watching):
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    X, y = _data()
    with watching(model, optimizer):
        for _ in range(30):
            for _ in range(4):
                rows = torch.randperm(48)[:4]
                (F.cross_entropy(model(X[rows]), y[rows]) / 4).backward()
            optimizer.step()
            optimizer.zero_grad()
    return _state(model)


def clipping(watching):
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    X, y = _data()
    with watching(model, optimizer):
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(model(X), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimizer.step()
    return _state(model)


def autocast(watching):
    model = _mlp()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    X, y = _data()
    with watching(model, optimizer):
        for _ in range(30):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(X), y)
            loss.backward()
            optimizer.step()
    return _state(model)


def scaler(watching):
    model, criterion = _mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scale = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=7)
    X, y = _data()
    with watching(model, optimizer, loss=criterion):
        for _ in range(30):
            optimizer.zero_grad()
            scale.scale(criterion(model(X), y)).backward()
            scale.step(optimizer)
            scale.update()
    return _state(model)


def sparse(watching):
    model = nn.Sequential(nn.Embedding(20, 4, sparse=True), nn.Flatten())
    head = nn.Linear(12, 3)
    both = nn.ModuleList([model, head])
    optimizer = torch.optim.SparseAdam(model.parameters(), 1e-2)
    other = torch.optim.SGD(head.parameters(), 1e-1)
    tokens, (_, y) = (
        torch.randint(0, 20, (48, 3), generator=torch.Generator().manual_seed(5)),
        _data(),
    )
    with watching(both, [optimizer, other]):
        for _ in range(25):
            rows = torch.randperm(48)[:10]
            optimizer.zero_grad()
            other.zero_grad()
            F.cross_entropy(head(model(tokens[rows])), y[rows]).backward()
            optimizer.step()
            other.step()
    return _state(both)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.mix = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        hidden = self.embed(tokens)
        for _ in range(3):
            hidden = hidden + torch.tanh(self.mix(hidden))
        return self.head(hidden)


def tied(watching):
    model = Tied()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    tokens = torch.randint(0, 11, (24, 9), generator=torch.Generator().manual_seed(3))
    with watching(model, optimizer):
        for _ in range(25):
            optimizer.zero_grad(set_to_none=False)
            F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
            optimizer.step()
    return _state(model)


def second_order(watching):
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    X, y = _data()
    with watching(model, optimizer):
        for _ in range(25):
            inputs = X.clone().requires_grad_()
            loss = F.cross_entropy(model(inputs), y)
            (gradient,) = torch.autograd.grad(loss, inputs, create_graph=True)
            optimizer.zero_grad()
            (loss + gradient.pow(2).sum()).backward()
            optimizer.step()
    return _state(model)


def graph_kept(watching):
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    X, y = _data()
    with watching(model, optimizer):
        for _ in range(12):
            loss = F.cross_entropy(model(X), y)
            gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
            penalty = sum(g.square().sum() for g in gradients)
            for p in model.parameters():
                p.grad = None
            penalty.backward(retain_graph=True)
            loss.backward()
            optimizer.step()
    return _state(model)


def checkpointed(watching):
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    X, y = _data()
    with watching(model, optimizer):
        for _ in range(15):
            optimizer.zero_grad()
            hidden = torch.utils.checkpoint.checkpoint(model[:3], X, use_reentrant=False)
            F.cross_entropy(model[3:](hidden), y).backward()
            optimizer.step()
    return _state(model)


class Functional(nn.Module):
    """Raw parameters on the root, matrix products and clamps."""

    def __init__(self):
        super().__init__()
        self.W1 = nn.Parameter(torch.randn(6, 8) / 3)
        self.b1 = nn.Parameter(torch.zeros(8))
        self.W2 = nn.Parameter(torch.randn(3, 8) / 3)

    def forward(self, x):
        hidden = (x @ self.W1 + self.b1).clamp(min=0)
        return F.linear(hidden, self.W2)


def functional(watching):
    model = Functional()
    optimizer = torch.optim.Adagrad(model.parameters(), 0.05)
    X, y = _data()
    with watching(model, optimizer):
        for _ in range(30):
            optimizer.zero_grad()
            F.nll_loss(F.log_softmax(model(X), -1), y).backward()
            optimizer.step()
    return _state(model)


def frozen(watching):
    model = _mlp()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[2:].parameters(), 0.1)
    X, y = _data()
    with watching(model, optimizer):
        for step in range(25):
            optimizer.zero_grad()
            F.cross_entropy(model(X), y).backward()
            optimizer.step()
            if step % 5 == 0:
                model.eval()
                with torch.no_grad():
                    model(X)
                model.train()
    return _state(model)


class Gated(nn.Module):
    """Every way to run gates: one layer packed, both directions, two layers, cells in a loop."""

    def __init__(self):
        super().__init__()
        self.first = nn.LSTM(6, 5)
        self.second = nn.GRU(5, 4, num_layers=2, bidirectional=True, dropout=0.2)
        self.cell, self.last = nn.LSTMCell(8, 5), nn.GRUCell(5, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.first(packed)[0])
        states, _ = self.second(states)
        state, last = None, None
        for now in states:
            state = self.cell(now, state)
            last = self.last(state[0], last)
        return self.head(last)


def gated(watching):
    model = Gated()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    _, y = _data()
    x = torch.randn(7, 48, 6, generator=torch.Generator().manual_seed(2))
    with watching(model, optimizer):
        for _ in range(15):
            rows = torch.randperm(48)[:4]
            optimizer.zero_grad()
            F.cross_entropy(model(x[:, rows], [7, 6, 4, 2]), y[rows]).backward()
            optimizer.step()
    return _state(model)


def by_hand(watching):
    model, criterion = _mlp(), nn.CrossEntropyLoss()
    X, y = _data()
    with watching(model, None, loss=criterion):
        for _ in range(60):
            rows = torch.randperm(48)[:16]
            criterion(model(X[rows]), y[rows]).backward()
            with torch.no_grad():
                for p in model.parameters():
                    p.sub_(0.1 * p.grad)
                    p.grad.zero_()
    return _state(model)


def by_data(watching):
    model = _mlp()
    X, y = _data()
    with watching(model, None):
        for _ in range(60):
            rows = torch.randperm(48)[:16]
            model.zero_grad()
            F.cross_entropy(model(X[rows]), y[rows]).backward()
            for p in model.parameters():
                p.data.add_(p.grad, alpha=-0.1)
    return _state(model)


def by_autograd(watching):
    model = _mlp()
    X, y = _data()
    with watching(model, None):
        for _ in range(60):
            rows = torch.randperm(48)[:16]
            parameters = list(model.parameters())
            loss = F.cross_entropy(model(X[rows]), y[rows])
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for p, g in zip(parameters, gradients, strict=True):
                    p.sub_(g, alpha=0.1)
    return _state(model)


def by_hand_accumulated(watching):
    model = _mlp()
    X, y = _data()
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    with watching(model, None):
        for _ in range(40):
            for _ in range(3):
                rows = torch.randperm(48)[:8]
                (F.cross_entropy(model(X[rows]), y[rows]) / 3).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            for p, v in zip(model.parameters(), velocity, strict=True):
                v.mul_(0.9).add_(p.grad)
                p.data = p.data - 0.1 * v
                p.grad = None
    return _state(model)


PROGRAMS = {f.__name__: f for f in (
    mlp, convnet, lstm, gated, transformer, gan, lbfgs, accumulation, clipping, autocast, scaler,
    sparse, tied, second_order, graph_kept, checkpointed, functional, frozen, by_hand, by_data,
    by_autograd, by_hand_accumulated,
)}  # fmt: skip


@contextlib.contextmanager
def unwatched(model, optimizer, **options):
    yield None
