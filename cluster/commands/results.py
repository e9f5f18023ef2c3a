"""`raydub results`: the rows of a run's results, or those to run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from raydub.cluster.commands.options import AsJson
from raydub.cluster.commands.reach import Address, JobOrFolder, find
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, Code, UsageError


@command
def results(
    job: JobOrFolder,
    address: Address = None,
    failed_only: Annotated[
        bool, typer.Option("--failed-only", help="The rows that did not succeed, as a manifest that can be run.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the rows to this .jsonl file.")] = None,
    as_json: AsJson = False,
) -> int:
    """Fetch the results of the latest run of a job or folder, as JSON lines. Exit code 0 only if every row is ok."""
    import json

    from raydub.files import write_atomic
    from raydub.pipeline import run_lookup
    from raydub.texts import strict_json

    found = find(job, address)
    if found.run is None:
        hint = "run this on a node that can, or see the end of `raydub logs`"
        raise UsageError(Code.NO_RESULTS, f"{job}: {found.problem or 'no run yet'}", field="job", hint=hint)
    rows_file, failed_file = run_lookup.results(found.run)
    wanted = failed_file if failed_only else rows_file
    text = Path(wanted).read_text(encoding="utf-8") if wanted is not None else ""
    rows = [json.loads(line) for line in text.splitlines()]
    if failed_only and found.job is not None and found.job.facts.get("sent"):
        # What was sent lies in Ray's temporary folder; beside the manifest it has the same relative path.
        folder = f"{found.run.state['folder']}/"
        rows = [{name: _without(folder, value) for name, value in row.items()} for row in rows]
        text = "".join(f"{strict_json(row)}\n" for row in rows)
    if output is not None:
        from raydub.cluster.written import check_written
        from raydub.places import Inputs

        check_written({"output": output}, Inputs())
        write_atomic(output, text.encode())
    counts = found.run.state["counts"]
    if as_json:
        said = {"run": found.run.number, "work_dir": found.run.work_dir, "status": found.run.state["status"]}
        files = {"files": found.run.state.get("files", []), "output": str(output or "")}
        say_json({**said, "counts": counts, **files, "rows": rows})
    elif output is not None:
        say(f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}: {output}")
    else:
        for line in text.splitlines():
            say(line)
    return EXIT_OK if counts["ok"] == found.run.state["rows"] else EXIT_SOME_FAILED


def _without(folder: str, value: Any) -> Any:
    return value.removeprefix(folder) if isinstance(value, str) else value
