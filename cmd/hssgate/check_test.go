package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	sampleManifests = "../../config/samples/manifests"
	samplePolicies  = "../../config/samples/policies"
	sampleInventory = "../../config/samples/inventory.yaml"
	sampleHost      = "swr.cn-north-4.myhuaweicloud.com"
)

// checked runs check on arguments, against the samples' inventory.
func checked(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	stdout, _, err := run(t, append([]string{"check", "--inventory", sampleInventory}, args...)...)
	t.Log(err)
	return stdout, codeOf(err)
}

// awayConfig writes a configuration whose HSS is unreachable.
func awayConfig(t *testing.T) string {
	t.Helper()
	return write(t, "config.yaml", strings.Replace(readFile(t, "../../config/samples/config.yaml"), "region: cn-north-4", "endpoint: http://127.0.0.1:1\n  insecure: true", 1))
}

func TestTheExitCodeTellsTheVerdict(t *testing.T) {
	clean, high := sampleHost+"/prod/clean:1.0", sampleHost+"/prod/high:1.0"
	unread := write(t, "bad.yaml", "{]")
	policy := write(t, "policy.yaml", "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\nmetadata: {name: bad}\nspec: {require: {expressions: [{expression: 'image.'}]}}\n")
	deployment := func(image string) string {
		return write(t, "deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: a, image: '"+image+"'}]}}}\n")
	}
	service := write(t, "service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	calls{
		"nothing with an image":             {[]string{"-f", service, "--preset", "strict"}, 0, "there is nothing to evaluate"},
		"a workload of a clean image":       {[]string{"-f", deployment(clean), "--preset", "baseline"}, 0, ""},
		"a workload with pods to be denied": {[]string{"-f", deployment(high), "--preset", "baseline"}, exitFailure, ""},
		"a workload that's only audited":    {[]string{"-f", deployment(high), "--preset", "audit"}, 0, ""},
		"a clean image":                     {[]string{clean, "--preset", "baseline"}, 0, ""},
		"a bad image":                       {[]string{high, "--preset", "baseline"}, exitFailure, ""},
		"a bad image that is only audited":  {[]string{high, "--preset", "audit"}, 0, ""},
		"labels that a policy selects":      {[]string{high, "--policies", samplePolicies, "--namespace-labels", "env=prod"}, exitFailure, ""},
		"no labels":                         {[]string{high, "--policies", samplePolicies, "--namespace-labels", ""}, 0, ""},
		"labels that are not given":         {[]string{high, "--policies", samplePolicies}, exitFailure, "no labels were given for it"},
		"what denies comes first":           {[]string{high, "--policies", samplePolicies}, exitFailure, "[policy staging-warn]; Audit: severity High"},
		"one that's warned of":              {[]string{sampleHost + "/prod/unknown:1", "--preset", "baseline"}, 0, ""},
		"one with an exit code":             {[]string{sampleHost + "/prod/unknown:1", "--preset", "baseline", "--warn-exit-code", "7"}, 7, "all admitted, 1 with a warning"},
		"one beside a bad one":              {[]string{sampleHost + "/prod/unknown:1", high, "--preset", "baseline", "--warn-exit-code", "7"}, exitFailure, ""},
		"a clean one, with an exit code":    {[]string{clean, "--preset", "baseline", "--warn-exit-code", "7"}, 0, ""},
		"all samples":                       {[]string{"-f", sampleManifests, "--policies", samplePolicies}, exitFailure, ""},
		"a file that can't be read":         {[]string{"-f", unread, "--preset", "audit"}, exitUnknown, ""},
		"a policy that's invalid":           {[]string{clean, "--policies", policy}, exitFailure, ""},
		"an inventory that's missing":       {[]string{clean, "--preset", "audit", "--inventory", "no-such.yaml"}, exitUnknown, ""},
		"an inventory that's none":          {[]string{clean, "--preset", "audit", "--inventory", unread}, exitUnknown, ""},
		"manifests that are missing":        {[]string{"-f", "no-such.yaml", "--preset", "audit"}, exitUnknown, ""},
		"policies of a cluster that's away": {[]string{clean, "--kubeconfig", "no-such-kubeconfig"}, exitUnknown, ""},
		"an output file nowhere":            {[]string{clean, "--preset", "audit", "-o", "table", "-o", "sarif=no-such-folder/x"}, exitUnknown, ""},
		"HSS away":                          {[]string{clean, "--preset", "baseline", "--config", awayConfig(t), "--inventory", ""}, exitUnknown, ""},
	}.check(t, "check", "--inventory", sampleInventory)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

func TestAWrongCheckIsToldSo(t *testing.T) {
	calls{
		"nothing to evaluate":       {[]string{"--preset", "audit", "--inventory", "x"}, exitUsage, "nothing to evaluate"},
		"nobody to ask":             {[]string{"a", "--preset", "audit"}, exitUsage, "--config is required"},
		"two kinds of policies":     {[]string{"a", "--preset", "audit", "--policies", "x", "--inventory", "x"}, exitUsage, "exclude each other"},
		"an unknown preset":         {[]string{"a", "--preset", "lax", "--inventory", sampleInventory}, exitUsage, `not "lax"`},
		"an unknown output":         {[]string{"a", "-o", "xml"}, exitUsage, `not "xml"`},
		"two outputs printed":       {[]string{"a", "-o", "json", "-o", "yaml"}, exitUsage, "only one format can be printed: write yaml into a file, -o yaml=FILE"},
		"one file of two outputs":   {[]string{"a", "-o", "json=x", "-o", "yaml=x"}, exitUsage, "--output: two formats name the file x"},
		"an output's file unnamed":  {[]string{"a", "-o", "json="}, exitUsage, "--output json= names no file: it must be json=FILE"},
		"a flag that is gone":       {[]string{"a", "--output-file", "x"}, exitUsage, "unknown flag: --output-file: use -o FORMAT=FILE, such as -o sarif=FILE"},
		"a report that's quiet":     {[]string{"a", "-q", "-o", "json"}, exitUsage, "--quiet prints no report: write json into a file, -o json=FILE"},
		"exceptions that are quiet": {[]string{"a", "-q", "--generate-exceptions", "--for", "1h", "--reason", "x"}, exitUsage, "write exceptions into a file, -o exceptions=FILE"},
		"an unknown part":           {[]string{"a", "--only", "denied"}, exitUsage, `--only must be failed, not "denied"`},
		"an unknown colour mode":    {[]string{"a", "--color", "yes"}, exitUsage, `--color must be auto, always or never, not "yes"`},
		"an exit code too large":    {[]string{"a", "--warn-exit-code", "256"}, exitUsage, "--warn-exit-code must be from 0 to 255, not 256"},
		"nothing to exclude":        {[]string{"a", "--exclude", "/"}, exitUsage, `--exclude must be a name or path, not "/"`},
		"exceptions without an end": {[]string{"a", "--generate-exceptions", "--reason", "x"}, exitUsage, "exceptions need --for DURATION, such as 720h, not 0s"},
		"exceptions for no reason":  {[]string{"a", "-o", "exceptions=x", "--for", "1h"}, exitUsage, "exceptions need --reason TEXT"},
		"a reason for nothing":      {[]string{"a", "--reason", "x"}, exitUsage, "--for and --reason are for --generate-exceptions"},
		"exceptions for too long":   {[]string{"a", "--generate-exceptions", "--for", "721h", "--reason", "x", "--preset", "audit", "--inventory", sampleInventory}, exitUsage, "--for must be at most 720h0m0s (maxExceptionLifetime of the configuration), not 721h0m0s"},
		"an output that explains":   {[]string{"a", "--explain", "-o", "sarif", "--preset", "audit", "--inventory", "x"}, exitUsage, "--explain is for"},
		"images and a cluster":      {[]string{"a", "-A", "--inventory", "x"}, exitUsage, "--all-namespaces is for a cluster"},
		"images and a selector":     {[]string{"a", "-l", "a=b", "--inventory", "x"}, exitUsage, "--selector is for a cluster"},
		"all namespaces and one":    {[]string{"-A", "-n", "shop", "--inventory", "x"}, exitUsage, "exclude each other"},
		"labels that are none":      {[]string{"a", "--namespace-labels", "a in b", "--inventory", "x"}, exitUsage, "--namespace-labels"},
		"a file for an image":       {[]string{"no-such.yaml", "--preset", "audit", "--inventory", "x"}, exitUsage, "did you mean -f no-such.yaml?"},
		"a folder for an image":     {[]string{sampleManifests, "--preset", "audit", "--inventory", "x"}, exitUsage, "did you mean -f " + sampleManifests + "?"},
		"standard input for image":  {[]string{"-", "--preset", "audit", "--inventory", "x"}, exitUsage, "did you mean -f -?"},
		"standard input twice":      {[]string{"-f", "-", "--policies", "-", "--inventory", "x"}, exitUsage, "- is standard input, which can be read once only"},
		"a configuration that's no": {[]string{"a", "--preset", "audit", "--config", "no-such.yaml"}, exitUsage, "no-such.yaml"},
	}.check(t, "check")
}

func TestPoliciesThatAreNowhereMayBeGiven(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	calls{
		"an image":     {[]string{"a"}, exitUnknown, "or give the policies by --policies or --preset"},
		"running pods": {[]string{"-A", "--preset", "audit"}, exitUnknown, "find the cluster"},
	}.check(t, "check", "--inventory", sampleInventory)
}

func TestManifestsAndPoliciesMayComeOnStandardInput(t *testing.T) {
	pod := write(t, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: '"+sampleHost+"/prod/clean:1.0'}]}\n")
	policy := strings.Replace(strictProduction, "namespaceSelector: {matchLabels: {env: prod}}, ", "", 1)
	for name, args := range map[string][]string{
		"check":    {"check", "-f", pod, "--policies", "-"},
		"simulate": {"policy", "simulate", "-f", "-", "--manifests", pod, "--preset", "audit"},
	} {
		stdout, _, err := runReading(t.Context(), policy, append(args, "--inventory", sampleInventory)...)
		if err == nil || exitCode(err) != exitFailure || !strings.Contains(stdout, "Pod/web") {
			t.Errorf("%s: got %v and %s", name, err, stdout)
		}
	}
	stdout, _, err := runReading(t.Context(), strings.Replace(readFile(t, pod), "clean", "high", 1), "check", "-f", "-", "--preset", "baseline", "--inventory", sampleInventory, "-n", "shop")
	if err == nil || err.Error() != "1 of 1 would be denied" || !strings.Contains(stdout, "Pod/web") {
		t.Errorf("a manifest: got %v and %s", err, stdout)
	}
}

func TestTheNameIsThatOfTheCall(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/bin/hssgate": "hssgate", "bin/kubectl-hssgate": "kubectl hssgate", "kubectl-hssgate.exe": "kubectl hssgate", "": "hssgate",
	} {
		if got := displayName(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

func TestOneInterruptEndsACheckThatWaitsForStandardInput(t *testing.T) { // not parallel: check sets the loggers of libraries
	ctx, interrupt := context.WithCancel(t.Context())
	silent, writer := io.Pipe()
	defer writer.Close()
	root := newRootCommand()
	root.SetArgs([]string{"check", "-f", "-", "--preset", "baseline", "--inventory", "../../config/samples/inventory.yaml"})
	root.SetIn(silent)
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	time.AfterFunc(100*time.Millisecond, interrupt)
	select {
	case err := <-ended:
		if err == nil || err.Error() != "check: interrupted" || exitCode(err) != exitUnknown {
			t.Errorf("got %v with exit code %d, want %d since it was interrupted", err, exitCode(err), exitUnknown)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on waiting")
	}
}

// TestFoldersOfRepositoriesAreEvaluated has a folder with manifests, and what else is in
// repositories: a kustomization, a chart, and files of other programs.
func TestFoldersOfRepositoriesAreEvaluated(t *testing.T) {
	dir := t.TempDir()
	pod := func(image string) string {
		return "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: a, image: '" + sampleHost + "/prod/" + image + ":1.0'}]}}\n"
	}
	for name, text := range map[string]string{
		"pod.yaml": pod("clean"), "values.yaml": "image: x\n", ".github/workflows/ci.yml": "on: push\n", "app/kustomization.yaml": "resources: [pod.yaml]\n",
		"app/pod.yaml": pod("clean"), "chart/Chart.yaml": "name: x\n", "chart/templates/pod.yaml": pod("{{ .Values.image }}"), "old/pod.yaml": pod("high"),
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		rewrite(t, filepath.Join(dir, name), text)
	}
	calls{
		"all of it":           {[]string{"-R", "-f", dir}, exitFailure, "3 objects with 2 images: 1 denied, 2 admitted."},
		"without a folder":    {[]string{"-R", "-f", dir, "--exclude", "old/"}, 0, "2 objects with 1 image: 2 admitted."},
		"the kustomization":   {[]string{"-R", "-f", dir, "--exclude", "old"}, 0, "app: it holds a kustomization, which is built as -k does"},
		"no manifest":         {[]string{"-R", "-f", dir, "--exclude", "old"}, 0, "values.yaml:1: not evaluated, since it is no Kubernetes object"},
		"the chart":           {[]string{"-R", "-f", dir, "--exclude", "old"}, 0, "hssgate: skipped: " + dir + "/chart: it is a Helm chart: render it (helm template "},
		"a chart, strictly":   {[]string{"-R", "-f", dir, "--exclude", "old", "--strict"}, exitUnknown, "it is a Helm chart"},
		"no chart, strictly":  {[]string{"-R", "-f", dir, "--exclude", "old", "--exclude", "chart", "--strict"}, 0, ""},
		"a file that's named": {[]string{"-f", filepath.Join(dir, "values.yaml")}, exitUnknown, "values.yaml:1: it is no Kubernetes object"},
		"the workflows alone": {[]string{"-f", filepath.Join(dir, ".github", "workflows")}, 0, "there is nothing to evaluate"},
	}.check(t, "check", "--inventory", sampleInventory, "--preset", "baseline")
}

// TestGeneratedExceptionsAdmitWhatFails evaluates by policies, and again by the exceptions
// that are made of the result, too.
func TestGeneratedExceptionsAdmitWhatFails(t *testing.T) {
	pods := write(t, "pods.yaml", strings.NewReplacer("REPO", sampleHost+"/prod").Replace(`{apiVersion: v1, kind: List, items: [
		{apiVersion: v1, kind: Pod, metadata: {name: no-namespace}, spec: {containers: [{name: a, image: REPO/high:1.0}, {name: b, image: REPO/clean:1.0}]}},
		{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {template: {spec: {containers: [{name: a, image: REPO/high:1.0}]}}}},
		{apiVersion: v1, kind: Pod, metadata: {name: by-digest, namespace: shop}, spec: {containers: [{name: a, image: 'REPO/malware@`+allowedDigest+`'}]}}]}`))
	policy := readFile(t, "../../config/presets/strict.yaml")
	deny := write(t, "deny.yaml", policy)
	forbid := write(t, "forbid.yaml", strings.Replace(policy, "spec:\n", "spec:\n  exceptions: Forbid\n", 1))
	audit := write(t, "audit.yaml", regexp.MustCompile(`(?m)^spec:\n(  enforcement: .*\n)?`).ReplaceAllString(policy, "spec:\n  enforcement: Audit\n"))
	generated := filepath.Join(t.TempDir(), "exceptions.yaml")
	generate := func(policies string, more ...string) []string {
		return append([]string{"-f", pods, "--policies", policies, "--for", "720h", "--reason", "tighten later"}, more...)
	}
	calls{
		"what is denied":        {generate(deny, "-o", "table", "-o", "exceptions="+generated), exitFailure, "3 objects"},
		"printed":               {generate(deny, "--generate-exceptions"), exitFailure, "reason: tighten later"},
		"beside a file":         {generate(deny, "--generate-exceptions", "-o", "json="+os.DevNull), exitFailure, "reason: tighten later"},
		"a policy that forbids": {generate(forbid, "--generate-exceptions"), exitFailure, "no exception is made: policy strict permits none (spec.exceptions: Forbid) for " + sampleHost + "/prod/high:1.0"},
		"HSS away":              {generate(deny, "--generate-exceptions", "--config", awayConfig(t), "--inventory", ""), exitFailure, "# ImageScanExceptions for what violated a policy at"},
	}.check(t, "check", "--inventory", sampleInventory)
	calls{"nothing more": {generate(deny, "--policies", generated, "--generate-exceptions"), 0, "# ImageScanExceptions for what violated"}}.check(t, "check", "--inventory", sampleInventory)
	must(t, os.Remove(generated))
	calls{"what only audits": {generate(audit, "-o", "exceptions="+generated), 0, ""}}.check(t, "check", "--inventory", sampleInventory)
	calls{"by then denies": {generate(deny, "--policies", generated, "-o", "table", "-o", "exceptions="+os.DevNull), 0, "Excepted"}}.check(t, "check", "--inventory", sampleInventory)
}

// exceptionFile writes an ImageScanException of the image high, which ends in a
// while, with some text changed.
func exceptionFile(t *testing.T, in time.Duration, replace ...string) string {
	t.Helper()
	text := "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanException\nmetadata: {name: one}\nspec:\n  images: [" + sampleHost + "/prod/high]\n" +
		"  policies: [baseline]\n  reason: mended tomorrow\n  expiresAt: " + time.Now().Add(in).UTC().Format(time.RFC3339) + "\n"
	return write(t, "exception.yaml", strings.NewReplacer(replace...).Replace(text))
}

func TestExceptionsInFilesCount(t *testing.T) {
	high := sampleHost + "/prod/high:1.0"
	pod := write(t, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: '"+high+"'}]}\n")
	baseline := write(t, "baseline.yaml", readFile(t, "../../config/presets/baseline.yaml"))
	list := write(t, "list.yaml", "{apiVersion: v1, kind: List, items: ["+`{apiVersion: hssgate.io/v1alpha1, kind: ImageScanException, metadata: {name: one}, spec: {images: [`+sampleHost+`/prod/high], policies: [baseline], reason: x, expiresAt: "`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}}`+"]}")
	calls{
		"without one":              {[]string{"-f", pod, "--policies", baseline}, exitFailure, ""},
		"among the policies":       {[]string{"-f", pod, "--policies", baseline, "--policies", exceptionFile(t, time.Hour)}, 0, "Excepted"},
		"among the manifests":      {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, time.Hour)}, 0, "Excepted"},
		"in a list":                {[]string{"-f", pod, "--preset", "baseline", "-f", list}, 0, "Excepted"},
		"that has ended":           {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, -time.Hour)}, exitFailure, ""},
		"of another namespace":     {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, time.Hour, "name: one", "name: one, namespace: other")}, exitFailure, ""},
		"in the namespace of -n":   {[]string{"-f", pod, "-n", "shop", "--policies", baseline, "-f", exceptionFile(t, time.Hour)}, 0, "Excepted"},
		"of the namespace of -n":   {[]string{"-f", pod, "-n", "shop", "--policies", baseline, "-f", exceptionFile(t, time.Hour, "name: one", "name: one, namespace: shop")}, 0, "Excepted"},
		"longer than allowed":      {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, 1000*time.Hour)}, exitFailure, "after its creation"},
		"without a reason":         {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, time.Hour, "  reason: mended tomorrow\n", "")}, exitFailure, "spec.reason"},
		"of another kind":          {[]string{"-f", pod, "--policies", baseline, "--policies", exceptionFile(t, time.Hour, "kind: ImageScanException", "kind: ImageScanExceptions")}, exitUnknown, ""},
		"of the whole cluster":     {[]string{"-f", pod, "-n", "shop", "--policies", baseline, "-f", exceptionFile(t, time.Hour, "kind: Image", "kind: ClusterImage")}, 0, "Excepted"},
		"that is no policy itself": {[]string{"-f", exceptionFile(t, time.Hour), "--policies", baseline}, 0, ""},
	}.check(t, "check", "--inventory", sampleInventory)
}
