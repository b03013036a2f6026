"""Verbs on a tiny atlas under faults, again and again: `python -m soak`.

`work` has the verbs, `driver` the process that does them, `faults` what strikes it, `trial` one
disturbed run held against an undisturbed one, and `stage` the storage and the cluster.
"""
