package hsstest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestFaultsThatAnswer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault       hsstest.Fault
		status      int
		contentType string
		body        string
		retryAfter  string
	}{
		"a status": {hsstest.StatusFault(503), 503, "application/json", `"error_code":"APIGW.0503"`, ""},
		"throttled until a date": {hsstest.ThrottleFault("Wed, 21 Oct 2026 07:28:00 GMT"), 429, "application/json", "APIGW.0308",
			"Wed, 21 Oct 2026 07:28:00 GMT"},
		"a page":                   {hsstest.HTMLFault(502), 502, "text/html", "<h1>502 Bad Gateway</h1>", ""},
		"an error with status 200": {hsstest.ErrorFault(200, "HSS.0011", "gone"), 200, "application/json", `"error_code":"HSS.0011"`, ""},
		"a count alone":            {hsstest.NoDataListFault(), 200, "application/json", `{"total_num":0}`, ""},
		"garbage":                  {hsstest.GarbageFault(), 200, "application/json", `{"total_num":1,"data_list":[{"id":]}`, ""},
		"nothing":                  {hsstest.EmptyFault(), 200, "application/json", "", ""},
		"a body of one's own":      {hsstest.BodyFault(201, "text/plain", "hello"), 201, "text/plain", "hello", ""},
	} {
		h := open(t)
		h.Inject(tc.fault)
		got := ask(t, h, "")
		if got.Status != tc.status || !strings.HasPrefix(got.Header.Get("Content-Type"), tc.contentType) || !strings.Contains(got.Raw, tc.body) ||
			got.Header.Get("Retry-After") != tc.retryAfter || got.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: got %d %v %s", name, got.Status, got.Header, got.Raw)
		}
		if again := ask(t, h, ""); again.Status != 200 || !strings.Contains(again.Raw, "data_list") {
			t.Errorf("%s, the next request: got %d %s", name, again.Status, again.Raw)
		}
	}
}

func TestFaultsAreTakenInOrderByMatchingRequests(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(vulnerableApp()))
	h.Inject(
		hsstest.StatusFault(504).ForEndpoint(hsstest.EndpointRegistries).Times(0),
		hsstest.StatusFault(502).ForEndpoint(hsstest.EndpointImages).Times(2),
		hsstest.StatusFault(503),
	)
	const list = "image/registries/images"
	for n, step := range []struct {
		path   string
		status int
	}{
		{list, 502}, {"image/registries", 504}, {list, 502}, {ofApp, 503}, {ofApp, 200}, {list, 200}, {"image/registries", 504}, {"image/nothing", 404},
	} {
		wantEqual(t, fmt.Sprint(n+1, step.path), step.status, askFor(t, h, http.MethodGet, step.path, "").Status)
	}
	want := map[hsstest.Endpoint]hsstest.EndpointStats{
		hsstest.EndpointImages: {Requests: 3}, hsstest.EndpointVulnerabilities: {Requests: 2}, hsstest.EndpointRegistries: {Requests: 2},
		"": {Requests: 1, Failures: 1},
	}
	wantEqual(t, "requests", want, h.Stats().Endpoints)
	h.ClearFaults()
	wantEqual(t, "after clearing", 200, askFor(t, h, http.MethodGet, "image/registries", "").Status)
}
