"""Does the mouth network hear closures in real voices? Recordings with known words, no pictures, as JSON.

    python bench/heard.py --texts TEXTS.json SOUNDS [--model mouth.safetensors]

TEXTS.json: {"file name": "what is said"} of sound files in the folder SOUNDS, in English. espeak-ng says each text; its
phonemes, whose times are known, are moved onto the recording by dynamic time warping of mel bands. Alignment errs by
some hundredths of a second, so figures are lower bounds:
auc      how well the articulator's value tells its sounds from all others, by columns of 12.5 ms
hit      share of predicted events with such a sound within 85 ms; chance: the same with the sounds moved by 0.6 s
found    share of the sounds with a predicted event within 85 ms
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from raydub.arrays import F32
from raydub.cluster.speaking import speaker
from raydub.media.audio import decode_speech
from raydub.models.mel import mel_spectrogram
from raydub.models.mouth.infer import MouthShapes
from raydub.models.mouth.sounds import COLUMNS, Sound, curves_of, sounds_of
from raydub.models.mouth.spoken import ARTICULATORS, THRESHOLD
from raydub.models.mouth.train.closures import events, rank_auc

VOICES = ("en-us", "en-us+m3", "en-us+f2", "en-us+f3")
NEAR, SHIFT = 7, 48  # columns


def aligned(samples: F32, text: str) -> F32:
    """The curves of the articulators on the recording's columns, by the voice that fits best."""
    speak = speaker()
    if speak is None:
        raise SystemExit("espeak-ng is not installed: pip install 'raydub[espeak]'")
    real = mel_spectrogram(samples)
    best: tuple[float, F32] | None = None
    for voice in VOICES:
        said = speak(text, voice, 0.95)
        path, cost = warp(features(mel_spectrogram(said.samples)), features(real))
        if best is not None and cost >= best[0]:
            continue
        sounds = []
        for one in sounds_of(said.phonemes, len(said.samples) / 16000):
            start, stop = np.interp((one.start * COLUMNS, one.stop * COLUMNS), path[:, 0], path[:, 1]) / COLUMNS
            sounds.append(Sound(one.articulator, float(start), float(max(stop, start + 0.03))))
        best = cost, curves_of(sounds, real.shape[1])
    assert best is not None
    return best[1]


def features(mel: F32) -> np.ndarray:
    """(T, 40): 20 bands, each with the file's mean and spread taken out, and their slopes."""
    bands = mel.reshape(20, 4, -1).mean(axis=1)
    bands = (bands - bands.mean(axis=1, keepdims=True)) / (bands.std(axis=1, keepdims=True) + 0.3)
    return np.concatenate([bands, 2 * np.gradient(bands, axis=1)]).T


def warp(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """The cheapest path (n, 2) through pairs of rows, and its cost a step. A step in one of both alone costs 0.5."""
    gaps = np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0))
    n, m = gaps.shape
    cost, came = np.full((n + 1, m + 1), np.inf), np.zeros((n, m), np.int8)
    cost[0, 0] = 0
    for i in range(n):
        for j in range(m):
            ways = (cost[i, j], cost[i, j + 1] + 0.5, cost[i + 1, j] + 0.5)
            came[i, j] = best = min(range(3), key=ways.__getitem__)
            cost[i + 1, j + 1] = gaps[i, j] + ways[best]
    path, i, j = [], n - 1, m - 1
    while i >= 0 and j >= 0:
        path.append((i, j))
        i, j = i - (came[i, j] != 2), j - (came[i, j] != 1)
    return np.array(path[::-1]), float(cost[n, m] / (n + m))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    shapes = MouthShapes.load(options.model)
    pairs = []
    for name, text in json.loads(options.texts.read_text(encoding="utf-8")).items():
        samples = decode_speech(str(options.sounds / name))
        mel = mel_spectrogram(samples)
        pairs.append((aligned(samples, text), shapes.at(mel, np.arange(mel.shape[1]) / COLUMNS)))
    report = {}
    for row, name in enumerate(ARTICULATORS):
        values, at_work, judged, hit, chance, found = [], [], [], [], [], []
        for curves, spoken in pairs:
            value, real = getattr(spoken, name), curves[row]
            values.append(value)
            at_work.append(real > 0.5)
            judged.append((real > 0.5) | (real == 0))
            for centre in events(value >= THRESHOLD):
                part = slice(max(0, centre - NEAR), centre + NEAR + 1)
                hit.append(bool((real[part] > 0.5).any()))
                chance.append(bool((np.roll(real, SHIFT)[part] > 0.5).any()))
            for centre in events(real > 0.5):
                found.append(bool((value[max(0, centre - NEAR) : centre + NEAR + 1] >= THRESHOLD).any()))
        value, yes, seen = (np.concatenate(parts) for parts in (values, at_work, judged))
        report[name] = {
            "auc": rank_auc(value, yes & seen, ~yes & seen),
            "predicted": len(hit),
            "hit": float(np.mean(hit)) if hit else None,
            "chance": float(np.mean(chance)) if chance else None,
            "sounds": len(found),
            "found": float(np.mean(found)) if found else None,
        }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
