"""Getting the responses: over HTTP or from a local engine, into the journal, within the budget and the error limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from tools_bench.requests.apis import Answer, answer_to
from tools_bench.requests.items import Item, messages_of
from tools_bench.requests.journal import Response, ResponseJournal
from tools_bench.requests.oddities import oddities
from tools_shared.console import progress, say
from tools_shared.costs.meter import note
from tools_shared.costs.prices import BYTES_PER_TOKEN, Prices
from tools_shared.costs.spending import Spending
from tools_shared.engines import Engine, SamplingParams, check_fits
from tools_shared.engines.http.reply_cache import ReplyCache
from tools_shared.engines.http.transport import Reply, Request, Server, post_all
from tools_shared.errors import Incomplete
from tools_shared.prompts import Profile, render_prompt

FEWEST = 10
"""So many failures at least before the error rate can stop a run."""


class Asks(Protocol):
    """What makes a request of an item, and reads the reply: the endpoint's API, or the judge's."""

    def body(self, item: Item, profile: Profile, params: SamplingParams, draw: int) -> dict[str, Any]: ...

    def read(self, data: Any, limit: int | None = None) -> Answer:
        """Raises ValueError for a reply of the wrong shape."""
        ...


class CollectGuard:
    """Watches a run while replies come in: stops it at too many failures, and hands out no request beyond the budget.

    A request reserves the most that it can cost until its reply tells what it did cost.
    """

    def __init__(self, journal: ResponseJournal, n_planned: int, max_error_rate: float, prices: Prices) -> None:
        self.n_planned, self.max_error_rate = n_planned, max_error_rate
        self.n_failed = 0
        self.spending = Spending(prices, sum(cost(r, prices) for r in journal.responses.values()))

    def within_budget(self, requests: Iterator[tuple[Request, float]]) -> Iterator[Request]:
        for request, most in requests:
            if not self.spending.reserve(most):
                return
            yield request

    def note(self, response: Response, most: float) -> None:
        self.spending.settle(most, cost(response, self.spending.prices))
        if response.error is None:
            return
        self.n_failed += 1
        if self.n_failed >= FEWEST and self.n_failed > self.max_error_rate * self.n_planned:
            raise self.too_many(response)

    def check_end(self, journal: ResponseJournal) -> None:
        self.spending.check(str(journal.path))
        failed = [r for r in journal.responses.values() if r.error is not None]
        if failed and len(failed) > self.max_error_rate * self.n_planned:
            raise self.too_many(failed[-1], len(failed))

    def too_many(self, last: Response, n: int | None = None) -> Incomplete:
        return Incomplete(
            f"{n or self.n_failed} of {self.n_planned} requests failed, more than --max-error-rate "
            f"{self.max_error_rate:g}; the last: {last.error}: {last.message}; fix it and run the same command again"
        )


def cost(response: Response, prices: Prices) -> float:
    """What a response cost: nothing from the cache or after a failure."""
    return 0.0 if response.cached or response.error is not None else prices.of(*billed(response))


def _count(response: Response, part: str, source: str, prices: Prices) -> None:
    """Note it before the journal does: a kill in between has the reply asked and paid for once more."""
    paid = response.error is None and not response.cached
    used = billed(response) if paid else (0, 0)
    note(*used, part=part, source=source, requests=int(paid), cached=int(response.cached), prices=prices)


def billed(response: Response) -> tuple[int, int]:
    """Tokens in and out; where the server counts no tokens, a third of the bytes."""
    out = response.tokens_out if response.tokens_out is not None else len(response.text.encode()) // BYTES_PER_TOKEN
    return response.tokens_in or 0, out


def from_endpoint(
    journal: ResponseJournal,
    items: Sequence[Item],
    api: Asks,
    server: Server,
    profile: Profile,
    params: SamplingParams,
    guard: CollectGuard,
    cache: ReplyCache | None,
    part: str,
    source: str,
) -> None:
    """Ask an endpoint for every sample that the journal does not have; `part` and `source` are what the run's cost
    calls it. Raises Incomplete when the guard says so."""
    most: dict[tuple[str, str, int], float] = {}

    def dearest(body: dict[str, Any], draw: int) -> float:
        is_known = cache is not None and cache.get(server.url, body, draw) is not None
        return guard.spending.most(body, params.max_new_tokens, is_known)

    def wanted() -> Iterator[tuple[Request, float]]:
        for item in items:
            for draw in range(params.n):
                key = (item.task, item.id, draw)
                if journal.needs(key):
                    body = api.body(item, profile, params, draw)
                    most[key] = dearest(body, draw)
                    yield Request(key, body, draw), most[key]

    n_left = sum(journal.needs((i.task, i.id, d)) for i in items for d in range(params.n))
    with progress(total=n_left, label="asking", unit="request") as bar:

        def on_reply(request: Request, reply: Reply) -> None:
            response = _response(request.key, reply, api, params.max_new_tokens)
            _count(response, part, source, guard.spending.prices)
            journal.add(response)
            bar.update()
            guard.note(response, most.pop(request.key))

        post_all(server, guard.within_budget(wanted()), on_reply, cache)
    for line in oddities(list(journal.responses.values()), params):
        say(line)
    guard.check_end(journal)


def _response(key: tuple[str, str, int], reply: Reply, api: Asks, limit: int) -> Response:
    told = {"attempts": reply.attempts, "seconds": round(reply.seconds, 4), "cached": reply.cached}
    if reply.failure is not None:
        if (answer := answer_to(reply.failure)) is not None:
            return _with(key, answer, told)
        return Response(*key, error=reply.failure.kind, message=reply.failure.message, **told)
    try:
        answer = api.read(reply.data, limit)
    except ValueError as error:
        return Response(*key, error="invalid", message=str(error), **told)
    return _with(key, answer, told)


def _with(key: tuple[str, str, int], answer: Answer, told: Mapping[str, float]) -> Response:
    return Response(
        *key,
        text=answer.text,
        finish_reason=answer.finish_reason,
        reasoning=answer.reasoning,
        refusal=answer.refusal,
        opens_thinking=answer.opens_thinking,
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        message=answer.why_empty,
        **told,
    )


def from_engine(
    journal: ResponseJournal, items: Sequence[Item], engine: Engine, profile: Profile, params: SamplingParams
) -> None:
    """Sample from a local engine what the journal does not have."""
    missing = [i for i in items if any(journal.needs((i.task, i.id, d)) for d in range(params.n))]
    prompts = [render_prompt(engine.tokenizer, profile, messages_of(item, profile)) for item in missing]
    names = [f"{item.task}/{item.id}" for item in missing]
    check_fits(prompts, names, engine.context_length, params.max_new_tokens)
    with progress(total=len(missing), label="sampling", unit="item") as bar:

        def on_done(i: int, completions: Sequence) -> None:
            for draw, completion in enumerate(completions):
                key = (missing[i].task, missing[i].id, draw)
                answer = Answer(
                    completion.text,
                    completion.finish_reason,
                    tokens_in=len(prompts[i].token_ids),
                    tokens_out=len(completion.token_ids),
                    opens_thinking=prompts[i].opens_thinking,
                )
                journal.add(_with(key, answer, {}))
            bar.update()

        engine.generate(prompts, params, keys=names, on_done=on_done)
