"""The environment of the benchmarks, with numba and the peers in fixed versions, and the machine.

This file imports nothing that has to be installed.
"""

import contextlib
import os
import platform
import subprocess
import sys
import venv
from importlib import metadata, util
from pathlib import Path

HERE = Path(__file__).parent
ENGINE = "numba==0.68.1"
# Each peer is installed on its own, and left out where that fails.
PEERS = ["modern-fm==1.1.2", "pylibffm==0.4.1", "torch==2.13.0", "lightgbm==4.7.0"]
OTHERS = ["pandas", "polars", "pyarrow", "matplotlib>=3.8"]
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)
PACKAGES = ["skfm", "numpy", "scipy", "scikit-learn", "numba", "pandas", "polars"]


def in_own_environment():
    """Run the script again in an environment beside this file, with skfm and its peers."""
    folder = HERE / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, ENGINE, *OTHERS], check=True)
    subprocess.run([*install, "--force-reinstall", "--no-deps", HERE.parents[1]], check=True)
    for peer in PEERS:
        if subprocess.run([*install, peer]).returncode:
            print(f"{peer} cannot be installed here: left out", file=sys.stderr)
    environment = {**os.environ, **ONE_THREAD, "SKFM_BENCHMARK": "1"}
    return subprocess.run([python, *sys.argv], env=environment).returncode


def in_this_environment():
    """Run the script again as it is, but with one thread for libraries that start their own."""
    environment = {**os.environ, **ONE_THREAD, "SKFM_BENCHMARK": "1"}
    return subprocess.run([sys.executable, *sys.argv], env=environment).returncode


def can_import(name, say=True):
    """Whether a module can be imported; a word on standard output if not."""
    try:
        if util.find_spec(name):
            __import__(name)
            return True
        reason = "not installed"
    except Exception as error:  # such as a library that it needs and that is missing
        reason = f"{type(error).__name__}: {error}"
    if say:
        print(f"without {name}: {reason}")
    return False


def machine():
    """What the figures depend on, as pairs of names and texts."""
    yield "processor", f"{_processor()}, {len(cores())} of {os.cpu_count()} cores usable"
    sizes = [*_caches()]
    if sizes:
        yield "caches", ", ".join(sizes)
    with contextlib.suppress(AttributeError, ValueError, OSError):
        n_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield "memory", f"{n_bytes / 2**30:.0f} GiB"
    if hasattr(os, "getloadavg"):
        yield "load", f"{os.getloadavg()[0]:.1f} when this began (1 is one busy core)"
    yield "system", f"{platform.system()} {platform.machine()}"
    yield "Python", platform.python_version()
    yield "packages", ", ".join(_versions(PACKAGES))
    peers = [peer.split("==")[0] for peer in PEERS]
    yield "peers", ", ".join(_versions(peers)) or "none"


def cores():
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(n):
    """Keep the process to its first n cores, where the system can."""
    before = cores()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, before[:n])
    try:
        yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, before)


def _processor():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _caches():
    """What Linux tells of the caches of the first core."""
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with contextlib.suppress(OSError):
            level, kind, size = (
                (folder / name).read_text().strip() for name in ("level", "type", "size")
            )
            if kind != "Instruction":
                kib = int(size.rstrip("K"))
                yield f"L{level} {kib // 1024} MiB" if kib >= 1024 else f"L{level} {kib} KiB"


def _versions(names):
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"
