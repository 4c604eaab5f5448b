"""The compiled part; everything else is in pyproject.toml.

Environment: FASTEMBED_OPENMP=0 builds without OpenMP (everything then runs serially);
FASTEMBED_DEBUG=1 builds unoptimised with bounds checks and assertions;
FASTEMBED_SANITIZE=address,undefined (or thread, or what else -fsanitize takes) builds for these sanitizers.
Both get a module of deliberate faults (tests/sanitize.py), which no wheel for users holds.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTEMBED_DEBUG", "0") == "1"
SANITIZE = os.environ.get("FASTEMBED_SANITIZE", "")

# No looser float flags than these: the same bits for every thread count and instruction set need
# -ffp-contract=off (gcc would put fused multiply-adds into the AVX builds only).
FLAGS = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
if DEBUG:
    FLAGS += ["-O0", "-g", "-UNDEBUG"]
elif SANITIZE:
    # Python's own flags hold -fwrapv, with which signed overflow is defined and would not be reported.
    FLAGS += ["-O1", "-g", f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-fno-wrapv"]
else:
    FLAGS += ["-O3", "-g0"]


def compiles_openmp() -> bool:
    """Whether the compiler builds and links a program that uses OpenMP."""
    if os.environ.get("FASTEMBED_OPENMP", "1") == "0":
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
        command = [
            *os.environ.get("CC", sysconfig.get_config_var("CC") or "cc").split(),
            "-fopenmp",
            str(source),
            "-o",
            str(source.with_suffix("")),
        ]
        try:
            found = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            found = False
    if not found:
        print(
            "fastembed: this compiler has no OpenMP; building without it (lookups run serially)",
            file=sys.stderr,
        )
    return found


OPENMP = ["-fopenmp"] if compiles_openmp() else []

# Changed flags and directives do not trigger a rebuild: each kind of build has its own folder, and what
# is there is built anew.
KIND = "debug" if DEBUG else SANITIZE.replace(",", "-") or "release"
BUILD = f"build/{KIND}{'' if OPENMP else '-serial'}"


def extension(module: str, *sources: str, openmp: bool = False, folder: str = "src") -> Extension:
    flags = OPENMP if openmp else []
    link = [f"-fsanitize={SANITIZE}"] if SANITIZE else []
    if not (DEBUG or SANITIZE or sys.platform == "darwin"):
        link = ["-Wl,--strip-all"]
    return Extension(
        module,
        [f"{folder}/{module.rpartition('.')[2]}.pyx", *sources],
        include_dirs=["src", np.get_include()],
        depends=[str(path) for path in sorted(Path("src").rglob("*.[hp]*")) if path.suffix in (".h", ".pxd")],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=FLAGS + flags,
        extra_link_args=flags + link,
    )


def per_isa(family: str) -> list[str]:
    """The files that compile a family of kernels, one per instruction set (src/isa.h)."""
    return [f"src/{family}_{isa}.c" for isa in ("baseline", "avx2", "avx512")]


setup(
    options={"build": {"build_base": BUILD}, "build_ext": {"force": True}},
    ext_modules=cythonize(
        [
            extension("fastembed._memory"),
            extension("fastembed._team", "src/team.c", openmp=True),
            extension("fastembed._rows", *per_isa("rows")),
            extension("fastembed._additions"),
            extension("fastembed._steps", *per_isa("steps")),
            extension("fastembed._pooling", *per_isa("pooling")),
            *([extension("faults", folder="tests/safety")] if DEBUG or SANITIZE else []),
        ],
        include_path=["src"],
        build_dir=f"{BUILD}/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "initializedcheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "embedsignature": False,
            "binding": True,
        },
    ),
)
