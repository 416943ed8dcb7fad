"""Reading rows from anywhere, so that every tool accepts the same inputs and reports the same faults.

    read_rows("data/*.jsonl.gz")                            files: jsonl, json, csv, tsv, parquet, arrow; .gz, .zst
    read_rows("-")                                          JSON lines on standard input
    read_rows("hf://openai/gsm8k?config=main&split=train")  the Hugging Face hub, through `datasets`
    read_rows("demo://problems?split=train&size=100")       generated, no network

What cannot be opened at all is a `ToolError`, at once; what cannot be used inside it is a `Rejected` with file, line
and reason. `read_problems` and `read_conversations` go on from rows to what the tools train and measure on.
"""

from tools_shared.sources.collect import Collected, read_conversations, read_examples, read_problems, unique_id
from tools_shared.sources.conversations import conversation_from
from tools_shared.sources.fields import as_list, lookup
from tools_shared.sources.problems import problem_from, question_of, split_gsm8k
from tools_shared.sources.rows import read_rows, source_sha256
from tools_shared.sources.shapes import detect_shape, id_of, procedure_text
from tools_shared.sources.spec import files_among

__all__ = [
    "Collected",
    "as_list",
    "conversation_from",
    "detect_shape",
    "files_among",
    "id_of",
    "lookup",
    "problem_from",
    "procedure_text",
    "question_of",
    "read_conversations",
    "read_examples",
    "read_problems",
    "read_rows",
    "source_sha256",
    "split_gsm8k",
    "unique_id",
]
