"""Scorers and rules for the tests of pruning."""

import torch

from tools_shared.models import resolve
from tools_shared.models.load import load_config
from tools_shared.prompts import PROFILES, Profile
from tools_shared.pruning.open import open_watcher
from tools_shared.pruning.rules import parse_rules
from tools_shared.scorers.scorer import ScorerFacts, probe, save_scorer
from tools_shared.states.reader import reader_sha256

PLAIN = Profile("demo-plain", "Solve the problem.", (" The answer is ", "."))
NEVER = ("confidence:4<0", "budget:1000GB")


def make_scorer(folder, spec, delimiter="sentence", layers=None, norm="post", profile=PLAIN):
    """A scorer with random weights, wide enough that its probabilities differ, for the states of this model."""
    config = load_config(resolve(spec)).get_text_config()
    layers = layers or (config.num_hidden_layers,)
    reader = {
        "model": spec, "reader_sha256": reader_sha256(resolve(spec)), "norm": norm, "delimiter": delimiter,
        "layers": list(layers), "dtype": "fp32", "profile": profile.to_json(),
    }  # fmt: skip
    facts = ScorerFacts("made-up", config.hidden_size, layers, reader, widths=(8,), features="concat")
    torch.manual_seed(1)
    module = probe(facts.input_size, facts.widths)
    with torch.no_grad():
        module.net[2].weight.mul_(4)
    save_scorer(folder, facts, module)
    return str(folder)


def watcher(spec, rules, n_samples, profile=PROFILES["gsm8k-tags"]):
    return open_watcher(parse_rules(rules), resolve(spec), profile, n_samples, "fp32", "cpu")
