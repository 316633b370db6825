"""The generated pages say what the program says."""

import json
import re
import subprocess
import sys

import pytest
from contract_source import ROOT

SHOW = "import sys; sys.path.insert(0, 'docs'); import generate; print(getattr(generate, sys.argv[1])(), end='')"


def fresh(page: str) -> str:
    """The page as the program writes it now; in another process, for it chooses a language."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, f"{page}_page"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def written(page: str) -> str:
    return (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["knobs", "metrics", "rules", "readings", "remedies"])
def test_a_generated_page_is_not_stale(page):
    assert written(page) == fresh(page), "`make docs` writes it anew"


def test_the_page_of_commands_has_every_command_and_option():
    """Its frames and line breaks are cyclopts' own and differ from version to version."""

    def names(text: str) -> set[str]:
        return set(re.findall(r"^## .*$|(?<![\w-])--[a-z][\w-]*", text, flags=re.MULTILINE))

    assert names(written("commands")) == names(fresh("commands")), "`make docs` writes it anew"


def test_every_rule_has_a_page_that_is_not_stale_and_no_page_is_of_a_rule_that_is_gone():
    ask = SHOW.replace("getattr(generate, sys.argv[1])()", "json.dumps(generate.rule_files())")
    done = subprocess.run(
        [sys.executable, "-c", f"import json; {ask}"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    fresh = json.loads(done.stdout)
    written = {
        f"rules/{path.name}": path.read_text(encoding="utf-8")
        for path in (ROOT / "docs" / "rules").glob("*.md")
    }
    assert len(fresh) > 40
    assert written == fresh, "`make docs` writes them anew"
