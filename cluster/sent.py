"""What of a job leaves this machine: the digests that belong to its id, the size of a folder that is sent, and secrets,
which Ray would show to everybody who can list the cluster's jobs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from raydub.errors import Code, UsageError

SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|SIGNATURE|COOKIE", re.IGNORECASE)
_USER = re.compile(r"://[^/?#\s]*@")
_QUERY = re.compile(r"[?&]([^=&#\s]+)=")
_WELCOME = re.compile(
    r"RAYDUB_[A-Z0-9_]+|AWS_(ENDPOINT_URL(_S3)?|(DEFAULT_)?REGION|ALLOW_HTTP|VIRTUAL_HOSTED_STYLE_REQUEST)|GOOGLE_BASE_URL"
)
_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]+\])?==[A-Za-z0-9.!+_-]+")
_MOST_BYTES = 2 << 30
"""Of a folder's files before Ray packs them. It sends 512 MiB at most, and packs everything before it looks."""


def has_secret(text: str) -> bool:
    """Whether an address in the text names a user, or has a parameter such as a signature or a token."""
    if _USER.search(text):
        return True
    names = _QUERY.findall(text) if "://" in text else []
    return any(SECRET.search(name) or name.lower() in ("sig", "sas", "auth", "code") for name in names)


def refuse_secrets(manifest: str, working_dir: str | None, arguments: Sequence[str]) -> None:
    """Raises UsageError FIELD_VALUE, with the option, for a text with a secret. arguments: of `raydub run`."""
    before = ["", *arguments]
    named = [("manifest", manifest), ("working-dir", working_dir or ""), *zip(before, arguments, strict=False)]
    for option, text in named:
        if has_secret(text):
            field = (text.partition("=")[0] if text.startswith("--") else option).lstrip("-")
            message = "it has a secret, which Ray would show to everybody who can list the cluster's jobs"
            hint = "write it into the manifest's rows, or put the file where the cluster's own credentials reach it"
            raise UsageError(Code.FIELD_VALUE, message, field=field, hint=hint)


def environment(given: Sequence[str]) -> dict[str, str]:
    """Variables for the job from NAME=VALUE texts. Raises UsageError FIELD_VALUE for secrets and for names that raydub
    does not read: Ray keeps them as plain text, and its dashboard shows them."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not _WELCOME.fullmatch(name):
            message = f"{name!r} is not a variable that a job can be given"
            hint = "NAME=VALUE, with a RAYDUB_ name, AWS_ENDPOINT_URL or AWS_REGION; set others where the nodes start"
            raise UsageError(Code.FIELD_VALUE, message, field="env", hint=hint)
        if SECRET.search(name) or has_secret(value):
            message = f"{name} would show a secret to everybody who can list the cluster's jobs"
            hint = "give it to the nodes: an instance role, or a secret of Kubernetes"
            raise UsageError(Code.FIELD_VALUE, message, field="env", hint=hint)
        found[name] = value
    return found


def pinned_packages(path: Path) -> list[str]:
    """The lines of a requirements file, each with an exact version. Raises UsageError FIELD_VALUE."""
    try:
        lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UsageError(
            Code.FIELD_VALUE, f"cannot read {path}: {error}", field="pip", hint="check the path"
        ) from error
    loose = [line for line in lines if line and not _PIN.fullmatch(line)]
    if loose:
        message = f"{path} does not pin {loose[0]!r}"
        raise UsageError(Code.FIELD_VALUE, message, field="pip", hint="write NAME==VERSION, one package a line")
    return [line for line in lines if line]


def digest(path: str) -> str:
    """The SHA-256 of a file, hex. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 by path in the job's folder, of files that are sent. Raises UsageError FIELD_VALUE for one that cannot be
    read."""
    found = {}
    for name, path in files.items():
        try:
            found[name] = digest(path)
        except OSError as error:
            message = f"cannot read {path}, which would be sent: {error.strerror or error}"
            raise UsageError(Code.FIELD_VALUE, message, field="working-dir", hint="check the file") from error
    return found


def folder_files(folder: str) -> dict[str, str]:
    """The files of a folder that Ray sends, by relative path. Raises UsageError FIELD_VALUE for too large a folder, and
    for names that are not UTF-8, which Ray cannot pack."""
    from ray._private.runtime_env import packaging

    found: dict[str, str] = {}
    total = 0

    def note(path: Path) -> None:
        nonlocal total
        if not path.is_file():
            return
        total += os.stat(path).st_size
        if total > _MOST_BYTES:
            message = f"the folder {folder!r} has more than {_MOST_BYTES >> 30} GiB, and Ray sends 512 MiB at most"
            hint = "name what is not needed in a .gitignore or .rayignore file, or put media into a bucket"
            raise UsageError(Code.FIELD_VALUE, message, field="working-dir", hint=hint)
        name = os.path.relpath(path, root)
        try:
            name.encode()
        except UnicodeEncodeError as error:
            message = f"the folder to be sent has a file whose name is not UTF-8: {name!r}"
            raise UsageError(Code.FIELD_VALUE, message, field="working-dir", hint="rename it") from error
        found[name] = str(path)

    root = Path(folder).absolute()
    ignored = os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") != "1"
    packaging._dir_travel(root, [], note, include_gitignore=ignored)
    return dict(sorted(found.items()))
