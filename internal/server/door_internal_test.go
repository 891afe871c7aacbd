package server

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

// door is the webhook with the preset baseline and a fake HSS in memory, whose time
// can be that of a synctest bubble: no test depends on the speed of the machine.
type door struct {
	hss       *hsstest.Handler
	inventory *inventory.Inventory
	handler   *webhook.Handler
	gate      *gate.Gate
	// pages, if set, are what HSS answers to a list, by offset.
	pages map[string]string
	// unreachable, if set, is what every call of HSS fails with.
	unreachable atomic.Pointer[error]
	// wire, if set, is what goes over the wire to each call of HSS, through a transport of net/http.
	wire string
}

// newDoor takes the images of HSS, and lines of the configuration: "dryRun" of the
// whole, others of the project.
func newDoor(t *testing.T, lines map[string]string, images []hsstest.Image, change ...func(*inventory.Options)) *door {
	t.Helper()
	d := &door{hss: hsstest.NewHandler(hsstest.WithImages(images...))}
	t.Cleanup(d.hss.Close)
	project := map[string]string{
		"name": "main", "endpoint": "https://hss.example.com", "projectID": "p1",
		"credentials": fmt.Sprintf("{source: Files, accessKeyFile: %q, secretKeyFile: %q}",
			secretFile(t, hsstest.DefaultCredential().AccessKey), secretFile(t, hsstest.DefaultCredential().SecretKey)),
	}
	maps.Copy(project, lines)
	delete(project, "dryRun")
	text := "apiVersion: config.hssgate.io/v1alpha1\nkind: Configuration\nregistries:\n- {name: main, hosts: [main.example.com]}\n" +
		"dryRun: " + cmp.Or(lines["dryRun"], "false") + "\nprojects:\n- "
	for name, value := range project {
		if value != "" {
			text += name + ": " + value + "\n  "
		}
	}
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	o := inventory.Options{Config: c, Explained: true}
	for _, f := range change {
		f(&o)
	}
	o.Clients, err = inventory.NewClients(c, "hssgate/test", func(_ string, base http.RoundTripper) http.RoundTripper {
		if transport, ok := base.(*http.Transport); ok && lines["endpoint"] != "" {
			transport.DialContext, transport.DisableKeepAlives = d.dial, true
			return transport
		}
		return d
	})
	must(t, err)
	d.inventory, err = inventory.New(o)
	must(t, err)
	t.Cleanup(d.inventory.Close)
	manifest, err := presets.Policy("baseline")
	must(t, err)
	baseline := &v1alpha1.ImageScanPolicy{}
	must(t, yaml.UnmarshalStrict(manifest, baseline))
	d.gate = &gate.Gate{Policies: inForce(t, baseline), Facts: d.inventory, Clock: clock.RealClock{}}
	d.handler = NewHandler(c, webhook.Options{Decider: d.gate, Log: slog.New(slog.DiscardHandler)})
	return d
}

// RoundTrip has HSS answer in memory.
func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := d.unreachable.Load(); err != nil {
		return nil, *err
	}
	w := httptest.NewRecorder()
	if d.pages != nil {
		_, _ = io.WriteString(w, cmp.Or(d.pages[r.URL.Query().Get("offset")], `{"total_num":0,"data_list":[]}`))
		return w.Result(), nil
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	aborted := d.serve(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if aborted {
		return nil, io.ErrUnexpectedEOF
	}
	return w.Result(), nil
}

// serve reports whether HSS breaks the connection off.
func (d *door) serve(w http.ResponseWriter, r *http.Request) (aborted bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // net/http compares so, too
			aborted = true
		} else if p != nil {
			panic(p)
		}
	}()
	d.hss.ServeHTTP(w, r)
	return false
}

// dial connects to an HSS that answers with what is to go over the wire.
func (d *door) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		if _, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
			_, _ = io.WriteString(there, d.wire)
		}
	}()
	return here, nil
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// inForce compiles a policy.
func inForce(t *testing.T, p *v1alpha1.ImageScanPolicy) func() []*policy.Policy {
	t.Helper()
	compiled, problems := policy.Compile(p)
	must(t, problems.ToAggregate())
	return func() []*policy.Policy { return []*policy.Policy{compiled} }
}

// equal checks that nothing differs.
func equal[T any](t testing.TB, what string, want, got T) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// each runs a test for each case, in parallel and in a bubble of synctest.
func each[C any](t *testing.T, cases map[string]C, test func(t *testing.T, c C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { test(t, c) })
		})
	}
}

// app is an image that the preset baseline admits.
func app() []hsstest.Image { return []hsstest.Image{row("app", 0)} }

func row(name string, malware int) hsstest.Image {
	return hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: "1", ImageType: "private_image", ScanStatus: "success", SeverityLevel: "Low",
		VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(malware), LatestScanTime: time.UnixMilli(1_000_000),
	}
}

// review sends a pod, or a Deployment, as the API server does. An image without a
// tag has the tag 1.
func (d *door) review(t *testing.T, timeout, namespace, kind string, images ...string) *admissionv1.AdmissionResponse {
	t.Helper()
	containers := make([]string, len(images))
	for i, image := range images {
		if !strings.Contains(image, ":") {
			image += ":1"
		}
		containers[i] = fmt.Sprintf(`{"name":"c%d","image":"main.example.com/prod/%s"}`, i, image)
	}
	spec, group := `{"containers":[`+strings.Join(containers, ",")+`]}`, ""
	if kind == "Deployment" {
		spec, group = `{"template":{"spec":`+spec+`}}`, "apps"
	}
	body := fmt.Appendf(nil, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":%q,"version":"v1","kind":%q},
"name":"x","namespace":%q,"operation":"CREATE","dryRun":true,"object":{"metadata":{"name":"x"},"spec":%s}}}`, group, kind, namespace, spec)
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, "/validate?timeout="+timeout, bytes.NewReader(body)))
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil || review.Response.UID != "u" {
		t.Errorf("no complete answer: %v: %s", err, w.Body)
		return &admissionv1.AdmissionResponse{}
	}
	return review.Response
}

// pod sends a pod of the image app, and returns whether it is allowed and the text
// that its user sees.
func (d *door) pod(t *testing.T, timeout string) (allowed bool, text string) {
	t.Helper()
	r := d.review(t, timeout, "prod", "Pod", "app")
	return r.Allowed, said(r)
}

// said returns the whole text that a user sees.
func said(r *admissionv1.AdmissionResponse) string {
	text := strings.Join(r.Warnings, "\n")
	if r.Result != nil {
		text += r.Result.Message
	}
	return text
}
