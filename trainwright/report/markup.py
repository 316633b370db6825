"""How does foreign text get into a page without becoming markup? Elements are built from values,
and everything that is not already an element is escaped on the way in."""

import html
import re

# What a browser may be given inline; anything else that calls itself media is left out.
_MEDIA = re.compile(
    r"(image/(?:png|jpeg|gif|webp)|audio/(?:wav|x-wav|mpeg|flac|ogg));base64,([A-Za-z0-9+/]+=*)"
)
_VOID = frozenset({"meta", "img", "br", "col", "hr"})
LONGEST_TEXT = 2000  # characters of one foreign value on a page [assumed]


class Html(str):
    """Text that is markup already. Only this file and `figures.py` make it from text."""

    __slots__ = ()


Child = Html | str | None


def visible(text: str) -> str:
    """Foreign text in which nothing acts: control, bidirectional and lone surrogate characters
    become their escapes, so that the page is valid UTF-8 and shows what is there."""
    cut = text[:LONGEST_TEXT] + ("…" if len(text) > LONGEST_TEXT else "")
    return "".join(c if c.isprintable() or c in "\n\t\u3000" else repr(c)[1:-1] for c in cut)


def escape(child: Child) -> Html:
    """The child as markup: elements stay, text is escaped, None is nothing."""
    if child is None:
        return Html()
    return child if isinstance(child, Html) else Html(html.escape(visible(child), quote=True))


def tag(name: str, /, *children: Child, **attributes: str | bool | None) -> Html:
    """One element. Attribute `class_` is written `class`, underscores become hyphens; False and
    None are left out."""
    written = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        named = key.rstrip("_").replace("_", "-")
        written.append(named if value is True else f'{named}="{escape(str(value))}"')
    opening = f"<{' '.join(written)}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{''.join(escape(child) for child in children)}</{name}>")


def join(*parts: Child) -> Html:
    """Siblings without an element around them."""
    return Html("".join(escape(part) for part in parts))


def media(source: str | None, label: str) -> Html:
    """A picture or a player for `image/png;base64,…`; nothing when it is anything else."""
    found = _MEDIA.fullmatch(source or "")
    if found is None:
        return Html()
    kind, data = found.groups()
    address = f"data:{kind};base64,{data}"
    if kind.startswith("image/"):
        return Html(f'<img src="{address}" alt="{escape(label)}">')
    return Html(
        f'<audio controls preload="metadata" src="{address}" aria-label="{escape(label)}"></audio>'
    )


def table(head: list[Child], rows: list[list[Child]], *, numeric: set[int], kind: str = "") -> Html:
    """A table whose columns in `numeric` are set right; it scrolls by itself when too wide."""

    def cells(name: str, values: list[Child]) -> Html:
        side = {"scope": "col"} if name == "th" else {}
        return join(
            *(
                tag(name, value, class_="number" if at in numeric else None, **side)
                for at, value in enumerate(values)
            )
        )

    body = join(*(tag("tr", cells("td", row)) for row in rows))
    inner = tag("table", tag("thead", tag("tr", cells("th", head))), tag("tbody", body))
    return tag("div", inner, class_=f"scroll {kind}".strip())
