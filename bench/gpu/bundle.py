"""Everything that a bare GPU machine without a network needs for bench/gpu/run.sh, as pieces of at most 45 MB.

    python bench/gpu/bundle.py [--out gpu-bundle] [--python 3.12] [--megabytes 45]

The pieces are one tar file, cut: first this tree (of the last commit), then what run.sh needs, in its order. dlib's
landmark file and Ray's wheel, the largest, come last, so that the first pieces are of use alone. The machine is
expected to have torch, numpy, opencv-python-headless, pyarrow, scipy, safetensors, typer, rich, requests, filelock,
pytest and hypothesis; what else raydub needs is in the pieces.
"""

from __future__ import annotations

import argparse
import bz2
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from raydub.models.face_detectors import PREDICTOR_FILE, dlib_file  # noqa: E402

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
WHEELS = (
    *("annotated-types", "typing-inspection", "pydantic", "pydantic-core", "typing-extensions", "threadpoolctl"),
    *("certifi", "urllib3", "dlib-bin", "av"),
)
"""Without their dependencies, which are listed too, or are on the machine."""
FOR_RAY = (
    *("attrs", "click", "fsspec", "jsonschema", "jsonschema-specifications", "msgpack", "packaging", "protobuf"),
    *("python-dateutil", "pyyaml", "referencing", "rpds-py", "six", "pandas", "ray"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "gpu-bundle")
    parser.add_argument("--python", default="3.12", help="version of the machine's Python")
    parser.add_argument("--megabytes", type=int, default=45, help="largest size of a piece")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for old in options.out.glob("piece*"):
        old.unlink()
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "bundle.tar"
        with tarfile.open(whole, "w") as bundle:
            tree = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(tree)) as committed:
                for member in committed:
                    content = committed.extractfile(member) if member.isfile() else None
                    member.name = f"tree/{member.name}"
                    bundle.addfile(member, content)
            for name in WHEELS:
                add_wheel(bundle, name, options.python, Path(temporary))
            packed = Path(temporary) / "landmarks.bz2"
            packed.write_bytes(bz2.compress(dlib_file(PREDICTOR_FILE).read_bytes()))
            bundle.add(packed, f"{PREDICTOR_FILE}.bz2")
            for name in FOR_RAY:
                add_wheel(bundle, name, options.python, Path(temporary))
        with whole.open("rb") as stream:
            for number in range(1, 100):
                piece = stream.read(options.megabytes * 1_000_000)
                if not piece:
                    break
                path = options.out / f"piece{number:02d}"
                path.write_bytes(piece)
                sys.stdout.write(f"{path} {len(piece) / 1e6:.1f} MB\n")


def add_wheel(bundle: tarfile.TarFile, name: str, python: str, folder: Path) -> None:
    """The wheel of a package, of the version in constraints.txt if it is there, for the machine's Python."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", name]
    command += ["--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt"), "--dest", str(folder)]
    command += ["--python-version", python, "--implementation", "cp"]
    command += [part for platform in PLATFORMS for part in ("--platform", platform)]
    subprocess.run(command, check=True)
    wanted = name.replace("-", "_").lower()
    [found] = [path for path in folder.glob("*.whl") if path.name.split("-")[0].lower() == wanted]
    bundle.add(found, f"wheels/{found.name}")


if __name__ == "__main__":
    main()
