"""Parse values of manifest fields from text (CSV, command line) or typed values (JSONL, Parquet).

Parsers raise ValueError; the message for the user comes from the field's description (manifests/options.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

from raydub.texts import has_utf8

Sides = tuple[int, int, int, int]

_SPLIT = re.compile(r"[\s,;]+")
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
NEUTRAL = frozenset({"", "none", "off", "no", "false"})
"""Words that switch an optional feature off."""
_FACE = re.compile(r"largest|left|right|all|active|index:\d{1,3}|reference:.+", re.DOTALL)
REFERENCE = "reference:"
NOBODY = "none"
"""The face of a speaker who is not in the picture."""
MAX_SIDE = 1 << 20
_SEPARATORS = re.compile("([;,])")
_NAME = re.compile(r"[^=;,\x00-\x1f]{1,80}")
_MAX_SPEAKERS = 32
_VOICE_FILE = re.compile(r".*\.onnx(?=#|\Z)", re.DOTALL | re.IGNORECASE)
_TILE = (32, 2048)


def _sides(value: Any) -> Any:
    """Four whole numbers, from text ("0 10 0 0", "0,10,0,0", "[0, 10, 0, 0]") or from a sequence."""
    if isinstance(value, str):
        parts: list[Any] = _SPLIT.split(value.strip().strip("[]()").strip())
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    else:
        raise ValueError("not four numbers")
    if len(parts) != 4:
        raise ValueError(f"{len(parts)} numbers instead of four")
    return tuple(_whole(part) for part in parts)


def _whole(value: Any) -> int:
    """A whole number from an int, a float without fraction (Parquet, pandas) or text; bool is refused."""
    if isinstance(value, bool):
        raise ValueError("a truth value is not a number")
    if isinstance(value, int):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,9}(\.0{1,9})?", value.strip()):
        number = int(float(value))
    else:
        raise ValueError("not a whole number")
    if abs(number) > MAX_SIDE:
        raise ValueError("number out of range")
    return number


def _real(value: Any) -> float:
    """A finite number from an int, a float or text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("not a number")
    if isinstance(value, str) and len(value) > 40:
        raise ValueError("not a number")
    if isinstance(value, int) and abs(value) > MAX_SIDE:
        raise ValueError("number out of range")
    return float(value)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().casefold() if isinstance(value, (str, int)) else ""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError("not a truth value")


def _word(value: Any) -> Any:
    """Choices are matched ignoring case, with _ equal to -."""
    if not isinstance(value, str):
        raise ValueError("not a word")
    return value.strip().casefold().replace("_", "-")


def _word_or_none(value: Any) -> Any:
    """A choice that any word of NEUTRAL switches off."""
    return "none" if asks_nothing(value) else _word(value)


def asks_nothing(value: Any) -> bool:
    """Whether this value means the same as leaving the field out."""
    return value is None or value is False or (isinstance(value, str) and value.strip().casefold() in NEUTRAL)


def _tile(value: Any) -> int:
    number = _whole(value)
    if number and not _TILE[0] <= number <= _TILE[1]:
        raise ValueError("tile out of range")
    return number


def _rotation(value: Any) -> int:
    number = _whole(value)
    if number not in (0, 90, 180, 270):
        raise ValueError("not a quarter turn")
    return number


def _rate(value: Any) -> Fraction:
    """25, 29.97 or 30000/1001 as an exact fraction; the broadcast rates 23.976, 29.97, 59.94 mean n·1000/1001."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
        raise ValueError("not a rate")
    text = str(value).strip()
    if len(text) > 24 or not re.fullmatch(r"\d{1,6}(\.\d{1,8})?|\d{1,9}/\d{1,9}", text):
        raise ValueError("not a rate")
    rate = Fraction(text) if not re.search(r"/0+$", text) else Fraction(0)
    for whole in (24, 30, 48, 60, 120):
        if rate != whole and abs(rate - Fraction(whole * 1000, 1001)) < Fraction(1, 200):
            rate = Fraction(whole * 1000, 1001)
    if not 1 <= rate <= 240:
        raise ValueError("rate out of range")
    return rate


def _face(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    head, colon, rest = text.partition(":")
    text = head.strip().casefold() + colon + rest.strip()
    if not _FACE.fullmatch(text):
        raise ValueError("not a choice of face")
    return text


def by_speaker(text: str) -> dict[str, str]:
    """Parse a per-speaker value: "anna=left; ben=right" to {"anna": "left", "ben": "right"}, a value without names to
    {"": value}. A JSON object is accepted too, for values that contain separators. Raises ValueError for a name that is
    empty, too long or repeated."""
    text = text.strip()
    if text.startswith("{") and (said := _object(text)) is not None:
        return said
    pieces = _pieces(text.rstrip(";,"))
    if "=" not in pieces[0]:
        if len(pieces) > 1:
            raise ValueError("some values have a speaker and some have none")
        return {"": pieces[0].strip()}
    found: dict[str, str] = {}
    for piece in pieces:
        name, _, value = (part.strip() for part in piece.partition("="))
        if not _NAME.fullmatch(name) or not value or name in found:
            raise ValueError("not speaker=value")
        found[name] = value
    if len(found) > _MAX_SPEAKERS:
        raise ValueError("too many speakers")
    return found


def _object(text: str) -> dict[str, str] | None:
    """Parse a per-speaker value that is a JSON object; None if it is not JSON. Raises ValueError."""
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    found: dict[str, str] = {}
    for name, value in pairs:
        if not isinstance(value, str) or not value.strip() or not has_utf8(value) or any(ord(c) < 32 for c in value):
            raise ValueError("not speaker: value")
        everybody = not name and len(pairs) == 1
        if not everybody and (not _NAME.fullmatch(name) or name != name.strip() or name in found):
            raise ValueError("not the name of a speaker")
        found[name] = value
    if not 1 <= len(found) <= _MAX_SPEAKERS:
        raise ValueError("no speaker, or too many")
    return found


def voice_file(voice: str) -> tuple[str, str] | None:
    """Split a voice that is a model file: ("x.onnx", "#3") for "x.onnx#3", ("x.onnx", "") for "x.onnx"; None for a
    name."""
    file = _VOICE_FILE.match(voice)
    return None if file is None else (file[0], voice[file.end() :])


def split_voice(voice: str) -> tuple[str, str]:
    """The model and the speaker of a voice, "" for no speaker. A file is split after .onnx, because folder names may
    contain #; a name at the first #."""
    file = voice_file(voice)
    if file is not None:
        return file[0], file[1][1:]
    model, _, speaker = voice.partition("#")
    return model, speaker


def _pieces(text: str) -> list[str]:
    """Split `text` before each "name=": a separator without a following name belongs to the value. Linear time."""
    parts = _SEPARATORS.split(text)
    pieces = [[parts[0]]]
    for separator, part in zip(parts[1::2], parts[2::2], strict=True):
        if part.find("=") > 0:
            pieces.append([part])
        else:
            pieces[-1] += [separator, part]
    return ["".join(piece) for piece in pieces]


def words_of(values: Mapping[str, str]) -> str:
    """The text that by_speaker reads back as `values`, whatever is in them: the path of a folder can hold anything."""
    text = "; ".join(f"{name}={value}" if name else value for name, value in values.items())
    try:
        plain = by_speaker(text) == values
    except ValueError:
        plain = False
    return text if plain else json.dumps(dict(values), ensure_ascii=False)


def _per_speaker(value: Any) -> str:
    """One value for all speakers, or one per speaker: text, or a mapping from JSON or Parquet."""
    if isinstance(value, (list, tuple)):
        # A Parquet map column is a list of pairs.
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value):
            raise ValueError("not pairs of speaker and value")
        pairs_of = [(name, text) for name, text in value if isinstance(name, str)]
        if len(dict(pairs_of)) != len(value):
            raise ValueError("a speaker twice")
        value = dict(pairs_of)
    if isinstance(value, Mapping):
        # In a Parquet struct column every row has all keys.
        pairs = {name: text for name, text in value.items() if text is not None}
        if not pairs or not all(isinstance(part, str) for pair in pairs.items() for part in pair):
            raise ValueError("not speaker: value")
        value = words_of({name.strip(): text.strip() for name, text in pairs.items()})
    if not isinstance(value, str) or not value.strip() or any(ord(c) < 32 for c in value):
        raise ValueError("not text")
    return words_of(by_speaker(value))


def _faces(value: Any) -> str:
    """A face per speaker: any value of `face` except `all`, or none for a speaker who is not in the picture."""
    found = by_speaker(_per_speaker(value))
    if "" in found:
        raise ValueError("a face without a speaker")
    faces = {name: NOBODY if face.casefold() == NOBODY else _face(face) for name, face in found.items()}
    if "all" in faces.values():
        raise ValueError("one speaker cannot have all faces")
    return words_of(faces)


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or any(ord(c) < 32 for c in value):
        raise ValueError("not a path")
    return value


def json_object(value: Any) -> str:
    """A JSON object, from text or a mapping, in canonical form; null members are left out."""
    try:
        if isinstance(value, str):
            value = json.loads(value)
        if not isinstance(value, Mapping):
            raise ValueError("not an object")
        said = {str(name): part for name, part in value.items() if part is not None}
        return json.dumps(said, sort_keys=True, allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


Whole = Annotated[int, BeforeValidator(_whole)]
Real = Annotated[float, BeforeValidator(_real)]
Truth = Annotated[bool, BeforeValidator(_truth)]
FourSides = Annotated[Sides, BeforeValidator(_sides)]
Rate = Annotated[Fraction, BeforeValidator(_rate), PlainSerializer(str, return_type=str)]
Turn = Annotated[int, BeforeValidator(_rotation)]
FaceText = Annotated[str, BeforeValidator(_face)]
PathText = Annotated[str, BeforeValidator(_path)]
PerSpeaker = Annotated[str, BeforeValidator(_per_speaker)]
SpeakerFaces = Annotated[str, BeforeValidator(_faces)]
JsonObject = Annotated[str, BeforeValidator(json_object)]
Share = Annotated[float, BeforeValidator(_real), Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Tile = Annotated[int, BeforeValidator(_tile)]
Word = BeforeValidator(_word)
WordOrNone = BeforeValidator(_word_or_none)
