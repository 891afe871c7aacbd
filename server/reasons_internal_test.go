package server

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestTheLastAnswerOfHSSIsNamedWhenTheTimeEnds(t *testing.T) {
	t.Parallel()
	const cut = "the answer ends in the middle"
	for name, tt := range map[string]struct {
		faults []hsstest.Fault
		say    string
	}{
		"502 again and again": {[]hsstest.Fault{hsstest.StatusFault(502).Times(0)}, "HSS answered 502 APIGW.0502"},
		"cut again and again": {[]hsstest.Fault{hsstest.BodyFault(200, "application/json", `{"data_list":[`).Times(0)}, cut},
		"429 that says how long to wait": {
			[]hsstest.Fault{hsstest.ThrottleFault("59").Times(0)}, "HSS answered 429 APIGW.0308",
		},
		"502 and then nothing":            {[]hsstest.Fault{hsstest.StatusFault(502), hsstest.HangFault().Times(0)}, "HSS answered 502 APIGW.0502"},
		"cut and then nothing":            {[]hsstest.Fault{hsstest.BodyFault(200, "application/json", `{"data_list":[`), hsstest.HangFault().Times(0)}, cut},
		"429 and then nothing":            {[]hsstest.Fault{hsstest.ThrottleFault("0"), hsstest.HangFault().Times(0)}, "HSS answered 429 APIGW.0308"},
		"a page of HTML and then nothing": {[]hsstest.Fault{hsstest.HTMLFault(http.StatusServiceUnavailable), hsstest.HangFault().Times(0)}, "503 Service Unavailable"},
	} {
		for limit, project := range map[string]map[string]string{
			"the review's": nil, "the look-up's": {"lookupTimeout": "2s", "requestTimeout": "2s"},
		} {
			t.Run(name+" "+limit, func(t *testing.T) {
				t.Parallel()
				d := newDoor(t, project, false)
				d.hss.Inject(tt.faults...)
				timeout := "4s"
				if project != nil {
					timeout = "30s"
				}
				got := said(d.review(t, "app:1", timeout))
				if !strings.Contains(got, tt.say) || strings.Contains(got, "did not answer in time") || strings.Contains(got, "own limits") {
					t.Errorf("it says %s", got)
				}
			})
		}
	}
}

func TestOurOwnRateLimitIsNamedAsOurs(t *testing.T) {
	t.Parallel()
	for name, project := range map[string]map[string]string{
		"the review's time":                           {"requestsPerSecond": "0.002", "burst": "1"},
		"the look-up's time":                          {"requestsPerSecond": "0.002", "burst": "1", "lookupTimeout": "1s", "requestTimeout": "1s"},
		"a limit that lets the request pass too late": {"requestsPerSecond": "0.2", "burst": "1", "lookupTimeout": "2s", "requestTimeout": "1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, project, false)
			d.review(t, "app:1", "60s") // takes the only request
			got := d.review(t, "app:2", "4s")
			if got.Allowed || !strings.Contains(said(got), "hssgate's own limits") || !strings.Contains(said(got), "requestsPerSecond") ||
				strings.Contains(said(got), "did not answer") || strings.Contains(said(got), "rate:") {
				t.Errorf("allowed is %v: %s", got.Allowed, said(got))
			}
		})
	}
}

func TestNoReasonShowsAGoType(t *testing.T) {
	t.Parallel()
	goType := regexp.MustCompile(`Go |struct|interface|\*?\b(json|hss|policy|image|webhook|v1|errors|strconv|time|url|fmt)\.[A-Z]|\[\]string|int64|map\[`)
	review := func(request string) string {
		return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":` + request + `}`
	}
	pod := func(object string) string {
		return review(`{"uid":"1","operation":"CREATE","namespace":"prod","kind":{"group":"","version":"v1","kind":"Pod"},"object":` + object + `}`)
	}
	for name, body := range map[string]string{
		"containers":          pod(`{"spec":{"containers":"x"}}`),
		"a container":         pod(`{"spec":{"containers":["x"]}}`),
		"an image":            pod(`{"spec":{"containers":[{"image":7}]}}`),
		"volumes":             pod(`{"spec":{"volumes":{"a":1}}}`),
		"a label":             pod(`{"metadata":{"labels":{"a":7}},"spec":{"containers":[{"image":"a"}]}}`),
		"labels":              pod(`{"metadata":{"labels":[]},"spec":{"containers":[{"image":"a"}]}}`),
		"a long name":         pod(`{"metadata":{"labels":{"` + strings.Repeat("k", 10_000) + `":7}},"spec":{"containers":[{"image":"a"}]}}`),
		"an operation":        review(`{"uid":"1","operation":7}`),
		"a request":           review(`[]`),
		"a list":              `[]`,
		"a text":              `"x"`,
		"nothing":             ``,
		"half":                `{"kind":`,
		"a spec":              pod(`{"spec":7}`),
		"metadata":            pod(`{"metadata":"x","spec":{"containers":[{"image":"a"}]}}`),
		"an owner":            pod(`{"metadata":{"ownerReferences":[7]},"spec":{"containers":[{"image":"a"}]}}`),
		"a deletion time":     pod(`{"metadata":{"deletionTimestamp":{}},"spec":{"containers":[{"image":"a"}]}}`),
		"an object of a kind": review(`{"uid":"1","operation":"CREATE","kind":7}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, nil, false)
			recorder := httptest.NewRecorder()
			d.handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate", strings.NewReader(body)))
			if text := recorder.Body.String(); goType.MatchString(text) || len(text) > 3000 {
				t.Errorf("%q in %.3000s", goType.FindString(text), text)
			}
		})
	}
	for name, body := range map[string]string{
		"rows": `{"data_list":7}`, "a row": `{"total_num":1,"data_list":[7]}`, "a total": `{"total_num":{},"data_list":7}`,
		"a count": `{"total_num":1,"data_list":[{` + goodRow() + `,"latest_update_time":{}}]}`, "text": `no JSON`, "half": `{"data_list":[{"id":`,
	} {
		t.Run("HSS answers "+name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, nil, false)
			d.hss.Inject(answerOf(body))
			if text := said(d.review(t, "app:1", "10s")); goType.MatchString(text) || text == "" {
				t.Errorf("%q in %q", goType.FindString(text), text)
			}
		})
	}
}
