"""Recordings of any rate, length and number of channels end as one form; log-mel meets a slow
oracle."""

import io

import numpy as np
import pytest
import soundfile
import torch

from trainwright.core.errors import DataError
from trainwright.data.media.audio import (
    BANDS,
    FLOOR,
    AudioForm,
    Heading,
    choose_form,
    hop_samples,
    log_mel,
    mel_filters,
    playable,
    read_heading,
    read_mono,
    transform_points,
    window_samples,
)
from trainwright.data.media.folder import UndecodableError


def recording(wave, rate=8000, kind="WAV", **options):
    into = io.BytesIO()
    soundfile.write(into, wave, rate, format=kind, **options)
    return into.getvalue()


def tone(hertz, rate=8000, seconds=0.5):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype("f4")


def waveform(rate=8000, num=4000):
    return AudioForm(sample_rate=rate, num_samples=num, representation="waveform")


def slow_log_mel(wave, rate):
    """The docstring's formula, one sum at a time, in float64."""
    window_size, hop, N = window_samples(rate), hop_samples(rate), transform_points(rate)
    hann = np.sin(np.pi * np.arange(window_size) / window_size) ** 2
    window = np.zeros(N)
    window[(N - window_size) // 2 :][:window_size] = hann
    padded = np.concatenate([np.zeros(N // 2), wave, np.zeros(N // 2)])
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), BANDS + 2) / 2595) - 1)
    frames = 1 + len(wave) // hop
    result = np.zeros((BANDS, frames))
    for t in range(frames):
        piece = padded[t * hop : t * hop + N] * window
        for b in range(BANDS):
            total = 0.0
            low, centre, high = edges[b : b + 3]
            for k in range(int(low * N / rate), min(N // 2, int(high * N / rate) + 1) + 1):
                f = k * rate / N
                height = max(0.0, min((f - low) / (centre - low), (high - f) / (high - centre)))
                wavelet = np.exp(-2j * np.pi * k * np.arange(N) / N)
                total += height * abs((piece * wavelet).sum()) ** 2
            result[b, t] = np.log(total / hann.sum() ** 2 + FLOOR)
    return result


def test_log_mel_equals_the_slow_formula():
    wave = np.random.default_rng(0).normal(0, 0.1, 500).astype("f4")
    fast = log_mel(torch.from_numpy(wave), 8000).numpy()
    np.testing.assert_allclose(fast, slow_log_mel(wave.astype("f8"), 8000), atol=1e-3)


def test_a_tone_is_loudest_in_its_own_band():
    bands = log_mel(torch.from_numpy(tone(1000)), 8000)
    filters = mel_filters(8000, transform_points(8000))
    nearest = round(1000 * transform_points(8000) / 8000)
    assert bands.mean(dim=1).argmax() == filters[:, nearest].argmax()


@pytest.mark.parametrize("rate", [1000, 4000, 8000, 11_025, 16_000, 44_100, 192_000])
def test_no_filter_is_empty_and_neighbours_sum_to_one(rate):
    filters = mel_filters(rate, transform_points(rate))
    assert (filters.sum(dim=1) > 0).all()
    first, last = int(filters[0].argmax()) + 1, int(filters[-1].argmax())
    between = filters.sum(dim=0)[first:last]
    torch.testing.assert_close(between, torch.ones_like(between))


def test_silence_is_the_floor():
    bands = log_mel(torch.zeros(4000), 8000)
    torch.testing.assert_close(bands, torch.full_like(bands, np.log(FLOOR)))


def test_the_form_tells_its_shape():
    form = AudioForm(sample_rate=8000, num_samples=4000, representation="log_mel")
    assert form.decode(recording(tone(440))).shape == form.shape == (64, 51)
    assert waveform().decode(recording(tone(440))).shape == waveform().shape


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF"])
def test_every_format_is_read(kind):
    wave = tone(440)
    read = waveform().waveform(recording(wave, kind=kind))
    assert np.corrcoef(read, wave)[0, 1] > 0.99


def test_stereo_is_the_mean_of_its_channels():
    left, right = tone(300), tone(500)
    data = recording(np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(waveform().waveform(data), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [4000, 11_025, 16_000, 44_100])
def test_other_rates_are_resampled_to_the_same_tone(rate):
    wave = waveform().waveform(recording(tone(440, rate), rate))
    expected = tone(440)
    np.testing.assert_allclose(wave[200:-200], expected[200:-200], atol=0.02)


def test_short_recordings_are_padded_and_long_ones_cut():
    short = waveform(num=8000).waveform(recording(tone(440)))
    assert (short[4000:] == 0).all()
    long = waveform(num=1000).waveform(recording(tone(440), subtype="FLOAT"))
    np.testing.assert_array_equal(long, tone(440)[:1000])


def test_rate_is_the_commonest_up_to_16_khz_and_length_the_95th_percentile():
    def chosen(rates, seconds=None):
        headings = [Heading(sample_rate=r, channels=1, seconds=1 + i) for i, r in enumerate(rates)]
        return choose_form(headings, sample_rate=None, seconds=seconds, representation="waveform")

    assert chosen([8000, 8000, 44_100]).sample_rate == 8000
    assert chosen([44_100]).sample_rate == 16_000
    assert chosen([8000] * 101).num_samples == 96 * 8000
    assert chosen([8000], seconds=0.25).num_samples == 2000
    with pytest.raises(DataError, match="none of the sampled recordings"):
        chosen([])


@pytest.mark.parametrize("damage", ["empty", "noise", "half", "no samples", "nan"])
def test_damage_is_one_files_reason_and_nothing_worse(damage):
    whole = recording(tone(440))
    data = {
        "empty": b"",
        "noise": b"RIFF" + b"\x07" * 100,
        "half": recording(tone(440), kind="FLAC")[:60],
        "no samples": recording(np.zeros(0, "f4")),
        "nan": recording(np.full(800, np.nan, "f4"), subtype="FLOAT"),
    }[damage]
    with pytest.raises(UndecodableError) as caught:
        waveform().decode(data)
    assert str(caught.value)
    assert waveform().decode(whole) is not None


def test_a_header_tells_rate_channels_and_length():
    heading = read_heading(recording(np.zeros((4000, 2)), 8000))
    assert (heading.sample_rate, heading.channels, heading.seconds) == (8000, 2, 0.5)
    with pytest.raises(UndecodableError):
        read_heading(b"nothing")


@pytest.mark.parametrize("rate", [4000, 8000, 44_100])
def test_what_a_report_plays_is_short_and_mono(rate):
    sound = soundfile.SoundFile(io.BytesIO(playable(recording(np.zeros((3 * rate, 2)), rate))))
    assert sound.channels == 1
    assert 8000 <= sound.samplerate <= 16_000
    assert sound.frames <= 2 * sound.samplerate
    sound.close()


def test_only_the_wanted_seconds_are_read():
    wave, rate = read_mono(recording(np.zeros(80_000)), most_seconds=1.5)
    assert (len(wave), rate) == (12_000, 8000)
