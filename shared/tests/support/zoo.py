"""Tiny random models in the shapes of the families that people train: their special tokens, the roles of their chat
templates (in words of our own) and their layers."""

from dataclasses import dataclass, field
from typing import Any

USER_FIRST = "{% if messages[0]['role'] != 'user' %}{{ raise_exception('the first turn is the user s') }}{% endif %}"
ALTERNATING = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('turns alternate') }}{% endif %}{% endfor %}"
)
PROMPT = "{% if add_generation_prompt %}"


def turns(head: str, tail: str, prompt: str, names: str = "m['role']") -> str:
    """A template of turns: `head` with the role where it has R, the content, `tail`; `prompt` before a completion."""
    opened = "{{ '" + head.replace("R", "' + (" + names + ") + '") + "' + m['content'] + '" + tail + "' }}"
    return "{% for m in messages %}" + opened + "{% endfor %}" + PROMPT + "{{ '" + prompt + "' }}{% endif %}"


CHATML = turns("<|im_start|>R\n", "<|im_end|>\n", "<|im_start|>assistant\n")
QWEN3 = CHATML.replace(
    "assistant\n' }}", "assistant\n' }}{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
OPENS = turns("<|R|>", "<|end_of_sentence|>", "<|assistant|><think>\n")
AS_MODEL = "'model' if m['role'] == 'assistant' else 'user'"
GEMMA = turns("<start_of_turn>R\n", "<end_of_turn>\n", "<start_of_turn>model\n", AS_MODEL)
GEMMA2, GEMMA3 = USER_FIRST + ALTERNATING + GEMMA, "{{ bos_token }}" + GEMMA
PHI = turns("<|R|>\n", "<|end|>\n", "<|assistant|>\n")
PHI_OLD = (
    "{% for m in messages %}{% if m['role'] in ['user', 'assistant'] %}{{ '<|' + m['role'] + '|>\n' + m['content'] + "
    "'<|end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
HEADER = "<|start_header_id|>R<|end_header_id|>\n\n"
LLAMA = "{{ bos_token }}" + turns(HEADER, "<|eot_id|>", HEADER.replace("R", "assistant"))
MISTRAL = (
    USER_FIRST
    + ALTERNATING
    + "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    + "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
GRANITE = turns("<|start_of_role|>R<|end_of_role|>", "<|end_of_text|>\n", "<|start_of_role|>assistant<|end_of_role|>")
COHERE = turns("<|START|><|R|>", "<|END|>", "<|START|><|assistant|>")
OLMO = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}{% if m['role'] == 'assistant' %}"
    "{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}" + PROMPT + "{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Kind:
    """A family: `special` are tokens that the vocabulary marks so and the tokenizer does not name; `ends` what its
    generation config names (None: the end-of-text token alone); `turn` the token that ends a turn."""

    layers: str
    template: str | None
    eos: str
    turn: str
    special: tuple[str, ...] = ()
    ends: tuple[str, ...] | None = None
    bos: str | None = None
    sizes: dict[str, Any] = field(default_factory=dict)


HEAD = {"head_dim": 8}
ROLES = ("<|user|>", "<|assistant|>", "<|system|>")
GEMMA_TOKENS = ("<start_of_turn>", "<end_of_turn>")
LLAMA_TOKENS = ("<|eom_id|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>")
LLAMA_ENDS = ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
IM_START, IM_END, SENTENCE = "<|im_start|>", "<|im_end|>", "<|end_of_sentence|>"
ENDOFTEXT, END_OF_TEXT, TURN_END = "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>"

ZOO = {
    "qwen2 base": Kind("qwen2", CHATML, ENDOFTEXT, IM_END, (IM_START, IM_END)),
    "qwen2": Kind("qwen2", CHATML, IM_END, IM_END, (IM_START,), (IM_END,)),
    "qwen3": Kind("qwen3", QWEN3, IM_END, IM_END, (IM_START,), sizes=HEAD),
    "thinking": Kind("qwen2", OPENS, SENTENCE, SENTENCE, ROLES),
    "gemma2": Kind("gemma2", GEMMA2, "<eos>", TURN_END, GEMMA_TOKENS, bos="<bos>", sizes=HEAD),
    "gemma3": Kind("gemma3_text", GEMMA3, "<eos>", TURN_END, GEMMA_TOKENS, ("<eos>", TURN_END), "<bos>", HEAD),
    "phi3": Kind("phi3", PHI, ENDOFTEXT, "<|end|>", (*ROLES, "<|end|>"), (ENDOFTEXT,)),
    "phi3 first": Kind("phi3", PHI_OLD, ENDOFTEXT, "<|end|>", (*ROLES, "<|end|>")),
    "llama3": Kind("llama", LLAMA, "<|eot_id|>", "<|eot_id|>", LLAMA_TOKENS, LLAMA_ENDS, "<|begin_of_text|>"),
    "llama3 base": Kind("llama", None, END_OF_TEXT, END_OF_TEXT, bos="<|begin_of_text|>"),
    "mistral": Kind("mistral", MISTRAL, "</s>", "</s>", bos="<s>"),
    "granite": Kind("granite", GRANITE, END_OF_TEXT, END_OF_TEXT, ("<|start_of_role|>", "<|end_of_role|>")),
    "cohere": Kind("cohere", COHERE, "<|END|>", "<|END|>", ("<|START|>", *ROLES), bos="<BOS>"),
    "olmo2": Kind("olmo2", OLMO, ENDOFTEXT, ENDOFTEXT, ROLES),
    "gpt2": Kind("gpt2", None, ENDOFTEXT, ENDOFTEXT),
    "neox": Kind("gpt_neox", None, ENDOFTEXT, ENDOFTEXT),
}


def tokenizer_of(kind: Kind, tags: tuple[str, ...] = ()):
    """A byte-level tokenizer of 256 bytes and the family's tokens; `tags` are special tokens besides."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({byte: i for i, byte in enumerate(alphabet)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    names = dict.fromkeys(t for t in (kind.bos, kind.eos, kind.turn, *kind.special, *tags) if t)
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    named = {"eos_token": kind.eos, "bos_token": kind.bos, "pad_token": kind.eos}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **named)
    tokenizer.chat_template = kind.template
    return tokenizer


def save_model(name: str, folder, tags: tuple[str, ...] = ()):
    """A model of the family with random weights, in a folder as from the hub."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = ZOO[name]
    tokenizer = tokenizer_of(kind, tags)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 2048}
    if kind.layers not in ("gpt2", "gpt_neox"):
        sizes |= {"num_key_value_heads": 2}
    if kind.layers != "gpt2":
        sizes |= {"intermediate_size": 48}
    ends = [tokenizer.convert_tokens_to_ids(end) for end in kind.ends or (kind.eos,)]
    ids = {"eos_token_id": ends, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id}
    config = AutoConfig.for_model(kind.layers, **sizes, **kind.sizes, **ids, vocab_size=len(tokenizer))
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
