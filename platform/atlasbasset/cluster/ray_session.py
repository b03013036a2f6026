"""One Ray for a run: the cluster that is there, or one of this machine for as long as it lasts.

A Ray started here is for this machine only: it listens on loopback and asks for a token, which is
made on the first use.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasstore.errors import AtlasError, UserInputError
from atlasstore.events import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atlasstore.events import Subscriber

__all__ = ["ray_session", "token_if_there"]

_LOOPBACK_ENV = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch for nodes that other machines reach; off, everything listens on loopback. macOS and
Windows, where it is off by default, gave it its name; it works on Linux as well."""
_SEVERE = re.compile(
    r"^(?:\[\S+ \S+ [CEF] .*?\]|[CEF]\d{4} [^\]]*\]) +"
    r"(?P<said>(?!.*(?:Stack ?trace|SIGABRT|PC: @|: +@ )).*?)(?: \S+\(\+0x.*)?$",
    re.MULTILINE | re.IGNORECASE,
)
"""A line of a Ray process's log (Ray's own or gRPC's) that tells of an error, no stack trace's."""
_LAST_LINES = 5


@contextmanager
def ray_session(needed: Mapping[str, float], on_event: Subscriber) -> Iterator[None]:
    """Join the cluster that is there or start one here, which ends with the block.

    A Ray that runs in this process already, or that RAY_ADDRESS names, is joined and left running.
    Sessions may be nested: the inner one joins.

    Parameters
    ----------
    needed
        What all workers together reserve: "CPU", "GPU" -> amount.
    on_event
        Called with a `Notice` when a joined cluster has too little and may still grow.

    Raises
    ------
    UserInputError
        When a Ray started here has too little.
    AtlasError
        When Ray does not start or the cluster cannot be joined; what Ray's own logs say of it is
        in the error's notes.
    """
    import ray

    joined = ray.is_initialized() or _join()
    if not joined:
        _start()
    _tell_briefly(on_event)
    try:
        _check_resources(needed, ray.cluster_resources(), on_event, joined=joined)
        yield
    finally:
        if not joined:
            ray.shutdown()


def _tell_briefly(on_event: Subscriber) -> None:
    """Let what Ray tells the driver of its nodes come as one sentence each, once of each kind.

    Ray itself would print all it knows, dozens of lines for a lost node.
    """
    from ray._private import worker

    told = set[str]()

    def tell(data: Mapping[str, Any], **_: object) -> None:
        for text in data["lines"]:
            sentence = _first_sentence(str(text))
            kind = re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "", sentence)
            if kind not in told:
                told.add(kind)
                on_event(Notice(f"Ray: {sentence}"))

    worker.print_to_stdstream = tell  # type: ignore[assignment]


def _first_sentence(text: str) -> str:
    """Return the first sentence, without colours and line breaks, 300 letters at most."""
    plain = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return re.split(r"(?<=[.!?]) ", plain, maxsplit=1)[0][:300]


def _join() -> bool:
    """Join the cluster that RAY_ADDRESS or ``ray start`` names, if there is one."""
    import ray
    from ray._private.services import get_ray_address_from_environment

    try:
        address = get_ray_address_from_environment(None, None)  # type: ignore[arg-type]
        if address in (None, "local"):
            return False
        with _signals_kept():
            ray.init(log_to_driver=False, configure_logging=False)
    except Exception as error:
        named = os.environ.get("RAY_ADDRESS") or "that `ray start` made on this machine"
        raise AtlasError(
            f"the Ray cluster {named} cannot be joined ({_told(error)}); check that it runs, and "
            "where it asks for a token set RAY_AUTH_MODE=token and put its token into "
            "~/.ray/auth_token."
        ) from error
    return True


def _start() -> None:
    """Start a Ray that only this machine reaches, and only with the token."""
    import ray

    try:
        _require_token()
        with _on_loopback(), _signals_kept():
            ray.init(address="local", log_to_driver=False, configure_logging=False)
    except UserInputError:
        raise
    except KeyboardInterrupt:
        ray.shutdown()
        raise
    except Exception as error:
        logs = _newest_logs()
        failed = AtlasError(
            f"Ray did not start on this machine ({_told(error)}); do without it by --workers 0 "
            f"(train: --launcher process){f', or see its logs in {logs}' if logs else ''}."
        )
        for line in _last_words(logs) if logs else []:
            failed.add_note(line)
        ray.shutdown()
        raise failed from error


def token_if_there() -> None:
    """Show the token to clusters from here on, where there is one and RAY_AUTH_MODE is not set."""
    from ray._private.authentication import authentication_token_setup as setup

    loader = setup.AuthenticationTokenLoader.instance()  # type: ignore[attr-defined]
    if "RAY_AUTH_MODE" not in os.environ and loader.has_token(ignore_auth_mode=True):
        setup._enable_token_auth()


def _require_token() -> None:
    """Turn token authentication on, unless RAY_AUTH_MODE says otherwise, and make a token once."""
    from ray._private.authentication import authentication_token_setup as setup

    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    setup._enable_token_auth()  # Ray read the variable when it was imported: set again
    loader = setup.AuthenticationTokenLoader.instance()  # type: ignore[attr-defined]
    if not loader.has_token(ignore_auth_mode=True):
        _make_token(Path.home() / ".ray" / "auth_token")
        loader.reset_cache()


def _make_token(path: Path) -> None:
    """Write a token that only its owner may read; one that is there by now stays."""
    from ray._private.authentication.authentication_token_generator import (
        generate_new_authentication_token,
    )

    begun = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        begun.touch(mode=0o600)
        begun.write_text(generate_new_authentication_token())
        try:
            os.link(begun, path)  # whole or not at all, and never over another process's
        except FileExistsError:
            pass
        finally:
            begun.unlink()
    except OSError as error:
        raise UserInputError(
            f"Ray's token cannot be written to {path} ({error}); put a token into a file of yours "
            "and name that in RAY_AUTH_TOKEN_PATH."
        ) from error


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that starts meanwhile, and torch's collectives in it, listen on loopback only."""
    from ray._private import ray_constants

    interface = "lo0" if sys.platform == "darwin" else "lo"
    reachable = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False  # for this process, where Ray is imported already
    try:
        with _environment({_LOOPBACK_ENV: "0", "GLOO_SOCKET_IFNAME": interface}):
            yield  # the processes that Ray starts inherit the variables
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = reachable


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep who hears SIGTERM, where somebody does: Ray would end this process at once.

    Ray sets a handler in Python as it starts, and one below Python that aborts 3 s later.
    """
    from ray._private import utils

    ours, theirs = signal.getsignal(signal.SIGTERM), utils.set_sigterm_handler
    if not callable(ours) or threading.current_thread() is not threading.main_thread():
        yield
        return
    utils.set_sigterm_handler = lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        signal.signal(signal.SIGTERM, ours)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for as long as the block lasts."""
    kept = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in kept.items():
            del os.environ[name]
            os.environ.update({} if value is None else {name: value})


def _newest_logs() -> Path | None:
    """Return the logs of the Ray that this process tried to start last."""
    from ray._common.utils import get_default_ray_temp_dir

    sessions = Path(get_default_ray_temp_dir()).glob(f"session_*_{os.getpid()}/logs")
    return max(sessions, default=None)  # they are named by their time


def _last_words(logs: Path) -> list[str]:
    """Return what the processes of a Ray said of their end, without stack traces."""
    texts = [path.read_text(errors="replace") for path in sorted(logs.glob("*.err"))]
    severe = [match["said"] for text in texts for match in _SEVERE.finditer(text)]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return severe[:_LAST_LINES] or lines[-_LAST_LINES:]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"


def _check_resources(
    needed: Mapping[str, float], present: Mapping[str, float], on_event: Subscriber, *, joined: bool
) -> None:
    """Refuse what a Ray of this machine can never give; a cluster may still grow."""
    short = {name: amount for name, amount in needed.items() if present.get(name, 0) < amount}
    if not short:
        return
    said = " and ".join(
        f"{amount:g} {name}s (there are {present.get(name, 0):g})" for name, amount in short.items()
    )
    if not joined:
        raise UserInputError(
            f"the workers need {said} on this machine; ask for fewer --workers, or join a larger "
            "Ray cluster by RAY_ADDRESS."
        )
    on_event(Notice(f"Waiting for the Ray cluster to have {said}."))
