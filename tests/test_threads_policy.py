"""How many threads a call may use: who decides, and what containers allow.

Containers are folders of text files here. How many threads a call really used is a test of the compiled core.
"""

import contextvars
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastembed import threads

CPUS = 64


@pytest.fixture(autouse=True)
def nobody_chose(monkeypatch):
    """A machine of 64 CPUs on which nobody has said anything; what this process had is back afterwards."""
    monkeypatch.setattr(threads, "_in_process", None)
    monkeypatch.setattr(threads, "_kept_default", None)
    monkeypatch.setattr(threads, "_cpus", lambda: threads._Choice(CPUS, "CPUs"))
    monkeypatch.setattr(threads, "openmp_limit", lambda: CPUS)
    for variable in ("FASTEMBED_NUM_THREADS", "OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        monkeypatch.delenv(variable, raising=False)


# --- Who decides ---


def test_what_openmp_was_told_for_this_thread_limits_the_default_alone(monkeypatch):
    """As threadpoolctl tells it."""
    monkeypatch.setattr(threads, "_quotas", lambda root: [])
    monkeypatch.setattr(threads, "openmp_limit", lambda: 2)
    assert threads.get_num_threads() == 2
    assert threads.explain()[1].startswith("omp_set_num_threads in this thread, as threadpoolctl calls it")
    with threads.num_threads(8):
        assert threads.get_num_threads() == 8
    monkeypatch.setenv("FASTEMBED_NUM_THREADS", "6")
    threads.set_num_threads(None)
    assert threads.get_num_threads() == 6


def test_each_way_to_choose_is_stronger_than_the_next(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setattr(threads, "_quotas", lambda root: [])
    assert threads.get_num_threads() == 5
    monkeypatch.setenv("FASTEMBED_NUM_THREADS", "6")
    assert threads.get_num_threads() == 5  # kept since it was worked out
    threads.set_num_threads(None)
    assert threads.get_num_threads() == 6
    threads.set_num_threads(7)
    assert threads.get_num_threads() == 7
    with threads.num_threads(8):
        assert threads.get_num_threads() == 8
        threads.set_num_threads(9)
        assert threads.get_num_threads() == 8
    assert threads.get_num_threads() == 9
    threads.set_num_threads(None)
    assert threads.get_num_threads() == 6


def test_a_choice_is_taken_as_given_above_the_number_of_cpus_too():
    threads.set_num_threads(1000)
    assert threads.get_num_threads() == 1000
    assert threads._default("/", {"FASTEMBED_NUM_THREADS": "1000"}).threads == 1000


@pytest.mark.parametrize("choose", [threads.set_num_threads, threads.num_threads])
@pytest.mark.parametrize(
    ("n", "error"),
    [
        (True, TypeError),
        (2.0, TypeError),
        ("2", TypeError),
        ([2], TypeError),
        (0, ValueError),
        (-1, ValueError),
        (2**31, ValueError),
    ],
)
def test_a_number_of_threads_is_a_positive_integer(choose, n, error):
    threads.set_num_threads(3)
    with pytest.raises(error, match="the number of threads must be"):
        choose(n)
    assert threads.get_num_threads() == 3


def test_numpy_integers_are_integers():
    numpy = pytest.importorskip("numpy")
    threads.set_num_threads(numpy.int64(3))
    assert type(threads.get_num_threads()) is int


def test_num_threads_needs_a_number():
    with pytest.raises(TypeError):
        threads.num_threads(None)


def test_blocks_nest_and_end_with_exceptions():
    threads.set_num_threads(1)
    with threads.num_threads(2):
        with pytest.raises(KeyError, match="3"), threads.num_threads(3):
            raise KeyError(threads.get_num_threads())
        assert threads.get_num_threads() == 2
    assert threads.get_num_threads() == 1


def test_a_decorated_function_may_call_itself():
    threads.set_num_threads(1)

    @threads.num_threads(4)
    def depth(n):
        return threads.get_num_threads() if n == 0 else depth(n - 1)

    assert depth(3) == 4
    assert threads.get_num_threads() == 1


def test_a_block_is_for_its_own_context():
    threads.set_num_threads(1)
    seen = []
    with threads.num_threads(2):
        thread = threading.Thread(target=lambda: seen.append(threads.get_num_threads()))
        thread.start()
        thread.join()
        seen.append(contextvars.copy_context().run(threads.get_num_threads))
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (CPUS, "CPUs")),
        ({"OMP_NUM_THREADS": "4"}, (4, "OMP_NUM_THREADS")),
        ({"OMP_NUM_THREADS": "2,4"}, (2, "OMP_NUM_THREADS")),
        ({"OMP_NUM_THREADS": " 3 , 4"}, (3, "OMP_NUM_THREADS")),
        ({"OMP_NUM_THREADS": "100"}, (CPUS, "CPUs")),
        ({"OMP_NUM_THREADS": "0"}, (CPUS, "CPUs")),
        ({"OMP_NUM_THREADS": "-1"}, (CPUS, "CPUs")),
        ({"OMP_NUM_THREADS": "abc"}, (CPUS, "CPUs")),
        ({"OMP_NUM_THREADS": ""}, (CPUS, "CPUs")),
        ({"OMP_THREAD_LIMIT": "3", "OMP_NUM_THREADS": "4"}, (3, "OMP_THREAD_LIMIT")),
        ({"FASTEMBED_NUM_THREADS": "5", "OMP_NUM_THREADS": "4"}, (5, "FASTEMBED_NUM_THREADS")),
        ({"FASTEMBED_NUM_THREADS": " 5 "}, (5, "FASTEMBED_NUM_THREADS")),
        ({"FASTEMBED_NUM_THREADS": ""}, (CPUS, "CPUs")),
    ],
)
def test_environment(environ, expected, tmp_path):
    assert threads._default(str(tmp_path), environ) == (*expected, "")


@pytest.mark.parametrize("text", ["0", "-1", "abc", "2.5", "2,4", "99999999999", "9" * 5000, "٣x"])
def test_a_bad_variable_is_ignored_with_one_warning(text, monkeypatch):
    monkeypatch.setattr(threads, "_quotas", lambda root: [])
    monkeypatch.setenv("FASTEMBED_NUM_THREADS", text)
    message = r"^FASTEMBED_NUM_THREADS='.{1,50} is ignored: it must be an integer"
    with pytest.warns(RuntimeWarning, match=message):
        assert threads.get_num_threads() == CPUS
    assert threads.get_num_threads() == CPUS


def test_explain(monkeypatch):
    monkeypatch.setattr(threads, "_openmp", True)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.explain()[0] == 1
    threads.set_num_threads(8)
    assert threads.explain() == (8, "set_num_threads")
    with threads.num_threads(9):
        assert threads.explain() == (9, "num_threads")
    monkeypatch.setattr(threads, "_openmp", False)
    assert threads.explain() == (8, "set_num_threads; built without OpenMP, so every call runs on one thread")


# --- What containers allow ---

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "31 30 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct\n"
)
ONE_AND_A_HALF = "150000 100000\n"


def v1(folder, quota, period="100000\n"):
    return {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": period}


# (/proc/self/cgroup, /proc/self/mountinfo, other files, threads, the quota that explains them) of each case.
TREES = {
    "v2, no limit": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": "max 100000\n"}, CPUS, None),
    "v2, half a CPU": (
        "0::/\n",
        V2,
        {"/sys/fs/cgroup/cpu.max": "50000 100000\n"},
        1,
        "0.5, less than one CPU",
    ),
    "v2, one CPU": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1, "1"),
    "v2, one and a half": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": ONE_AND_A_HALF}, 1, "1.5 rounded down"),
    "v2, two and a half": (
        "0::/\n",
        V2,
        {"/sys/fs/cgroup/cpu.max": "250000 100000\n"},
        2,
        "2.5 rounded down",
    ),
    "v2, four": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": "200000 50000\n"}, 4, "4"),
    "v2, more than there are CPUs": (
        "0::/\n",
        V2,
        {"/sys/fs/cgroup/cpu.max": "9900000 100000\n"},
        CPUS,
        None,
    ),
    "v2, empty file": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": ""}, CPUS, None),
    "v2, period 0": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": "50000 0\n"}, CPUS, None),
    "v2, no period": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": "50000\n"}, CPUS, None),
    "v2, garbage": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": "lots 100000 \x00 1e5 ½\n"}, CPUS, None),
    "v2, -1": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": "-1 100000\n"}, CPUS, None),
    "v2, far too many digits": ("0::/\n", V2, {"/sys/fs/cgroup/cpu.max": f"{'9' * 9999} 1\n"}, CPUS, None),
    "v2, in a slice": (
        "0::/a.slice/b.service\n",
        V2,
        {
            "/sys/fs/cgroup/a.slice/b.service/cpu.max": "300000 100000\n",
            "/sys/fs/cgroup/a.slice/cpu.max": "max 1\n",
        },
        3,
        "3",
    ),
    "v2, in a slice that has less": (
        "0::/a.slice/b.service\n",
        V2,
        {
            "/sys/fs/cgroup/a.slice/b.service/cpu.max": "max 100000\n",
            "/sys/fs/cgroup/a.slice/cpu.max": "220000 100000\n",
            "/sys/fs/cgroup/cpu.max": "700000 100000\n",
        },
        2,
        "2.2 rounded down",
    ),
    "v2, someone else's limit": (
        "0::/a.slice\n",
        V2,
        {"/sys/fs/cgroup/b.slice/cpu.max": "100000 100000\n"},
        CPUS,
        None,
    ),
    "v2, the namespace hides the path": (
        "0::/../../kubepods/pod1\n",
        V2,
        {"/sys/fs/cgroup/cpu.max": "200000 100000\n", "/kubepods/pod1/cpu.max": "100000 100000\n"},
        2,
        "2",
    ),
    "v2, only the container's part is mounted": (
        "0::/docker/1/sub\n",
        "30 23 0:26 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
        {"/sys/fs/cgroup/sub/cpu.max": "300000 100000\n", "/sys/fs/cgroup/cpu.max": "400000 100000\n"},
        3,
        "3",
    ),
    "v2, mounted at an odd place": (
        "0::/a b\n",
        "30 23 0:26 / /mnt/c\\040groups rw - cgroup2 none rw\n",
        {"/mnt/c groups/a b/cpu.max": "200000 100000\n"},
        2,
        "2",
    ),
    "v1": (
        "4:cpu,cpuacct:/\n3:cpuset:/\n",
        V1,
        v1("/sys/fs/cgroup/cpu,cpuacct", "250000\n"),
        2,
        "2.5 rounded down",
    ),
    "v1, no limit": ("4:cpu,cpuacct:/\n", V1, v1("/sys/fs/cgroup/cpu,cpuacct", "-1\n"), CPUS, None),
    "v1, period 0": ("4:cpu,cpuacct:/\n", V1, v1("/sys/fs/cgroup/cpu,cpuacct", "50000\n", "0\n"), CPUS, None),
    "v1, no period": (
        "4:cpu,cpuacct:/\n",
        V1,
        {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000"},
        CPUS,
        None,
    ),
    "v1, in a slice that has less": (
        "3:cpuset:/\n4:cpu,cpuacct:/a/b\n",
        V1,
        {
            **v1("/sys/fs/cgroup/cpu,cpuacct/a/b", "900000\n"),
            **v1("/sys/fs/cgroup/cpu,cpuacct/a", "300000\n"),
            **v1("/sys/fs/cgroup/cpu,cpuacct", "-1\n"),
        },
        3,
        "3",
    ),
    "v1, docker without a cgroup namespace": (
        "4:cpu,cpuacct:/docker/0123\n",
        V1.replace("0:28 / ", "0:28 /docker/0123 "),
        v1("/sys/fs/cgroup/cpu,cpuacct", "200000\n"),
        2,
        "2",
    ),
    "v1 and v2, CPU in v1": (
        "2:cpu:/a\n1:name=systemd:/a\n0::/a\n",
        "31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "32 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        v1("/sys/fs/cgroup/cpu/a", "400000\n"),
        4,
        "4",
    ),
    "no /proc": (None, None, {"/sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2, "2"),
    "no /proc, v1": (None, None, v1("/sys/fs/cgroup/cpu", "300000\n"), 3, "3"),
    "no mountinfo": ("0::/a\n", None, {"/sys/fs/cgroup/a/cpu.max": "200000 100000\n"}, 2, "2"),
    "no cgroup": (None, V2, {"/sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2, "2"),
    "broken mountinfo": (
        "0::/\n:\nno colon\n",
        "\n - \n1 2 - cgroup2\n1 2 3 / - cgroup\n - cgroup2 a b\n",
        {"/sys/fs/cgroup/cpu.max": "200000 100000\n"},
        2,
        "2",
    ),
    "nothing at all": (None, None, {}, CPUS, None),
}


@pytest.mark.parametrize("case", TREES)
def test_cgroup_quotas(case, tmp_path):
    cgroup, mountinfo, files, expected, quota = TREES[case]
    for path, text in {"/proc/self/cgroup": cgroup, "/proc/self/mountinfo": mountinfo, **files}.items():
        if text is not None:
            file = tmp_path / path[1:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    reason = f"the cgroup's CPU quota of {quota}" if quota else "CPUs"
    assert threads._default(str(tmp_path), {}) == (expected, reason, "")


def test_a_file_that_may_not_be_read_sets_no_limit(tmp_path):
    unreadable = tmp_path / "sys/fs/cgroup/cpu.max"
    unreadable.mkdir(parents=True)  # opening it fails, for root too
    assert threads._default(str(tmp_path), {}).threads == CPUS


lines = st.lists(st.text(st.sampled_from("01:/ -.,\\\x00\nacgroup2")), max_size=9).map(" ".join)


@given(cgroup=lines, mountinfo=lines, quota=lines)
def test_no_text_in_these_files_is_an_error(cgroup, mountinfo, quota, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for path, text in {
        "proc/self/cgroup": cgroup,
        "proc/self/mountinfo": mountinfo,
        "sys/fs/cgroup/cpu.max": quota,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    assert 1 <= threads._default(str(root), {}).threads <= CPUS


def test_cpus_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.undo()
    expected = len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert threads._cpus().threads == expected


@pytest.mark.parametrize("error", [AttributeError, PermissionError])
def test_cpus_where_affinity_cannot_be_had(error, monkeypatch):
    def refuse(pid):
        raise error

    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", refuse, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads._cpus() == (1, "the machine's CPUs", "")


# --- The module ---

LOADED_ALONE = f"""
import builtins, importlib.util, os, sys, types

team = types.ModuleType("alone._team")
team.openmp, team.openmp_limit = True, lambda: 64
team.set_policy = lambda policy: setattr(team, "policy", policy)
package = sys.modules["fastembed"] = types.ModuleType("fastembed")
package.__path__ = [os.path.dirname({threads.__file__!r})]
sys.modules["fastembed._team"] = team
spec = importlib.util.spec_from_file_location("fastembed.threads", {threads.__file__!r})
threads = importlib.util.module_from_spec(spec)
code = spec.loader.get_code(spec.name)
"""


def run_alone(code):
    """Run code in a new process that has fastembed.threads over a stand-in for the compiled module."""
    subprocess.run([sys.executable, "-W", "error", "-c", LOADED_ALONE + code], check=True)


def test_importing_reads_nothing_and_sets_the_policy_of_the_core():
    run_alone(
        """
opened = []
builtins.open = lambda *args, **kwargs: opened.append(args)
os.sched_getaffinity = lambda pid: opened.append(pid) if pid else {0}  # 0: that importing changed nothing
os.environ["FASTEMBED_NUM_THREADS"] = "nonsense"
exec(code, vars(threads))
assert not opened
assert team.policy is threads.get_num_threads
"""
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_works_the_default_out_anew():
    run_alone(
        """
exec(code, vars(threads))
os.environ["FASTEMBED_NUM_THREADS"] = "5"
assert threads.get_num_threads() == 5
os.environ["FASTEMBED_NUM_THREADS"] = "6"
pid = os.fork()
if pid == 0:
    os._exit(threads.get_num_threads())
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
assert threads.get_num_threads() == 5
"""
    )


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="there are no affinities here")
@pytest.mark.parametrize("variable", ["OMP_PROC_BIND=true", "GOMP_CPU_AFFINITY=0"])
def test_importing_binds_no_thread_to_a_cpu(variable):
    """libgomp binds the thread that loads it, where its variables say so."""
    name, value = variable.split("=")
    code = "import os; b = os.sched_getaffinity(0); import fastembed; assert os.sched_getaffinity(0) == b"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, name: value})
