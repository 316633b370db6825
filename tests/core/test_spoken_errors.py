"""A mistake is told in the reader's language, whole: the sentence, its labels and the advice."""

import errno
import os
import subprocess
import sys

import pytest
from cyclopts import CycloptsError

from trainwright import recipe as recipes
from trainwright.cli.app import COMMANDS, make_app, run
from trainwright.cli.wrong_use import spoken
from trainwright.core import phrases
from trainwright.core.errors import DataError, RecipeError, did_you_mean, system_reason
from trainwright.core.phrases import phrase
from trainwright.core.words import say, use_language


def test_a_sentence_is_its_own_english():
    assert phrase("{path} has no rows", path="'a.csv'") == "'a.csv' has no rows"


def test_a_sentence_is_said_in_chinese():
    use_language("zh-Hant")
    assert phrase("{path} has no rows", path="'a.csv'") == "'a.csv' 沒有任何列"


def test_a_sentence_without_translation_stays_english():
    use_language("zh-Hant")
    assert phrase("nobody has said {this} yet", this="so") == "nobody has said so yet"


def test_values_are_not_read_as_templates():
    use_language("zh-Hant")
    assert "{1/0}" in phrase("{path} has no rows", path="{1/0}")


def test_doubled_braces_are_one_brace_in_both_languages():
    template = 'one object per line, as {{"age": 41, "churned": true}}'
    assert phrase(template).endswith('{"age": 41, "churned": true}')
    use_language("zh-Hant")
    assert phrase(template).endswith('{"age": 41, "churned": true}')


def test_english_reads_no_file():
    code = (
        "import pathlib, trainwright\n"
        "from trainwright.core.errors import DataError\n"
        "from trainwright.core.phrases import phrase, use_language\n"
        "def refuse(self, *_, **__): raise AssertionError(self)\n"
        "pathlib.Path.read_text = pathlib.Path.glob = refuse\n"
        "use_language('en')\n"
        "str(DataError(phrase('X is empty'), allowed='1', do=phrase('check it')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_labels_of_a_message_are_translated():
    error = DataError("x", allowed="y", do="z")
    assert str(error) == "x\n  allowed: y\n  do: z"
    use_language("zh-Hant")
    assert str(error) == "x\n  允許：y\n  建議：z"


def test_near_names_and_choices_are_offered_in_chinese():
    assert did_you_mean("sed", ["seed"]) == "did you mean 'seed'?"
    assert did_you_mean("q", ["seed", "data"]) == "choose one of seed, data"
    use_language("zh-Hant")
    assert did_you_mean("sed", ["seed"]) == "你指的是 'seed' 嗎？"
    assert did_you_mean("q", ["seed", "data"]) == "請擇一：seed, data"


def test_every_problem_of_a_recipe_is_told_in_chinese():
    """Misspelt names, wrong types, values out of bounds, and what our validators say."""
    wrong = """
    budget = "soon"
    sed = 1
    [model]
    width = "wide"
    [algorithm]
    learning_rate = -1
    optimizer = "sgd"
    beta2 = 0.9
    """
    with pytest.raises(RecipeError) as caught:
        recipes.parse(wrong)
    assert "problems in the recipe" in str(caught.value)
    assert "did you mean 'seed'?" in str(caught.value)
    use_language("zh-Hant")
    with pytest.raises(RecipeError) as caught:
        recipes.parse(wrong)
    text = str(caught.value)
    for words in (
        "配方有 ",
        " 個問題",
        "沒有這個旋鈕",
        "你指的是 'seed' 嗎？",
        "不接受 'wide'",
        "整數",
        "不是預算",
    ):
        assert words in text, words
    for words in ("allowed", "problem", "do:", "possible", "number"):
        assert words not in text, words


def test_a_value_in_place_of_a_group_is_told_in_chinese():
    with pytest.raises(RecipeError) as caught:
        recipes.parse("model = 3")
    assert "3 is not possible: Input should be a valid dictionary" in str(caught.value)
    use_language("zh-Hant")
    with pytest.raises(RecipeError) as caught:
        recipes.parse("model = 3")
    assert "不接受 3: 應為表格" in str(caught.value)


def test_a_missing_file_is_told_in_the_language_asked_for_wherever_it_stands(capsys, tmp_path):
    store = f"--store={tmp_path / 'runs.db'}"
    missing = str(tmp_path / "nothing.csv")
    for line in (
        ["fit", missing, store, "--language", "zh-Hant"],
        ["--language=zh-Hant", "fit", missing, store],
    ):
        use_language("en")
        assert run(line) == 2
        text = capsys.readouterr().err
        assert "錯誤：" in text
        assert "找不到檔案" in text
        assert "允許：" in text
        assert "allowed" not in text
    assert run(["fit", missing, store, "--language", "en"]) == 2
    text = capsys.readouterr().err
    assert "there is no file" in text
    assert "allowed:" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["fit", "--sed", "3", "x"], "沒有選項 --sed。你指的是 --seed 嗎？"),
        (["fti"], '沒有指令 "fti"。'),
        (["fit"], '指令 "fit" 的參數 SOURCE 需要一個值。'),
        (["fit", "x", "--seed", "1", "--seed", "2"], "參數 --seed 重複指定。"),
        (["fit", "x", "--seed", "abc"], '無法將 "abc" 轉為 int。'),
        (["show", "x", "y z"], "多餘的字詞：['y z']。"),
        (["fit", "x", "-qv"], "沒有選項 -qv。-q 不是可用的選項。"),
    ],
)
def test_a_wrong_command_line_is_told_in_chinese_and_as_cyclopts_says_it_in_english(
    line, words, capsys
):
    with pytest.raises(CycloptsError) as caught:
        make_app()(line, exit_on_error=False, print_error=False)
    assert spoken(str(caught.value)) == str(caught.value)
    use_language("zh-Hant")
    assert words in spoken(str(caught.value))
    assert run([*line, "--language", "zh-Hant"]) == 2
    assert "錯誤：" in capsys.readouterr().err


def test_a_sentence_of_cyclopts_that_is_not_known_stays_whole():
    use_language("zh-Hant")
    text = "Unknown option: --a. Something that a later version says."
    assert spoken(text) == text


def test_a_language_that_is_not_spoken_is_refused_in_the_language_spoken(capsys):
    assert COMMANDS
    assert run(["runs", "--language", "tlh"]) == 2
    assert "not a language spoken here" in capsys.readouterr().err
    use_language("zh-Hant")
    assert run(["runs", "--language", "tlh"]) == 2
    assert say("error.label") in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        "ENOENT",
        "EACCES",
        "EPERM",
        "EISDIR",
        "ENOTDIR",
        "EEXIST",
        "ENOSPC",
        "EROFS",
        "ENAMETOOLONG",
        "EIO",
    ],
)
def test_the_system_reason_is_the_systems_own_in_english_and_chinese_in_chinese(name):
    number = getattr(errno, name)
    error = OSError(number, os.strerror(number))
    if sys.platform == "linux":
        assert system_reason(error) == error.strerror
    use_language("zh-Hant")
    assert system_reason(error).isascii() is False


def test_a_reason_without_number_is_said_in_its_own_words():
    assert system_reason(ValueError("embedded null byte")) == "embedded null byte"
    assert system_reason(OSError()) == "OSError"


def test_the_catalogues_are_packaged_beside_the_words():
    assert list((phrases.FOLDER / "zh-Hant" / "errors").glob("*.toml"))
