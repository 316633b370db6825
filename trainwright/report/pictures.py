"""How does an experiment's picture stand on a page? Its curves, both axes' names and a key, in the
reader's language."""

from dataclasses import replace

from trainwright.core.claims import Picture
from trainwright.core.words import known_codes, say
from trainwright.report import figures
from trainwright.report.markup import Html, tag


def captioned(name: str, picture: Picture) -> Html:
    """The picture as a figure; `name` is its own on the page."""
    keys = [
        tag("span", tag("i", class_=f"key part part-{at % len(figures.PARTS)}"), _word(one.name))
        for at, one in enumerate(picture.series)
    ]
    caption = tag("figcaption", tag("strong", _word(picture.y)),
                  tag("span", *keys, class_="legend"))  # fmt: skip
    named = replace(picture, names=tuple(map(_word, picture.names)))
    return tag(
        "figure",
        caption,
        figures.shared_axes(name, named),
        tag("div", _word(picture.x), class_="axis across"),
        class_="plot",
    )


def _word(name: str) -> str:
    """A code's words; a name that is no code stands for itself."""
    return say(name) if name in known_codes("en") else name
