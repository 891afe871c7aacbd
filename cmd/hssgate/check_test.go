package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/report"
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
	if err == nil {
		return stdout, 0
	}
	t.Log(err)
	return stdout, exitCode(err)
}

func TestTheExitCodeTellsTheVerdict(t *testing.T) {
	clean, high := sampleHost+"/prod/clean:1.0", sampleHost+"/prod/high:1.0"
	unread := write(t, "bad.yaml", "{]")
	away := write(t, "config.yaml", strings.Replace(readFile(t, "../../config/samples/config.yaml"), "region: cn-north-4", "endpoint: http://127.0.0.1:1\n  insecure: true", 1))
	policy := write(t, "policy.yaml", "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\nmetadata: {name: bad}\nspec: {require: {expressions: [{expression: 'image.'}]}}\n")
	deployment := func(image string) string {
		return write(t, "deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: a, image: '"+image+"'}]}}}\n")
	}
	tests := map[string]struct {
		args []string
		want int
	}{
		"a workload of a clean image":       {[]string{"-f", deployment(clean), "--preset", "baseline"}, 0},
		"a workload with pods to be denied": {[]string{"-f", deployment(high), "--preset", "baseline"}, exitFailure},
		"a workload that's only audited":    {[]string{"-f", deployment(high), "--preset", "audit"}, 0},
		"a clean image":                     {[]string{clean, "--preset", "baseline"}, 0},
		"a bad image":                       {[]string{high, "--preset", "baseline"}, exitFailure},
		"a bad image among clean ones":      {[]string{clean, high, "--preset", "baseline"}, exitFailure},
		"a bad image that is only audited":  {[]string{high, "--preset", "audit"}, 0},
		"all samples":                       {[]string{"-f", sampleManifests, "--policies", samplePolicies}, exitFailure},
		"a file that can't be read":         {[]string{"-f", unread, "--preset", "audit"}, exitUnknown},
		"a policy that's invalid":           {[]string{clean, "--policies", policy}, exitFailure},
		"an inventory that's missing":       {[]string{clean, "--preset", "audit", "--inventory", "no-such.yaml"}, exitUnknown},
		"an inventory that's none":          {[]string{clean, "--preset", "audit", "--inventory", unread}, exitUnknown},
		"manifests that are missing":        {[]string{"-f", "no-such.yaml", "--preset", "audit"}, exitUnknown},
		"policies that are missing":         {[]string{clean, "--policies", "no-such.yaml"}, exitUnknown},
		"a cluster that can't be found":     {[]string{"-A", "--kubeconfig", "no-such-kubeconfig"}, exitUnknown},
		"policies of a cluster that's away": {[]string{clean, "--kubeconfig", "no-such-kubeconfig"}, exitUnknown},
		"an output file nowhere":            {[]string{clean, "--preset", "audit", "--output-file", "no-such-folder/x"}, exitUnknown},
		"HSS away":                          {[]string{clean, "--preset", "baseline", "--config", away, "--inventory", ""}, exitUnknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, got := checked(t, tt.args...); got != tt.want {
				t.Errorf("got exit code %d, want %d", got, tt.want)
			}
		})
	}
}

func TestFilesWithoutImagesAreToldSo(t *testing.T) {
	service := write(t, "service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	stdout, stderr, err := run(t, "check", "--inventory", sampleInventory, "--preset", "strict", "-f", service, "-o", "json")
	if want := "hssgate: there is nothing to judge: 2 objects, and none names an image\n"; err != nil || stderr != want {
		t.Errorf("got %v with %q, want %q", err, stderr, want)
	}
	if !json.Valid([]byte(stdout)) {
		t.Errorf("what a program reads isn't JSON: %q", stdout)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAWrongCheckIsToldSo(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"nothing to judge":          {[]string{"--preset", "audit", "--inventory", "x"}, "nothing to judge"},
		"nobody to ask":             {[]string{"a", "--preset", "audit"}, "--config is required"},
		"two kinds of policies":     {[]string{"a", "--preset", "audit", "--policies", "x", "--inventory", "x"}, "exclude each other"},
		"an unknown preset":         {[]string{"a", "--preset", "lax", "--inventory", "x"}, `not "lax"`},
		"an unknown output":         {[]string{"a", "-o", "xml"}, `not "xml"`},
		"images and a cluster":      {[]string{"a", "-A", "--inventory", "x"}, "--all-namespaces is for a cluster"},
		"images and a selector":     {[]string{"a", "-l", "a=b", "--inventory", "x"}, "--selector is for a cluster"},
		"all namespaces and one":    {[]string{"-A", "-n", "shop", "--inventory", "x"}, "exclude each other"},
		"labels that are none":      {[]string{"a", "--namespace-labels", "a in b", "--inventory", "x"}, "--namespace-labels"},
		"a label without a value":   {[]string{"a", "--namespace-labels", "env", "--inventory", "x"}, `--namespace-labels: must be key=value[,key=value], not "env"`},
		"a label without a name":    {[]string{"a", "--namespace-labels", "=x", "--inventory", "x"}, `must be key=value[,key=value], not "=x": Invalid value`},
		"a selector that is none":   {[]string{"-A", "-l", "a==b==c", "--inventory", "x"}, "--selector"},
		"a file for an image":       {[]string{"no-such.yaml", "--preset", "audit", "--inventory", "x"}, "did you mean -f no-such.yaml?"},
		"a folder for an image":     {[]string{sampleManifests, "--preset", "audit", "--inventory", "x"}, "did you mean -f " + sampleManifests + "?"},
		"a file among images":       {[]string{"nginx", "main.go", "--preset", "audit", "--inventory", "x"}, "did you mean -f main.go?"},
		"standard input for image":  {[]string{"-", "--preset", "audit", "--inventory", "x"}, "did you mean -f -?"},
		"standard input twice":      {[]string{"-f", "-", "--policies", "-", "--inventory", "x"}, "- is standard input, which can be read once only"},
		"a configuration that's no": {[]string{"a", "--preset", "audit", "--config", "no-such.yaml"}, "no-such.yaml"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := run(t, append([]string{"check"}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || exitCode(err) != exitUsage {
				t.Errorf("got error %v, want one of usage with %q", err, tt.want)
			}
			if stdout != "" {
				t.Errorf("it printed %q", stdout)
			}
		})
	}
}

func TestPoliciesThatAreNowhereMayBeGiven(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	_, _, err := run(t, "check", "a", "--inventory", sampleInventory)
	if err == nil || !strings.Contains(err.Error(), "or give the policies by --policies or --preset") || exitCode(err) != exitUnknown {
		t.Errorf("got error %v", err)
	}
	_, _, err = run(t, "check", "-A", "--preset", "audit", "--inventory", sampleInventory)
	if err == nil || !strings.Contains(err.Error(), "find the cluster") || strings.Contains(err.Error(), "--preset") {
		t.Errorf("running pods are of a cluster, whatever the policies; got error %v", err)
	}
}

func TestAnOutputWithoutRoomForExplanationsIsToldSo(t *testing.T) {
	for output, want := range map[string]bool{
		"table": true, "wide": true, "json": true, "yaml": true, "sarif": false, "junit": false, "markdown": false, "html": false,
	} {
		stdout, stderr, err := run(t, "check", sampleHost+"/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "--explain", "-o", output)
		if err != nil {
			t.Errorf("%s: %v", output, err)
		}
		explained, told := strings.Contains(stdout, "HSS query"), strings.Contains(stderr, "--explain is left out: -o "+output)
		if explained != want || told == want {
			t.Errorf("%s: it explains: %t, it says that it does not: %t", output, explained, told)
		}
	}
}

func TestCheckPrintsWhatProgramsRead(t *testing.T) {
	for format, read := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) },
	} {
		stdout, _ := checked(t, "-f", sampleManifests, "--policies", samplePolicies, "-o", format)
		var r report.Report
		if err := read([]byte(stdout), &r); err != nil {
			t.Fatalf("%s: %v in %s", format, err, stdout)
		}
		if r.Summary.Objects != 33 || len(r.Results) != 33 || len(r.Policies) != 3 || r.Subject != sampleManifests {
			t.Errorf("%s: got %+v of %q by %q", format, r.Summary, r.Subject, r.Policies)
		}
	}
}

func TestCheckReadsStandardInput(t *testing.T) {
	root := newRootCommand()
	var out strings.Builder
	root.SetOut(&out)
	root.SetIn(strings.NewReader("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: " + sampleHost + "/prod/high:1.0}]}\n"))
	root.SetArgs([]string{"check", "-f", "-", "--preset", "baseline", "--inventory", sampleInventory, "-n", "shop"})
	err := root.ExecuteContext(t.Context())
	if err == nil || err.Error() != "1 of 1 would be denied" || !strings.Contains(out.String(), "Pod/web") {
		t.Errorf("got %v and %s", err, out.String())
	}
}

func TestPoliciesMayComeOnStandardInput(t *testing.T) {
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
	if _, _, err := runReading(t.Context(), policy, "policy", "simulate", "-f", "-", "--manifests", "-", "--preset", "audit", "--inventory", sampleInventory); err == nil || exitCode(err) != exitUsage {
		t.Errorf("standard input twice: got %v", err)
	}
}

func TestNamespaceLabelsDecide(t *testing.T) {
	high := sampleHost + "/prod/high:1.0"
	for labels, want := range map[string]int{"env=prod": exitFailure, "env=dev": 0, "": 0} {
		if _, got := checked(t, high, "--policies", samplePolicies, "--namespace-labels", labels); got != want {
			t.Errorf("%q: got exit code %d, want %d", labels, got, want)
		}
	}
	stdout, code := checked(t, high, "--policies", samplePolicies)
	if code != exitFailure || !strings.Contains(strings.Join(strings.Fields(stdout), " "), "no labels were given for it") {
		t.Errorf("without labels: got exit code %d and %s", code, stdout)
	}
}

func TestAnOutputFileIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	stdout, code := checked(t, sampleHost+"/prod/clean:1.0", "--preset", "baseline", "-o", "json", "--output-file", path)
	var r report.Report
	if err := json.Unmarshal([]byte(readFile(t, path)), &r); err != nil || code != 0 || stdout != "" {
		t.Errorf("got %v, exit code %d and %q", err, code, stdout)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("there are %v beside it, %v", entries, err)
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

func TestACounterShowsWhatTakesLong(t *testing.T) {
	now := time.Now()
	var out strings.Builder
	c := newCounter(&out, "objects judged")
	c.begun, c.now = now, func() time.Time { return now }
	c.wipe()
	for done, after := range []time.Duration{0, time.Second, 10 * time.Millisecond, time.Second} {
		now = now.Add(after)
		c.show(done)
	}
	c.wipe()
	if got, want := out.String(), "\r1 objects judged …\r3 objects judged …\r\x1b[K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
