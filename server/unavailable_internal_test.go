package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

// door is the webhook with the preset baseline, before a fake HSS.
type door struct {
	hss       *hsstest.Server
	inventory *inventory.Inventory
	handler   *webhook.Handler
}

// baseline are the policies of the preset.
type baseline struct{ index *gate.Index }

func (b baseline) Index() *gate.Index { return b.index }

// newDoor takes lines that replace those of the project and of the whole
// configuration with the same names.
func newDoor(t *testing.T, project map[string]string, dryRun bool) *door {
	t.Helper()
	d := &door{hss: hsstest.NewServer(hsstest.WithImages(
		hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1", ImageType: "private_image", ScanStatus: "success", SeverityLevel: "Low", VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0), LatestScanTime: time.UnixMilli(1_000_000)},
	))}
	t.Cleanup(d.hss.Close)
	folder := t.TempDir()
	for name, content := range map[string]string{"ak": hsstest.DefaultCredential().AccessKey, "sk": hsstest.DefaultCredential().SecretKey} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The time limits don't matter on a slow machine.
	lines := map[string]string{
		"name": "bj4", "endpoint": d.hss.URL, "projectID": "p1", "requestTimeout": "5m", "lookupTimeout": "10m",
		"credentials": fmt.Sprintf("{source: Files, accessKeyFile: %[1]s/ak, secretKeyFile: %[1]s/sk}", folder),
	}
	maps.Copy(lines, project)
	text := fmt.Sprintf("apiVersion: config.hssgate.io/v1alpha1\nkind: Configuration\ndryRun: %v\nregistries:\n- {name: swr, hosts: [swr.example.com], project: bj4}\nprojects:\n- ", dryRun)
	for name, value := range lines {
		if value != "" {
			text += name + ": " + value + "\n  "
		}
	}
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	clients, err := inventory.NewClients(c, "hssgate/test")
	if err != nil {
		t.Fatal(err)
	}
	if d.inventory, err = inventory.New(inventory.Options{Config: c, Clients: clients, Explained: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.inventory.Close)
	decider := &gate.Gate{Policies: baseline{presetIndex(t)}, Facts: d.inventory, Clock: clock.RealClock{}}
	d.handler = NewHandler(c, Reviews{Decider: decider, Log: slog.New(slog.DiscardHandler)})
	return d
}

func presetIndex(t *testing.T) *gate.Index {
	t.Helper()
	manifest, err := presets.Policy("baseline")
	if err != nil {
		t.Fatal(err)
	}
	p := &v1alpha1.ImageScanPolicy{}
	if err := yaml.UnmarshalStrict(manifest, p); err != nil {
		t.Fatal(err)
	}
	compiled, err := policy.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return gate.NewIndex([]*policy.Policy{compiled})
}

// review sends a pod of an image, as the API server does.
func (d *door) review(t *testing.T, image, timeout string) *admissionv1.AdmissionResponse {
	t.Helper()
	pod, err := json.Marshal(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "prod"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "swr.example.com/prod/" + image}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "705ab4f5", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Name: "web", Namespace: "prod",
			Operation: admissionv1.Create, Object: k8sruntime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	d.handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate?timeout="+timeout, bytes.NewReader(body)))
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer.Response == nil {
		t.Fatalf("the answer is no review: %v: %s", err, recorder.Body)
	}
	return answer.Response
}

// said is all that an answer shows to a user.
func said(r *admissionv1.AdmissionResponse) string {
	text := strings.Join(r.Warnings, "\n")
	if r.Result != nil {
		text += r.Result.Message
	}
	return text
}

func TestBaselineDeniesWhatHssgateItselfFailsToEvaluate(t *testing.T) {
	t.Parallel()
	const configuration, correct = "not evaluated because of hssgate's own configuration: ", "to do: an administrator of hssgate has to correct its configuration"
	tests := map[string]struct {
		fault   *hsstest.Fault
		project map[string]string
		dryRun  bool
		denied  bool
		say     []string
	}{
		"HSS answers":                 {},
		"HSS refuses the access key":  {fault: new(hsstest.StatusFault(http.StatusUnauthorized)), denied: true, say: []string{configuration, "HSS refused the credentials", "401", correct}},
		"HSS denies permission":       {fault: new(hsstest.StatusFault(http.StatusForbidden)), denied: true, say: []string{configuration, "HSS answered 403", correct}},
		"no such API at the endpoint": {fault: new(hsstest.StatusFault(http.StatusNotFound)), denied: true, say: []string{configuration, "HSS answered 404", correct}},
		"there are no credentials":    {project: map[string]string{"credentials": "{source: TokenFile, tokenFile: /nonexistent/token}"}, denied: true, say: []string{configuration, "/nonexistent/token", correct}},
		"there is no project ID":      {project: map[string]string{"projectID": ""}, denied: true, say: []string{configuration, "no project", correct}},
		"dry-run mode denies nothing": {fault: new(hsstest.StatusFault(http.StatusUnauthorized)), dryRun: true, say: []string{configuration, "HSS refused the credentials"}},
		"an outage stays under when":  {fault: new(hsstest.StatusFault(http.StatusServiceUnavailable)), say: []string{"HSS answered 503"}},
		"an error stays under when":   {fault: new(hsstest.StatusFault(http.StatusInternalServerError)), say: []string{"HSS answered 500"}},
		"throttling stays under when": {fault: new(hsstest.ThrottleFault("3600")), say: []string{"HSS answered 429"}},
		"a proxy's page stays so":     {fault: new(hsstest.HTMLFault(http.StatusOK)), say: []string{"a page of HTML"}},
		"no connection stays so":      {project: map[string]string{"endpoint": "http://127.0.0.1:1"}, say: []string{"connection refused"}},
		"no answer in time stays so":  {fault: new(hsstest.HangFault()), say: []string{"HSS did not answer in time"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, test.project, test.dryRun)
			if test.fault != nil {
				d.hss.Inject(test.fault.Times(0))
			}
			got := d.review(t, "app:1", "10s")
			if got.Allowed == test.denied {
				t.Errorf("allowed is %v, want %v", got.Allowed, !test.denied)
			}
			for _, want := range test.say {
				if !strings.Contains(said(got), want) {
					t.Errorf("it does not say %q:\n%s", want, said(got))
				}
			}
		})
	}
}

func TestAKnownResultAnswersWhateverIsWrongWithTheConfiguration(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil, false)
	for range 2 {
		if got := d.review(t, "app:1", "30s"); !got.Allowed {
			t.Errorf("denied: %s", said(got))
		}
		d.hss.Inject(hsstest.StatusFault(http.StatusUnauthorized).Times(0))
	}
}

func TestBaselineDeniesWhatHssgatesOwnLimitsKeepBack(t *testing.T) {
	t.Parallel()
	const limits = "not evaluated because of hssgate's own limits: "
	t.Run("a full queue", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t, map[string]string{"maxConcurrent": "1", "maxWaiting": "1"}, false)
		d.review(t, "app:1", "30s") // HSS is well
		d.hss.Inject(hsstest.HangFault().Times(0))
		for n, loaded := range []func(inventory.ProjectStats) bool{
			func(s inventory.ProjectStats) bool { return s.UnderWay == 1 },
			func(s inventory.ProjectStats) bool { return s.Waiting == 1 },
		} {
			ref, err := image.Parse(fmt.Sprintf("swr.example.com/prod/other:%d", n))
			if err != nil {
				t.Fatal(err)
			}
			go d.inventory.Facts(t.Context(), ref)
			for !loaded(d.inventory.Stats().Projects[0]) {
				time.Sleep(time.Millisecond)
			}
		}
		got := d.review(t, "app:2", "30s")
		if got.Allowed || !strings.Contains(said(got), limits+"HSS is not asked, since 1 images already wait") || !strings.Contains(said(got), "to do: try again shortly") {
			t.Errorf("allowed is %v: %s", got.Allowed, said(got))
		}
	})
	t.Run("its own rate limit", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t, map[string]string{"requestsPerSecond": "0.002", "burst": "1"}, false)
		d.review(t, "app:1", "30s") // takes the only request
		got := d.review(t, "app:2", "5s")
		if got.Allowed || !strings.Contains(said(got), limits) || !strings.Contains(said(got), "requestsPerSecond") {
			t.Errorf("allowed is %v: %s", got.Allowed, said(got))
		}
	})
}

func TestPoliciesShowWhetherHSSAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault   *hsstest.Fault
		project map[string]string
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		"HSS answers":                {status: "True", reason: "Answers", message: "HSS answers for project bj4"},
		"there are no credentials":   {project: map[string]string{"credentials": "{source: TokenFile, tokenFile: /nonexistent/token}"}, status: "False", reason: "Misconfigured", message: "/nonexistent/token"},
		"there is no project ID":     {project: map[string]string{"projectID": ""}, status: "False", reason: "Misconfigured", message: "no project ID"},
		"HSS refuses the access key": {fault: new(hsstest.StatusFault(http.StatusUnauthorized)), status: "False", reason: "Misconfigured", message: "project bj4: HSS refuses the access key HSSTESTACCESSKEY"},
		"HSS denies permission":      {fault: new(hsstest.StatusFault(http.StatusForbidden)), status: "False", reason: "Misconfigured", message: "no permission"},
		"the network fails":          {project: map[string]string{"endpoint": "http://127.0.0.1:1"}, status: "False", reason: "Unavailable", message: "connection refused"},
		"HSS fails":                  {fault: new(hsstest.StatusFault(http.StatusServiceUnavailable)), status: "False", reason: "Unavailable", message: "HSS answered 503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, test.project, false)
			if test.fault != nil {
				d.hss.Inject(test.fault.Times(0))
			}
			hss := controller.NewHSS(checkHSS(d.inventory), clock.RealClock{})
			if got := hss.Condition(1); got.Status != metav1.ConditionUnknown || got.Message != "HSS has not been called yet" {
				t.Errorf("before the first check: %+v", got)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- hss.Start(ctx) }()
			for hss.Reachable() == metav1.ConditionUnknown {
				time.Sleep(time.Millisecond)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if got := hss.Condition(1); got.Status != test.status || got.Reason != test.reason || !strings.Contains(got.Message, test.message) || strings.Contains(got.Message, "\n") || strings.Contains(got.Message, "(request ") {
				t.Errorf("got %s %s: %s; want %s %s: %s", got.Status, got.Reason, got.Message, test.status, test.reason, test.message)
			}
		})
	}
}
