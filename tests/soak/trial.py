"""One disturbed run: struck, resumed until it is done, and held against an undisturbed one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psutil

from atlasstore.files import urls
from soak.driver import Driver, Said, disk_of
from soak.work import bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from soak.faults import Scene
    from soak.work import Task

_MOST_ATTEMPTS = 4
_ORPHAN_S = 20.0


@dataclass
class Outcome:
    """What came of it."""

    task: Task
    where: str = ""
    """At which event it was struck; empty where it never came so far."""
    seconds: float = 0.0
    """From the beginning to the end of the last attempt."""
    recovery_s: float = 0.0
    """From the fault to the end."""
    before: int = 0
    """Events that told of progress when it was struck."""
    after: int = 0
    """And in the attempt that ended well."""
    said: list[str] = field(default_factory=list)
    """What attempts that failed said."""
    problems: list[str] = field(default_factory=list)
    """What must not be."""


def tried(scene: Scene, strike: Callable[[Scene], None], expected: Any) -> Outcome:
    """Do the scene's task under a fault; its driver is another one afterwards if it died."""
    found, began = Outcome(scene.task), time.monotonic()
    said = _struck(scene, strike, found)
    struck_at = time.monotonic() - found.recovery_s
    while said.kind != "done" and len(found.said) < _MOST_ATTEMPTS:
        found.said.append(said.text)
        said = _again(scene, said)
    ended, found.after = time.monotonic(), said.progress
    found.seconds, found.recovery_s = ended - began, ended - struck_at
    if said.kind != "done":
        found.problems.append(f"was not done in {_MOST_ATTEMPTS} attempts: {said.text}")
    _check(scene, found, expected)
    return found


def _struck(scene: Scene, strike: Callable[[Scene], None], found: Outcome) -> Said:
    """Run until the moment, strike, and wait for the end; `recovery_s` is from then to the end."""
    scene.driver.begin(scene.task)
    said = scene.driver.listen()
    if said.kind != "moment":
        scene.has_struck = False
        return said
    found.where, found.before = said.text, said.progress
    family = psutil.Process(scene.driver.process.pid).children(recursive=True)
    began = time.monotonic()
    with scene.attempt:
        strike(scene)
        said = scene.driver.listen()
        others = [other.listen() for other in scene.others]
    found.recovery_s = time.monotonic() - began
    if said.kind == "lost":
        _orphans(family, found)
    _judge_others(scene, others, found)
    return said


def _orphans(family: list[psutil.Process], found: Outcome) -> None:
    _, alive = psutil.wait_procs(family, timeout=_ORPHAN_S)
    if alive:
        found.problems.append(f"{len(alive)} processes outlived their driver: {alive}")
    for one in alive:
        one.kill()


def _judge_others(scene: Scene, others: list[Said], found: Outcome) -> None:
    for driver, said in zip(scene.others, others, strict=True):
        if said.kind != "done" and "is working on" not in said.text:
            found.problems.append(f"the second writer: {said.text}")
        found.said += [f"second writer: {said.text}"] if said.text else []
        driver.end()


def _again(scene: Scene, said: Said) -> Said:
    """Run the same again without a fault, in a new process where the driver is no more."""
    if said.kind in ("lost", "silent"):
        scene.driver.end()
        scene.driver = Driver(scene.settings)
    else:
        scene.before_again()
    scene.driver.begin(replace(scene.task, moment=None))
    return scene.driver.listen()


def _check(scene: Scene, found: Outcome, expected: Any) -> None:
    seen = replace(scene.task, out=disk_of(scene.driver, scene.task.out))
    try:
        is_equal = bits(seen) == expected
    except Exception as error:  # noqa: BLE001 - told
        found.problems.append(f"the result cannot be read: {type(error).__name__}: {error}")
        return
    if not is_equal:
        found.problems.append("the result differs from the undisturbed one")
    if stray := left_beside(seen):
        found.problems.append(f"left behind: {', '.join(stray[:3])}")


def left_beside(task: Task) -> list[str]:
    """What is stored beside the inputs and the output, claims, and files begun in the output."""
    fs, root = urls.filesystem(task.out.rpartition("/")[0])
    fs.invalidate_cache()
    kept = [urls.filesystem(u)[1] for u in (task.out, task.inputs.atlas, task.inputs.model)]
    found = [path for path in fs.find(root) if not path.startswith(tuple(f"{k}/" for k in kept))]
    inside = fs.find(kept[0])
    claims = [path for path in inside if path.endswith("/.claim") and not urls.is_local(task.out)]
    return found + claims + [path for path in inside if path.endswith(".partial")]
