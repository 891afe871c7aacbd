package inventory_test

import (
	"cmp"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// write puts a file into a folder of the test's own.
func write(tb testing.TB, name, content string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// patience bounds what takes real time, on a machine however slow, and is never
// spent when all is well.
const patience = 5 * time.Minute

// against makes an inventory whose clients are the real ones and ask server,
// configured by a file's text.
func against(tb testing.TB, server *hsstest.Server, change ...func(*config.Configuration)) *inventory.Inventory {
	tb.Helper()
	key := hsstest.DefaultCredential()
	c, err := config.Parse("test.yaml", fmt.Appendf(nil, `
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- name: bj4
  endpoint: %s
  projectID: p1
  credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}
registries:
- name: swr
  hosts: [swr.example.com]
`, server.URL, write(tb, "ak", key.AccessKey), write(tb, "sk", key.SecretKey)))
	if err != nil {
		tb.Fatal(err)
	}
	c.Projects[0].RequestTimeout, c.Projects[0].LookupTimeout = config.Duration(time.Minute), config.Duration(patience)
	for _, f := range change {
		f(c)
	}
	clients, err := inventory.NewClients(c, "hssgate/test")
	if err != nil {
		tb.Fatal(err)
	}
	i, err := inventory.New(inventory.Options{Config: c, Clients: clients})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(i.Close)
	return i
}

func served(name, version string) hsstest.Image {
	return hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: version, ImageDigest: digest("a"), ImageType: "private_image",
		ScanStatus: "success", SeverityLevel: "Low", VulNum: hsstest.Count(3), LatestScanTime: time.UnixMilli(1_000_000),
	}
}

func TestTheRealClientAsksAServerThatMatchesLooselyAndRepeatsRows(t *testing.T) {
	t.Parallel()
	rows := []hsstest.Image{served("app", "1"), served("my-app", "1"), served("app", "1.1"), served("team$app", "1")}
	for n := range 450 {
		rows = append(rows, served("app", fmt.Sprintf("1-%d", n)))
	}
	dev := served("app", "1")
	dev.Namespace = "prod-dev"
	harbor := served("app", "1")
	harbor.ImageType = "harbor"
	rows = append(rows, dev, harbor)
	server := hsstest.NewServer(hsstest.WithImages(rows...), hsstest.WithSubstringMatching(), hsstest.WithRepeatedRows(), hsstest.WithShuffledRows(7))
	defer server.Close()
	i := against(t, server)
	for ref, want := range map[string]string{
		app:                                                    "app:1",
		app + "@" + digest("a"):                                "app:1",
		"swr.example.com/prod/app:1-449":                       "app:1-449",
		"swr.example.com/prod/team/app:1":                      "team$app:1",
		"swr.example.com/prod/pp:1":                            "",
		"swr.example.com/rod/app:1":                            "",
		app + "@" + digest("b"):                                "",
		"swr.example.com/prod/my-app@" + digest("a"):           "my-app:1",
		"swr.example.com/prod/app:" + strings.Repeat("1", 100): "",
	} {
		got, _ := within(t, i, patience, ref)
		var names []string
		for _, r := range got.Records {
			names = append(names, r.Name+":"+r.Version)
		}
		if names := strings.Join(names, " "); names != want || (got.State != policy.StateFound && got.State != policy.StateNotFound) {
			t.Errorf("%s: got %q, want %q (%v: %s)", ref, names, want, got.State, got.Reason)
		}
	}
}

func TestTheRealClientAndAServerInTrouble(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault   hsstest.Fault
		want    string
		timeout time.Duration
	}{
		"an empty 200":            {hsstest.EmptyFault(), "HSS answered 200", 0},
		"a 200 without list":      {hsstest.NoDataListFault(), "HSS answered 200", 0},
		"an error that's a 200":   {hsstest.ErrorFault(http.StatusOK, "HSS.0010", "denied"), "HSS answered 200 HSS.0010: denied", 0},
		"no permission":           {hsstest.ErrorFault(http.StatusBadRequest, "HSS.0013", "no permission"), "HSS answered 400 HSS.0013: no permission", 0},
		"a page for people":       {hsstest.HTMLFault(http.StatusNotFound), "HSS answered 404", 0},
		"garbage":                 {hsstest.GarbageFault(), "HSS answered 200", 0},
		"Retry-After in an hour":  {hsstest.ThrottleFault("3600"), "HSS answered 429 APIGW.0308", 0},
		"answers that never come": {hsstest.HangFault(), "HSS", 300 * time.Millisecond},
		"broken connections":      {hsstest.ResetFault(), "HSS could not be asked: rows from 0 on: ", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := hsstest.NewServer(hsstest.WithImages(served("app", "1")))
			defer server.Close()
			i := against(t, server, func(c *config.Configuration) {
				p := &c.Projects[0]
				p.RequestTimeout, p.LookupTimeout = config.Duration(cmp.Or(test.timeout, time.Minute)), config.Duration(patience)
			})
			server.Inject(test.fault.Times(0))
			got, _ := within(t, i, patience, app)
			if got.State != policy.StateUnavailable || !strings.HasPrefix(got.Reason, test.want) || strings.ContainsAny(got.Reason, "\n?") {
				t.Errorf("got %v: %s\nwant %s", got.State, got.Reason, test.want)
			}
		})
	}
}

func TestTheRealClientAndRefusedCredentials(t *testing.T) {
	t.Parallel()
	server := hsstest.NewServer(hsstest.WithCredentials(hsstest.Credential{AccessKey: "OTHER", SecretKey: "other"}))
	defer server.Close()
	i := against(t, server)
	for n := range 10 {
		got, _ := within(t, i, patience, fmt.Sprintf("swr.example.com/prod/app:%d", n))
		if got.State != policy.StateUnavailable || !strings.HasPrefix(got.Reason, "HSS refused the credentials, so it is not asked again before ") {
			t.Fatalf("got %v: %s", got.State, got.Reason)
		}
		if strings.Contains(got.Reason, hsstest.DefaultCredential().SecretKey) {
			t.Error("the reason holds the secret key")
		}
	}
	if n := server.Stats().Requests; n != 1 {
		t.Errorf("%d requests were sent with credentials that were refused", n)
	}
}

func TestTheRealClientKeepsItsBoundOfCallsAtOnce(t *testing.T) {
	t.Parallel()
	server := hsstest.NewServer(hsstest.WithImages(served("app", "1")), hsstest.WithTokens("t"), hsstest.WithLatency(20*time.Millisecond))
	defer server.Close()
	i := against(t, server, func(c *config.Configuration) {
		p := &c.Projects[0]
		p.MaxConcurrent, p.RequestsPerSecond, p.Burst = 2, 1000, 1000
		p.Credentials = config.Credentials{Source: config.SourceTokenFile, TokenFile: write(t, "token", "t")}
	})
	var callers sync.WaitGroup
	for n := range 12 {
		callers.Go(func() {
			if got, _ := within(t, i, patience, fmt.Sprintf("swr.example.com/prod/app:%d", n)); got.State == policy.StateUnavailable {
				t.Error(got.Reason)
			}
		})
	}
	callers.Wait()
	if got := server.Stats().MaxInFlight; got > 2 {
		t.Errorf("%d calls were under way at once, 2 are allowed", got)
	}
}

func TestNewClientsTrustsTheConfiguredCertificates(t *testing.T) {
	t.Parallel()
	server := hsstest.NewTLSServer(hsstest.WithImages(served("app", "1")))
	defer server.Close()
	if got, _ := within(t, against(t, server), patience, app); got.State != policy.StateUnavailable || !strings.Contains(got.Reason, "certificate") {
		t.Errorf("without caFile got %v: %s", got.State, got.Reason)
	}
	ca := write(t, "ca.pem", certificateOf(t, server))
	i := against(t, server, func(c *config.Configuration) { c.Projects[0].CAFile = ca })
	if got, _ := within(t, i, patience, app); got.State != policy.StateFound {
		t.Errorf("with caFile got %v: %s", got.State, got.Reason)
	}
}

// certificateOf asks a server for its certificate, as PEM.
func certificateOf(tb testing.TB, server *hsstest.Server) string {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	response, err := server.Client().Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer response.Body.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: response.TLS.PeerCertificates[0].Raw}))
}

// affected is a row that a server tells n vulnerabilities of.
func affected(name string, n int) hsstest.Image {
	i := served(name, "1")
	i.ImageID, i.VulNum = "img-"+name, hsstest.Count(n)
	for v := range n {
		i.Vulnerabilities = append(i.Vulnerabilities, hsstest.Vulnerability{
			VulID: fmt.Sprintf("CVE-2024-%04d", v), RepairNecessity: "delay_repair", AppName: "openssl", Version: "1.1.1k", Solution: "1.1.1n",
		})
	}
	return i
}

func TestTheRealClientListsVulnerabilities(t *testing.T) {
	t.Parallel()
	server := hsstest.NewServer(hsstest.WithImages(affected("app", 450), affected("broken", 3)))
	t.Cleanup(server.Close)
	server.Inject(hsstest.StatusFault(http.StatusInternalServerError).Times(100).ForEndpoint(hsstest.EndpointVulnerabilities).
		For(func(r *http.Request) bool { return r.URL.Query().Get("image_name") == "broken" }))
	i := against(t, server)
	details := func(name string) policy.Scan {
		ref := reference(t, "swr.example.com/prod/"+name+":1")
		f := i.WithVulnerabilities(t.Context(), ref, i.Facts(t.Context(), ref), true)
		if len(f.Records) != 1 {
			t.Fatalf("%s: %s", name, f.Reason)
		}
		return f.Records[0].Scan
	}
	for range 2 {
		if s := details("app"); len(s.Found) != 450 || s.Found[0].Fix != "1.1.1n" || s.Unlisted != "" {
			t.Errorf("%d are known, and why not all is %q", len(s.Found), s.Unlisted)
		}
	}
	if n := server.Stats().Endpoints[hsstest.EndpointVulnerabilities].Requests; n != 4 {
		t.Errorf("asked %d times, want for 3 pages and an empty one", n)
	}
	if s := details("broken"); s.Found != nil || !strings.Contains(s.Unlisted, "HSS answered 500") {
		t.Errorf("%d are known, and why not all is %q", len(s.Found), s.Unlisted)
	}
}

func TestThrottledVulnerabilitiesKeepNoImageFromBeingLookedUp(t *testing.T) {
	t.Parallel()
	server := hsstest.NewServer(hsstest.WithImages(affected("app", 3), served("other", "1")))
	t.Cleanup(server.Close)
	server.Inject(hsstest.ThrottleFault("300").Times(0).ForEndpoint(hsstest.EndpointVulnerabilities))
	i := against(t, server)
	ref := reference(t, app)
	f := i.WithVulnerabilities(t.Context(), ref, i.Facts(t.Context(), ref), true)
	wantUnlisted(t, f, "HSS answered 429 APIGW.0308")
	if got, _ := within(t, i, patience, "swr.example.com/prod/other:1"); got.State != policy.StateFound {
		t.Errorf("got %v: %s", got.State, got.Reason)
	}
	if got := i.Stats().Projects[0].Breaker; got != inventory.BreakerClosed {
		t.Errorf("the breaker is %s", got)
	}
}

// sevenProjects are all asked with the same key.
func sevenProjects(t *testing.T, server *hsstest.Server, secretKey string) *inventory.Inventory {
	t.Helper()
	var projects, registries strings.Builder
	ak, sk := write(t, "ak", hsstest.DefaultCredential().AccessKey), write(t, "sk", secretKey)
	for n := range 7 {
		fmt.Fprintf(&projects, "- {name: p%d, endpoint: %q, projectID: id%d, credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}}\n",
			n, server.URL, n, ak, sk)
		fmt.Fprintf(&registries, "- {name: r%d, hosts: [swr%d.example.com], project: p%d}\n", n, n, n)
	}
	c, err := config.Parse("test.yaml", []byte("apiVersion: config.hssgate.io/v1alpha1\nkind: Configuration\nprojects:\n"+projects.String()+"registries:\n"+registries.String()))
	if err != nil {
		t.Fatal(err)
	}
	clients, err := inventory.NewClients(c, "hssgate/test")
	if err != nil {
		t.Fatal(err)
	}
	i, err := inventory.New(inventory.Options{Config: c, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

func TestAMistypedKeyOfManyProjectsIsNotLocked(t *testing.T) {
	t.Parallel()
	server := hsstest.NewServer(hsstest.WithImages(served("app", "1")))
	t.Cleanup(server.Close)
	lookUp := func(i *inventory.Inventory) (states []policy.State) {
		var projects sync.WaitGroup
		states = make([]policy.State, 7)
		for n := range states {
			projects.Go(func() {
				got, _ := within(t, i, patience, fmt.Sprintf("swr%d.example.com/prod/app:1", n))
				states[n] = got.State
			})
		}
		projects.Wait()
		return states
	}
	for _, state := range lookUp(sevenProjects(t, server, "mistyped")) {
		if state != policy.StateUnavailable {
			t.Errorf("with a mistyped key an image is %v", state)
		}
	}
	if n := server.Stats().Requests; n != 2 {
		t.Errorf("%d requests were sent with a mistyped key, want 2", n)
	}
	for _, state := range lookUp(sevenProjects(t, server, hsstest.DefaultCredential().SecretKey)) {
		if state != policy.StateFound {
			t.Errorf("with the right key an image is %v: the key may be locked", state)
		}
	}
}
