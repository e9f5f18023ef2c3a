"""What a job says of its lip engine, checked against itself and against the engines that are there."""

from __future__ import annotations

from raydub.errors import Code, DependencyError, UsageError
from raydub.manifests.options import Options, choices, lip_engine
from raydub.plugins import LIP_ENGINES


def engine_conflicts(options: Options) -> list[UsageError]:
    """Contradictions in engine, engine_options, model and paste, and an engine that is unknown here."""
    found: list[tuple[str, str, str]] = []
    if options.engine not in choices("engine"):
        try:
            LIP_ENGINES.point(options.engine, choices("engine"))
        except UsageError as error:
            return [error]
        except DependencyError:
            pass  # it cannot be used: said when the engine is made
    elif options.engine_options is not None:
        hint = "leave 'engine_options' out, or name the engine of another package in 'engine'"
        found.append(("engine_options", f"engine={options.engine} has no options of its own", hint))
    if options.engine == "wav2lip" and options.model is None:
        hint = (
            "name one in 'model': wav2lip_gan of the catalogue (--model wav2lip_gan), or a file; without 'engine' the "
        )
        hint += "embedded engine dubs"
        found.append(("engine", "engine=wav2lip needs a checkpoint", hint))
    if options.engine == "warp" and options.model is not None and not options.model.endswith(".safetensors"):
        hint = "engine=warp takes its own .safetensors; for a Wav2Lip checkpoint say engine=wav2lip"
        found.append(("model", "engine=warp cannot use this model", hint))
    if options.paste == "box" and lip_engine(options.engine, options.model) == "warp":
        hint = "leave 'paste' out, or name a Wav2Lip checkpoint in 'model'"
        found.append(("paste", "paste=box is Wav2Lip's rectangle; the embedded engine draws lips only", hint))
    return [UsageError(Code.FIELD_CONFLICT, message, field=name, hint=hint) for name, message, hint in found]
