"""From a job's options to its post-processors, and what they cost. Upscaling comes first: faces are then restored at
the output's resolution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from raydub.manifests.options import Options
from raydub.manifests.sharper import restore_weights, upscale_partner, upscale_weights
from raydub.stages.post_processor import PostProcessor
from raydub.stages.upscale.options import enlarged

MMAC_PER_PIXEL: Mapping[str, float] = {"x2": 4.48, "x4": 17.93, "general": 1.21, "anime": 0.62}
"""Millions of multiply-adds per input pixel of the published networks: RRDB with 23 blocks (x2 works on 2x2
pixels at once), SRVGG with 32 and 16 convolutions of 64 features."""
_TILED: Mapping[str, float] = {"x2": 2.0, "x4": 2.0, "general": 1.3, "anime": 1.3}
"""Computed pixels over pixels of the frame: tiles overlap, and on a CPU those of RRDB are small."""
_FACE_SHARE = 1 / 8
"""Share of the frame that goes through the network for one face with upscale_area=face."""
_FACES = 4
"""Number of faces assumed for face=all."""
RESTORE_GMAC: Mapping[str, float] = {"gfpgan": 196.3, "codeformer": 404.8}
"""Billions of multiply-adds of the published networks for one face of 512 x 512."""
_GMAC_PER_CORE = 30.0
"""Billions of multiply-adds a second of one core in fp32, with AVX2 (28 were measured); with AVX-512 twice as many and
more."""
_OWN_SCALE: Mapping[str, float] = {"x2": 2.0, "x4": 4.0, "general": 4.0, "anime": 4.0}


@dataclass(frozen=True)
class PostProcessPlan:
    """The effect of a job's post-processors on its frames. See JobPlan for the fields."""

    post_processors: tuple[str, ...]
    out_size: tuple[int, int]
    post_halo: int
    post_every_face: bool


def make_post_processors(options: Options, accepted: Iterable[str] = ()) -> tuple[PostProcessor, ...]:
    """The post-processors that a job asks for, in order, not loaded yet; () for none. accepted: licences, by name,
    beside those of the environment. Raises UsageError for options that contradict each other."""
    found: list[PostProcessor] = []
    model = upscale_weights(options)
    if model is not None:
        from raydub.stages.upscale.options import UpscaleOptions
        from raydub.stages.upscale.upscaler import Upscaler

        upscaling = UpscaleOptions(
            model=model,
            area=options.upscale_area,
            outscale=options.outscale,
            denoise=options.upscale_denoise,
            strength=options.upscale_strength,
            partner=upscale_partner(options),
            tile=options.upscale_tile,
            precision=options.precision,
            accepted=tuple(accepted),
        )
        found.append(Upscaler(upscaling))
    model = restore_weights(options)
    if model is not None:
        from raydub.stages.restore.options import RestoreOptions
        from raydub.stages.restore.restorer import Restorer

        restoring = RestoreOptions(
            model=model,
            area=options.restore_area,
            strength=options.restore_strength,
            frames=options.restore_frames,
            steady=options.restore_steady,
            fidelity=options.restore_fidelity,
            precision=options.precision,
            accepted=tuple(accepted),
        )
        found.append(Restorer(restoring))
    return tuple(found)


def plan_post_processing(post_processors: Iterable[PostProcessor], size: tuple[int, int]) -> PostProcessPlan:
    """Names, size of the finished frames, and the needs of all post-processors together. Raises as out_size does.

    Halos add up: frames that one post-processor needs beyond the chunk must be finished by the one before it.
    """
    chain = tuple(post_processors)
    out = size
    for post_processor in chain:
        out = post_processor.out_size(out)
    return PostProcessPlan(
        tuple(post_processor.name for post_processor in chain),
        out,
        sum(post_processor.halo for post_processor in chain),
        any(post_processor.every_face for post_processor in chain),
    )


def post_process_costs(options: Options, size: tuple[int, int]) -> dict[str, float]:
    """Estimated core seconds a frame of `size` on a CPU, by post-processor ("upscale", "restore"); {} for none.

    By the networks of the options; the user's own model is assumed to be of the same kind.
    """
    faces = _FACES if options.face == "all" else 1
    costs: dict[str, float] = {}
    if upscale_weights(options) is not None:
        pixels = size[0] * size[1] * (1.0 if options.upscale_area == "frame" else faces * _FACE_SHARE)
        work = MMAC_PER_PIXEL[options.upscale] * _TILED[options.upscale] / 1e3
        costs["upscale"] = work * pixels / _GMAC_PER_CORE
    if restore_weights(options) is not None:
        costs["restore"] = faces * RESTORE_GMAC[options.restore] / _GMAC_PER_CORE
    return costs


def expected_size(options: Options, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the output for working frames of `size`, by the options alone: for estimates. Weights of the
    user's own may have another scale."""
    if upscale_weights(options) is None:
        return size
    own = _OWN_SCALE[options.upscale] if options.upscale_area == "frame" else 1.0
    return enlarged(size, options.outscale if options.outscale is not None else own)
