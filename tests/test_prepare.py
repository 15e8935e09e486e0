"""Preparing: the demo's recipe is whole, its places are what they say, and media are made once and mended."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from avbench.clip import probe, read_audio, read_image, read_video
from avbench.errors import SplitError, UsageError
from avbench.home import data_folders, sha256
from avbench.prepare import prepare, read_prepared
from avbench.prepare.demo import SPOKEN_S, Portrait, check, picture, recipe_of
from avbench.prepare.sounds import PLACES, place, under
from avbench.puppet import speak
from avbench.split import MEDIA, Split, load_split, media_root
from avbench.workers import Progress

DEMO = load_split("demo")
TINY = ("beth-same", "hope-cross")


def write_split(folder: Path, change: tuple[str, str] = ("", "")) -> Split:
    """Two pairs of the demo at 192 x 192, with one change to split.toml."""
    source = data_folders("splits")[0] / "demo"
    head = (source / "split.toml").read_text().replace("= 384", "= 192")
    lines = (source / "pairs.jsonl").read_text().splitlines(keepends=True)
    assert change[0] in head
    folder.mkdir(parents=True)
    (folder / "split.toml").write_text(head.replace(*change) if change[0] else head)
    (folder / "pairs.jsonl").write_text("".join(line for line in lines if json.loads(line)["id"] in TINY))
    return load_split(str(folder))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return write_split(tmp_path_factory.mktemp("splits") / "tiny")


@pytest.fixture(scope="module")
def made(tiny: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which `tiny` is prepared. Copy what you change."""
    data = tmp_path_factory.mktemp("data")
    seen: list[Progress] = []
    assert prepare(tiny, data, 2, seen.append) == len(TINY) * len(MEDIA)
    assert [progress.done for progress in seen] == [0, 1, 2]
    return data


def media(root: Path) -> dict[str, str]:
    """Digest of every file below a media folder, hidden ones too, without prepared.json and locks."""
    return {
        str(path.relative_to(root)): sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "prepared.json" and path.suffix != ".lock"
    }


# The split -------------------------------------------------------------------------------------------------------


def test_the_demo_is_the_one_that_was_released() -> None:
    """A new digest makes every stored score of the demo incomparable: change this line knowingly."""
    assert DEMO.label == "demo@524611ab"


def test_the_demo_has_speakers_pairs_and_strangers_enough() -> None:
    speakers = {pair.speaker for pair in DEMO.pairs}
    assert len(speakers) >= 8
    assert len(DEMO.pairs) >= 16
    for name in speakers:
        assert {pair.same_video for pair in DEMO.pairs if pair.speaker == name} == {True, False}
        own = DEMO.speaker(name)
        assert any(own.face != (other := DEMO.speaker(one)).face and own.voice != other.voice for one in speakers)
    assert len({DEMO.speaker(name).voice for name in speakers}) == len(speakers)


def test_the_demo_says_what_it_is() -> None:
    assert not DEMO.head.ranks
    assert "ranks nothing" in DEMO.head.note
    assert "neither person agreed" in DEMO.head.consent
    assert all("synthetic" in pair.consent for pair in DEMO.pairs)


def test_every_line_is_said_once_and_fits() -> None:
    recipe = recipe_of(DEMO)
    lines = [
        (line, recipe.voices[DEMO.speaker(pair.speaker).voice])
        for pair in DEMO.pairs
        for line in (pair.prompt.speech, recipe.pairs[pair.id].reference)
    ]
    assert len({line for line, _ in lines}) == len(lines) == 2 * len(DEMO.pairs)
    assert all(pair.transcript == pair.prompt.speech for pair in DEMO.pairs)
    with ThreadPoolExecutor(2) as pool:
        for spoken in pool.map(lambda job: speak(job[0], job[1], SPOKEN_S), lines):
            assert SPOKEN_S[0] <= spoken.phonemes[-1].end - spoken.phonemes[0].start <= SPOKEN_S[1]


def test_same_video_references_come_from_the_targets_place_and_others_do_not() -> None:
    recipe = recipe_of(DEMO)
    assert len({own.place for own in recipe.pairs.values()}) >= 4
    for pair in DEMO.pairs:
        own = recipe.pairs[pair.id]
        assert (own.place == own.reference_place) == pair.same_video
        assert 12 <= own.snr_db <= 18


def test_every_speaker_has_a_picture_of_their_own() -> None:
    recipe = recipe_of(DEMO)
    seen = set()
    for name, look in recipe.looks.items():
        image, landmarks = picture(recipe.portraits[DEMO.speaker(name).face], look, (96, 96))
        assert landmarks.min() > 0
        assert landmarks.max() < 96
        assert landmarks[36, 0] < landmarks[45, 0]  # also where the portrait is mirrored
        seen.add(image.tobytes())
    assert len(seen) == len(recipe.looks)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("\nversion = 1", "\nversion = 99"), "version 99; this avbench makes version 1"),
        (("\nversion = 1", ""), "version None"),
        (('place = "cafe"', 'place = "moon"'), "place 'moon'; known are"),
        (("warmth", "warmht"), "warmht"),
        (("pitch", "ptich"), "ptich"),
        (("[recipe.pairs.beth-same]", "[recipe.pairs.beth-other]"), "needs 'beth-same' in \\[recipe.pairs\\]"),
        (('face = "collins"', 'face = "curie"'), "needs 'curie' in \\[recipe.portraits\\]"),
        (("landmarks = [", "landmarks = [[1.0, 1.0], "), "69 landmarks; expected 68"),
        (('prepare = "demo"', 'prepare = "dmeo"'), "prepare = 'dmeo'; known are demo"),
    ],
)
def test_a_recipe_that_cannot_be_made_is_refused_before_any_work(
    change: tuple[str, str], says: str, tmp_path: Path
) -> None:
    split = write_split(tmp_path / "wrong", change)
    with pytest.raises(SplitError, match=says):
        prepare(split, tmp_path / "data", 1)
    assert not (tmp_path / "data").exists()


def test_a_missing_or_different_portrait_and_a_cut_beyond_it_are_errors_that_say_what_to_do() -> None:
    recipe = recipe_of(DEMO)
    portrait, look = recipe.portraits["collins"], recipe.looks["alma"]
    with pytest.raises(UsageError, match=r"avbench\[embedded\]"):
        picture(msgspec.structs.replace(portrait, file="skimage/data/nobody.png"), look, (96, 96))
    with pytest.raises(UsageError, match=r"avbench\[embedded\]"):
        picture(Portrait("not-a-distribution", "x.png", "", portrait.landmarks), look, (96, 96))
    with pytest.raises(UsageError, match="expected 0000"):
        picture(msgspec.structs.replace(portrait, sha256="0" * 64), look, (96, 96))
    with pytest.raises(SplitError, match="beyond"):
        picture(portrait, msgspec.structs.replace(look, side=900.0), (96, 96))


# Places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLACES)
def test_a_place_is_finite_level_and_the_same_every_time(name: str) -> None:
    sound = place(name, 2.0, 16_000, 7)
    assert sound.shape == (32_000,)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert float(np.sqrt(np.mean(sound.astype(float) ** 2))) == pytest.approx(1, abs=1e-4)
    assert np.abs(sound).max() < 15
    assert place(name, 2.0, 16_000, 7).tobytes() == sound.tobytes()
    assert place(name, 2.0, 16_000, 8).tobytes() != sound.tobytes()


def test_places_can_be_told_apart_by_their_spectra() -> None:
    def bands(name: str, seed: int) -> np.ndarray:
        power = np.abs(np.fft.rfft(place(name, 4.0, 44_100, seed).astype(float))) ** 2
        edges = np.geomspace(40, 12_000, 13)
        frequency = np.fft.rfftfreq(4 * 44_100, 1 / 44_100)
        return np.array([power[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(edges)])

    known = {name: 10 * np.log10(bands(name, 1)) for name in PLACES}
    for name in PLACES:
        heard = 10 * np.log10(bands(name, 2))
        assert min(known, key=lambda other: float(np.abs(heard - known[other]).mean())) == name


def test_a_place_lies_as_far_below_the_speech_as_asked() -> None:
    speech = np.zeros(1000, np.float32)
    speech[200:700] = 0.5  # its level is that of the spoken part, not of the whole
    around = np.tile(np.array([1, -1], np.float32), 500)
    mixed = under(speech, (200, 700), around, 20.0)
    assert mixed - speech == pytest.approx(0.05 * around, abs=1e-6)


def test_an_unknown_place_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="kitchen"):
        place("kitchn", 1.0, 8000, 0)


# Making ----------------------------------------------------------------------------------------------------------


def test_media_are_what_the_split_says(tiny: Split, made: Path) -> None:
    root = media_root(tiny, made)
    recorded = read_prepared(root)
    assert recorded is not None
    assert recorded.files == media(root)
    assert {"avbench", "espeakng-loader", "numpy"} <= set(recorded.versions)
    for pair in tiny.pairs:
        info = probe(root / pair.target)
        assert (info.width, info.height, info.frame_rate) == (192, 192, 25)
        video = read_video(root / pair.target)
        assert len(video) == 121
        face = read_image(root / pair.face)
        assert np.abs(video[0].astype(int) - face).mean() < 4  # what compression leaves of it
        voice, sound = read_audio(root / pair.voice), read_audio(root / pair.target)
        for heard in (voice, sound):
            assert len(heard.samples) / heard.rate == pytest.approx(4.84, abs=0.001)
            assert 0.02 < float(np.sqrt(np.mean(heard.samples**2))) < 0.2
            assert np.abs(heard.samples).max() < 1
        size = min(len(voice.samples), len(sound.samples))
        assert abs(np.corrcoef(voice.samples[:size], sound.samples[:size])[0, 1]) < 0.3  # another line
        assert b"Synthetic" in (root / pair.target).read_bytes()


def test_what_is_there_is_not_made_again_and_needs_no_library(tiny: Split, made: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom avbench.prepare import prepare\nfrom avbench.split import load_split\n"
        f"assert prepare(load_split({tiny.folder!r}), Path({str(made)!r}), 1) == 0\n"
        "heavy = {'av', 'dlib', 'PIL', 'scipy', 'skimage', 'soxr', 'torch'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_missing_damaged_and_unrecorded_files_are_made_again_byte_for_byte(
    tiny: Split, made: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(made, data)
    root, whole = media_root(tiny, data), media(media_root(tiny, made))
    one, other = tiny.pairs
    (root / one.voice).unlink()
    damaged = bytearray((root / other.voice).read_bytes())
    damaged[-1] ^= 1
    (root / other.voice).write_bytes(damaged)
    (root / other.id / ".target.mp4.999999999.part").write_bytes(b"left by a kill")
    assert prepare(tiny, data, 1) == 2
    assert media(root) == whole

    (root / "prepared.json").unlink()
    assert prepare(tiny, data, 1) == len(whole)
    assert media(root) == whole
    assert prepare(tiny, data, 1) == 0


@pytest.mark.slow
def test_another_recipe_makes_everything_anew(made: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(made, data)
    split = write_split(tmp_path / "tiny", ("snr_db = 18", "snr_db = 12"))
    before = media(media_root(split, data))
    assert prepare(split, data, 2) == len(TINY) * len(MEDIA)
    changed = {path for path, digest in media(media_root(split, data)).items() if digest != before[path]}
    assert changed == {"beth-same/target.mp4", "beth-same/voice.wav"}  # the pair in the café


def test_a_split_that_names_no_recipe_is_left_alone(tiny: Split, tmp_path: Path) -> None:
    own = msgspec.structs.replace(tiny, head=msgspec.structs.replace(tiny.head, prepare=""))
    assert prepare(own, tmp_path / "data", 1) == 0
    assert not (tmp_path / "data").exists()


def test_the_demo_recipe_passes_its_own_check() -> None:
    check(DEMO)


@pytest.mark.slow
def test_kills_cost_the_work_in_hand_and_nothing_else(tiny: Split, made: Path, tmp_path: Path) -> None:
    script = tmp_path / "make.py"
    script.write_text(
        "from pathlib import Path\nfrom avbench.prepare import prepare\nfrom avbench.split import load_split\n"
        f"if __name__ == '__main__':\n    prepare(load_split({tiny.folder!r}), Path({str(tmp_path / 'data')!r}), 2)\n"
    )
    generator = random.Random(5)
    for _ in range(8):
        process = subprocess.Popen([sys.executable, str(script)])
        time.sleep(generator.uniform(0.2, 3.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, str(script)], check=True)
    assert media(media_root(tiny, tmp_path / "data")) == media(media_root(tiny, made))
