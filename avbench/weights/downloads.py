"""One file from the web, however often the line breaks.

    download(addresses, part, wanted) → the address that it came from

The bytes go to `part`; beside it, `part.json` says which file they are the beginning of (address, size, ETag).
Whatever stops the download (a cut, a stall, a kill, a full disk), the next one goes on behind the last byte, if the
server still offers the same file: same ETag and size, asked for with If-Range, also where a mirror says so. A server
that gives no ETag is believed for the same address and size, since the digest is checked at the end. In all other
cases it begins anew.

A busy server is asked again a few times, each pause twice the last one, and without limit as long as bytes arrive.
One that refuses, that offers a file of another size, or a web page, is left for the next address.
"""

from __future__ import annotations

import dataclasses
import http.client
import math
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec

from ..errors import FolderError, WeightsError
from ..home import atomic, sha256, writing

__all__ = ["Limits", "Report", "Wanted", "discard", "download", "opened", "require_room"]

Report = Callable[[int, int], None]  # bytes that are there, bytes in all (0: not known)

BLOCK = 1 << 20  # bytes
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers after which asking again may help


@dataclasses.dataclass(frozen=True)
class Limits:
    """How long to be patient."""

    stall_seconds: float = 60.0  # without an answer, or with less than a kilobyte a second
    tries: int = 5  # in a row without a new byte, at one address
    pause_seconds: float = 2.0  # before the second try; twice as long before each further one


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is known of the file beforehand."""

    name: str
    size: int = 0  # bytes; 0 is unknown
    sha256: str = ""  # empty is unknown
    room: int = 0  # bytes that will be needed beside the file, for what is taken out of it


class _Begun(msgspec.Struct, frozen=True):
    """Of which file a part is the beginning."""

    address: str
    size: int  # bytes
    etag: str


class _Refused(Exception):
    """This address will not give the file; the next one may."""


class _Again(Exception):
    """The line broke; the same address may go on."""


def download(
    addresses: Sequence[str], part: Path, wanted: Wanted, report: Report | None = None, limits: Limits | None = None
) -> str:
    """Fills `part` with the wanted file, and says which address gave it. WeightsError lists what each one answered.

    FolderError where the disk is, or would become, full; what has come stays in `part`. Whoever has used or moved the
    part calls `discard`.
    """
    limits, told = limits or Limits(), []
    for address in addresses:
        try:
            _persist(address, part, wanted, report, limits)
            return address
        except _Refused as error:
            told.append(f"{_shown(address)} {error}")
    raise WeightsError(
        f"{wanted.name}: {'; '.join(told)}. Expected {f'{wanted.size} bytes' if wanted.size else 'the file'}"
        f"{f' with sha256 {wanted.sha256}' if wanted.sha256 else ''}. Check the network and run the same command "
        "again: it goes on where this one stopped."
    )


def opened(address: str, headers: dict[str, str], seconds: float) -> Any:
    """The answer to a GET, redirected if need be; never from a protected address to an open one, or to a local file."""
    return urllib.request.build_opener(_Redirects).open(
        urllib.request.Request(address, headers={"User-Agent": "avbench", "Accept-Encoding": "identity", **headers}),
        timeout=seconds,
    )


def discard(part: Path) -> None:
    """Removes a part and what is known of it."""
    for path in (part, _beside(part)):
        with writing(path):
            path.unlink(missing_ok=True)


def require_room(part: Path, needed: int) -> None:
    """FolderError where the disk of a part has less than so many free bytes."""
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise FolderError(
            f"{part.parent}: {free / 1e6:,.0f} MB free; expected {math.ceil(needed / 1e6):,} MB for the download. "
            "Free some space, or set AVBENCH_HOME to a folder on a larger disk; what has come is kept."
        )


# One address -----------------------------------------------------------------------------------------------------


def _persist(address: str, part: Path, wanted: Wanted, report: Report | None, limits: Limits) -> None:
    """Asks one address until the file is whole and right."""
    failures, mended = 0, False
    while True:
        before = _length(part)
        try:
            resumed = _ask(address, part, wanted, report, limits)
        except _Again as error:
            failures = 0 if _length(part) > before else failures + 1
            if failures >= limits.tries:
                raise _Refused(f"{error}, {failures} times in a row") from error
            time.sleep(limits.pause_seconds * 2 ** max(0, failures - 1))
            continue
        found = sha256(part) if wanted.sha256 else ""
        if found == wanted.sha256:
            return
        discard(part)
        if not resumed or mended:
            raise _Refused(f"gives a file with sha256 {found}; it was not kept")
        mended = True  # what was there before may have been another file's beginning: once more, all of it


def _ask(address: str, part: Path, wanted: Wanted, report: Report | None, limits: Limits) -> bool:
    """One request. True where the file is now whole and began with bytes of an earlier request."""
    begun = _begun(part)
    have = _length(part) if begun else 0
    headers = {}
    if begun and 0 < have < begun.size and _may_resume(begun, address, wanted):
        headers["Range"] = f"bytes={have}-"
        if begun.etag and not begun.etag.startswith("W/"):
            headers["If-Range"] = begun.etag
    elif begun and have == begun.size and _may_resume(begun, address, wanted):
        return True  # killed between the last byte and the check
    else:
        have = 0
    try:
        with opened(address, headers, limits.stall_seconds) as answer:
            size, etag = _offered(answer, wanted)
            start = have if answer.status == 206 else 0
            if start and (_first(answer) != start or begun is None or (size, etag) != (begun.size, begun.etag)):
                discard(part)
                raise _Again("offers another file than before")
            require_room(part, size - start + wanted.room)
            if not start:
                _begin(part, _Begun(address, size, etag))
            _receive(answer, part, start, size, report, limits)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # no such bytes: the file has become shorter
            discard(part)
            raise _Again("offers a shorter file than before") from error
        raise (_Again if error.code in BUSY else _Refused)(f"answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _Again(f"sends nothing for {limits.stall_seconds:g} s") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _Again(f"does not answer within {limits.stall_seconds:g} s") from error
        raise _Again(f"cannot be reached ({error.reason})") from error
    except (ConnectionError, http.client.HTTPException, ssl.SSLError) as error:
        raise _Again(f"broke off ({type(error).__name__})") from error
    return bool(start)


def _may_resume(begun: _Begun, address: str, wanted: Wanted) -> bool:
    """Whether an earlier part may be continued here; the answer still has to agree."""
    if wanted.size and begun.size != wanted.size:
        return False
    return bool(begun.etag) or (begun.address == address and bool(wanted.sha256))


def _offered(answer: Any, wanted: Wanted) -> tuple[int, str]:
    """Size and ETag of the whole file that is offered. Refused where it cannot be the wanted one."""
    kind = answer.headers.get_content_type()
    if kind == "text/html":
        raise _Refused("answers with a web page, not with the file")
    coding = answer.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise _Refused(f"answers with the file coded as {coding}")
    if answer.status == 206:
        whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", "").strip())
        size = int(whole[1]) if whole else 0
    else:
        length = answer.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else wanted.size
    if not size:
        raise _Refused("does not say how long the file is, and no size is published")
    if wanted.size and size != wanted.size:
        raise _Refused(f"offers {size} bytes")
    return size, answer.headers.get("ETag", "")


def _first(answer: Any) -> int:
    """The position of the first byte of a partial answer; -1 where it does not say."""
    position = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", "").strip())
    return int(position[1]) if position else -1


def _receive(answer: Any, part: Path, start: int, size: int, report: Report | None, limits: Limits) -> None:
    """Writes what comes behind byte `start`; a server that sends less than a kilobyte a second stalls too."""
    have, watched, since = start, start, time.monotonic()
    with writing(part), part.open("r+b" if start else "wb", buffering=0) as file:
        file.seek(start)
        file.truncate()
        while have < size:
            block = _next_block(answer, min(BLOCK, size - have))
            if not block:
                raise _Again(f"broke off after {have} of {size} bytes")
            _write(file, block)
            have += len(block)
            if report is not None:
                report(have, size)
            now = time.monotonic()
            if now - since >= limits.stall_seconds:
                if have - watched < 1000 * limits.stall_seconds:
                    raise _Again(f"sent {have - watched} bytes in {now - since:.0f} s")
                watched, since = have, now


def _next_block(answer: Any, most: int) -> bytes:
    """What comes next. A network that goes away (no route, no such device) is a line that broke, and no fault of the disk."""
    try:
        block: bytes = answer.read1(most)
    except TimeoutError:
        raise
    except OSError as error:
        raise _Again(f"broke off ({error.strerror or type(error).__name__})") from error
    return block


def _write(file: IO[bytes], block: bytes) -> None:
    """All of it: an unbuffered write may take less, as on a disk that fills."""
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


# What is known of a part -----------------------------------------------------------------------------------------


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _begin(part: Path, begun: _Begun) -> None:
    """Says of which file the part will be the beginning, before the first byte comes."""
    with writing(part):
        part.unlink(missing_ok=True)
    with atomic(_beside(part)) as note:
        note.write_bytes(msgspec.json.encode(begun))


def _begun(part: Path) -> _Begun | None:
    try:
        return msgspec.json.decode(_beside(part).read_bytes(), type=_Begun)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _length(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _shown(address: str) -> str:
    """An address without its query, which may be long."""
    return urlsplit(address)._replace(query="", fragment="").geturl()


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and scheme != urlsplit(req.full_url).scheme:
            fp.close()
            raise _Refused(f"leads to {_shown(newurl)}, which is not protected")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
