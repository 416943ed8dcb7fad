# The matrix of images: docker buildx bake -f docker/docker-bake.hcl grpo-cpu
# `make images` and `make image-grpo` call it with the versions in the packages.

variable "VERSIONS" { default = "" }            # "dedup:0.2.0 sft:0.2.0 ..."
variable "REVISION" { default = "unknown" }
variable "SOURCE" { default = "unknown" }
variable "BASE_IMAGE" { default = "python:3.11-slim-bookworm" }
variable "REGISTRY" { default = "" }            # with its slash: "ghcr.io/someone/"

function "version" {
  params = [tool]
  result = try(regex("${tool}:([^ ]+)", VERSIONS)[0], "dev")
}

group "default" {
  targets = ["image"]
}

target "image" {
  name = "${tool}-${variant}"
  matrix = {
    tool    = ["dedup", "sft", "grpo", "traces", "scorer", "bench"]
    variant = ["cuda", "cpu"]
  }
  context    = "."
  dockerfile = "docker/Dockerfile"
  args = {
    TOOL       = tool
    VARIANT    = variant
    BASE_IMAGE = BASE_IMAGE
    VERSION    = version(tool)
    REVISION   = REVISION
    SOURCE     = SOURCE
  }
  tags = concat(
    ["${REGISTRY}tools-${tool}:${version(tool)}-${variant}", "${REGISTRY}tools-${tool}:${variant}"],
    variant == "cuda" ? ["${REGISTRY}tools-${tool}:latest"] : [],
  )
}
