package main

import (
	gocmp "cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/hss/replay"
	"github.com/hssgate/hssgate/internal/doctor"
)

// tenant returns a server of the samples' inventory, with more options.
func tenant(t *testing.T, options ...hsstest.Option) *hsstest.Server {
	t.Helper()
	file, err := inventoryfile.Load(sampleInventory, time.Now())
	must(t, err)
	server := hsstest.NewServer(append([]hsstest.Option{hsstest.WithInventory(file)}, options...)...)
	t.Cleanup(server.Close)
	return server
}

// findings returns the verdicts of a report in JSON, by checks.
func findings(t *testing.T, stdout string) map[string]doctor.Finding {
	t.Helper()
	var r doctor.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	all := map[string]doctor.Finding{}
	for _, p := range r.Projects {
		for _, f := range p.Findings {
			all[f.Check] = f
		}
	}
	return all
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	forbidden := func(e hsstest.Endpoint, code string) *hsstest.Fault {
		return new(hsstest.ErrorFault(http.StatusForbidden, code, "No.").Times(0).ForEndpoint(e))
	}
	for name, test := range map[string]struct {
		options []hsstest.Option
		fault   *hsstest.Fault
		check   string
		want    doctor.Verdict
		says    string
		// requests are all that reach HSS and IAM; 0: any number.
		requests int
	}{
		"nothing": {check: "credentials", want: doctor.OK},
		"a key that is refused is used once": {options: []hsstest.Option{hsstest.WithCredentials(hsstest.Credential{AccessKey: "OTHER", SecretKey: "other"})},
			check: "credentials", want: doctor.Failed, says: "check that the secret key belongs to it", requests: 1},
		"a clock that is wrong": {options: []hsstest.Option{hsstest.WithClock(func() time.Time { return time.Now().Add(-time.Hour) })},
			check: "credentials", want: doctor.Failed, says: "set the clock of the node", requests: 1},
		"empty lists that are null": {options: []hsstest.Option{hsstest.WithBehavior(hsstest.Behavior{PastEnd: "null"})},
			check: "permission: registries", want: doctor.OK},
		"no project in the region": {options: []hsstest.Option{hsstest.WithIAMProjects(hsstest.IAMProject{ID: "p", Name: "elsewhere"})},
			check: "project ID", want: doctor.Failed, says: "is not enabled for the account", requests: 1},
		"no permission to list images": {fault: forbidden(hsstest.EndpointImages, "HSS.0013"),
			check: "permission: list of images", want: doctor.Failed, says: "grant HSS ReadOnlyAccess in project hsstest-project", requests: 2},
		"no permission to list registries": {fault: forbidden(hsstest.EndpointRegistries, "HSS.0013"),
			check: "permission: registries", want: doctor.Failed, says: "grant HSS ReadOnlyAccess"},
		"no permission to list vulnerabilities": {fault: forbidden(hsstest.EndpointVulnerabilities, "HSS.0010"),
			check: "permission: vulnerabilities", want: doctor.Failed, says: "grant HSS ReadOnlyAccess"},
		"a region without this API": {fault: new(hsstest.ErrorFault(http.StatusNotFound, "APIGW.0101", "The API does not exist").Times(0).ForEndpoint(hsstest.EndpointImages)),
			check: "permission: list of images", want: doctor.Failed, says: "not every region has it"},
		"an HSS that is overloaded": {fault: new(hsstest.StatusFault(http.StatusServiceUnavailable).Times(0).ForEndpoint(hsstest.EndpointRegistries)),
			check: "call: registries", want: doctor.Unknown, says: "503"},
		"a registry that no configured one claims": {options: []hsstest.Option{hsstest.WithRegistries(hsstest.Registry{ID: "r7", Name: "corp", Type: "Harbor", Address: "https://harbor.corp.example"})},
			check: "registry Harbor corp", want: doctor.Warning, says: "no configured registry claims its host harbor.corp.example"},
		"a registry that is synchronised": {options: []hsstest.Option{hsstest.WithRegistries(hsstest.Registry{ID: "r7", Name: "corp", Type: "Other", LatestSyncTime: time.Now().Add(-3 * time.Hour)})},
			check: "registry Other corp", want: doctor.OK, says: "synchronised 3h ago"},
		"a registry that is not synchronised": {options: []hsstest.Option{hsstest.WithRegistries(hsstest.Registry{ID: "r7", Name: "corp", Type: "Other", LatestSyncTime: time.Now().Add(-50 * time.Hour)})},
			check: "registry Other corp", want: doctor.Warning, says: "HSS last synchronised it 50h ago"},
		"a registry of unknown age": {options: []hsstest.Option{hsstest.WithRegistries(hsstest.Registry{ID: "r7", Name: "corp", Type: "Other"})},
			check: "registry Other corp", want: doctor.Unknown, says: "see the time in HSS's console"},
		"images of a configured registry": {check: "configured registry swr", want: doctor.OK, says: "images of it that HSS lists:"},
		"scans":                           {check: "scans", want: doctor.OK, says: "with a completed scan:"},
		"pay-per-use":                     {check: "pay-per-use", want: doctor.OK, says: "scans of images in registries so far:"},
	} {
		t.Run(name, func(t *testing.T) {
			server := tenant(t, test.options...)
			if test.fault != nil {
				server.Inject(*test.fault)
			}
			stdout, stderr, err := run(t, "doctor", "--config", probeConfig(t, server.URL), "-o", "json")
			got := findings(t, stdout)[test.check]
			if got.Verdict != test.want || !strings.Contains(got.Found+" "+got.Remedy, test.says) || codeOf(err) != exitFailure && test.want == doctor.Failed {
				t.Errorf("got %+v and %v, want %s with %q\n%s%s", got, err, test.want, test.says, stdout, stderr)
			}
			if n := server.Stats().Requests; n > 100 || test.requests > 0 && n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
			if strings.Contains(stdout+stderr, hsstest.DefaultCredential().SecretKey) {
				t.Error("the secret key is printed")
			}
		})
	}
}

func TestDoctorComparesClocks(t *testing.T) {
	for by, want := range map[time.Duration]doctor.Finding{
		10 * time.Second:  {Verdict: doctor.OK, Found: "this machine's is within a minute of the server's"},
		-5 * time.Minute:  {Verdict: doctor.Warning, Found: "ahead of the server's"},
		5 * time.Minute:   {Verdict: doctor.Warning, Found: "behind the server's"},
		-20 * time.Minute: {Verdict: doctor.Failed, Found: "this machine's is 20m"},
	} {
		server := tenant(t)
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
			server.Handler.ServeHTTP(w, r)
		}))
		stdout, _, _ := run(t, "doctor", "--config", probeConfig(t, front.URL), "-o", "json")
		if got := findings(t, stdout)["clock"]; got.Verdict != want.Verdict || !strings.Contains(got.Found, want.Found) {
			t.Errorf("%s: got %+v, want %+v", by, got, want)
		}
		front.Close()
	}
}

func TestDoctorWithoutCredentials(t *testing.T) {
	path := probeConfig(t, tenant(t).URL)
	t.Setenv("HUAWEICLOUD_SDK_AK", "")
	stdout, _, err := run(t, "doctor", "--config", path, "-o", "json")
	if got := findings(t, stdout)["credentials"]; codeOf(err) != exitFailure || got.Verdict != doctor.Failed || !strings.Contains(got.Found, "HUAWEICLOUD_SDK_AK") {
		t.Errorf("got %+v and %v", got, err)
	}
}

func TestDoctorOnlyReads(t *testing.T) {
	var wrote []string
	server := tenant(t)
	watched := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			wrote = append(wrote, r.Method+" "+r.URL.Path)
		}
		server.Handler.ServeHTTP(w, r)
	}))
	defer watched.Close()
	if _, _, err := run(t, "doctor", "--config", probeConfig(t, watched.URL)); codeOf(err) == exitUsage || len(wrote) > 0 {
		t.Errorf("got %v, and the requests %q", err, wrote)
	}
}

// TestDoctorProposesTheConfiguration merges the proposal into the configuration, after which nothing is missing.
func TestDoctorProposesTheConfiguration(t *testing.T) {
	corp := hsstest.Registry{ID: "r2", Name: "corp", Type: "Harbor", Address: "https://harbor.corp.example"}
	ofCorp := hsstest.Image{Namespace: "team", ImageName: "app", ImageVersion: "1", ImageType: "harbor", RegistryType: "Harbor", RegistryName: "corp", RegistryID: "r2", ScanStatus: "unscan"}
	nested := hsstest.Image{Namespace: "team", ImageName: "a/b", ImageVersion: "1", ImageType: "private_image", RegistryType: "SwrPrivate", RegistryID: "r1", ScanStatus: "unscan"}
	for name, test := range map[string]struct {
		behavior   hsstest.Behavior
		unfiltered bool
		images     []hsstest.Image
		registries []hsstest.Registry
		// configured are the registries of the configuration.
		configured, want string
	}{
		"nothing, if all is there": {},
		"registries that are missing": {
			registries: []hsstest.Registry{corp, {ID: "r3", Name: "arti", Type: "Jfrog", Address: "jfrog.corp.example:8443/artifactory"}, {ID: "r4", Name: "ee", Type: "SwrEnterprise", Address: "ee.corp.example"}},
			configured: "[{name: other, hosts: [swr.example.com], namespaces: [none]}]",
			want: `registries:
- name: swrprivate-1
  hosts: ["swr.cn-north-4.myhuaweicloud.com"]
  project: bj4
  imageTypes: [private_image, shared_image]
- name: harbor-2
  hosts: ["harbor.corp.example"]
  project: bj4
  imageTypes: [harbor]
  registryName: "corp"
- name: jfrog-3
  hosts: ["jfrog.corp.example:8443"]
  project: bj4
  imageTypes: [jfrog]
  registryName: "arti"
- name: swrenterprise-4
  hosts: ["ee.corp.example"]
  project: bj4
  imageTypes: [instance_image]
  instanceID: "INSTANCE_ID"
`,
		},
		"fields of a registry that select none of its images": {
			images: []hsstest.Image{ofCorp}, registries: []hsstest.Registry{corp}, configured: "[{name: swr, hosts: [swr.cn-north-4.myhuaweicloud.com]}, {name: corp, hosts: [harbor.corp.example], imageTypes: [harbor], registryName: corp2}]",
			want: "registries:\n- name: corp\n  imageTypes: [harbor]\n  registryName: \"corp\"\n",
		},
		"a spelling of nested names that a registry lacks": {
			behavior: hsstest.Behavior{NestedNames: "dollar"}, images: []hsstest.Image{nested}, configured: "[{name: swr, hosts: [swr.cn-north-4.myhuaweicloud.com], nestedNames: [slash]}]",
			want: "registries:\n- name: swr\n  nestedNames: [slash, dollar]\n",
		},
		"a synchronisation, if times are those of one": {behavior: hsstest.Behavior{UpdateTime: "touched"}, want: "projects:\n- name: bj4\n  syncInterval: 1m\n"},
		"a synchronisation, if filters are ignored":    {unfiltered: true, want: "projects:\n- name: bj4\n  syncInterval: 1m\n"},
		"no synchronisation of a list without order":   {behavior: hsstest.Behavior{UpdateTime: "touched", Paging: "shuffled"}},
		"more requests, if pages are short":            {behavior: hsstest.Behavior{PageSize: "ten"}, want: "projects:\n- name: bj4\n  requestsPerSecond: 90\n"},
	} {
		t.Run(name, func(t *testing.T) {
			// A token signs no query, so that the filter can be taken out.
			options := []hsstest.Option{hsstest.WithBehavior(test.behavior), hsstest.WithRegistries(test.registries...), hsstest.WithTokens("token")}
			if test.images != nil {
				options = append(options, hsstest.WithImages(test.images...))
			}
			server := tenant(t, options...)
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if query := r.URL.Query(); test.unfiltered && strings.HasSuffix(r.URL.Path, "/images") {
					query.Del("image_name")
					r.URL.RawQuery = query.Encode()
				}
				server.Handler.ServeHTTP(w, r)
			}))
			defer front.Close()
			proposal := func(path string) string {
				stdout, stderr, _ := run(t, "doctor", "--config", path, "-o", "json")
				var r doctor.Report
				if err := json.Unmarshal([]byte(stdout), &r); err != nil {
					t.Fatalf("%v in %s%s", err, stdout, stderr)
				}
				return r.Projects[0].Proposal
			}
			path, swr := probeConfig(t, front.URL), "[{name: swr, hosts: [swr.example.com]}]"
			rewrite(t, path, strings.NewReplacer("{source: Environment}", fmt.Sprintf("{source: TokenFile, tokenFile: %q}", write(t, "token", "token")),
				swr, gocmp.Or(test.configured, "[{name: swr, hosts: [swr.cn-north-4.myhuaweicloud.com]}]")).Replace(readFile(t, path)))
			got := proposal(path)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			var configured, merged map[string]any
			must(t, yaml.Unmarshal([]byte(readFile(t, path)), &configured))
			must(t, yaml.Unmarshal([]byte(got), &merged))
			for list, entries := range merged {
				configured[list] = mergeByName(configured[list].([]any), entries.([]any))
			}
			text, err := yaml.Marshal(configured)
			must(t, err)
			rewrite(t, path, string(text))
			if _, err := config.Load(path); err != nil {
				t.Errorf("the proposal is refused: %v in %s", err, text)
			}
			if again := proposal(path); again != "" {
				t.Errorf("the proposal was merged, and is made again: %s", again)
			}
		})
	}
}

// mergeByName adds the fields of entries to those of the same name, and the others.
func mergeByName(into, entries []any) []any {
	for _, entry := range entries {
		fields := entry.(map[string]any)
		at := slices.IndexFunc(into, func(known any) bool { return known.(map[string]any)["name"] == fields["name"] })
		if at < 0 {
			into = append(into, entry)
			continue
		}
		maps.Copy(into[at].(map[string]any), fields)
	}
	return into
}

func TestDoctorWritesARecord(t *testing.T) {
	server := tenant(t)
	path := filepath.Join(t.TempDir(), "record.json")
	_, stderr, err := run(t, "doctor", "--config", probeConfig(t, server.URL), "--record", path)
	info, statErr := os.Stat(path)
	must(t, statErr)
	if codeOf(err) == exitUsage || info.Mode() != 0o600 || !strings.Contains(stderr, "look at it before you attach it") {
		t.Errorf("got %v, mode %s and %q", err, info.Mode(), stderr)
	}
	record, err := replay.Load(path)
	must(t, err)
	again := httptest.NewServer(record.Handler())
	defer again.Close()
	for _, secret := range []string{hsstest.DefaultCredential().AccessKey, hsstest.DefaultCredential().SecretKey, "hsstest-project", "vulnerable", "multiarch"} {
		if strings.Contains(readFile(t, path), secret) {
			t.Errorf("the record holds %q", secret)
		}
	}
	original, _, _ := run(t, "doctor", "--config", probeConfig(t, server.URL), "-o", "json")
	replayed, _, _ := run(t, "doctor", "--config", probeConfig(t, again.URL), "-o", "json")
	behavior := func(text string) map[string]string {
		var r doctor.Report
		must(t, json.Unmarshal([]byte(text), &r))
		return r.Projects[0].Behavior
	}
	if diff := cmp.Diff(behavior(original), behavior(replayed)); diff != "" || len(behavior(original)) < 10 {
		t.Errorf("(-original +replayed)\n%s", diff)
	}
	calls{
		"a record that is there":          {[]string{"--record", path}, exitUsage, "file exists"},
		"an output that is none":          {[]string{"-o", "xml"}, exitUsage, `--output must be table or json, not "xml"`},
		"a file and a namespace":          {[]string{"-n", "x"}, exitUsage, "exclude each other"},
		"a record nowhere":                {[]string{"--record", "no-such-folder/x"}, exitUsage, "no-such-folder"},
		"a configuration that is missing": {[]string{"--config", "no-such.yaml"}, exitUsage, "no-such.yaml"},
	}.check(t, "doctor", "--config", probeConfig(t, server.URL))
}

// TestDoctorRunsInThePod has something in kubectl's place that runs doctor, and an API server with a Deployment.
func TestDoctorRunsInThePod(t *testing.T) {
	server := tenant(t)
	inner, progress, _ := run(t, "doctor", "--config", probeConfig(t, server.URL), "--bundle", "--progress")
	if !strings.Contains(progress, "call 1, bj4: ") {
		t.Errorf("got no progress, but %q", progress)
	}
	bundle := write(t, "bundle.json", inner)
	kubectl := write(t, "kubectl", fmt.Sprintf("#!/bin/sh\necho \"called: $*\" >&2\nwhile IFS= read -r line; do printf '%%s\\n' \"$line\"; done < %s\nexit 1\n", bundle))
	must(t, os.Chmod(kubectl, 0o700))
	deployments := `{"metadata":{"namespace":"gate","name":"hssgate"}}`
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		items := ""
		if r.URL.Query().Get("labelSelector") == "app.kubernetes.io/component=gate" && !strings.Contains(r.URL.Path, "elsewhere") {
			items = deployments
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind":"DeploymentList","apiVersion":"apps/v1","items":[%s]}`, items)
	}))
	defer api.Close()
	config := kubeconfig(t, api.URL)
	t.Setenv("PATH", filepath.Dir(kubectl))
	record := filepath.Join(t.TempDir(), "record.json")
	stdout, stderr, err := run(t, "doctor", "-n", "gate", "--kubeconfig", config, "--context=", "--record", record)
	if codeOf(err) == exitUsage || !strings.HasPrefix(stdout, "Project bj4") {
		t.Errorf("got %v and %s", err, stdout)
	}
	want := "called: exec -n gate deployment/hssgate -c hssgate --context= --kubeconfig=" + config + " -- /hssgate doctor --config /etc/hssgate/config/config.yaml --bundle --progress=false"
	if !strings.Contains(stderr, want) {
		t.Errorf("got %q, want %q", stderr, want)
	}
	if _, err := replay.Load(record); err != nil {
		t.Error(err)
	}
	calls{
		"there is no Deployment": {[]string{"-n", "elsewhere", "--kubeconfig", config}, exitFailure, "there is no Deployment with the label app.kubernetes.io/component=gate in namespace elsewhere"},
		"there is no cluster":    {[]string{"--kubeconfig", "no-such-kubeconfig"}, exitFailure, "--config is required"},
	}.check(t, "doctor")
	t.Setenv("PATH", t.TempDir())
	deployments += `,{"metadata":{"namespace":"two","name":"hssgate"}}`
	calls{
		"there are two": {[]string{"-n", "gate", "--kubeconfig", config}, exitFailure, "(gate/hssgate, two/hssgate)"},
	}.check(t, "doctor")
	deployments = `{"metadata":{"namespace":"gate","name":"hssgate"}}`
	calls{
		"kubectl is missing": {[]string{"-n", "gate", "--kubeconfig", config}, exitFailure, "kubectl exec -n gate deployment/hssgate -c hssgate -- /hssgate doctor --config /etc/hssgate/config/config.yaml"},
	}.check(t, "doctor")
}

// TestTheGuideToDoctorIsTrue compares the guide with what is printed for the samples' inventory.
func TestTheGuideToDoctorIsTrue(t *testing.T) {
	const path, begin = "../../docs/guides/doctor.md", "<!-- doctor -->\n```\n"
	server := tenant(t, hsstest.WithBehavior(hsstest.Behavior{UpdateTime: "touched"}))
	got, _, _ := run(t, "doctor", "--config", probeConfig(t, server.URL))
	got = regexp.MustCompile(`in [0-9.]+ s\n`).ReplaceAllString(got, "in 4.2 s\n")
	// Most of what is OK or Unknown is left out.
	seen := map[string]int{}
	got = regexp.MustCompile(`(?m)^(OK|Unknown) .*\n( +to do: .*\n)?`).ReplaceAllStringFunc(got, func(lines string) string {
		verdict, _, _ := strings.Cut(lines, " ")
		if seen[verdict]++; seen[verdict] > 1 {
			return ""
		}
		return lines
	})
	text := readFile(t, path)
	before, rest, found := strings.Cut(text, begin)
	shown, after, ends := strings.Cut(rest, "```\n")
	if !found || !ends {
		t.Fatalf("%s has no block", path)
	}
	if *update {
		rewrite(t, path, before+begin+got+"```\n"+after)
	} else if diff := cmp.Diff(got, shown); diff != "" {
		t.Errorf("%s (-output +shown; -update writes it anew):\n%s", path, diff)
	}
}
