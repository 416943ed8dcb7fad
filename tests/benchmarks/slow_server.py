"""A server for timings: an OpenAI-compatible chat endpoint that answers every request right after 200 ms, in a stream
where it is asked to; as the model `judge` it gives verdicts.

Run as a program it prints its port: `python slow_server.py FILE.jsonl` (questions with `#### N` answers).
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiohttp import web

LATENCY = 0.2
VERDICT = json.dumps({"correct": True})
USAGE = {"prompt_tokens": 90, "completion_tokens": 20}


async def streamed(request: web.Request, text: str) -> web.StreamResponse:
    """The text in pieces of eight letters, as servers send tokens."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    pieces = [{"content": text[i : i + 8]} for i in range(0, len(text), 8)]
    ends: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": piece}]} for piece in pieces]
    ends += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": USAGE}]
    for event in [*map(json.dumps, ends), "[DONE]"]:
        await response.write(f"data: {event}\n\n".encode())
    await response.write_eof()
    return response


async def serve(path: str) -> None:
    with open(path) as file:  # noqa: PTH123 - a script of its own
        rows = [json.loads(line) for line in file]
    gold = {row["question"]: row["answer"].rsplit("#### ")[-1] for row in rows}

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        found = gold.get(body["messages"][-1]["content"], "0")
        await asyncio.sleep(LATENCY)
        text = f"<start_working_out>So it is.<end_working_out><SOLUTION>{found}</SOLUTION>"
        text = VERDICT if body.get("model") == "judge" else text
        if body.get("stream"):
            return await streamed(request, text)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": USAGE})

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
