"""Methods: their names, their options, somebody else's, and what each control does to a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.clip import FRAME_RATE, read_audio, read_video, stream_sha256
from avbench.errors import Incomparable, UsageError
from avbench.generate import generate
from avbench.home import sha256
from avbench.methods import METHODS, resolve
from avbench.run import read_run, read_sidecar
from avbench.split import load_split, media_path

from .line import Demo, avbench

SOMEBODYS = """
import shutil

from avbench.methods import Method


def plain(item, path):
    if item.truth is not None or item.stranger is not None:
        raise RuntimeError("a model was shown the real clip")
    if item.pair == FAILS:
        raise ValueError("no such luck")
    shutil.copyfile(item.voice, path)
    return {"seed": item.seed, "words": item.transcript}


FAILS = None


def strong(strength: float, mode: str = "soft") -> Method:
    return Method(label=f"strong {strength:g} {mode}", make=plain, kind="baseline", order=7)


fixed = Method(label="fixed", make=plain)
number = 3
"""


@pytest.fixture
def somebodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of somebody's own, of a name of its own, in the working folder."""
    name = f"somebodys_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(SOMEBODYS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return name


@given(st.integers(-75, 75).filter(bool))
def test_an_option_is_part_of_the_name_in_one_spelling(frames: int) -> None:
    assert resolve(f"shifted@frames={frames}").name == f"shifted@frames={frames}"
    assert resolve(f"shifted@frames={frames}").method.label == f"shifted {frames:+d} frames"


def test_a_seed_is_an_option_of_every_method() -> None:
    assert (resolve("truth@seed=7").name, resolve("truth@seed=7").seed) == ("truth@seed=7", 7)
    assert (resolve("truth@seed=0").name, resolve("truth").seed) == ("truth", 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("thruth", "Did you mean truth"),
        ("shifted", "option 'frames' is missing"),
        ("shifted@frame=3", "Did you mean frames"),
        ("shifted@frames=x", "frames=x"),
        ("shifted@frames=0", "not 0"),
        ("shifted@frames=1000", "75"),
        ("shifted@frames=2,frames=3", "given twice"),
        ("../truth", "expected NAME"),
        ("no_such_module_here:f", "no_such_module_here"),
        ("json:nothing", "json has no 'nothing'"),
        ("json:truth", "bundled"),
    ],
)
def test_what_is_wrong_with_a_method_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve(text)


def test_somebodys_function_factory_and_record_are_methods(somebodys: str) -> None:
    assert resolve(f"{somebodys}:plain").name == "plain"
    strong = resolve(f"{somebodys}:strong@strength=0.5,mode=hard")
    assert (strong.name, strong.method.label, strong.method.order) == (
        "strong@mode=hard,strength=0.5",
        "strong 0.5 hard",
        7,
    )
    assert resolve(f"{somebodys}:fixed").method.kind == "model"
    with pytest.raises(UsageError, match="number"):
        resolve(f"{somebodys}:number")


def test_every_bundled_control_says_what_it_is() -> None:
    for name in METHODS:
        assert METHODS[name].__doc__


def test_somebodys_model_sees_no_real_clip_and_its_failures_are_recorded(
    demo: Demo, somebodys: str, tmp_path: Path
) -> None:
    split = load_split("demo")
    module = tmp_path / f"{somebodys}.py"
    module.write_text(module.read_text().replace("FAILS = None", f"FAILS = {split.pairs[1].id!r}"))
    runs = tmp_path / "runs"
    done = generate(split, [f"{somebodys}:plain@seed=5"], runs, limit=3, workers=1)
    folder = runs / "plain@seed=5" / "demo"
    assert (done.made, done.kept) == (2, 0)
    assert done.failures == [("plain@seed=5", split.pairs[1].id, "ValueError: no such luck")]
    assert read_run(folder).limited == 3
    sidecar = read_sidecar(folder / f"{split.pairs[2].id}.json")
    assert sidecar is not None
    assert sidecar.provenance["seed"] == sidecar.request.seed == 7
    assert not (folder / f"{split.pairs[1].id}.mp4").exists()
    again = generate(split, [f"{somebodys}:plain@seed=5"], runs, limit=3, workers=1)
    assert (again.made, again.kept, len(again.failures)) == (0, 2, 1)
    module.write_text(module.read_text().replace(f"FAILS = {split.pairs[1].id!r}", "FAILS = None"))
    mended = generate(split, [f"{somebodys}:plain@seed=5"], runs, limit=3, workers=1, overwrite="failed")
    assert (mended.made, mended.kept, mended.failures) == (1, 2, [])


def test_clips_of_another_request_are_not_taken_for_done(demo: Demo, tmp_path: Path) -> None:
    split = load_split("demo")
    generate(split, ["truth"], tmp_path, limit=1, workers=1)
    sidecar = tmp_path / "truth" / "demo" / f"{split.pairs[0].id}.json"
    sidecar.write_text(sidecar.read_text().replace(split.label, "demo@00000000"))
    with pytest.raises(Incomparable, match=f"demo@00000000.*{split.label}"):
        generate(split, ["truth"], tmp_path, limit=1, workers=1)
    done = generate(split, ["truth"], tmp_path, limit=1, workers=1, overwrite="all")
    assert (done.made, done.kept) == (1, 0)


def test_somebodys_clips_are_not_made_again(demo: Demo, tmp_path: Path) -> None:
    split = load_split("demo")
    clip = tmp_path / "truth" / "demo" / f"{split.pairs[0].id}.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"mine")
    done = generate(split, ["truth"], tmp_path, limit=1, workers=1)
    assert (done.made, done.kept) == (0, 1)
    assert clip.read_bytes() == b"mine"


def clip_of(demo: Demo, method: str, number: int = 0) -> Path:
    return demo.runs / method / "demo" / f"{load_split('demo').pairs[number].id}.mp4"


def test_the_truth_is_the_target_byte_for_byte(demo: Demo) -> None:
    split = load_split("demo")
    assert sha256(clip_of(demo, "truth")) == sha256(media_path(split, split.pairs[0], "target"))


def test_controls_leave_the_other_stream_alone(demo: Demo) -> None:
    truth = clip_of(demo, "truth")
    for method in ("replay", "shifted@frames=2"):
        assert stream_sha256(clip_of(demo, method), "video") == stream_sha256(truth, "video")
        assert stream_sha256(clip_of(demo, method), "audio") != stream_sha256(truth, "audio")
    assert stream_sha256(clip_of(demo, "still"), "audio") == stream_sha256(truth, "audio")


def test_a_still_shows_the_first_frame_and_nothing_else(demo: Demo) -> None:
    frames = read_video(clip_of(demo, "still")).astype(np.int16)
    first = read_video(clip_of(demo, "truth"))[0].astype(np.int16)
    assert frames.shape[0] == 121
    assert np.abs(frames - first).mean() < 2.0
    assert np.abs(np.diff(frames, axis=0)).max() <= 12  # the coder settling


@pytest.mark.parametrize("frames", [8, -8])
def test_a_shift_is_exact_to_the_sample_but_for_the_codec(demo: Demo, tmp_path: Path, frames: int) -> None:
    split = load_split("demo")
    generate(split, [f"shifted@frames={frames}"], tmp_path, limit=1, workers=1)
    moved = read_audio(tmp_path / f"shifted@frames={frames}" / "demo" / f"{split.pairs[0].id}.mp4")
    sound = read_audio(clip_of(demo, "truth"))
    late = frames * sound.rate // FRAME_RATE
    kept = slice(max(0, -late), len(sound.samples) - max(0, late))
    there = slice(max(0, late), len(sound.samples) + min(0, late))
    correlation = np.corrcoef(sound.samples[kept][2000:-2000], moved.samples[there][2000:-2000])[0, 1]
    assert correlation > 0.98
    gap = moved.samples[: late - 1024] if late > 0 else moved.samples[late + 1024 :]
    assert np.abs(gap).max() < 0.02


def test_a_stranger_differs_in_face_and_voice(demo: Demo) -> None:
    split = load_split("demo")
    by_digest = {sha256(media_path(split, pair, "target")): pair for pair in split.pairs}
    for number, pair in enumerate(split.pairs):
        other = by_digest[sha256(clip_of(demo, "stranger", number))]
        assert other.speaker != pair.speaker
        assert split.speaker(other.speaker).face != split.speaker(pair.speaker).face
        assert split.speaker(other.speaker).voice != split.speaker(pair.speaker).voice


def test_a_method_in_the_working_folder_is_found_by_the_command(demo: Demo, somebodys: str, tmp_path: Path) -> None:
    avbench(
        "generate", "--method", f"{somebodys}:fixed", "--runs", "mine", "--limit", 1, home=demo.home, folder=tmp_path
    )
    assert len(list((tmp_path / "mine" / "fixed" / "demo").glob("*.mp4"))) == 1
