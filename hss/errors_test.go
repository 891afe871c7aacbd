package hss_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hssgate/hssgate/hss"
)

func TestErrorsCarryWhatTheAnswerSaid(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		header map[string]string
		body   string
		want   hss.Error
	}{
		{
			name:   "HSS's own shape",
			status: http.StatusBadRequest,
			header: map[string]string{"X-Request-Id": "from-header"},
			body:   `{"error_code":"HSS.0013","error_msg":"no permission","error_description":"ask the owner"}`,
			want: hss.Error{
				StatusCode:  http.StatusBadRequest,
				Code:        "HSS.0013",
				Message:     "no permission",
				Description: "ask the owner",
				RequestID:   "from-header",
			},
		},
		{
			name:   "the gateway's shape, its request id in the body alone",
			status: http.StatusNotFound,
			body:   `{"error_msg":"no such API","error_code":"APIG.0101","request_id":"from-body"}`,
			want: hss.Error{
				StatusCode: http.StatusNotFound,
				Code:       "APIG.0101",
				Message:    "no such API",
				RequestID:  "from-body",
			},
		},
		{
			name:   "the header's request id before the body's",
			status: http.StatusForbidden,
			header: map[string]string{"X-Request-Id": "from-header"},
			body:   `{"error_msg":"m","error_code":"APIGW.0305","request_id":"from-body"}`,
			want: hss.Error{
				StatusCode: http.StatusForbidden,
				Code:       "APIGW.0305",
				Message:    "m",
				RequestID:  "from-header",
			},
		},
		{
			name:   "a throttled request",
			status: http.StatusTooManyRequests,
			header: map[string]string{"Retry-After": "120"},
			body:   `{"error_msg":"The throttling threshold has been reached","error_code":"APIGW.0308"}`,
			want: hss.Error{
				StatusCode: http.StatusTooManyRequests,
				Code:       "APIGW.0308",
				Message:    "The throttling threshold has been reached",
				Retryable:  true,
				RetryAfter: 2 * time.Minute,
			},
		},
		{
			name:   "a gateway that is down",
			status: http.StatusBadGateway,
			body:   "<html><head><title>502 Bad Gateway</title></head></html>",
			want: hss.Error{
				StatusCode: http.StatusBadGateway,
				Message:    `a page of HTML in place of JSON, titled "502 Bad Gateway"`,
				Retryable:  true,
			},
		},
		{
			name:   "a number for a code and nothing for a message",
			status: http.StatusBadRequest,
			body:   `{"error_code":1,"error_msg":null}`,
			want: hss.Error{
				StatusCode: http.StatusBadRequest,
				Code:       "1",
			},
		},
		{
			name:   "another shape altogether",
			status: http.StatusBadRequest,
			body:   `["x"]`,
			want: hss.Error{
				StatusCode: http.StatusBadRequest,
				Message:    `["x"]`,
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range tc.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			})
			client := newClient(t, endpoint, func(c *hss.Config) { c.Retry.MaxAttempts = 1 })
			_, err := client.List(t.Context(), hss.ListRequest{})
			var got *hss.Error
			if !errors.As(err, &got) {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(tc.want, *got, cmpopts.IgnoreUnexported(hss.Error{})); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUndecodableListsTellWhy(t *testing.T) {
	t.Parallel()
	endpoint, _ := serve(t, answer(http.StatusOK, `{"data_list":{}}`))
	_, err := newClient(t, endpoint, nil).List(t.Context(), hss.ListRequest{})
	var got *hss.Error
	if !errors.As(err, &got) || errors.Unwrap(got) == nil {
		t.Errorf("error is %v, want one with a cause", err)
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  hss.Error
		want string
	}{
		{
			name: "a status alone",
			err:  hss.Error{StatusCode: 404},
			want: "HSS answered 404",
		},
		{
			name: "everything",
			err: hss.Error{
				StatusCode: 401, Code: "APIGW.0303", Message: "m", Description: "d", RequestID: "r",
				RetryAfter: time.Second, ClockSkew: -time.Minute,
			},
			want: "HSS answered 401 APIGW.0303: m: d; it asks to wait 1s; the server's clock is 1m0s behind this machine's (request r)",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.err.Error()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
	refused := &hss.RefusedError{Until: signedAt(), Err: &hss.Error{StatusCode: 401}}
	if !strings.Contains(refused.Error(), "not asked again before 2026-01-02T03:04:05Z unless they change: HSS answered 401") {
		t.Errorf("text is %q", refused.Error())
	}
}

func TestUnauthenticated(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  hss.Error
		want bool
	}{
		{hss.Error{StatusCode: 401}, true},
		{hss.Error{StatusCode: 401, Code: "HSS.0010"}, true},
		{hss.Error{StatusCode: 400, Code: "APIGW.0301"}, true},
		{hss.Error{StatusCode: 400, Code: "APIG.0303"}, true},
		{hss.Error{StatusCode: 400, Code: "APIC.0301"}, true},
		{hss.Error{StatusCode: 403, Code: "APIGW.0302"}, false},
		{hss.Error{StatusCode: 400, Code: "XAPIGW.0301"}, false},
		{hss.Error{StatusCode: 400, Code: "APIGW"}, false},
		{hss.Error{StatusCode: 400}, false},
	} {
		if got := tc.err.Unauthenticated(); got != tc.want {
			t.Errorf("%s: %t, want %t", tc.err.Error(), got, tc.want)
		}
	}
}
