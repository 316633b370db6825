"""Which network reads a sequence step by step? Layers of rnn, gru or lstm cells, a readout over
their states that never looks at padding, and a linear head."""

from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from trainwright.core.errors import ModelError
from trainwright.core.phrases import phrase
from trainwright.core.records import Signature
from trainwright.model.knobs import ModelKnobs
from trainwright.model.layers import start
from trainwright.model.resolve import is_waveform

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
RNN_ACTIVATIONS = ("tanh", "relu")  # what torch's RNN has kernels for
# Raw sound is read in frames of so many samples, 10 ms at 8 kHz: a step a sample would take
# thousands of steps [assumed]
FRAME = 80


class Tokens(nn.Module):
    """Ids [batch, step] as learned vectors; id 0 is padding, its vector stays 0."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, width, padding_idx=0)

    def forward(
        self, tokens: Int64[Tensor, "batch step"]
    ) -> tuple[Float[Tensor, "batch step channel"], Bool[Tensor, "batch step"]]:
        return self.vectors(tokens), tokens != 0


class Rows(nn.Module):
    """An image [batch, channel, height, width] row by row: [batch, height, channel * width]."""

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch step value"]:
        return x.transpose(1, 2).flatten(2)


class Moments(nn.Module):
    """Sound [batch, band, time] moment by moment, or raw sound in frames of `frame` samples:
    [batch, time // frame, band * frame]; samples that fill no frame are left out."""

    def __init__(self, frame: int) -> None:
        super().__init__()
        self.frame = frame

    def forward(self, x: Float[Tensor, "batch band time"]) -> Float[Tensor, "batch step value"]:
        whole = x.shape[2] - x.shape[2] % self.frame
        return x[:, :, :whole].unflatten(2, (-1, self.frame)).transpose(1, 2).flatten(2)


class Recurrent(nn.Module):
    """Outputs [batch, output] from a sequence: what `reading` makes of the input, through the
    cells, to the last state or the mean or largest of all states, to the head.

    `reading` gives [batch, step, channel], for text with a mask of what is no padding. Padding
    stands at the end, where it cannot change the states before it, and is not read out. A text of
    padding only is the zero state. Source: Elman 1990 (rnn); Cho et al. 2014, arXiv:1406.1078
    (gru); Hochreiter & Schmidhuber 1997 (lstm).
    """

    def __init__(
        self, reading: nn.Module, cells: nn.RNNBase, readout: str, dropout: float, head: nn.Linear
    ) -> None:
        super().__init__()
        self.reading, self.cells, self.readout = reading, cells, readout
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.head = head

    def forward(
        self, x: Float[Tensor, "batch ..."] | Int64[Tensor, "batch step"]
    ) -> Float[Tensor, "batch output"]:
        read = self.reading(x)
        sequence, there = read if isinstance(read, tuple) else (read, None)
        states, _ = self.cells(sequence)
        return self.head(self.dropout(read_out(states, there, self.readout)))


def read_out(
    states: Float[Tensor, "batch step unit"], there: Bool[Tensor, "batch step"] | None, how: str
) -> Float[Tensor, "batch unit"]:
    """The last state, or the mean or maximum over steps, of the steps that are `there`; zeros where
    none is."""
    if there is None:
        match how:
            case "last":
                return states[:, -1]
            case "max":
                return states.amax(dim=1)
            case _:
                return states.mean(dim=1)
    counts, some = there.sum(dim=1, keepdim=True), there.any(dim=1, keepdim=True)
    match how:
        case "last":
            steps = torch.arange(there.shape[1], device=there.device)
            last = torch.where(there, steps, 0).amax(dim=1)
            found = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
        case "max":
            found = states.masked_fill(~there.unsqueeze(2), -torch.inf).amax(dim=1)
        case _:
            found = (states * there.unsqueeze(2)).sum(dim=1) / counts.clamp(min=1)
    return torch.where(some, found, torch.zeros((), dtype=states.dtype, device=states.device))


def build_recurrent(knobs: ModelKnobs, signature: Signature, num_outputs: int) -> nn.Module:
    """`depth` layers of `width` cells. text: token ids; sound: (bands, time), raw in frames; images
    row by row; arrays of (time, channels) as they are.

    Raises ModelError for a depth of 0, and for an activation that the cell does not have.
    """
    assert isinstance(knobs.depth, int), "knobs are resolved before building"
    assert isinstance(knobs.width, int)
    _check(knobs)
    reading, channels = _reading(knobs.width, signature)
    between = float(knobs.dropout) if knobs.depth > 1 else 0.0
    options: dict[str, Any] = {"num_layers": knobs.depth, "batch_first": True, "dropout": between}
    if knobs.cell == "rnn":
        options["nonlinearity"] = knobs.activation
    cells = CELLS[knobs.cell](channels, knobs.width, **options)
    if knobs.init != "torch":
        _start_cells(cells, knobs)
    head = start(nn.Linear(knobs.width, num_outputs), "none", knobs)
    return Recurrent(reading, cells, knobs.readout, float(knobs.dropout), head)


def _reading(width: int, signature: Signature) -> tuple[nn.Module, int]:
    """What turns an example into steps, and the channels of a step."""
    shape = signature.shape
    match signature.kind:
        case "text":
            return Tokens(max(signature.vocabulary, 1), width), width
        case "image":
            return Rows(), shape[0] * shape[2]
        case "audio":
            frame = FRAME if is_waveform(signature) else 1
            return Moments(frame), shape[0] * frame
        case _:
            return nn.Identity(), shape[1]


def _check(knobs: ModelKnobs) -> None:
    if knobs.depth == 0:
        raise ModelError(
            phrase("model.depth is 0, and a recurrent network without cells remembers nothing"),
            allowed=phrase("a depth of 1 or more"),
            do=phrase("write model.depth = 1"),
        )
    if knobs.cell == "rnn" and knobs.activation not in RNN_ACTIVATIONS:
        raise ModelError(
            phrase("an rnn cell cannot end in {activation}", activation=str(knobs.activation)),
            allowed=", ".join(RNN_ACTIVATIONS),
            do=phrase("write model.activation = 'tanh'"),
        )


def _start_cells(cells: nn.RNNBase, knobs: ModelKnobs) -> None:
    """Each gate's matrices are set as a layer of their own would be. auto: Xavier from the input,
    orthogonal from state to state, which neither fades nor grows at first; biases 0, but 1 for
    lstm's forget gate, which remembers at first.

    Source: Saxe et al. 2014, arXiv:1312.6120; Jozefowicz et al. 2015, section 4.
    """
    width, gates = cells.hidden_size, GATES[knobs.cell]
    between = knobs.model_copy(update={"init": "orthogonal"}) if knobs.init == "auto" else knobs
    activation = "relu" if knobs.cell == "rnn" and knobs.activation == "relu" else "tanh"
    with torch.no_grad():
        for name, parameter in cells.named_parameters():
            if name.startswith("bias"):
                parameter.zero_()
                if knobs.cell == "lstm" and name.startswith("bias_ih"):
                    parameter[width : 2 * width] = 1.0
                continue
            chosen = between if name.startswith("weight_hh") else knobs
            after = "tanh" if name.startswith("weight_hh") else activation
            for gate in range(gates):
                rows = parameter[gate * width : (gate + 1) * width]
                start(SimpleNamespace(weight=rows, bias=None), after, chosen)
