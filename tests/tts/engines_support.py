"""Tiny voices of the right shape for Piper and Kokoro, and distributions with entry points in a temporary folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, source: str, **engines: str) -> None:
    """A package `module` whose dist-info names `engines` (name → "module:class") for tts, on the search path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {target}\n" for name, target in engines.items())
    (info / "entry_points.txt").write_text(f"[raydub.tts]\n{lines}")
    monkeypatch.syspath_prepend(str(folder))


def is_running(pid: int) -> bool:
    """Does the process exist, and is it more than a zombie?"""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def _hum(graph_inputs: list[Any], count: list[Any], more: list[Any], outputs: list[Any], path: Path, name: str) -> None:
    """A graph whose output is a sine of `samples` (float scalar, computed by `count`) samples, as `audio`."""
    from onnx import TensorProto, checker, helper, save

    def constant(name: str, value: list[float] | list[int], kind: int, shape: tuple[int, ...] = ()) -> Any:
        return helper.make_tensor(name, kind, shape, value)

    nodes = [
        *count,
        helper.make_node("Range", ["zero", "samples", "one"], ["ramp"]),
        helper.make_node("Mul", ["ramp", "step"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["sine"]),
        helper.make_node("Mul", ["sine", "half"], ["wave"]),
        helper.make_node("Reshape", ["wave", "shape"], ["audio"]),
        *more,
    ]
    constants = [
        *(constant(name, [value], TensorProto.FLOAT) for name, value in (("zero", 0.0), ("one", 1.0))),
        *(constant(name, [value], TensorProto.FLOAT) for name, value in (("step", 0.06), ("half", 0.5))),
        constant("hop", [256.0], TensorProto.FLOAT),
        constant("shape", [1, 1, -1], TensorProto.INT64, (3,)),
        constant("first", [1], TensorProto.INT64),
        constant("lone", [0], TensorProto.INT64),
    ]
    graph = helper.make_graph(nodes, name, graph_inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))


def piper_voice(path: Path, speakers: dict[str, int] | None = None, espeak: str = "es") -> Path:
    """A network that hums 256 samples for each phoneme, scaled as it is asked to, and its configuration beside it."""
    from onnx import TensorProto, helper
    from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "ids"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
    count = [
        helper.make_node("Shape", ["input"], ["dims"]),
        helper.make_node("Gather", ["dims", "first"], ["ids"]),
        helper.make_node("Cast", ["ids"], ["ids_float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["scales", "first"], ["length_scale"]),
        helper.make_node("Mul", ["ids_float", "hop"], ["unscaled"]),
        helper.make_node("Mul", ["unscaled", "length_scale"], ["exact"]),
        helper.make_node("Floor", ["exact"], ["samples"]),
    ]
    more = [helper.make_node("Expand", ["length_scale", "dims"], ["durations"])]
    outputs = [
        helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, 1, "n"]),
        helper.make_tensor_value_info("durations", TensorProto.FLOAT, [1, "ids"]),
    ]
    _hum(inputs, count, more, outputs, path, "piper")
    config = {
        **{"audio": {"sample_rate": 22050}, "espeak": {"voice": espeak}, "phoneme_type": "espeak"},
        **{"num_symbols": 256, "num_speakers": len(speakers or {}) or 1, "speaker_id_map": speakers or {}},
        **{"inference": {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8}, "hop_length": 256},
        **{"phoneme_id_map": DEFAULT_PHONEME_ID_MAP, "language": {"code": "es_ES"}},
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(config), encoding="utf-8")
    return path


def kokoro_voice(folder: Path) -> tuple[Path, Path]:
    """A network that hums 256 samples for each phoneme, divided by the speed, and a file of three voices."""
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "ids"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    count = [
        helper.make_node("Shape", ["tokens"], ["dims"]),
        helper.make_node("Gather", ["dims", "first"], ["ids"]),
        helper.make_node("Cast", ["ids"], ["ids_float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["speed", "lone"], ["pace"]),
        helper.make_node("Mul", ["ids_float", "hop"], ["unscaled"]),
        helper.make_node("Div", ["unscaled", "pace"], ["exact"]),
        helper.make_node("Floor", ["exact"], ["samples"]),
    ]
    outputs = [helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, 1, "n"])]
    _hum(inputs, count, [], outputs, folder / "kokoro.onnx", "kokoro")
    with (folder / "voices.bin").open("wb") as stream:
        style = np.zeros((510, 1, 256), np.float32)
        np.savez(stream, ef_dora=style, am_adam=style, jf_alpha=style)
    return folder / "kokoro.onnx", folder / "voices.bin"
