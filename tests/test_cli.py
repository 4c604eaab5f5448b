"""The command line, as a shell sees it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastembed
from fastembed import demo
from fastembed.cli import main
from fastembed.demo import training
from fastembed.saving import load_embedding

H5, KERAS = (str(demo.FOLDER / name) for name in demo.FILES)
TOWERS = str(Path(__file__).parent / "fixtures" / "keras-3.15.1" / "towers.keras")  # several embeddings


@pytest.fixture
def table():
    return load_embedding(H5).get_weights()[0]


def shell(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "fastembed", *arguments], capture_output=True, text=True, **kwargs
    )


def test_inspect(capsys):
    assert main(["inspect", TOWERS]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "shape", "dtype", "mask_zero", "keras", "location"]
    assert len(rows) == 3
    assert main(["inspect", "--json", H5]) == 0
    [record] = json.loads(capsys.readouterr().out)
    assert (record["name"], record["shape"], record["dtype"]) == ("words", [1200, 32], "float32")
    assert record["config"]["mask_zero"] is True


def test_inspect_a_file_without_embeddings(tmp_path, capsys):
    import h5py

    path = tmp_path / "dense.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((3, 4), np.float32)
    assert main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out == "no embeddings in this file; --candidates lists 1 other 2-D weights\n"
    assert main(["inspect", "--candidates", str(path)]) == 0
    assert "/layers/dense/vars/0  3 x 4" in capsys.readouterr().out


@pytest.mark.parametrize("ids", ["3,1,4", "3 1 4", " 3, 1,\n4,"])
def test_lookup_prints_rows_that_read_back_exactly(ids, table, capsys):
    assert main(["lookup", KERAS, "--ids", ids]) == 0
    rows = np.array([line.split() for line in capsys.readouterr().out.splitlines()], np.float32)
    np.testing.assert_array_equal(rows, table[[3, 1, 4]], strict=True)


@pytest.mark.parametrize("name", ["rows.npy", "rows.txt"])
def test_lookup_of_standard_input_into_a_file(name, table, tmp_path):
    path = tmp_path / name
    done = shell("lookup", H5, "--layer", "words", "--out", str(path), input="5\n7\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rows = np.load(path) if name.endswith("npy") else np.loadtxt(path, np.float32)
    np.testing.assert_array_equal(rows, table[[5, 7]], strict=True)
    assert os.listdir(tmp_path) == [name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_info(capsys):
    with fastembed.num_threads(3):
        assert main(["info", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["fastembed"] == fastembed.__version__
        assert facts["threads"] == 3
        assert "num_threads" in facts["threads_because"]
        assert main(["info"]) == 0
    assert "instruction set" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "no such file"], "No such file or directory: 'no such file'"),
        (["inspect", __file__], "neither HDF5 nor a .keras archive"),
        (["lookup", TOWERS, "--ids", "1"], "several embeddings; give the name of one: "),
        (
            ["lookup", TOWERS, "--ids", "1", "--layer", "nowhere"],
            "no embedding 'nowhere' in this file, which has:",
        ),
        (["lookup", H5, "--ids", "1200"], "ids[0] = 1200 is outside the table, whose rows are 0 to 1199"),
        (["lookup", H5, "--ids", "1,x"], "an id is a whole number, not 'x'"),
        (["lookup", H5, "--ids", "1.0"], "an id is a whole number, not '1.0'"),
        (["lookup", H5, "--ids", ""], "no ids: give --ids 3,1,4"),
        (["lookup", H5, "--ids", str(2**64)], "the id 18446744073709551616 is larger than any table"),
        (
            ["lookup", H5, "--ids", "1", "--out", "/no such folder/rows.npy"],
            "there is no folder '/no such folder'",
        ),
        (["lookup", H5, "--ids", "1", "--out", "/"], "Is a directory"),
        (["lookup", H5, "--ids", "1_0"], "an id is a whole number, not '1_0'"),
        (["lookup", H5, "--ids", "９"], "an id is a whole number, not "),
        (["dance"], "invalid choice: 'dance'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_errors_are_one_line_and_status_2(arguments, message, capsys):
    try:
        status = main(arguments)
    except SystemExit as end:  # argparse ends by itself
        status = end.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.startswith("fastembed: ")
    assert captured.err.count("\n") == 1


def test_names_out_of_a_file_cannot_drive_the_terminal(tmp_path, capsys):
    import h5py

    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["\x1b[2J"]
        file.create_group("\x1b[2J").attrs["weight_names"] = ["embeddings:0"]
        file["\x1b[2J/embeddings:0"] = np.zeros((3, 4), np.float32)
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "3 x 4" in out
    assert "\x1b" not in out


def test_a_broken_pipe_is_quiet():
    ids = ",".join(["1"] * 50_000)
    lookup = f"{sys.executable} -m fastembed lookup {H5} --ids {ids}"
    code = f"{lookup} | head -n 1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.npy"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert main(["lookup", H5, "--ids", "1", "--out", str(path)]) == 2
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["rows.npy"]


def test_out_writes_to_pipes_and_through_links(tmp_path, table):
    target, link = tmp_path / "target.npy", tmp_path / "link.npy"
    link.symlink_to(target)
    assert main(["lookup", H5, "--ids", "1", "--out", str(link)]) == 0
    assert link.is_symlink()
    np.testing.assert_array_equal(np.load(target), table[[1]])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen([sys.executable, "-m", "fastembed", "lookup", H5, "--ids", "1", "--out", pipe])
    assert len(pipe.read_text().split()) == table.shape[1]
    assert writer.wait(timeout=60) == 0
    assert pipe.is_fifo()


def test_demo_needs_h5py():
    code = "import sys; sys.modules['h5py'] = None; from fastembed.cli import main; sys.exit(main(['demo']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'keras-fastembed[keras-files]'" in done.stderr


def test_demo(capsys, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert main(["demo", "--folder", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "both give the same rows, bit for bit" in out
    assert "tuple" in out
    assert "np.take" in out

    # What it learned: both losses fell, and passages that it did not see are told apart.
    falls = re.findall(r"loss from ([\d.]+) to ([\d.]+)", out)
    assert len(falls) == 2
    assert all(float(last) < 0.8 * float(first) for first, last in falls), falls
    [(accuracy, chance)] = re.findall(r"held-out accuracy ([\d.]+)%; .* has ([\d.]+)%", out)
    assert float(accuracy) > 2.5 * float(chance)
    assert out.count("opened again, it predicts the same, bit for bit") == 2
    assert re.search(r"debugger +\d+%  set a breakpoint", out)
    drawn = {"loss.png", "words.png"} if importlib.util.find_spec("matplotlib") else set()
    assert {*os.listdir(folder)} == {"topic_of_passage.keras", "word_among_others.keras", *drawn}
    for name in drawn:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_demo_goes_on_without_matplotlib(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = {topic: " ".join(["tuple list string"] * 20) for topic in training.TOPICS}
    training.run(tmp_path, {topic: f"{line} {topic}" for topic, line in text.items()})
    assert "matplotlib is not installed" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_the_demos_vocabulary_fits_its_table(table):
    words = demo.vocabulary()
    assert words[:2] == ["[PAD]", "[UNK]"]
    assert len(words) == len(set(words)) == len(table) <= 1500
    assert not table[0].any()


def test_the_demos_words_are_cut_as_in_training():
    assert f'WORD = re.compile(r"{demo.WORD.pattern}")' in (demo.FOLDER / "train.py").read_text()
