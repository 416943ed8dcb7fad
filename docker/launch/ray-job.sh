#!/bin/bash
# One stage on a Ray cluster whose nodes have Docker and share /artifacts (Ray's own container environments want Ray
# inside the image, at the cluster's version; ours have none):
#
#   RAY_ADDRESS=http://head:8265 IMAGE=REGISTRY/tools-grpo:0.2.0-cuda docker/launch/ray-job.sh --base-model /artifacts/prep_sft
#
# GPUS=0 asks for none. Run with Ray 2.60.0 on a cluster of one node, with GPUS=0 and a CPU image; checked with bash -n
# and shellcheck 0.11.0; not yet run on several nodes or with a GPU.
set -eu
: "${IMAGE:?set IMAGE to the image of the tool}"
gpus=${GPUS:-1}
see=()
if ((gpus)); then see=(--gpus all); fi
exec ray job submit --entrypoint-num-gpus "$gpus" -- \
  docker run --rm "${see[@]}" --user "$(id -u):$(id -g)" --volume "${ARTIFACTS:-/artifacts}:/artifacts" "$IMAGE" "$@"
