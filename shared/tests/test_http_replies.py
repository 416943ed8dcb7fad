"""What servers say, in the forms that they say it in: read from real bodies, without a server."""

import json

import pytest

from tools_shared.engines.http.failures import failure_in, http_failure
from tools_shared.engines.http.replies import ending_of, read_chat
from tools_shared.engines.http.streams import Unfinished, whole


def choice(message, reason="stop", **more):
    return {"choices": [{"index": 0, "message": message, "finish_reason": reason}], **more}


THINK = [{"type": "thinking", "thinking": [{"type": "text", "text": "10 by 3 is 30."}], "closed": True}]
PARTS = [
    choice({"content": [{"type": "text", "text": "The area is "}, {"type": "text", "text": "30."}]}),
    choice({"content": [*THINK, {"type": "text", "text": "The area is 30."}]}),  # Mistral
    choice({"content": {"type": "text", "text": "The area is 30."}}),
    choice({"content": ["The area is ", "30."]}),
    {"choices": [{"text": "The area is 30.", "finish_reason": "stop"}]},  # OpenAI's text completions
    {"message": {"role": "assistant", "content": "The area is 30."}, "done_reason": "stop", "done": True},  # Ollama
    {"message": {"content": [{"type": "text", "text": "The area is 30."}]}, "finish_reason": "COMPLETE"},  # Cohere
    {"content": [{"type": "text", "text": "The area is 30."}], "stop_reason": "end_turn"},  # Anthropic
    {"candidates": [{"content": {"parts": [{"text": "The area is 30."}]}, "finishReason": "STOP"}]},  # Gemini
]


@pytest.mark.parametrize("data", PARTS)
def test_the_text_is_found_in_every_wrapping(data):
    reply = read_chat(data)
    assert (reply.text, reply.finish_reason, reply.refusal) == ("The area is 30.", "stop", None)
    assert reply.reasoning == ("10 by 3 is 30." if "thinking" in json.dumps(data) else None)


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "10 by 3."},
        {"reasoning": "10 by 3."},
        {"thinking": "10 by 3."},
        {"reasoning_details": [{"type": "reasoning.text", "text": "10 by 3."}]},
        {"content": [{"type": "thinking", "thinking": "10 by 3.", "signature": "x"}]},
        {"content": [{"text": "10 by 3.", "thought": True}]},
    ],
)
def test_a_reply_that_is_all_reasoning_is_empty_and_says_so(message):
    reply = read_chat(choice({"content": None, **message}))
    assert (reply.text, reply.reasoning, reply.is_empty) == ("", "10 by 3.", True)
    assert reply.why_empty == "all of the reply was reasoning, finish reason stop"


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        ("stop end_turn eos eos_token stop_sequence COMPLETE STOP END_TURN FinishReason.STOP OTHER pause_turn", "stop"),
        ("length max_tokens MAX_TOKENS max_output_tokens model_length ERROR_LIMIT limit", "length"),
        ("FINISH_REASON_MAX_TOKENS FinishReason.MAX_TOKENS maxPredictedTokensReached contextLengthReached", "length"),
        ("model_context_window_exceeded max_new_tokens token_limit MAX_LENGTH", "length"),
        (
            "content_filter content_filtered SAFETY refusal BLOCKLIST PROHIBITED_CONTENT SPII RECITATION",
            "content_filter",
        ),
        ("RECITATION guardrail_intervened sensitive ERROR_TOXIC IMAGE_SAFETY FinishReason.SAFETY", "content_filter"),
        ("tool_calls tool_use function_call MALFORMED_FUNCTION_CALL TOOL_CALL", "tool_calls"),
        ("error abort insufficient_system_resource network_error USER_CANCEL ERROR timeout", "broken"),
    ],
)
def test_every_servers_word_for_the_end(words, ending):
    assert {word: ending_of(word) for word in words.split()} == dict.fromkeys(words.split(), ending)


def test_ends_that_are_no_words():
    assert ending_of("content_filter: PROHIBITED_CONTENT") == "content_filter"
    assert ending_of({"type": "length", "length": 64}) == "length"
    assert ending_of(None) == "stop"


NO = "I'm sorry, I can't help with that."
REFUSED = [
    choice({"content": None, "refusal": NO}),
    choice({"content": [{"type": "refusal", "refusal": NO}]}),
    choice({"content": NO}, "content_filter"),
    choice({"content": NO}, "SAFETY"),
    {"content": [{"type": "text", "text": NO}], "stop_reason": "refusal"},
]


@pytest.mark.parametrize("data", REFUSED)
def test_refusals(data):
    reply = read_chat(data)
    assert (reply.text, reply.refusal, reply.is_empty) == (NO, True, False)


@pytest.mark.parametrize(
    "data",
    [
        choice({"content": ""}, "content_filter"),
        {"choices": [{"finish_reason": "content_filter", "content_filter_results": {"hate": {"filtered": True}}}]},
        {"candidates": [{"finishReason": "SAFETY"}]},
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"choices": [{"message": {"content": ""}, "content_filter_results": {"hate": {"filtered": True}}}]},
        choice({"content": None, "refusal": True}),
    ],
)
def test_a_reply_that_a_filter_withheld_is_a_refusal_without_words(data):
    reply = read_chat(data)
    assert (reply.text, reply.refusal, reply.finish_reason) == ("", True, "content_filter")


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": [{"type": "function", "function": {"name": "calculator", "arguments": "{}"}}]},
        {"content": "", "function_call": {"name": "calculator"}},
        {"content": [{"type": "tool_use", "name": "calculator", "input": {}}]},
    ],
)
@pytest.mark.parametrize("reason", ["tool_calls", "stop", "tool_use"])
def test_tool_calls_are_said(message, reason):
    reply = read_chat(choice(message, reason))
    assert (reply.finish_reason, reply.tool_calls, reply.is_empty) == ("tool_calls", ("calculator",), True)
    assert "calculator" in reply.why_empty


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}}, (7, 5)),
        ({"usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 90}}, (7, 83)),
        ({"usage": {"input_tokens": 7, "output_tokens": 5}}, (7, 5)),
        ({"usage": {"tokens": {"input_tokens": 7.0, "output_tokens": 5.0}}}, (7, 5)),
        ({"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 20}}, (7, 13)),
        ({"usage": None}, (None, None)),
        ({"usage": {"prompt_tokens": "many", "completion_tokens": True}}, (None, None)),
    ],
)
def test_tokens_in_and_out(usage, tokens):
    reply = read_chat(choice({"content": "30"}, **usage))
    assert (reply.tokens_in, reply.tokens_out) == tokens


def test_channels_that_a_server_left_in_the_text():
    text = (
        "<|channel|>analysis<|message|>10 by 3.<|end|><|start|>assistant<|channel|>final<|message|>It is 30.<|return|>"
    )
    reply = read_chat(choice({"content": text}))
    assert (reply.text, reply.reasoning) == ("It is 30.", "10 by 3.")


def test_what_cannot_be_read_is_shown():
    with pytest.raises(ValueError, match="no 'choices' in the reply: .*the model sleeps"):
        read_chat({"outcome": "the model sleeps"})


def test_ollamas_tokens():
    reply = read_chat({"message": {"content": "3"}, "done_reason": "length", "prompt_eval_count": 7, "eval_count": 5})
    assert (reply.tokens_in, reply.tokens_out, reply.finish_reason) == (7, 5, "length")


ERRORS = [
    ({"error": {"message": "Rate limit exceeded", "code": 429}}, 429, True),  # OpenRouter
    ({"error": {"message": "Provider returned error", "code": 502, "metadata": {"raw": "upstream down"}}}, 502, True),
    ({"error": {"message": "No credits", "code": 402}}, 402, False),
    ({"error": {"message": "slow down", "type": "rate_limit_error", "code": None}}, 429, True),
    ({"error": {"message": "quota", "type": "insufficient_quota", "code": "429"}}, 429, False),
    ({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, None, False),  # LM Studio
    ({"error": "model is overloaded", "error_type": "overloaded"}, 503, True),  # TGI
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 503, True),  # Anthropic
    ([{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}], 503, True),  # Gemini
    ({"object": "error", "message": "bad top_k", "type": "BadRequestError", "code": 400}, 400, False),  # vLLM, SGLang
    (
        {"errors": [{"code": 7009, "message": "Upstream service unavailable"}], "success": False},
        503,
        True,
    ),  # Cloudflare
    ({"success": False, "message": "You have no credits"}, None, False),
    ({"error_code": 18, "error_msg": "Open api qps request limit reached"}, None, False),  # Baidu
    ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None}, None, False),
    ({"choices": [{"error": {"code": 502, "message": "cut"}, "finish_reason": "error", "message": {}}]}, 502, True),
    ({"choices": [{"message": {"content": "The ar"}, "finish_reason": "abort"}]}, 503, True),
]


@pytest.mark.parametrize(("data", "status", "may_pass"), ERRORS)
def test_an_error_inside_a_200(data, status, may_pass):
    failure = failure_in(data)
    assert (failure.status, failure.may_pass, failure.kind) == (status, may_pass, "http" if status else "invalid")
    assert "None" not in failure.message


def test_seconds_to_wait_stand_in_errors_too():
    loading = http_failure(503, b'{"error": "Model is currently loading", "estimated_time": 20.0}')
    assert (loading.wait, loading.may_pass) == (20, True)
    details = [{"@type": "x"}, {"@type": "RetryInfo", "retryDelay": "34s"}]
    gemini = http_failure(429, json.dumps([{"error": {"code": 429, "message": "quota", "details": details}}]).encode())
    assert gemini.wait == 34


def test_the_providers_own_words_are_shown():
    assert "upstream down" in failure_in(ERRORS[1][0]).message


@pytest.mark.parametrize(
    "data",
    [
        choice({"content": "30"}, error=None),
        choice({"content": "30"}),
        {"response": "What is 10 times 3?", "error": "", "message": "ok", "status": "success"},
        {"code": 0, "message": "success", "data": {"text": "30"}},
        {"message": {"content": "30"}, "done_reason": "stop"},
        {"error": None, "outputs": ["30"]},
        ["30"],
        "30",
        None,
    ],
)
def test_what_is_no_error(data):
    assert failure_in(data) is None


FILTERED = [
    (400, {"error": {"message": "The response was filtered", "code": "content_filter", "param": "prompt"}}),
    (400, {"error": {"message": "x", "code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (400, {"error": {"message": "Invalid prompt: it was flagged as potentially violating our usage policy."}}),
    (403, {"error": {"code": 403, "message": "Refused", "metadata": {"reasons": ["x"], "flagged_input": "how"}}}),
    (400, {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}),
    (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),
    (400, {"type": "error", "error": {"message": "Output blocked by content filtering policy"}}),
    (400, {"error": {"message": "rejected because it was considered high risk", "type": "content_filter"}}),
    (400, {"error": {"message": "x", "type": "moderation_error"}}),
    (400, {"error": {"message": "The request violates our acceptable use guidelines"}}),
    (500, {"error": {"message": "litellm.ContentPolicyViolationError", "type": "content_policy_violation"}}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), FILTERED)
def test_a_content_filters_refusal_is_told_from_a_failure(status, body):
    failure = http_failure(status, json.dumps(body).encode())
    assert failure.filtered
    assert not failure.may_pass


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"}}),
        (401, {"error": {"message": "bad key", "code": "invalid_api_key"}}),
        (429, {"error": {"message": "Rate limit reached", "type": "tokens"}}),
        (422, {"detail": [{"loc": ["body", "x"], "msg": "Extra inputs", "input": "a text on content filter policy"}]}),
        (404, {"error": "model not found"}),
    ],
)
def test_other_failures_are_no_refusals(status, body):
    assert not http_failure(status, json.dumps(body).encode()).filtered


def events(*chunks, end=b"data: [DONE]\n\n", line="\n"):
    lines = "".join(f"data: {json.dumps(c)}{line}{line}" for c in chunks)
    return lines.encode() + end


def delta(reason=None, **delta):
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


CHUNKS = [
    delta(role="assistant", content=""),
    delta(reasoning_content="10 by "),
    delta(reasoning_content="3."),
    delta(content="The area "),
    delta(content="is 30."),
    delta("length"),
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}},
]


@pytest.mark.parametrize(
    "raw",
    [
        events(*CHUNKS),
        events(*CHUNKS, line="\r\n"),
        events(*CHUNKS, end=b""),
        b": keep-alive\n\nevent: message\nid: 1\n" + events(*CHUNKS, end=b"data:[DONE]"),
        events(*CHUNKS).replace(b'"index": 0, ', b""),
        "\n".join(map(json.dumps, CHUNKS)).encode(),
    ],
)
def test_a_stream_of_events_is_one_reply(raw):
    reply = read_chat(whole(raw))
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("The area is 30.", "10 by 3.", "length")
    assert (reply.tokens_in, reply.tokens_out) == (7, 5)


def test_a_stream_of_ollamas_lines_is_one_reply():
    lines = [{"message": {"role": "assistant", "content": word}, "done": False} for word in ("It ", "is ", "30.")]
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "length", "eval_count": 4}
    raw = "\n".join(map(json.dumps, [*lines, last])).encode()
    reply = read_chat(whole(raw))
    assert (reply.text, reply.finish_reason, reply.tokens_out) == ("It is 30.", "length", 4)
    with pytest.raises(Unfinished):
        whole("\n".join(map(json.dumps, lines)).encode())
    with pytest.raises(Unfinished):
        whole(json.dumps(lines[0]).encode())


def test_a_stream_in_parts_and_in_legacy_text():
    think = delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "10 by 3."}]}])
    reply = read_chat(whole(events(think, delta(content="The area is "), delta("stop", content="30."))))
    assert (reply.text, reply.reasoning) == ("The area is 30.", "10 by 3.")
    texts = [{"choices": [{"text": t, "index": 0, "finish_reason": r}]} for t, r in (("The ", None), ("area", "stop"))]
    assert read_chat(whole(events(*texts))).text == "The area"


def test_a_stream_that_was_cut_off_is_no_reply():
    with pytest.raises(Unfinished):
        whole(events(*CHUNKS[:4], end=b""))


def test_an_error_in_a_stream_is_the_reply():
    data = whole(events(*CHUNKS[:4], {"error": {"message": "gone", "code": 502}}))
    assert failure_in(data).status == 502
    last = {"error": {"message": "gone", "code": 502}, "choices": [{"delta": {}, "finish_reason": "error"}]}
    data = whole(events(*CHUNKS[:4], last))
    assert (failure_in(data).status, "gone" in failure_in(data).message) == (502, True)


def test_streamed_tool_calls_keep_their_names():
    calls = [{"name": "calculator", "arguments": ""}, {"arguments": "{}"}]
    deltas = [delta(tool_calls=[{"index": 0, "function": call}]) for call in calls]
    reply = read_chat(whole(events(*deltas, delta("tool_calls"))))
    assert reply.tool_calls == ("calculator",)


@pytest.mark.parametrize(
    "raw", [b"", b"oh no", b"<html>data: 1</html>", b"data: {not json\n\n", b"{not json", b"\xff\xfe"]
)
def test_what_is_neither_json_nor_a_stream(raw):
    with pytest.raises(ValueError):
        whole(raw)
