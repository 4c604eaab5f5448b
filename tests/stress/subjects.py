"""The subjects: importing this enters all their promises."""

from stress import bits, callers, fork, quota, races, servers, settings, signals, swaps

SUBJECTS = [
    module.__name__.rpartition(".")[2]
    for module in (bits, callers, fork, quota, races, servers, settings, signals, swaps)
]
