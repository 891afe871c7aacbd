package doctor_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/replay"
	"github.com/hssgate/hssgate/internal/doctor"
)

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var universes = flag.Int("universes", defaultUniverses(), "how many random universes doctor has to name")

// defaultUniverses are fewer under the race detector, which takes twenty times as long: make test names 2,000 without it.
func defaultUniverses() int {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 20
	}
	return 400
}

const secretToken = "token-that-nobody-may-see"

// configured returns a configuration of one project, with a token.
func configured(t testing.TB) *config.Configuration {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte(secretToken), 0o600))
	c, err := config.Parse("test", fmt.Appendf(nil, `
projects: [{name: main, region: cn-north-4, endpoint: "http://hss.invalid", insecure: true, projectID: p0a1b2c3d4, requestsPerSecond: 1000, credentials: {source: TokenFile, tokenFile: %q}}]
registries: [{name: swr, hosts: [swr.cn-north-4.myhuaweicloud.com]}]
`, token))
	must(t, err)
	return c
}

// examine runs doctor against a handler.
func examine(t testing.TB, c *config.Configuration, h http.Handler, record bool) (*doctor.Report, *replay.Record) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	own := *c
	own.Projects = slices.Clone(c.Projects)
	own.Projects[0].Endpoint = server.URL
	r, recorded, err := doctor.Run(t.Context(), doctor.Options{Config: &own, Version: "test", Record: record})
	must(t, err)
	return r, recorded
}

// universe is an inventory and the behavior of an HSS.
type universe struct {
	behavior hsstest.Behavior
	images   []hsstest.Image
	// lacks are the switches of which the inventory holds no evidence.
	lacks map[string]bool
}

// value returns how a switch is set.
func (u *universe) value(s hsstest.Switch) string {
	for part := range strings.SplitSeq(u.behavior.String(), ",") {
		if value, ok := strings.CutPrefix(part, s.Name+"="); ok {
			return value
		}
	}
	return s.Values[0]
}

// word returns a name that no other image has.
func word(r *rand.Rand) string {
	b := make([]byte, 6+r.IntN(6))
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz"[r.IntN(26)]
	}
	return string(b)
}

func digest(r *rand.Rand) string {
	return fmt.Sprintf("sha256:%016x%016x%016x%016x", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
}

// newUniverse returns a random one. An inventory lacks each kind of evidence now and then.
func newUniverse(r *rand.Rand, now time.Time) *universe {
	u := &universe{lacks: map[string]bool{}}
	for _, s := range hsstest.Switches() {
		u.behavior, _ = u.behavior.With(s.Name, s.Values[r.IntN(len(s.Values))]) // a value of its own
	}
	pushed := func() time.Time { return now.AddDate(0, 0, -10-r.IntN(100)).Truncate(24 * time.Hour).Add(time.Hour) }
	image := func(change func(*hsstest.Image)) {
		at := pushed()
		i := hsstest.Image{
			Namespace: "org" + word(r), ImageName: word(r), ImageVersion: fmt.Sprintf("%d.%d", r.IntN(9), r.IntN(90)), ImageDigest: digest(r), ImageType: "private_image",
			RegistryType: "SwrPrivate", RegistryName: "SwrPrivate", RegistryID: "r1", ImageSize: 1000 + r.Int64N(1e9), ScanStatus: "success", SeverityLevel: "Security", Scannable: true,
			VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0),
			LatestUpdateTime: at, LatestScanTime: at.Add(5 * time.Hour), LatestSyncTime: now.Add(-time.Hour),
		}
		change(&i)
		_, i.ImageID, _ = strings.Cut(i.ImageDigest, ":")
		u.images = append(u.images, i)
	}
	times := func(n int, change func(*hsstest.Image)) {
		for range n {
			image(change)
		}
	}
	// unless leaves out the evidence of some switches, one time in eight.
	unless := func(names string, add func()) {
		if r.IntN(8) > 0 {
			add()
			return
		}
		for name := range strings.FieldsSeq(names) {
			u.lacks[name] = true
		}
	}
	times(8+r.IntN(8), func(*hsstest.Image) {})
	unless("update-time pushed-again", func() {
		for range 2 {
			var first hsstest.Image
			image(func(i *hsstest.Image) { first = *i })
			image(func(i *hsstest.Image) {
				i.ImageDigest, i.LatestUpdateTime, i.LatestScanTime = first.ImageDigest, first.LatestUpdateTime.Add(3*time.Hour), first.LatestScanTime
			})
		}
	})
	unless("pushed-again", func() {
		times(2, func(i *hsstest.Image) {
			i.LatestUpdateTime, i.LatestSyncTime = i.LatestScanTime.Add(30*time.Hour), i.LatestScanTime
		})
	})
	unless("nested-names", func() { times(2, func(i *hsstest.Image) { i.ImageName += "/" + word(r) }) })
	unless("third-party", func() {
		times(2, func(i *hsstest.Image) {
			i.ImageType, i.RegistryType, i.RegistryName, i.RegistryID = "harbor", "Harbor", "harbor-"+word(r), "r2"
		})
	})
	unless("enterprise-projects", func() { times(2, func(i *hsstest.Image) { i.EnterpriseProjectID = "ep-1" }) })
	unless("architectures parent-digest parent-level", func() {
		times(2, func(i *hsstest.Image) {
			i.MultiArch, i.SeverityLevel, i.VulNum = true, "Medium", hsstest.Count(4)
			for n := range 2 {
				i.AssociationImages = append(i.AssociationImages, hsstest.Architecture{
					Namespace: i.Namespace, ImageName: i.ImageName, ImageVersion: i.ImageVersion, ImageDigest: digest(r), ImageType: i.ImageType, ScanStatus: "success",
					VulNum: hsstest.Count(4 * n), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0),
				})
			}
		})
	})
	unless("scan-time rescan", func() {
		for _, status := range []string{"scanning", "waiting_for_scan", "scanning", "waiting_for_scan"} {
			image(func(i *hsstest.Image) {
				i.ScanStatus, i.SeverityLevel, i.VulNum, i.Vulnerabilities = status, "Low", hsstest.Count(1), []hsstest.Vulnerability{{VulID: "CVE-2020-1"}}
			})
		}
	})
	never := func(status string) {
		image(func(i *hsstest.Image) {
			i.ScanStatus, i.SeverityLevel, i.LatestScanTime, i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum = status, "", time.Time{}, nil, nil, nil
		})
	}
	unless("unscanned-level", func() {
		never("waiting_for_scan")
		never("unscan")
	})
	unless("unscanned-counts", func() {
		times(2, func(i *hsstest.Image) {
			i.ScanStatus, i.SeverityLevel, i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum = "failed", "", hsstest.Count(3), hsstest.Count(1), hsstest.Count(1)
		})
	})
	vulnerable := func(level string, score float64) {
		image(func(i *hsstest.Image) {
			i.SeverityLevel = level
			for range 2 {
				id := fmt.Sprintf("CVE-2024-%d", 1000+r.IntN(90000))
				for range 2 {
					i.Vulnerabilities = append(i.Vulnerabilities, hsstest.Vulnerability{VulID: id, AppName: word(r), Version: "1", CVEs: []hsstest.CVE{{ID: id, CVSS: &score}}})
				}
			}
			i.Vulnerabilities[0].Status = "vul_status_ignored"
			i.VulNum = hsstest.Count(len(i.Vulnerabilities))
		})
	}
	unless("severity-scale vulnerability-count", func() {
		vulnerable("High", 9.8)
		vulnerable("Medium", 7.5)
		vulnerable("Medium", 8.1)
	})
	r.Shuffle(len(u.images), func(i, j int) { u.images[i], u.images[j] = u.images[j], u.images[i] })
	return u
}

// shows reports whether what HSS sends lets anybody distinguish the value of a switch from the others.
func (u *universe) shows(name, value string) bool {
	b := &u.behavior
	switch name {
	case "enterprise-projects":
		return value == "all"
	case "pushed-again":
		return value == "result" && (b.UpdateTime == "push" || b.UpdateTime == "")
	case "unscanned-level": // what is running may have been reset
		return b.UnscannedCounts != "earlier" || b.Rescan != "reset" && !u.lacks["rescan"] || value == "missing" && b.Rescan != "reset"
	case "parent-digest":
		return b.Architectures != "only"
	case "parent-level": // rows without an order have no first architecture
		return b.Architectures != "only" && (b.Architectures != "rows" || b.Paging != "shuffled" && b.Paging != "repeated")
	}
	return true
}

// expected returns what doctor must name, and what it may.
func (u *universe) compare(got map[string]string) (right, wrong []string) {
	for _, s := range hsstest.Switches() {
		want, named := u.value(s), got[s.Name]
		switch evident := !u.lacks[s.Name] && u.shows(s.Name, want); {
		case named == want, named == "" && !evident, named == "missing" && want == "inventory" && !evident: // which they are

			right = append(right, s.Name)
		default:
			wrong = append(wrong, fmt.Sprintf("%s=%s, not %q (evident: %t)", s.Name, want, named, evident))
		}
	}
	return right, wrong
}

func (u *universe) handler(now func() time.Time) *hsstest.Handler {
	return hsstest.NewHandler(hsstest.WithImages(u.images...), hsstest.WithBehavior(u.behavior), hsstest.WithTokens(secretToken), hsstest.WithClock(now),
		hsstest.WithRegistries(hsstest.Registry{ID: "r1", Name: "SwrPrivate", Type: "SwrPrivate"}, hsstest.Registry{ID: "r2", Name: "harbor", Type: "Harbor", Address: "https://harbor.corp.example"}))
}

func TestDoctorNamesRandomUniverses(t *testing.T) {
	t.Parallel()
	const workers, maxCalls = 4, 100
	c, now := configured(t), time.Now()
	var mu sync.Mutex
	named, failed, most := 0, 0, 0
	wrong := map[string]int{}
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for n := worker; n < *universes; n += workers {
				u := newUniverse(rand.New(rand.NewPCG(1, uint64(n))), now)
				r, _ := examine(t, c, u.handler(time.Now), false)
				right, bad := u.compare(r.Projects[0].Behavior)
				mu.Lock()
				named, failed, most = named+len(right), failed+min(1, len(bad)), max(most, r.Calls)
				for _, b := range bad {
					if wrong[b]++; wrong[b] == 1 {
						t.Logf("universe %d: %s; %s", n, b, u.behavior)
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d of %d universes named right in every switch, at most %d calls", *universes-failed, *universes, most)
	if failed*100 > *universes || named < *universes*20 {
		t.Errorf("%d of %d universes are named wrong: %v", failed, *universes, wrong)
	}
	if most > maxCalls {
		t.Errorf("%d calls, want at most %d", most, maxCalls)
	}
}

func TestARecordShowsTheSameUniverseAndNoNames(t *testing.T) {
	t.Parallel()
	c, now := configured(t), time.Now()
	for n := range max(3, *universes/10) {
		u := newUniverse(rand.New(rand.NewPCG(2, uint64(n))), now)
		original, record := examine(t, c, u.handler(time.Now), true)
		text, err := json.Marshal(record)
		must(t, err)
		secrets := []string{secretToken, "p0a1b2c3d4", "harbor.corp"}
		for _, at := range regexp.MustCompile(`_time":\s*"?(\d{10})`).FindAllSubmatch(text, -1) {
			if string(at[1]) > "1577923200" { // the day after all records were written
				t.Errorf("universe %d: a time was not moved: %s", n, at[0])
			}
		}
		for _, i := range u.images {
			for _, part := range strings.FieldsFunc(i.Namespace+"/"+i.ImageName+"/"+i.RegistryName+"/"+i.ImageID, func(r rune) bool { return strings.ContainsRune("/-", r) }) {
				if len(part) > 5 && part != "SwrPrivate" && part != "harbor" {
					secrets = append(secrets, part)
				}
			}
		}
		for _, secret := range secrets {
			if bytes.Contains(bytes.ToLower(text), []byte(strings.ToLower(secret))) {
				t.Errorf("universe %d: the record holds %q", n, secret)
			}
		}
		path := filepath.Join(t.TempDir(), "record.json")
		must(t, os.WriteFile(path, text, 0o600))
		loaded, err := replay.Load(path)
		must(t, err)
		again, _ := examine(t, c, loaded.Handler(), false)
		if diff := cmp.Diff(original.Projects[0].Behavior, again.Projects[0].Behavior); diff != "" {
			t.Errorf("universe %d (%s): (-original +replayed)\n%s", n, u.behavior, diff)
		}
		if original.Calls != again.Calls {
			t.Errorf("universe %d: %d calls, and %d of the replay", n, original.Calls, again.Calls)
		}
	}
}

// TestALargeProjectIsSampled has a scan that runs, of an image that is the last of a long list.
func TestALargeProjectIsSampled(t *testing.T) {
	t.Parallel()
	u, now := newUniverse(rand.New(rand.NewPCG(3, 0)), time.Now()), time.Now()
	first := u.images[0]
	u.behavior, u.images = hsstest.Behavior{}, nil
	for n := range 3000 {
		first.ImageName, first.ScanStatus, first.LatestScanTime = fmt.Sprintf("image-%04d", n), "success", now.AddDate(0, 0, -2)
		u.images = append(u.images, first)
	}
	u.images[2999].ScanStatus, u.images[2999].LatestScanTime = "scanning", now.AddDate(-1, 0, 0)
	r, _ := examine(t, configured(t), u.handler(time.Now), false)
	if got := r.Projects[0].Behavior; got["scan-time"] != "end" || got["total"] != "all" || r.Calls > 40 {
		t.Errorf("%d calls; got %v", r.Calls, got)
	}
}

// TestTraitsAreTheSwitches compares names and values.
func TestTraitsAreTheSwitches(t *testing.T) {
	t.Parallel()
	// What cannot be seen from a tenant's rows.
	hidden := []string{"enterprise-projects=default", "pushed-again=unscan", "pushed-again=unnoticed"}
	var want []string
	for _, s := range hsstest.Switches() {
		for _, value := range s.Values {
			if !slices.Contains(hidden, s.Name+"="+value) {
				want = append(want, s.Name+"="+value)
			}
		}
	}
	got := slices.DeleteFunc(doctor.Readings(), func(s string) bool { return s == "filters=ignored" })
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-switches +traits)\n%s", diff)
	}
}
