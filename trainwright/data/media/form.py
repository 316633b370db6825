"""What should each file become? Size, colour, rate and length chosen from a sample, and what the
sample showed."""

from collections import Counter
from collections.abc import Sequence

from trainwright.core.records import Notice
from trainwright.data.knobs import DataKnobs
from trainwright.data.media import audio, image
from trainwright.data.media.audio import AudioForm, Heading
from trainwright.data.media.folder import UndecodableError, evenly
from trainwright.data.media.gather import Gathered
from trainwright.data.media.image import SAMPLED_FILES, ImageForm
from trainwright.data.media.workers import read_file

NAMED_MODES = 4  # modes or rates named in one notice [assumed]


def choose_form(
    found: Gathered, knobs: DataKnobs
) -> tuple[ImageForm | AudioForm, tuple[Notice, ...]]:
    """The form for all files from a sample of them, and what the sample showed."""
    contents = _contents(evenly(found.paths, SAMPLED_FILES))
    if not contents:
        found.without([(row, "it cannot be opened") for row in range(len(found))])
    if found.kind == "image":
        form = image.choose_form(contents, image_size=knobs.image_size, channels=knobs.channels)
        return form, _image_notices(contents, form)
    headings: list[Heading] = []
    for content in contents:
        try:
            headings.append(audio.read_heading(content))
        except UndecodableError:
            continue
    sound = audio.choose_form(
        headings,
        sample_rate=knobs.sample_rate,
        seconds=knobs.seconds,
        representation=knobs.audio,
    )
    return sound, _audio_notices(headings, sound)


def _image_notices(contents: Sequence[bytes], form: ImageForm) -> tuple[Notice, ...]:
    sizes, modes = image.sizes_and_modes(contents)
    notices: list[Notice] = []
    if set(sizes) != {(form.width, form.height)}:
        first = f"{sizes.most_common(1)[0][0][0]}x{sizes.most_common(1)[0][0][1]}"
        values = {"count": len(sizes), "first": first, "size": form.height}
        notices.append(Notice(code="media_images_resized", values=values))
    if len(modes) > 1:
        listed = [mode for mode, _ in modes.most_common(NAMED_MODES)]
        to = "grey" if form.channels == 1 else "colour"
        notices.append(Notice(code="media_modes_differ", values={"modes": listed, "to": to}))
    return tuple(notices)


def _audio_notices(headings: Sequence[Heading], form: AudioForm) -> tuple[Notice, ...]:
    notices: list[Notice] = []
    rates = Counter(heading.sample_rate for heading in headings)
    if set(rates) != {form.sample_rate}:
        listed = [rate for rate, _ in rates.most_common(NAMED_MODES)]
        values = {"rates": listed, "rate": form.sample_rate}
        import scipy.signal  # noqa: F401  before the workers fork: else each would import it

        notices.append(Notice(code="media_resampled", values=values))
    stereo = sum(heading.channels > 1 for heading in headings)
    if stereo:
        values = {"count": stereo, "total": len(headings)}
        notices.append(Notice(code="media_mixed_to_mono", values=values))
    seconds = form.num_samples / form.sample_rate
    longer = sum(heading.seconds > seconds + 1e-3 for heading in headings)
    if longer:
        values = {"count": longer, "total": len(headings), "seconds": round(seconds, 2)}
        notices.append(Notice(code="media_recordings_cut", values=values))
    return tuple(notices)


def _contents(paths: Sequence[str]) -> list[bytes]:
    found: list[bytes] = []
    for path in paths:
        try:
            found.append(read_file(path))
        except UndecodableError:
            continue
    return found
