"""From a folder, a table, stored arrays or texts to examples that train, and an encoder that makes
the same of new data."""

import io
import json

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from PIL import Image

from trainwright.core.errors import DataError
from trainwright.core.words import say_notice
from trainwright.data.knobs import DataKnobs
from trainwright.data.media.prepare import (
    encoder_from_record,
    prepare_manifest,
    prepare_media,
    prepare_text,
)
from trainwright.data.media.workers import FileExamples
from trainwright.data.memory import MemoryExamples
from trainwright.data.prepare import prepare as prepare_any
from trainwright.data.table.target import read_target

NUM = 20  # files of each class


def write_image(path, seed, size=(16, 16), mode="RGB", kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, format=kind)


def write_sound(path, seed, rate=8000, channels=1, seconds=0.2):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    soundfile.write(path, random.normal(0, 0.1, (int(rate * seconds), channels)), rate)


@pytest.fixture
def photos(tmp_path):
    for label in ("cat", "dog"):
        for index in range(NUM):
            write_image(tmp_path / label / f"{index}.png", index + 100 * (label == "cat"))
    return tmp_path


@pytest.fixture
def sounds(tmp_path):
    for label in ("no", "yes"):
        for index in range(NUM):
            write_sound(tmp_path / label / f"{index}.wav", index + 100 * len(label))
    return tmp_path


@pytest.fixture
def letters(tmp_path):
    for label, words in (("ham", "see you at home"), ("spam", "win a free prize")):
        for index in range(NUM):
            path = tmp_path / label / f"{index}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{words} number {index}", encoding="utf-8")
    return tmp_path


def prepare(folder, **knobs):
    return prepare_media(str(folder), DataKnobs(**knobs), seed=0)


def codes(prepared):
    return [notice.code for notice in prepared.understanding.notices]


def everything(examples):
    batches = list(examples.batches(7))
    examples.close()
    return torch.cat([b.inputs[0] for b in batches]), torch.cat([b.target for b in batches])


def files(examples):
    return [examples.show(i).content["file"] for i in range(len(examples))]


def test_an_image_folder_is_understood_split_and_normalised(photos):
    prepared = prepare(photos)
    known = prepared.understanding
    assert known.format == "image folder"
    assert known.signature.shape == (3, 16, 16)
    assert known.task.kind == "binary"
    assert known.task.classes == ("cat", "dog")
    assert known.num_examples == {"train": 28, "valid": 6, "test": 6}
    assert known.class_counts == {"cat": 14, "dog": 14}
    inputs, _ = everything(prepared.train)
    assert inputs.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (inputs.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3
    assert codes(prepared) == []


def test_targets_follow_the_folder_of_each_file(photos):
    prepared = prepare(photos)
    for split in (prepared.train, prepared.valid, prepared.test):
        names = [name.split("/")[0] for name in files(split)]
        assert split.targets().tolist() == [("cat", "dog").index(name) for name in names]
        assert "image/png;base64," in split.show(0).media


def test_files_beyond_memory_are_decoded_as_they_come_to_the_same_values(photos):
    held, read = prepare(photos), prepare(photos, memory_limit=1 << 16, image_size=64, workers=0)
    assert isinstance(held.train, MemoryExamples)
    assert isinstance(read.train, FileExamples)
    again = prepare(photos, image_size=64, workers=0)
    assert isinstance(again.train, MemoryExamples)
    assert again.encoder.scaling == read.encoder.scaling
    for name in ("train", "valid", "test"):
        for one, other in zip(
            everything(getattr(again, name)), everything(getattr(read, name)), strict=True
        ):
            assert torch.equal(one, other)
    assert read.train.show(0) == again.train.show(0) or read.train.show(0).media


@pytest.mark.parametrize("limit", [1 << 16, 1 << 30])
def test_corrupt_images_are_named_skipped_and_counted(photos, limit):
    (photos / "cat" / "0.png").write_bytes(b"not an image")
    (photos / "dog" / "3.png").write_bytes((photos / "dog" / "4.png").read_bytes()[:100])
    prepared = prepare(photos, memory_limit=limit, image_size=32, workers=0)
    assert sum(prepared.understanding.num_examples.values()) == 2 * NUM - 2
    notice = next(n for n in prepared.understanding.notices if n.code == "media_files_skipped")
    assert notice.values["count"] == 2
    assert notice.values["names"] == ["cat/0.png", "dog/3.png"]
    assert "cat/0.png" in say_notice(notice)
    named = [f for s in (prepared.train, prepared.valid, prepared.test) for f in files(s)]
    assert not {"cat/0.png", "dog/3.png"} & set(named)
    for split in (prepared.train, prepared.valid, prepared.test):
        expected = [("cat", "dog").index(f.split("/")[0]) for f in files(split)]
        assert split.targets().tolist() == expected


def test_a_folder_of_only_corrupt_images_is_refused(photos):
    for path in photos.glob("*/*.png"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="none of the"):
        prepare(photos)


def test_one_class_left_after_damage_is_refused(photos):
    for path in photos.glob("cat/*.png"):
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="of one class, 'dog'"):
        prepare(photos)


def test_mixed_sizes_and_modes_train_with_a_notice(photos):
    write_image(photos / "cat" / "wide.png", 900, (40, 20), "L")
    write_image(photos / "dog" / "tall.jpg", 901, (20, 40), "CMYK", "JPEG")
    write_image(photos / "dog" / "seen.png", 902, (20, 40), "RGBA")
    prepared = prepare(photos)
    assert prepared.understanding.signature.shape == (3, 16, 16)
    assert {"media_images_resized", "media_modes_differ"} <= set(codes(prepared))
    assert all(say_notice(n) for n in prepared.understanding.notices)


def test_equal_files_never_fall_on_both_sides(photos):
    content = (photos / "cat" / "0.png").read_bytes()
    for index in range(8):
        (photos / "cat" / f"copy{index}.png").write_bytes(content)
        (photos / "dog" / f"copy{index}.png").write_bytes(content)
    for seed in range(5):
        prepared = prepare_media(str(photos), DataKnobs(), seed=seed)
        sides = [
            any("copy" in name or name == "cat/0.png" for name in files(split))
            for split in (prepared.train, prepared.valid, prepared.test)
        ]
        assert sum(sides) == 1


def test_split_folders_are_kept(tmp_path):
    for split in ("train", "val", "test"):
        for label in ("1", "2", "10"):
            for index in range(3):
                write_image(
                    tmp_path / split / label / f"{index}.png",
                    int(label) * 100 + 10 * len(split) + index + (split == "val"),
                )
    prepared = prepare(tmp_path)
    assert prepared.understanding.task.classes == ("1", "2", "10")
    assert all(name.startswith("val/") for name in files(prepared.valid))
    assert all(name.startswith("test/") for name in files(prepared.test))


def test_fractions_of_zero_make_no_such_split(photos):
    prepared = prepare(photos, valid_fraction=0, test_fraction=0)
    assert prepared.valid is None
    assert prepared.test is None


def test_only_training_batches_are_changed_and_only_when_asked(photos):
    class Rows:
        seed = 0

        def epoch(self, number):
            return torch.arange(28)

    inputs, _ = everything(prepare(photos).train)
    for augment, same in (("none", True), ("auto", False), (("flip",), False)):
        batch = next(prepare(photos, augment=augment).train.feed(Rows(), 28))
        assert torch.equal(batch.inputs[0], inputs) == same


def test_a_misspelt_augmentation_is_refused_before_decoding(photos, monkeypatch):
    monkeypatch.setattr("trainwright.data.media.prepare.read_all", None)
    with pytest.raises(DataError, match="did you mean 'flip'"):
        prepare(photos, augment=("filp",))


@pytest.mark.parametrize("audio", ["log_mel", "waveform"])
def test_an_audio_folder_of_many_shapes_trains_with_notices(sounds, audio):
    write_sound(sounds / "yes" / "fast.wav", 900, rate=16_000)
    write_sound(sounds / "no" / "both.wav", 901, channels=2)
    write_sound(sounds / "no" / "long.flac", 902, seconds=1.0)
    (sounds / "yes" / "bad.wav").write_bytes(b"RIFF nothing")
    prepared = prepare(sounds, audio=audio)
    channels = 64 if audio == "log_mel" else 1
    assert prepared.understanding.signature.kind == "audio"
    assert prepared.understanding.signature.shape[0] == channels
    wanted = {"media_resampled", "media_mixed_to_mono", "media_files_skipped",
              "media_recordings_cut"}  # fmt: skip
    assert wanted <= set(codes(prepared))
    inputs, _ = everything(prepared.train)
    assert inputs.isfinite().all()
    assert inputs.mean().abs() < 0.01
    media = prepared.train.show(0).media
    assert media.startswith("audio/wav;base64,")


def test_texts_of_a_folder_become_tokens(letters):
    (letters / "ham" / "old.txt").write_bytes("caf\xe9 at home".encode("latin-1"))
    (letters / "ham" / "binary.txt").write_bytes(b"\0\1\2")
    prepared = prepare(letters)
    known = prepared.understanding
    assert known.signature.kind == "text"
    assert known.task.classes == ("ham", "spam")
    assert sum(known.num_examples.values()) == 2 * NUM + 1
    assert {"media_text_encoding", "media_files_skipped"} <= set(codes(prepared))
    inputs, target = everything(prepared.train)
    assert inputs.dtype == torch.int64
    assert inputs.max() < known.signature.vocabulary
    for position in range(len(prepared.train)):
        shown = prepared.train.show(position).content
        assert shown["file"].startswith(("ham", "spam")[int(target[position])])
    with pytest.raises(DataError, match="no text augmentation"):
        prepare(letters, augment=("crop",))


def test_tokens_are_learned_on_training_texts_only(letters):
    (letters / "ham" / "strange.txt").write_text("ξξξξ", encoding="utf-8")
    for seed in range(20):
        prepared = prepare_media(str(letters), DataKnobs(tokens="character"), seed=seed)
        in_train = "ham/strange.txt" in files(prepared.train)
        assert ("ξ" in prepared.encoder.tokens.pieces) == in_train


@pytest.mark.parametrize("kind", ["photos", "sounds", "letters"])
def test_an_encoder_from_its_record_makes_the_same_bits(kind, request):
    folder = request.getfixturevalue(kind)
    prepared = prepare(folder)
    record = json.loads(json.dumps(prepared.encoder.to_record()))
    encoder = encoder_from_record(record)
    assert encoder == prepared.encoder
    encoded = encoder.encode(str(folder), with_target=True)
    inputs, targets = everything(encoded)
    rows = {encoded.show(i).content["file"]: i for i in range(len(encoded))}
    for split in (prepared.train, prepared.valid, prepared.test):
        mine, target = everything(split)
        places = [rows[name] for name in files(split)]
        assert torch.equal(inputs[places], mine)
        assert torch.equal(targets[places], target)
        assert [split.show(i).row for i in range(len(split))] == places


def test_new_images_come_as_folder_file_list_table_or_array(photos, tmp_path_factory):
    encoder = prepare(photos).encoder
    flat = tmp_path_factory.mktemp("flat")
    write_image(flat / "a.png", 1)
    write_image(flat / "b.png", 2)
    (flat / "c.png").write_bytes(b"x")
    names = [str(flat / f"{n}.png") for n in "abc"]
    encoded = encoder.encode(str(flat), with_target=False)
    assert len(encoded) == 2
    assert encoded.notices[0].code == "media_files_skipped"
    assert encoded.targets().tolist() == [0, 0]
    pixels = np.stack([np.asarray(Image.open(name)) for name in names[:2]])
    sources = [names, names[:2], pixels, pl.DataFrame({"path": names})]
    for source in sources:
        again = encoder.encode(source, with_target=False)
        assert torch.equal(everything(again)[0], everything(encoded)[0])
    (flat / "list.csv").write_text("path,n\nb.png,1\na.png,2\n", encoding="utf-8")
    listed = encoder.encode(str(flat / "list.csv"), with_target=False)
    assert torch.equal(everything(listed)[0], everything(encoded)[0][[1, 0]])
    single = encoder.encode(names[1], with_target=False)
    assert torch.equal(everything(single)[0], everything(encoded)[0][1:])


def test_new_data_of_another_kind_or_without_a_target_is_refused(photos, letters, tmp_path):
    encoder = prepare(_only(photos, ("cat", "dog"))).encoder
    with pytest.raises(DataError, match=r"several kinds|more than one kind"):
        encoder.encode(str(letters), with_target=False)
    flat = tmp_path / "flat"
    write_image(flat / "a.png", 1)
    with pytest.raises(DataError, match="no class folders"):
        encoder.encode(str(flat), with_target=True)
    with pytest.raises(DataError, match="no target"):
        encoder.encode(str(flat / "a.png"), with_target=True)
    with pytest.raises(DataError, match=r"there is no|no file"):
        encoder.encode(str(tmp_path / "none"), with_target=False)
    with pytest.raises(DataError):
        encoder.encode(object(), with_target=False)


def _only(folder, names):
    other = folder / "only"
    for name in names:
        (folder / name).rename(other.mkdir(exist_ok=True) or other / name)
    return other


def test_classes_that_training_never_saw_are_left_out_and_counted(photos, tmp_path_factory):
    encoder = prepare(photos).encoder
    other = tmp_path_factory.mktemp("other")
    write_image(other / "cat" / "1.png", 1)
    write_image(other / "bird" / "1.png", 2)
    encoded = encoder.encode(str(other), with_target=True)
    assert len(encoded) == 1
    assert "target_unknown" in [notice.code for notice in encoded.notices]


def manifest(folder):
    rows = [{"file": f"{label}/{i}.png", "what": label, "weight": float(i), "who": f"p{i // 4}"}
            for label in ("cat", "dog") for i in range(NUM)]  # fmt: skip
    return pl.DataFrame(rows), str(folder)


def test_a_table_of_paths_trains_classes_or_numbers(photos):
    frame, folder = manifest(photos)
    made = prepare_manifest(
        frame, "file", target_column="what", folder=folder, knobs=DataKnobs(), seed=0
    )
    assert made.understanding.task.classes == ("cat", "dog")
    assert made.understanding.format == "image table"
    knobs = DataKnobs(task="regression")
    made = prepare_manifest(
        frame, "file", target_column="weight", folder=folder, knobs=knobs, seed=0
    )
    _, target = everything(made.train)
    assert target.mean().abs() < 1e-5
    decoded = made.encoder.decode(target.numpy())
    rows = [made.train.show(i).row for i in range(len(made.train))]
    np.testing.assert_allclose(decoded, frame["weight"].to_numpy()[rows], atol=1e-5)


def test_a_tables_groups_stay_together_and_missing_paths_are_left_out(photos):
    frame, folder = manifest(photos)
    paths = [None if i == 3 else p for i, p in enumerate(frame["file"])]
    frame = frame.with_columns(pl.Series("file", [*paths[:-1], "dog/none.png"]))
    made = prepare_manifest(
        frame, "file", target_column="what", folder=folder, knobs=DataKnobs(group="who"), seed=1
    )
    assert {"media_rows_without_path", "media_files_skipped"} <= set(codes(made))
    sides = []
    for split in (made.train, made.valid, made.test):
        rows = [split.show(i).row for i in range(len(split))]
        for i, row in enumerate(rows):
            assert split.show(i).content["file"] == frame["file"][row]
            assert split.targets()[i] == ("cat", "dog").index(frame["what"][row])
        sides.append(set(frame["who"].gather(rows)))
    assert len(set.union(*sides)) == sum(map(len, sides))


@pytest.mark.parametrize("target", ["cat,heavy", "weight, i"])
def test_a_table_of_paths_has_several_targets_and_new_tables_are_read_alike(photos, target):
    frame, folder = manifest(photos)
    frame = frame.with_columns(
        cat=(pl.col("what") == "cat").cast(int), heavy=(pl.col("weight") > 9).cast(int),
        i=pl.Series(np.arange(2 * NUM) * 1.5),
    )  # fmt: skip
    place = f"{folder}/table.csv"
    frame.write_csv(place)
    made = prepare_any(place, DataKnobs(target=target), seed=0)
    names = [name.strip() for name in target.split(",")]
    task = made.understanding.task
    assert (task.kind, task.target) == (
        "multilabel" if "cat" in names else "regression", ",".join(names),
    )  # fmt: skip
    wanted = frame.select(names).to_numpy()
    _, target_values = everything(made.train)
    rows = [made.train.show(i).row for i in range(len(made.train))]
    decoded = made.encoder.decode(target_values.numpy())
    np.testing.assert_allclose(decoded, wanted[rows], atol=1e-5)
    encoder = encoder_from_record(made.encoder.to_record())
    _, again = everything(encoder.encode(place, with_target=True))
    np.testing.assert_allclose(encoder.decode(again.numpy()), wanted, atol=1e-5)
    with pytest.raises(DataError, match=rf"no column '{names[1]}'"):
        encoder.encode(frame.drop(names[1]).with_columns(file=folder + "/" + pl.col("file")),
                       with_target=True)  # fmt: skip


def test_several_targets_of_words_are_refused_with_the_way_out(photos):
    frame, folder = manifest(photos)
    frame.write_csv(f"{folder}/table.csv")
    with pytest.raises(DataError) as caught:
        prepare_any(f"{folder}/table.csv", DataKnobs(target="what,weight"), seed=0)
    assert "each must hold numbers" in caught.value.what
    assert "several labels" in caught.value.allowed
    assert "name one column" in caught.value.do


def test_a_table_without_the_column_is_refused_with_the_near_name(photos):
    frame, folder = manifest(photos)
    with pytest.raises(DataError, match="did you mean 'what'"):
        prepare_manifest(
            frame, "file", target_column="waht", folder=folder, knobs=DataKnobs(), seed=0
        )


@pytest.mark.parametrize("limit", [1 << 30, 1 << 16])
def test_it_is_told_how_many_files_are_read_from_a_folder_and_a_table(photos, limit):
    frame, folder = manifest(photos)
    knobs = DataKnobs(memory_limit=limit, image_size=64, workers=0, target="what")
    frame.write_csv(photos / "table.csv")
    for source in (folder, str(photos / "table.csv")):
        told = []
        prepare_any(source, knobs, seed=0, tell=lambda *now, told=told: told.append(now))
        assert told[:3] == [("files", 0, 40), ("files", 32, 40), ("files", 40, 40)]
        # too many to hold: those that means are taken from are read again
        assert len(told) == (3 if limit == 1 << 30 else 5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_stored_images_with_a_given_test_split(tmp_path, dtype):
    random = np.random.default_rng(0)
    x = (random.random((60, 9, 7)) * 255).astype(dtype)
    y = np.arange(60) % 3
    path = tmp_path / "x.npz"
    np.savez(path, x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:],
             classes=np.array(["ant", "bee", "cow"]))  # fmt: skip
    prepared = prepare(path)
    known = prepared.understanding
    assert known.signature.shape == (1, 9, 7)
    assert known.task.classes == ("ant", "bee", "cow")
    assert known.num_examples["test"] == 20
    assert known.num_examples["valid"] == 6
    _, target = everything(prepared.test)
    assert target.tolist() == y[40:].tolist()
    encoded = encoder_from_record(prepared.encoder.to_record()).encode(str(path), with_target=True)
    assert torch.equal(everything(encoded)[0][40:], everything(prepared.test)[0])
    assert everything(encoded)[1].tolist() == y.tolist()
    with pytest.raises(DataError, match="do not fit"):
        prepared.encoder.encode(np.zeros((2, 5, 5), dtype), with_target=False)


def test_equal_stored_images_never_fall_on_both_sides(tmp_path):
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (30, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", X=np.concatenate([x, x, x]), y=np.tile(np.arange(30) % 2, 3))
    prepared = prepare(tmp_path / "x.npz")
    seen = [
        {prepared_split.show(i).row % 30 for i in range(len(prepared_split))}
        for prepared_split in (prepared.train, prepared.valid, prepared.test)
    ]
    assert len(set.union(*seen)) == sum(map(len, seen))


def test_stored_arrays_without_a_target_or_shape_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", X=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(DataError, match="no target"):
        prepare(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", X=np.zeros((4, 2, 3, 4, 5)), y=np.arange(4))
    with pytest.raises(DataError, match="no images"):
        prepare(tmp_path / "x.npz")


def test_a_column_of_texts_trains_and_predicts(tmp_path):
    texts = [f"good day {i}" for i in range(30)] + [f"bad night {i}" for i in range(30)]
    target = read_target(["yes"] * 30 + ["no"] * 30, "auto", "mood")
    prepared = prepare_text(
        texts, target, splits=None, knobs=DataKnobs(), seed=0, text_column="words"
    )
    assert prepared.understanding.task.target == "mood"
    encoder = encoder_from_record(json.loads(json.dumps(prepared.encoder.to_record())))
    frame = pl.DataFrame({"words": texts, "mood": ["yes"] * 30 + ["no"] * 30})
    path = tmp_path / "new.csv"
    frame.write_csv(path)
    for source in (texts, np.array(texts), frame, frame["words"], str(path)):
        inputs, _ = everything(encoder.encode(source, with_target=False))
        rows = [prepared.test.show(i).row for i in range(len(prepared.test))]
        assert torch.equal(inputs[rows], everything(prepared.test)[0])
    _, labels = everything(encoder.encode(frame, with_target=True))
    assert labels.tolist() == target.values.tolist()
    with pytest.raises(DataError, match="no column 'words'"):
        encoder.encode(frame.drop("words"), with_target=False)
    with pytest.raises(DataError, match="no target"):
        encoder.encode(texts, with_target=True)


def test_texts_beyond_memory_say_what_to_lower(letters):
    with pytest.raises(DataError, match=r"data\.length"):
        prepare(letters, length=65_536, memory_limit=1 << 16)


def test_a_thumbnail_of_float_images_spans_their_range(tmp_path):
    x = np.linspace(-5, 5, 40 * 64, dtype=np.float32).reshape(40, 8, 8)
    np.savez(tmp_path / "x.npz", X=x, y=np.arange(40) % 2)
    media = prepare(tmp_path / "x.npz").train.show(0).media
    import base64

    image = Image.open(io.BytesIO(base64.b64decode(media.partition(",")[2])))
    assert image.getextrema() == (0, 255)
