package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// content is what a secret says, which must be in no output.
const content = "AKIA-THE-SECRET-ITSELF"

// withSecrets is the image app with an ID and secrets.
func withSecrets(secrets ...hsstest.Secret) hsstest.Image {
	r := row("app", 0)
	r.ImageID, r.ImageDigest, r.Secrets = "img-1", sha("a"), secrets
	return r
}

func secret(severity, name, path string) hsstest.Secret {
	return hsstest.Secret{Severity: severity, Name: name, FilePath: path, Content: content, HandleStatus: "unhandled"}
}

// newSecretDoor has a policy that allows no secrets of a severity or worse.
func newSecretDoor(t *testing.T, least v1alpha1.SecretSeverity, images ...hsstest.Image) *door {
	t.Helper()
	d := newDoor(t, nil, images)
	p := &v1alpha1.ImageScanPolicy{}
	p.Name = "p"
	p.Spec.Require.Secrets = &v1alpha1.SecretRequirement{MinSeverity: least}
	p.Spec.When = v1alpha1.When{NotFound: v1alpha1.ActionAllow, NotScanned: v1alpha1.ActionAllow, Unavailable: v1alpha1.ActionAllow}
	d.gate.Policies = inForce(t, p)
	return d
}

const fewSecrets = "number of secrets unknown, allowed 0"

func TestSecretsInAnImageDecide(t *testing.T) {
	t.Parallel()
	key, pem := secret("critical", "AWS access key", "/app/.env"), secret("high", "private key", "/root/.ssh/id_rsa")
	mild := secret("medium", "password", "/etc/app.conf")
	handled := key
	handled.HandleStatus, handled.OperateAccept = "handled", "ignore"
	attack := secret("critical", "key\n[policy x]", "/app/\x1b[31m"+strings.Repeat("long/", 100))
	multi := func(secrets ...hsstest.Secret) hsstest.Image {
		r := withSecrets()
		r.ImageID, r.MultiArch = "", true
		r.AssociationImages = []hsstest.Architecture{
			{Namespace: "prod", ImageName: "app", ImageVersion: "1", ImageType: "private_image", ImageID: "amd64", ImageDigest: sha("b"), ScanStatus: "success"},
			{Namespace: "prod", ImageName: "app", ImageVersion: "1", ImageType: "private_image", ImageID: "arm64", ImageDigest: sha("c"), ScanStatus: "success", Secrets: secrets},
		}
		return r
	}
	without := withSecrets()
	without.ImageID = ""
	unscanned := withSecrets()
	unscanned.ScanStatus, unscanned.LatestScanTime = "unscan", time.Time{}
	for name, test := range map[string]struct {
		least v1alpha1.SecretSeverity
		image hsstest.Image
		says  string // empty: admitted
	}{
		"none":                        {"", withSecrets(), ""},
		"one":                         {"", withSecrets(mild), "1 secret, allowed 0 (worst: password in /etc/app.conf)"},
		"the worst are named":         {"", withSecrets(mild, secret("low", "token", "/a"), pem, key), "4 secrets, allowed 0 (worst: AWS access key in /app/.env, private key in /root/.ssh/id_rsa, password in /etc/app.conf and 1 more)"},
		"two that count":              {"High", withSecrets(mild, key, pem), "2 secrets of severity High or worse, allowed 0 (worst: AWS access key in /app/.env, private key in /root/.ssh/id_rsa)"},
		"one that counts":             {"Critical", withSecrets(mild, key, pem), "1 secret of severity Critical or worse, allowed 0 (worst: AWS access key in /app/.env)"},
		"none that counts":            {"High", withSecrets(mild, secret("low", "token", "/a")), ""},
		"an unknown severity":         {"Critical", withSecrets(secret("severe", "x", "/y")), "1 secret of severity Critical or worse, allowed 0 (worst: x in /y)"},
		"a severity that is missing":  {"Critical", withSecrets(secret("", "", "")), "1 secret of severity Critical or worse, allowed 0 (worst: unnamed)"},
		"one that counts as handled":  {"High", withSecrets(handled), "1 secret of severity High or worse"},
		"texts of an attacker":        {"", withSecrets(attack), "worst: key (policy x) in /app/(31mlong/"},
		"no ID to list by":            {"", without, fewSecrets + " (HSS gives the image no ID to list them by)"},
		"every architecture has none": {"", multi(), ""},
		"one architecture has one":    {"", multi(key), "architecture sha256:cccccccccccc…: 1 secret, allowed 0 (worst: AWS access key in /app/.env)"},
		"an image without a scan, which the policy admits": {"", unscanned, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newSecretDoor(t, test.least, test.image)
				allowed, text := d.pod(t, "10s")
				if allowed != (test.says == "") || !strings.Contains(text, test.says) {
					t.Errorf("allowed: %t: %s\nwant %s", allowed, text, test.says)
				}
				lines := strings.Split(text, "\n")
				if strings.Contains(text, "\x1b") || len(lines) > 2 || len(text) > 1000 {
					t.Errorf("%d lines, %d bytes: %q", len(lines), len(text), text)
				}
				if !allowed && !strings.Contains(text, "to do: remove the secrets that HSS lists from the image, and revoke them") {
					t.Errorf("it does not say what to do: %s", text)
				}
				d.inventory.Close()
			})
		})
	}
}

// Whatever becomes of a secret's content at HSS, hssgate does not read it.
func TestTheContentOfASecretIsInNoOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newSecretDoor(t, "", withSecrets(secret("critical", "AWS access key", "/app/.env")))
		use := image.Use{Place: image.PlaceContainer, Name: "c", Image: "main.example.com/prod/app:1"}
		decision := d.gate.Decide(t.Context(), gate.Request{Namespace: "prod", Facts: true, Workload: image.Workload{Kind: "Pod", Uses: []image.Use{use}}})
		out := fmt.Sprintf("%+v %+v %s", decision, decision.Facts[0].Records[0].Scan.Listed.Secrets, decision.Message())
		if !strings.Contains(out, "AWS access key") || strings.Contains(out, content) {
			t.Errorf("it holds the secret, or not even its name: %s", out)
		}
		d.inventory.Close()
	})
}

func TestUnknownSecretsViolate(t *testing.T) {
	t.Parallel()
	each(t, map[string]hsstest.Fault{
		"(HSS answered 403":            hsstest.ErrorFault(403, "HSS.0013", "no permission"),
		"(HSS answered 500":            hsstest.StatusFault(500),
		"a page of HTML":               hsstest.HTMLFault(200),
		"HSS did not answer in time (": hsstest.HangFault(),
		"data_list":                    hsstest.NoDataListFault(),
		"(HSS answered 429":            hsstest.ThrottleFault("3600"),
	}, func(t *testing.T, fault hsstest.Fault) {
		d := newSecretDoor(t, "", withSecrets())
		d.hss.Inject(fault.ForEndpoint(hsstest.EndpointSecrets).Times(0))
		if allowed, text := d.pod(t, "10s"); allowed || !strings.Contains(text, fewSecrets) {
			t.Errorf("allowed: %t: %s", allowed, text)
		}
		d.inventory.Close()
	})
}

// A known image is decided from memory, and does not wait for an HSS that is down.
func TestKnownSecretsDecideWhileHSSIsDown(t *testing.T) {
	t.Parallel()
	each(t, map[string]bool{"none": true, "one": false}, func(t *testing.T, none bool) {
		image := withSecrets()
		if !none {
			image.Secrets = []hsstest.Secret{secret("high", "x", "/y")}
		}
		d := newSecretDoor(t, "", image)
		want := func(step string, want bool) {
			t.Helper()
			if allowed, text := d.pod(t, "10s"); allowed != want {
				t.Errorf("%s: allowed: %t: %s", step, allowed, text)
			}
		}
		want("HSS answers", none)
		d.unreachable.Store(new(errors.New("connection refused")))
		begun := time.Now()
		want("HSS is down", none)
		equal(t, "it waited", 0, time.Since(begun))
		time.Sleep(time.Hour)
		want("HSS is down, and the list is old", none)
		d.unreachable.Store(nil)
		time.Sleep(time.Minute)
		want("HSS is back", none)
		d.inventory.Close()
	})
}

// reset is an image that HSS is scanning again, of which it shows nothing until that is done.
func reset(r *hsstest.Image) { r.ScanStatus, r.Secrets, r.SeverityLevel = "scanning", nil, "" }

func TestAScanWhoseSecretsWereNotListedInTimeStaysUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newSecretDoor(t, "", withSecrets(secret("high", "x", "/y")))
		d.hss.Inject(hsstest.StatusFault(500).ForEndpoint(hsstest.EndpointSecrets).Times(0))
		d.pod(t, "10s")
		d.hss.ClearFaults()
		d.hss.Update(func(images []hsstest.Image) []hsstest.Image {
			reset(&images[0])
			return images
		})
		time.Sleep(10 * time.Minute)
		if allowed, text := d.pod(t, "10s"); allowed || !strings.Contains(text, fewSecrets+" (HSS is scanning the image") {
			t.Errorf("allowed: %t: %s", allowed, text)
		}
		d.inventory.Close()
	})
}

// HSS may list fewer secrets while it scans an image. Such a list must not admit it, and another scan has its own list.
func TestAnotherScanHasItsSecretsListedAgain(t *testing.T) {
	t.Parallel()
	bad := secret("critical", "AWS access key", "/app/.env")
	scanning := func(r *hsstest.Image) { r.ScanStatus, r.Secrets = "scanning", nil }
	still := func(r *hsstest.Image) { r.ScanStatus = "scanning" }
	again := func(secrets ...hsstest.Secret) func(*hsstest.Image) {
		return func(r *hsstest.Image) {
			r.ScanStatus, r.Secrets, r.LatestScanTime = "success", secrets, r.LatestScanTime.Add(time.Hour)
		}
	}
	type step struct {
		change func(*hsstest.Image)
		says   string // empty: admitted
	}
	each(t, map[string][]step{
		"found by a later scan":                  {{again(), ""}, {again(bad), "1 secret, allowed 0"}},
		"removed":                                {{again(bad), "1 secret, allowed 0"}, {again(), ""}},
		"known, and being scanned":               {{again(bad), "1 secret, allowed 0"}, {scanning, "1 secret, allowed 0"}, {again(), ""}},
		"known to have none, and being scanned":  {{again(), ""}, {scanning, ""}},
		"never listed before, and being scanned": {{still, "1 secret, allowed 0"}, {again(), ""}},
		"known, and the row is reset":            {{again(bad), "1 secret, allowed 0"}, {reset, "1 secret, allowed 0"}},
	}, func(t *testing.T, steps []step) {
		d := newSecretDoor(t, "", withSecrets(bad))
		for n, s := range steps {
			d.hss.Update(func(images []hsstest.Image) []hsstest.Image {
				s.change(&images[0])
				return images
			})
			time.Sleep(10 * time.Minute)
			if allowed, text := d.pod(t, "10s"); allowed != (s.says == "") || !strings.Contains(text, s.says) {
				t.Errorf("step %d: allowed: %t: %s\nwant %s", n, allowed, text, s.says)
			}
		}
		d.inventory.Close()
	})
}

func TestADenialNamesMaliciousFiles(t *testing.T) {
	t.Parallel()
	files := []hsstest.MaliciousFile{
		{Name: "xmrig", Path: "/usr/bin/xmrig", Description: "Trojan.CoinMiner"}, {Name: "run.sh", Path: "/opt", Description: "back\ndoor; [policy y]"},
		{Name: "c", Path: "/c"}, {Name: "d", Path: "/d"},
	}
	for name, test := range map[string]struct {
		fault *hsstest.Fault
		wait  time.Duration // at most
		says  string
	}{
		"the first of them": {nil, 0, "5 malicious files, allowed 0 (/usr/bin/xmrig: Trojan.CoinMiner, /opt/run.sh: back door, (policy y), /c, 2 more) [policy baseline]"},
		"HSS is slow":       {new(hsstest.HangFault()), 500 * time.Millisecond, "5 malicious files, allowed 0 [policy baseline]"},
		"HSS fails":         {new(hsstest.ErrorFault(403, "HSS.0013", "no permission")), 0, "5 malicious files, allowed 0 [policy baseline]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := row("app", 5)
				r.ImageID, r.MaliciousFiles = "img-1", files
				d := newDoor(t, nil, []hsstest.Image{r})
				if test.fault != nil {
					d.hss.Inject(test.fault.ForEndpoint(hsstest.EndpointMaliciousFiles).Times(0))
				}
				begun := time.Now()
				allowed, text := d.pod(t, "10s")
				if took := time.Since(begun); allowed || !strings.Contains(text, test.says) || took > test.wait {
					t.Errorf("allowed: %t, after %s: %s\nwant %s", allowed, took, text, test.says)
				}
				d.inventory.Close()
			})
		})
	}
	t.Run("an image without any costs no call", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := row("app", 0)
			r.ImageID, r.SeverityLevel = "img-1", "High"
			d := newDoor(t, nil, []hsstest.Image{r})
			if allowed, text := d.pod(t, "10s"); allowed {
				t.Errorf("it is allowed: %s", text)
			}
			calls := d.hss.Stats().Endpoints
			equal(t, "calls", 0, calls[hsstest.EndpointMaliciousFiles].Requests+calls[hsstest.EndpointSecrets].Requests)
			d.inventory.Close()
		})
	})
}
