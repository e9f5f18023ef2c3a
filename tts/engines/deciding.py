"""Identifies what decides how a voice sounds without starting its engine, to tell whether it would sound the same
again.

Engine.identity, which is part of the keys of utterances, covers the same things, but needs a process.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence

from raydub.identity import Cache, identify
from raydub.manifests.fields import split_voice, voice_file
from raydub.objects.names import is_object
from raydub.sealed import key_of
from raydub.tts.engines.find import COMMAND_VARIABLE, release

UNNAMED = ""
"""Instead of a voice's name: what decides which voice is chosen by language."""


def decided_by(engine: str, voice: str, cache: Cache | None = None) -> str:
    """A digest of the engine's release and of all files by which `voice` speaks; for engines of other packages of the
    release alone. voice: its name, or UNNAMED. Loads no package of an engine.

    Raises what find.release raises, DependencyError WEIGHTS_MISSING, InputError INPUT_CHANGED, and OSError for absent
    files.
    """
    from raydub.models.catalogue import custom_entries
    from raydub.tts.engines.files import is_piper, known_digest, weights_of

    said = [release(engine)]
    if engine == "piper" and voice == UNNAMED:
        return key_of([*said, *((entry.name, known_digest(entry)) for entry in custom_entries() if is_piper(entry))])
    entry = weights_of(engine, voice)
    if entry is not None:
        return key_of([*said, known_digest(entry)])
    files = own_files(engine, voice)
    # By their real paths, as in models.load.sha256_of, so that they are hashed once.
    places = [path if is_object(path) else os.path.realpath(path) for path in files]
    return key_of([*said, *(identify(path, cache, what="voice").sha256 for path in places)])


def own_files(engine: str, voice: str) -> tuple[str, ...]:
    """Paths of the files of a voice that is not in the catalogue, whether or not they exist; () for voices without
    files. Raises DependencyError WEIGHTS_MISSING."""
    if engine == "piper":
        model, _ = split_voice(voice)
        return (model, f"{model}.json")
    if engine == "kokoro":
        from raydub.tts.engines.files import own_kokoro

        return own_kokoro() or ()
    if engine == "command":
        words = shlex.split(os.environ.get(COMMAND_VARIABLE, ""))
        return command_files([shutil.which(words[0]) or words[0], *words[1:]], voice)
    return ()


def command_files(words: Sequence[str], voice: str) -> tuple[str, ...]:
    """The files in a command line, its program first: as words, after "=", and as the voice."""
    file = voice_file(voice)
    named = [word.replace("{voice}", voice if file is None else file[0]) for word in words]
    paths = (path for word in named for path in (word, word.partition("=")[2]))
    far = file[0] if file is not None and is_object(file[0]) else None
    return tuple(path for path in dict.fromkeys(paths) if path and (path == far or os.path.isfile(path)))
