"""The demo: the whole pipeline on a simulated atlas with known answers."""

from __future__ import annotations

from atlasjobs.demo.plan import demo_plan
from atlasjobs.demo.result import DemoResult
from atlasjobs.demo.settings import DemoFolder, DemoSettings
from atlasjobs.demo.stages import run_demo

__all__ = ["DemoFolder", "DemoResult", "DemoSettings", "demo_plan", "run_demo"]
