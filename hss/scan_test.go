package hss_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// one asks to scan the row 7.
func one() hss.ScanRequest { return hss.ScanRequest{Images: []hss.ScanImage{{ID: "7"}}} }

func TestStartScanSendsWhatTheRowSays(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusOK)
	})
	row := hss.Image{ID: "7", ImageID: "aa", Digest: "sha256:aa", RegistryID: "r1", RegistryName: "swr", RegistryType: hss.RegistryTypeSWRPrivate,
		Namespace: "prod", Name: "app", Version: "1.4", InstanceID: "i", InstanceURL: "u", ScanStatus: hss.ScanStatusUnscan}
	client := newClient(t, endpoint, func(c *hss.Config) { c.Now = signedAt })
	err := client.StartScan(t.Context(), hss.ScanRequest{EnterpriseProjectID: hss.AllGrantedEnterpriseProjects,
		Images: []hss.ScanImage{row.ToScan(), {ID: "x", Name: "<b>"}}, RateLimit: 5})
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPost || got.URL.Path != "/v5/p1/image/image-scan/tasks" ||
		got.URL.RawQuery != "enterprise_project_id=all_granted_eps&global_image_type=registry" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("asked %s %s, %v", got.Method, got.URL, got.Header)
	}
	var sent any
	if err := json.Unmarshal(body, &sent); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"scan_scope": float64(0x7fffffff), "rate_limit": 5.0, "is_all": false, "image_info": []any{
		map[string]any{"id": 7.0, "image_id": "aa", "image_digest": "sha256:aa", "registry_id": "r1", "registry_name": "swr",
			"registry_type": "SwrPrivate", "namespace": "prod", "image_name": "app", "image_version": "1.4", "instance_id": "i", "instance_url": "u"},
		map[string]any{"id": "x", "image_name": "<b>"},
	}}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if !strings.Contains(got.Header.Get("Authorization"), "SignedHeaders=accept;user-agent;x-project-id;x-sdk-date,") {
		t.Errorf("Authorization is %q", got.Header.Get("Authorization"))
	}
}

func TestAScanIsStartedAtAFaithfulServer(t *testing.T) {
	t.Parallel()
	client, server := known(t, hsstest.WithScanTimes(0, -1, 0), hsstest.WithImages(hsstest.Image{ID: 7, ImageName: "app", ImageVersion: "1", ScanStatus: "unscan"}))
	row, _, err := first(client.All(t.Context(), hss.ListRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.StartScan(t.Context(), hss.ScanRequest{Images: []hss.ScanImage{row.ToScan()}, Scope: hss.ScanVulnerabilities}); err != nil {
		t.Fatal(err)
	}
	if row, _, _ = first(client.All(t.Context(), hss.ListRequest{})); row.ScanStatus != hss.ScanStatusScanning {
		t.Errorf("the row is %s", row.ScanStatus)
	}
	task, found, err := first(client.Tasks(t.Context(), hss.TaskRequest{Type: hss.TaskTypeScan}))
	if err != nil || !found || *task.Status != 50 || *task.Total != 1 || task.Origin != hss.TaskOriginManual || !task.EndTime.IsZero() {
		t.Errorf("the task is %+v, error %v", task, err)
	}
	server.FinishScans()
	if row, _, _ = first(client.All(t.Context(), hss.ListRequest{})); row.ScanStatus != hss.ScanStatusSuccess || server.Stats().Scans != 1 {
		t.Errorf("the row is %s, after %d scans", row.ScanStatus, server.Stats().Scans)
	}
}

func TestScanRequestsAreChecked(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		request hss.ScanRequest
		want    string // empty: nothing is wrong
	}{
		{"an id alone", one(), ""},
		{"a name and a version", hss.ScanRequest{Images: []hss.ScanImage{{Name: "a", Version: "1"}}, RateLimit: 1000, Scope: hss.ScanBaseline}, ""},
		{"no image", hss.ScanRequest{}, "the number of images is 0, allowed are 1 to 100"},
		{"too many images", hss.ScanRequest{Images: make([]hss.ScanImage, 101)}, "the number of images is 101"},
		{"an image without a name", hss.ScanRequest{Images: []hss.ScanImage{{ID: "1"}, {Name: "a"}}}, "image_info[1] has neither an id nor"},
		{"bytes that are no text", hss.ScanRequest{Images: []hss.ScanImage{{ID: "1", Namespace: "\xff"}}}, "image_info[0] is no valid UTF-8"},
		{"a rate below 0", hss.ScanRequest{Images: one().Images, RateLimit: -1}, "rate_limit is -1, allowed are 0 to 1000"},
		{"a scope below 0", hss.ScanRequest{Images: one().Images, Scope: -1}, "scan_scope is -1"},
		{"a long enterprise project", hss.ScanRequest{Images: one().Images, EnterpriseProjectID: strings.Repeat("e", 257)}, "enterprise_project_id has 257"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, asked := serve(t, answer(http.StatusOK, ""))
			err := newClient(t, endpoint, nil).StartScan(t.Context(), tc.request)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
			if n := asked.Load(); (n == 1) != (tc.want == "") {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestAnswersToWhatWasPosted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string // of the error; empty: it was taken
		unsure bool   // whether a scan was started
	}{
		{"an empty answer", 200, "", "", false},
		{"an empty object", 200, " {} ", "", false},
		{"null", 200, "null", "", false},
		{"success by its code", 200, `{"error_code":0,"error_description":"success"}`, "", false},
		{"created", 201, "", "", false},
		{"accepted", 202, "{}", "", false},
		{"no content", 204, "", "", false},
		{"an error that looks like success", 200, `{"error_code":"HSS.0013","error_msg":"no"}`, "HSS answered 200 HSS.0013: no", false},
		{"a page of HTML", 200, "<html><title>Log in</title>", `titled "Log in"`, true},
		{"text", 200, "OK", "neither empty nor an object", true},
		{"a list", 200, "[]", "neither empty nor an object", true},
		{"an object that breaks off", 200, `{"error`, "the answer ends in the middle", true},
		{"a code that is a list", 200, `{"error_code":[]}`, "not the empty answer that was expected: the answer has an error_code", true},
		{"a refusal", 400, `{"error_code":"HSS.0001"}`, "HSS answered 400 HSS.0001", false},
		{"no right", 403, ``, "HSS answered 403", false},
		{"no such path", 404, `{"error_code":"APIGW.0101"}`, "APIGW.0101", false},
		{"a gateway that waited too long for HSS", 504, ``, "HSS answered 504", true},
		{"a gateway in trouble", 502, `<html>`, "HSS answered 502", true},
		{"HSS in trouble", 500, ``, "HSS answered 500", true},
		{"a redirect", 302, ``, "a redirect", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, asked := serve(t, answer(tc.status, tc.body))
			err := newClient(t, endpoint, nil).StartScan(t.Context(), one())
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
			if _, unsure := errors.AsType[*hss.UnconfirmedError](err); unsure != tc.unsure {
				t.Errorf("unsure is %v, want %v: %v", unsure, tc.unsure, err)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
		})
	}
}

// TestAScanIsAskedForAgainOnlyIfHSSCannotHaveIt shows when a metered request
// is sent a second time.
func TestAScanIsAskedForAgainOnlyIfHSSCannotHaveIt(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	taken := step{status: 200}
	for _, tc := range []struct {
		name   string
		steps  []step
		asked  int
		want   string
		unsure bool
	}{
		{"the gateway throttled it", []step{{status: 429}, {status: 429, header: map[string]string{"Retry-After": "3"}}, taken}, 3, "", false},
		{"nobody listened", []step{{err: dial}, taken}, 2, "", false},
		{"nobody ever listened", []step{{err: dial}}, 5, "after 5 attempts", false},
		{"throttled, then no answer", []step{{status: 429}, {err: io.ErrUnexpectedEOF}, taken}, 2, "unexpected EOF", true},
		{"the connection broke", []step{{err: errors.New("connection reset by peer")}, taken}, 1, "connection reset by peer", true},
		{"the answer broke off", []step{{status: 200, body: "{", cut: io.ErrUnexpectedEOF}, taken}, 1, "reading the answer", true},
		{"no answer in time", []step{{status: 200, takes: time.Hour}, taken}, 1, "context deadline exceeded", true},
		{"HSS was in trouble", []step{{status: 500}, taken}, 1, "500", true},
		{"the gateway was", []step{{status: 503}, taken}, 1, "503", true},
		{"it was refused", []step{{status: 400, body: `{"error_code":"HSS.0001"}`}, taken}, 1, "HSS.0001", false},
		{"the key was refused", []step{{status: 401}, taken}, 1, "HSS refused the credentials", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScript(tc.steps...)
				err := scripted(t, s, nil).StartScan(t.Context(), one())
				if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error is %v, want %q in it", err, tc.want)
				}
				if _, unsure := errors.AsType[*hss.UnconfirmedError](err); unsure != tc.unsure {
					t.Errorf("unsure is %v: %v", unsure, err)
				}
				if n := s.asked(); n != tc.asked {
					t.Errorf("asked %d times, want %d", n, tc.asked)
				}
			})
		})
	}
}

// TestAScanOverAKeptConnectionIsSentOnce is about the transport's own retries.
func TestAScanOverAKeptConnectionIsSentOnce(t *testing.T) {
	t.Parallel()
	var scans atomic.Int32
	endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			scans.Add(1)
			hijack(t, w, "")
			return
		}
		answer(http.StatusOK, `{"data_list":[]}`)(w, r)
	})
	client := newClient(t, endpoint, nil)
	if _, err := client.List(t.Context(), hss.ListRequest{}); err != nil {
		t.Fatal(err)
	}
	err := client.StartScan(t.Context(), one())
	if _, unsure := errors.AsType[*hss.UnconfirmedError](err); !unsure || scans.Load() != 1 {
		t.Errorf("sent %d times, error %v", scans.Load(), err)
	}
}

func TestAScanWaitsForTheBudget(t *testing.T) {
	t.Parallel()
	endpoint, asked := serve(t, answer(http.StatusOK, ""))
	full := errors.New("the budget is used up")
	client := newClient(t, endpoint, func(c *hss.Config) { c.Budget = budgetFunc(func(context.Context) error { return full }) })
	err := client.StartScan(t.Context(), one())
	if _, unsure := errors.AsType[*hss.UnconfirmedError](err); !errors.Is(err, full) || unsure || asked.Load() != 0 {
		t.Errorf("asked %d times, error %v", asked.Load(), err)
	}
}

type budgetFunc func(context.Context) error

func (f budgetFunc) Wait(ctx context.Context) error { return f(ctx) }
