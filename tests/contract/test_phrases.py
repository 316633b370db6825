"""Messages for users are written in English where they are raised, and are said in every language."""

import ast
import re
from string import Formatter

import pytest
from contract_source import calls, files, place, tree

from trainwright.core.phrases import LANGUAGES, translations

OTHERS = [name for name in LANGUAGES if name != "en"]
# Read by users: our errors (found below), the problems within them, and what pydantic, a decoder
# or a reader raises to become a part of one.
QUOTED_IN_ERRORS = {"Problem", "ValueError", "UndecodableError", "EOFError"}
PARTS = {"what", "allowed", "do"}


def speaks(path) -> bool:
    """Whether `phrase` is ours in this file."""
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "trainwright.core.phrases"
        and any(alias.name == "phrase" for alias in node.names)
        for node in ast.walk(tree(path))
    )


def phrases():
    """(place, template or None, names of the values) of each call of phrase()."""
    for path in files():
        for call in calls(path, "phrase") if speaks(path) else ():
            given = call.args[0] if len(call.args) == 1 else None
            literal = isinstance(given, ast.Constant) and isinstance(given.value, str)
            names = {str(k.arg) for k in call.keywords}
            template = given.value if literal else None
            yield f"{place(path)}:{call.lineno}", template, names


def placeholders(text: str) -> list[tuple[str, str, str | None]]:
    """Name, format and conversion of each value, `{num:,.0f}` -> (num, ",.0f", None)."""
    return sorted(
        {(n, s or "", c or "") for _, n, s, c in Formatter().parse(text) if n is not None}
    )


PHRASES = sorted(phrases(), key=lambda found: found[0])
TEMPLATES = {template for _, template, _ in PHRASES if template is not None}


def error_names() -> set[str]:
    """TrainwrightError and everything that is derived from it."""
    bases = {
        node.name: {getattr(base, "id", "") for base in node.bases}
        for path in files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }
    names = {"TrainwrightError"}
    while more := {name for name, above in bases.items() if above & names} - names:
        names |= more
    return names


ERRORS = error_names() | QUOTED_IN_ERRORS


def is_prose(text: str) -> bool:
    """Whether words make a sentence: a list of single words, names or numbers makes none."""
    return any(re.search(r"[A-Za-z]", item) and " " in item.strip() for item in text.split(", "))


class Given:
    """The text that an expression gives, as far as it can be read in one file: literals, f-strings,
    sums, choices, lists, names assigned and functions defined in the file."""

    def __init__(self, path) -> None:
        nodes = list(ast.walk(tree(path)))
        self.functions = {n.name: n for n in nodes if isinstance(n, ast.FunctionDef)}
        self.scopes = [*self.functions.values(), tree(path)]

    def prose(self, node: ast.AST, scope: ast.AST, seen: frozenset[str] = frozenset()) -> list[str]:
        """Each English sentence in `node` that is no phrase."""
        match node:
            case ast.Constant(value=str(text)):
                return [text] if is_prose(text) else []
            case ast.JoinedStr(values=parts):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "0" for part in parts
                )
                inner = [part.value for part in parts if isinstance(part, ast.FormattedValue)]
                found = [text] if is_prose(text) else []
                return found + [s for part in inner for s in self.prose(part, scope, seen)]
            case ast.Name(id=name) if name not in seen:
                return [
                    s
                    for value in self.assigned(name, scope)
                    for s in self.prose(value, scope, seen | {name})
                ]
            case ast.Call(func=ast.Name(id="phrase" | "say")):
                return []
            case ast.Call(func=ast.Name(id=name)) if name in ERRORS and name not in seen:
                return []  # it is judged by itself
            case ast.Call(func=ast.Name(id=name)) if name in self.functions and name not in seen:
                function = self.functions[name]
                returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return)]
                answers = [v for v in returned if v is not None]
                answers += [*node.args, *(k.value for k in node.keywords)]
                return [s for v in answers for s in self.prose(v, function, seen | {name})]
            case ast.IfExp(body=body, orelse=orelse):
                return self.prose(body, scope, seen) + self.prose(orelse, scope, seen)
            case ast.Compare() | ast.Subscript():
                return []
        return [s for inner in ast.iter_child_nodes(node) for s in self.prose(inner, scope, seen)]

    def assigned(self, name: str, scope: ast.AST) -> list[ast.expr]:
        """What `name` is set to in the function, or else at the top of the file."""
        for where in (scope, self.scopes[-1]):
            found = [
                node.value
                for node in ast.walk(where)
                if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr))
                and node.value is not None
                and any(
                    isinstance(t, ast.Name) and t.id == name
                    for t in getattr(node, "targets", [getattr(node, "target", None)])
                )
            ]
            if found:
                return found
        return []


def english_in(path) -> dict[str, list[str]]:
    """Line and part -> the sentences that are no phrase, of each text given to an error, or to a
    function of the same file that hands its arguments on to one."""
    given, found = Given(path), {}
    for scope in given.scopes:
        for call in ast.walk(scope):
            name = getattr(getattr(call, "func", None), "id", "")
            if isinstance(call, ast.Call) and (name in ERRORS or hands_on(given, name)):
                texts = [("what", arg) for arg in call.args]
                texts += [(k.arg, k.value) for k in call.keywords if k.arg in PARTS]
                for part, text in texts:
                    if sentences := given.prose(text, scope):
                        found[f"{call.lineno} {part}"] = sentences
    return found


def hands_on(given: Given, name: str) -> bool:
    """Whether this function of the file makes an error of its own arguments, e.g. `_wrong(what)`."""
    function = given.functions.get(name)
    if function is None:
        return False
    names = {a.arg for a in (*function.args.args, *function.args.kwonlyargs)} & {*PARTS, "why"}
    makes = {getattr(n.func, "id", "") for n in ast.walk(function) if isinstance(n, ast.Call)}
    return bool(names) and bool(makes & ERRORS)


def test_there_is_much_to_say():
    assert len(TEMPLATES) > 300
    assert {"DataError", "RunNotFound", "RecipeError"} <= ERRORS


def test_every_template_is_literal():
    """Else no one could know what to translate."""
    assert not [where for where, template, _ in PHRASES if template is None]


def test_every_template_is_given_exactly_the_values_it_asks_for():
    wrong = {
        where: (template, names)
        for where, template, names in PHRASES
        if template is not None and {name for name, *_ in placeholders(template)} != names
    }
    assert not wrong


@pytest.mark.parametrize("language", OTHERS)
def test_every_template_is_translated_and_nothing_else(language):
    assert TEMPLATES - translations(language).keys() == set()
    assert translations(language).keys() - TEMPLATES == set()


@pytest.mark.parametrize("language", OTHERS)
def test_translations_fill_in_the_same_values_in_the_same_form(language):
    differing = {
        template: translation
        for template, translation in translations(language).items()
        if placeholders(template) != placeholders(translation)
    }
    assert not differing


@pytest.mark.parametrize("language", OTHERS)
def test_commands_in_backticks_stay_as_they_are_typed(language):
    differing = {
        template: translation
        for template, translation in translations(language).items()
        if not set(re.findall(r"`[^`]*`", template)) <= set(re.findall(r"`[^`]*`", translation))
    }
    assert not differing


def test_chinese_is_traditional_and_not_english():
    """Chinese has no article: `a {noun}` is the noun."""
    simplified = set("这为们时数务训练验证报误过达运错长问么样实现")
    wrong = {
        template: text
        for template, text in translations("zh-Hant").items()
        if set(text) & simplified
        or (is_prose(template) and text != "{noun}" and not re.search(r"[一-鿿]", text))
    }
    assert not wrong


def test_no_error_is_raised_in_english_only():
    """A sentence goes through phrase(); what is computed elsewhere than in its file is not seen."""
    english = {place(path): found for path in files() if (found := english_in(path))}
    assert not english


def english_reasons(path) -> list[str]:
    """Sentences that are no phrase, of why something was not seen: values of `unseen`, reasons."""
    given, found = Given(path), []
    for scope in given.scopes:
        for node in ast.walk(scope):
            match node:
                case ast.Assign(targets=[ast.Subscript(value=held)], value=value) if ast.unparse(
                    held
                ).endswith("unseen"):
                    found += given.prose(value, scope)
                case ast.Call(
                    func=ast.Attribute(value=held, attr="setdefault"), args=[_, value]
                ) if ast.unparse(held).endswith("unseen"):
                    found += given.prose(value, scope)
                case ast.keyword(arg="unseen", value=ast.Dict(values=values)):
                    found += [text for value in values for text in given.prose(value, scope)]
                case ast.keyword(arg="reason", value=value):
                    found += given.prose(value, scope)
    return found


def test_no_reason_why_something_was_not_seen_is_given_in_english_only():
    english = {place(path): found for path in files() if (found := english_reasons(path))}
    assert not english


@pytest.mark.parametrize(
    "line",
    [
        'unseen["x"] = "it was not there"',
        'self.unseen["x"] = f"{x} was not there"',
        'unseen.setdefault("x", "it was not there")',
        'return Facts(unseen={"x": "it was not there"})',
        'return Unseen(code="", missing="x", reason="it was not there")',
    ],
)
def test_a_new_reason_cannot_forget_its_phrase(line, tmp_path):
    path = tmp_path / "new.py"
    path.write_text(f"def new(x, unseen):\n    {line}\n", encoding="utf-8")
    assert english_reasons(path)


@pytest.mark.parametrize(
    "line",
    [
        'raise DataError("it is wrong")',
        'raise DataError(f"{x} is wrong")',
        'raise DataError("a" + f" {x} is wrong")',
        'raise DataError(phrase("x"), allowed="one of these")',
        'raise DataError(phrase("x"), do="check it" if x else phrase("y"))',
        'raise DataError(phrase("{y}", y=x), do=", ".join(["mend this", x]))',
        'do = f"drop {x} then"\n    raise DataError(phrase("x"), do=do)',
        'raise DataError(phrase("x"), do=advice(x))',
        'raise refused("it is wrong")',
        'raise RecipeError([Problem(path="x", what="it is wrong")])',
        'raise ValueError(f"{x} is wrong")',
    ],
)
def test_a_new_message_cannot_forget_its_phrase(line, tmp_path):
    path = tmp_path / "new.py"
    path.write_text(
        f"def new(x):\n    {line}\n\n\n"
        'def advice(x):\n    return f"mend {x}"\n\n\n'
        "def refused(what):\n    return DataError(what)\n",
        encoding="utf-8",
    )
    assert english_in(path)


def test_names_numbers_and_commands_need_no_phrase(tmp_path):
    path = tmp_path / "new.py"
    path.write_text(
        "def new(x):\n"
        '    raise DataError(phrase("x"), allowed="auto, cpu", do=f"tw.load({x!r}, model=Net)")\n',
        encoding="utf-8",
    )
    assert not english_in(path)
