"""Folders say what they hold: files in a fixed order, classes, splits; or why they cannot."""

import os

import numpy as np
import pytest

from trainwright.core.errors import DataError
from trainwright.core.words import known_codes, say_notice
from trainwright.data.media.folder import class_order, evenly, list_files, list_folder


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return str(root)


def codes(listing):
    return [notice.code for notice in listing.notices]


def test_class_folders_give_sorted_files_and_their_labels(tmp_path):
    listing = list_folder(fill(tmp_path, "b/2.png", "a/9.jpg", "b/1.PNG", "a/sub/deep.gif"))
    assert listing.names == ("a/9.jpg", "a/sub/deep.gif", "b/1.PNG", "b/2.png")
    assert listing.labels == ("a", "a", "b", "b")
    assert listing.kind == "image"
    assert listing.splits is None


@pytest.mark.parametrize("valid", ["valid", "val", "Validation", "dev"])
def test_split_folders_are_a_given_split(tmp_path, valid):
    names = [f"{split}/{label}/{i}.wav" for split in ("train", valid, "test") for label in "ab"
             for i in range(2)]  # fmt: skip
    listing = list_folder(fill(tmp_path, *names))
    assert sorted(set(listing.splits)) == ["test", "train", "valid"]
    assert set(listing.labels) == {"a", "b"}


def test_classes_called_train_and_plane_are_classes(tmp_path):
    listing = list_folder(fill(tmp_path, "train/1.png", "plane/1.png"))
    assert listing.labels == ("plane", "train")
    assert listing.splits is None


def test_hidden_files_are_passed_over_and_other_kinds_are_counted(tmp_path):
    folder = fill(tmp_path, "a/1.png", "b/1.png", "a/.2.png", ".git/x.png", "a/x.exe", "y.md",
                  "__MACOSX/a/1.png")  # fmt: skip
    listing = list_folder(folder)
    assert listing.names == ("a/1.png", "b/1.png")
    assert listing.notices[0].values["count"] == 2


def test_files_beside_the_class_folders_are_named(tmp_path):
    listing = list_folder(fill(tmp_path, "a/1.png", "b/1.png", "stray.png"))
    assert listing.names == ("a/1.png", "b/1.png")
    assert listing.notices[0].values == {"count": 1, "names": ["stray.png"]}


def test_numbers_as_class_names_are_sorted_as_numbers():
    assert class_order(["10", "9", "1", "9"]) == ("1", "9", "10")
    assert class_order(["-1", "2.5", "0"]) == ("-1", "0", "2.5")
    assert class_order(["10", "9", "a"]) == ("10", "9", "a")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "no image, audio or text file"),
        (["a/x.exe"], "1 of other kinds"),
        (["a/1.png", "b/1.wav"], "more than one kind of file: 1 audio, 1 image"),
        (["1.png", "2.png"], "no class folders"),
        (["a/1.png", "a/2.png"], "one class only, 'a'"),
    ],
)
def test_a_folder_that_cannot_teach_says_what_it_holds(tmp_path, names, words):
    with pytest.raises(DataError, match=words) as caught:
        list_folder(fill(tmp_path, *names))
    assert "do: " in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        list_folder(str(tmp_path / "none"))


def test_loops_of_links_end(tmp_path):
    folder = fill(tmp_path, "a/1.png", "b/1.png")
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    os.symlink(tmp_path / "self", tmp_path / "self")
    os.symlink(tmp_path / "nowhere", tmp_path / "b" / "2.png")
    assert list_folder(folder).names == ("a/1.png", "b/1.png")


def test_strange_class_names_are_only_text(tmp_path):
    strange = ["<b>&", "..a", "$(rm -rf)", "\x1b[31mred", "=1+1"]
    listing = list_folder(fill(tmp_path, *(f"{name}/1.png" for name in strange)))
    assert sorted(set(listing.labels)) == sorted(set(strange) - {"..a"})


def test_without_labels_a_flat_folder_will_do(tmp_path):
    listing = list_folder(fill(tmp_path, "1.png", "2.png"), with_labels=False)
    assert listing.labels is None
    assert len(listing.names) == 2


def test_named_files_must_be_of_one_kind():
    assert list_files(["a.png", "b"], "x").paths == ("x/a.png", "x/b")
    with pytest.raises(DataError, match="several kinds: audio, image"):
        list_files(["a.png", "b.wav"])
    with pytest.raises(DataError, match="no files given"):
        list_files([])


@pytest.mark.parametrize("num", [1, 5, 199, 200, 201, 1000])
def test_a_sample_is_spread_over_all(num):
    sample = evenly(np.arange(num), 200)
    assert min(num, 100) <= len(sample) <= 200
    assert sample[0] == 0
    assert sample[-1] >= num - -(-num // 200)


def test_every_media_notice_has_words_in_both_languages():
    english, chinese = (
        {code for code in known_codes(lang) if code.startswith("notice.media_")}
        for lang in ("en", "zh-Hant")
    )
    assert english == chinese
    assert len(english) >= 10


def test_hostile_names_are_made_safe_in_a_notice(tmp_path):
    listing = list_folder(fill(tmp_path, "a/1.png", "b/1.png", "\x1b[31m.png"))
    assert "\x1b" not in say_notice(listing.notices[0])
