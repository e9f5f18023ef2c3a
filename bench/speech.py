"""A dubbed script measured from the outside: where each cue is heard, how loud the film is, what became of the bed.

    python bench/speech.py --clip CLIP --script CUES.srt --language es [--bed duck]

Runs `raydub run` in a folder of its own, then looks at the finished film only: each cue's speech is spoken again,
found in the film's sound by cross-correlation and compared with the script's time; loudness and true peak are those of
ffmpeg's ebur128; the bed's level is the projection of the film's sound on the original's. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from scipy import signal

from raydub.media.probe import probe_video
from raydub.media.sound import resample, sound_blocks
from raydub.tts.engines.host import HostedEngine
from raydub.tts.engines.voices import find_voice
from raydub.tts.mix.level import levelled, trimmed
from raydub.tts.timing.stretch import stretch

RATE = 48000
SEARCH = 0.5
"""Seconds around a cue's time in which its speech is looked for."""


def dub(folder: Path, clip: str, script: str, language: str, bed: str) -> dict[str, Any]:
    """Run the job; its row of the results manifest."""
    row = {"id": "speech", "video": clip, "script": script, "language": language, "bed": bed, "output": "out.mp4"}
    manifest = folder / "jobs.jsonl"
    manifest.write_text(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(manifest), "--no-ray", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    result: dict[str, Any] = json.loads(done.stdout)["results"][0]
    if result["status"] != "ok":
        raise SystemExit(f"{result['error_code']}: {result['error_message']}")
    return result


def heard(path: str, origin: Fraction | None, rate: int = RATE) -> np.ndarray:
    """(n,) float32 mono."""
    return np.concatenate([block[:, 0] for block in sound_blocks(path, rate, 1, origin)])


def offsets(film: np.ndarray, rate: int, rows: list[dict[str, Any]], language: str) -> list[float]:
    """Milliseconds by which each cue is heard later than the script says."""
    engine = HostedEngine("espeak")
    found = []
    try:
        for row in rows:
            voice, tag = find_voice(engine, row["voice"], language)
            speed = -(-round(row["speed"] * 100, 4) // 1) / 100
            said = engine.synthesise(row["text"], voice, tag, speed)
            start, stop = trimmed(said.samples, said.rate)
            speech = levelled(resample(said.samples[start:stop], said.rate, rate), rate)
            exact = row["samples"]
            speech = stretch(speech, rate, exact["length"] + exact["cut"])[: exact["length"]]
            first = round((row["cue_start"] - SEARCH) * rate)
            window = film[max(0, first) : round((row["cue_start"] + SEARCH) * rate) + len(speech)]
            match = signal.correlate(window, speech, "valid", "fft")
            power = np.convolve(window.astype(np.float64) ** 2, np.ones(len(speech)), "valid")
            at = int(np.argmax(match / np.sqrt(np.maximum(power, 1e-9))))
            found.append(((max(0, first) + at) / rate - row["cue_start"]) * 1000)
    finally:
        engine.close()
    return found


def loudness(path: str) -> dict[str, float]:
    """LUFS and dBTP by ffmpeg's ebur128."""
    command = [get_ffmpeg_exe(), "-hide_banner", "-nostats", "-i", path, "-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr.rsplit("Summary:", 1)[1]
    values = re.findall(r"(I|Peak):\s+(-?[\d.]+)", said)
    return {"integrated_lufs": float(dict(values)["I"]), "true_peak_dbtp": float(dict(values)["Peak"])}


def bed_levels(film: np.ndarray, original: np.ndarray, rows: list[dict[str, Any]], gain_db: float) -> dict[str, Any]:
    """The bed's gain in dB, less the programme's: under each run of cues, and in windows of 0.2 s after it."""

    def level(start: float, stop: float) -> float:
        part, bed = (one[round(start * RATE) : round(stop * RATE)].astype(np.float64) for one in (film, original))
        size = min(len(part), len(bed))
        share = float(part[:size] @ bed[:size]) / max(float(bed[:size] @ bed[:size]), 1e-12)
        return 20 * np.log10(max(abs(share), 1e-6)) - gain_db

    runs: list[list[float]] = []
    for row in rows:
        if runs and row["start"] - runs[-1][1] < 0.5:
            runs[-1][1] = row["end"]
        else:
            runs.append([row["start"], row["end"]])
    after = []
    for (_, stop), following in zip(runs, [*runs[1:], None], strict=True):
        if following is not None and following[0] - stop > 1.0:
            after.append({"from": round(stop + 0.5, 3), "db": round(level(stop + 0.5, stop + 0.7), 2)})
    under = [{"from": run[0], "to": run[1], "db": round(level(*run), 2)} for run in runs]
    return {"under_speech": under, "half_a_second_after": after}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", required=True)
    parser.add_argument("--script", required=True)
    parser.add_argument("--language", default="es")
    parser.add_argument("--bed", default="duck", choices=["none", "duck", "mix"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raydub-speech-") as scratch:
        clip, script = (str(Path(path).resolve()) for path in (given.clip, given.script))
        result = dub(Path(scratch), clip, script, given.language, given.bed)
        plan = json.loads((Path(result["job_dir"]) / "plan.json").read_text())
        report = json.loads(Path(plan["job"]["speech"]["report"]).read_text())
        film = heard(result["output"], None)
        rate = report["rate"]
        late = offsets(heard(result["output"], None, rate), rate, report["segments"], given.language)
        found = {
            "segments": len(report["segments"]),
            "spoken": result["spoken"],
            "offset_ms": [round(one, 3) for one in late],
            "largest_offset_ms": round(max(map(abs, late)), 3),
            **loudness(result["output"]),
            "speak_seconds": result["seconds"]["speak"],
            "synthesised": result["synthesised"],
            "frames": result["frames"],
        }
        if given.bed != "none":
            origin = Fraction(probe_video(clip).start_time).limit_denominator(1_000_000)
            gain = report["mix"]["gain_db"] + report["mix"]["bed_gain_db"]
            found["bed_db"] = bed_levels(film, heard(clip, origin), report["segments"], gain)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
