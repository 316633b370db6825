"""How does text become numbers? Bytes, characters or learned pieces, as rows of token ids of one
length; 0 is padding, 1 stands for what was never seen."""

import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32

from trainwright.core.errors import DataError
from trainwright.core.phrases import phrase
from trainwright.data.media.folder import UndecodableError

PADDING, UNKNOWN, SPECIAL = 0, 1, 2  # ids, and how many of them are reserved
LONGEST_DEFAULT = 512  # tokens [assumed]
LARGEST_TEXT = (
    64 << 20
)  # bytes of one text file once unpacked; more is a bomb or a mistake [assumed]
MOST_CONTROLS = 0.1  # a higher share of control characters is no text [assumed]
TRAINING_TEXTS = 100_000  # texts that bpe is learned on; more change little [assumed]

Ids = list[int] | Int32[np.ndarray, " token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A fitted way to cut text. `pieces` are the tokens from id 2 on (empty for bytes); `merges`
    only for bpe, in the order learned."""

    kind: Literal["byte", "character", "bpe"]
    length: int
    pieces: tuple[str, ...] = ()
    merges: tuple[tuple[str, str], ...] = ()

    @property
    def vocabulary(self) -> int:
        return SPECIAL + (256 if self.kind == "byte" else len(self.pieces))

    def encode(self, texts: Sequence[str]) -> Int32[np.ndarray, "{len(texts)} {self.length}"]:
        """Longer texts are cut at the end, an empty one is one unknown."""
        rows = np.full((len(texts), self.length), PADDING, dtype=np.int32)
        for row, ids in zip(rows, self.ids(texts), strict=True):
            cut = ids[: self.length]
            row[: len(cut)] = cut
        return rows

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, uncut, at least one."""
        match self.kind:
            case "byte":
                found: list[Ids] = [
                    np.frombuffer(_utf8(text), dtype=np.uint8).astype(np.int32) + SPECIAL
                    for text in texts
                ]
            case "character":
                known = {piece: i for i, piece in enumerate(self.pieces, start=SPECIAL)}
                found = [[known.get(c, UNKNOWN) for c in text] for text in texts]
            case "bpe":
                machine = self._machine()
                clean = [_utf8(text).decode() for text in texts]
                found = [encoding.ids for encoding in machine.encode_batch_fast(clean)]
        return [ids if len(ids) else [UNKNOWN] for ids in found]

    def to_record(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "length": self.length,
            "pieces": list(self.pieces),
            "merges": [list(pair) for pair in self.merges],
        }

    def _machine(self) -> Any:
        from tokenizers import Tokenizer, models, pre_tokenizers

        # no added tokens: then no text can spell one
        vocabulary = {"[PAD]": PADDING, "[UNK]": UNKNOWN}
        vocabulary |= {piece: i for i, piece in enumerate(self.pieces, start=SPECIAL)}
        model = models.BPE(vocab=vocabulary, merges=list(self.merges), unk_token="[UNK]")
        machine = Tokenizer(model)
        machine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
        return machine


def tokens_from_record(record: dict[str, Any]) -> Tokens:
    """The value of `Tokens.to_record` as Tokens."""
    return Tokens(
        kind=record["kind"],
        length=int(record["length"]),
        pieces=tuple(record["pieces"]),
        merges=tuple((a, b) for a, b in record["merges"]),
    )


def fit_tokens(
    texts: Sequence[str],
    kind: Literal["byte", "character", "bpe"],
    *,
    vocabulary: int,
    length: int | None,
) -> Tokens:
    """Learned on the training texts only; a pure function of them.

    character: the commonest. bpe: byte pairs [paper: Sennrich et al. 2016, arXiv:1508.07909] over
    the bytes of words and spaces. length: the 95th percentile of the texts, at most 512.
    """
    pieces: tuple[str, ...] = ()
    merges: tuple[tuple[str, str], ...] = ()
    if kind == "character":
        counts = Counter(character for text in texts for character in text)
        commonest = sorted(counts, key=lambda c: (-counts[c], c))
        pieces = tuple(sorted(commonest[: vocabulary - SPECIAL]))
    elif kind == "bpe":
        pieces, merges = _learn_pairs(texts, vocabulary)
    fitted = Tokens(kind=kind, length=1, pieces=pieces, merges=merges)
    if length is None:
        sample = texts[:: max(1, len(texts) // 5000)]
        lengths = [len(ids) for ids in fitted.ids(sample)]
        length = int(np.clip(np.ceil(np.quantile(lengths, 0.95)), 1, LONGEST_DEFAULT))
    return Tokens(kind=kind, length=length, pieces=pieces, merges=merges)


def read_text(data: bytes, *, packed: bool = False) -> tuple[str, str]:
    """A file's content as text, and the encoding: utf-8, utf-16 by its mark, else windows-1252.

    Raises UndecodableError for what is no text, a damaged gzip, or one that unpacks to over 64 MiB.
    """
    if packed:
        data = _unpack(data)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text, encoding = data.decode("utf-16", errors="replace"), "utf-16"
    else:
        try:
            text, encoding = data.decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError:
            text, encoding = data.decode("cp1252", errors="replace"), "windows-1252"
    controls = sum(text.count(chr(code)) for code in range(32) if chr(code) not in "\t\n\r\f\x1b")
    if "\0" in text or controls > MOST_CONTROLS * len(text):
        raise UndecodableError(phrase("it is not text"))
    return text, encoding


def _learn_pairs(
    texts: Sequence[str], vocabulary: int
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    machine = Tokenizer(models.BPE(unk_token="[UNK]"))
    machine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=["[PAD]", "[UNK]"],
        limit_alphabet=max(8, vocabulary // 2),
        show_progress=False,
    )
    sample = texts[:: max(1, len(texts) // TRAINING_TEXTS)]
    machine.train_from_iterator((_utf8(text).decode() for text in sample), trainer=trainer)
    model = json.loads(machine.to_str())["model"]
    ordered = sorted(model["vocab"], key=model["vocab"].__getitem__)
    assert ordered[:SPECIAL] == ["[PAD]", "[UNK]"], ordered[:SPECIAL]
    return tuple(ordered[SPECIAL:]), tuple((a, b) for a, b in model["merges"])


def _utf8(text: str) -> bytes:
    """Lone surrogates, which UTF-8 cannot hold, become question marks."""
    return text.encode("utf-8", errors="replace")


def _unpack(data: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            content = file.read(LARGEST_TEXT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UndecodableError(
            phrase("it is not a whole gzip file ({error})", error=str(error)[:40])
        ) from None
    if len(content) > LARGEST_TEXT:
        raise UndecodableError(phrase("it unpacks to over 64 MiB"))
    return content


def too_large(num_bytes: int, limit: int) -> DataError:
    """Encoded texts that would not fit in data.memory_limit."""
    return DataError(
        phrase("the encoded texts would take {mebibytes:,.0f} MiB", mebibytes=num_bytes / 2**20),
        allowed=phrase("data.memory_limit, {mebibytes:,.0f} MiB", mebibytes=limit / 2**20),
        do=phrase("lower data.length, or raise data.memory_limit"),
    )
