"""Asking the judge: requests, verdicts, cost. A judgement that fails is None and counted, never a score."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared import processes
from tools_shared.costs.meter import note
from tools_shared.costs.prices import BYTES_PER_TOKEN, Prices
from tools_shared.costs.spending import prices_for
from tools_shared.errors import Incomplete, ToolError
from tools_shared.files import write_json
from tools_shared.judging.questions import JUDGING, Question, messages_of
from tools_shared.judging.rubric import Rubric
from tools_shared.judging.spent import Spent
from tools_shared.judging.stated import StatedVerdict, read_logprobs, stated
from tools_shared.judging.verdicts import no_verdict, verdict

if TYPE_CHECKING:
    from tools_shared.engines import Engine, SamplingParams
    from tools_shared.engines.http.chat import ChatApi
    from tools_shared.engines.http.exchange import Server
    from tools_shared.engines.http.reply_cache import ReplyCache
    from tools_shared.engines.http.transport import Reply
    from tools_shared.judging.here import JudgedHere

FEWEST = 10
"""Fewest failures whose share can stop a run."""


@dataclass
class Judge:
    """A rubric's judge. Threads may ask it; what it has spent is for all of them together. Of that `before` is what an
    interrupted run had spent: its failures stop no run that was resumed because the judge was repaired.

    `ask` raises Incomplete, which the same command resumes, where the budget does not cover the next request and where
    a larger share of the judgements failed than the rubric allows.
    """

    rubric: Rubric
    spent: Spent = field(default_factory=Spent)
    before: Spent = field(default_factory=Spent)
    last_failure: str = ""
    sharers: int = 1
    """Workers in other processes, each with its part of the budget."""
    n_unanswered: int = 0
    """Of those that failed, the requests that got no reply at all."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._reserved = 0.0
        self._reserved_tokens = 0

    def ask(self, questions: Sequence[Question]) -> list[dict[str, Any] | None]:
        """The verdict on each question: `{"score": float}`, `{criterion: bool}` or `{"better": "A"}`; None for one that
        failed."""
        return [None if one is None else one.said for one in self._ask(questions, with_stated=False)]

    def ask_stated(self, questions: Sequence[Question]) -> list[StatedVerdict | None]:
        """As `ask`, with the probabilities that the judge's tokens have, where the engine or the server gives them."""
        return self._ask(questions, with_stated=True)

    def _ask(self, questions: Sequence[Question], with_stated: bool) -> list[StatedVerdict | None]:
        verdicts: list[StatedVerdict | None] = [None] * len(questions)
        ask = self._over_http if self.rubric.judge.endpoint else self._here
        ask(questions, verdicts, with_stated)
        self._check_failures()
        return verdicts

    def write_spent(self, path: Path) -> None:
        """Write what has been spent; one thread at a time, so that no older count replaces a newer one."""
        with self._lock:
            write_json(path, vars(self.spent))

    # Over HTTP

    @cached_property
    def server(self) -> Server:
        from tools_shared.console import say
        from tools_shared.engines.http.address import chat_url, read_api_key
        from tools_shared.engines.http.exchange import Server
        from tools_shared.engines.http.habits import Habits

        options = self.rubric.judge
        return Server(
            chat_url(options.endpoint or ""),
            read_api_key(options.api_key_env, f"{self.rubric.name}: judge: api_key_env"),
            concurrency=options.concurrency,
            timeout=options.timeout,
            max_retries=options.retries,
            habits=Habits(say, may_drop=("temperature", "response_format", "logprobs")),
        )

    def _over_http(
        self, questions: Sequence[Question], verdicts: list[StatedVerdict | None], with_stated: bool
    ) -> None:
        from tools_shared.engines.http.chat import ChatApi
        from tools_shared.engines.http.reply_cache import ReplyCache
        from tools_shared.engines.http.transport import Request, post_all

        api = ChatApi(self.server.url, self.rubric.judge.model)
        params = self._params()
        most: dict[int, tuple[float, int]] = {}

        def worth_keeping(data: Any) -> bool:
            return api.worth_keeping(data) and any(self._said_by(api, data, q) for q in kinds)

        kinds = list({question.criteria: question for question in questions}.values())

        def requests(cache: ReplyCache | None) -> Iterator[Request]:
            for i, question in enumerate(questions):
                body = api.body(messages_of(self.rubric, question), params, self.rubric.name, question.draw)
                if with_stated:
                    body["logprobs"] = True
                if self.rubric.judge.schema:
                    body["response_format"] = self.rubric.response_format(question.criteria)
                known = cache is not None and cache.get(self.server.url, body, question.draw) is not None
                most[i] = (0.0, 0) if known else self._reserve(body)
                yield Request(i, body, question.draw)

        def on_reply(request: Request, reply: Reply) -> None:
            verdicts[request.key] = self._noted(api, questions[request.key], reply, most.pop(request.key))

        if not self.rubric.judge.cache:
            post_all(self.server, requests(None), on_reply)
            return
        with closing(ReplyCache(cache_path(), f"judge {self.rubric.judge.model}", worth_keeping)) as cache:
            post_all(self.server, requests(cache), on_reply, cache)

    def _params(self) -> SamplingParams:
        from tools_shared.engines import SamplingParams

        return SamplingParams(temperature=self.rubric.judge.temperature, max_new_tokens=self.rubric.judge.max_tokens)

    @cached_property
    def prices(self) -> Prices:
        options = self.rubric.judge
        given = Prices(options.price_in, options.price_out, options.budget)
        if given.known or options.endpoint is None:
            return given
        return prices_for(self.server.shown, options.model or "", None, None, options.budget)

    @property
    def source(self) -> str:
        """What a run's cost calls the judge."""
        return f"{self.server.shown} {self.rubric.judge.model or ''}".strip()

    def _reserve(self, body: Mapping[str, Any]) -> tuple[float, int]:
        """Put aside the most that a request can cost; raises Incomplete where that is more than is left."""
        size = len(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")) // BYTES_PER_TOKEN
        tokens = size + self.rubric.judge.max_tokens
        money = self.prices.of(size, self.rubric.judge.max_tokens)
        options = self.rubric.judge
        with self._lock:
            used = self.spent.tokens_in + self.spent.tokens_out + self._reserved_tokens
            n = processes.count() * self.sharers  # each has its part
            if options.budget is not None and self.spent.money + self._reserved + money > options.budget / n:
                raise self._over(f"budget of {options.budget:g}", f"{self.spent.money:.4g}", "budget")
            if options.budget_tokens is not None and used + tokens > options.budget_tokens / n:
                spent = self.spent.tokens_in + self.spent.tokens_out
                raise self._over(f"budget of {options.budget_tokens} tokens", f"{spent}", "budget_tokens")
            self._reserved += money
            self._reserved_tokens += tokens
        return money, tokens

    def _over(self, budget: str, spent: str, key: str) -> Incomplete:
        return Incomplete(
            f"{self.rubric.name}: the {budget} does not cover the next judgement ({spent} spent); raise {key} in the "
            "rubric and run the same command to resume"
        )

    def _noted(self, api: ChatApi, question: Question, reply: Reply, most: tuple[float, int]) -> StatedVerdict | None:
        said = None if reply.failure is not None else self._said_by(api, reply.data, question)
        with self._lock:
            self._reserved -= most[0]
            self._reserved_tokens -= most[1]
            if reply.cached:
                self.spent.n_cached += 1
                note(part=JUDGING, source=self.source, cached=1)
            else:
                self.spent.n_asked += 1
            if reply.failure is None and not reply.cached:
                self._charge(api, reply.data, most)
            if said is None:
                self.spent.n_failed += 1
                self.n_unanswered += reply.failure is not None
                self.last_failure = self._why(api, reply)
        return None if said is None else StatedVerdict(said, stated(*read_logprobs(reply.data), said))

    def _charge(self, api: ChatApi, data: Any, most: tuple[float, int]) -> None:
        """What a reply cost; where the server counts nothing, the most that it could have."""
        try:
            read = api.read(data)
            tokens_in, tokens_out = read.tokens_in, read.tokens_out
        except ValueError:
            tokens_in = tokens_out = None
        if tokens_in is None or tokens_out is None:
            tokens_out = self.rubric.judge.max_tokens
            tokens_in, money = most[1] - tokens_out, most[0]
        else:
            money = self.prices.of(tokens_in, tokens_out)
        self.spent.tokens_in += tokens_in
        self.spent.tokens_out += tokens_out
        self.spent.money += money
        note(tokens_in, tokens_out, part=JUDGING, source=self.source, requests=1, prices=self.prices)

    def _said_by(self, api: ChatApi, data: Any, question: Question) -> dict[str, Any] | None:
        try:
            return verdict(api.read(data).text, self.rubric, question.criteria)
        except ValueError:
            return None

    def _why(self, api: ChatApi, reply: Reply) -> str:
        if reply.failure is not None:
            return f"{reply.failure.kind}: {reply.failure.message}"
        try:
            text = api.read(reply.data).text
        except ValueError as error:
            return str(error)
        return no_verdict(text)

    def _check_failures(self) -> None:
        now = self.spent.minus(self.before)
        n, n_failed = now["n_asked"] + now["n_cached"], now["n_failed"]
        if n_failed >= min(FEWEST, n) and n_failed > self.rubric.judge.max_failed * n:
            raise Incomplete(
                f"{self.rubric.name}: {n_failed:g} of {n:g} judgements failed, more than max_failed "
                f"{self.rubric.judge.max_failed:g}; the last: {self.last_failure}; fix the judge and run the same "
                "command to resume"
            )

    # In this process

    @cached_property
    def engine(self) -> Engine:
        from tools_shared.engines import LocalEngineConfig, open_engine
        from tools_shared.models import resolve

        return open_engine(resolve(self.rubric.judge.model or ""), LocalEngineConfig())

    def _here(self, questions: Sequence[Question], verdicts: list[StatedVerdict | None], with_stated: bool) -> None:
        from tools_shared.judging.here import judged

        params = replace(self._params(), logprobs=with_stated)
        told = judged(self.engine, self.rubric, questions, params, self._check_budget_here)
        for i, one in enumerate(told):
            verdicts[i] = one.verdict
            self._note_here(one)

    def _note_here(self, told: JudgedHere) -> None:
        with self._lock:
            self.spent.n_asked += 1
            self.spent.tokens_in += told.tokens_in
            self.spent.tokens_out += told.tokens_out
            if told.verdict is None:
                self.spent.n_failed += 1
                self.last_failure = told.why

    def _check_budget_here(self, tokens: int) -> None:
        budget, spent = self.rubric.judge.budget_tokens, self.spent.tokens_in + self.spent.tokens_out
        if budget is not None and spent + tokens > budget / (processes.count() * self.sharers):
            raise self._over(f"budget of {budget} tokens", f"{spent}", "budget_tokens")


def cache_path() -> Path:
    """Where verdicts that were paid for are kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return folder / "tools-shared" / "judgements.sqlite"


def check_judge(rubric: Rubric) -> None:
    """Raise ToolError, before anything is paid for, for a rubric whose judge cannot be asked: it names none, an address
    or a key that cannot be used, or a budget that cannot be kept (in money for a model here, or without a price)."""
    options = rubric.judge
    if options.endpoint is None and options.model is None:
        raise ToolError(f"{rubric.name}: no judge; give endpoint (a server), or model (loaded here), under judge:")
    if options.endpoint is None:
        if options.budget is not None:
            raise ToolError(f"{rubric.name}: budget is for a server; a model here costs tokens: give budget_tokens")
        return
    judge = Judge(rubric)
    shown = judge.server.shown
    try:
        _ = judge.prices
    except ToolError as error:
        raise ToolError(
            f"{rubric.name}: budget {options.budget:g} cannot be kept: no price is known at {shown}; "
            f"give price_in and price_out under judge:"
        ) from error
