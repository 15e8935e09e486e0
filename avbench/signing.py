"""Content credentials: a signed statement inside a generated clip that it is one, and of what.

    certificates + private key → Signer → mp4 → mp4 with a C2PA manifest → Manifest

A C2PA manifest says who made a file, with what and how, and binds that to the file's bytes by digests and a
signature, so that neither can be changed without the other. Ours claims one action, `c2pa.created`, with the method as
its software agent and a term of IPTC's vocabulary for its source, and has one assertion of our own (ASSERTION) with
method, seed, digest of the request and whether the networks were untrained.

Only what is synthetic is signed, and nothing here can tell: real clips, and controls that are cut from them, must
never be given to `sign`. That is the caller's decision.

What it protects. Picture, sound, index and metadata of the mp4; a change of its type, of empty boxes and of padding
goes unseen, as the standard leaves these out. Programs that write a clip anew lose the manifest. It proves that whoever
has the key said so, not that it is true; a reader who does not know the certificate's issuer will call it valid and
untrusted.

Everything happens on this machine: no time-stamp authority is asked, no revocation list, and no manifest is fetched
from an address that a file names. Without a time stamp, readers judge a signature by the day on which they read it: the
manifest is valid for as long as the certificate is.

C2PA Technical Specification 2.x; IPTC Digital Source Type NewsCodes. The library is c2pa-python, an extra.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from .errors import MediaError, UsageError, unknown
from .home import atomic, package_version

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["ASSERTION", "Generation", "Manifest", "Signer", "Source", "read_manifest", "read_signer", "sign"]

ASSERTION = "avbench.generation"  # of our own; the project has no domain to put before it
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CREATED = "c2pa.created"
MP4 = "video/mp4"
# The library's default is to fetch manifests that a file only names. What it does not know it passes over in silence.
OFFLINE: dict[str, Any] = {
    "verify": {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}  # of elliptic curves in ECDSA
RSA_BITS = 2048  # at least
SEEDS = range(-(2**63), 2**63)  # what a manifest can hold as a whole number

Source: TypeAlias = Literal[
    "trainedAlgorithmicMedia",  # made by trained networks
    "compositeWithTrainedAlgorithmicMedia",  # something given, altered by them
    "compositeSynthetic",  # put together from parts of which one at least is synthetic
    "algorithmicMedia",  # made by rules alone
]


class Generation(NamedTuple):
    """How a clip was made, as its manifest says it."""

    method: str  # NAME[@key=value,…]
    seed: int
    request_sha256: str  # of the request that the sidecar records
    source: Source = "trainedAlgorithmicMedia"
    untrained: bool = False  # networks with random weights


@dataclasses.dataclass(frozen=True)
class Signer:
    """Who signs: checked certificates and their key. It can be sent to a worker; its key is in no representation."""

    algorithm: str  # es256, es384, es512, ps256 or ed25519
    subject: str  # of the signing certificate, RFC 4514
    issuer: str
    sha256: str  # of the signing certificate
    certificates: bytes = dataclasses.field(repr=False)  # PEM, the signing one first
    key: bytes = dataclasses.field(repr=False)  # PEM, PKCS #8


class Manifest(NamedTuple):
    """What a file's manifest says, and whether to believe it."""

    label: str  # urn:c2pa:…, new with every signature
    valid: bool  # the signature holds, and the file is the one that was signed
    trusted: bool  # and the certificate leads to an anchor that was given
    problems: tuple[str, ...]  # status codes of C2PA; without anchors signingCredential.untrusted is always among them
    generator: str  # the program that claims it, with its version
    algorithm: str
    signed_by: str  # organisation and name of the certificate
    source: str  # the IPTC term of its creation; empty where it states none
    generation: dict[str, Any]  # our own assertion; empty where another program made the manifest


def read_signer(certificate: Path, key: Path) -> Signer:
    """Certificates (PEM, the signing one first, then its issuers) and the private key of the first (PEM), checked.

    The algorithm follows from the key. A tiny sound is signed as a trial, so that what C2PA does not accept is
    a UsageError here and not after hours of generation. The key must be without a password.
    """
    _require_library()
    chain = _certificates(certificate)
    algorithm, plain_key = _key(key, certificate, chain[0])
    _require_current(certificate, chain[0])
    _require_chain(certificate, chain)
    encoded = [_pem(one) for one in chain]
    signer = Signer(
        algorithm=algorithm,
        subject=chain[0].subject.rfc4514_string(),
        issuer=chain[0].issuer.rfc4514_string(),
        sha256=hashlib.sha256(_der(chain[0])).hexdigest(),
        certificates=b"".join(encoded),
        key=plain_key,
    )
    with _refusals_named(certificate, signer):
        _signed(_silence(), "audio/wav", signer, {"title": "trial", **_definition(Generation("trial", 0, ""))})
    return signer


def sign(clip: Path, signer: Signer, generation: Generation) -> dict[str, Any]:
    """Puts a manifest into an mp4, which takes the clip's name in one step; what a sidecar records of it.

    For synthetic clips only, which is the caller's word. The streams and the metadata stay as they are; the bytes
    differ from call to call, since a manifest has a random label and most signatures random numbers. A clip that
    has a manifest is a MediaError and left alone: it may be somebody else's statement. UsageError where the
    certificate is no longer accepted.
    """
    if generation.source not in get_args(Source):
        raise unknown("digital source type", generation.source, get_args(Source))
    if generation.seed not in SEEDS:
        raise UsageError(f"seed = {generation.seed}; expected at most 64 bits to write into a manifest.")
    _require_library()
    content = _content(clip)
    there = _manifest(clip, content, "")
    if there is not None:
        raise MediaError(
            f"{clip}: carries a C2PA manifest already ({there.generator or 'unnamed'}, {there.label}); expected a clip "
            "without one. Keep it as it is, or make the clip again."
        )
    with _refusals_named(clip, signer):
        signed = _signed(content, MP4, signer, {"title": clip.name, **_definition(generation)})
    manifest = _manifest(clip, signed, "")
    if manifest is None or not manifest.valid:
        raise MediaError(
            f"{clip}: its new manifest does not hold ({manifest and manifest.problems}); expected a valid one."
        )
    with atomic(clip) as part:
        part.write_bytes(signed)
    return {
        "manifest": manifest.label,
        "claim_generator": manifest.generator,
        "source": generation.source,
        "algorithm": signer.algorithm,
        "subject": signer.subject,
        "issuer": signer.issuer,
        "certificate_sha256": signer.sha256,
    }


def read_manifest(clip: Path, anchors: Path | None = None) -> Manifest | None:
    """The manifest of a file and whether it holds; None where it has none. `anchors`: certificates (PEM) to trust.

    Checked against the day of reading. MediaError where the file is none that can carry a manifest, where its
    manifest is damaged beyond reading, or kept at an address, which is not asked.
    """
    _require_library()
    trusted = b"".join(_pem(one) for one in _certificates(anchors)).decode() if anchors is not None else ""
    return _manifest(clip, _content(clip), trusted)


# The certificate and its key --------------------------------------------------------------------------------------


def _require_library() -> None:
    if find_spec("c2pa") is None:
        raise UsageError("a C2PA manifest needs c2pa-python, not installed here. Run: pip install 'avbench[c2pa]'")


def _file(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); expected {what}.") from error


def _certificates(path: Path) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    content = _file(path, "a file of certificates, PEM")
    try:
        return load_pem_x509_certificates(content)
    except ValueError as error:
        raise UsageError(
            f"{path}: holds no readable certificate ({error}); expected PEM, from -----BEGIN CERTIFICATE-----. "
            "DER is brought to it by openssl x509 -inform DER."
        ) from error


def _key(path: Path, certificate: Path, first: Certificate) -> tuple[str, bytes]:
    """The algorithm of a private key and the key as PKCS #8; it must be that of the certificate."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    content = _file(path, "a private key, PEM")
    try:
        key: Any = serialization.load_pem_private_key(content, password=None)
    except TypeError as error:  # which is how it says that there is a password
        raise UsageError(
            f"{path}: a private key with a password; expected one without. Take it off: "
            f"openssl pkey -in {path.name} -out plain.pem, which nobody else should be able to read."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path}: no readable private key; expected PEM, from -----BEGIN PRIVATE KEY-----, of the certificate in "
            f"{certificate}."
        ) from error
    algorithm = _algorithm(path, key)
    if _public(key.public_key()) != _public(first.public_key()):
        raise UsageError(
            f"{path}: not the key of the first certificate in {certificate} ({first.subject.rfc4514_string()}); expected "
            "its own. Give the other key, or put the certificate of this one first, its issuers after it."
        )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return algorithm, key.private_bytes(encoding, form, serialization.NoEncryption())


def _algorithm(path: Path, key: Any) -> str:
    """C2PA's name of the algorithm that a key signs with."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    found = type(key).__name__
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, RSAPrivateKey):
        if key.key_size >= RSA_BITS:
            return "ps256"
        found = f"RSA of {key.key_size} bits"
    elif isinstance(key, EllipticCurvePrivateKey):
        if key.curve.name in CURVES:
            return CURVES[key.curve.name]
        found = f"curve {key.curve.name}"
    raise UsageError(
        f"{path}: {found}; expected a key that C2PA signs with: curve P-256, P-384 or P-521, Ed25519, or RSA of at "
        f"least {RSA_BITS} bits."
    )


def _require_current(path: Path, certificate: Certificate) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end:
        raise UsageError(
            f"{path}: {certificate.subject.rfc4514_string()} is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}; expected a "
            "certificate that is valid now. Have it renewed, or set this machine's clock."
        )


def _require_chain(path: Path, chain: Sequence[Certificate]) -> None:
    """Each certificate must be issued by the next."""
    from cryptography.exceptions import InvalidSignature

    for one, issuer in itertools.pairwise(chain):
        try:
            one.verify_directly_issued_by(issuer)
        except (InvalidSignature, TypeError, ValueError) as error:
            raise UsageError(
                f"{path}: {one.subject.rfc4514_string()} is not issued by the certificate after it "
                f"({issuer.subject.rfc4514_string()}); expected the signing certificate, then its issuers in order."
            ) from error


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _der(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _public(key: Any) -> bytes:
    """A public key, in the one form in which any two can be compared."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _silence() -> bytes:
    """The smallest sound that can carry a manifest, wav."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(2))
    return file.getvalue()


# Manifests --------------------------------------------------------------------------------------------------------


def _definition(generation: Generation) -> dict[str, Any]:
    """The manifest of a generated clip, as the library takes it."""
    created = {
        "action": CREATED,
        "digitalSourceType": SOURCE_TYPES + generation.source,
        "softwareAgent": {"name": generation.method},
    }
    own = {
        "method": generation.method,
        "seed": generation.seed,
        "request_sha256": generation.request_sha256,
        "untrained": generation.untrained,
    }
    return {
        "claim_generator_info": [{"name": "avbench", "version": package_version()}],
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            {"label": ASSERTION, "data": own},
        ],
    }


def _signed(plain: bytes, form: str, signer: Signer, definition: Mapping[str, Any]) -> bytes:
    """A file of that media type with a manifest in it; in memory, so that a full disk is met where files are written."""
    import c2pa

    info = c2pa.C2paSignerInfo(signer.algorithm, signer.certificates, signer.key, None)
    content, signed = msgspec.json.encode(definition).decode(), io.BytesIO()
    with (
        c2pa.Context.from_dict(OFFLINE) as context,
        c2pa.Signer.from_info(info) as native,
        c2pa.Builder(content, context=context) as builder,
    ):
        builder.sign(native, form, io.BytesIO(plain), signed)
    return signed.getvalue()


@contextmanager
def _refusals_named(path: Path, signer: Signer) -> Iterator[None]:
    """Turns what the library says against a certificate or a file into an error that names it."""
    import c2pa

    try:
        yield
    except c2pa.C2paError.Signature as error:
        raise UsageError(
            f"{path}: C2PA does not accept {signer.subject} as a signer ({error}); expected a certificate of X.509 version 3 "
            "for an end entity, valid today, with key usage digitalSignature and extended key usage emailProtection or "
            "documentSigning. Have one issued for C2PA claims."
        ) from error
    except c2pa.C2paError as error:
        raise MediaError(f"{path}: cannot be signed ({error}); expected a whole mp4.") from error


def _content(clip: Path) -> bytes:
    try:
        return clip.read_bytes()
    except OSError as error:
        raise MediaError(
            f"{clip}: cannot be read ({error.strerror}); expected a file with a manifest or none."
        ) from error


def _manifest(clip: Path, content: bytes, anchors: str) -> Manifest | None:
    """The manifest in these bytes; `anchors` are certificates to trust, PEM."""
    import c2pa

    settings = {**OFFLINE, "trust": {"trust_anchors": anchors}} if anchors else OFFLINE
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(None, io.BytesIO(content), context=context) as reader,
        ):
            store: dict[str, Any] = msgspec.json.decode(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        raise MediaError(
            f"{clip}: no manifest can be read ({error}); expected whole media with a C2PA manifest in it, or with none."
        ) from error
    return _described(clip, store)


def _described(clip: Path, store: Mapping[str, Any]) -> Manifest:
    """The active manifest of a store, as the library writes it in JSON."""
    label = store.get("active_manifest")
    if label is None:
        raise MediaError(f"{clip}: its manifest store has no active manifest; expected one that speaks for the file.")
    said: dict[str, Any] = store["manifests"][label]
    signature: dict[str, Any] = said.get("signature_info") or {}
    data = [(one["label"], one["data"]) for one in said.get("assertions", []) if isinstance(one.get("data"), dict)]
    actions = [action for name, one in data if name.startswith("c2pa.actions") for action in one.get("actions", [])]
    sources = [one.get("digitalSourceType", "") for one in actions if one.get("action") == CREATED]
    generators = [f"{one['name']} {one.get('version', '')}".strip() for one in said.get("claim_generator_info") or []]
    state = store["validation_state"]
    return Manifest(
        label=label,
        valid=state in ("Valid", "Trusted"),
        trusted=state == "Trusted",
        problems=tuple(sorted({problem["code"] for problem in store.get("validation_status") or []})),
        generator=", ".join(generators) or said.get("claim_generator", ""),  # the latter in manifests of version 1
        algorithm=signature.get("alg", "").lower(),
        signed_by=", ".join(signature[part] for part in ("issuer", "common_name") if signature.get(part)),
        source=next(iter(sources), "").removeprefix(SOURCE_TYPES),
        generation=next((one for name, one in data if name == ASSERTION), {}),
    )
