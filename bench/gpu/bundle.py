"""Everything that a bare GPU machine without a network needs for bench/gpu/run.sh, as pieces of at most 45 MB.

    python bench/gpu/bundle.py [--out gpu-bundle] [--python 3.12] [--megabytes 45]

The pieces are one tar file, cut: first this tree (of the last commit), then the wheels in the order in which run.sh
needs them. Ray's, the largest, comes last, so that the first pieces are of use alone. The machine is expected to have
torch, numpy, opencv-python-headless, pyarrow, safetensors, typer, rich, requests, filelock, pytest and hypothesis; what
else raydub needs is in the pieces, except dlib's landmark file (100 MB): the bench gives the face's box instead.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
WHEELS = (
    *("annotated-types", "typing-inspection", "pydantic", "pydantic-core", "typing-extensions", "threadpoolctl"),
    *("certifi", "urllib3", "dlib-bin", "av"),
    *("attrs", "click", "fsspec", "jsonschema", "jsonschema-specifications", "msgpack", "packaging", "protobuf"),
    *("python-dateutil", "pyyaml", "referencing", "rpds-py", "six", "pandas", "ray"),
)
"""Without their dependencies, which are listed too, or are on the machine."""


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
                bundle.add(wheel(name, options.python, Path(temporary)), f"wheels/{wheel_name(name, Path(temporary))}")
        with whole.open("rb") as stream:
            for number in range(1, 100):
                piece = stream.read(options.megabytes * 1_000_000)
                if not piece:
                    break
                path = options.out / f"piece{number:02d}"
                path.write_bytes(piece)
                sys.stdout.write(f"{path} {len(piece) / 1e6:.1f} MB\n")


def wheel(name: str, python: str, folder: Path) -> Path:
    """The wheel of a package, of the version in constraints.txt if it is there, for the machine's Python."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", name]
    command += ["--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt"), "--dest", str(folder)]
    command += ["--python-version", python, "--implementation", "cp"]
    command += [part for platform in PLATFORMS for part in ("--platform", platform)]
    subprocess.run(command, check=True)
    return folder / wheel_name(name, folder)


def wheel_name(name: str, folder: Path) -> str:
    """The file name of a downloaded wheel."""
    wanted = name.replace("-", "_").lower()
    [found] = [path.name for path in folder.glob("*.whl") if path.name.split("-")[0].lower() == wanted]
    return found


if __name__ == "__main__":
    main()
