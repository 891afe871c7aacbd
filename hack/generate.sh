#!/usr/bin/env bash
# Generates what follows from the types in policy/v1alpha1: their deep copies, the CustomResourceDefinitions in the
# chart and the policy reference.
#
#   hack/generate.sh TOOLS OUT
#
# TOOLS is the folder of controller-gen and crd-ref-docs, OUT the folder to write below: "." is the repository itself.
set -euo pipefail

tools=$1
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$2
crds=$out/charts/hssgate/files/crds
reference=$out/docs/reference

mkdir -p "$out/policy/v1alpha1" "$crds" "$reference"
"$tools/controller-gen" paths=./policy/v1alpha1 \
  object output:object:dir="$out/policy/v1alpha1" \
  crd output:crd:dir="$crds"
"$tools/crd-ref-docs" --source-path policy/v1alpha1 --config hack/docs/config.yaml --templates-dir hack/docs/templates \
  --renderer markdown --output-path "$reference/policy.md" --log-level WARN

# The templates can't help leaving runs of empty lines behind.
cat -s "$reference/policy.md" > "$reference/policy.md.new"
mv "$reference/policy.md.new" "$reference/policy.md"
