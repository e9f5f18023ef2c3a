"""Checks of a job's lip engine: contradictions, and engines that are not installed."""

from __future__ import annotations

from raydub.errors import Code, DependencyError, UsageError
from raydub.manifests.options import EMBEDDED_ENGINES, Options, choices, lip_engine
from raydub.plugins import LIP_ENGINES


def engine_conflicts(options: Options) -> list[UsageError]:
    """Errors for contradictions in engine, engine_options, model and paste, and for an unknown engine."""
    found: list[tuple[str, str, str]] = []
    if options.engine not in choices("engine"):
        try:
            LIP_ENGINES.point(options.engine, choices("engine"))
        except UsageError as error:
            return [error]
        except DependencyError:
            pass  # reported when the engine is created
    elif options.engine_options is not None:
        hint = "leave 'engine_options' out, or select an engine of another package in 'engine'"
        found.append(("engine_options", f"engine={options.engine} takes no engine_options", hint))
    if options.engine == "wav2lip" and options.model is None:
        hint = (
            "set 'model' to wav2lip_gan of the catalogue (--model wav2lip_gan) or to a file, or leave 'engine' out to "
        )
        hint += "use the embedded engine"
        found.append(("engine", "engine=wav2lip needs a checkpoint", hint))
    if options.engine in EMBEDDED_ENGINES and options.model is not None and not options.model.endswith(".safetensors"):
        hint = f"engine={options.engine} takes its own .safetensors; for a Wav2Lip checkpoint set engine=wav2lip"
        found.append(("model", f"engine={options.engine} cannot use this model", hint))
    if options.paste == "box" and lip_engine(options.engine, options.model) in EMBEDDED_ENGINES:
        hint = "leave 'paste' out, or set 'model' to a Wav2Lip checkpoint"
        found.append(("paste", "paste=box needs the wav2lip engine; the embedded engine draws lips only", hint))
    return [UsageError(Code.FIELD_CONFLICT, message, field=name, hint=hint) for name, message, hint in found]
