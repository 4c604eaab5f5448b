"""The command line: ``fastembed inspect | lookup | info | demo``.

Errors are one line on standard error and exit status 2; a reader that stops listening ends us quietly.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastembed import _rows, _team, demo, threads
from fastembed._version import __version__
from fastembed.saving import EmbeddingRecord, list_embeddings, load_embedding

ERROR = 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is what ``--help`` is for."""

    def error(self, message: str) -> NoReturn:
        self.exit(ERROR, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status.

    >>> main(["inspect", "no such file"])
    2
    """
    parsed = _parser().parse_args(arguments)
    try:
        status: int = parsed.command(parsed)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Nobody reads on: that is no error of ours. What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130  # as the shell counts a program that SIGINT ended
    except (OSError, ValueError, TypeError, IndexError, ImportError) as error:
        print(f"fastembed: {_one_line(error)}", file=sys.stderr)
        return ERROR


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _parser() -> _Parser:
    parser = _Parser(prog="fastembed", description="Embeddings of trained Keras models, without TensorFlow.")
    parser.add_argument("--version", action="version", version=f"fastembed {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    inspect = commands.add_parser("inspect", help="list the embeddings in a file that Keras wrote")
    inspect.add_argument("file")
    inspect.add_argument("--candidates", action="store_true", help="also list every other 2-D weight")
    inspect.add_argument("--json", action="store_true", help="one JSON list, with each layer's config")
    inspect.set_defaults(command=_inspect)

    lookup = commands.add_parser("lookup", help="print the rows of an embedding")
    lookup.add_argument("file")
    lookup.add_argument("--layer", metavar="NAME", help="which embedding, where the file has several")
    lookup.add_argument(
        "--ids",
        metavar="3,1,4",
        help="separated by commas or blanks (default: read from standard input)",
    )
    lookup.add_argument(
        "--out",
        metavar="FILE",
        help="write there and not to standard output; NumPy's format if it ends in .npy",
    )
    lookup.set_defaults(command=_lookup)

    info = commands.add_parser("info", help="say what runs here: versions, threads, instruction set")
    info.add_argument("--json", action="store_true")
    info.set_defaults(command=_info)

    shown = commands.add_parser("demo", help="open a trained model, compare times; train two more")
    shown.add_argument("--folder", help="where what is trained goes (default: a new temporary folder)")
    shown.set_defaults(command=lambda parsed: demo.run(parsed.folder))
    return parser


# --- inspect --------------------------------------------------------------------------------------


def _inspect(parsed: argparse.Namespace) -> int:
    records = list_embeddings(parsed.file, candidates=parsed.candidates)
    if parsed.json:
        print(json.dumps([asdict(record) for record in records], indent=2))
    elif records:
        print(_table(("name", "shape", "dtype", "mask_zero", "keras", "location"), map(_cells, records)))
    else:
        others = len(list_embeddings(parsed.file, candidates=True))
        print(f"no embeddings in this file; --candidates lists {others} other 2-D weights")
    return 0


def _cells(record: EmbeddingRecord) -> tuple[str, ...]:
    mask_zero = "?" if record.config is None else str(record.config.get("mask_zero", False))
    shape = " x ".join(map(str, record.shape))
    # Text out of a file may hold anything, escape sequences of the terminal included.
    texts = record.name, record.keras_version or "?", record.location
    name, version, location = (ascii(text)[1:-1] for text in texts)
    return name, shape, record.dtype, mask_zero, version, location


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


# --- lookup ---------------------------------------------------------------------------------------


def _lookup(parsed: argparse.Namespace) -> int:
    layer = load_embedding(parsed.file, parsed.layer)
    rows = layer(_ids(sys.stdin.read() if parsed.ids is None else parsed.ids))
    if parsed.out is None:
        _write_text(sys.stdout, rows)
    else:
        _write_file(Path(parsed.out), rows)
    return 0


def _ids(text: str) -> NDArray[Any]:
    words = [word for word in re.split(r"[\s,]+", text) if word]
    for word in words:
        if not re.fullmatch(r"[+-]?[0-9]+", word):
            raise ValueError(f"an id is a whole number, not {word[:80]!a}; commas or blanks separate ids")
        if len(word) > 19:
            raise ValueError(f"the id {word[:80]} is larger than any table")
    if not words:
        raise ValueError("no ids: give --ids 3,1,4 or write them to standard input")
    return np.array([int(word) for word in words], np.int64)


def _write_text(stream: Any, rows: NDArray[Any]) -> None:
    """One row a line, each number in the fewest digits that read back as the same number."""
    for row in rows:
        stream.write(" ".join(map(str, row.astype(str))) + "\n")


def _write_file(path: Path, rows: NDArray[Any]) -> None:
    """Write the rows; what is an ordinary file is replaced whole or not at all."""
    path = path.resolve()  # through symbolic links, to what they point to
    if path.exists() and not path.is_file():  # a device, a pipe: written to, never replaced
        with path.open("wb") as stream:
            _save(stream, rows, path.suffix)
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into")
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=".fastembed-", delete=False) as file:
        try:
            _save(file, rows, path.suffix)
            file.flush()
            os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(file.name, 0o666 & ~mask)  # temporary files are private; the result is an ordinary file
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _save(stream: Any, rows: NDArray[Any], suffix: str) -> None:
    if suffix == ".npy":
        np.save(stream, rows)
    else:
        np.savetxt(stream, rows.astype(str), fmt="%s")


# --- info -----------------------------------------------------------------------------------------


def _info(parsed: argparse.Namespace) -> int:
    number, reason = threads.explain()
    facts = {
        "fastembed": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": _version_of("h5py"),
        "ml_dtypes": _version_of("ml_dtypes"),
        "platform": platform.platform(),
        "instruction set": _rows.isa,
        "openmp": _team.openmp,
        "threads": number,
        "threads because": reason,
        "serial below": _team.get_serial_bytes(),
    }
    if parsed.json:
        print(json.dumps({name.replace(" ", "_"): fact for name, fact in facts.items()}, indent=2))
        return 0
    facts["openmp"] = "yes" if _team.openmp else "no: everything runs on one thread"
    facts["threads"] = f"{number} ({facts.pop('threads because')})"
    facts["serial below"] = f"{facts['serial below']:,} bytes moved"
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {'not installed' if fact is None else fact}")
    return 0


def _version_of(package: str) -> str | None:
    try:
        return str(import_module(package).__version__)
    except ImportError:
        return None
