"""The compiled part; everything else is in pyproject.toml.

Environment: FASTEMBED_OPENMP=0 builds without OpenMP (everything then runs serially);
FASTEMBED_DEBUG=1 builds unoptimised with bounds checks and assertions.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTEMBED_DEBUG", "0") == "1"

# No looser float flags than these: the same bits for every thread count and instruction set need
# -ffp-contract=off (gcc would put fused multiply-adds into the AVX builds only).
FLAGS = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
FLAGS += ["-O0", "-g", "-UNDEBUG"] if DEBUG else ["-O3", "-g0"]


def compiles_openmp() -> bool:
    """Whether the compiler builds and links a program that uses OpenMP."""
    if os.environ.get("FASTEMBED_OPENMP", "1") == "0":
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
        command = [
            *os.environ.get("CC", "cc").split(),
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
ISAS = ["avx2", "avx512"] if platform.machine().lower() in ("x86_64", "amd64") else []


def extension(name: str, *sources: str, openmp: bool = False) -> Extension:
    flags = OPENMP if openmp else []
    return Extension(
        f"fastembed.{name}",
        [f"src/{name}.pyx", *sources],
        include_dirs=["src", np.get_include()],
        depends=[str(path) for path in sorted(Path("src").rglob("*.[hp]*")) if path.suffix in (".h", ".pxd")],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=FLAGS + flags,
        extra_link_args=flags + ([] if DEBUG or sys.platform == "darwin" else ["-Wl,--strip-all"]),
    )


setup(
    ext_modules=cythonize(
        [
            extension("_memory"),
            extension("_team", openmp=True),
            extension("_rows", *(f"src/rows_{isa}.c" for isa in ["baseline", *ISAS])),
        ],
        include_path=["src"],
        # Changed directives do not trigger a rebuild: the checked build has its own folder.
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "initializedcheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "embedsignature": False,
            "binding": True,
        },
    )
)
