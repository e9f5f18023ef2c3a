"""The way to a cluster's Ray Jobs: its address, what answers there, and what to do if it is not the dashboard or does
not let us in."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raydub.cluster.session.address import reachable
from raydub.errors import Code, DependencyError, RaydubError, UsageError
from raydub.process import kept_environment

DEFAULT = "http://127.0.0.1:8265"
RAYDUB_ADDRESS = "RAYDUB_ADDRESS"
_RAY_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
_CONNECT_SECONDS, _ANSWER_SECONDS = 4.0, 10.0
_WORK_SECONDS = 120.0
"""For an answer of Ray Jobs. A busy head takes seconds; Ray's client would wait for ever."""
WAY = (
    "give the address of the head's dashboard with --address; from outside of the cluster's network open a way first: "
    "`kubectl port-forward svc/NAME-head-svc 8265:8265` or `ssh -L 8265:127.0.0.1:8265 HEAD`, then --address " + DEFAULT
)
LARGE = "name what is not needed in a .gitignore or .rayignore file, or put media into a bucket"
TOKEN = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token "
    "(`ray get-auth-token` on the head prints it)"
)


def asked_dashboard(given: str | None) -> str:
    """The given address, else RAYDUB_ADDRESS, else those of Ray's commands, else the default."""
    names = (RAYDUB_ADDRESS, *_RAY_ADDRESSES)
    return given or next((os.environ[name] for name in names if os.environ.get(name)), DEFAULT)


def connect(given: str | None) -> tuple[Any, str]:
    """A Ray Jobs client (JobSubmissionClient), and the address that it uses. Raises DependencyError:
    DEPENDENCY_MISSING, CLUSTER_UNREACHABLE, CLUSTER_DENIED; UsageError FIELD_VALUE for an address of another kind."""
    try:
        import requests  # noqa: F401 (one of the packages that Ray's client needs)
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise _missing(error) from error
    said = asked_dashboard(given)
    url = _url(said)
    _look(url)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    with asking(url), _without_addresses():
        return _bounded(JobSubmissionClient)(url), url


def _bounded(client: Any) -> Any:
    """Ray's client, which also gives up waiting, and follows no redirect: the token is for the dashboard alone."""

    class Bounded(client):  # type: ignore[misc]
        def _do_request(self, method: str, endpoint: str, **told: Any) -> Any:
            bounds = {"timeout": (_CONNECT_SECONDS, _WORK_SECONDS), "allow_redirects": False}
            return super()._do_request(method, endpoint, **{**bounds, **told})

    return Bounded


@contextmanager
def asking(address: str) -> Iterator[None]:
    """Translate the errors of a Ray Jobs client. Raises DependencyError CLUSTER_UNREACHABLE, CLUSTER_DENIED; UsageError
    JOB_UNKNOWN; DependencyError JOB_REFUSED for other answers of the server."""
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except RaydubError:
        raise
    except AuthenticationError as error:
        raise denied(address, str(error)) from error
    except (requests.exceptions.RequestException, ConnectionError) as error:
        raise unreachable(address, _words(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise unreachable(address, f"its answer is not that of Ray Jobs ({said})") from error
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "ray[default]" in text:
            raise _missing(error) from error
        if "exceeds the maximum size" in text:
            size = re.search(r"Package size \([^)]*\)", text)
            message = f"the folder is larger than Ray sends ({size[0] if size else 'package'}; 512 MiB at most)"
            raise UsageError(Code.FIELD_VALUE, message, field="working-dir", hint=LARGE) from error
        if "status code 404" in text and "does not exist" in text:
            message = f"the cluster at {address} has no such job: {text.partition(': ')[2][:200]}"
            raise UsageError(Code.JOB_UNKNOWN, message, hint="`raydub jobs` lists them", field="job") from error
        raise DependencyError(
            Code.JOB_REFUSED,
            f"the cluster at {address} does not do it: {text[:1000]}",
            hint="check the cluster's Ray version and its dashboard's log",
        ) from error
    except Exception as error:
        # Logs are followed with aiohttp, which only raydub[cluster] has.
        if not type(error).__module__.startswith("aiohttp"):
            raise
        status = getattr(error, "status", 0)
        if status in (401, 403):
            raise denied(address, "failed" if status == 403 else "") from error
        found = f"it answers with status {status} where a log is expected" if status else _words(error)
        raise unreachable(address, found) from error


def unreachable(address: str, found: str, hint: str = WAY) -> DependencyError:
    """CLUSTER_UNREACHABLE for an address of a dashboard."""
    return DependencyError(Code.CLUSTER_UNREACHABLE, f"no Ray dashboard at {address!r}: {found}", hint=hint)


def denied(address: str, said: str) -> DependencyError:
    """CLUSTER_DENIED: a token is missing or wrong."""
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    own = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if "failed" in said.lower() or "forbidden" in said.lower() or "invalid" in said.lower():
        found = "it refuses our token"
    elif mode != "token":
        found = f"it requires a token, and RAY_AUTH_MODE is not token{' (a token is set)' if own else ''}"
    else:
        found = "it requires a token, and none is found"
    return DependencyError(Code.CLUSTER_DENIED, f"the Ray dashboard at {address!r} lets nobody in: {found}", hint=TOKEN)


def _url(said: str) -> str:
    scheme, slashes, rest = said.partition("://")
    if slashes and scheme.lower() in ("http", "https") and rest.strip("/"):
        return said.rstrip("/")
    if slashes:
        message = f"{said!r} is not an address of a dashboard"
        raise UsageError(Code.FIELD_VALUE, message, field="address", hint=f"such as {DEFAULT}; {WAY}")
    if said != "auto" and _status(f"http://{said}")[0]:
        return f"http://{said}"
    # The address of a head's GCS, as `ray start` prints it: only a node of the cluster can ask it.
    place = reachable(said)
    from ray.dashboard.utils import get_address_for_submission_client

    try:
        with _without_addresses():
            return str(get_address_for_submission_client(place))
    except Exception as error:
        raise unreachable(said, f"its head names no dashboard ({_words(error)})") from error


@contextmanager
def _without_addresses() -> Iterator[None]:
    """Ray lets its variables overrule an argument."""
    with kept_environment(_RAY_ADDRESSES):
        for name in _RAY_ADDRESSES:
            os.environ.pop(name, None)
        yield


def _look(url: str) -> None:
    """Raises DependencyError CLUSTER_UNREACHABLE unless a dashboard, or something that wants a token, answers within
    seconds."""
    status, found = _status(url)
    if not status:
        raise unreachable(url, found)
    if status not in (200, 401, 403) or (status == 200 and "ray_version" not in found):
        begins = " ".join(found[:60].split())
        raise unreachable(url, f"a server answers, but it is not a Ray dashboard (status {status}: {begins!r})")


def _status(url: str) -> tuple[int, str]:
    """Status and text of the dashboard's version page; 0 and the reason if there is none."""
    import requests

    try:
        answer = requests.get(
            f"{url}/api/version", timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS), allow_redirects=False, stream=True
        )
        with answer:
            return answer.status_code, answer.raw.read(4096, decode_content=True).decode("utf-8", "replace")
    except (requests.exceptions.RequestException, OSError, ValueError) as error:
        return 0, _words(error)


def _words(error: BaseException) -> str:
    """The cause of a failed request, in a few words."""
    text = f"{type(error).__name__}: {error}"
    waited = re.search(r"read timeout=([0-9.]+)", text)
    known = {
        "certificate verify failed": "its certificate is not trusted (REQUESTS_CA_BUNDLE names the file of your CA)",
        "WRONG_VERSION_NUMBER": "it does not speak TLS (try http://)",
        "Connection refused": "nothing listens there",
        "Name or service not known": "the host cannot be resolved",
        "NameResolutionError": "the host cannot be resolved",
        "ConnectTimeout": f"no answer within {_CONNECT_SECONDS:.0f} s (a firewall?)",
        "Read timed out": f"it accepts connections, but does not answer within {waited[1] if waited else '?'} s",
        "Connection aborted": "it closes the connection (a TLS server? try https://)",
        "Connection reset": "it closes the connection (a TLS server? try https://)",
        "No route to host": "no route to the host",
        "Network is unreachable": "the network is unreachable",
    }
    return next((words for sign, words in known.items() if sign in text), text[:200])


def _missing(error: Exception) -> DependencyError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DependencyError(Code.DEPENDENCY_MISSING, said, hint="pip install 'raydub[cluster]', here and on the cluster")
