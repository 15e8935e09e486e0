"""What is asked of a method: pairs of (face, voice, prompt), the split that lists them, and where their media lie.

A split is a folder `splits/NAME/` with `split.toml` (what it is) and `pairs.jsonl` (one pair a line). Its digest
is that of these two files: the recipe. Media lie in `--data`, else in `AVBENCH_HOME/media`, under `NAME/`;
their digests are recorded with each score.

A split in state "protocol" says how somebody's pairs were drawn, and how many there are, and has no pairs.jsonl:
nobody released it. Published numbers refer to it. Only who asks for protocols meets one.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from .errors import SplitError, UsageError, unknown
from .home import data_folders, home

__all__ = [
    "MEDIA",
    "Pair",
    "Prompt",
    "Protocol",
    "Speaker",
    "Split",
    "known_splits",
    "load_split",
    "media_path",
    "media_root",
]

PAIR_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RESERVED = ("run", "scales")  # PAIR.json would be a file that every run folder has
MEDIA = ("voice", "face", "target")

Medium = Literal["voice", "face", "target"]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The four parts of a prompt; the paper's [SOUNDS] section is `manner` and `environment` together."""

    visual: str
    speech: str
    manner: str
    environment: str


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item: what a method is given, and the real clip that it is held against."""

    id: str
    speaker: str
    voice: str  # reference audio, relative to the split's media folder
    face: str  # first frame
    prompt: Prompt
    transcript: str  # the words that are said
    language: str
    target: str  # the real clip
    same_video: bool  # whether the voice comes from the target's own video
    consent: str
    sha256: dict[str, str] = {}  # per medium; empty for media that are prepared here


class Speaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a split may say of a speaker, so that a stranger can be found who differs in everything said."""

    face: str = ""
    voice: str = ""


class Protocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of pairs that are not here."""

    pairs: Count
    speakers: Count
    same_video: Annotated[int, msgspec.Meta(ge=0)]  # pairs whose voice comes from the target's own video
    source: str  # who says so
    missing: str  # what keeps it from being a split
    later: str  # what will stand here


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """split.toml."""

    title: str
    description: str
    profile: str
    consent: str
    licence: str
    frames: int
    width: int
    height: int
    note: str = ""  # printed under every table of this split
    ranks: bool = True  # False: for trying the tool, ranks nothing
    prepare: str = ""  # the recipe in avbench.prepare that makes the media; empty: the user provides them
    speakers: dict[str, Speaker] = {}
    recipe: dict[str, Any] = {}  # read by `prepare` only
    state: Literal["pairs", "protocol"] = "pairs"
    protocol: Protocol | None = None  # given exactly where the state is "protocol"

    def __post_init__(self) -> None:
        if (self.state == "protocol") != (self.protocol is not None):
            raise ValueError('a table [protocol] and state = "protocol" go together')
        if self.protocol is not None and self.protocol.same_video > self.protocol.pairs:
            raise ValueError(f"{self.protocol.same_video} of {self.protocol.pairs} pairs from the same video")


class Split(msgspec.Struct, frozen=True):
    """A loaded split. `digest` is the first 8 hexadecimal digits of the recipe's sha256. A protocol has no pairs."""

    name: str
    digest: str
    head: _Head
    pairs: tuple[Pair, ...]
    folder: str

    @property
    def label(self) -> str:
        """`name@digest`, as score rows carry it."""
        return f"{self.name}@{self.digest}"

    def index(self, pair_id: str) -> int:
        """The place of a pair in pairs.jsonl, which its seed depends on."""
        for number, pair in enumerate(self.pairs):
            if pair.id == pair_id:
                return number
        raise unknown("pair", pair_id, [pair.id for pair in self.pairs])

    def speaker(self, name: str) -> Speaker:
        """What is known of a speaker; empty where the split says nothing."""
        return self.head.speakers.get(name, Speaker())


def known_splits(*, protocols: bool = False) -> list[str]:
    """Names of all splits found in the working folder, the checkout and the package; of `protocols`, too, where asked."""
    nearest: dict[str, Path] = {}
    for folder in data_folders("splits"):
        for head in folder.glob("*/split.toml"):
            nearest.setdefault(head.parent.name, head)
    return sorted(name for name, head in nearest.items() if protocols or not _is_protocol(head))


def load_split(name: str, *, protocol: bool = False) -> Split:
    """Loads `splits/NAME/`; `name` may also be the path of such a folder. SplitError says what contradicts what.

    UsageError where it is a protocol, unless `protocol` says that a split without pairs will do.
    """
    folder = Path(name)
    if not (folder / "split.toml").is_file():
        places = [place / name for place in data_folders("splits") if (place / name / "split.toml").is_file()]
        if not places:
            raise unknown("split", name, known_splits(protocols=True))
        folder = places[0]
    head_bytes = _read(folder / "split.toml")
    try:
        head = msgspec.convert(tomllib.loads(head_bytes.decode()), _Head)
    except (ValueError, msgspec.ValidationError) as error:
        raise SplitError(f"{folder / 'split.toml'}: {error}.") from error
    if head.protocol is None:
        pairs_bytes = _read(folder / "pairs.jsonl")
        pairs = _pairs(folder / "pairs.jsonl", pairs_bytes)
    elif (folder / "pairs.jsonl").exists():
        raise SplitError(f'{folder}: state = "protocol" beside a pairs.jsonl; expected one of the two. Take one away.')
    elif protocol:
        pairs_bytes, pairs = b"", ()
    else:
        raise UsageError(_refusal(folder.absolute().name, head.protocol))
    digest = hashlib.sha256(hashlib.sha256(head_bytes).digest() + hashlib.sha256(pairs_bytes).digest()).hexdigest()[:8]
    return Split(name=folder.absolute().name, digest=digest, head=head, pairs=pairs, folder=str(folder))


def media_root(split: Split, data: Path | None = None) -> Path:
    """The folder that a split's media paths are relative to."""
    return (data if data is not None else home("media")) / split.name


def media_path(split: Split, pair: Pair, medium: Medium, data: Path | None = None) -> Path:
    """Where one medium of a pair lies (it may be absent)."""
    return media_root(split, data) / str(getattr(pair, medium))


def _is_protocol(head: Path) -> bool:
    """Whether a split.toml says so; one that cannot be read says nothing, and loading it says why."""
    try:
        return tomllib.loads(_read(head).decode()).get("state") == "protocol"
    except (SplitError, ValueError):
        return False


def _refusal(name: str, protocol: Protocol) -> str:
    return (
        f"split {name!r} has no pairs here: it is a protocol of {protocol.pairs} pairs of {protocol.speakers} speakers "
        f"({protocol.source}); {protocol.missing}. `avbench published` prints what was published "
        f"of it. To run it on pairs of your own, write splits/{name}/ with split.toml and pairs.jsonl in your working "
        "folder."
    )


def _read(path: Path) -> bytes:
    try:
        # Line ends are the checkout's affair; the digest must not depend on them.
        return path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise SplitError(
            f"{path}: cannot be read ({error.strerror}); a split is split.toml and pairs.jsonl."
        ) from error


def _pairs(path: Path, content: bytes) -> tuple[Pair, ...]:
    pairs: list[Pair] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            pair = msgspec.json.decode(line, type=Pair)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SplitError(f"{path}, line {number}: {error}.") from error
        if not PAIR_ID.fullmatch(pair.id):
            raise SplitError(
                f"{path}, line {number}: pair id {pair.id!r}; expected letters, digits, '.', '_' or '-', "
                "beginning with a letter or digit (it becomes a file name)."
            )
        if pair.id in RESERVED:
            raise SplitError(
                f"{path}, line {number}: pair id {pair.id!r}; {pair.id}.json says something else, take another."
            )
        if pair.id in lines:
            raise SplitError(
                f"{path}: pair id {pair.id!r} stands on lines {lines[pair.id]} and {number}; ids must be unique."
            )
        for medium in MEDIA:
            place = Path(str(getattr(pair, medium)))
            if not place.parts or place.is_absolute() or ".." in place.parts:
                raise SplitError(
                    f"{path}, line {number}: {medium} {str(place)!r}; expected a path inside the media folder."
                )
        for medium in pair.sha256:
            if medium not in MEDIA:
                raise SplitError(f"{path}, line {number}: sha256 of {medium!r}; expected {', '.join(MEDIA)}.")
        lines[pair.id] = number
        pairs.append(pair)
    if not pairs:
        raise SplitError(f"{path}: no pairs; expected one JSON object a line.")
    return tuple(pairs)
