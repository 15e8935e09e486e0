"""What a clip is made from, before any network: what is refused, by name, and what is taken as it is meant."""

from __future__ import annotations

import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from avbench.clip import Sound, read_image, write_audio, write_clip, write_image
from avbench.errors import AvbenchError, MediaError, UsageError
from avbench.extract.engine import engine_of
from avbench.generator import pipeline
from avbench.generator.audio import reference_mel
from avbench.generator.latents import fitted
from avbench.generator.recipe import Recipe, recipe
from avbench.generator.shots import Given, Shot, check, prompt_text, read
from avbench.split import Prompt

PROMPT = Prompt("a man speaks to the camera", "good morning", "calmly", "rain on a window")
RATE = 16_000
SILENCE = float(np.log(np.float32(1e-5)))  # the level of a band in which nothing is heard


def tiny(name: str, **options: Any) -> Recipe:
    return recipe(name, model="tiny", **options)


def noise(seconds: float, rate: int = RATE) -> Sound:
    return Sound((0.1 * np.random.default_rng(1).standard_normal(round(seconds * rate))).astype(np.float32), rate)


def picture(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


def stripes(width: int, height: int, period: int) -> NDArray[np.uint8]:
    """Columns of black and white."""
    row = np.where(np.arange(width) % period < period / 2, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A voice and a face."""
    write_audio(tmp_path / "voice.wav", noise(2.0))
    write_image(tmp_path / "face.png", picture(96, 64))
    return tmp_path


def a_shot(place: Path, **changes: Any) -> Shot:
    shot = Shot("pair", PROMPT, place / "voice.wav", place / "face.png", 3, 9, 64, 64, place / "clip.mp4")
    return shot._replace(**changes)


def channels(file: Path, *columns: NDArray[np.float32], rate: int = RATE) -> Path:
    levels = (np.stack(columns, axis=1) * 32767).astype("<i2")
    with file.open("wb") as stream, wave.open(stream, "wb") as writer:
        writer.setparams((len(columns), 2, rate, 0, "NONE", ""))
        writer.writeframes(levels.tobytes())
    return file


# The request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("idlora", {"frames": 120, "width": 512, "height": 512}, "120 frames; expected 8 k . 1 of them, such as 121"),
        ("idlora", {"frames": 1, "width": 512, "height": 512}, "such as 9"),
        ("idlora", {"frames": 505, "width": 512, "height": 512}, "at most 20 s"),
        ("idlora", {"width": 96, "height": 128}, "96 x 128 pixels; expected multiples of 64, .*idlora has 2 stages"),
        ("idlora-onestage", {"width": 100}, "multiples of 32, .*idlora-onestage has 1 stage.*such as 96 x 64"),
        ("idlora-onestage", {"width": 32}, "32 x 64 pixels; expected multiples of 32, at least 64 .*such as 64 x 64"),
    ],
)
def test_lengths_and_sizes_that_no_latent_has_are_refused(
    tmp_path: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check(tiny(name), [a_shot(tmp_path, **changes)])


@given(
    st.integers(-9, 700), st.integers(-64, 2048), st.integers(-64, 2048), st.sampled_from(["idlora", "audio-ic-lora"])
)
def test_exactly_what_fills_latents_is_taken(frames: int, width: int, height: int, name: str) -> None:
    unit = 64 if name == "idlora" else 32
    fits = frames in range(9, 501, 8) and all(side in range(64, 2049, unit) for side in (width, height))
    shot = a_shot(Path(), frames=frames, width=width, height=height)
    try:
        check(tiny(name), [shot])
    except UsageError:
        assert not fits
    else:
        assert fits


def test_two_clips_at_one_place_are_refused(tmp_path: Path) -> None:
    shot = a_shot(tmp_path)
    with pytest.raises(UsageError, match="pair pair stands for more than one of 2 clips"):
        check(tiny("idlora-onestage"), [shot, shot])
    with pytest.raises(UsageError, match=r"path .*clip\.mp4 stands for more than one"):
        check(tiny("idlora-onestage"), [shot, shot._replace(pair="other")])
    check(tiny("idlora-onestage"), [shot, shot._replace(pair="other", path=tmp_path / "b.mp4")])


def test_a_graphics_card_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageError, match="cuda"):
        engine_of("cuda")


def test_a_prompt_has_three_tags_and_no_loose_ends() -> None:
    assert prompt_text(PROMPT).splitlines() == [
        "[VISUAL]: a man speaks to the camera",
        "[SPEECH]: good morning",
        "[SOUNDS]: calmly rain on a window",
    ]
    assert prompt_text(Prompt(" a ", " b ", "", " ")) == "[VISUAL]: a\n[SPEECH]: b\n[SOUNDS]: "


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (PROMPT, ""),
        (Prompt("a man", " \n", "calmly", "rain"), "pair: its prompt says no words; expected some to be spoken."),
        (Prompt("word " * 1017, "hi", "", ""), ""),
        (Prompt("word " * 1021, "hi", "", ""), "pair: a prompt of 1025 tokens; expected at most 1024: shorten it."),
    ],
    ids=["good", "empty speech", "full", "over the limit"],
)
def test_a_prompt_without_words_or_with_too_many_is_its_pair_s_failure(place: Path, prompt: Prompt, said: str) -> None:
    def tokenizer(text: str) -> SimpleNamespace:
        return SimpleNamespace(input_ids=text.split())  # a token to a word

    assert pipeline._failure(tiny("idlora"), a_shot(place, prompt=prompt), tokenizer) == said


# Voices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("voice", "said"),
    [
        (noise(0.29), "a voice reference of 0.29 s; expected 0.3 to 30 s; give more of the voice"),
        (noise(30.1), "a voice reference of 30.10 s; expected 0.3 to 30 s; cut it"),
        (Sound(np.zeros(RATE, np.float32), RATE), "a silent voice reference"),
    ],
    ids=["short", "long", "silent"],
)
@pytest.mark.parametrize("name", ["idlora", "just-dub-it"])
def test_a_voice_that_is_none_is_refused_with_its_file(place: Path, voice: Sound, said: str, name: str) -> None:
    write_audio(place / "bad.wav", voice)
    shot = a_shot(place, voice=place / "bad.wav")
    if name == "just-dub-it" and "30.10" in said:  # which takes as much as the clip is long
        assert read(tiny(name), shot).reference["seconds"] == 9 / 25
        return
    with pytest.raises(MediaError, match=rf"bad\.wav: {said}"):
        read(tiny(name), shot)


def test_opposite_channels_cancel_and_are_told_of(place: Path) -> None:
    one = noise(1.0).samples
    with pytest.raises(MediaError, match=r"silent voice reference.*opposite channels cancel"):
        read(tiny("idlora"), a_shot(place, voice=channels(place / "opposite.wav", one, -one)))


def test_one_channel_stands_for_both_and_several_are_mixed(place: Path) -> None:
    one = noise(1.0).samples
    none = np.zeros_like(one)
    heard = {
        name: read(tiny("idlora"), a_shot(place, voice=channels(place / f"{name}.wav", *columns))).mel
        for name, columns in {
            "mono": [one],
            "stereo": [one, one],
            "left": [one, none],
            "centre": [none, none, one, none, none, none],
            "behind": [none, none, none, none, one, none],
            "bass": [one, one, none, one, none, none],
        }.items()
    }
    mono = heard["mono"]
    assert mono is not None
    assert torch.equal(mono[:, 0], mono[:, 1])
    gains = {"stereo": 1.0, "left": 0.5, "centre": 0.5**0.5, "behind": 0.5**1.5, "bass": 1.0}
    for name, gain in gains.items():
        other = heard[name]
        assert other is not None
        assert torch.allclose(other, mono + np.log(gain), atol=0.01), name


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_a_voice_below_16_khz_is_told_of_as_band_limited(place: Path, rate: int) -> None:
    write_audio(place / "other.wav", noise(1.0, rate))
    given = read(tiny("idlora"), a_shot(place, voice=place / "other.wav"))
    limited = {"band_limited_hz": 4000.0} if rate == 8000 else {}
    assert given.reference == {"seconds": 1.0, "rate": rate, **limited}
    assert given.mel is not None
    assert given.mel.shape == (1, 2, 101, 64)
    upper = float(given.mel[0, 0, 10:-10, 56:62].mean())  # from 5.2 kHz on
    assert SILENCE < upper < -8 if rate == 8000 else upper > -4


def test_a_relative_takes_so_much_of_the_voice_however_long_it_is(place: Path) -> None:
    write_audio(place / "long.wav", noise(31.0))
    given = read(tiny("audio-ic-lora"), a_shot(place, voice=place / "long.wav", face=place / "unread.png"))
    assert given.reference == {"seconds": 3.5, "rate": RATE}
    assert given.face is None


def test_without_a_reference_no_voice_is_read(place: Path) -> None:
    given = read(tiny("ltx-zeroshot", reference="none"), a_shot(place, voice=place / "unread.wav"))
    assert (given.voice, given.mel, given.reference) == (None, None, {})


# First frames ----------------------------------------------------------------------------------------------------


def face_of(place: Path, file: Path, name: str = "idlora", **changes: Any) -> NDArray[np.uint8]:
    found = read(tiny(name), a_shot(place, face=file, **changes)).face
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((31, 40), "a first frame of 31 x 40 pixels; expected at least 32 each way"),
        ((330, 40), "330 x 40 pixels; expected sides of at most 8 to 1: crop it about the face"),
    ],
)
def test_a_first_frame_that_shows_no_face_is_refused(place: Path, size: tuple[int, int], said: str) -> None:
    write_image(place / "bad.png", picture(*size))
    with pytest.raises(MediaError, match=rf"bad\.png: .*{said}"):
        read(tiny("idlora"), a_shot(place, face=place / "bad.png"))


def test_the_smallest_and_the_longest_face_are_taken(place: Path) -> None:
    for size in ((32, 32), (32, 256), (256, 32)):
        write_image(place / "edge.png", picture(*size))
        pixels = fitted(face_of(place, place / "edge.png")[None], 64, 64, "crop")
        assert pixels.shape == (1, 3, 1, 64, 64)


@pytest.mark.parametrize(("width", "height"), [(12_000, 9000), (60_000, 60_000)], ids=["huge", "bomb"])
def test_a_picture_that_would_fill_the_memory_is_refused_unread(place: Path, width: int, height: int) -> None:
    """A file of a few bytes that says so many pixels: reading on would fail otherwise."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    (place / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")))
    with pytest.raises(MediaError, match=rf"huge\.png: .*({width} x {height}|{width * height}) ?pixels"):
        read(tiny("idlora"), a_shot(place, face=place / "huge.png"))


def test_a_first_frame_is_upright_in_rgb_and_on_white(place: Path) -> None:
    wide = picture(96, 64)
    sideways = Image.Exif()
    sideways[0x0112] = 6  # to be turned by a quarter clockwise
    Image.fromarray(np.rot90(wide)).save(place / "turned.png", exif=sideways)
    Image.fromarray(np.dstack([wide, np.full((64, 96), 255, np.uint8)])).save(place / "opaque.png")
    half = np.zeros((64, 96), np.uint8)
    half[:, 48:] = 255
    Image.fromarray(np.dstack([wide, half])).save(place / "half.png")
    ink = np.zeros((64, 96, 4), np.uint8)
    ink[..., 1:3] = 255  # magenta and yellow, which are red
    Image.fromarray(ink, "CMYK").save(place / "cmyk.tif")
    assert np.array_equal(face_of(place, place / "turned.png"), wide)
    assert np.array_equal(face_of(place, place / "opaque.png"), wide)
    laid = face_of(place, place / "half.png")
    assert (laid[:, :48] == 255).all()
    assert np.array_equal(laid[:, 48:], wide[:, 48:])
    assert (face_of(place, place / "cmyk.tif") == [255, 0, 0]).all()


def test_a_first_frame_that_is_not_square_is_cut_about_its_middle_or_stretched(place: Path) -> None:
    """96 x 64 to 64 x 64: nothing is resampled, 16 columns fall away on either side."""
    face = face_of(place, place / "face.png")
    cut = fitted(face[None], 64, 64, tiny("idlora").image_fit)
    levels = ((cut[0, :, 0].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
    assert np.array_equal(levels, face[:, 16:80])
    stretched = fitted(face[None], 64, 64, tiny("idlora-onestage").image_fit)
    assert not torch.allclose(stretched, cut)


def test_a_large_picture_is_shrunk_without_moire_and_others_as_the_authors_do() -> None:
    """Stripes finer than a pixel are grey; plain bilinear makes wide black and white bands of them."""
    fine = stripes(1000, 1000, 16)  # 15.6 pixels to one of the clip's
    wide = fitted(fine[None], 64, 64, "crop")  # as of stage one
    assert float(wide[..., 2:-2].abs().max()) < 0.25
    plain = functional.interpolate(torch.from_numpy(fine).permute(2, 0, 1)[None].float(), (64, 64), mode="bilinear")
    assert float(plain.max() - plain.min()) > 250
    coarse = stripes(128, 128, 3)
    plain = functional.interpolate(torch.from_numpy(coarse).permute(2, 0, 1)[None].float(), (64, 64), mode="bilinear")
    assert torch.equal(fitted(coarse[None], 64, 64, "crop")[:, :, 0], plain / 127.5 - 1)


# Clips to be dubbed ----------------------------------------------------------------------------------------------


def dubbed(place: Path, **changes: Any) -> Given:
    return read(tiny("just-dub-it"), a_shot(place, **changes))


def test_without_a_clip_the_first_frame_is_dubbed_with_its_voice_as_long_as_the_picture(place: Path) -> None:
    given = dubbed(place, frames=97)
    assert given.source is None
    assert np.array_equal(given.face, read_image(place / "face.png"))  # type: ignore[arg-type]
    assert given.voice is not None
    assert given.voice.samples.shape == (97 * RATE // 25,)
    assert given.voice.samples[2 * RATE :].max() == given.voice.samples[2 * RATE :].min() == 0  # padded with silence
    assert given.voice.samples[: 2 * RATE].std() == pytest.approx(0.1, rel=0.05)
    assert given.reference["dubbed"] == "a still: the first frame held, with the voice"
    cut = dubbed(place, frames=9)
    assert cut.voice is not None
    assert np.array_equal(cut.voice.samples, given.voice.samples[: 9 * RATE // 25])
    assert cut.mel is not None
    assert torch.equal(cut.mel, reference_mel(cut.voice))


def test_a_clip_that_is_given_is_dubbed_and_not_the_face(place: Path) -> None:
    frames = np.stack([np.full((64, 96, 3), level, np.uint8) for level in range(0, 240, 20)])
    write_clip(place / "source.mp4", frames, noise(0.48))
    given = dubbed(place, source=place / "source.mp4", face=place / "unread.png", voice=place / "unread.wav")
    assert given.source is not None
    assert given.source.shape == (9, 64, 96, 3)
    assert np.abs(given.source.astype(int) - frames[:9]).max() < 12
    assert np.array_equal(given.face, given.source[0])  # type: ignore[arg-type]
    assert given.reference["dubbed"] == "a clip"
    with pytest.raises(MediaError, match=r"source\.mp4: 12 frames at 25 fps; expected 17"):
        dubbed(place, source=place / "source.mp4", frames=17)


def test_what_is_wrong_with_a_pair_is_never_anything_but_a_media_error(place: Path) -> None:
    (place / "text.png").write_text("no picture")
    (place / "empty.wav").write_bytes(b"")
    for changes in (
        {"face": place / "text.png"},
        {"face": place / "absent.png"},
        {"face": place},
        {"voice": place / "empty.wav"},
        {"voice": place / "absent.wav"},
        {"voice": place / "face.png"},
    ):
        for name in ("idlora", "just-dub-it"):
            with pytest.raises(AvbenchError) as raised:
                read(tiny(name), a_shot(place, **changes))
            assert isinstance(raised.value, MediaError)
            assert next(iter(changes.values())).name in str(raised.value)
