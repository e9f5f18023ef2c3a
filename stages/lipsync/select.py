"""From a name to a lip engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from raydub.errors import Code, UsageError
from raydub.manifests.options import lip_engine
from raydub.stages.engine import EngineRequest, LipEngine


def make_engine(
    name: str = "auto",
    model: str | Path | None = None,
    *,
    paste: Literal["mask", "box"] = "mask",
    mel_offset_frames: int = 0,
    batch_size: int | None = None,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    backend: Literal["auto", "torch", "openvino"] = "auto",
    accepted: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> LipEngine:
    """The engine called `name`, not loaded yet. auto: wav2lip if a model is given, else own; own and warp are the
    embedded ones; other names are those of installed packages (stages.engine), which alone get `options`.

    model: a Wav2Lip checkpoint for wav2lip, by its path or its name in the catalogue; a mouth-shape file for own and
    warp (None: the embedded one). The other options are Wav2Lip's, see Wav2LipOptions; own and warp use model and
    mel_offset_frames only: they draw their own masks, run in fp32 on the CPU and need no consent.

    Raises UsageError: FIELD_VALUE for an unknown name, FIELD_CONFLICT for wav2lip without a model; DependencyError
    DEPENDENCY_MISSING for another package's engine that cannot be used.
    """
    chosen = lip_engine(name, model)
    if chosen == "own":
        from raydub.stages.lipsync.own import OwnEngine

        return OwnEngine(None if model is None else str(model), mel_offset_frames)
    if chosen == "warp":
        from raydub.stages.lipsync.warp import WarpEngine

        return WarpEngine(None if model is None else str(model), mel_offset_frames)
    if chosen != "wav2lip":
        from raydub.stages.lipsync.installed import InstalledEngine

        return InstalledEngine(
            EngineRequest(
                chosen, None if model is None else str(model), dict(options or {}), paste, mel_offset_frames, precision
            )
        )
    if model is None:
        raise UsageError(
            Code.FIELD_CONFLICT,
            "engine wav2lip needs a checkpoint",
            field="model",
            hint="pass --model PATH, or use engine warp, which has its own weights",
        )
    from raydub.stages.lipsync.wav2lip import Wav2LipEngine, Wav2LipOptions

    return Wav2LipEngine(
        Wav2LipOptions(
            checkpoint=str(model),
            paste=paste,
            mel_offset_frames=mel_offset_frames,
            batch_size=batch_size,
            precision=precision,
            backend=backend,
            accepted=tuple(accepted),
        )
    )
