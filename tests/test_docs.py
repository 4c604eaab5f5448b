"""docs/ is complete, its links lead somewhere, and what it says runs."""

from __future__ import annotations

import contextlib
import contextvars
import io
import json
import re
import runpy
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import demo, layers, ops
from fastembed.saving import load_embedding

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

FENCED = re.compile(r"^```([^`\n]*)\n(.*?)^```$", re.M | re.S)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def rows_of(page: Path) -> Iterator[list[str]]:
    """The cells of each row of the tables of a page, heads aside."""
    lines = FENCED.sub("", text_of(page)).split("\n")
    for line, after in zip(lines, [*lines[1:], ""]):
        if line.startswith("|") and not line.startswith("|---") and not after.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


# --- Complete -------------------------------------------------------------------------------------


def documented() -> Iterator[str]:
    """The full names that the pages ask Sphinx for."""
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    for page in PAGES:
        for kind, name, options in re.findall(
            r"^\.\. (auto\w+|py:data):: ([\w.]+).*\n((?:   .*\n)*)", text_of(page), re.M
        ):
            yield name
            if kind == "automodule" and ":members:" in options:
                for member in conf["public_names"](name):
                    if getattr(import_module(name), member).__doc__:  # Sphinx leaves out what has none
                        yield f"{name}.{member}"


def test_every_public_name_is_on_a_page():
    undocumented = runpy.run_path(str(ROOT / "docs" / "conf.py"))["undocumented"]
    assert undocumented(documented()) == []
    # And it can fail:
    without = [name for name in documented() if name not in ("fastembed.ops.one_hot", "fastembed.recording")]
    assert set(undocumented(without)) == {"fastembed.recording", "fastembed.ops.one_hot"}


CLASSES = {name: cls for name, cls in vars(layers).items() if isinstance(cls, type)}
LAYERS = [name for name in layers.__all__ if issubclass(CLASSES.get(name, object), layers.Layer)]
LAYERS = [name for name in LAYERS if CLASSES[name].__name__ == name]  # others are second names


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_has_a_page_of_its_own(layer):
    [page] = [p for p in PAGES if f".. autoclass:: fastembed.layers.{layer}\n" in text_of(p)]
    assert page.parent.name == "layers"
    assert page.stem.replace("_", "") == layer.lower()


# --- Links ----------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text_of(page)), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text_of(page))):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    return dead


@each_page
def test_links_lead_somewhere(page):
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "# One two\n[a](a.md) [b](a.md#one-two) [c](b.md) [d](#three) [e](https://keras.io)\n", "utf-8"
    )
    assert dead_links(page) == ["b.md", "#three"]


def test_every_difference_is_pinned_by_a_test_that_is_there():
    tests = ROOT / "tests"
    files = {path.relative_to(tests).as_posix(): text_of(path) for path in tests.rglob("test_*.py")}
    before = ""
    for what, *_, pinned in rows_of(ROOT / "docs" / "differences.md"):
        names = [before] if pinned == "same" else re.findall(r"`([^`]+)`", pinned)
        assert names, f"{what}: no test is named"
        file = "test_against_keras.py"
        for name in names:
            *named, test = name.removeprefix("tests/").split("::")
            file, *classes = named or [file]  # a name alone is in the file before it
            for part in (*classes, test):
                assert re.search(rf"^\s*(def|class) {part}\b", files[file], re.M), f"{what}: no {name}"
        before = f"{file}::{test}"


# --- What runs ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where pages run: the files that they name, and nothing else."""
    for name in ("model.h5", "model.keras"):
        shutil.copy(demo.FOLDER / f"topics{Path(name).suffix}", tmp_path / name)
    vectors = {"the": [1, 2, 3], "cat": [4, 5, 6], "mat": [7, 8, 9]}
    lines = (f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in vectors.items())
    (tmp_path / "glove.txt").write_text("".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(ImportError):  # where there is no h5py, what needs the file is skipped
        write_quantised()
    registered = dict(fastembed.utils.get_custom_objects())
    yield tmp_path
    fastembed.utils.get_custom_objects().clear()
    fastembed.utils.get_custom_objects().update(registered)


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page, save those that show how it was done with Keras, under "Before"."""
    found = []
    text = text_of(page)
    for match in FENCED.finditer(text):
        above = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        if match[1] == "python" and not above.startswith("Before"):
            found.append(
                "\n" * text.count("\n", 0, match.start(2)) + match[2]
            )  # errors name the page's lines
    return found


def run(page: Path) -> dict[str, object]:
    """Run the blocks of a page one after the other; return what they leave behind."""
    names: dict[str, object] = {"__name__": page.stem}
    contextvars.copy_context().run(run_blocks, page, names)  # what a page sets is no other test's
    return names


def run_blocks(page: Path, names: dict[str, object]) -> None:
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_says_runs(page, folder):
    pytest.importorskip("h5py")
    run(page)


def test_before_and_after_are_told_apart(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "Before (Keras)\n\n```python\nimport keras\n```\n\nAfter\n\n```python\nx = 1\n```\n", "utf-8"
    )
    assert [block.strip() for block in blocks(page)] == ["x = 1"]
    moving = text_of(ROOT / "docs" / "moving-from-keras.md")
    assert moving.count("\nBefore") == moving.count("\nAfter\n") == moving.count('<div class="before-after">')


def test_the_application_of_the_serving_page(folder):
    pytest.importorskip("h5py")
    app = run(ROOT / "docs" / "serving.md")["app"]

    def post(body: bytes) -> tuple[str, bytes]:
        said = []
        environ = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        answer = b"".join(app(environ, lambda status, headers: said.append(status)))
        return said[0], answer

    status, answer = post(b"[3, 1]")
    assert status == "200 OK"
    np.testing.assert_array_equal(np.float32(json.loads(answer)), load_embedding("model.keras")([3, 1]))
    status, answer = post(b"[3, 9999]")
    assert status == "400 Bad Request"
    assert answer.startswith(b"ids[1] = 9999 is outside the table, whose rows are 0 to 1199")
    assert post(b"{")[0] == "400 Bad Request"


# --- The messages of the troubleshooting page -----------------------------------------------------


def write_model(table: np.ndarray, regularizer: object = None, **storage: object) -> None:
    """``model.h5`` with the Embedding "words", as Keras 2 writes it."""
    import h5py

    config = {"name": "words", "input_dim": len(table), "output_dim": table.shape[1]}
    config["embeddings_regularizer"] = regularizer
    layer = {"class_name": "Embedding", "config": config}
    with h5py.File("model.h5", "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"name": "m", "layers": [layer]}}
        )
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"words"]
        group = weights.create_group("words")
        group.attrs["weight_names"] = [b"words/embeddings:0"]
        group.create_dataset("words/embeddings:0", data=table, **storage)


def write_quantised() -> None:
    """model.weights.h5 of a quantised model, without what a config says."""
    import h5py

    with h5py.File("model.weights.h5", "w") as file:
        for name, shape in {"reversible_embedding": (1000, 64), "dense": (64, 2)}.items():
            arrays = file.create_group(f"layers/{name}/vars")
            arrays["0"], arrays["1"] = np.ones(shape, np.int8), np.full(max(shape), 2, np.float32)
        file["layers/reversible_embedding/vars"].attrs["name"] = "words"


class Mine(layers.Layer):
    def call(self, inputs):
        return inputs


def provoked(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Calls, each of which ends in a message of the page."""
    words = layers.Embedding(1000, 64, name="words")
    matrix = np.zeros((1000, 64))

    for ids in (
        np.array([[3, 1000]]),
        [3, -1],
        [2.7],
        [0.0, 1.0, np.nan],
        np.float32([2**24]),
        [[1, 2], [3]],
        ["cat"],
        [1, None],
        np.ma.masked_array([1], [False]),
    ):
        yield lambda ids=ids: words(ids)

    with monkeypatch.context() as without:
        without.setitem(sys.modules, "h5py", None)
        yield lambda: load_embedding("model.h5")
    yield lambda: load_embedding("model.h5", "embedding_1")
    whole = Path("model.h5").read_bytes()
    Path("model.h5").unlink()
    yield lambda: load_embedding("model.h5")
    for content in (b"version https://git-lfs.github.com/spec/v1\n", b"", whole[: len(whole) // 2]):
        Path("model.h5").write_bytes(content)
        yield lambda: load_embedding("model.h5")
    Path("model").mkdir()
    yield lambda: load_embedding("model")
    write_model(np.zeros((50_000, 100), np.float32), compression="gzip")
    yield lambda: load_embedding("model.h5")
    write_model(np.zeros((4, 2), "V2"))
    yield lambda: load_embedding("model.h5")
    yield lambda: load_embedding("model.weights.h5")
    yield lambda: load_embedding("model.weights.h5", "/layers/dense/vars/0")
    write_model(np.zeros((4, 2), np.float32), {"class_name": "OurOwn", "config": {}})
    yield lambda: load_embedding("model.h5")

    yield lambda: layers.Embedding(1000, 64, weights=matrix[1:], name="words")
    yield lambda: layers.Embedding(1000, 64, output_size=64)
    yield lambda: layers.Embedding(1000, 640 / 10)
    yield lambda: layers.Embedding(1000, 64).embeddings

    class Forgetful(layers.Layer):
        def __init__(self) -> None:
            self.inner = words

    Forgetful.__name__ = "Mine"
    yield Forgetful
    yield lambda: np.asarray(words.embeddings).fill(0)
    yield lambda: words.backward(np.zeros((2, 64)))
    words([1, 2], training=True)
    yield lambda: words.backward(np.zeros(64))
    mine = Mine()
    mine([1.0], training=True)
    yield lambda: mine.backward([1.0])
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "ml_dtypes", None)
        yield lambda: layers.Embedding(1000, 64, dtype="mixed_bfloat16")
    yield lambda: ops.gather(matrix[:, ::2], [1])

    with monkeypatch.context() as environment:
        environment.setenv("FASTEMBED_NUM_THREADS", "auto")
        fastembed.set_num_threads(None)
        yield fastembed.get_num_threads
    fastembed.set_num_threads(None)
    yield lambda: fastembed.set_num_threads(0)
    yield lambda: fastembed.TextEmbedding


def message_of(call: object) -> str:
    """As the end of a traceback has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except Exception as error:
            kind = type(error)
            module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
            return f"{module}{kind.__qualname__}: {error}"
    raise AssertionError("nothing was raised")


def test_the_messages_are_those_that_are_raised(folder, monkeypatch):
    pytest.importorskip("h5py")
    shown = [re.sub(r"^`+|`+$", "", message) for message, *_ in rows_of(ROOT / "docs" / "troubleshooting.md")]
    patterns = {message: re.escape(message).replace("…", ".*") for message in shown}
    provoked_ones = set()
    for call in provoked(monkeypatch):
        message = message_of(call)
        matching = [shown for shown, pattern in patterns.items() if re.fullmatch(pattern, message, re.S)]
        assert matching, f"the page does not have this message:\n{message}"
        provoked_ones.update(matching)
    assert provoked_ones == set(shown), set(shown) - provoked_ones
