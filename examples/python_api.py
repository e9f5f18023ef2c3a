"""raydub from Python: one video with raydub.dub(), several with raydub.run(). Uses the demo's sample; needs no network.

python examples/python_api.py OUTPUT_FOLDER
"""

import sys
from pathlib import Path

import raydub

SAMPLE = Path(__file__).resolve().parent / "demo"


def main(folder: str) -> None:
    root = Path(folder)

    one = raydub.dub(
        SAMPLE / "clip.mp4",
        audio=SAMPLE / "speech_en.flac",
        output=root / "one.mp4",
        length="shortest",
        progress=lambda told: print(f"{told.event}: {told.frames_done} of {told.frames} frames"),
    )
    one.raise_for_status()
    print(f"{one.output}: {one.frames} frames, {one.synthesised} with a new mouth, {one.seconds:.1f} s")

    rows = [
        {
            "id": language,
            "video": SAMPLE / "clip.mp4",
            "audio": SAMPLE / f"speech_{language}.flac",
            "output": f"{language}.mp4",
        }
        for language in ("en", "es")
    ]
    rows.append({"id": "nobody", "video": "no-such-film.mp4", "audio": SAMPLE / "speech_en.flac", "output": "no.mp4"})
    found = raydub.run(rows, output_root=root, use_ray=False, length="shortest")
    print(found.counts())
    for result in found.failed:
        assert result.error is not None
        print(f"{result.id}: {result.error.code} {result.error.message} ({result.error.hint})")


if __name__ == "__main__":
    main(sys.argv[1])
