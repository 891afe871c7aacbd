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

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestAClusterWithoutHssgate(t *testing.T) {
	t.Parallel()
	const missing = `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404,"message":"the server could not find the requested resource"}`
	const path = "/apis/hssgate.io/v1alpha1/"
	a := &apiServer{others: map[string]string{
		path + "imagescanpolicies": missing, path + "imagescanexceptions": missing, path + "namespaces/shop/imagescanexceptions": missing,
	}}
	c := a.cluster(t)
	_, policies := c.Policies(t.Context())
	_, exceptions := c.Exceptions(t.Context())
	_, created := c.CreateException(t.Context(), &v1alpha1.ImageScanException{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ImageScanException"}, ObjectMeta: metav1.ObjectMeta{Namespace: "shop"},
	}, false)
	for _, err := range []error{policies, exceptions, created} {
		if !errors.Is(err, check.ErrNotInstalled) {
			t.Errorf("got %v", err)
		}
	}
}

// apiServer answers lists of pods page by page, and what else it is told to.
type apiServer struct {
	// pages are by the continue token that asks for them.
	pages map[string]string
	// others are by their paths.
	others map[string]string
	asked  []string
	limits string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked = append(a.asked, r.URL.Path+" "+r.URL.Query().Get("continue"))
	answer, ok := a.others[r.URL.Path]
	if r.URL.Path == "/api/v1/pods" {
		a.limits += r.URL.Query().Get("limit") + " "
		answer, ok = a.pages[r.URL.Query().Get("continue")]
	}
	w.Header().Set("Content-Type", "application/json")
	var status struct{ Code int }
	if err := json.Unmarshal([]byte(answer), &status); !ok || err != nil {
		status.Code = http.StatusInternalServerError
	}
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
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func podPage(next string, pods ...string) string {
	items := ""
	for i, pod := range pods {
		if i > 0 {
			items += ","
		}
		items += fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":%q}}`, pod)
	}
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"PodList","metadata":{"continue":%q},"items":[%s]}`, next, items)
}

func TestPodsAreReadPageByPage(t *testing.T) {
	t.Parallel()
	expired := func(metadata string) string {
		return `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Expired","code":410,"metadata":{` + metadata + `}}`
	}
	const deleted = `{"apiVersion":"v1","kind":"PodList","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"going","deletionTimestamp":"2026-11-23T12:00:00Z"}}]}`
	for name, tt := range map[string]struct {
		pages map[string]string
		want  []string
		fails bool
	}{
		"several pages":                    {map[string]string{"": podPage("two", "a", "b"), "two": podPage("", "c")}, []string{"a", "b", "c"}, false},
		"a list that expires is continued": {map[string]string{"": podPage("two", "a"), "two": expired(`"continue":"on"`), "on": podPage("", "c")}, []string{"a", "c"}, false},
		"a list that expires for good":     {map[string]string{"": podPage("two", "a"), "two": expired("")}, nil, true},
		"a broken page":                    {map[string]string{"": podPage("two", "a"), "two": "{"}, nil, true},
		"a pod that is being deleted":      {map[string]string{"": deleted}, nil, false},
	} {
		var names []string
		a := &apiServer{pages: tt.pages}
		objects, err := a.cluster(t).Pods(t.Context(), "", "")
		for i := range objects {
			names = append(names, objects[i].Name)
		}
		if diff := cmp.Diff(tt.want, names); diff != "" || (err != nil) != tt.fails {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if a.limits != strings.Repeat("500 ", len(tt.pages)) {
			t.Errorf("%s: limits of pages are %q", name, a.limits)
		}
	}
}

func TestOwnersAreTheWorkloadsThatPeopleKnow(t *testing.T) {
	t.Parallel()
	owned := func(kind, name string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"X","metadata":{"name":"x","ownerReferences":[{"apiVersion":"x/v1","kind":%q,"name":%q,"controller":true}]}}`, kind, name)
	}
	a := &apiServer{others: map[string]string{
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
