"""Ctrl-C or the end of memory, anywhere: the call is undone or done, and no process dies.

An exception is raised at points of skfm's code that are drawn at random, line by line, in
processes of their own: compiled code that writes where it must not would take pytest along.
``SKFM_FUZZ_EXAMPLES=4000 pytest tests/test_interrupts.py`` tries more of them, and sends 250
signals to each call, which takes hours.
"""

import ctypes
import faulthandler
import inspect
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent import futures
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import skfm
from skfm import FFMClassifier, WideDeepClassifier, _threads, _training

from .calls import SEED, all_cases, make_rows, model_cases

N_POINTS = int(os.environ.get("SKFM_FUZZ_EXAMPLES", 48))
N_LIMITS = max(30, N_POINTS // 10)
N_SIGNALS = max(1, N_POINTS // 16)  # for each call; of a few calls only in a short run
MOST_HEADROOM = 20 << 20
ENGINES = ("numpy", "numba") if find_spec("numba") else ("numpy",)

# A process that does not get on for so many seconds counts as dead.
PATIENCE = 120
MOST_DEATHS = 5

# CPython's own hang: Thread.start() waits for ever for a thread that memory does not suffice
# for (https://github.com/python/cpython/issues/140746).
NO_THREAD_STARTS = re.compile(r'threading\.py", line \d+ in start\n')

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="sends signals, and limits memory"),
]


# -- what may become of it ------------------------------------------------------------


def tried(function, *args):
    """What a function returns, or what it raises as a text."""
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def behaviour(case, thing):
    """What is seen of an object now, and as it goes on."""
    seen = [tried(case.look, thing)]
    for step in case.steps:
        failure = tried(step, thing)
        seen.append(failure if isinstance(failure, str) else tried(case.look, thing))
    return seen


def same(one, other):
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and one == other
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def agreement(seen, expected):
    """In how many looks, from the first, two objects behave the same."""
    pairs = itertools.starmap(same, zip(seen, expected, strict=True))
    return sum(1 for _ in itertools.takewhile(bool, pairs))


class Judge:
    """Knows how a case behaves where its call is undone, and where it is done.

    `passed` are the points that the call passes.
    """

    def __init__(self, case, points=nullcontext):
        self.case = case
        self.undone, thing = behaviour(case, case.start()), case.start()
        with points() as counted:
            case.call(thing)
        self.done = behaviour(case, thing)
        self.passed = counted and counted.passed
        assert not any(isinstance(look, str) for look in [*self.undone[1:], *self.done]), self.done

    def wrong(self, thing, raised, expected, warned):
        """What is wrong with an object after an interrupted call; None if nothing is.

        `raised` is what the call raised, None if it returned, and `expected` what it may.
        """
        about_memory = "memory" in str(raised) or "can't start new thread" in str(raised)
        other = isinstance(raised, (ValueError, RuntimeError)) and not about_memory
        if raised is not None and (other or not isinstance(raised, expected)):
            return f"the call raised {type(raised).__name__}: {raised}"
        seen = behaviour(self.case, thing)
        right = [self.done] if raised is None else [self.done, self.undone]
        agreed = max(agreement(seen, looks) for looks in right)
        if agreed == len(seen):
            return None
        failures = [look for look in seen if isinstance(look, str)]
        if not raised and self.case.may_stop and any("was stopped" in text for text in warned):
            if failures:
                return f"after the early end: {failures[0]}"
            finite = all(np.isfinite(array).all() for look in seen for array in look)
            return None if finite else "after the early end: it is not finite"
        when = ["at once", "after the same call again", "after one more call"][agreed]
        what = failures[0] if failures else "another state than that before and that after"
        return f"{'raised' if raised else 'returned'}, then {when}: {what}"


def attempt(call, thing):
    """What an interrupted call raises, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call(thing)
            raised = None
        except (Exception, KeyboardInterrupt) as error:
            raised = error.with_traceback(None)
    return raised, [str(warning.message) for warning in caught]


# -- interrupting ---------------------------------------------------------------------


class Points:
    """A context that lists the points that skfm's code passes, and raises at one of them.

    Points are the calls, lines and returns of the package's Python code on all threads. Not
    those of `_threads.py`: it holds no model but the number of BLAS threads, which an
    interrupt between two of its lines leaves at one.

    Ctrl-C comes in the main thread only; if the point is on another one, as a signal
    while the main thread waits for it.
    """

    def __init__(self, error=None, number=np.inf):
        self.error, self.number = error, number
        self.passed, self.place, self.armed = [], None, False
        self.main = threading.get_ident()

    def __enter__(self):
        self.armed = True
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        self.armed = False
        sys.settrace(None)
        threading.settrace(None)

    def _trace(self, frame, event, _):
        file = frame.f_code.co_filename
        if not self.armed or not file.startswith(PACKAGE) or file == _threads.__file__:
            return None
        # What a generator yields has left it already: an exception there is not its own.
        left = event == "return" and frame.f_code.co_flags & inspect.CO_GENERATOR
        if event != "exception" and not left:
            self._pass(f"{Path(file).name}:{frame.f_lineno} ({event})")
        return self._trace

    def _pass(self, place):
        self.passed.append(place)
        if len(self.passed) <= self.number or not self.armed:
            return
        if self.error is MemoryError or threading.get_ident() == self.main:
            self.armed, self.place = False, place
            raise self.error
        if self._main_waits():
            self.armed, self.place = False, f"{place}, on another thread"
            signal.pthread_kill(self.main, signal.SIGINT)

    def _main_waits(self):
        frame = sys._current_frames()[self.main]
        while frame and frame.f_code.co_filename != futures._base.__file__:
            frame = frame.f_back
        return frame is not None


class Allocations(Points):
    """The same where the points are NumPy's functions that make arrays, called by skfm."""

    NAMES = ("empty", "zeros", "full", "ones", "concatenate", "arange", "hstack", "repeat")

    def __enter__(self):
        self.armed, self.real = True, {name: getattr(np, name) for name in self.NAMES}
        for name, function in self.real.items():
            setattr(np, name, self._failing(name, function))
        return self

    def __exit__(self, *_):
        self.armed = False
        for name, function in self.real.items():
            setattr(np, name, function)

    def _failing(self, name, function):
        def allocate(*args, **kwargs):
            caller = sys._getframe(1)
            file = caller.f_code.co_filename
            if self.armed and file.startswith(PACKAGE) and file != _threads.__file__:
                self._pass(f"{Path(file).name}:{caller.f_lineno} (np.{name})")
            return function(*args, **kwargs)

        return allocate


PACKAGE = str(Path(skfm.__file__).parent) + os.sep
KINDS = {
    "Ctrl-C": (Points, KeyboardInterrupt),
    "MemoryError": (Points, MemoryError),
    "MemoryError of NumPy": (Allocations, MemoryError),
}


def use_threads_for_little_work(engine):
    """Let a few rows be enough for a second thread."""
    _training._WORTH_A_THREAD, _training._MAX_ROWS = 0, 64
    if engine == "numba":
        import_module("skfm._engine.team")._WORTH_A_THREAD = 0


def try_points(engine, first, n_points):
    """Interrupt calls at the points numbered from `first` on."""
    use_threads_for_little_work(engine)
    with tempfile.TemporaryDirectory() as folder:
        cases, judges = all_cases(engine, folder), {}
        order = np.random.default_rng(SEED).permutation(len(cases))  # a few are of all kinds
        for number in range(first, n_points):
            rng = np.random.default_rng([SEED, number])
            case = cases[order[number % len(cases)]]
            kind = rng.choice(list(KINDS), p=[0.45, 0.4, 0.15])
            how, error = KINDS[kind]
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            if (case, how) not in judges:
                judges[case, how] = Judge(case, how)
            judge = judges[case, how]
            # A line that is passed once is as likely as one in a loop.
            places = np.array(judge.passed or ["nowhere"])
            place = rng.choice(np.unique(places))
            at = rng.choice(np.flatnonzero(places == place))
            print(f"POINT {number}: {case.name}: {kind} at {place}, {at} of {len(places)}")
            thing = case.start()
            with how(error, at) as points:
                raised, warned = attempt(case.call, thing)
            if points.place:
                print("INTERRUPTED at", points.place)
            wrong = judge.wrong(thing, raised, error, warned)
            if wrong:
                print(f"FAILED {number}: {case.name}: {kind} at {points.place}: {wrong}")


class Alarm:
    """Sends Ctrl-C some seconds after a call began, unless it has ended by then."""

    def __init__(self, delay):
        self.delay, self.armed, self.rang = delay, False, False

    def calling(self, call):
        def interrupted(thing):
            self.armed = True
            signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.delay)
            try:
                call(thing)
            finally:
                self.armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)

        return interrupted

    def _ring(self, *_):
        if self.armed:
            self.armed, self.rang = False, True
            signal.raise_signal(signal.SIGINT)


def try_signals(engine, first, n_signals):
    """Send each call Ctrl-C at random moments; n_signals times, or a few calls if that is few."""
    use_threads_for_little_work(engine)
    rang = 0
    with tempfile.TemporaryDirectory() as folder:
        cases = all_cases(engine, folder)
        cases = cases if n_signals > 10 else cases[::9]
        for number in range(first, len(cases) * n_signals):
            case, rng = cases[number // n_signals], np.random.default_rng([SEED, 1, number])
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            if number % n_signals == 0 or number == first:
                judge, thing = Judge(case), case.start()
                start = time.perf_counter()
                case.call(thing)
                seconds = time.perf_counter() - start
            delay = 1e-6 + seconds * rng.random()
            print(f"POINT {number}: {case.name}: Ctrl-C after {delay:.6f} of {seconds:.6f} s")
            thing, alarm = case.start(), Alarm(delay)
            raised, warned = attempt(alarm.calling(case.call), thing)
            rang += alarm.rang
            wrong = judge.wrong(thing, raised, KeyboardInterrupt, warned)
            if wrong:
                print(f"FAILED {number}: {case.name}: Ctrl-C after {delay:.6f} s: {wrong}")
    print(f"RANG {rang} times in {len(cases)} calls")


# -- too little memory ----------------------------------------------------------------


LIMITS = {"RLIMIT_DATA": "VmData", "RLIMIT_AS": "VmSize"}
# ValueError says how much a model needs, RuntimeError that a thread cannot be started.
LACK_OF_MEMORY = (MemoryError, ValueError, RuntimeError)


@contextmanager
def limited(name, headroom):
    """Let the process have no more than `headroom` more bytes."""
    import resource

    ctypes.CDLL(None).malloc_trim(0)
    limit = getattr(resource, name)
    before = resource.getrlimit(limit)
    status = Path("/proc/self/status").read_text()
    used = 1024 * int(re.search(rf"{LIMITS[name]}:\s+(\d+)", status)[1])
    resource.setrlimit(limit, (used + headroom, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(limit, before)


def try_limits(name, first, n_limits):
    """Make calls with less and less memory."""
    rows = make_rows(width=8_000, entries=20)
    cases = model_cases(FFMClassifier, "numpy", rows)
    cases = [*cases, *model_cases(WideDeepClassifier, "numpy", rows)]
    if "numba" in ENGINES:
        cases += model_cases(FFMClassifier, "numba", rows)
        cases += model_cases(FFMClassifier, "numba", rows, several=True)
    rng = np.random.default_rng(list(LIMITS).index(name))
    rounds = range(-(-n_limits // len(cases)))
    order = np.concatenate([rng.permutation(len(cases)) for _ in rounds])
    judges = {}
    for number in range(first, n_limits):
        case = cases[order[number]]
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        if case not in judges:
            judges[case] = Judge(case)
        headroom = int(MOST_HEADROOM * (1 - number / n_limits) ** 2)
        print(f"POINT {number}: {case.name}: {name} {headroom / 2**20:.1f} MB above use")
        thing = case.start()
        faulthandler.dump_traceback_later(PATIENCE / 6, exit=True)  # nothing is left to compile
        with limited(name, headroom):
            raised, warned = attempt(case.call, thing)
        wrong = judges[case].wrong(thing, raised, LACK_OF_MEMORY, warned)
        if raised:
            print("RAISED", type(raised).__name__)
        if wrong:
            print(f"FAILED {number}: {case.name}: {name} {headroom / 2**20:.1f} MB: {wrong}")


# -- processes ------------------------------------------------------------------------


def failures(what, which, n):
    """Failures among n points that a process of its own tries; its death is one of them."""
    found, first = [], 0
    for _ in range(MOST_DEATHS):
        command = [sys.executable, "-u", "-m", __name__, what, which, str(first), str(n)]
        # Limits count all that the allocator has: it shall keep none in reserve.
        env = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "524288", **os.environ}
        root = Path(__file__).parents[1]
        process = subprocess.run(command, cwd=root, env=env, text=True, capture_output=True)
        lines = process.stdout.splitlines()
        found += [line for line in lines if line.startswith("FAILED")]
        if process.returncode == 0:
            return found, lines
        last = [line for line in lines if line.startswith("POINT")]
        assert last, process.stderr
        if not NO_THREAD_STARTS.search(process.stderr):
            found.append(
                f"DIED with {process.returncode} in or after {last[-1]}\n{process.stderr[:1500]}"
            )
        first = 1 + int(re.match(r"POINT (\d+)", last[-1])[1])
    return found, lines


@cache
def started(what, each, n):
    """A running process for each of these."""
    pool = futures.ThreadPoolExecutor(len(each))
    return {which: pool.submit(failures, what, which, n) for which in each}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_call_is_undone_or_done(engine):
    """Afterwards the object is, and learns on, bit by bit as before the call or as after it.

    A fit that Ctrl-C ends in the middle of training may also return what it has learned, with
    a warning.
    """
    n_points = N_POINTS // len(ENGINES)
    found, lines = started("points", ENGINES, n_points)[engine].result()
    assert not found, "\n".join(["", *found])
    interrupted = sum(line.startswith("INTERRUPTED") for line in lines)
    assert interrupted > n_points // 2  # or this would prove nothing


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_that_is_sent_a_signal_is_undone_or_done(engine):
    """The same where a signal comes at a moment of its own, as that of Ctrl-C does."""
    found, lines = started("signals", ENGINES, N_SIGNALS)[engine].result()
    assert not found, "\n".join(["", *found])
    assert int(lines[-1].split()[1]) > 0  # or this would prove nothing


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are as Linux has them")
@pytest.mark.parametrize("limit", LIMITS)
def test_a_call_that_memory_does_not_suffice_for_is_undone_or_done(limit):
    """The same where memory does end, in NumPy, compiled code or the start of a thread."""
    found, lines = started("limits", tuple(LIMITS), N_LIMITS // len(LIMITS))[limit].result()
    assert not found, "\n".join(["", *found])
    raised = sum(line.startswith("RAISED") for line in lines)
    assert raised > N_LIMITS // 20  # or this would prove nothing


if __name__ == "__main__":
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore")
    tries = {"points": try_points, "signals": try_signals, "limits": try_limits}
    tries[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
