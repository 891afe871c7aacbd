package hss_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// cloud answers for IAM and for HSS, and keeps the requests.
type cloud struct {
	iam, hss *script

	mu   sync.Mutex
	sent []*http.Request
}

func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.sent = append(c.sent, r)
	c.mu.Unlock()
	if r.URL.Host == "iam.cn-north-4.myhuaweicloud.com" {
		return c.iam.RoundTrip(r)
	}
	return c.hss.RoundTrip(r)
}

// iamList is IAM's answer.
func iamList(body string) step { return step{status: 200, body: `{"projects":[` + body + `]}`} }

func oneProject() step { return iamList(`{"id":"p9","name":"cn-north-4"}`) }

// inRegion makes a client that knows a region and no project ID.
func inRegion(t *testing.T, c *cloud, source hss.CredentialSource) *hss.Client {
	t.Helper()
	return scripted(t, nil, func(config *hss.Config) {
		config.Transport, config.ProjectID, config.Region, config.Credentials = c, "", "cn-north-4", source
	})
}

func TestTheProjectIDIsFoundThroughIAMOnce(t *testing.T) {
	t.Parallel()
	for name, credentials := range map[string]hss.Credentials{"a signature": accessKey(), "a token": {Token: hss.NewSecret("T")}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				slow := oneProject()
				slow.takes = time.Second
				c := &cloud{iam: newScript(slow), hss: newScript(list())}
				client := inRegion(t, c, hss.StaticCredentials(credentials))
				for _, err := range listAll(t, client, 20) {
					if err != nil {
						t.Error(err)
					}
				}
				if c.iam.asked() != 1 || c.hss.asked() != 20 {
					t.Errorf("%d requests to IAM and %d to HSS, want 1 and 20", c.iam.asked(), c.hss.asked())
				}
				first, last := c.sent[0], c.sent[20]
				if first.URL.RequestURI() != "/v3/projects?name=cn-north-4" || len(first.Header["X-Project-Id"]) > 0 {
					t.Errorf("IAM got %s %v", first.URL, first.Header)
				}
				if first.Header.Get("Authorization")+first.Header.Get("X-Auth-Token") == "" {
					t.Error("the request to IAM is not authenticated")
				}
				if last.URL.Path != "/v5/p9/image/registries/images" || last.Header.Get("X-Project-Id") != "p9" {
					t.Errorf("HSS got %s %v", last.URL, last.Header)
				}
			})
		})
	}
}

func TestAKnownProjectIDIsNotLookedUp(t *testing.T) {
	t.Parallel()
	withProject := accessKey()
	withProject.ProjectID = "of-the-keys"
	for want, change := range map[string]func(*hss.Config){
		"of-the-keys":   func(c *hss.Config) { c.ProjectID, c.Credentials = "", hss.StaticCredentials(withProject) },
		"of-the-config": func(c *hss.Config) { c.ProjectID = "of-the-config" },
	} {
		client := scripted(t, newScript(step{err: errors.New("nothing should be sent")}), func(c *hss.Config) {
			c.Region = "cn-north-4"
			change(c)
		})
		if got, err := client.ProjectID(t.Context()); got != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestAnAccountWithoutOneProjectIsLookedUpOnceAMinute(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer step
		want   string
	}{
		"no project": {iamList(""), "region cn-north-4 is not enabled for the account of these credentials, " +
			"since IAM has no project of that name: enable the region, or set projectID"},
		"several projects": {iamList(`{"id":"a"},{"id":"b"}`), "the account has 2 projects named cn-north-4 (a, b): set projectID to one of them"},
		"no permission": {step{status: 403, body: `{"error":{"code":403,"message":"not allowed","title":"Forbidden"}}`, header: map[string]string{"X-Iam-Trace-Id": "t1"}},
			"cannot find the project ID of region cn-north-4 through IAM: IAM answered 403 403: not allowed (request t1)"},
		"an answer without projects": {step{status: 200, body: `{}`},
			"cannot find the project ID of region cn-north-4 through IAM: IAM answered 200: no list of projects: the answer has no projects"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{iam: newScript(tc.answer), hss: newScript(list())}
				client := inRegion(t, c, hss.StaticCredentials(accessKey()))
				for _, err := range append(listAll(t, client, 5), listAll(t, client, 5)...) {
					var failed *hss.ProjectError
					if !errors.As(err, &failed) || err.Error() != tc.want {
						t.Fatalf("error is %v, want %s", err, tc.want)
					}
				}
				if c.iam.asked() != 1 || c.hss.asked() != 0 {
					t.Errorf("%d requests to IAM and %d to HSS, want 1 and 0", c.iam.asked(), c.hss.asked())
				}
				time.Sleep(time.Minute)
				c.iam.mu.Lock()
				c.iam.steps = []step{oneProject()}
				c.iam.mu.Unlock()
				if err := listAll(t, client, 1)[0]; err != nil {
					t.Errorf("once the account has one project: %v", err)
				}
			})
		})
	}
}

func TestTheLookUpIsTriedAgainLikeARequestToHSS(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, tc := range map[string]struct {
		steps []step
		at    []time.Duration
		want  string
	}{
		"a broken connection": {[]step{{err: io.ErrUnexpectedEOF}, oneProject()}, []time.Duration{0, 100 * ms}, ""},
		"503":                 {[]step{{status: 503}, {status: 503}, oneProject()}, []time.Duration{0, 100 * ms, 300 * ms}, ""},
		"no connection at all": {[]step{{err: io.ErrUnexpectedEOF}}, []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms},
			"cannot find the project ID of region cn-north-4 through IAM: after 5 attempts: no complete answer: iam.cn-north-4.myhuaweicloud.com: unexpected EOF"},
		"403 is final": {[]step{{status: 403}}, []time.Duration{0}, "IAM answered 403"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{iam: newScript(tc.steps...), hss: newScript(list())}
				err := listAll(t, inRegion(t, c, hss.StaticCredentials(accessKey())), 1)[0]
				if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error is %v, want %q", err, tc.want)
				}
				if diff := cmp.Diff(tc.at, c.iam.at); diff != "" {
					t.Errorf("times of the requests to IAM (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAKeyThatIAMRefusesIsNotSentAgainForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{iam: newScript(refusal(), oneProject()), hss: newScript(list())}
		source := newKeys(accessKey())
		client := inRegion(t, c, source)
		for _, err := range append(listAll(t, client, 10), listAll(t, client, 10)...) {
			var refused *hss.RefusedError
			if !errors.As(err, &refused) || refused.AccessKey != accessKey().AccessKey || !strings.HasPrefix(refused.Error(), "IAM refused the credentials") {
				t.Fatalf("error is %v", err)
			}
		}
		if c.iam.asked() != 1 || c.hss.asked() != 0 || source.invalidated.Load() != 1 {
			t.Errorf("%d requests to IAM, %d to HSS, invalidated %d times; want 1, 0, 1", c.iam.asked(), c.hss.asked(), source.invalidated.Load())
		}
		time.Sleep(5 * time.Minute)
		if err := listAll(t, client, 1)[0]; err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

func TestAnotherAccountIsLookedUpAnew(t *testing.T) {
	t.Parallel()
	temporary := func(key string) hss.Credentials {
		return hss.Credentials{AccessKey: key, SecretKey: hss.NewSecret("SK"), SecurityToken: hss.NewSecret(key)}
	}
	for name, tc := range map[string]struct {
		first, next hss.Credentials
		lookUps     int
	}{
		"another access key":     {accessKey(), hss.Credentials{AccessKey: "OTHER", SecretKey: hss.NewSecret("SK")}, 2},
		"temporary keys renewed": {temporary("A"), temporary("B"), 1},
		"a token renewed":        {hss.Credentials{Token: hss.NewSecret("A")}, hss.Credentials{Token: hss.NewSecret("B")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &cloud{iam: newScript(oneProject()), hss: newScript(list())}
			source := newKeys(tc.first)
			client := inRegion(t, c, source)
			for _, credentials := range []hss.Credentials{tc.first, tc.next, tc.next} {
				source.current.Store(&credentials)
				if _, err := client.ProjectID(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if c.iam.asked() != tc.lookUps {
				t.Errorf("%d requests to IAM, want %d", c.iam.asked(), tc.lookUps)
			}
		})
	}
}

func TestIAMEndpoint(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ region, variable, want string }{
		"a region":                       {"cn-north-4", "", "https://iam.cn-north-4.myhuaweicloud.com"},
		"the European one":               {"eu-west-101", "", "https://iam.eu-west-101.myhuaweicloud.eu"},
		"a region without IAM":           {"cn-south-4", "", "https://iam.myhuaweicloud.com"},
		"a host in the environment":      {"cn-north-4", "iam.example.com", "https://iam.example.com"},
		"an endpoint in the environment": {"cn-north-4", " http://127.0.0.1:80 ", "http://127.0.0.1:80"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := hss.IAMEndpoint(tc.region, func(string) string { return tc.variable })
			if got != tc.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}
