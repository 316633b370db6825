"""What does a run look like to someone who was not there? One HTML page that holds everything and
loads nothing."""

from collections.abc import Sequence
from pathlib import Path

from trainwright.core.diagnosis import Diagnosis
from trainwright.core.history import History
from trainwright.core.records import RunRecord
from trainwright.core.words import language, say
from trainwright.report import findings, phrases, scores, sections
from trainwright.report.curves import Reading
from trainwright.report.markup import Child, Html, join, tag

# Nothing may be fetched or run, whatever a record holds: escaping is the wall, this the moat.
CONTENT_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
_STYLE = Path(__file__).parent / "assets" / "page.css"


def render_page(
    record: RunRecord, history: Sequence[Reading], *, diagnosis: Diagnosis | None = None,
    watched: History | None = None,
) -> str:  # fmt: skip
    """The whole page. Sections that have nothing to show are left out; `watched` are the readings
    by layer that the diagnosis is drawn with."""
    wanted: tuple[tuple[str, Html | None], ...] = (
        ("diagnosis", findings.findings(diagnosis, watched) if diagnosis else None),
        ("understood", sections.understood(record)),
        ("curves", sections.curves(record, history)),
        ("baselines", scores.baselines(record)),
        ("metrics", scores.metrics(record)),
        ("confusion", scores.confusion(record)),
        ("per_class", scores.per_class(record)),
        ("calibration", scores.calibration(record)),
        ("residuals", scores.residuals(record)),
        ("worst", scores.worst(record)),
        ("slices", scores.slices(record)),
        ("course", sections.course(record)),
        ("recipe", sections.recipe(record)),
        ("repeat", sections.repeat(record)),
        ("versions", sections.versions(record)),
        ("time", sections.time(record)),
    )
    there = [(name, content) for name, content in wanted if content]
    title = f"{record.id}: {phrases.task_sentence(record)}"
    return "<!doctype html>\n" + tag("html", head(title), _body(record, there), lang=language())


def render_diagnosis(
    diagnosis: Diagnosis, watched: History | None = None, *, title: str = "", version: str = ""
) -> str:  # fmt: skip
    """The page of a diagnosis alone: of somebody's own loop, or of a check before step 1."""
    said = title or say("diagnosis.report_title")
    body = tag(
        "body",
        tag("header", tag("h1", said)),
        tag("main", tag("section", findings.findings(diagnosis, watched), id="diagnosis")),
        made_by(version),
    )
    return "<!doctype html>\n" + tag("html", head(said), body, lang=language())


def head(title: str) -> Html:
    style = Html(f"<style>{_STYLE.read_text(encoding='utf-8')}</style>")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">'),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", title),
        style,
    )


def _body(record: RunRecord, there: list[tuple[str, Html]]) -> Html:
    links = [tag("a", say(f"report.section.{name}"), href=f"#{name}") for name, _ in there]
    blocks: list[Child] = [
        tag("section", tag("h2", say(f"report.section.{name}")), content, id=name)
        for name, content in there
    ]
    version = record.versions.get("trainwright", "")
    return tag(
        "body",
        sections.headline(record),
        tag("nav", *links, aria_label=say("report.contents")),
        tag("main", join(*blocks)),
        made_by(version),
    )


def made_by(version: str) -> Html:
    said = say("report.made_by", version=version)
    return tag("footer", said.replace("  ", " ").replace(" .", "."))
