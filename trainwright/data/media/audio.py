"""How does a recording become numbers? Mono, one rate, one length, as waveform or log-mel bands."""

import io
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from trainwright.core.errors import DataError
from trainwright.core.phrases import phrase
from trainwright.data.media.folder import UndecodableError

BANDS = 64  # common for speech commands and sound events [paper: Hershey et al. 2017]
WINDOW_SECONDS = 0.025  # a vowel is steady for about this long [paper: Davis & Mermelstein 1980]
HOP_SECONDS = 0.010  # ditto
FLOOR = 1e-6  # power below which all is silence: -60 dB of full scale [assumed]
HIGHEST_RATE = 16_000  # speech holds little above 8 kHz
LONGEST_SECONDS = 600.0  # the bound of data.seconds
LONGEST_FILE_SECONDS = 3600.0  # a longer recording is cut before it is decoded [assumed]
SHOWN_SECONDS, SHOWN_RATE = 2.0, 16_000  # what a report plays [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioForm:
    """Decoded recordings: float32 [1, time] for a waveform, [band, frame] for log-mel."""

    sample_rate: int
    num_samples: int
    representation: Literal["log_mel", "waveform"]

    @property
    def shape(self) -> tuple[int, ...]:
        if self.representation == "waveform":
            return (1, self.num_samples)
        return (BANDS, 1 + self.num_samples // hop_samples(self.sample_rate))

    @property
    def dtype(self) -> Any:
        return np.float32

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def decode(self, data: bytes) -> Float32[np.ndarray, "{self.shape[0]} {self.shape[1]}"]:
        """A file's content in `shape`; cut at the end, or padded there with silence.

        Raises UndecodableError.
        """
        wave = self.waveform(data)
        if self.representation == "waveform":
            return wave[None]
        return log_mel(torch.from_numpy(wave), self.sample_rate).numpy()

    def waveform(self, data: bytes) -> Float32[np.ndarray, " {self.num_samples}"]:
        """Sound in [-1, 1] at `sample_rate`.

        Raises UndecodableError.
        """
        wave, rate = read_mono(data, most_seconds=self.num_samples / self.sample_rate + 1)
        wave = resample(wave, rate, self.sample_rate)[: self.num_samples]
        padded = np.zeros(self.num_samples, dtype=np.float32)
        padded[: len(wave)] = wave
        return padded

    def to_record(self) -> dict[str, Any]:
        return {
            "sample_rate": self.sample_rate,
            "num_samples": self.num_samples,
            "representation": self.representation,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What a file's header says."""

    sample_rate: int
    channels: int
    seconds: float


def read_heading(data: bytes) -> Heading:
    """Raises UndecodableError."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            seconds = file.frames / max(1, file.samplerate)
            return Heading(sample_rate=file.samplerate, channels=file.channels, seconds=seconds)
    except Exception as error:
        raise UndecodableError(_reason(error)) from None


def read_mono(data: bytes, *, most_seconds: float) -> tuple[Float32[np.ndarray, " time"], int]:
    """The mean of the channels, and the rate; at most the first `most_seconds`.

    Raises UndecodableError, also for a recording without a sample or with NaN.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            most = min(most_seconds, LONGEST_FILE_SECONDS)
            expected = min(file.frames, math.ceil(most * file.samplerate))
            wave = file.read(expected, dtype="float32", always_2d=True)
            rate = int(file.samplerate)
    # soundfile raises LibsndfileError, RuntimeError or TypeError by format and damage.
    except Exception as error:
        raise UndecodableError(_reason(error)) from None
    if not len(wave):
        raise UndecodableError(phrase("it holds no sound"))
    if len(wave) < expected:
        raise UndecodableError(
            phrase("it ends after {num} of {expected} samples", num=len(wave), expected=expected)
        )
    if not np.isfinite(wave).all():
        raise UndecodableError(phrase("it holds NaN or infinity"))
    return wave.mean(axis=1, dtype=np.float32), rate


def resample(
    wave: Float32[np.ndarray, " time"], rate: int, wanted: int
) -> Float32[np.ndarray, " _"]:
    """The sound at the wanted rate, by a polyphase filter (scipy.signal.resample_poly)."""
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly  # 0.3 s to import: only when rates differ

    divisor = math.gcd(rate, wanted)
    return resample_poly(wave, wanted // divisor, rate // divisor).astype(np.float32)


def choose_form(
    headings: Iterable[Heading],
    *,
    sample_rate: int | None,
    seconds: float | None,
    representation: Literal["log_mel", "waveform"],
) -> AudioForm:
    """Rate: the commonest, at most 16 kHz. Length: the 95th percentile of the recordings.

    Raises DataError when no header can be read.
    """
    headings = list(headings)
    if not headings:
        raise DataError(
            phrase("none of the sampled recordings can be read"),
            allowed=phrase("wav, flac, ogg, opus, mp3, aiff as libsndfile reads them"),
            do=phrase("check that the files are whole recordings"),
        )
    rates = Counter(heading.sample_rate for heading in headings)
    commonest = max(rates, key=lambda rate: (rates[rate], rate))
    rate = sample_rate or max(1000, min(HIGHEST_RATE, commonest))
    lengths = [heading.seconds for heading in headings]
    length = seconds or min(LONGEST_SECONDS, float(np.quantile(lengths, 0.95)))
    return AudioForm(
        sample_rate=rate,
        num_samples=max(window_samples(rate), round(length * rate)),
        representation=representation,
    )


def window_samples(sample_rate: int) -> int:
    return max(16, round(WINDOW_SECONDS * sample_rate))


def hop_samples(sample_rate: int) -> int:
    return max(1, round(HOP_SECONDS * sample_rate))


def log_mel(
    wave: Float32[Tensor, "*batch time"], sample_rate: int
) -> Float32[Tensor, "*batch band frame"]:
    """The natural log of power by band, of sound in [-1, 1].

        S[k, t] = |sum_n w[n] x[t H + n - N/2] exp(-2 pi i k n / N)|^2 / (sum_n w[n])^2
        L[b, t] = ln(sum_k M[b, k] S[k, t] + 1e-6)

    with a Hann window w of 25 ms centred in N points, hop H of 10 ms, silence beyond the ends, and
    the triangular filters M of `mel_filters`.

    Source: Davis & Mermelstein 1980 (before the cosine transform).
    """
    window, num_points, filters = _front_end(sample_rate)
    spectrum = torch.stft(
        wave,
        n_fft=num_points,
        hop_length=hop_samples(sample_rate),
        win_length=window.shape[0],
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.abs().square() / window.sum().square()
    return (filters @ power + FLOOR).log()


def mel_filters(sample_rate: int, num_points: int) -> Float32[Tensor, "band {1+num_points//2}"]:
    """Triangles of height 1, evenly spaced in mel.

        m(f) = 2595 log10(1 + f / 700), centres m_b = b m(rate / 2) / (BANDS + 1), b = 1..BANDS
        M[b, k] = max(0, min((f_k - f_(b-1)) / (f_b - f_(b-1)), (f_(b+1) - f_k) / (f_(b+1) - f_b)))

    Source: O'Shaughnessy 1987, Speech Communication, p. 150 (the mel formula); triangles as in
    HTK (Young et al. 2006, section 5.4).
    """
    edges = _mel_edges(sample_rate)
    frequencies = torch.linspace(0, sample_rate / 2, 1 + num_points // 2, dtype=torch.float64)
    below, centre, above = (edges[i : i + BANDS, None] for i in range(3))
    rising = (frequencies - below) / (centre - below)
    falling = (above - frequencies) / (above - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()


def transform_points(sample_rate: int) -> int:
    """Points of the Fourier transform: a power of two that holds the window and is fine enough
    that the narrowest filter, the first, has a bin inside."""
    narrowest = float(_mel_edges(sample_rate)[1])
    return 2 ** math.ceil(math.log2(max(window_samples(sample_rate), sample_rate / narrowest)))


def playable(data: bytes) -> bytes:
    """At most two seconds as a 16-bit mono WAV, at 8 to 16 kHz.

    Raises UndecodableError.
    """
    import soundfile

    wave, rate = read_mono(data, most_seconds=SHOWN_SECONDS)
    wanted = min(SHOWN_RATE, max(8000, rate))
    wave = resample(wave, rate, wanted)[: int(SHOWN_SECONDS * wanted)]
    into = io.BytesIO()
    soundfile.write(into, wave, wanted, format="WAV", subtype="PCM_16")
    return into.getvalue()


def _mel_edges(sample_rate: int) -> Float64[Tensor, " _"]:
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    mels = torch.linspace(0, top, BANDS + 2, dtype=torch.float64)
    return 700 * (10 ** (mels / 2595) - 1)


@lru_cache(maxsize=8)
def _front_end(sample_rate: int) -> tuple[Tensor, int, Tensor]:
    num_points = transform_points(sample_rate)
    return (
        torch.hann_window(window_samples(sample_rate)),
        num_points,
        mel_filters(sample_rate, num_points),
    )


def _reason(error: Exception) -> str:
    text = str(error).rpartition(": ")[2].strip() or type(error).__name__
    return text[:80].rstrip(".")
