"""Build a prompt from a question, and parse a completion."""

from tools_shared.prompts.ends import end_of_turn_id
from tools_shared.prompts.profile import DEFAULT_PROFILE, PROFILES, Parsed, Profile, load_profile
from tools_shared.prompts.render import (
    Example,
    Prompt,
    check_written,
    encode_example,
    plain_text,
    question_messages,
    render_prompt,
    render_question,
    render_turn,
)

__all__ = [
    "DEFAULT_PROFILE",
    "PROFILES",
    "Example",
    "Parsed",
    "Profile",
    "Prompt",
    "check_written",
    "encode_example",
    "end_of_turn_id",
    "load_profile",
    "plain_text",
    "question_messages",
    "render_prompt",
    "render_question",
    "render_turn",
]
