"""Writes raydub.json, the Grafana dashboard, beside this script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RUN = '{run=~"$run"}'
PANELS: list[tuple[str, str, str, list[tuple[str, str]]]] = [
    (
        "Progress of planned frames",
        "Rendered and reused frames of those planned so far. Jobs that are not prepared yet are not counted.",
        "percentunit",
        [
            (
                'sum by (run) (ray_raydub_frames_total{stage="render", run=~"$run"}'
                f" or ray_raydub_reused_frames_total{RUN})"
                f" / sum by (run) (ray_raydub_planned_frames_total{RUN})",
                "{{run}}",
            )
        ],
    ),
    (
        "Jobs",
        "Open jobs, and jobs by outcome.",
        "short",
        [
            (f"sum by (run) (ray_raydub_jobs_open{RUN})", "{{run}} open"),
            (f"sum by (run, status) (ray_raydub_jobs_total{RUN})", "{{run}} {{status}}"),
        ],
    ),
    (
        "Frames per second by stage",
        "",
        "short",
        [(f"sum by (stage) (rate(ray_raydub_frames_total{RUN}[$__rate_interval]))", "{{stage}}")],
    ),
    (
        "Faces per second by stage",
        "Mouths, one per face and frame.",
        "short",
        [(f"sum by (stage) (rate(ray_raydub_faces_total{RUN}[$__rate_interval]))", "{{stage}}")],
    ),
    (
        "Busy workers by stage",
        "Seconds of work per second.",
        "short",
        [(f"sum by (stage) (rate(ray_raydub_work_seconds_total{RUN}[$__rate_interval]))", "{{stage}}")],
    ),
    (
        "Queue by stage",
        "Chunks or jobs that wait for a worker. The stage with the longest queue bounds the run.",
        "short",
        [(f"sum by (stage) (ray_raydub_queue{RUN})", "{{stage}}")],
    ),
    (
        "Seconds of a step, 95th percentile",
        "",
        "s",
        [
            (
                "histogram_quantile(0.95, sum by (stage, le) "
                f"(rate(ray_raydub_step_seconds_bucket{RUN}[$__rate_interval])))",
                "{{stage}}",
            )
        ],
    ),
    (
        "Failed steps by code",
        "Since the start of the run.",
        "short",
        [('sum by (stage, code) (ray_raydub_steps_total{status!="ok", run=~"$run"})', "{{stage}} {{code}}")],
    ),
    (
        "Quarantined steps, and attempts that were repeated",
        "Since the start of the run.",
        "short",
        [
            (
                'sum by (stage) (ray_raydub_steps_total{status="quarantined", run=~"$run"})',
                "{{stage}} quarantined",
            ),
            (f"sum by (stage) (ray_raydub_retries_total{RUN})", "{{stage}} repeated"),
        ],
    ),
    (
        "Attempts per second by stage",
        "",
        "short",
        [(f"sum by (stage) (rate(ray_raydub_attempts_total{RUN}[$__rate_interval]))", "{{stage}}")],
    ),
    (
        "Cache hits",
        "Share of look-ups. part: parts that an earlier run made; object: files of a bucket on the node's disk.",
        "percentunit",
        [
            (
                'sum by (cache) (ray_raydub_cache_total{result="hit", run=~"$run"})'
                f" / sum by (cache) (ray_raydub_cache_total{RUN})",
                "{{cache}}",
            )
        ],
    ),
    (
        "Object store",
        "",
        "Bps",
        [(f"sum by (direction) (rate(ray_raydub_store_bytes_total{RUN}[$__rate_interval]))", "{{direction}}")],
    ),
    (
        "Requests to the object store per second",
        "",
        "reqps",
        [
            (f"sum(rate(ray_raydub_store_requests_total{RUN}[$__rate_interval]))", "requests"),
            (f"sum(rate(ray_raydub_store_retries_total{RUN}[$__rate_interval]))", "repeated"),
        ],
    ),
    ("CPU by node", "Ray's metric.", "percent", [("avg by (ip) (ray_node_cpu_utilization)", "{{ip}}")]),
    (
        "GPU by node",
        "Ray's metric; only on nodes with a GPU.",
        "percent",
        [("avg by (ip, GpuIndex) (ray_node_gpus_utilization)", "{{ip}} GPU {{GpuIndex}}")],
    ),
    (
        "Memory by node",
        "Ray's metric.",
        "percentunit",
        [("sum by (ip) (ray_node_mem_used) / sum by (ip) (ray_node_mem_total)", "{{ip}}")],
    ),
    (
        "Disk by node",
        "Ray's metric: reads and writes of all processes of the node.",
        "Bps",
        [
            ("sum by (ip) (ray_node_disk_io_read_speed)", "{{ip}} read"),
            ("sum by (ip) (ray_node_disk_io_write_speed)", "{{ip}} written"),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    """The dashboard's JSON document."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "title": "raydub",
        "uid": "raydub",
        "tags": ["raydub", "ray"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                {
                    "name": "run",
                    "type": "query",
                    "datasource": source,
                    "query": {"query": "label_values(ray_raydub_jobs_open, run)", "refId": "run"},
                    "refresh": 2,
                    "sort": 2,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": [
            {
                "id": number + 1,
                "type": "timeseries",
                "title": title,
                "description": says,
                "datasource": source,
                "gridPos": {"h": 8, "w": 8, "x": number % 3 * 8, "y": number // 3 * 8},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + place), "datasource": source, "expr": query, "legendFormat": legend}
                    for place, (query, legend) in enumerate(queries)
                ],
            }
            for number, (title, says, unit, queries) in enumerate(PANELS)
        ],
    }


if __name__ == "__main__":
    Path(__file__).with_name("raydub.json").write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="ascii")
