"""`raydub resume`: run a job of a cluster again; finished parts are kept."""

from __future__ import annotations

from raydub.cluster.commands.options import AsJson
from raydub.cluster.commands.reach import Address, JobId, way
from raydub.cluster.commands.submit import Wait, start
from raydub.cluster.output import command
from raydub.errors import Code, UsageError


@command
def resume(job: JobId, address: Address = None, wait: Wait = False, as_json: AsJson = False) -> int:
    """Run a job that has ended once more, as a new try: only what is not done yet is done."""
    from raydub.cluster.ordering import again
    from raydub.cluster.session import jobs

    cluster = jobs.connect(address)
    found = cluster.find(jobs.split_id(job)[0])
    if not found.is_over:
        message = f"the job {found.id!r} has not ended: {found.status}"
        hint = f"follow it with `raydub logs {found.id} --follow{way(address)}`, or cancel it first"
        raise UsageError(Code.JOB_STATE, message, hint=hint, field="job")
    return start(cluster, again(found), address, again=True, wait=wait, as_json=as_json)
