"""What did the exams answer, for someone who was not there? One page with a card for each, from the
question to what it moved; and why others were not taken."""

from importlib.metadata import version

from trainwright.core.diagnosis import Diagnosis
from trainwright.core.words import language, say
from trainwright.exam.ask import Asked
from trainwright.exam.exam import Exam
from trainwright.report import format as show
from trainwright.report.exams import answer_words, moved_lines, question_words
from trainwright.report.markup import Html, tag
from trainwright.report.page import head, made_by
from trainwright.report.pictures import captioned
from trainwright.report.sections import definitions
from trainwright.report.terminal import tame


def render_exams(asked: Asked, *, title: str = "") -> str:
    """The whole page, in the language spoken; `title` is what was examined."""
    said = " · ".join(filter(None, (say("exams.card.page_title"), tame(title))))
    body = tag(
        "body",
        tag("header", tag("h1", said)),
        tag(
            "main",
            *(exam_section(one, asked.before, asked.after) for one in asked.exams),
            _skipped(asked),
        ),
        made_by(version("trainwright")),
    )
    return "<!doctype html>\n" + tag("html", head(said), body, lang=language())


def exam_section(
    one: Exam, before: Diagnosis | None = None, after: Diagnosis | None = None
) -> Html:
    """An exam's question, answer, pictures, and which findings it moved."""
    moved = moved_lines(one, before, after) or [say("exams.card.nothing")]
    drawn = [captioned(f"{one.name}-{at}", part) for at, part in enumerate(one.pictures)]
    return tag(
        "section",
        tag("h2", say(f"exams.{one.name}.title")),
        tag("p", question_words(one), class_="about"),
        tag("p", tag("strong", answer_words(one)), class_="verdict"),
        tag("div", *drawn, class_="plots") if drawn else None,
        tag("ul", *(tag("li", line) for line in moved)),
        *(tag("p", say(note), class_="note") for note in one.notes),
        tag("p", show.seconds(one.seconds), class_="note"),
        id=one.name,
        class_="exam",
    )


def _skipped(asked: Asked) -> Html | None:
    if not asked.skipped:
        return None
    rows = [
        (say(f"exams.{name}.title"), say("exams.card.no_time") if why == "time" else tame(why))
        for name, why in asked.skipped
    ]
    return tag("section", tag("h2", say("exams.card.skipped")), definitions(rows), id="skipped")
