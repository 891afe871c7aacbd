package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// hurried is a clock that whoever waits sets forward.
type hurried struct{ *clocktesting.FakeClock }

func (c hurried) After(d time.Duration) <-chan time.Time {
	defer c.Step(d)
	return c.FakeClock.After(d)
}

const (
	scannedApp = "swr.example.com/prod/app:1"
	appDigest  = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	oldDigest  = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// appRow is a row of scannedApp that was not scanned.
func appRow(changes ...func(*hsstest.Image)) hsstest.Image {
	i := hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1", ImageDigest: appDigest, ImageType: "private_image",
		RegistryID: "r1", RegistryType: "SwrPrivate", ScanStatus: "unscan"}
	for _, change := range changes {
		change(&i)
	}
	return i
}

func isHidden(i *hsstest.Image) { i.Hidden = true }

func turnsBad(i *hsstest.Image) {
	i.Outcome = &hsstest.ScanOutcome{SeverityLevel: "High", VulNum: hsstest.Count(9)}
}

func fails(status, code string) func(*hsstest.Image) {
	return func(i *hsstest.Image) { i.Outcome = &hsstest.ScanOutcome{ScanStatus: status, ScanFailedCode: code} }
}

// was has the image scanned an hour ago.
func was(status, severity string) func(*hsstest.Image) {
	return func(i *hsstest.Image) {
		i.ScanStatus, i.SeverityLevel, i.LatestScanTime = status, severity, time.Now().Add(-time.Hour)
		i.VulNum, i.MaliciousFileNum, i.UnsafeSettingNum = hsstest.Count(0), hsstest.Count(0), hsstest.Count(0)
	}
}

func named(name string) func(*hsstest.Image) { return func(i *hsstest.Image) { i.ImageName = name } }

// scans are an HSS and the command, which share a clock.
type scans struct {
	server *hsstest.Server
	config string
	clock  clock.Clock
}

func newScans(t *testing.T, options ...hsstest.Option) *scans {
	t.Helper()
	c := hurried{clocktesting.NewFakeClock(time.Now())}
	s := &scans{clock: c, server: hsstest.NewServer(append([]hsstest.Option{
		hsstest.WithoutAuthentication(), hsstest.WithClock(c.Now), hsstest.WithScanTimes(time.Minute, 2*time.Minute, 30*time.Second),
		hsstest.WithRegistries(hsstest.Registry{ID: "r1", Type: "SwrPrivate", Address: "swr.example.com"}),
	}, options...)...)}
	t.Cleanup(s.server.Close)
	s.config = write(t, "config.yaml", fmt.Sprintf(`
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- name: bj4
  endpoint: %s
  projectID: p1
  credentials: {source: TokenFile, tokenFile: %q}
registries:
- name: swr
  hosts: [swr.example.com]
- name: harbor
  hosts: [harbor.example.com]
  imageTypes: [harbor]
  registryName: lab
`, s.server.URL, write(t, "token", "any")))
	return s
}

// run runs hssgate scan, and returns what is printed without the time that has passed.
func (s *scans) run(ctx context.Context, stderr io.Writer, args ...string) (stdout, said string, err error) {
	var out bytes.Buffer
	root := newRootCommand() //nolint:contextcheck // ExecuteContext passes it on
	for _, cmd := range root.Commands() {
		if cmd.Name() == "scan" {
			root.RemoveCommand(cmd)
		}
	}
	root.AddCommand(newScanCommand(s.clock))
	root.SetArgs(append([]string{"scan", "--config", s.config}, args...))
	root.SetOut(&out)
	root.SetErr(stderr)
	err = root.ExecuteContext(ctx)
	return out.String(), regexp.MustCompile(`, [0-9hms]+(\n)`).ReplaceAllString(fmt.Sprint(stderr), "$1"), err
}

func TestAnImageIsScannedAndThenEvaluated(t *testing.T) {
	never := hsstest.WithScanTimes(-1, -1, -1)
	multiArch := func(status string, malicious int) func(*hsstest.Image) {
		return func(i *hsstest.Image) {
			i.MultiArch, i.ImageDigest = true, oldDigest
			i.AssociationImages = []hsstest.Architecture{{ID: 8, ImageDigest: appDigest, ScanStatus: status,
				VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(malicious)}}
		}
	}
	for name, tt := range map[string]struct {
		rows    []hsstest.Image
		options []hsstest.Option
		faults  []hsstest.Fault
		args    []string
		code    int
		says    string
		scans   int
		syncs   int
	}{
		"a new image":                              {rows: []hsstest.Image{appRow(isHidden)}, says: "HSS does not list it yet", scans: 1, syncs: 1},
		"a new image that is bad":                  {rows: []hsstest.Image{appRow(isHidden, turnsBad)}, code: exitFailure, says: "severity High, allowed Medium", scans: 1, syncs: 1},
		"two new images of a registry":             {rows: []hsstest.Image{appRow(isHidden), appRow(isHidden, named("b"))}, args: []string{"swr.example.com/prod/b:1"}, says: "2 admitted", scans: 2, syncs: 1},
		"a good and a bad one":                     {rows: []hsstest.Image{appRow(), appRow(named("b"), turnsBad)}, args: []string{"swr.example.com/prod/b:1"}, code: exitFailure, says: "1 denied, 1 admitted", scans: 2},
		"one image, named twice":                   {rows: []hsstest.Image{appRow()}, args: []string{scannedApp + "@" + appDigest}, says: "2 admitted", scans: 1},
		"an image that was not scanned":            {rows: []hsstest.Image{appRow()}, says: "a scan is requested, which HSS bills if it succeeds", scans: 1},
		"one that is being scanned":                {rows: []hsstest.Image{appRow(was("scanning", ""))}, options: []hsstest.Option{never}, code: exitUnknown, says: "timed out after 15m0s: scanning"},
		"one that was scanned":                     {rows: []hsstest.Image{appRow(was("success", "Low"))}, says: "so nothing is billed; if the tag was pushed again since"},
		"one that was scanned, by its digest":      {rows: []hsstest.Image{appRow(was("success", "Low"))}, args: []string{scannedApp + "@" + appDigest}, says: "so nothing is billed\n"},
		"one that was found bad":                   {rows: []hsstest.Image{appRow(was("success", "High"))}, code: exitFailure, says: "severity High, allowed Medium"},
		"one that was scanned, again":              {rows: []hsstest.Image{appRow(was("success", "Low"), turnsBad)}, args: []string{"--force"}, code: exitFailure, says: "severity High", scans: 1},
		"one that was pushed after its scan":       {rows: []hsstest.Image{appRow(was("success", "Low"), func(i *hsstest.Image) { i.LatestUpdateTime = time.Now() })}, scans: 1},
		"one whose last scan failed":               {rows: []hsstest.Image{appRow(was("failed", ""))}, scans: 1},
		"one whose scan fails, by a mild policy":   {rows: []hsstest.Image{appRow(fails("download_failed", "swr_authentication_error"))}, args: []string{"--preset", "audit"}, code: exitUnknown, says: "the scan failed: swr_authentication_error; to do: let HSS pull the image", scans: 1},
		"one whose scan fails, by a strict one":    {rows: []hsstest.Image{appRow(fails("failed", "database_error"))}, args: []string{"--preset", "strict"}, code: exitFailure, says: "the scan failed: database_error; to do: try again", scans: 1},
		"one that is too large":                    {rows: []hsstest.Image{appRow(was("image_oversized", ""))}, code: exitFailure, says: "the scan failed: image_oversized; to do: make the image smaller"},
		"one that HSS never lists":                 {code: exitUnknown, says: `timed out after 15m0s: HSS does not list it yet; registry "swr" is being synchronised`, syncs: 1},
		"one of a registry that HSS does not list": {rows: []hsstest.Image{appRow(was("success", "Low"))}, args: []string{"harbor.example.com/prod/app:1"}, code: exitUnknown, says: `lists no registry that is "harbor" of the configuration`},
		"one that is listed with another digest":   {rows: []hsstest.Image{appRow(was("success", "Low"), func(i *hsstest.Image) { i.ImageDigest = oldDigest }), appRow(isHidden)}, args: []string{scannedApp + "@" + appDigest}, says: "HSS does not list it yet", scans: 1, syncs: 1},
		"a scan that does not end":                 {rows: []hsstest.Image{appRow()}, options: []hsstest.Option{never}, args: []string{"--preset", "audit", "--timeout", "90s"}, code: exitUnknown, says: "timed out after 1m30s: waiting_for_scan; run the same command again to wait for it", scans: 1},
		"an architecture that turns out bad":       {rows: []hsstest.Image{appRow(multiArch("unscan", 3))}, code: exitFailure, says: "3 malicious files", scans: 1},
		"an architecture that was not scanned":     {rows: []hsstest.Image{appRow(was("success", "Low"), multiArch("unscan", 0))}, scans: 1},
		"a scan without permission":                {rows: []hsstest.Image{appRow()}, faults: []hsstest.Fault{hsstest.ErrorFault(http.StatusForbidden, "HSS.0013", "No permission.").ForEndpoint(hsstest.EndpointScan)}, code: exitUnknown, says: "a scan could not be requested: HSS answered 403 HSS.0013"},
		"a request that HSS did not confirm":       {rows: []hsstest.Image{appRow()}, faults: []hsstest.Fault{hsstest.ResetFault().ForEndpoint(hsstest.EndpointScan).Times(0)}, code: exitUnknown, says: "a scan was requested, and HSS does not show it yet"},
		"an HSS that is throttled for a while":     {rows: []hsstest.Image{appRow()}, faults: []hsstest.Fault{hsstest.StatusFault(http.StatusServiceUnavailable).ForEndpoint(hsstest.EndpointImages).Times(7)}, says: "HSS's list cannot be read: ", scans: 1},
		"an HSS that is away":                      {rows: []hsstest.Image{appRow()}, faults: []hsstest.Fault{hsstest.StatusFault(http.StatusServiceUnavailable).Times(0)}, args: []string{"--timeout", "1s"}, code: exitUnknown, says: "timed out after 1s: HSS's list cannot be read: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScans(t, append(tt.options, hsstest.WithImages(tt.rows...))...)
			s.server.Inject(tt.faults...)
			var stderr bytes.Buffer
			stdout, _, err := s.run(t.Context(), &stderr, append([]string{scannedApp, "--wait", "--preset", "baseline"}, tt.args...)...)
			stats := s.server.Stats()
			if said := stdout + stderr.String() + fmt.Sprint(err); codeOf(err) != tt.code || !strings.Contains(said, tt.says) {
				t.Errorf("got exit code %d, want %d with %q:\n%s", codeOf(err), tt.code, tt.says, said)
			}
			if diff := cmp.Diff([2]int{tt.scans, tt.syncs}, [2]int{stats.Scans, stats.Syncs}); diff != "" {
				t.Errorf("scans and synchronisations (-want +got):\n%s", diff)
			}
			if n := stats.Endpoints[hsstest.EndpointScan].Requests; n > max(1, tt.scans) {
				t.Errorf("%d scans were requested", n)
			}
		})
	}
}

func TestProgressIsALineForEachChange(t *testing.T) {
	s := newScans(t, hsstest.WithImages(appRow(isHidden)))
	var stderr bytes.Buffer
	_, said, err := s.run(t.Context(), &stderr, scannedApp, "--wait", "--preset", "baseline")
	must(t, err)
	var want string
	for _, state := range []string{
		`HSS does not list it yet; registry "swr" is being synchronised`, "a scan is requested, which HSS bills if it succeeds",
		"a scan was requested, and HSS does not show it yet", "waiting_for_scan", "scanning", "scanned",
	} {
		want += "hssgate: " + scannedApp + ": " + state + "\n"
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !regexp.MustCompile(`: scanning, [1-9][0-9ms]+\n`).MatchString(stderr.String()) {
		t.Errorf("the time that has passed is missing:\n%s", stderr.String())
	}
}

func TestWithoutWaitAScanIsRequestedOnly(t *testing.T) {
	s := newScans(t, hsstest.WithImages(appRow(isHidden, turnsBad)))
	for _, says := range []string{"a scan was requested, and HSS does not show it yet", "waiting_for_scan"} {
		var stderr bytes.Buffer
		stdout, said, err := s.run(t.Context(), &stderr, scannedApp)
		if err != nil || stdout != "" || !strings.Contains(said, says) || !strings.Contains(said, "--wait waits for results") {
			t.Errorf("got %v, %q and %q, want %q", err, stdout, said, says)
		}
	}
	if stats := s.server.Stats(); stats.Scans != 1 || stats.Syncs != 1 {
		t.Errorf("%d scans and %d synchronisations, want one each", stats.Scans, stats.Syncs)
	}
	s = newScans(t)
	if _, _, err := s.run(t.Context(), &bytes.Buffer{}, scannedApp); codeOf(err) != exitUnknown || !strings.Contains(err.Error(), "timed out after 15m0s: HSS does not list it yet") {
		t.Errorf("an image that HSS never lists: got %v", err)
	}
}

// interrupter ends a context once something is written.
type interrupter struct {
	bytes.Buffer

	at        string
	interrupt context.CancelFunc
}

func (i *interrupter) Write(p []byte) (int, error) {
	defer func() {
		if strings.Contains(i.String(), i.at) {
			i.interrupt()
		}
	}()
	return i.Buffer.Write(p)
}

func TestAnInterruptedScanGoesOnAtHSS(t *testing.T) {
	for _, wait := range []bool{true, false} {
		for _, at := range []string{"HSS does not list it yet", "a scan is requested"} {
			s := newScans(t, hsstest.WithImages(appRow(isHidden)))
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			args := []string{scannedApp, "--wait", "--preset", "baseline"}
			if !wait {
				args = args[:1]
			}
			_, _, err := s.run(ctx, &interrupter{at: at, interrupt: interrupt}, args...)
			const want = "scan: interrupted: scans that were requested go on at HSS, and the same command later waits for them"
			if codeOf(err) != exitUnknown || err.Error() != want {
				t.Errorf("%s: got %v, want %s", at, err, want)
			}
		}
	}
}

func TestAWrongScanIsToldSo(t *testing.T) {
	config := newScans(t).config
	calls{
		"no image":                 {[]string{"--config", config}, exitUsage, "name the images to scan; see hssgate scan --help"},
		"no configuration":         {[]string{scannedApp, "--wait"}, exitUsage, "--config is required (or $HSSGATE_CONFIG"},
		"a file":                   {[]string{sampleManifests, "--config", config}, exitUsage, "is a file or folder: scan takes images"},
		"an unknown flag":          {[]string{scannedApp, "-f", "x"}, exitUsage, "unknown shorthand flag: 'f'"},
		"an unknown preset":        {[]string{scannedApp, "--wait", "--preset", "lax", "--config", config}, exitUsage, `not "lax"`},
		"two kinds of policies":    {[]string{scannedApp, "--wait", "--preset", "audit", "--policies", "x", "--config", config}, exitUsage, "exclude each other"},
		"a policy without waiting": {[]string{scannedApp, "--preset", "audit", "--config", config}, exitUsage, "--preset needs --wait: without it, nothing is evaluated"},
		"no time":                  {[]string{scannedApp, "--wait", "--timeout", "0s", "--config", config}, exitUsage, "--timeout must be longer than 0s, not 0s"},
		"a host that is unclaimed": {[]string{"other.example.com/prod/app:1", "--wait", "--preset", "audit", "--config", config}, exitUsage,
			`other.example.com/prod/app:1: no configured registry claims host "other.example.com"; the hosts that HSS scans are those of registries[].hosts of `},
		"a host that is unclaimed, without waiting": {[]string{"other.example.com/prod/app:1", "--config", config}, exitUsage, "no configured registry claims host"},
		"no reference":                {[]string{"swr.example.com/Prod", "--config", config}, exitUsage, "invalid image reference"},
		"an image without a registry": {[]string{"nginx", "--config", config}, exitUsage, `no configured registry claims host "docker.io"`},
	}.check(t, "scan")
}
