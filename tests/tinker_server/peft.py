"""What SkyRL uses of PEFT: it writes an adapter's configuration, and computes with JAX. The package itself would bring
torch and CUDA, six gigabytes. The fields and their defaults are those that PEFT's own readers need."""

import json
from pathlib import Path


class LoraConfig:
    """`adapter_config.json` as PEFT 0.18.1 writes it for the same arguments, without the fields that say "off"."""

    def __init__(self, base_model_name_or_path: str, r: int, lora_alpha: int):
        self.fields = {
            "base_model_name_or_path": base_model_name_or_path,
            "bias": "none",
            "inference_mode": False,
            "init_lora_weights": True,
            "lora_alpha": lora_alpha,
            "lora_dropout": 0.0,
            "peft_type": "LORA",
            "peft_version": "0.18.1",
            "r": r,
            "target_modules": None,
            "task_type": None,
        }

    def save_pretrained(self, folder: Path) -> None:
        (Path(folder) / "adapter_config.json").write_text(json.dumps(self.fields, indent=2, sort_keys=True))
