"""The weights that a job's options ask for: of restoring, of upscaling, and of its lip engine."""

from __future__ import annotations

from raydub.manifests.options import Options

_RESTORERS = {"gfpgan": "GFPGANv1.4", "codeformer": "codeformer"}
_UPSCALERS = {
    "x2": "RealESRGAN_x2plus",
    "x4": "RealESRGAN_x4plus",
    "general": "realesr-general-x4v3",
    "anime": "realesr-animevideov3",
}
_UPSCALE_PARTNER = "realesr-general-wdn-x4v3"


def restore_weights(options: Options) -> str | None:
    """Path or catalogue name of this job's face restoration weights; None without restoration."""
    return None if options.restore == "none" else options.restore_model or _RESTORERS[options.restore]


def upscale_weights(options: Options) -> str | None:
    """Path or catalogue name of this job's upscaling weights; None without upscaling."""
    return None if options.upscale == "none" else options.upscale_model or _UPSCALERS[options.upscale]


def upscale_partner(options: Options) -> str | None:
    """Catalogue name of the network that keeps noise; its weights are mixed in if upscale_denoise < 1."""
    return _UPSCALE_PARTNER if options.upscale == "general" and options.upscale_denoise < 1 else None


def job_weights(options: Options) -> tuple[str, ...]:
    """Paths and catalogue names of all weights of this job's lip engine and post-processors, except embedded ones."""
    asked = (options.model, upscale_weights(options), upscale_partner(options), restore_weights(options))
    return tuple(model for model in asked if model is not None)
