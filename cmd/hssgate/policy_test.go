package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config/samples"
)

// strictProduction is a policy that takes production's place.
const strictProduction = `apiVersion: hssgate.io/v1alpha1
kind: ImageScanPolicy
metadata: {name: production}
spec:
  match: {namespaceSelector: {matchLabels: {env: prod}}, excludeImages: ["swr.*.myhuaweicloud.com/hwofficial/**"]}
  require: {digest: Required}
`

func TestPolicyTestsHaveExitCodes(t *testing.T) {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, samples.Files()))
	test := func(verdict string) string {
		path := filepath.Join(dir, verdict+".yaml")
		text := "apiVersion: test.hssgate.io/v1alpha1\nkind: PolicyTest\npolicies: [policies]\ninventory: inventory.yaml\n" +
			"namespaces: {shop: {env: prod}}\ncases:\n- {name: high, image: " + sampleHost + "/prod/high:1.0, namespace: shop, expect: {verdict: " + verdict + "}}\n"
		rewrite(t, path, text)
		return path
	}
	good, bad := test("Denied"), test("Admitted")
	tests := filepath.Join(dir, "tests", "nested")
	must(t, os.MkdirAll(tests, 0o700))
	rewrite(t, filepath.Join(tests, "good.yaml"), strings.NewReplacer("[policies]", "[../../policies]", "inventory.yaml", "../../inventory.yaml").Replace(readFile(t, good)))
	excepted := filepath.Join(dir, "excepted.yaml")
	rewrite(t, excepted, strings.Replace(readFile(t, test("Warned")), "cases:", "exceptions:\n- metadata: {name: one, namespace: shop}\n  spec: {images: ['**'], policies: [production], reason: x, expiresAt: '"+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+"'}\ncases:", 1))
	clusterWide := filepath.Join(dir, "cluster-wide.yaml")
	rewrite(t, clusterWide, strings.Replace(readFile(t, excepted), "- metadata: {name: one, namespace: shop}", "- kind: ClusterImageScanException\n  metadata: {name: one}", 1))
	wrong := filepath.Join(dir, "wrong.yaml")
	rewrite(t, wrong, strings.Replace(readFile(t, excepted), "reason: x, ", "", 1))
	calls{
		"as expected":      {[]string{good}, 0, "1 case, all as expected."},
		"not as expected":  {[]string{good, bad}, exitFailure, "2 cases, 1 of them (marked FAIL) not as expected."},
		"in JUnit":         {[]string{bad, "-o", "junit"}, exitFailure, "<failure"},
		"a missing file":   {[]string{"no-such.yaml"}, exitUnknown, "! no-such.yaml: "},
		"another is there": {[]string{"no-such.yaml", good}, exitUnknown, "1 case, all as expected."},
		"no file":          {nil, exitUsage, ""},
		"a folder":         {[]string{filepath.Dir(tests)}, 0, "PASS " + filepath.Join(tests, "good.yaml") + " high"},
		"no tests in it":   {[]string{samplePolicies}, exitUnknown, "there is no PolicyTest in it"},
		"what fails":       {[]string{good, bad, "--only", "failed"}, exitFailure, "FAIL " + bad + " high"},
		"some cases":       {[]string{bad, "--run", "^low"}, exitUnknown, `no case has a name that matches "^low"`},
		"wrong cases":      {[]string{bad, "--run", "["}, exitUsage, `--run must be a regular expression, not "["`},
		"an exception":     {[]string{excepted}, 0, "1 case, all as expected."},
		"one for all":      {[]string{clusterWide}, 0, "1 case, all as expected."},
		"a wrong one":      {[]string{wrong}, exitUnknown, "exceptions[0]: ImageScanException \"one\" is invalid: spec.reason"},
	}.check(t, "policy", "test")
}

// TestExpectedVerdictsAreUpdated has wrong verdicts rewritten, and nothing else of the file.
func TestExpectedVerdictsAreUpdated(t *testing.T) {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, samples.Files()))
	path, image := filepath.Join(dir, "test.yaml"), sampleHost+"/prod/"
	text := "apiVersion: test.hssgate.io/v1alpha1\nkind: PolicyTest # of one policy\npreset: baseline\ninventory: inventory.yaml\n\ncases:\n" +
		"- {name: 名字, image: " + image + "high:1.0, expect: {verdict: DENIED}}   # a comment\n" +
		"- {name: a Warned one, image: '" + image + "clean:1.0', expect: {says: [passes], verdict: \"ADMITTED\"}}\n\n" +
		"- name: two objects\n  expect:\n    verdict: Warned\n  object: {apiVersion: v1, kind: List, items: [POD(clean), POD(high)]}\n"
	text = regexp.MustCompile(`POD\((\w+)\)`).ReplaceAllString(text, "{apiVersion: v1, kind: Pod, metadata: {name: $1}, spec: {containers: [{name: a, image: '"+image+"$1:1.0'}]}}")
	rewrite(t, path, strings.NewReplacer("DENIED", "Warned", "ADMITTED", "Denied").Replace(text))
	calls{"some": {[]string{path, "--update"}, exitFailure, "test.yaml: case \"名字\": expects Denied, no longer Warned"}}.check(t, "policy", "test")
	want := strings.NewReplacer("DENIED", "Denied", "ADMITTED", "Admitted").Replace(text)
	if diff := cmp.Diff(want, readFile(t, path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	calls{"no more": {[]string{path, "--update", "--run", "名|one$"}, 0, "2 cases, all as expected."}}.check(t, "policy", "test")
	shared, _, _ := strings.Cut(text, "- {name: 名字")
	rewrite(t, path, shared+"- {name: a, image: "+image+"clean:1.0, expect: &same {verdict: Denied}}\n- {name: b, image: "+image+"high:1.0, expect: *same}\n")
	if _, stderr, err := run(t, "policy", "test", path, "--update"); codeOf(err) != exitUnknown || strings.Contains(stderr, "updated") ||
		!strings.Contains(err.Error(), `case "a": its verdict is that of case "b" too, so it cannot be rewritten`) {
		t.Errorf("an alias: got %v and %s", err, stderr)
	}
}

// TestAPolicyTestNamesNoStandardInput has a file name - as one beside it, for
// what a file names must not depend on who calls hssgate.
func TestAPolicyTestNamesNoStandardInput(t *testing.T) {
	t.Chdir(t.TempDir())
	text := "apiVersion: test.hssgate.io/v1alpha1\nkind: PolicyTest\npolicies: ['-']\nimages: []\ncases:\n- {name: a, image: nginx, expect: {verdict: Denied}}\n"
	rewrite(t, "test.yaml", text)
	if _, _, err := run(t, "policy", "test", "test.yaml"); err == nil || exitCode(err) != exitUnknown || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestASimulationHasExitCodes(t *testing.T) {
	stricter := write(t, "stricter.yaml", strictProduction)
	milder := write(t, "milder.yaml", strings.Replace(strictProduction, "digest: Required", "digest: Optional", 1))
	invalid := write(t, "invalid.yaml", strings.Replace(strictProduction, "digest: Required", "expressions: [{expression: 'image.'}]", 1))
	unread := write(t, "unread.yaml", "{]")
	other := write(t, "other.yaml", strings.Replace(strictProduction, "name: production", "name: other", 1))
	inForceInvalid := []string{"--manifests", sampleManifests, "--policies", invalid, "--inventory", sampleInventory}
	samples := []string{"--manifests", sampleManifests, "--policies", samplePolicies, "--inventory", sampleInventory}
	calls{
		"stricter":             {append([]string{"-f", stricter}, samples...), exitFailure, "newly denied"},
		"one more":             {append([]string{"-f", other}, samples...), exitFailure, "newly denied"},
		"milder":               {append([]string{"-f", milder}, samples...), 0, "0 newly denied, 14 newly admitted."},
		"nothing new":          {append([]string{"-f", samplePolicies}, samples...), 0, "0 newly denied, 0 newly admitted."},
		"an invalid policy":    {append([]string{"-f", invalid}, samples...), exitUnknown, ""},
		"one in its place":     {append([]string{"-f", milder}, inForceInvalid...), 0, "newly admitted"},
		"an invalid one stays": {append([]string{"-f", other}, inForceInvalid...), exitUnknown, ""},
		"HSS away":             {[]string{"-f", milder, "--manifests", sampleManifests + "/10-clean.yaml", "--preset", "baseline", "--config", awayConfig(t)}, exitUnknown, "could not be evaluated: HSS is unreachable"},
		"a policy unread":      {append([]string{"-f", unread}, samples...), exitUnknown, ""},
		"a manifest unread":    {append([]string{"-f", milder, "--manifests", unread}, samples...), exitUnknown, "0 newly denied"},
		"no policy":            {samples, exitUsage, ""},
		"standard input twice": {[]string{"-f", "-", "--manifests", "-", "--preset", "audit", "--inventory", sampleInventory}, exitUsage, "which can be read once only"},
		"nothing to evaluate":  {[]string{"-f", stricter, "--inventory", sampleInventory}, exitUsage, ""},
		"an unknown output":    {append([]string{"-f", stricter, "-o", "html"}, samples...), exitUsage, ""},
		"an argument too many": {append([]string{"-f", stricter, "x"}, samples...), exitUsage, ""},
	}.check(t, "policy", "simulate")
}
