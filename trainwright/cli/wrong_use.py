"""What is wrong with a command line? cyclopts says it in English; here in the language spoken."""

import re

from trainwright.core.phrases import phrase


def spoken(text: str) -> str:
    """cyclopts' sentences, each translated; a text with one that is not known stays as it is."""
    said, rest = [], text.strip()
    while rest:
        found = _first(rest)
        if found is None:
            return text
        sentence, rest = found
        said.append(sentence)
    return " ".join(said).replace("。 ", "。")  # no space follows a full stop in Chinese


def _first(text: str) -> tuple[str, str] | None:
    """The first sentence of `text` as it is said, and what follows it."""
    for pattern, speak in (
        (r"Unknown option: (\S+)\.(?: |$)", _unknown_option),
        (r"(\S+) is not a recognized option\.(?: |$)", _not_recognized),
        (r"Unknown command (\".*?\")\.(?: |$)", _unknown_command),
        (r"Did you mean (\S+)\?(?: |$)", _did_you_mean),
        (r"Available commands: (.+?)(, \.\.\.|\.)(?: |$)", _available),
        (r"Command \"(.+?)\" parameter (\S+) requires an argument\.(?: |$)", _requires),
        (r"Invalid value for (\S+): unable to convert (\".*\") into (\w+)\.(?: |$)", _invalid),
        (r"Parameter (\S+) specified multiple times\.(?: |$)", _repeated),
        (r"Unused Tokens: (\[.*\])\.(?: |$)", _unused),
    ):
        if found := re.match(pattern, text, re.DOTALL):
            return speak(*found.groups()), text[found.end() :]
    return None


def _unknown_option(option: str) -> str:
    return phrase("Unknown option: {option}.", option=option)


def _not_recognized(option: str) -> str:
    return phrase("{option} is not a recognized option.", option=option)


def _unknown_command(command: str) -> str:
    return phrase("Unknown command {command}.", command=command)


def _did_you_mean(near: str) -> str:
    return phrase("Did you mean {near}?", near=near)


def _available(commands: str, end: str) -> str:
    return phrase("Available commands: {commands}{end}", commands=commands, end=end)


def _requires(command: str, parameter: str) -> str:
    return phrase(
        'Command "{command}" parameter {parameter} requires an argument.',
        command=command,
        parameter=parameter,
    )


def _invalid(parameter: str, value: str, type_: str) -> str:
    return phrase(
        "Invalid value for {parameter}: unable to convert {value} into {type}.",
        parameter=parameter,
        value=value,
        type=type_,
    )


def _repeated(parameter: str) -> str:
    return phrase("Parameter {parameter} specified multiple times.", parameter=parameter)


def _unused(words: str) -> str:
    return phrase("Unused Tokens: {words}.", words=words)
