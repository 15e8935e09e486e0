"""What goes wrong in other people's folders: each case is a valid score or a failure whose reason can be acted on.

One `score` process meets all broken clips at once, each in a run folder of its own, so that one that brought the
others down would be seen by every test here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from avbench.clip import read_audio, read_video
from avbench.run import ScoreRow, read_scores
from avbench.split import load_split, media_path

from .line import COMMAND, Demo, avbench, environment

FACE = ("face_sim_dlib", "face_sim_dlib_ref", "lip_motion_dlib")
VOICE = ("spk_sim_ge2e", "spk_sim_ge2e_ref")
BOTH = ("av_corr",)
MOVING = ("lip_motion_dlib", "av_corr")
WORDS = ("gop_sphinx", "words_rejected_sphinx")
SOUND = (*VOICE, *WORDS)
ALL = (*FACE, *SOUND, *BOTH)

Frames = NDArray[np.uint8]
Samples = NDArray[np.float32]


def mux(
    path: Path,
    frames: Frames | None,
    samples: Samples | None,
    *,
    rate: int = 48000,
    fps: int = 25,
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
) -> None:
    """A plain mp4, written apart from avbench's own encoder. `samples` are (channels, N)."""
    with av.open(str(path), "w", format="mp4") as container:
        video = audio = None
        if frames is not None:
            video = container.add_stream("libx264", rate=fps, options={"crf": "20", "preset": "ultrafast"})
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = time_base or Fraction(1, fps)
        if samples is not None:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
            audio = container.add_stream("aac", rate=rate, layout=layout)
        if video is not None and frames is not None:
            for number, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = pts[number] if pts else number
                frame.time_base = video.codec_context.time_base
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and samples is not None:
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
            sound.sample_rate = rate
            sound.pts = 0
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))


def resampled(samples: Samples, rate: int, new: int) -> Samples:
    import soxr

    return np.asarray(soxr.resample(samples, rate, new), dtype=np.float32)


def bigger(frames: Frames, times: int) -> Frames:
    return frames.repeat(times, axis=1).repeat(times, axis=2)


class Broken:
    """Makes the clips; `frames` and `samples` are those of a real clip of the demo."""

    def __init__(self, folder: Path, target: Path, other: Path) -> None:
        self.folder = folder
        self.frames = read_video(target)
        sound = read_audio(target)
        self.samples, self.rate = sound.samples[None], sound.rate
        self.target = target
        self.other = read_video(other)

    def path(self, case: str) -> Path:
        path = self.folder / case / "mini" / "one.mp4"
        path.parent.mkdir(parents=True)
        return path

    def truncated(self, path: Path) -> None:
        path.write_bytes(self.target.read_bytes()[: self.target.stat().st_size // 2])

    def cut_short(self, path: Path) -> None:
        path.write_bytes(self.target.read_bytes()[:200])

    def empty(self, path: Path) -> None:
        path.write_bytes(b"")

    def text(self, path: Path) -> None:
        path.write_text("not a clip at all\n" * 100)

    def no_audio(self, path: Path) -> None:
        mux(path, self.frames, None)

    def no_video(self, path: Path) -> None:
        mux(path, None, self.samples, rate=self.rate)

    def one_frame(self, path: Path) -> None:
        mux(path, self.frames[:1], self.samples[:, : self.rate // 25], rate=self.rate)

    def short(self, path: Path) -> None:
        mux(path, self.frames[:5], self.samples[:, : self.rate // 5], rate=self.rate)

    def variable_rate(self, path: Path) -> None:
        times = np.cumsum(np.where(np.arange(len(self.frames)) % 3 == 0, 60, 30)).tolist()  # ms
        mux(path, self.frames, self.samples, rate=self.rate, pts=times, time_base=Fraction(1, 1000))

    def sixty_fps(self, path: Path) -> None:
        index = np.minimum((np.arange(290) * 25 / 60).round().astype(int), len(self.frames) - 1)
        mux(path, self.frames[index], self.samples, rate=self.rate, fps=60)

    def four_k(self, path: Path) -> None:
        wide = np.zeros((50, 2160, 3840, 3), np.uint8)
        face = bigger(self.frames[:50], 5)
        wide[:, : face.shape[1], : face.shape[2]] = face
        mux(path, wide, self.samples[:, : 2 * self.rate], rate=self.rate)

    def rotated(self, path: Path) -> None:
        """A phone held upright: the picture lies on its side and the file says so."""
        mux(path, np.ascontiguousarray(np.rot90(self.frames, 1, axes=(1, 2))), self.samples, rate=self.rate)
        turn_quarter(path)

    def mono(self, path: Path) -> None:
        mux(path, self.frames, self.samples, rate=self.rate)

    def surround(self, path: Path) -> None:
        mux(path, self.frames, np.repeat(self.samples, 6, axis=0), rate=self.rate)

    def eight_khz(self, path: Path) -> None:
        mux(path, self.frames, resampled(self.samples[0], self.rate, 8000)[None], rate=8000)

    def silence(self, path: Path) -> None:
        mux(path, self.frames, np.zeros_like(self.samples), rate=self.rate)

    def clipping(self, path: Path) -> None:
        mux(path, self.frames, np.clip(self.samples * 50, -1, 1), rate=self.rate)

    def no_face(self, path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (121, 48, 48, 3), dtype=np.uint8)
        mux(path, bigger(noise, 8), self.samples, rate=self.rate)

    def two_faces(self, path: Path) -> None:
        small = self.other[:, ::2, ::2]
        both = np.full((121, 384, 576, 3), 128, np.uint8)
        both[:, :, :384] = self.frames
        both[:, :192, 384:] = small
        mux(path, both, self.samples, rate=self.rate)

    def face_leaves(self, path: Path) -> None:
        gone = self.frames.copy()
        gone[40:] = 90
        mux(path, gone, self.samples, rate=self.rate)


def turn_quarter(path: Path) -> None:
    """Writes a rotation by 90° into the display matrix of the video track's header (ISO/IEC 14496-12, tkhd)."""
    content = bytearray(path.read_bytes())
    one, zero = (0x00010000).to_bytes(4, "big"), bytes(4)
    w = (0x40000000).to_bytes(4, "big")
    upright = one + zero + zero + zero + one + zero + zero + zero + w
    minus = (-0x00010000).to_bytes(4, "big", signed=True)
    quarter = zero + one + zero + minus + zero + zero + zero + zero + w
    header = content.index(b"tkhd")
    place = content.index(upright, header)
    content[place : place + len(upright)] = quarter
    path.write_bytes(bytes(content))


FRAMES = "frames; at least 25"
SPEECH = "s of speech"
FACES = "sampled frames"
# Where nothing is said every word is rejected, and there is no goodness.
UNSAID: dict[str, str | None] = {"gop_sphinx": "not aligned", "words_rejected_sphinx": None}

# case → scale → None for a value, or what the reason must contain beside the file's name
EXPECTED: dict[str, dict[str, str | None]] = {
    "truncated": dict.fromkeys(ALL, "truncated"),
    "cut_short": dict.fromkeys(ALL, "truncated"),
    "empty": dict.fromkeys(ALL, "an empty file"),
    "text": dict.fromkeys(ALL, "cannot be decoded"),
    "no_audio": dict.fromkeys(FACE) | dict.fromkeys((*SOUND, *BOTH), "holds no audio"),
    "no_video": dict.fromkeys(SOUND) | dict.fromkeys((*FACE, *BOTH), "holds no video"),
    "one_frame": dict.fromkeys(FACE[:2]) | dict.fromkeys(VOICE, SPEECH) | dict.fromkeys(MOVING, FRAMES) | UNSAID,
    "short": dict.fromkeys(FACE[:2]) | dict.fromkeys(VOICE, SPEECH) | dict.fromkeys(MOVING, FRAMES) | UNSAID,
    "variable_rate": dict.fromkeys(ALL),
    "sixty_fps": dict.fromkeys(ALL),
    "four_k": dict.fromkeys(ALL),
    "rotated": dict.fromkeys(ALL),
    "mono": dict.fromkeys(ALL),
    "surround": dict.fromkeys(ALL),
    "eight_khz": dict.fromkeys(ALL),
    "silence": dict.fromkeys(FACE) | dict.fromkeys(VOICE, SPEECH) | dict.fromkeys(BOTH, "silence") | UNSAID,
    "clipping": dict.fromkeys(ALL),
    "no_face": dict.fromkeys(SOUND) | dict.fromkeys((*FACE, *BOTH), FACES),
    "two_faces": dict.fromkeys(ALL),
    "face_leaves": dict.fromkeys(SOUND) | dict.fromkeys((*FACE, *BOTH), FACES),
}


@pytest.fixture(scope="module")
def place(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a split of one pair, `mini`, whose media are the demo's."""
    folder = tmp_path_factory.mktemp("place")
    split = load_split("demo")
    pair = split.pairs[0]
    write_split(folder, "mini", [as_json(pair, id="one")])
    (folder / "data").mkdir()
    (folder / "data" / "mini").symlink_to(demo.home / "media" / "demo")
    return folder


def as_json(pair: Any, **changes: Any) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(pair), **changes}


def write_split(folder: Path, name: str, pairs: list[dict[str, Any]]) -> None:
    path = folder / "splits" / name
    path.mkdir(parents=True, exist_ok=True)
    path.joinpath("split.toml").write_text(
        'title = "a test"\ndescription = ""\nprofile = "embedded"\nconsent = ""\nlicence = ""\n'
        "frames = 121\nwidth = 384\nheight = 384\n"
    )
    lines = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
    path.joinpath("pairs.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture(scope="module")
def broken(demo: Demo, place: Path) -> Callable[[str], dict[str, ScoreRow]]:
    """All cases scored by one process; a function from case to its rows by scale."""
    split = load_split("demo")
    media = demo.home / "media"
    target = media_path(split, split.pairs[0], "target", media)
    other = media_path(split, split.pairs[-1], "target", media)
    clips = Broken(place / "runs", target, other)
    for case in EXPECTED:
        getattr(clips, case)(clips.path(case))
    stray = place / "runs" / "mono" / "mini"
    stray.joinpath("README.txt").write_text("notes")
    stray.joinpath("unknown-pair.mp4").write_bytes(b"no")
    stray.joinpath(".DS_Store").write_bytes(b"\0\1")
    stray.joinpath("thumbnails").mkdir()
    place.joinpath("runs", "notes.txt").write_text("not a run")
    place.joinpath("runs", "mono", "another-split").mkdir()
    scored = avbench("score", "runs", "--data", "data", home=demo.home, folder=place)
    assert "another-split" in scored.stderr

    def rows(case: str) -> dict[str, ScoreRow]:
        return {row.scale: row for row in read_scores(place / "runs" / case / "mini").values()}

    return rows


@pytest.mark.parametrize("case", EXPECTED)
def test_a_bad_clip_is_scored_or_its_reason_recorded(broken: Callable[[str], dict[str, ScoreRow]], case: str) -> None:
    rows = broken(case)
    assert set(rows) == set(ALL)
    for scale, expected in EXPECTED[case].items():
        row = rows[scale]
        if expected is None:
            assert row.value is not None, f"{scale}: {row.failure}"
            assert np.isfinite(row.value)
        else:
            assert row.failure is not None, f"{scale} = {row.value}"
            assert row.failure.startswith("one.mp4: "), row.failure
            assert expected in row.failure, f"{scale}: {row.failure}"


def test_a_picture_that_lies_on_its_side_is_set_upright(broken: Callable[[str], dict[str, ScoreRow]]) -> None:
    assert broken("rotated")["face_sim_dlib"].value == pytest.approx(1.0, abs=0.02)


def test_channels_and_codec_rates_barely_move_the_voice(broken: Callable[[str], dict[str, ScoreRow]]) -> None:
    for case in ("mono", "surround"):
        value = broken(case)["spk_sim_ge2e"].value
        assert value is not None
        assert value > 0.97, case


def test_of_two_faces_the_larger_is_measured(broken: Callable[[str], dict[str, ScoreRow]]) -> None:
    assert broken("two_faces")["face_sim_dlib"].value == pytest.approx(1.0, abs=0.03)


def test_a_missing_reference_fails_only_what_needs_it(demo: Demo, place: Path) -> None:
    pair = load_split("demo").pairs[0]
    write_split(place, "half", [as_json(pair, id="one"), as_json(pair, id="two", voice="gone.wav")])
    (place / "data" / "half").symlink_to(demo.home / "media" / "demo")
    runs = place / "half-runs"
    generated = avbench(
        "generate", "--split", "half", "--method", "truth", "--runs", runs, "--data", "data",
        home=demo.home, folder=place, expect=4,
    )  # fmt: skip
    assert "gone.wav" in generated.stderr
    theirs = runs / "theirs" / "half"
    theirs.mkdir(parents=True)
    for name in ("one", "two"):
        (theirs / f"{name}.mp4").write_bytes((runs / "truth" / "half" / "one.mp4").read_bytes())
    avbench("score", runs, "--data", "data", home=demo.home, folder=place)
    rows = {(row.pair, row.scale): row for row in read_scores(theirs).values()}
    assert rows["one", "spk_sim_ge2e_ref"].value is not None
    assert rows["two", "spk_sim_ge2e"].value is not None
    assert "gone.wav" in (rows["two", "spk_sim_ge2e_ref"].failure or "")
    ours = {(row.pair, row.scale): row for row in read_scores(runs / "truth" / "half").values()}
    assert "gone.wav" in (ours["two", "av_corr"].failure or "")


def test_a_duplicate_id_is_named_with_both_lines(demo: Demo, place: Path) -> None:
    pair = as_json(load_split("demo").pairs[0], id="one")
    write_split(place, "twice", [pair, pair])
    done = avbench("generate", "--split", "twice", "--method", "truth", home=demo.home, folder=place, expect=2)
    assert "'one' stands on lines 1 and 2" in done.stderr


def test_quotes_and_emoji_in_a_prompt_go_through_the_whole_line(demo: Demo, place: Path) -> None:
    pair = load_split("demo").pairs[0]
    prompt = {
        "visual": 'a "quoted" room',
        "speech": "it's 100% \\fine\\ 😀",
        "manner": "{loud}",
        "environment": "#1 & _more_",
    }
    write_split(place, "odd", [as_json(pair, id="one", prompt=prompt, transcript="😀 'so' \"it\" goes")])
    (place / "data" / "odd").symlink_to(demo.home / "media" / "demo")
    common = ("--split", "odd", "--runs", "odd-runs")
    avbench("generate", *common, "--method", "truth", "--data", "data", home=demo.home, folder=place)
    avbench("score", "odd-runs", "--data", "data", home=demo.home, folder=place)
    for form in ("text", "markdown", "latex", "csv"):
        assert "truth" in avbench("table", *common, "--format", form, home=demo.home, folder=place).stdout


def test_media_that_are_not_there_at_all_are_one_error_and_no_rows(demo: Demo, place: Path) -> None:
    runs = place / "lost-runs" / "theirs" / "mini"
    runs.mkdir(parents=True)
    (runs / "one.mp4").write_bytes(b"")
    done = avbench("score", place / "lost-runs", "--data", "nowhere", home=demo.home, folder=place, expect=2)
    assert "--data" in done.stderr
    assert not (runs / "scores.jsonl").exists()


def test_two_score_processes_on_one_folder_end_with_one_set_of_rows(demo: Demo, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    avbench("generate", "--method", "truth", "--runs", runs, "--limit", 6, home=demo.home)
    both = [
        subprocess.Popen(
            [*COMMAND, "score", str(runs)],
            env=environment(demo.home),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    lines = (runs / "truth" / "demo" / "scores.jsonl").read_text().splitlines()
    assert len(lines) == len(read_scores(runs / "truth" / "demo")) == 6 * len(ALL)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_clear_line_and_keeps_what_was_made(demo: Demo, small_disk: Path) -> None:
    done = avbench("generate", "--method", "truth", "--runs", small_disk / "runs", home=demo.home, expect=2)
    assert "the disk is full" in done.stderr
    made = sorted((small_disk / "runs").rglob("*.mp4"))
    assert made
    assert len(read_video(made[0])) == 121
    left = small_disk / "runs" / "truth" / "demo"
    (small_disk / "runs" / "filler").write_bytes(b"0" * (os.statvfs(small_disk).f_bavail * 4096))
    done = avbench("score", small_disk / "runs", home=demo.home, expect=2)
    assert "the disk is full" in done.stderr
    assert len(list(left.glob("*.mp4"))) == len(made)


def test_a_folder_that_cannot_be_written_is_one_clear_line(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = avbench("generate", "--method", "truth", "--runs", tmp_path / "file" / "runs", home=demo.home, expect=2)
    assert "a file stands where a folder is needed" in done.stderr


def test_a_read_only_folder_is_one_clear_line(demo: Demo, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    avbench("generate", "--method", "truth", "--runs", runs, "--limit", 1, home=demo.home)
    if os.geteuid() == 0:  # permissions do not bind root; a read-only mount does
        mounted = subprocess.run(
            ["mount", "--bind", "-o", "ro", str(runs), str(runs)], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip("needs the right to mount a file system")
        subprocess.run(["mount", "-o", "remount,ro,bind", str(runs)], check=True)
    else:
        for path in (runs, *runs.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        for command in (("generate", "--method", "still", "--runs", runs), ("score", runs)):
            done = avbench(*command, home=demo.home, expect=2)
            assert "not writable" in done.stderr
            assert str(runs) in done.stderr
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(runs)], check=True)
