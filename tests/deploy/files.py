"""The manifests of deploy/, read, for tests."""

from __future__ import annotations

import copy
import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.deploy.schema import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
KUBECTL = shutil.which("kubectl")
UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}

Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return [one for one in yaml.load_all(path.read_text(), yaml.CSafeLoader) if one]


def raycluster() -> Document:
    [found] = documents(KUBERNETES / "cluster/raycluster.yaml")
    return found


def rayjob() -> Document:
    """With the cluster, as job/kustomization.yaml puts it in."""
    [found] = documents(KUBERNETES / "job/rayjob.yaml")
    found["spec"]["rayClusterSpec"] = copy.deepcopy(raycluster()["spec"])
    return found


def base() -> list[Document]:
    return documents(KUBERNETES / "base/namespace.yaml") + documents(KUBERNETES / "base/network.yaml")


def built(variant: str) -> list[Document]:
    """What `kubectl apply -k` would send."""
    assert KUBECTL
    command = [KUBECTL, "kustomize", str(KUBERNETES / variant)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def problems(document: Document) -> list[str]:
    """What the schema of the document's kind says against it."""
    errors = checker(document["kind"]).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


@functools.cache
def checker(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(SCHEMAS[kind])


def ray_of(found: list[Document]) -> Document:
    """The RayCluster or RayJob among documents."""
    [one] = [one for one in found if one["apiVersion"] == "ray.io/v1"]
    return one


def pods(document: Document) -> Iterator[tuple[str, Document]]:
    """(name, pod spec) of each pod template."""
    spec = document["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    yield "head", cluster["headGroupSpec"]["template"]["spec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]["spec"]
    if "submitterPodTemplate" in spec:
        yield "submitter", spec["submitterPodTemplate"]["spec"]


def containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def amount(quantity: str) -> float:
    """Kubernetes' quantity as a number."""
    digits = quantity.rstrip("abcdefghijklmnopqrstuvwxyzKMGT")
    return float(digits) * UNITS[quantity[len(digits) :]]
