"""Make a Ray job from a manifest and the options of `raydub run`: its id, its command line, what is sent along.

A manifest that this machine can read is sent if nothing in it depends on its folder: the output root is given, and all
inputs are addresses or absolute paths of the cluster. Small scripts at relative paths are sent with it. Any other
manifest stays where it is, and the cluster reads it by its path or address.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from raydub.cluster.allowed import allow_fetching
from raydub.cluster.commands.fields import FIELD_FLAGS
from raydub.cluster.sent import digest, digests, folder_files, refuse_secrets
from raydub.cluster.session.jobs import STOP_SECONDS, JobSeen, Order, base_id
from raydub.errors import Code, UsageError
from raydub.manifests.consent import require_consent
from raydub.manifests.failed import placed_row
from raydub.manifests.formats import raw_rows
from raydub.manifests.naming import results_name
from raydub.manifests.options import FIELDS
from raydub.manifests.placed import with_paths
from raydub.manifests.read import ManifestResult, read_manifest
from raydub.places import WORK_FOLDER
from raydub.tts.scripts.read import voice_files

ORIGIN = "RAYDUB_MANIFEST"
"""In a job: the path of a sent manifest on the machine that it came from, by which results know their manifest."""
_SCRIPT_BYTES, _ALL_BYTES = 1 << 20, 64 << 20
_STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"


@dataclass(frozen=True)
class Prepared:
    """order: without what is packed(); read: reads the manifest as the run will, None if it is not here; files: to
    send, path in the job's folder to path here."""

    order: Order
    read: Callable[[], ManifestResult] | None = None
    files: Mapping[str, str] | None = None


def order_for(
    manifest: str,
    arguments: Sequence[str],
    *,
    ship: bool | None = None,
    working_dir: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
) -> Prepared:
    """The job of a manifest. ship: whether it is sent, None to decide as above; working_dir: a folder to send, or the
    address of a package, with the manifest in it; runtime_env: Ray's, without working_dir. Raises UsageError for
    options that `raydub run` would refuse or that cannot be meant for the cluster."""
    refuse_secrets(manifest, working_dir, arguments)
    said = run_options([manifest, *arguments])
    root, work, stem = (_place(name, said[name]) for name in ("output_root", "work_dir", "results"))
    for name in ("c2pa_cert", "c2pa_key"):
        _place(name, said[name])
    if said["use_ray"] is False or said["cpus"] is not None:
        field = "cpus" if said["use_ray"] is not False else "no-ray"
        message = f"--{field} is for runs without a cluster"
        raise UsageError(Code.FIELD_CONFLICT, message, field=field, hint="leave it out, or use `raydub run`")
    for name in FIELDS:
        if isinstance(said[name], str) and with_paths(name, said[name], "/") != said[name]:
            raise _relative(name, said[name])
    fields = FIELD_FLAGS.build({one.name: said[one.name] for one in FIELD_FLAGS.parameters})
    here = _here(manifest, working_dir)
    env: dict[str, Any] = dict(runtime_env or {})
    files: dict[str, str] | None = None
    path = manifest if "://" in manifest or working_dir is not None else os.path.abspath(manifest)
    if ship or (ship is None and here is not None and root and working_dir is None and "image_uri" not in env):
        files = _files_of(manifest, here, fields, root, asked=bool(ship))
    if files is not None:
        path = _no_option(os.path.basename(manifest))
        env["env_vars"] = {**env.get("env_vars", {}), ORIGIN: os.path.abspath(manifest)}
    elif working_dir is not None:
        env["working_dir"] = working_dir if "://" in working_dir else os.path.abspath(working_dir)
        path = _no_option(os.path.relpath(here, working_dir) if here is not None else manifest)
    if not root and (files is not None or working_dir is not None):
        hint = "add `-- --output-root` with a bucket, or with a folder that all nodes mount"
        raise UsageError(Code.FIELD_MISSING, "a manifest that is sent has no folder for outputs", field="output-root",
                         hint=hint)  # fmt: skip
    same = {name: value for name, value in said.items() if name not in ("manifest", "verbose", "as_json")}
    base = base_id(os.path.basename(path), _content(path, here, files, env), same)
    root = root or _folder(path)
    facts = {
        "manifest": manifest if "://" in manifest or here is None else os.path.abspath(here),
        "output_root": root,
        "work_dir": work or f"{root.rstrip('/')}/{WORK_FOLDER}",
        "results": stem or f"{root.rstrip('/')}/{results_name(path)}",
        "options": json.dumps(list(arguments)),
        "sent": "manifest" if files is not None else str(env.get("working_dir", "")),
    }
    env["env_vars"] = {**env.get("env_vars", {}), _STOP_WAIT: str(STOP_SECONDS)}
    order = Order(base, (path, *arguments), facts, env)
    return Prepared(order, None if here is None else lambda: _read(here, said, fields), files)


def _content(path: str, here: str | None, files: Mapping[str, str] | None, env: Mapping[str, Any]) -> str:
    """What decides the outcome besides the options: the manifest, what is sent with it, and the environment."""
    folder = str(env.get("working_dir", ""))
    sent = files if files is not None else folder_files(folder) if folder and "://" not in folder else {}
    variables = {name: value for name, value in env.get("env_vars", {}).items() if name not in (ORIGIN, _STOP_WAIT)}
    said = {
        "manifest": _digest(here) if here is not None else f"at {path}",
        "sent": digests(sent),
        "package": folder if "://" in folder else "",
        "env": variables,
        "image": env.get("image_uri"),
        "pip": (env.get("pip") or {}).get("packages"),
    }
    return json.dumps({name: value for name, value in said.items() if value}, sort_keys=True)


def _no_option(path: str) -> str:
    """A relative path that the command line does not take for an option."""
    return f"./{path}" if path.startswith("-") else path


def again(job: JobSeen) -> Prepared:
    """The order of another try of a job. Raises UsageError JOB_STATE if what it was sent is not here any more."""
    env = {name: value for name, value in job.runtime_env.items() if name in ("env_vars", "pip", "image_uri")}
    arguments, sent = json.loads(job.facts["options"]), job.facts.get("sent", "")
    manifest = job.facts["manifest"]
    if not sent or "://" in sent:
        keep = {**env, "working_dir": sent} if sent else env
        path = shlex.split(job.entrypoint)[2]
        return Prepared(Order(job.base, (path, *arguments), job.facts, keep))
    if not os.path.isfile(manifest):
        raise _not_here(job, "it does not exist")
    try:
        folder = None if sent == "manifest" else sent
        found = order_for(manifest, arguments, ship=folder is None, working_dir=folder, runtime_env=env)
    except (UsageError, OSError) as error:
        raise _not_here(job, str(error)) from error
    if found.order.base != job.base:
        raise _not_here(job, "its content, a file that is sent with it, or the version of raydub, is another one now")
    return found


def _not_here(job: JobSeen, why: str) -> UsageError:
    return UsageError(
        Code.JOB_STATE,
        f"{job.id!r} was sent the manifest {job.facts['manifest']}, which this machine cannot send again: {why}",
        hint="resume it where it was submitted, or submit the manifest: finished parts are kept",
        field="job",
    )


@contextmanager
def packed(prepared: Prepared) -> Iterator[Order]:
    """The order with the folder to be sent, which exists during the block."""
    if prepared.files is None:
        yield prepared.order
        return
    with tempfile.TemporaryDirectory(prefix="raydub-job-") as folder:
        for name, source in prepared.files.items():
            goal = Path(folder, name)
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, goal)
        env = {**prepared.order.runtime_env, "working_dir": folder}
        yield replace(prepared.order, runtime_env=env)


def run_options(arguments: Sequence[str]) -> Mapping[str, Any]:
    """Parse arguments of `raydub run`; values by parameter name. Raises UsageError FIELD_VALUE for invalid
    arguments."""
    from raydub.cluster.commands.run import run

    app = typer.Typer(add_completion=False)
    app.command("run")(run)
    try:
        found: Mapping[str, Any] = typer.main.get_command(app).make_context("run", list(arguments)).params
    except Exception as error:
        # Newer typer vendors click, whose exceptions then have no public name.
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(Code.FIELD_VALUE, error.format_message(), hint="`raydub run --help` lists them") from None
    return found


def _place(name: str, value: Any) -> str:
    """A folder or file of the cluster as text, "" for none. Raises UsageError FIELD_VALUE for a relative path."""
    if value is None:
        return ""
    text = str(value)
    if "://" not in text and not os.path.isabs(text):
        raise _relative(name, text)
    return text


def _relative(name: str, text: str) -> UsageError:
    message = f"{text!r} is relative to a folder of this machine, and the run works on the cluster"
    hint = "give an address, or an absolute path that all nodes mount"
    return UsageError(Code.FIELD_VALUE, message, field=name.replace("_", "-"), hint=hint)


def _here(manifest: str, working_dir: str | None) -> str | None:
    """The path at which this machine can read the manifest. Raises UsageError for one that nobody can find."""
    if "://" in manifest or (working_dir is not None and "://" in working_dir):
        return None
    if working_dir is not None:
        inside = os.path.realpath(os.path.join(working_dir, manifest))
        if not os.path.exists(inside):
            inside = os.path.realpath(manifest)
        if not os.path.isfile(inside) or os.path.commonpath(
            [inside, os.path.realpath(working_dir)]
        ) != os.path.realpath(working_dir):
            message = f"the manifest {manifest!r} is not in the folder {working_dir!r}"
            raise UsageError(Code.FIELD_CONFLICT, message, field="working-dir", hint="give the folder that holds it")
        return inside
    if os.path.exists(manifest):
        return manifest
    if not os.path.isabs(manifest):
        message = f"cannot read the manifest {manifest!r}: the file does not exist here"
        hint = "check the path; for a file of the cluster give its absolute path, or its address in a bucket"
        raise UsageError(Code.MANIFEST_UNREADABLE, message, hint=hint)
    return None


def _files_of(
    manifest: str, here: str | None, fields: Mapping[str, str], root: str, *, asked: bool
) -> dict[str, str] | None:
    """What is sent of a manifest, None if it must be read where it is. Raises UsageError FIELD_CONFLICT then, if
    sending was asked for."""
    if here is None:
        message = f"{manifest!r} cannot be sent: this machine does not have it"
        raise UsageError(Code.FIELD_CONFLICT, message, field="ship", hint="leave out --ship")
    folder = os.path.dirname(os.path.realpath(here))
    files = {os.path.basename(manifest): os.path.realpath(here)}
    for line, row in [(0, dict(fields)), *raw_rows(Path(here))]:
        if isinstance(row, UsageError):
            continue
        placed = placed_row(row, folder)
        for name in (name for name in placed if placed[name] != row.get(name)):
            path = os.path.normpath(str(placed[name]))
            inside = path.startswith(f"{folder}{os.sep}") and os.path.isfile(path)
            if name == "script" and inside and os.path.getsize(path) <= _SCRIPT_BYTES and not voice_files(path):
                files[os.path.relpath(path, folder)] = path
            elif not asked:
                return None
            else:
                where = f"{name!r} of line {line}" if line else f"--{name}"
                raise UsageError(
                    Code.FIELD_CONFLICT,
                    f"{where} is relative to the manifest's folder on this machine: {str(row.get(name))[:200]!r}",
                    field="ship",
                    hint="give addresses or absolute paths of the cluster, send the folder with --working-dir, or "
                    "leave out --ship if the cluster mounts the folder",
                )
    if sum(map(os.path.getsize, files.values())) > _ALL_BYTES:
        if not asked:
            return None
        message = f"the manifest and its scripts have more than {_ALL_BYTES >> 20} MiB"
        raise UsageError(Code.FIELD_CONFLICT, message, field="ship", hint="split it, or put it into a bucket")
    return files


def _read(here: str, said: Mapping[str, Any], fields: Mapping[str, str]) -> ManifestResult:
    allow_fetching(said["allow_scheme"], said["allow_private"])
    found = read_manifest(Path(here), said["output_root"], fields)
    return require_consent(found) if said["require_consent"] else found


def _digest(path: str) -> str:
    try:
        return digest(path)
    except OSError as error:
        message = f"cannot read the manifest {path!r}: {error.strerror or error}"
        raise UsageError(Code.MANIFEST_UNREADABLE, message, hint="check the path") from error


def _folder(path: str) -> str:
    """The folder of a manifest at a path or an address, the default output root."""
    return path.rpartition("/")[0] if "://" in path else os.path.dirname(os.path.realpath(path))
