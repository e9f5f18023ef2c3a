"""Certificates and keys that cannot sign are refused before anything runs, with the file and the way out, and no
message contains a key."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, DependencyError, RaydubError, UsageError
from raydub.stages.marks.certificate import find_signer
from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE, Signing, use_certificate
from tests.examples import examples
from tests.stages.marks.certificates import Made, make, new_key, pem_of


@pytest.fixture(scope="module")
def made() -> Made:
    return make()


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CERT_VARIABLE, raising=False)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def use(monkeypatch: pytest.MonkeyPatch, cert: object, key: object) -> None:
    monkeypatch.setenv(CERT_VARIABLE, str(cert))
    monkeypatch.setenv(KEY_VARIABLE, str(key))


@pytest.mark.parametrize("kind", ["secp256r1", "secp384r1", "secp521r1", "rsa2048", "ed25519"])
def test_every_algorithm_of_c2pa_signs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key, _ = make(kind=kind).write(tmp_path)
    use(monkeypatch, cert, key)
    found = find_signer()
    assert found is not None
    assert found.subject == "O=Tests,CN=Test Studio"
    assert (found.signing.cert, found.signing.key) == (str(cert), str(key))
    assert Signing.of(found.signing.words()) == found.signing


def test_what_travels_has_no_key(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.use(monkeypatch)  # the texts themselves, as a secret of Kubernetes gives them
    found = find_signer()
    assert found is not None
    secret = made.key.splitlines()[1]
    assert secret not in found.signing.words()
    assert secret not in repr(found)
    assert (found.signing.cert, found.signing.key) == ("", "")
    assert find_signer() is not None


def test_paths_hold_in_every_folder(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in other folders."""
    made.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, "cert.pem", "key.pem")
    found = find_signer()
    assert found is not None
    assert (found.signing.cert, found.signing.key) == (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))


def test_nothing_asked_for() -> None:
    assert find_signer() is None


WRONG: dict[str, tuple[Callable[[Made, Path], tuple[object, object]], str]] = {
    "expired": (lambda _, at: make(-20, -2).write(at)[:2], "cert.pem expired at "),
    "not yet": (lambda _, at: make(5, 30).write(at)[:2], "cert.pem is not valid before "),
    "another key": (lambda m, at: (m.write(at)[0], make().key), "does not fit the certificate of the file"),
    "root first": (
        lambda m, at: (m.root + m.chain, m.key),
        "the first certificate of the variable RAYDUB_C2PA_CERT is not that of the key",
    ),
    "absent": (lambda m, at: (at / "no.pem", m.write(at)[1]), "cannot be read: No such file"),
    "absent key": (lambda m, at: (m.write(at)[0], at / "no.pem"), "the file that --c2pa-key or RAYDUB_C2PA_KEY names"),
    "a folder": (lambda m, at: (at, m.write(at)[1]), "cannot be read: is a folder, not a file"),
    "a pipe": (lambda m, at: (_pipe(at), m.write(at)[1]), "cannot be read: is a named pipe, not a file"),
    "a pipe as key": (lambda m, at: (m.write(at)[0], _pipe(at)), "cannot be read: is a named pipe, not a file"),
    "in a bucket": (lambda m, at: (m.write(at)[0], "s3://bucket/key.pem"), "cannot be read: No such file"),
    "exchanged": (lambda m, at: (m.write(at)[1], at / "cert.pem"), "key.pem has a private key, not a certificate"),
    "two certificates": (lambda m, at: (m.write(at)[0], at / "cert.pem"), "cert.pem is no private key in PEM form"),
    "DER": (lambda m, at: (_file(at, b"\x30\x82\x01\x00"), m.write(at)[1]), "is no certificate in PEM form"),
    "password": (lambda m, at: (m.write(at)[0], pem_of(new_key(), b"secret")), "is a key with a password"),
    "weak": (lambda m, at: make(kind="rsa1024").write(at)[:2], "does not allow the algorithm"),
    "curve": (lambda m, at: make(kind="secp256k1").write(at)[:2], "does not allow the algorithm"),
    "Ed448": (lambda m, at: make(kind="ed448").write(at)[:2], "does not allow the algorithm"),
    "usage": (lambda m, at: make(signs=False).write(at)[:2], "the C2PA library does not accept the certificate"),
    "large": (lambda m, at: (_file(at, b"x" * 300_000), m.write(at)[1]), "has more than 256 KiB"),
}


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_sign(name: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrange, said = WRONG[name]
    use(monkeypatch, *arrange(made, tmp_path))
    with pytest.raises(DependencyError) as found:
        find_signer()
    assert found.value.code is Code.SIGNER
    assert said in found.value.message
    assert found.value.hint
    assert made.key.splitlines()[1] not in str(found.value)


@pytest.mark.parametrize("name", [CERT_VARIABLE, KEY_VARIABLE])
def test_one_without_the_other(name: str, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, made.key)
    with pytest.raises(UsageError, match="is given, but") as found:
        find_signer()
    assert found.value.code is Code.FIELD_MISSING
    assert made.key.splitlines()[1] not in str(found.value)


def test_flags_take_paths_only(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the path of a file, not its content") as found:
        use_certificate(None, made.key)
    assert made.key.splitlines()[1] not in str(found.value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CERT_VARIABLE, "")
    use_certificate("cert.pem", None)
    assert os.environ[CERT_VARIABLE] == str(tmp_path / "cert.pem")


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data(), which=st.sampled_from(["cert", "key"]))
def test_damaged_files_are_refused_or_still_sign(data: st.DataObject, which: str) -> None:
    """Cut, flipped or noisy PEM: a clear refusal without a line of the key, or the same signer."""
    signer = _SIGNER
    text = getattr(signer, "chain" if which == "cert" else "key")
    at = data.draw(st.integers(0, len(text) - 1))
    noise = data.draw(st.text(max_size=20))
    bad = data.draw(
        st.sampled_from([text[:at], text[:at] + noise + text[at:], text[:at] + noise + text[at + 1 :], noise])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", {CERT_VARIABLE: signer.chain, KEY_VARIABLE: signer.key})
        os.environ[CERT_VARIABLE if which == "cert" else KEY_VARIABLE] = bad
        try:
            found = find_signer()
        except RaydubError as error:
            assert error.code in (Code.SIGNER, Code.FIELD_MISSING)
            assert not any(line and line in str(error) for line in signer.key.splitlines()[1:-1])
            pickle.loads(pickle.dumps(error))
        else:
            assert found is not None
            assert found.signing.sha256


_SIGNER = make()
