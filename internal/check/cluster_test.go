package check_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// apiServer has answers by their paths, and notes what it is asked. Another path is an
// API server in trouble.
type apiServer struct {
	answers map[string]string
	asked   []string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked = append(a.asked, r.URL.Path)
	answer, ok := a.answers[r.URL.Path]
	var status struct{ Code int }
	if err := json.Unmarshal([]byte(answer), &status); !ok || err != nil {
		status.Code = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	if status.Code != 0 {
		w.WriteHeader(status.Code)
	}
	_, _ = w.Write([]byte(answer))
}

func (a *apiServer) cluster(t *testing.T) *check.Cluster {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	c, err := check.NewCluster(&rest.Config{Host: server.URL})
	must(t, err)
	return c
}

func TestAClusterWithoutHssgate(t *testing.T) {
	t.Parallel()
	const missing = `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404,"message":"the server could not find the requested resource"}`
	const path = "/apis/hssgate.io/v1alpha1/"
	a := &apiServer{answers: map[string]string{
		path + "imagescanpolicies": missing, path + "imagescanexceptions": missing, path + "namespaces/shop/imagescanexceptions": missing,
	}}
	c := a.cluster(t)
	_, policies := c.Policies(t.Context())
	_, exceptions := c.Exceptions(t.Context())
	created := c.CreateException(t.Context(), &v1alpha1.ImageScanException{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "one"}}, false)
	for _, err := range []error{policies, exceptions, created} {
		if !errors.Is(err, check.ErrNotInstalled) {
			t.Errorf("got %v", err)
		}
	}
	// An earlier version has no exceptions for the whole cluster.
	a.answers[path+"clusterimagescanexceptions"] = missing
	a.answers[path+"imagescanexceptions"] = `{"apiVersion":"hssgate.io/v1alpha1","kind":"ImageScanExceptionList","items":[{"metadata":{"namespace":"shop","name":"one"}}]}`
	if got, err := c.Exceptions(t.Context()); err != nil || len(got) != 1 || got[0].ClusterWide() {
		t.Errorf("got %+v, %v", got, err)
	}
	clusterWide := &v1alpha1.ImageScanException{TypeMeta: metav1.TypeMeta{Kind: v1alpha1.ClusterImageScanExceptionKind}}
	if err := c.CreateException(t.Context(), clusterWide, false); err == nil || !strings.Contains(err.Error(), "upgrade hssgate in it") {
		t.Errorf("got %v", err)
	}
}

func TestPodsThatAreBeingDeletedAreLeftOut(t *testing.T) {
	t.Parallel()
	const pods = `{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"going","deletionTimestamp":"2026-11-23T12:00:00Z"}},{"metadata":{"name":"web"}}]}`
	for path, want := range map[string]int{"/api/v1/pods": 1, "/nowhere": 0} {
		c := (&apiServer{answers: map[string]string{path: pods}}).cluster(t)
		if got, err := c.Pods(t.Context(), "", ""); len(got) != want || (err == nil) != (want == 1) || want == 1 && got[0].Name != "web" {
			t.Errorf("%s: got %+v, %v", path, got, err)
		}
	}
}

func TestOwnersAreTheWorkloadsThatPeopleKnow(t *testing.T) {
	t.Parallel()
	owned := func(kind, name string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"X","metadata":{"name":"x","ownerReferences":[{"apiVersion":"x/v1","kind":%q,"name":%q,"controller":true}]}}`, kind, name)
	}
	a := &apiServer{answers: map[string]string{
		"/apis/apps/v1/namespaces/shop/replicasets/web-5d4f":  owned("Deployment", "web"),
		"/apis/apps/v1/namespaces/shop/replicasets/alone":     `{"apiVersion":"v1","kind":"X","metadata":{"name":"alone"}}`,
		"/apis/apps/v1/namespaces/shop/replicasets/gone":      `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404}`,
		"/apis/apps/v1/namespaces/shop/replicasets/forbidden": `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","code":403}`,
		"/apis/batch/v1/namespaces/shop/jobs/report-29400":    owned("CronJob", "report"),
	}}
	cluster := a.cluster(t)
	for owner, want := range map[string]string{
		"ReplicaSet/web-5d4f": "Deployment/web", "Job/report-29400": "CronJob/report", "ReplicaSet/alone": "ReplicaSet/alone",
		"ReplicaSet/gone": "ReplicaSet/gone", "ReplicaSet/forbidden": "ReplicaSet/forbidden", "StatefulSet/db": "StatefulSet/db",
	} {
		for range 2 { // the second time from memory
			if got, err := cluster.TopOwner(t.Context(), "shop", ownerOf(owner)); got.String() != want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", owner, got, err, want)
			}
		}
	}
	if slices.Sort(a.asked); len(a.asked) != 5 {
		t.Errorf("asked %q, want each once", a.asked)
	}
	if _, err := cluster.TopOwner(t.Context(), "shop", ownerOf("ReplicaSet/broken")); err == nil {
		t.Error("an API server in trouble is no error")
	}
}

// ownerOf returns the owner of KIND/NAME.
func ownerOf(text string) image.Owner {
	kind, name, _ := strings.Cut(text, "/")
	if kind == "Job" {
		return image.Owner{APIVersion: "batch/v1", Kind: kind, Name: name}
	}
	return image.Owner{APIVersion: "apps/v1", Kind: kind, Name: name}
}
