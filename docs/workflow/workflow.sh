#!/usr/bin/env bash
# Steps 1 to 5 of docs/workflow.md, from the root of a clone. BASELINE and TRAINED say who answers: "--endpoint URL" or
# "--model NAME"; without TRAINED it is the endpoint that the service gave, else the weights that came home.
set -euo pipefail

NAME=${NAME:-qwen3:8b}
SUITE=${SUITE:-standard}
BASELINE=${BASELINE:---endpoint http://localhost:8000/chat}
FOLDER=${NAME//[^A-Za-z0-9._+-]/_}

echo "1. Benchmark the baseline"
tools-bench run --model-name "$NAME-baseline" $BASELINE --suite "$SUITE" ${BENCH_OPTIONS:-} --output-dir outputs/benchmarks

echo "2. Tag the problems"
mkdir -p data
tools-bench tag --input docs/workflow/problems.jsonl --output data/tagged_math.jsonl --grade 6

echo "3. Train"
tools-sft --config docs/workflow/sft.yaml ${SFT_OPTIONS---tinker-weights keep}

echo "4. Benchmark the trained model"
field() { python -c 'import json, sys; print(json.load(open("artifacts/sft_001/run.json"))["metrics"].get(sys.argv[1]) or "")' "$1"; }
if [ -z "${TRAINED:-}" ] && [ -n "$(field endpoint)" ]; then
  TRAINED="--endpoint $(field endpoint) --api-key-env TINKER_API_KEY"
  TRAINED_NAME=$(field tinker_model)
fi
TRAINED_NAME=${TRAINED_NAME:-$NAME-sft-001}
TRAINED_FOLDER=${TRAINED_NAME//[^A-Za-z0-9._+-]/_}
tools-bench run --model-name "$TRAINED_NAME" ${TRAINED:---model artifacts/sft_001} --suite "$SUITE" ${BENCH_OPTIONS:-} \
  --output-dir outputs/benchmarks

echo "5. Compare, and keep the experiment"
tools-bench run --model-name "$TRAINED_NAME" --output-dir outputs/benchmarks \
  --compare "outputs/benchmarks/$FOLDER-baseline/benchmark_results.json"
mkdir -p experiments/sft/sft_001
cp "outputs/benchmarks/$TRAINED_FOLDER/"{README.md,benchmark_results.json,comparison.json} experiments/sft/sft_001/
cp artifacts/sft_001/README.md experiments/sft/sft_001/TRAINING.md
tools-bench report artifacts outputs/benchmarks --output-file experiments/report.html
