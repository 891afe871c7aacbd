#!/usr/bin/env bash
# Reads the chart and the workflows: what helm lint, kube-score, actionlint and helm-docs have to say. That it renders
# right, and that a real API server accepts it, are tests in charts/.
#
#   hack/chart/lint.sh TOOLS
set -euo pipefail

tools=$1
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
chart=charts/hssgate
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What we leave out knowingly:
# - the image is pinned by its release or a digest, so it needn't be pulled again;
# - a limit of ephemeral storage could evict hssgate for its own log, and it writes nothing else (its root is read-only);
# - a limit of CPU delays admissions;
# - pods spread by topologySpreadConstraints, which kube-score doesn't know;
# - networkPolicy.enabled is the user's choice, since the API server's port differs from cloud to cloud.
ignored=(
  --ignore-test container-image-pull-policy
  --ignore-test container-ephemeral-storage-request-and-limit
  --ignore-container-cpu-limit
  --ignore-test deployment-has-host-podantiaffinity
  --ignore-test pod-networkpolicy
)

for values in "$chart"/ci/*-values.yaml; do
  "$tools/helm" lint --strict --quiet "$chart" --values "$values"
  "$tools/helm" template hssgate "$chart" --namespace hssgate-system --values "$values" > "$scratch/rendered.yaml"
  "$tools/kube-score" score "${ignored[@]}" --output-format ci "$scratch/rendered.yaml" > "$scratch/score" || {
    echo "kube-score, with $values:"
    grep -Ev '^\[(OK|SKIPPED)\]' "$scratch/score"
    exit 1
  }
done

"$tools/actionlint" -no-color .github/workflows/*.yaml

# helm-docs writes beside the chart, so it gets a copy.
cp -R "$chart" "$scratch/hssgate"
"$tools/helm-docs" --chart-search-root "$scratch/hssgate" --sort-values-order file --log-level warning
diff -u "$chart/README.md" "$scratch/hssgate/README.md" || {
  echo "the chart's README.md doesn't fit its values: run make chart-docs" >&2
  exit 1
}
