"""One module per verb: its options, and the call they stand for.

The command-line library reads these modules' annotations when the program starts, so they are
evaluated there and then (no ``from __future__ import annotations``); a verb's work is imported when
the verb runs.
"""
