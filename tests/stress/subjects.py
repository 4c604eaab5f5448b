"""The subjects, in the order in which they are measured: importing this enters all their promises."""

from stress import callers, fork, races, servers, signals, swaps

SUBJECTS = [module.__name__.rpartition(".")[2] for module in (fork, servers, callers, signals, swaps, races)]
