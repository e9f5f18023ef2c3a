"""The stages on arrays: dub the first two seconds of the demo's clip in memory and look at what came of it.

python examples/arrays.py OUTPUT.png
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from raydub.stages.arrays import read_clip, read_speech, render, synthesise, track

SAMPLE = Path(__file__).resolve().parent / "demo"


def main(output: str) -> None:
    clip = read_clip(str(SAMPLE / "clip.mp4"), 0, 50)
    speech = read_speech(str(SAMPLE / "speech_es.flac"))[16000:48000]

    tracks = track(clip)
    print(f"{len(clip)} frames, the face is in {int(tracks.faces[0].present.sum())} of them")

    mouths = synthesise(clip, tracks, speech, masking="always")
    print(
        f"{len(mouths.items)} new mouths: {', '.join(f'{name} {rows.shape}' for name, rows in mouths.arrays.items())}"
    )

    frames = render(clip, mouths)
    changed = (frames != clip.frames).any(axis=-1)
    print(f"{changed.mean():.1%} of all pixels changed")

    shown = [0, 12, 24, 36]
    sheet = np.vstack([np.hstack(clip.frames[shown]), np.hstack(frames[shown])])
    cv2.imwrite(output, sheet[::2, ::2, ::-1])
    print(output)


if __name__ == "__main__":
    main(sys.argv[1])
