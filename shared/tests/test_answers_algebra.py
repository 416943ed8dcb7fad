"""Algebra: the guarded worker beside math-verify without a guard, and the verdicts on pairs of every class."""

import json
import subprocess
import sys

import pytest

from tools_shared.answers import equal, equal_many
from tools_shared.answers.symbolic import Pool

pytest.importorskip("math_verify", reason="math-verify is not installed (tools-shared[symbolic])")

EQUAL = r"""
(y-3)^2 ~ y^2-6y+9
(a+2)(b+5) ~ ab+5a+2b+10
x^3-8 ~ (x-2)(x^2+2x+4)
a^4-b^4 ~ (a-b)(a+b)(a^2+b^2)
\frac{x^2-9}{x+3} ~ x-3
\frac1x-\frac1y ~ \frac{y-x}{xy}
\frac{2}{1-x^2} ~ \frac{1}{1-x}+\frac{1}{1+x}
\frac{a+b}{c} ~ \frac{a}{c}+\frac{b}{c}
\frac{m(m-1)}{2} ~ \frac{m^2-m}{2}
\frac{6x+9}{3} ~ 2x+3
0.25t ~ \frac{t}{4}
3(x+1)-2(x-1) ~ x+5
(x+y)^3 ~ x^3+3x^2y+3xy^2+y^3
\frac{1}{\frac{1}{a}+\frac{1}{b}} ~ \frac{ab}{a+b}
\sin 2t ~ 2\sin t\cos t
\cos 2x ~ 1-2\sin^2 x
\tan x ~ \frac{\sin x}{\cos x}
\sin^2 x+\cos^2 x ~ 1
\sec x ~ \frac{1}{\cos x}
1+\tan^2 x ~ \sec^2 x
\sin(a+b) ~ \sin a\cos b+\cos a\sin b
\cos\frac{\pi}{3} ~ \frac12
\arctan 1 ~ \frac{\pi}{4}
\ln 27 ~ 3\ln 3
\ln(xy) ~ \ln x+\ln y
\log_2 32 ~ 5
\ln\frac{a}{b} ~ \ln a-\ln b
3^{n+1} ~ 3\cdot 3^n
9^n ~ 3^{2n}
e^{x+2} ~ e^2\cdot e^x
\frac{2^{n+2}-4}{4} ~ 2^n-1
x^{-2} ~ \frac{1}{x^2}
\sqrt[3]{x^2} ~ x^{\frac23}
\sqrt{\frac1n} ~ \frac{1}{\sqrt n}
(k+1)! ~ (k+1)\cdot k!
\binom{n}{3} ~ \frac{n(n-1)(n-2)}{6}
6! ~ 720
\binom{8}{3} ~ 56
\sqrt{50} ~ 5\sqrt2
\frac{1}{\sqrt5} ~ \frac{\sqrt5}{5}
\sqrt{5+2\sqrt6} ~ \sqrt2+\sqrt3
\frac{3}{2-\sqrt3} ~ 6+3\sqrt3
2^{\frac12} ~ \sqrt2
\frac{\pi}{4}+\frac{\pi}{6} ~ \frac{5\pi}{12}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \begin{bmatrix}1&2\\3&\sqrt{16}\end{bmatrix}
\begin{pmatrix}x+x\\1\end{pmatrix} ~ \begin{pmatrix}2x\\1\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix}+\begin{pmatrix}3&4\end{pmatrix} ~ \begin{pmatrix}4&6\end{pmatrix}
\{3,1,2\} ~ \{1,2,3\}
\{\sqrt8,1\} ~ \{1,2\sqrt2\}
(2,\frac{\pi}{3}) ~ (\sqrt4,\frac{2\pi}{6})
[1,\sqrt9) ~ [1,3)
(-\infty,1)\cup(2,3] ~ (-\infty,1)\cup(2,3]
x<5 ~ (-\infty,5)
-1<x\le 4 ~ (-1,4]
-4\le x\le 9 ~ x\in[-4,9]
5>x ~ x<5
3x+6y-9=0 ~ y=-\frac12x+\frac32
\frac{x^2}{9}+\frac{y^2}{4}=1 ~ 4x^2+9y^2=36
x+y=3 ~ 2x+2y=6
\sum_{k=1}^{20}k ~ 210
\sum_{k=1}^{n}k ~ \frac{n(n+1)}{2}
\sum_{k=0}^{5}2^k ~ 63
\prod_{k=1}^{5}k ~ 120
\int_0^1 3x^2 dx ~ 1
\lfloor 3.7\rfloor ~ 3
|{-7}| ~ 7
2^{40} ~ 4^{20}
\frac{7}{2^{60}} ~ 7\cdot2^{-60}
12\% ~ 12
""".strip().splitlines()
DIFFERENT = r"""
(y-3)^2 ~ y^2-6y-9
(a+2)(b+5) ~ ab+5a+2b
x^3-8 ~ (x-2)^3
a^2+b^2 ~ (a+b)^2
\frac{x^2-9}{x+3} ~ x+3
\frac1x+\frac1y ~ \frac{1}{x+y}
\frac{a}{b} ~ \frac{b}{a}
x^2+1 ~ x^2-1
3n+1 ~ 3m+1
x^{10} ~ x^{11}
2x ~ x^2
\sin 2t ~ 2\sin t
\sin^2 x ~ \sin x^2
\cos 2x ~ 2\cos x
\tan x ~ \cot x
\ln(x+y) ~ \ln x+\ln y
\log_2 9 ~ 3
3^{n+1} ~ 3^n+3
e^{x+2} ~ e^x+e^2
4^n ~ 2^{n+2}
\sqrt{x^2} ~ x
|x| ~ x
\sqrt{x+y} ~ \sqrt x+\sqrt y
(k+1)! ~ k!+1
(2k)! ~ 2\cdot k!
\binom{n}{3} ~ \binom{n}{2}
\sqrt{50} ~ 5\sqrt3
\sqrt{2}+10^{-20} ~ \sqrt2
\frac{\pi}{2} ~ \frac{2}{\pi}
\pi\cdot10^{-30} ~ e\cdot10^{-30}
\frac{1}{2^{99}} ~ \frac{1}{2^{98}}
\frac{x}{2^{99}} ~ \frac{x}{2^{98}}
\frac{1}{2004!} ~ \frac{1}{2006!}
\frac{2^{2005}+1}{3\cdot2^{2006}} ~ \frac{1}{3\cdot2^{2006}}
\frac{1}{3^{80}}+\frac{1}{5^{80}} ~ \frac{1}{3^{80}}
10^{100} ~ 10^{100}+1
e^{-200} ~ e^{-201}
(0,\frac{1}{2^{99}}) ~ (0,\frac{1}{2^{98}})
\begin{pmatrix}\frac{1}{2^{99}}\\0\end{pmatrix} ~ \begin{pmatrix}0\\0\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \begin{pmatrix}1&3\\2&4\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix} ~ \begin{pmatrix}1\\2\end{pmatrix}
\{1,2\} ~ \{1,3\}
(2,3) ~ (3,2)
[1,3) ~ [1,3]
(-\infty,1)\cup(2,3] ~ (-\infty,1)\cup[2,3]
x<5 ~ x>5
x<5 ~ x\le5
-1<x\le4 ~ [-1,4]
2x+4y-3=0 ~ y=\frac12x+\frac34
x+y=3 ~ 2x+2y=3
\sum_{k=1}^{20}k ~ 211
\sum_{k=1}^{n}k ~ \frac{n(n-1)}{2}
\frac{1}{3} ~ 0.333333333
\sqrt2 ~ 1.414213562
\frac{\pi}{6}+2k\pi ~ \frac{\pi}{6}+k\pi
""".strip().splitlines()
SHARPER = {
    "domain": r"""
\sin 2t ~ 2\sin t\cos t
0.25t ~ \frac{t}{4}
\ln(xy) ~ \ln x+\ln y
\ln\frac{a}{b} ~ \ln a-\ln b
\sqrt[3]{x^2} ~ x^{\frac23}
\sqrt{\frac1n} ~ \frac{1}{\sqrt n}
""",
    "tolerance": r"""
\sqrt{2}+10^{-20} ~ \sqrt2
\pi\cdot10^{-30} ~ e\cdot10^{-30}
\frac{1}{2^{99}} ~ \frac{1}{2^{98}}
\frac{1}{2004!} ~ \frac{1}{2006!}
\frac{2^{2005}+1}{3\cdot2^{2006}} ~ \frac{1}{3\cdot2^{2006}}
\frac{1}{3^{80}}+\frac{1}{5^{80}} ~ \frac{1}{3^{80}}
e^{-200} ~ e^{-201}
(0,\frac{1}{2^{99}}) ~ (0,\frac{1}{2^{98}})
\frac{1}{3} ~ 0.333333333
\sqrt2 ~ 1.414213562
""",
}
"""Where the guarded worker differs from math-verify, each time for the better. domain: equal wherever both sides are
real, which simplifying does not show; and `t` is a variable, not the unit that math-verify removes. tolerance: its
comparison is absolute (10^-15) and rounds decimals (10^-6), ours is exact or relative."""


def pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [tuple(line.split(" ~ ")) for line in lines]


def unguarded(asked: list[tuple[str, str]]) -> list[bool]:
    """math-verify as it is, in a process of its own."""
    code = (
        "import json, sys, logging; logging.disable(50)\n"
        "from math_verify import LatexExtractionConfig, parse, verify\n"
        "def read(t): return parse(f'${t}$', [LatexExtractionConfig()], fallback_mode='no_fallback')\n"
        "print(json.dumps([bool(verify(read(a), read(b))) for a, b in json.load(sys.stdin)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_guard_changes_no_verdict_but_the_listed_ones():
    asked = pairs(EQUAL) + pairs(DIFFERENT)
    assert len(asked) >= 120
    pool = Pool(size=1)
    guarded = [pool.compare(*pair) == "correct" for pair in asked]
    pool.close()
    other = {f"{a} ~ {b}" for (a, b), x, y in zip(asked, guarded, unguarded(asked), strict=True) if x != y}
    assert other == {line for lines in SHARPER.values() for line in lines.strip().splitlines()}


@pytest.mark.parametrize("pair", pairs(EQUAL), ids=" ~ ".join)
def test_equal_by_algebra_whichever_is_gold(pair):
    assert equal(*pair).status == equal(*reversed(pair)).status == "correct"


@pytest.mark.parametrize("pair", pairs(DIFFERENT), ids=" ~ ".join)
def test_not_equal_by_algebra_whichever_is_gold(pair):
    assert not equal(*pair).correct
    assert not equal(*reversed(pair)).correct


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("4,9", "y = 4, y = 9"),
        ("4,9", "y=4 \\text{ or } y=9"),
        ("\\frac{1}{3}, 5", "x = 5, x = \\frac{1}{3}"),
        ("2,4,8", "a=2, b=4, c=8"),
        ("a=2, b=4", "b=4, a=2"),
        ("6 \\text{ and } 9", "9,6"),
        ("6 and 9", "\\{6, 9\\}"),
        ("12 $ and $14", "12,14"),
        ("81^\\circ", "\\angle ABD = 81^\\circ"),
        ("7=x", "x=7"),
        ("x=\\pm 3", "3, -3"),
        ("2\\pm\\sqrt7", "2-\\sqrt7, 2+\\sqrt7"),
        ("(p,q)=(3,2)", "(3,2)"),
        ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
        ("(3,8)", "x=3, y=8"),
        ("x > 4 \\text{ or } x < 1", "x<1 \\text{ or } x>4"),
        ("y=2x", "x=\\frac{y}{2}"),
        ("\\frac{\\sqrt{5}}{5}", "\\frac{1}{\\sqrt5} \\approx 0.447"),
        ("C", "C. x = 42"),
        ("\\text{Ann and Bob}", "Bob and Ann"),
        ("2,3", "\\boxed{2}$ or $x=\\boxed{3}"),
        ("√7", "\\sqrt 7"),
        ("2√3", "\\sqrt{12}"),
        ("pi/5", "\\frac{\\pi}{5}"),
        ("4pi", "4π"),
        ("2^(1/4)", "\\sqrt{\\sqrt 2}"),
        ("\\varnothing", "∅"),
        ("3+4\\mathrm{i}", "4i+3"),
        ("\\boxed 7", "\\fbox{7}"),
        ("10:45", "10:45 AM"),
        ("5:45", "05:45"),
        ("3:4", "6:8"),
        ("0.\\overline{6}", "\\frac23"),
    ],
)
def test_structure_first_then_parts_whichever_is_gold(gold, given):
    assert equal(gold, given).status == equal(given, gold).status == "correct"


@pytest.mark.parametrize(
    ("gold", "given"),
    [
        ("4,9", "y = 4"),
        ("4,9", "y = 4, y = 8"),
        ("2,4,8", "a=4, b=2, c=8"),
        ("a=2, b=4", "a=4, b=2"),
        ("6 and 9", "6"),
        ("x=\\sqrt7", "y=\\sqrt7"),
        ("x=\\pm 3", "x=3"),
        ("x^2+2x+1=0", "0"),
        ("(3,8)", "x=8, y=3"),
        ("x > 4 \\text{ or } x < 1", "x<1"),
        ("10:45 AM", "10:45 PM"),
        ("10:45", "10.75"),
        ("2,5", "2.5"),
        ("2,5", "2"),
        ("2,5", "5"),
        ("\\{1,2\\}", "(1,2)"),
    ],
)
def test_other_lists_and_labels_whichever_is_gold(gold, given):
    assert not equal(gold, given).correct
    assert not equal(given, gold).correct


def test_the_worker_refuses_to_start_when_a_known_pair_has_another_verdict():
    code = (
        "import pytest; from tools_shared.answers import worker\n"
        "worker.WARM_UP = ((r'\\frac{x}{x}', '2', True),)\n"
        "worker.warm_up()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the symbolic grader does not work" in done.stderr


def test_nothing_is_imported_after_the_door_is_shut():
    code = (
        "import json, logging, sys; logging.disable(50)\n"
        "from tools_shared.answers import worker\n"
        "worker.import_what_comes_late(); worker.replace_evaluators(); worker.compare_exactly(); worker.warm_up()\n"
        "before = set(sys.modules); tried = []\n"
        "sys.addaudithook(lambda event, args: tried.append(args[0]) if event == 'import' else None)\n"
        "for gold, given in json.load(sys.stdin): worker.judge(gold, given)\n"
        "assert set(sys.modules) == before and not tried, (set(sys.modules) - before, tried)\n"
    )
    asked = json.dumps(pairs(EQUAL) + pairs(DIFFERENT))
    done = subprocess.run([sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_verdict_depends_on_which_is_gold():
    asked = pairs(EQUAL) + pairs(DIFFERENT)
    mixed = [(a, b) for (a, _), (_, b) in zip(asked, asked[7:] + asked[:7], strict=True)]
    ours = [verdict.correct for verdict in equal_many(mixed, threads=1)]
    assert ours == [verdict.correct for verdict in equal_many([(b, a) for a, b in mixed], threads=1)]
    assert [pair for pair, correct in zip(mixed, ours, strict=True) if correct] == []
