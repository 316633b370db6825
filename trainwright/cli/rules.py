"""trainwright rules: which diseases are looked for."""

from trainwright.cli import options
from trainwright.cli.output import console, print_json


def rules(*, store: options.AnyStore = None, json: options.Json = False) -> int:
    from trainwright.report.diagnosis import rules_table
    from trainwright.report.rule_pages import rule_pages

    pages = rule_pages()
    if json:
        print_json([page.to_plain() for page in pages])
    else:
        console().print(rules_table(pages))
    return 0
