"""The promises about threads in real processes, measured as a user would meet them.

``PYTHONPATH=tests python -m stress [--short] [NAME ...]``; ``make stress`` is the full run. One module a
subject, one function a promise. What is measured in a process of its own is a function too: `promises.apart`.
"""
