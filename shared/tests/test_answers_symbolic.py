import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tools_shared.answers import Status, equal, equal_many, symbolic
from tools_shared.answers.symbolic import Pool, compare

pytest.importorskip("math_verify", reason="math-verify is not installed (tools-shared[symbolic])")


@pytest.fixture
def pool():
    pool = Pool(size=2, deadline_s=1.0)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("3\\sqrt{13}", "\\sqrt{117}"),
        ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\pi/2)"),
        ("(-\\infty, 2) \\cup (3, \\infty)", "(-\\infty,2)\\cup(3,\\infty)"),
        ("\\{1\\pm\\sqrt{5},-2\\}", "\\{-2, 1+\\sqrt{5}, 1-\\sqrt{5}\\}"),
        ("x^3+3x-6", "3x - 6 + x^3"),
        ("(a+5)(b+2)", "(b+2)(a+5)"),
        ("\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}", "\\begin{pmatrix} -\\frac13 \\\\ \\frac23 \\end{pmatrix}"),
        ("1,-2", "-2, 1"),
        ("6 - 5i", "-5i+6"),
        ("\\frac{\\pi}{2}", "0.5\\pi"),
        ("x \\in [-2,7]", "[-2,7]"),
        ("32", "2^5"),
        ("4", "\\sqrt{16}"),
        ("18", "12 + 6 = 18"),
        ("18", "f(2) = 12 + 6"),
        ("y = 2x + 3", "y = 3 + 2x"),
        ("\\sqrt{2}", "x = \\sqrt{2}"),
    ],
)
def test_equal_by_algebra(gold, given):
    assert equal(gold, given).status is Status.CORRECT


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("3\\sqrt{13}", "\\sqrt{118}"),
        ("(2,3]", "[2,3]"),
        ("(2,3]", "(2,3)"),
        ("\\sqrt{2}", "1.414214"),
        ("10^{-8}", "0"),
        ("18", "20 = 18"),
        ("18", "x = 20 = 18"),
        ("18", "18!"),
        ("18", "19 \\pm 1"),
        ("18", "\\boxed{18}\\boxed{20}"),
        ("20", "\\boxed{18}\\boxed{20}"),
        ("\\sqrt{2}", "\\sqrt{3} = \\sqrt{2}"),
        ("\\sqrt{2}", "\\sqrt{2} \\text{ or } \\sqrt{3}"),
        ("1 \\pm \\sqrt{19}", "1 + \\sqrt{19}"),
        ("(6,31,-1)", "(-1,6,31)"),
        ("5", "5x"),
        ("x^2+1", "x^2-1"),
    ],
)
def test_not_equal_by_algebra(gold, given):
    assert not equal(gold, given).correct


def test_text_is_never_evaluated_as_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sympy.py").write_text("open('shadowed', 'w')")
    attacks = [
        "__import__('os').system('touch pwned')",
        "().__class__.__bases__[0].__subclasses__()",
        "\\text{__import__('os').system('touch pwned')}",
        "\\operatorname{__import__}('os').system('touch pwned')",
        "$exec(\"open('pwned','w')\")$",
        "open('pwned','w')",
        "x=[].append(open('pwned','w'))",
        'S(\'open("pwned","w")\')',
    ]
    pool = Pool(size=1)
    for attack in attacks:
        assert not equal("\\sqrt{2}", attack).correct
        assert not equal(attack + "\\sqrt{3}", "\\sqrt{2}").correct
        assert pool.compare("\\sqrt{2}", attack) != "correct"
    pool.close()
    assert [p.name for p in tmp_path.iterdir()] == ["sympy.py"]


def test_the_worker_reads_number_literals_and_nothing_else():
    code = (
        "from tools_shared.answers.worker import replace_evaluators, forbid_side_effects; replace_evaluators()\n"
        "import os, sympy, math_verify\n"
        "assert sympy.Number('3.5') == sympy.Rational(7, 2)\n"
        "def refused(action, kind):\n"
        "    try: action()\n"
        "    except kind: return\n"
        "    raise SystemExit('not refused')\n"
        "for text in ('1+1', 'x', 'print(1)', '9**9', '1e99999'):\n"
        "    refused(lambda: sympy.sympify(text), (ValueError, sympy.SympifyError))\n"
        "forbid_side_effects()\n"
        "refused(lambda: os.system('true'), PermissionError)\n"
        "refused(lambda: open('written', 'w'), PermissionError)\n"
        "refused(os.fork, PermissionError)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "given", ["9**9**9", "9^{9^{9^{9}}}", "10^{10^{10}}", "1000000!", "\\frac" * 80, "\\sqrt" * 90]
)
def test_explosive_answers_end_within_the_deadline(pool, given):
    pool.compare("\\pi", "2")
    with at_most_in_children(seconds=8):
        assert pool.compare("\\pi", given) in ("timeout", "wrong", "unparseable")
        pool.close()


@contextmanager
def at_most_in_children(seconds):
    """Processor time of the workers that end here, their start among it; a clock would tell how busy the machine is."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < seconds


@pytest.mark.parametrize(
    "given", ["(" * 200 + "1" + ")" * 200, "\\sqrt{" * 100_000, "{" * 90 + "}" * 90, "x+" * 400 + "x"]
)
def test_what_is_too_long_or_too_deep_is_refused_before_a_worker_sees_it(given, monkeypatch):
    monkeypatch.setattr(symbolic, "_pool", Pool(size=1))
    assert equal("\\pi", given).status is Status.UNPARSEABLE
    assert equal(given, "\\pi").status is Status.GOLD_INVALID
    assert compare("\\pi", given) == "unparseable"
    assert not symbolic._pool._idle


def test_a_worker_past_its_deadline_is_killed_and_replaced(pool):
    assert pool.compare("\\sqrt{4}", "2") == "correct"
    first = pool._idle[0].process
    assert pool.compare("\\pi", "9^{9^{9^{9}}}") == "timeout"
    assert first.poll() is not None
    assert pool.compare("\\sqrt{4}", "2") == "correct"


def test_a_machine_that_is_busy_changes_no_grade(pool):
    """A worker that is stopped for longer than its deadline has used none of it."""
    assert pool.compare("\\sqrt{4}", "2") == "correct"
    pid = pool._idle[0].process.pid
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(2 * pool.deadline_s, os.kill, (pid, signal.SIGCONT)).start()
    assert pool.compare("\\sqrt{9}", "3") == "correct"
    assert pool._idle[0].process.pid == pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit on memory")
def test_a_worker_has_limits_on_memory_and_processor_time_from_the_kernel():
    pool = Pool(size=1, deadline_s=3.0, memory_bytes=300 << 20)
    assert pool.compare("\\sqrt{4}", "2") == "correct"
    pid = pool._idle[0].process.pid
    assert resource.prlimit(pid, resource.RLIMIT_AS) == (300 << 20, 300 << 20)
    assert 3 <= resource.prlimit(pid, resource.RLIMIT_CPU)[0] <= 15
    assert pool.compare("\\pi", "2^{2^{33}}") in ("timeout", "wrong", "unparseable")  # a gigabyte of digits
    assert pool.compare("\\sqrt{4}", "2") == "correct"
    pool.close()


def test_threads_share_the_pool_and_get_their_own_answers(pool):
    def one(i: int) -> bool:
        return pool.compare(f"\\sqrt{{{i * i * 2}}}", f"{i + i % 2}\\sqrt{{2}}") == "correct"

    with ThreadPoolExecutor(6) as executor:
        assert list(executor.map(one, range(1, 41))) == [i % 2 == 0 for i in range(1, 41)]
    assert len(pool._idle) <= pool.size


def test_many_symbolic_pairs_in_threads():
    pairs = [(f"{i}\\sqrt{{2}}", f"\\sqrt{{{2 * i * i + i % 3}}}") for i in range(1, 13)]
    assert [v.correct for v in equal_many(pairs, threads=2)] == [i % 3 == 0 for i in range(1, 13)]


def test_a_forked_child_has_a_pool_of_its_own(pool):
    assert pool.compare("\\sqrt{4}", "2") == "correct"
    worker = pool._idle[0]
    child = os.fork()
    if child == 0:
        alone = not pool._idle and pool.compare("\\sqrt{9}", "3") == "correct"
        pool.close()
        os._exit(0 if alone else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.compare("\\sqrt{9}", "3") == "correct"
    assert pool._idle == [worker]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_process_is_left_behind_and_no_alarm_is_set():
    code = (
        "import signal, threading\n"
        "from tools_shared.answers import equal\n"
        "from tools_shared.answers import symbolic\n"
        "before = signal.getsignal(signal.SIGALRM)\n"
        "t = threading.Thread(target=lambda: equal('\\\\sqrt{4}', '2+0')); t.start(); t.join()\n"
        "assert signal.getsignal(signal.SIGALRM) == before\n"
        "assert equal('2', '\\\\sqrt{4}').correct\n"
        "print(symbolic._pool._idle[0].process.pid)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not os.path.exists(f"/proc/{int(done.stdout)}")  # noqa: PTH110


def test_without_math_verify_numbers_and_words_still_work(tmp_path):
    code = (
        "import importlib.util as u\n"
        "find = u.find_spec; u.find_spec = lambda name, *a: None if name == 'math_verify' else find(name, *a)\n"
        "from tools_shared import ToolError\n"
        "from tools_shared.answers import equal\n"
        "assert equal('1/2', '0.5').correct and equal('Monday', 'monday').correct\n"
        "try: equal('\\\\sqrt{2}', '\\\\sqrt{3}')\n"
        "except ToolError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'tools-shared[symbolic]'" in done.stdout


def test_importing_answers_and_rewards_is_light():
    code = "import sys, tools_shared.rewards; print([m for m in ('torch', 'sympy', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_main_thread_is_not_needed():
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.append(equal("\\sqrt{8}", "2\\sqrt{2}")))
    thread.start()
    thread.join()
    assert verdicts[0].correct
