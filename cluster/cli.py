"""The `raydub` command. Importing this module, and `raydub --help`, load neither Ray nor torch nor OpenCV."""

from __future__ import annotations

from typing import Annotated

import typer

from raydub import __version__
from raydub.bound import adopt_orphans
from raydub.cluster.commands import (
    cancel,
    cast,
    clean,
    demo,
    describe,
    doctor,
    dub,
    evaluate,
    faces,
    frames,
    jobs,
    logs,
    models,
    plan,
    report,
    results,
    resume,
    run,
    status,
    submit,
    timeline,
    trace,
    train,
    tts,
    ui,
    validate,
    verify,
    voices,
)
from raydub.cluster.commands.flags import JsonErrors, PanelCommand
from raydub.cluster.output import StdoutLost, lost, say
from raydub.cluster.session.stopping import leave_in_order
from raydub.tree import kill_rest

app = typer.Typer(
    name="raydub",
    cls=JsonErrors,
    help="Batch dubbing with matching lips on a Ray cluster: manifest in, dubbed videos out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"raydub {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Batch dubbing with matching lips on a Ray cluster: manifest in, dubbed videos out."""


app.command("run", cls=PanelCommand)(run.run)
app.command("dub", cls=PanelCommand)(dub.dub)
app.command("submit")(submit.submit)
app.command("jobs")(jobs.jobs)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("cancel")(cancel.cancel)
app.command("resume")(resume.resume)
app.command("results")(results.results)
app.command("validate", cls=PanelCommand)(validate.validate)
app.command("plan", cls=PanelCommand)(plan.plan)
app.command("fields")(describe.fields)
app.command("faces")(faces.faces)
app.command("cast")(cast.cast)
app.command("tts", cls=PanelCommand)(tts.tts)
app.command("voices")(voices.voices)
app.command("evaluate")(evaluate.evaluate)
app.command("timeline")(timeline.timeline)
app.command("verify")(verify.verify)
app.command("trace")(trace.trace)
app.command("report")(report.report)
app.add_typer(frames.app, name="frames")
app.add_typer(models.app, name="models")
app.command("clean")(clean.clean)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("ui")(ui.ui)


def main() -> None:
    """Entry point of the `raydub` script. Ends all processes that it has started."""
    adopt_orphans()
    leave_in_order()
    try:
        app(prog_name="raydub")
    except (StdoutLost, OSError) as error:
        # --help and --version print outside of commands.
        raise SystemExit(lost(error)) from None
    finally:
        kill_rest()


if __name__ == "__main__":
    main()
