"""Exports the metrics of a run through Ray: each node serves those of its processes to Prometheus (docs/metrics.md).
Without `ray[default]` on the node nobody serves them."""

from __future__ import annotations

from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from raydub.pipeline.metrics import METRICS, Add, Labels, Metric


def exporter(run: str) -> Add:
    """A function that adds to the metrics with the label run=`run`. Call it in a process that lives as long as the run:
    metrics end with their process."""
    made: dict[str, Any] = {}

    def add(name: str, value: float, labels: Labels) -> None:
        if name not in made:
            made[name] = _made(name, METRICS[name])
        tags = {"run": run, **labels}
        kind = METRICS[name].kind
        if kind == "gauge":
            made[name].set(value, tags)
        elif kind == "histogram":
            made[name].observe(value, tags)
        else:
            made[name].inc(value, tags)

    return add


def _made(name: str, about: Metric) -> Any:
    keys = ("run", *about.labels)
    if about.kind == "histogram":
        return Histogram(name, about.says, boundaries=list(about.bounds), tag_keys=keys)
    return (Gauge if about.kind == "gauge" else Counter)(name, about.says, tag_keys=keys)
