"""Speed of `tools-bench run`, side by side with the floors: bare aiohttp and bare httpx on the same server.

1,319 requests, 64 at a time, 200 ms each: 4.1 s at best. Every contestant is a process of its own, timed whole.
`pytest tests/benchmarks/test_bench_http.py -s` prints the table.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

N, CONCURRENCY, ROUNDS = int(os.environ.get("HTTP_SPEED_REQUESTS", "1319")), 64, 3
HERE = Path(__file__).parent
BENCH = Path(sys.executable).with_name("tools-bench")

BODY = "{'model': 'm', 'messages': [{'role': 'user', 'content': f'What is {i} + {i}?'}]}"
AIOHTTP = f"""
import asyncio, aiohttp, sys
async def main(url):
    numbers = iter(range({N}))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit={CONCURRENCY})) as session:
        async def work():
            for i in numbers:
                async with session.post(url, json={BODY}) as response:
                    await response.json()
        await asyncio.gather(*(work() for _ in range({CONCURRENCY})))
asyncio.run(main(sys.argv[1]))
"""
STREAMED = f"""
import asyncio, aiohttp, json, sys
async def main(url):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit={CONCURRENCY})) as session:
        async def ask(numbers, model, stream):
            for i in numbers:
                body = {{**{BODY}, 'model': model, 'stream': stream}}
                async with session.post(url, json=body) as response:
                    if not stream:
                        await response.json()
                        continue
                    async for line in response.content:
                        if line.startswith(b'data: {{'):
                            json.loads(line[6:])
        for model, stream in (('m', True), ('judge', False)):
            numbers = iter(range({N}))
            await asyncio.gather(*(ask(numbers, model, stream) for _ in range({CONCURRENCY})))
asyncio.run(main(sys.argv[1]))
"""
"""Every reply in a stream, then a judge asked about each."""
HTTPX = f"""
import asyncio, httpx, sys
async def main(url):
    numbers = iter(range({N}))
    limits = httpx.Limits(max_connections={CONCURRENCY}, max_keepalive_connections={CONCURRENCY})
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        async def work():
            for i in numbers:
                (await client.post(url, json={BODY})).json()
        await asyncio.gather(*(work() for _ in range({CONCURRENCY})))
asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    path = tmp_path_factory.mktemp("speed") / "sums.jsonl"
    rows = [{"id": str(i), "question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(N)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path.parent / "sums.yaml").write_text("name: sums\ntasks:\n  - {name: sums, kind: math, source: sums.jsonl}\n")
    return path


@pytest.fixture(scope="module")
def url(problems):
    process = subprocess.Popen([sys.executable, HERE / "slow_server.py", problems], stdout=subprocess.PIPE, text=True)
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    process.terminate()
    process.wait()


def timed(*command):
    began = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return time.perf_counter() - began


def run_words(url, problems, folder, *more):
    suite = problems.with_suffix(".yaml")
    base = ["run", "--model-name", "m", "--endpoint", url, "--suite", suite, "--output-dir", folder]
    return [BENCH, *base, "--concurrency", CONCURRENCY, *more]


def test_as_fast_as_the_network(url, problems, tmp_path):
    found = {"aiohttp": [], "httpx": [], "tools-bench run": []}
    target = f"{url}/chat/completions"
    for i in range(ROUNDS):
        found["aiohttp"].append(timed(sys.executable, "-c", AIOHTTP, target))
        found["httpx"].append(timed(sys.executable, "-c", HTTPX, target))
        found["tools-bench run"].append(timed(*run_words(url, problems, tmp_path / str(i))))
    for name, seconds in found.items():
        print(f"{name:>16}: median {statistics.median(seconds):.2f} s of {[round(s, 2) for s in seconds]}")
    results = json.loads((tmp_path / "0" / "m" / "benchmark_results.json").read_text())
    assert results["evaluations"]["math_accuracy"]["accuracy"] == 1
    ratio = statistics.median(found["tools-bench run"]) / statistics.median(found["aiohttp"])
    print(f"tools-bench run / aiohttp: {ratio:.2f}")
    assert ratio <= 1.3


def test_as_fast_as_the_network_with_streams_and_a_judge(url, problems, tmp_path):
    found = {"aiohttp": [], "tools-bench run": []}
    more = ["--extra-body", '{"stream": true}', "--judge-endpoint", url, "--judge-model", "judge"]
    for i in range(ROUNDS):
        found["aiohttp"].append(timed(sys.executable, "-c", STREAMED, f"{url}/chat/completions"))
        found["tools-bench run"].append(timed(*run_words(url, problems, tmp_path / str(i), *more)))
    for name, seconds in found.items():
        print(f"{name:>16}: median {statistics.median(seconds):.2f} s of {[round(s, 2) for s in seconds]}")
    results = json.loads((tmp_path / "0" / "m" / "benchmark_results.json").read_text())
    assert results["evaluations"]["math_accuracy"]["accuracy"] == 1
    assert results["judge"]["judged"] == N
    ratio = statistics.median(found["tools-bench run"]) / statistics.median(found["aiohttp"])
    print(f"tools-bench run / aiohttp, streams and a judge: {ratio:.2f}")
    assert ratio <= 1.3


def test_a_warm_cache_and_grading_again(url, problems, tmp_path):
    timed(*run_words(url, problems, tmp_path))
    bare = statistics.median(timed(BENCH, "run", "--help") for _ in range(ROUNDS))
    again = statistics.median(timed(*run_words(url, problems, tmp_path, "--overwrite")) for _ in range(ROUNDS))
    words = [BENCH, "rescore", tmp_path / "m", "--overwrite"]
    rescore = statistics.median(timed(*words) for _ in range(ROUNDS))
    print(f"--help {bare:.2f} s; warm cache {again:.2f} s; rescore {rescore:.2f} s, whole processes")
    assert again - bare < 1.5
    assert rescore - bare < 1.5
