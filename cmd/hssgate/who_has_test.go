package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/internal/whohas"
)

const backdoor = "CVE-2024-3094"

// digestOf returns a digest of one repeated letter.
func digestOf(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

// scanned returns an image that HSS has scanned.
func scanned(name, letter string, found ...hsstest.Vulnerability) hsstest.Image {
	return hsstest.Image{Namespace: "prod", ImageName: name, ImageVersion: "1", ImageID: strings.Repeat(letter, 64), ImageDigest: digestOf(letter),
		ImageType: "private_image", RegistryType: "SwrPrivate", RegistryName: "swr", ScanStatus: "success", LatestScanTime: time.Now().Add(-50 * time.Hour),
		Vulnerabilities: found}
}

// notice is an advisory that the backdoor is a part of.
func notice() hsstest.Vulnerability {
	return hsstest.Vulnerability{VulID: "HCE2-SA-2024-0012", Type: "linux_vul", AppName: "xz", Solution: "update xz to 5.6.2",
		CVEs: []hsstest.CVE{{ID: backdoor, CVSS: new(10.0)}, {ID: "CVE-2024-30940", CVSS: new(4.1)}}}
}

// registryImages has images with the backdoor, by two advisories, by no advisory, and handled.
func registryImages() []hsstest.Image {
	ignored := notice()
	ignored.Status = "vul_status_ignored"
	multi := scanned("multi", "e")
	multi.MultiArch = true
	multi.AssociationImages = []hsstest.Architecture{{Namespace: "prod", ImageName: "multi", ImageVersion: "1", ImageType: "private_image", ImageID: "arm",
		ImageDigest: digestOf("f"), ScanStatus: "success", Vulnerabilities: []hsstest.Vulnerability{notice()}}}
	return []hsstest.Image{
		scanned("app", "a", notice(), hsstest.Vulnerability{VulID: backdoor, Type: "app_vul"}), scanned("clean", "b", hsstest.Vulnerability{VulID: "CVE-2024-30940"}),
		scanned("ignoring", "c", ignored), multi,
	}
}

// podsOf serves an API server with pods by their images, each with the digest that it runs.
func podsOf(t *testing.T, images ...[2]string) (kubeconfigFile string) {
	t.Helper()
	var items []string
	for i, of := range images {
		items = append(items, fmt.Sprintf(`{"metadata":{"namespace":"shop","name":"web-%d","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-1","uid":"u1","controller":true}]},
			"spec":{"containers":[{"name":"app","image":%q}]},"status":{"containerStatuses":[{"name":"app","imageID":%q}]}}`, i, of[0], of[1]))
	}
	answers := map[string]string{
		"/api/v1/pods":                                    `{"apiVersion":"v1","kind":"PodList","items":[` + strings.Join(items, ",") + `]}`,
		"/api/v1/namespaces/nosuch/pods":                  `{"apiVersion":"v1","kind":"PodList","items":[]}`,
		"/apis/apps/v1/namespaces/shop/replicasets/web-1": `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"web-1","uid":"u1","ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":"u2","controller":true}]}}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	return kubeconfig(t, server.URL)
}

func hssWith(t *testing.T, options ...hsstest.Option) *hsstest.Server {
	t.Helper()
	server := hsstest.NewServer(options...)
	t.Cleanup(server.Close)
	return server
}

// asked runs who-has and returns the rows of its table, and its exit code.
func asked(t *testing.T, args ...string) (table []string, said string, code int) {
	t.Helper()
	stdout, stderr, err := run(t, append([]string{"who-has"}, args...)...)
	for line := range strings.Lines(stdout) {
		table = append(table, strings.Join(regexp.MustCompile(`\s{2,}`).Split(strings.TrimSpace(line), -1), " | "))
	}
	return table, stderr + fmt.Sprint(err), codeOf(err)
}

func TestWhoHasListsImagesAndWorkloads(t *testing.T) {
	config := probeConfig(t, hssWith(t, hsstest.WithImages(registryImages()...)).URL)
	kubeconfig := podsOf(t,
		[2]string{"swr.example.com/prod/app:1", ""}, [2]string{"swr.example.com/prod/app:1", ""},
		[2]string{"mirror.example.com/copy:9", "mirror.example.com/copy@" + digestOf("a")},
		[2]string{"swr.example.com/prod/ignoring:1", "swr.example.com/prod/ignoring@" + digestOf("c")},
		[2]string{"swr.example.com/prod/multi:1", "swr.example.com/prod/multi@" + digestOf("e")},
		[2]string{"swr.example.com/prod/clean:1", "docker-pullable://swr.example.com/prod/clean@" + digestOf("b")},
		[2]string{"swr.example.com/prod/clean:1", "swr.example.com/prod/clean@" + digestOf("9")},
		[2]string{"swr.example.com/prod/new:1", ""}, [2]string{"other.example.com/app:1", ""},
	)
	got, said, code := asked(t, strings.ToLower(backdoor), "--config", config, "--kubeconfig", kubeconfig)
	want := []string{
		"IMAGE | DIGEST | REGISTRY | SCANNED | ADVISORY | SEVERITY | SOLUTION | STATE",
		"prod/app:1 | sha256:aaaaaaa… | swr | 2d2h ago | CVE-2024-3094 | High | - | Affected",
		"prod/app:1 | sha256:aaaaaaa… | swr | 2d2h ago | HCE2-SA-2024-0012 | Critical | update xz to 5.6.2 | Affected",
		"prod/ignoring:1 | sha256:ccccccc… | swr | 2d2h ago | HCE2-SA-2024-0012 | Critical | update xz to 5.6.2 | Handled",
		"prod/multi:1 | sha256:fffffff… | swr | 2d2h ago | HCE2-SA-2024-0012 | Critical | update xz to 5.6.2 | Affected", "",
		"NAMESPACE | WORKLOAD | IMAGE | STATE | REASON",
		"shop | Deployment/web | mirror.example.com/copy:9 | Affected | -",
		"shop | Deployment/web | swr.example.com/prod/app:1 | Affected | -",
		"shop | Deployment/web | swr.example.com/prod/multi:1 | Affected | -",
		"shop | Deployment/web | swr.example.com/prod/ignoring:1 | Handled | -",
		`shop | Deployment/web | other.example.com/app:1 | Unknown | no configured registry claims host "other.example.com"`,
		"shop | Deployment/web | swr.example.com/prod/clean:1 | Unknown | HSS knows prod/clean:1 with digest sha256:bbbbbbb… only, not with sha256:9999999…",
		`shop | Deployment/web | swr.example.com/prod/new:1 | Unknown | HSS project "bj4" has no image prod/new:1 in registry "swr"`, "",
	}
	if diff := cmp.Diff(want, got); diff != "" || code != exitFailure || said != "CVE-2024-3094: images that have it: 3, workloads that run one: 4" {
		t.Errorf("exit code %d, %s (-want +got):\n%s", code, said, diff)
	}
}

func TestTheExitCodeOfWhoHas(t *testing.T) {
	unscanned := scanned("unscanned", "d")
	unscanned.ScanStatus = "unscan"
	clean := podsOf(t, [2]string{"swr.example.com/prod/clean:1", digestOf("b")})
	waiting := podsOf(t, [2]string{"swr.example.com/prod/unscanned:1", ""})
	fails := func(e hsstest.Endpoint) hsstest.Fault {
		return hsstest.ErrorFault(http.StatusBadRequest, "HSS.0013", "No permission.").ForEndpoint(e).Times(0)
	}
	for name, tc := range map[string]struct {
		images []hsstest.Image
		faults []hsstest.Fault
		args   []string
		want   int
		says   string
	}{
		"nothing has it":               {nil, nil, []string{"CVE-2024-1111", "--no-cluster"}, 0, "no image that HSS has scanned has CVE-2024-1111"},
		"nothing that runs has it":     {nil, nil, []string{"CVE-2024-1111", "--kubeconfig", clean}, 0, "no image that HSS has scanned has CVE-2024-1111"},
		"an image has it":              {nil, nil, []string{backdoor, "--no-cluster"}, exitFailure, "CVE-2024-3094: images that have it: 3"},
		"an image has it, none runs":   {nil, nil, []string{backdoor, "--kubeconfig", clean}, exitFailure, "images that have it: 3, workloads that run one: 0"},
		"by the advisory":              {nil, nil, []string{"HCE2-SA-2024-0012", "--no-cluster"}, exitFailure, "images that have it: 3"},
		"by a part of its ID":          {nil, nil, []string{"HCE2-SA", "--no-cluster"}, 0, ""},
		"an image is not scanned":      {[]hsstest.Image{unscanned}, nil, []string{"CVE-2024-1111", "--no-cluster"}, exitUnknown, "not scanned: project bj4: 1 of 5 images have no completed scan"},
		"none that runs":               {[]hsstest.Image{unscanned}, nil, []string{"CVE-2024-1111", "--kubeconfig", clean}, 0, "not scanned: project bj4: 1 of 5"},
		"one that runs":                {[]hsstest.Image{unscanned}, nil, []string{"CVE-2024-1111", "--kubeconfig", waiting}, exitUnknown, "HSS has no completed scan of it"},
		"a list cannot be read":        {nil, []hsstest.Fault{fails(hsstest.EndpointImageVulnerabilities)}, []string{backdoor, "--no-cluster"}, exitUnknown, "not known: project bj4: vulnerabilities of all images: rows from 0 on: HSS answered 400 HSS.0013"},
		"the images cannot be read":    {nil, []hsstest.Fault{fails(hsstest.EndpointAffectedImages)}, []string{backdoor, "--no-cluster"}, exitUnknown, "nothing is known to have it, and not everything is known"},
		"the images cannot be counted": {nil, []hsstest.Fault{fails(hsstest.EndpointImages)}, []string{"CVE-2024-1111", "--no-cluster"}, exitUnknown, "HSS.0013"},
		"no such namespace":            {nil, nil, []string{"CVE-2024-1111", "--kubeconfig", clean, "-n", "nosuch"}, exitUnknown, `cluster: there is no namespace "nosuch" in the cluster`},
		"a cluster that is away":       {nil, nil, []string{backdoor, "--kubeconfig", "no-such-file"}, exitFailure, "not known: cluster: find the cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			server := hssWith(t, hsstest.WithImages(append(registryImages(), tc.images...)...))
			server.Inject(tc.faults...)
			table, said, code := asked(t, append(tc.args, "--config", probeConfig(t, server.URL))...)
			if all := strings.Join(table, "\n") + said; code != tc.want || !strings.Contains(all, tc.says) {
				t.Errorf("exit code %d, want %d with %q:\n%s", code, tc.want, tc.says, all)
			}
		})
	}
}

func TestWhoHasWithoutAClusterSaysSo(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	server := hssWith(t, hsstest.WithImages(registryImages()...))
	stdout, stderr, err := run(t, "who-has", backdoor, "--config", probeConfig(t, server.URL), "-o", "json")
	var got whohas.Answer
	must(t, json.Unmarshal([]byte(stdout), &got))
	if codeOf(err) != exitFailure || len(got.Images) != 4 || got.Workloads != nil || !strings.Contains(stderr, "no cluster is named, so only images are listed") {
		t.Errorf("got %+v, %v, %s", &got, err, stderr)
	}
}

func TestAWrongWhoHas(t *testing.T) {
	t.Chdir(t.TempDir())
	calls{
		"nothing":                 {nil, exitUsage, "name one vulnerability, such as CVE-2024-3094; see hssgate who-has --help"},
		"two":                     {[]string{backdoor, backdoor}, exitUsage, "name one vulnerability"},
		"a misspelt CVE":          {[]string{"CVE2024-3094"}, exitUsage, `"CVE2024-3094" is not the ID of a CVE`},
		"a CVE without a number":  {[]string{"cve-2024"}, exitUsage, `"CVE-2024" is not the ID of a CVE`},
		"no configuration":        {[]string{backdoor}, exitUsage, "--config is required"},
		"an output":               {[]string{backdoor, "-o", "wide", "--config", "x"}, exitUsage, `--output must be table or json, not "wide"`},
		"a namespace of nothing":  {[]string{backdoor, "--no-cluster", "-n", "shop", "--config", "x"}, exitUsage, "--no-cluster and the flags of a cluster exclude each other"},
		"a missing configuration": {[]string{backdoor, "--config", "no-such.yaml"}, exitUsage, "no-such.yaml"},
	}.check(t, "who-has")
}

// TestWhoHasTakesFewCalls counts them for a registry of 10,000 images and 2,000 vulnerabilities.
func TestWhoHasTakesFewCalls(t *testing.T) {
	images := make([]hsstest.Image, 10_000)
	for n := range images {
		images[n] = scanned(fmt.Sprint("app-", n), "a")
		images[n].ImageDigest = fmt.Sprintf("sha256:%064x", n)
		for v := range 20 {
			images[n].Vulnerabilities = append(images[n].Vulnerabilities, hsstest.Vulnerability{VulID: fmt.Sprintf("CVE-2024-%04d", (n*20+v)%2000)})
		}
	}
	server := hssWith(t, hsstest.WithImages(images...))
	began := time.Now()
	_, said, code := asked(t, "CVE-2024-0042", "--no-cluster", "--config", probeConfig(t, server.URL))
	t.Logf("took %s", time.Since(began))
	if got := server.Stats().Requests - server.Stats().Endpoints[hsstest.EndpointProjects].Requests; got > 16 || code != exitFailure || said != "CVE-2024-0042: images that have it: 100" {
		t.Errorf("%d calls, exit code %d: %s", got, code, said)
	}
}

// The guide shows the real output for the samples.
func TestTheGuideToWhoHasIsTrue(t *testing.T) {
	const path, begin = "../../docs/guides/who-has.md", "<!-- who-has -->\n```\n"
	file, err := inventoryfile.Load(sampleInventory, time.Now())
	must(t, err)
	server := hssWith(t, hsstest.WithInventory(file))
	pods := podsOf(t, [2]string{"swr.example.com/prod/vulnerable:1.0", ""}, [2]string{"swr.example.com/prod/clean:1.0", ""}, [2]string{"swr.example.com/prod/failed:1.0", ""})
	got, _, _ := run(t, "who-has", "CVE-2022-1271", "--kubeconfig", pods, "--config", probeConfig(t, server.URL))
	text := readFile(t, path)
	_, rest, _ := strings.Cut(text, begin)
	shown, _, _ := strings.Cut(rest, "```\n")
	if *update {
		rewrite(t, path, strings.Replace(text, begin+shown, begin+got, 1))
	} else if diff := cmp.Diff(got, shown); diff != "" {
		t.Errorf("%s (-output +shown; -update writes it anew):\n%s", path, diff)
	}
}
