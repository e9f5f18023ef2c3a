"""The file for `ray up`, checked by Ray's own schema."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from raydub.pipeline.pools import Node, plan_pools
from tests.deploy.files import DEPLOY

TEXT = (DEPLOY / "ray-up-aws.yaml").read_text()
CONFIG: dict[str, Any] = yaml.safe_load(TEXT)
TYPES: dict[str, Any] = CONFIG["available_node_types"]


def test_ray_accepts_it() -> None:
    validate_config(prepare_config(copy.deepcopy(CONFIG)))


@pytest.mark.parametrize("place", [(), ("available_node_types", "cpu-spot"), ("auth",)])
def test_ray_notices_a_misspelt_field(place: tuple[str, ...]) -> None:
    wrong = copy.deepcopy(CONFIG)
    parent = wrong
    for step in place:
        parent = parent[step]
    parent["misspelt"] = 1
    with pytest.raises(Exception, match="misspelt"):
        validate_config(prepare_config(wrong))


def test_the_head_does_no_work_and_workers_are_full() -> None:
    assert TYPES["head"]["resources"] == {"CPU": 0}
    workers = [Node(float(kind["resources"]["CPU"]), float(kind["resources"].get("GPU", 0))) for kind in TYPES.values()]
    pools = plan_pools(workers, jobs=1000)
    assert all(node.cpus % 2 == 0 for node in workers)
    assert pools["track"].size == sum(node.cpus for node in workers) / 2
    assert pools["lipsync"].size * pools["lipsync"].gpus == sum(node.gpus for node in workers) == 1
    assert sum(kind.get("max_workers", 0) for kind in TYPES.values()) <= CONFIG["max_workers"]


def test_spot_machines_are_labelled_and_have_fewer_rights() -> None:
    for name, kind in TYPES.items():
        spot = kind["node_config"].get("InstanceMarketOptions") == {"MarketType": "spot"}
        assert spot == (name != "head")
        assert kind.get("labels", {}).get("ray.io/market-type") == ("spot" if spot else None)
        assert kind["node_config"]["IamInstanceProfile"]["Arn"].endswith("worker" if spot else "head")


def test_tokens_are_required_and_the_dashboard_is_not_open() -> None:
    assert "RAY_AUTH_MODE=token" in " ".join(CONFIG["setup_commands"])
    assert CONFIG["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "--dashboard-host=127.0.0.1" in " ".join(CONFIG["head_start_ray_commands"])
    assert not re.search(r"AKIA|SecretAccessKey|auth_token: [^~]", TEXT)
