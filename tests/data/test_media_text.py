"""Tokens are learned from training texts alone, survive their record, and read any bytes."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.data.media.folder import UndecodableError
from trainwright.data.media.text import (
    PADDING,
    UNKNOWN,
    fit_tokens,
    read_text,
    tokens_from_record,
)

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "貓坐在墊子上", "cats and dogs"] * 5
KINDS = ("byte", "character", "bpe")
FITTED = {kind: fit_tokens(TEXTS, kind, vocabulary=300, length=12) for kind in KINDS}
BPE = """
import hashlib, json
from trainwright.data.media.text import fit_tokens
texts = [f"word{i % 17} and thing{i % 5} or {i}" for i in range(500)]
fitted = fit_tokens(texts, "bpe", vocabulary=400, length=None)
print(hashlib.sha256(json.dumps(fitted.to_record()).encode()).hexdigest())
"""


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), text=st.text(max_size=40))
def test_any_text_becomes_ids_within_the_vocabulary(kind, text):
    tokens = FITTED[kind]
    rows = tokens.encode([text])
    assert rows.shape == (1, 12)
    assert rows.min() >= 0
    assert rows.max() < tokens.vocabulary
    assert rows[0, 0] != PADDING


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_gives_equal_tokens(kind):
    tokens = FITTED[kind]
    again = tokens_from_record(json.loads(json.dumps(tokens.to_record())))
    assert again == tokens
    np.testing.assert_array_equal(again.encode(TEXTS), tokens.encode(TEXTS))


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_cut_padded_and_never_empty(kind):
    rows = FITTED[kind].encode(["", "a", "the cat sat on the mat " * 20])
    assert rows[0].tolist() == [UNKNOWN] + [PADDING] * 11
    assert (rows[1, 1:] == PADDING).all()
    assert (rows[2] != PADDING).all()


def test_bytes_are_utf8_shifted_by_two():
    assert FITTED["byte"].vocabulary == 258
    assert FITTED["byte"].encode(["aé"])[0, :3].tolist() == [99, 0xC3 + 2, 0xA9 + 2]


def test_characters_never_seen_are_unknown():
    assert FITTED["character"].encode(["ż"])[0, 0] == UNKNOWN
    ids = FITTED["character"].encode(["the cat"])[0, :7]
    assert (ids > UNKNOWN).all()
    assert len(set(ids.tolist())) == len(set("the cat"))


def test_characters_beyond_the_vocabulary_are_the_rarest():
    tokens = fit_tokens(["aaa bb c"], "character", vocabulary=16, length=None)
    assert set(tokens.pieces) == set("abc ")
    few = fit_tokens(["a" * 99 + "b" * 50 + "".join(map(chr, range(200, 260)))], "character",
                     vocabulary=16, length=None)  # fmt: skip
    assert {"a", "b"} <= set(few.pieces)
    assert few.vocabulary == 16


def test_pairs_that_occur_often_become_one_token():
    assert len(FITTED["bpe"].ids(["the"])[0]) == 1
    assert len(FITTED["bpe"].ids(["zzz"])[0]) == 3
    assert FITTED["bpe"].vocabulary <= 300


def test_pairs_are_learned_alike_in_every_process():
    hashes = {
        subprocess.run([sys.executable, "-c", BPE], capture_output=True, text=True, check=True,
                       env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(hashes) == 1


def test_a_text_cannot_spell_a_reserved_token():
    ids = FITTED["bpe"].ids(["[PAD]"])[0]
    assert PADDING not in list(ids)


def test_the_length_is_the_95th_percentile_up_to_512():
    texts = ["a" * n for n in range(1, 101)]
    assert fit_tokens(texts, "byte", vocabulary=300, length=None).length == 96
    assert fit_tokens(["a" * 9999], "byte", vocabulary=300, length=None).length == 512


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("café".encode(), "café", "utf-8"),
        ("café".encode("utf-8-sig"), "café", "utf-8"),
        ("café".encode("utf-16"), "café", "utf-16"),
        ("café".encode("latin-1"), "café", "windows-1252"),
        (b"", "", "utf-8"),
    ],
)
def test_encodings_are_recognised(data, text, encoding):
    assert read_text(data) == (text, encoding)


def test_binary_files_damaged_gzip_and_bombs_are_no_text(monkeypatch):
    for data in (b"\x89PNG\r\n\x1a\n\0\0\0", bytes(range(256)) * 4):
        with pytest.raises(UndecodableError, match="not text"):
            read_text(data)
    packed = gzip.compress(b"hello" * 100)
    assert read_text(packed, packed=True)[0] == "hello" * 100
    with pytest.raises(UndecodableError, match="gzip"):
        read_text(packed[:20], packed=True)
    monkeypatch.setattr("trainwright.data.media.text.LARGEST_TEXT", 100)
    with pytest.raises(UndecodableError, match="unpacks"):
        read_text(packed, packed=True)
