"""Make relative paths in the text of manifest fields absolute, without checking the values."""

from __future__ import annotations

import os

from raydub.manifests.fields import REFERENCE, asks_nothing, by_speaker, voice_file, words_of
from raydub.manifests.paths import scheme_of
from raydub.manifests.weights import WEIGHT_FIELDS, is_path
from raydub.objects.names import is_object
from raydub.places import path_at

_FILES = ("video", "audio", "script", "bed_audio", "label_font")


def with_paths(name: str, value: str, folder: str) -> str:
    """The text of a field with relative paths in it made absolute against `folder`; other values, and invalid ones,
    unchanged."""
    if not value.strip():
        return value
    if name in _FILES:
        return value if name == "script" and asks_nothing(value) else _absolute(value, folder)
    if name in WEIGHT_FIELDS:
        return _absolute(value, folder) if is_path(value, path_at(folder)) else value
    if name == "face":
        return face_with_path(value, folder)
    if name in ("speakers", "voice"):
        try:
            words = by_speaker(value)
        except ValueError:
            return value
        place = face_with_path if name == "speakers" else voice_with_path
        return words_of({who: place(what, folder) for who, what in words.items()})
    return value


def _absolute(text: str, folder: str) -> str:
    if scheme_of(text) is not None or not is_object(folder) or text.startswith(os.sep):
        return text if scheme_of(text) is not None else os.path.join(folder, text)
    return f"{folder}/{text.removeprefix('./')}"


def face_with_path(text: str, folder: str) -> str:
    """A face choice with the path of its reference picture made absolute."""
    head, colon, rest = text.strip().partition(":")
    if head.strip().casefold() + colon != REFERENCE or not rest.strip():
        return text
    return REFERENCE + _absolute(rest.strip(), folder)


def voice_with_path(text: str, folder: str) -> str:
    """A voice with its path made absolute, if it is a model file."""
    model = voice_file(text)
    return text if model is None else _absolute(model[0], folder) + model[1]
