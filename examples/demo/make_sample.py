"""Make the demo's sample again, from nothing but Python packages: a portrait, a clip of it, speech in two languages.

    pip install 'raydub[espeak,sample]'
    python examples/demo/make_sample.py [FOLDER]

Writes portrait.png, clip.mp4, speech_en.flac and speech_es.flac. Nothing is random and nothing is downloaded: the
portrait lies in scikit-image's own package, the voice is espeak-ng's. Rights: see README.md in this folder.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from raydub.arrays import F64, U8
from raydub.tts.engines.host import HostedEngine
from raydub.tts.engines.voices import find_voice

HERE = Path(__file__).resolve().parent
RATE = 25
SECONDS = 8
SIDE = 640
PACE = 150 / 175  # words a minute, against the engine's usual ones
# Head and shoulders in the 512 x 512 photograph: left, top, side.
CROP = (64, 0, 320)
SENTENCES = {
    "en": (
        "en-us",
        "From up here, there are no borders. Just one small blue world, and many voices to tell its story.",
    ),
    "es": (
        "es",
        "Desde aquí arriba no hay fronteras. Solo un pequeño mundo azul, y muchas voces que cuentan su historia.",
    ),
}


def portrait() -> U8:
    """(320, 320, 3) RGB: a crop of NASA's portrait of Eileen Collins, as scikit-image ships it."""
    from skimage import data

    left, top, side = CROP
    return np.ascontiguousarray(data.astronaut()[top : top + side, left : left + side])


def camera(moment: float) -> F64:
    """The (2, 3) affine map from the portrait to the frame at `moment` in 0..1: a slow push in with a little drift.

    Only sines and a smooth ramp, so the movement has no kink; the portrait always covers the whole frame."""
    ramp = moment * moment * (3 - 2 * moment)
    zoom = (1.10 + 0.14 * ramp) * SIDE / CROP[2]
    angle = np.deg2rad(1.2 * np.sin(2 * np.pi * moment))
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    looked_at = np.array([160 + 5 * np.sin(2 * np.pi * moment), 150 + 4 * np.sin(np.pi * moment)])
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.array([SIDE / 2, SIDE / 2]) - turn @ looked_at
    return np.hstack([turn, shift[:, None]])


def write_clip(path: Path, still: U8) -> None:
    """SECONDS of SIDE x SIDE H.264 at RATE, BT.601 limited range, no sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, RATE)
        # One thread: the bytes are then the same whatever the machine.
        stream.options = {"crf": "19", "preset": "slow", "threads": "1"}
        count = SECONDS * RATE
        for index in range(count):
            picture = cv2.warpAffine(
                still, camera(index / (count - 1)), (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_speech(path: Path, samples: npt.NDArray[np.int16], rate: int) -> None:
    """Mono FLAC with a quarter of a second of silence before the words, and up to the next half second after them."""
    lead = rate // 4
    total = -(-(lead + len(samples)) // (rate // 2)) * (rate // 2)
    track = np.zeros(total, np.int16)
    track[lead : lead + len(samples)] = samples
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono")
        for start in range(0, total, 4096):
            frame = av.AudioFrame.from_ndarray(track[None, start : start + 4096], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=HERE)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    still = portrait()
    cv2.imwrite(str(folder / "portrait.png"), still[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    write_clip(folder / "clip.mp4", still)
    engine = HostedEngine("espeak")
    for language, (tag, text) in SENTENCES.items():
        voice, spoken = find_voice(engine, "", tag)
        said = engine.synthesise(text, voice, spoken, PACE)
        write_speech(folder / f"speech_{language}.flac", (said.samples * 32768).astype(np.int16), said.rate)
    engine.close()
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:8d}  {path.name}")


if __name__ == "__main__":
    main()
