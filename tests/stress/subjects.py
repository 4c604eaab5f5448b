"""The subjects, in the order in which they are measured: importing this enters all their promises."""

from stress import callers, fork, servers

SUBJECTS = [module.__name__.rpartition(".")[2] for module in (fork, servers, callers)]
