package hss_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// one requests a scan of the row 7.
func one() hss.ScanRequest { return hss.ScanRequest{Image: hss.Image{ID: "7"}} }

func TestStartScanSendsTheRow(t *testing.T) {
	t.Parallel()
	row := hss.Image{ID: "7", ImageID: "aa", Digest: "sha256:aa", RegistryID: "r1", RegistryName: "swr", RegistryType: hss.RegistryTypeSWRPrivate,
		Namespace: "prod", Name: "app", Version: "1.4", InstanceID: "i", InstanceURL: "u", ScanStatus: hss.ScanStatusUnscan}
	s := newScript(step{status: 200})
	client := scripted(t, s, nil)
	for _, image := range []hss.Image{row, {ID: "x", Name: "<b>"}} {
		must(t, client.StartScan(t.Context(), hss.ScanRequest{EnterpriseProjectID: hss.AllGrantedEnterpriseProjects, Image: image}))
	}
	for n, want := range []map[string]any{
		{"id": 7.0, "image_id": "aa", "image_digest": "sha256:aa", "registry_id": "r1", "registry_name": "swr", "registry_type": "SwrPrivate",
			"namespace": "prod", "image_name": "app", "image_version": "1.4", "instance_id": "i", "instance_url": "u"},
		{"id": "x", "image_name": "<b>"},
	} {
		got := s.requests[n]
		if got.Method != http.MethodPost || got.URL.Path != "/v5/p1/image/image-scan/tasks" ||
			got.URL.RawQuery != "enterprise_project_id=all_granted_eps&global_image_type=registry" || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("asked %s %s, %v", got.Method, got.URL, got.Header)
		}
		var sent any
		must(t, json.NewDecoder(got.Body).Decode(&sent))
		want := map[string]any{"scan_scope": float64(0x7fffffff), "rate_limit": 0.0, "is_all": false, "image_info": []any{want}}
		wantEqual[any](t, "body", want, sent)
	}
}

func TestAnswersToAPost(t *testing.T) {
	t.Parallel()
	type row struct {
		status      int
		body        string
		want        string // of the error; empty: accepted
		unconfirmed bool   // whether a scan was started
	}
	each(t, map[string]row{
		"an empty answer":                 {200, "", "", false},
		"an empty object":                 {200, " {} ", "", false},
		"null":                            {200, "null", "", false},
		"an error with a 200":             {200, `{"error_code":"HSS.0013","error_msg":"no"}`, "HSS answered 200 HSS.0013: no", false},
		"success by its code":             {200, `{"error_code":0,"error_description":"success"}`, "", false},
		"accepted":                        {202, "{}", "", false},
		"no content":                      {204, "", "", false},
		"a page of HTML":                  {200, "<html><title>Log in</title>", `titled "Log in"`, true},
		"text":                            {200, "OK", "neither empty nor an object", true},
		"a list":                          {200, "[]", "neither empty nor an object", true},
		"an object that breaks off":       {200, `{"error`, "the answer ends in the middle", true},
		"a code that is a list":           {200, `{"error_code":[]}`, "HSS answered 200: the answer has an error_code", true},
		"a refusal":                       {400, `{"error_code":"HSS.0001"}`, "HSS answered 400 HSS.0001", false},
		"no permission":                   {403, ``, "HSS answered 403", false},
		"a gateway that waited too long":  {504, ``, "HSS answered 504", true},
		"a gateway that did not reach it": {502, `<html>`, "HSS answered 502", true},
		"an internal error":               {500, ``, "HSS answered 500", true},
		"a redirect":                      {302, ``, "a redirect", true},
	}, func(t *testing.T, tc row) {
		endpoint, asked := serve(t, answer(tc.status, tc.body))
		err := newClient(t, endpoint, nil).StartScan(t.Context(), one())
		wantError(t, err, tc.want)
		if _, unconfirmed := errors.AsType[*hss.UnconfirmedError](err); unconfirmed != tc.unconfirmed || asked.Load() != 1 {
			t.Errorf("unconfirmed is %v, want %v, after %d requests: %v", unconfirmed, tc.unconfirmed, asked.Load(), err)
		}
	})
}

func TestAScanIsSentAgainOnlyIfHSSCertainlyDidNotReceiveIt(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	accepted := step{status: 200}
	type row struct {
		steps       []step
		sent        int
		want        string
		unconfirmed bool
	}
	eachInFakeTime(t, map[string]row{
		"the gateway throttled it":  {[]step{{status: 429}, throttled("3"), accepted}, 3, "", false},
		"no connection at first":    {[]step{{err: dial}, accepted}, 2, "", false},
		"no connection at all":      {[]step{{err: dial}}, 5, "after 5 attempts", false},
		"throttled, then no answer": {[]step{{status: 429}, {err: io.ErrUnexpectedEOF}, accepted}, 2, "unexpected EOF", true},
		"the connection broke":      {[]step{{err: errors.New("connection reset by peer")}, accepted}, 1, "connection reset by peer", true},
		"the answer broke off":      {[]step{{status: 200, body: "{", cut: io.ErrUnexpectedEOF}, accepted}, 1, "reading the answer", true},
		"no answer in time":         {[]step{{status: 200, takes: time.Hour}, accepted}, 1, "context deadline exceeded", true},
		"refused credentials":       {[]step{{status: 401}, accepted}, 1, "HSS refused the credentials", false},
	}, func(t *testing.T, tc row) {
		s := newScript(tc.steps...)
		err := scripted(t, s, nil).StartScan(t.Context(), one())
		wantError(t, err, tc.want)
		if _, unconfirmed := errors.AsType[*hss.UnconfirmedError](err); unconfirmed != tc.unconfirmed || s.sent() != tc.sent {
			t.Errorf("sent %d times, unconfirmed is %v: %v", s.sent(), unconfirmed, err)
		}
	})
}

// TestAScanOverAKeptConnectionIsSentOnce is about the retries of http.Transport.
func TestAScanOverAKeptConnectionIsSentOnce(t *testing.T) {
	t.Parallel()
	server := faithful(t)
	server.Inject(hsstest.ResetFault().ForEndpoint(hsstest.EndpointScan).Times(0))
	client := newClient(t, server.URL, nil)
	if _, err := client.List(t.Context(), hss.ListRequest{}); err != nil {
		t.Fatal(err)
	}
	err := client.StartScan(t.Context(), one())
	if n := server.Stats().Endpoints[hsstest.EndpointScan].Requests; !errors.As(err, new(*hss.UnconfirmedError)) || n != 1 {
		t.Errorf("sent %d times, error %v", n, err)
	}
}

func TestRegistriesAreRead(t *testing.T) {
	t.Parallel()
	client := scripted(t, newScript(step{status: 200, body: `{"total_num":4,"data_list":[` +
		`{"id":7,"registry_name":"swr","registry_type":"SwrPrivate","registry_addr":"a","color":{}},` +
		`{"type":"Harbor","registry_addr":"b"},{"registry_type":"Quay"},{"images_num":-1}]}`}), nil)
	got, err := every(client.Registries(t.Context(), hss.RegistryRequest{}))
	want := []hss.Registry{
		{ID: "7", Name: "swr", Type: hss.RegistryTypeSWRPrivate, Address: "a"}, {Type: hss.RegistryTypeHarbor, Address: "b"}, {Type: "Quay"}, {},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, rows (-want +got):\n%s", err, diff)
	}
}

// every reads all rows.
func every[T any](rows func(func(T, error) bool)) (all []T, err error) {
	for row, err := range rows {
		if err != nil {
			return all, err
		}
		all = append(all, row)
	}
	return all, nil
}

// TestSyncRegistriesIsRetried shows that it may be sent twice: it costs nothing.
func TestSyncRegistriesIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(step{err: io.ErrUnexpectedEOF}, step{status: 503}, step{status: 200})
		err := scripted(t, s, nil).SyncRegistries(t.Context(), hss.SyncRequest{Registries: []hss.SyncRegistry{{ID: "r1", Type: hss.RegistryTypeHarbor}}})
		if err != nil || s.sent() != 3 {
			t.Errorf("sent %d times, error %v", s.sent(), err)
		}
	})
}

// faithful starts a server of package hsstest that accepts accessKey.
func faithful(t *testing.T, list ...hsstest.Option) *hsstest.Server {
	t.Helper()
	server := hsstest.NewServer(append(list, hsstest.WithCredentials(hsstest.Credential{AccessKey: "AKEXAMPLE", SecretKey: "SKEXAMPLE"}))...)
	t.Cleanup(server.Close)
	return server
}

// vulnerable requests what the row of vulnerableRow has.
func vulnerable() hss.VulnerabilityRequest {
	return hss.VulnerabilityRequest{ImageID: "aa11", ImageType: hss.ImageTypePrivate, Namespace: "prod", ImageName: "team/app", Tag: "1.4"}
}

func TestVulnerabilitiesAreDecoded(t *testing.T) {
	t.Parallel()
	type row struct {
		body string
		want []hss.Vulnerability
		text string // of the error
	}
	each(t, map[string]row{
		"every field": {`{"total_num":1,"data_list":[{"vul_id":"CVE-2024-3094","repair_necessity":"immediate_repair","description":"xz","position":"layer 2",` +
			`"app_name":"xz-libs","app_path":"/usr/lib64","version":"5.6.0","solution":"update to 5.6.2","url":"https://example.com/3094"}]}`,
			[]hss.Vulnerability{{ID: "CVE-2024-3094", Necessity: hss.RepairImmediate, Description: "xz", Position: "layer 2", AppName: "xz-libs",
				AppPath: "/usr/lib64", Version: "5.6.0", Solution: "update to 5.6.2", URL: "https://example.com/3094"}}, ""},
		"fields that are missing or null":       {`{"total_num":1,"data_list":[{"vul_id":null,"url":null}]}`, []hss.Vulnerability{{}}, ""},
		"numbers for texts":                     {`{"total_num":1,"data_list":[{"vul_id":42,"version":1.10}]}`, []hss.Vulnerability{{ID: "42", Version: "1.10"}}, ""},
		"an undocumented necessity is kept":     {`{"total_num":1,"data_list":[{"repair_necessity":"now","new":[1]}]}`, []hss.Vulnerability{{Necessity: "now"}}, ""},
		"a text that need not be readable":      {`{"total_num":1,"data_list":[{"vul_id":"A","description":{}}]}`, []hss.Vulnerability{{ID: "A"}}, ""},
		"a row that is null":                    {`{"data_list":[null]}`, nil, "data_list[0]: the row is null, not an object"},
		"a list for a text, in one row of two":  {`{"data_list":[{"vul_id":"A"},{"app_name":[]}]}`, nil, "HSS's list is incomplete: data_list[1]: app_name is a list"},
		"an object for the list":                {`{"data_list":{}}`, nil, "HSS answered 200: data_list is an object"},
		"rows of which some are missing always": {`{"total_num":2,"data_list":[]}`, nil, "HSS's list is incomplete: it shows 0 of 2 rows"},
	}, func(t *testing.T, tc row) {
		got, err := every(scripted(t, newScript(step{status: 200, body: tc.body}), nil).Vulnerabilities(t.Context(), vulnerable()))
		wantError(t, err, tc.text)
		wantEqual(t, "rows", tc.want, got)
	})
}

func TestAnUndocumentedRepairNecessityIsAnUnknownSeverity(t *testing.T) {
	t.Parallel()
	for necessity, want := range map[hss.RepairNecessity]hss.Severity{
		hss.RepairImmediate: hss.SeverityHigh, hss.RepairDelay: hss.SeverityMedium, hss.RepairNotNeeded: hss.SeverityLow, "now": "now",
		"": "unknown", "Security": "unknown", "Low": "unknown", "Medium": "unknown", "High": "unknown",
	} {
		wantEqual(t, string(necessity), want, necessity.Severity())
	}
}
