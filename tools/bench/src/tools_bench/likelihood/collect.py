"""Log-probabilities into the journal of responses, from a model here or a server."""

from __future__ import annotations

from collections.abc import Sequence

from tools_bench.grading.choice import preferred
from tools_bench.likelihood.local import scores_from_engine
from tools_bench.likelihood.served import scores_from_server
from tools_bench.likelihood.texts import Reading
from tools_bench.requests.collect import CollectGuard
from tools_bench.requests.journal import Response, ResponseJournal
from tools_shared.console import progress
from tools_shared.engines import Engine
from tools_shared.engines.http.exchange import Server
from tools_shared.engines.http.transport import Reply


def read_by_engine(journal: ResponseJournal, engine: Engine, readings: Sequence[Reading]) -> None:
    """Score every item with a model in this process; raises ToolError as `scores_from_engine`."""
    with progress(total=len(readings), label="scoring", unit="item") as bar:

        def on_scores(one: Reading, scores: list[float]) -> None:
            journal.add(_response(one, scores))
            bar.update()

        scores_from_engine(engine, readings, on_scores)


def read_by_server(
    journal: ResponseJournal, server: Server, model: str | None, readings: Sequence[Reading], guard: CollectGuard
) -> None:
    """Score every item by a server. Raises Incomplete when too many requests fail."""
    with progress(total=len(readings), label="scoring", unit="item") as bar:

        def on_reply(one: Reading, scores: list[float] | None, reply: Reply) -> None:
            told = {"attempts": reply.attempts, "seconds": round(reply.seconds, 4)}
            if scores is not None:
                response = _response(one, scores, **told)
            else:
                kind, message = (reply.failure.kind, reply.failure.message) if reply.failure else ("invalid", "")
                response = Response(one.item.task, one.item.id, 0, error=kind, message=message, **told)
            journal.add(response)
            bar.update()
            guard.note(response, 0.0)

        scores_from_server(server, model, readings, on_reply)
    guard.check_end(journal)


def _response(one: Reading, scores: list[float], **told: float) -> Response:
    best = preferred([score / n for score, n in zip(scores, one.lengths, strict=True)])
    rounded = tuple(round(score, 5) for score in scores)
    return Response(
        one.item.task, one.item.id, 0, text=best[0], scores=rounded, lengths=one.lengths, scored_by=one.by, **told
    )
