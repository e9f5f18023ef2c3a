"""The checks of `raydub doctor`. Each returns what it found; none changes anything."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator

from raydub import __version__
from raydub.cluster.found import Check
from raydub.errors import RaydubError

_SIMD = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "neon", "asimd", "bf16")
_LEAST_SHM = 1 << 30
_FFMPEG_PARTS = ("libavformat", "libavcodec")


def all_checks(start_ray: bool = False, bucket: str | None = None) -> Iterator[Check]:
    """Run all checks; an exception in a check is reported as missing. bucket: an address to check, too."""
    from raydub.cluster.checks_marks import marks_check
    from raydub.cluster.checks_storage import storage_checks

    checks: list[tuple[str, Callable[[], Check]]] = [
        ("raydub", _raydub),
        ("ffmpeg", _ffmpeg),
        ("codecs", _codecs),
        ("processor", _processor),
        ("memory", _memory),
        ("torch", _torch),
        ("gpu", _gpu),
        ("openvino", _openvino),
        ("face detector", _detector),
        ("landmarks", _landmarks),
        ("who speaks", _active_speaker),
        ("lip engine", _embedded),
        ("quality", _quality),
        ("weights", _weights),
        ("speech", _speech),
        ("marks", marks_check),
        *storage_checks(bucket),
        ("ray", _ray_session if start_ray else _ray),
    ]
    for name, check in checks:
        try:
            yield check()
        except RaydubError as error:
            yield Check(name, "missing", error.message, error.hint)
        except Exception as error:
            yield Check(name, "missing", f"{type(error).__name__}: {error}", "reinstall raydub with its dependencies")


def _raydub() -> Check:
    return Check("raydub", "ok", f"{__version__}, Python {platform.python_version()} at {sys.executable}")


def _ffmpeg() -> Check:
    import av

    from raydub.media.trial import trial

    versions = ", ".join(f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in _FFMPEG_PARTS)
    found = f"FFmpeg {av.ffmpeg_version_info} inside PyAV {av.__version__} ({versions}); no ffmpeg program is used"
    wrong = trial()
    if wrong:
        hint = f"{wrong}; install the PyAV that raydub is tested with: pip install -c constraints.txt av"
        return Check("ffmpeg", "missing", f"does not work as required: {found}", hint)
    return Check("ffmpeg", "ok", f"{found}; a test film was written and read back exactly as mp4, mov and mkv")


def _codecs() -> Check:
    import av

    absent = [name for name in ("libx264", "aac") if name not in av.codecs_available]
    if absent:
        found = f"PyAV {av.__version__} has no {', '.join(absent)}"
        return Check("codecs", "missing", found, "install the PyAV wheel from PyPI")
    wanted = ("libx264", "libx265", "aac", "libmp3lame", "libopus")
    return Check("codecs", "ok", f"PyAV {av.__version__}: {', '.join(n for n in wanted if n in av.codecs_available)}")


def _processor() -> Check:
    from raydub.pipeline.threads import usable_cores

    flags: set[str] = set()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
            for line in info:
                if line.startswith(("flags", "Features")):
                    flags = set(line.split(":", 1)[1].split())
                    break
    simd = [name for name in _SIMD if name in flags]
    cores, usable = os.cpu_count() or 1, usable_cores()
    counted = f"{cores} cores"
    if usable < cores:
        counted = f"{usable} of {cores} cores (affinity, or the limit of this container)"
    half = any("bf16" in name for name in simd)
    hint = "bf16 instructions: --set precision=bf16 is about twice as fast for Wav2Lip" if half else ""
    return Check("processor", "ok", f"{counted}, {platform.machine()}, {' '.join(simd) or 'no SIMD flags seen'}", hint)


def _memory() -> Check:
    from raydub.pipeline.local_workers import memory_limit

    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Check("memory", "note", "unknown on this system")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    text, limit = f"{total / 2**30:.1f} GiB", memory_limit()
    if limit is not None and limit < total:
        text = f"{limit / 2**30:.1f} of {text}, by the limit of this container"
    if os.path.isdir("/dev/shm"):
        shm = shutil.disk_usage("/dev/shm").total
        text += f", /dev/shm {shm / 2**30:.1f} GiB"
        if shm < _LEAST_SHM:
            return Check("memory", "note", text, "Ray wants 1 GiB of shared memory: docker run --shm-size=1g")
    return Check("memory", "ok", text)


def _torch() -> Check:
    import torch

    return Check("torch", "ok", f"{torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")


def _gpu() -> Check:
    import torch

    from raydub.models.device import cuda_problem

    problem = cuda_problem()
    if problem is not None:
        hint = problem.hint if problem.present else "everything works on the CPU, but Wav2Lip is slower"
        return Check("gpu", "note", problem.found, hint)
    about = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    names = [
        f"{one.name}, {one.total_memory / 2**30:.0f} GiB, compute capability {one.major}.{one.minor}" for one in about
    ]
    return Check("gpu", "ok", f"{'; '.join(names)}; CUDA {torch.version.cuda}")


def _openvino() -> Check:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Check("openvino", "ok", version("openvino"))
    except PackageNotFoundError:
        return Check(
            "openvino", "note", "not installed", "pip install 'raydub[openvino]' makes Wav2Lip faster on a CPU"
        )


def _detector() -> Check:
    from raydub.models.face_detectors import best_detector

    name = str(best_detector())
    if name == "yunet":
        return Check("face detector", "ok", "yunet")
    return Check("face detector", "note", f"{name} (works offline)", "raydub models pull yunet: it finds more faces")


def _landmarks() -> Check:
    from raydub.models.face_detectors import PREDICTOR_FILE, dlib_file
    from raydub.models.face_landmarks import MESH_FILE, best_landmarks, has_openvino

    if best_landmarks() == "mesh":
        return Check("landmarks", "ok", f"mesh ({MESH_FILE}, Apache-2.0)")
    name = f"{dlib_file(PREDICTOR_FILE).name} (trained on iBUG 300-W: non-commercial use)"
    needs = ("" if has_openvino() else "pip install 'raydub[openvino]'; ") + "raydub models pull mesh"
    return Check("landmarks", "note", name, f"{needs}: steadier lips, beards, tilted heads, commercial use")


def _active_speaker() -> Check:
    from raydub.models.active_speaker import ASD_FILE, asd_file
    from raydub.models.face_landmarks import has_openvino

    if has_openvino() and asd_file() is not None:
        return Check("who speaks", "ok", f"face=active ({ASD_FILE}, MIT)")
    needs = ("" if has_openvino() else "pip install 'raydub[openvino]'; ") + "raydub models pull light_asd"
    return Check("who speaks", "note", "face=active and raydub cast cannot be used", f"{needs}: for dialogues")


def _embedded() -> Check:
    from raydub.manifests.options import Options
    from raydub.pipeline.engines import make_job_engine
    from raydub.plugins import LIP_ENGINES
    from raydub.stages.lipsync.installed import release_of

    engine = make_job_engine(Options())
    weights = ", ".join(f"{record.name} {record.sha256[:12]} ({record.licence})" for record in engine.weights())
    found, broken = [f"{engine.name}: {weights}"], []
    for name in LIP_ENGINES.points():
        try:
            found.append(f"{name} ({release_of(name)})")
        except RaydubError as error:
            broken.append(f"{error.message}: {error.hint}")
    return Check("lip engine", "note" if broken else "ok", ", ".join(found), "; ".join(broken))


def _quality() -> Check:
    from raydub.models.catalogue import get
    from raydub.models.store.folders import find_file, weights_folders

    chosen = next((name for name in ("wav2lip_gan", "wav2lip") if find_file(get(name).file)), None)
    found = sorted(path for folder in weights_folders() for path in folder.glob("wav2lip*") if path.is_file())
    if chosen or found:
        return Check(
            "quality",
            "ok",
            f"Wav2Lip checkpoint: {find_file(get(chosen).file) if chosen else found[0]}",
            f"use it with: --engine wav2lip --model {chosen or found[0]}; the default is the embedded engine",
        )
    return Check(
        "quality",
        "note",
        "default: the embedded engine; sharp at any resolution, mouth shapes simpler than a large network's",
        "for Wav2Lip quality (non-commercial): raydub models pull wav2lip_gan; then --model wav2lip_gan",
    )


def _weights() -> Check:
    from raydub.models.catalogue import ENTRIES, custom_entries
    from raydub.models.store.folders import offline, weights_folders
    from raydub.models.store.seen import look

    states = {entry.name: look(entry) for entry in (*ENTRIES, *custom_entries())}
    here = [name for name, state in states.items() if state in ("here", "unverified", "custom")]
    wrong = [name for name, state in states.items() if state == "wrong"]
    place = f"{weights_folders()[0]}{', offline' if offline() else ''}"
    if wrong:
        hint = "raydub models verify shows details; raydub models pull NAME replaces a file of the catalogue"
        return Check("weights", "note", f"not the published files: {', '.join(wrong)} in {place}", hint)
    if here:
        return Check("weights", "ok", f"{', '.join(here)} in {place}")
    return Check("weights", "note", f"none in {place}", "raydub models list shows what restoring and upscaling use")


def _speech() -> Check:
    from raydub.tts.engines.find import check_engine, engine_names, release

    here, absent = [], []
    for name in engine_names():
        try:
            check_engine(name)
            here.append(f"{name} ({release(name)})")
        except RaydubError as error:
            absent.append(f"{name}: {error.hint}")
    hint = "; ".join(absent)
    if not here:
        return Check("speech", "note", "no speech engine: scripts cannot be spoken, sound files can be used", hint)
    return Check("speech", "ok", ", ".join(here), hint)


def _ray() -> Check:
    from importlib.metadata import version

    found = f"{version('ray')} installed, not started"
    return Check("ray", "ok", found, "doctor --start-ray tries a local one; --address auto uses a running cluster")


def _ray_session() -> Check:
    from raydub.cluster.session.connect import ray_session

    with ray_session() as nodes:
        import ray

        cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
        return Check("ray", "ok", f"{ray.__version__}: {len(nodes)} nodes, {cpus:g} CPUs, {gpus:g} GPUs")
