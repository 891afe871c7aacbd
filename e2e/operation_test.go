package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// testOperation looks at a gate as an operator does.
func testOperation(t *testing.T, f *fixture) {
	t.Run("health and readiness", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"/healthz", "/readyz", "/readyz/policies", "/readyz/webhook"} {
			code, body, err := get(t, "http://"+f.health+path)
			if err != nil || code != http.StatusOK || body != "ok" {
				t.Errorf("%s: got %d %q, %v", path, code, body, err)
			}
		}
	})
	t.Run("metrics", func(t *testing.T) {
		t.Parallel()
		testMetrics(t, f)
	})
	t.Run("the API server trusts what the gate wrote", func(t *testing.T) {
		t.Parallel()
		if written, trusted := f.caFile(t), f.cluster.bundle(t, f.name); !bytes.Contains(trusted, written) {
			t.Errorf("--ca-file has:\n%s\nthe caBundle:\n%s", written, trusted)
		}
	})
	t.Run("what is no review is no admission", func(t *testing.T) {
		t.Parallel()
		for _, body := range []string{"", "{}", "[]", "null", "<html>", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`} {
			if answer := f.send(t, []byte(body)); !bytes.Contains(answer, []byte(`"allowed":false`)) {
				t.Errorf("to %q it answers %s", body, answer)
			}
		}
	})
	t.Run("the log is JSON and tells of denials", func(t *testing.T) {
		t.Parallel()
		testLog(t, f)
	})
}

func testMetrics(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	add(f.hss["main"], row("metrics"))
	s.enforce(t, "p")
	s.admitted(t, s.run(t, newPod("web", "main.example.com/prod/metrics:1")))
	code, body, err := get(t, "http://"+f.metrics+"/metrics")
	if err != nil || code != http.StatusOK {
		t.Fatalf("/metrics: got %d, %v", code, err)
	}
	for _, want := range []string{
		`hssgate_admission_reviews_total{allowed="true",operation="CREATE"} `,
		`hssgate_admission_reviews_total{allowed="false",operation="CREATE"} `,
		`hssgate_admission_duration_seconds_count{operation="CREATE"} `,
		`hssgate_image_lookups_total{outcome="miss",registry="main"} `,
		`hssgate_image_lookups_total{outcome="unclaimed",registry=""} `,
		`hssgate_hss_lookup_duration_seconds_count{outcome="success",project="main"} `,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(body, secretKey) || strings.Contains(body, accessKey) {
		t.Error("a key is among the metrics")
	}
}

func testLog(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	says(t, s.run(t, newPod("logged", "unclaimed.example.com/prod/logged:1")), "no configured registry claims host")
	var line string
	for one := range strings.Lines(f.log(t)) {
		if !strings.HasPrefix(one, `{"time":`) {
			t.Errorf("no JSON: %s", one)
		}
		if strings.Contains(one, fmt.Sprintf(`"namespace":%q,"name":"logged"`, s.name)) {
			line = one
		}
	}
	for _, want := range []string{`"msg":"denied"`, `"outcome":"Denied"`, `"component":"webhook"`, "unclaimed.example.com", s.name + "-p"} {
		if !strings.Contains(line, want) {
			t.Errorf("got line %s\nwant in it %s", line, want)
		}
	}
}
