"""A server for timings: an OpenAI-compatible chat endpoint that answers every request right after 200 ms.

Run as a program it prints its port: `python slow_server.py FILE.jsonl` (questions with `#### N` answers).
"""

import asyncio
import json
import sys

from aiohttp import web

LATENCY = 0.2


async def serve(path: str) -> None:
    with open(path) as file:  # noqa: PTH123 - a script of its own
        rows = [json.loads(line) for line in file]
    gold = {row["question"]: row["answer"].rsplit("#### ")[-1] for row in rows}

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        found = gold.get(body["messages"][-1]["content"], "0")
        await asyncio.sleep(LATENCY)
        text = f"<start_working_out>So it is.<end_working_out><SOLUTION>{found}</SOLUTION>"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 90, "completion_tokens": 20}})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
