"""`raydub report`: the results of a run as pages for a browser."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json, warn
from raydub.errors import EXIT_OK, Code, UsageError

if TYPE_CHECKING:
    from raydub.cluster.report.gather import Video
    from raydub.cluster.report.orders import Order
    from raydub.cluster.report.write import Contents
    from raydub.pipeline.capacity import Group, Prices

_FEW = 20
"""Videos up to which a report is one file by default."""
_TELL_EVERY = 10.0


@command
def report(
    results: Annotated[
        PurePath,
        typer.Argument(
            metavar="RESULTS",
            parser=options.place,
            help="Results manifest of a run (.results.jsonl or .results.parquet), or its output root.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=options.local,
            help="A file that ends in .html, or a folder; default: NAME.report.html beside the results for at most "
            f"{_FEW} videos, else the folder NAME.report.",
        ),
    ] = None,
    no_media: Annotated[
        bool, typer.Option("--no-media", help="No films and no pictures; large outputs are not read.")
    ] = False,
    link_media: Annotated[
        bool,
        typer.Option(
            "--link-media", help="Play the originals by relative path where a browser can; no copies of them."
        ),
    ] = False,
    price: Annotated[
        str | None,
        typer.Option(
            "--price", metavar="NAME=NUMBER,..", help="Per hour, as in `raydub plan`; gpu and node need --cluster."
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="COUNTxNODE,..", help="Nodes that the run had, as in `raydub plan`."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes that make previews; default: one per core, at most 8."),
    ] = None,
    as_json: options.AsJson = False,
) -> int:
    """Write a report of a run: totals, failures, a table of all videos, and for each one a player of source and output,
    plots, figures, components. It opens in any browser and needs no network. Previews are kept for the next report."""
    from raydub.cluster.report.gather import gather, read_rows, work_folder
    from raydub.cluster.report.pages import assets, templates
    from raydub.cluster.report.totals import totals_of, wall_seconds
    from raydub.cluster.report.write import Contents, write_file, write_folder
    from raydub.places import absolute

    if no_media and link_media:
        message = "--no-media and --link-media contradict each other"
        raise UsageError(Code.FIELD_CONFLICT, message, hint="use one of them", field="no-media")
    started = time.monotonic()
    prices, nodes = _prices(price, cluster)
    results = _results(results)
    rows = read_rows(results)
    templates(), assets()  # a missing package is told before any work
    single = _is_file(output, sum(row.status == "ok" for row in rows))
    goal = output if output is not None else _default(results, single)
    _check(goal, results, single)
    store = work_folder(rows, results)
    videos = gather(rows, results, store, read=not no_media)
    totals = totals_of(videos, wall_seconds(store, absolute(results)), prices, nodes)
    with tempfile.TemporaryDirectory(prefix="raydub-report-") as folder:
        orders, links = ([], {}) if no_media else _wanted(videos, link_media)
        media = _media(orders, store, Path(folder), workers, as_json)
        keys = {(order.video, order.name): order.key for order in orders}
        contents = Contents(_stem(results), str(results), videos, totals, media, keys, links, not no_media)
        if output is None and single and _is_too_large(contents):
            single, goal = False, _default(results, False)
            _check(goal, results, single)
        written = write_file(contents, goal) if single else write_folder(contents, goal)
    problems = sum(bool(made.problem) for one in media.values() for made in one.values())
    said = {"rows": len(rows), "previews": len(orders), "problems": problems}
    if as_json:
        say_json({"file": str(written[0]), **said, "seconds": round(time.monotonic() - started, 2)})
    else:
        many = f", {problems} previews could not be made" if problems else ""
        say(f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}{many}")
        say(str(written[0]))
    return EXIT_OK


def _prices(price: str | None, cluster: str | None) -> tuple[Prices | None, tuple[Group, ...] | None]:
    from raydub.pipeline.capacity import parse_cluster, parse_prices

    nodes = parse_cluster(cluster) if cluster is not None else None
    if price is None:
        if nodes is not None:
            hint = "give --price, or leave out --cluster"
            raise UsageError(Code.FIELD_MISSING, "--cluster needs prices", hint=hint, field="price")
        return None, None
    found = parse_prices(price, nodes or ())
    if nodes is None and (found.gpu or found.node or not found.cpu):
        message = "without --cluster only the work can be priced, by a core: cpu=0.04"
        raise UsageError(
            Code.FIELD_MISSING, message, hint="say which nodes the run had: --cluster 2xH100:16cpu", field="cluster"
        )
    return found, nodes


def _results(path: PurePath) -> PurePath:
    """The results manifest itself, or the newest one in a folder. Raises UsageError MANIFEST_UNREADABLE."""
    if not (isinstance(path, Path) and path.is_dir()):
        return path
    found = [one for one in path.glob("*.results*.jsonl") if not one.name.endswith(".failed.jsonl")]
    if not found:
        hint = "give the file that ends in .results.jsonl"
        raise UsageError(Code.MANIFEST_UNREADABLE, f"{path} has no results of a run", hint=hint, field="results")
    return max(found, key=lambda one: one.stat().st_mtime_ns)


def _is_file(output: Path | None, videos: int) -> bool:
    return videos <= _FEW if output is None else output.suffix.lower() in (".html", ".htm")


def _default(results: PurePath, single: bool) -> Path:
    folder = results.parent if isinstance(results, Path) else Path()
    return folder / f"{_stem(results)}.report{'.html' if single else ''}"


def _stem(results: PurePath) -> str:
    return results.name.removesuffix(results.suffix).removesuffix(".results")


def _check(goal: Path, results: PurePath, single: bool) -> None:
    """Raises UsageError: FIELD_CONFLICT, OUTPUT_EXISTS, STORAGE or DISK_FULL."""
    from raydub.cluster.report.write import is_ours
    from raydub.cluster.written import check_own, check_written, source

    inputs = source("the report's source", results)
    check_written({"output": goal if single else goal / "index.html"}, inputs)
    check_own("output", goal, is_ours)


def _wanted(videos: list[Video], link: bool) -> tuple[list[Order], dict[tuple[int, str], str]]:
    from raydub.cluster.report.orders import links_of, orders_of

    orders: list[Order] = []
    links: dict[tuple[int, str], str] = {}
    for video in videos:
        more = orders_of(video, link)
        orders += more
        if link and more:
            links |= {(video.number, name): path for name, path in links_of(video).items()}
    return orders, links


def _media(orders: list[Order], store: Any, folder: Path, workers: int | None, quiet: bool) -> dict[int, Any]:
    from raydub.cluster.report.media import Shelf, by_video, make_all

    last = time.monotonic()

    def told(done: int, total: int) -> None:
        nonlocal last
        if not quiet and time.monotonic() - last > _TELL_EVERY:
            last = time.monotonic()
            warn(f"{done} of {total} previews")

    return by_video(make_all(orders, Shelf(store, folder), workers or min(8, os.cpu_count() or 1), told))


def _is_too_large(contents: Contents) -> bool:
    from raydub.cluster.report.write import MOST_INLINE

    return contents.inline_bytes() > MOST_INLINE
