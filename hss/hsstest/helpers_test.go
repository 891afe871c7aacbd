package hsstest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

const listPath = "/v5/p1/image/registries/images"

func newClock() *clocktesting.FakeClock {
	return clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
}

// answer is a response with any of its fields.
type answer struct {
	Status           int              `json:"-"`
	Header           http.Header      `json:"-"`
	Raw              string           `json:"-"`
	ErrorCode        string           `json:"error_code"`
	ErrorMsg         string           `json:"error_msg"`
	ErrorDescription string           `json:"error_description"`
	RequestID        string           `json:"request_id"`
	TotalNum         int              `json:"total_num"`
	DataList         []map[string]any `json:"data_list"`
}

// names lists the rows by a field.
func (a answer) names(field string) string {
	var names []string
	for _, row := range a.DataList {
		names = append(names, fmt.Sprint(row[field]))
	}
	return strings.Join(names, " ")
}

// tags lists the rows by their version.
func (a answer) tags() string { return a.names("image_version") }

// ask sends a GET of the list to the handler itself, changed by edits.
func ask(t *testing.T, h http.Handler, query string, edits ...func(*http.Request)) answer {
	t.Helper()
	return askFor(t, h, http.MethodGet, "image/registries/images?"+query, "", edits...)
}

// askFor sends a request for an endpoint, below the project p1, to the handler itself.
func askFor(t *testing.T, h http.Handler, method, path, body string, edits ...func(*http.Request)) answer {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	r := httptest.NewRequestWithContext(t.Context(), method, "/v5/p1/"+path, io.NopCloser(strings.NewReader(body)))
	r.URL.RawQuery = query
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := answer{Status: w.Code, Header: w.Result().Header, Raw: w.Body.String()}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "application/json;") {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatalf("answer %q: %v", a.Raw, err)
		}
	}
	return a
}

// signed signs a request.
func signed(c hsstest.Credential, at time.Time) func(*http.Request) {
	return func(r *http.Request) {
		var content []byte
		if r.Body != nil {
			content, _ = io.ReadAll(r.Body) // of a buffer, which never fails
			r.Body = io.NopCloser(bytes.NewReader(content))
		}
		// It fails only for a query or a key that cannot be sent.
		_ = hss.Sign(r, content, hss.Credentials{AccessKey: c.AccessKey, SecretKey: hss.NewSecret(c.SecretKey), SecurityToken: hss.NewSecret(c.SecurityToken)}, at)
	}
}

// open returns a handler without authentication, and closes it with the test.
func open(t *testing.T, list ...hsstest.Option) *hsstest.Handler {
	t.Helper()
	h := hsstest.NewHandler(append(list, hsstest.WithoutAuthentication())...)
	t.Cleanup(h.Close)
	return h
}

// wantEqual compares what a test got with what it wants; nothing is equal to empty.
func wantEqual[T any](t *testing.T, what string, want, got T, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, append(options, cmpopts.EquateEmpty())...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
