"""Whatever a server sends, it is a reply, a failure, or a ValueError that says why: never a crash."""

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.engines.http.failures import Failure, failure_in, http_failure
from tools_shared.engines.http.replies import ChatReply, read_chat
from tools_shared.engines.http.streams import Unfinished, whole

KEYS = (
    "choices candidates message delta content text parts finish_reason done_reason error errors code type status "
    "refusal reasoning thinking tool_calls function name usage prompt_tokens completion_tokens total_tokens "
    "promptFeedback blockReason base_resp status_code metadata raw detail loc msg index done response object "
    "retryDelay thought content_filter_results filtered function_call"
).split()
WORDS = ["", "30", "length", "error", "refusal", "thinking", "tool_use", "\ud83d"]
LEAVES = st.none() | st.booleans() | st.integers(-1, 600) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
ANY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
)
CHOICE = st.dictionaries(st.sampled_from(["message", "delta", "text", "finish_reason", "error"]), ANY)
REPLY = ANY | st.fixed_dictionaries({"choices": st.lists(CHOICE, max_size=2), "usage": ANY, "error": st.none() | ANY})


@settings(max_examples=600, deadline=None)
@given(REPLY)
def test_any_json_is_read_or_refused(data):
    with suppress(ValueError):
        assert isinstance(read_chat(data), ChatReply)
    assert isinstance(failure_in(data), Failure | None)
    assert isinstance(http_failure(400, json.dumps(data).encode()), Failure)


@settings(max_examples=400, deadline=None)
@given(st.lists(REPLY, max_size=4), st.booleans())
def test_any_stream_is_joined_or_refused(pieces, events):
    lines = [json.dumps(piece) for piece in pieces]
    raw = "".join(f"data: {line}\n\n" for line in lines) if events else "\n".join(lines)
    try:
        joined = whole(raw.encode())
    except (ValueError, Unfinished):
        return
    json.dumps(joined)


def test_brackets_without_end_are_no_reply():
    for depth in (300, 900, 100_000):
        content = b"[" * depth + b"]" * depth
        for raw in (content, b'{"choices": [{"message": {"content": ' + content + b"}}]}"):
            assert isinstance(http_failure(500, raw), Failure)
            with suppress(ValueError, RecursionError):
                read_chat(whole(raw))
