"""How good a model is: predictions, embedding, denoised profiles, agreement with RNA."""

from __future__ import annotations

from .evaluate import evaluate, plan_evaluate
from .evaluation import Evaluation
from .plan import EvaluatePlan

__all__ = ["EvaluatePlan", "Evaluation", "evaluate", "plan_evaluate"]
