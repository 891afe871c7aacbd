package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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
	tests := map[string]struct {
		args []string
		want int
		says string
	}{
		"without one":              {[]string{"-f", pod, "--policies", baseline}, exitFailure, ""},
		"among the policies":       {[]string{"-f", pod, "--policies", baseline, "--policies", exceptionFile(t, time.Hour)}, 0, "Excepted"},
		"among the manifests":      {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, time.Hour)}, 0, "Excepted"},
		"beside a preset":          {[]string{"-f", pod, "--preset", "baseline", "-f", exceptionFile(t, time.Hour)}, 0, "Excepted"},
		"in a list":                {[]string{"-f", pod, "--preset", "baseline", "-f", list}, 0, "Excepted"},
		"of an image by name":      {[]string{high, "--policies", baseline, "--policies", exceptionFile(t, time.Hour)}, 0, "Excepted"},
		"that has ended":           {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, -time.Hour)}, exitFailure, ""},
		"of another namespace":     {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, time.Hour, "name: one", "name: one, namespace: other")}, exitFailure, ""},
		"in the namespace of -n":   {[]string{"-f", pod, "-n", "shop", "--policies", baseline, "-f", exceptionFile(t, time.Hour)}, 0, "Excepted"},
		"of the namespace of -n":   {[]string{"-f", pod, "-n", "shop", "--policies", baseline, "-f", exceptionFile(t, time.Hour, "name: one", "name: one, namespace: shop")}, 0, "Excepted"},
		"of another policy":        {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, time.Hour, "baseline", "other")}, exitFailure, ""},
		"longer than allowed":      {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, 1000*time.Hour)}, exitFailure, "after its creation"},
		"without a reason":         {[]string{"-f", pod, "--policies", baseline, "-f", exceptionFile(t, time.Hour, "  reason: mended tomorrow\n", "")}, exitFailure, "spec.reason"},
		"with a misspelt field":    {[]string{"-f", pod, "--policies", baseline, "--policies", exceptionFile(t, time.Hour, "expiresAt", "expires")}, exitUnknown, ""},
		"of another kind":          {[]string{"-f", pod, "--policies", baseline, "--policies", exceptionFile(t, time.Hour, "kind: ImageScanException", "kind: ImageScanExceptions")}, exitUnknown, ""},
		"of a kind that is none":   {[]string{"-f", pod, "--preset", "audit", "-f", exceptionFile(t, time.Hour, "kind: ImageScanException", "kind: ImageScanExceptions")}, exitUnknown, "ImageScanExceptions"},
		"without any policy":       {[]string{"-f", pod, "--policies", exceptionFile(t, time.Hour)}, exitUnknown, ""},
		"twice, of the same name":  {[]string{"-f", pod, "--policies", baseline, "--policies", exceptionFile(t, time.Hour), "--policies", exceptionFile(t, time.Hour)}, exitUnknown, ""},
		"that is no policy itself": {[]string{"-f", exceptionFile(t, time.Hour), "--policies", baseline}, 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			stdout, got := checked(t, tt.args...)
			if got != tt.want || !strings.Contains(strings.Join(strings.Fields(stdout), " "), tt.says) {
				t.Errorf("got exit code %d, want %d with %q: %s", got, tt.want, tt.says, stdout)
			}
		})
	}
}

func TestExceptionsCountInPolicyTests(t *testing.T) {
	inventory, err := filepath.Abs(sampleInventory)
	if err != nil {
		t.Fatal(err)
	}
	baseline := write(t, "baseline.yaml", readFile(t, "../../config/presets/baseline.yaml"))
	exception := exceptionFile(t, time.Hour)
	test := func(policies, rest string) string {
		return write(t, "test.yaml", "{apiVersion: test.hssgate.io/v1alpha1, kind: PolicyTest, policies: ["+policies+"], inventory: "+inventory+", cases: [{name: one, image: "+sampleHost+"/prod/high:1.0, "+rest+"}]}")
	}
	for name, file := range map[string]string{
		"without one":          test(baseline, "expect: {verdict: Denied}"),
		"with one":             test(baseline+", "+exception, "expect: {verdict: Warned, says: [Excepted]}"),
		"in another namespace": test(baseline+", "+exception, "namespace: shop, expect: {verdict: Denied}"),
		"after its end":        test(baseline+", "+exception, "later: 2h, expect: {verdict: Denied}"),
	} {
		if stdout, _, err := run(t, "policy", "test", file); err != nil {
			t.Errorf("%s: %v: %s", name, err, stdout)
		}
	}
}

func TestMergedKeysAreReadAsKubectlReadsThem(t *testing.T) {
	merged := func(container string) string {
		return write(t, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  initContainers:\n  - &a {name: a, image: '"+sampleHost+"/prod/clean:1.0'}\n  - &b {name: b, image: '"+sampleHost+"/prod/high:1.0'}\n  containers:\n  - "+container+"\n")
	}
	high := "image: '" + sampleHost + "/prod/high:1.0'"
	clean := "image: '" + sampleHost + "/prod/clean:1.0'"
	for text, want := range map[string]string{
		"{<<: *a, name: c}":                      "prod/clean:1.0",
		"{<<: *a, name: c, " + high + "}":        "prod/high:1.0",
		"{<<: *b, name: c, " + clean + "}":       "prod/clean:1.0",
		"{<<: [*a, *b], name: c}":                "prod/clean:1.0",
		"{<<: *a, name: c, <<: *b}":              "",
		"{name: c, " + high + ", " + clean + "}": `key "image" already set in map`,
	} {
		stdout, _ := checked(t, "-f", merged(text), "--preset", "audit", "-o", "wide")
		if !strings.Contains(strings.Join(strings.Fields(stdout), " "), want) {
			t.Errorf("%s: want %q in %s", text, want, stdout)
		}
	}
}
