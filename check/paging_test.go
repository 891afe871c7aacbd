package check_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/hssgate/hssgate/check"
)

// apiServer answers lists of pods page by page, and what else it is told to.
type apiServer struct {
	// pages are by the continue token that asks for them.
	pages map[string]string
	// others are by their paths.
	others map[string]string
	asked  []string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.asked = append(a.asked, r.URL.Path+" "+r.URL.Query().Get("continue"))
	answer, ok := a.others[r.URL.Path]
	if r.URL.Path == "/api/v1/pods" {
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

const expired = `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Expired","code":410,"metadata":{%s}}`

func TestPagesGoOnThoughTheAPIServerForgetsWhatTheyCameFrom(t *testing.T) {
	t.Parallel()
	a := &apiServer{pages: map[string]string{
		"":    podPage("two", "a", "b"),
		"two": fmt.Sprintf(expired, `"continue":"on"`),
		"on":  podPage("", "c"),
	}}
	var names []string
	err := a.cluster(t).Pods(t.Context(), check.Selection{}, func(objects []check.Object) error {
		for i := range objects {
			names = append(names, objects[i].Name)
		}
		return nil
	})
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestPagesEndInAnErrorThatNothingIsToBeDoneAbout(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]string{"forgotten for good": fmt.Sprintf(expired, ""), "broken": "{"} {
		a := &apiServer{pages: map[string]string{"": podPage("two", "a"), "two": page}}
		if err := a.cluster(t).Pods(t.Context(), check.Selection{}, func([]check.Object) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPodsThatAreBeingDeletedAreLeftOut(t *testing.T) {
	t.Parallel()
	going := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"going","deletionTimestamp":"2026-11-23T12:00:00Z"}}`
	a := &apiServer{pages: map[string]string{"": `{"apiVersion":"v1","kind":"PodList","items":[` + going + `]}`}}
	err := a.cluster(t).Pods(t.Context(), check.Selection{}, func(objects []check.Object) error {
		t.Errorf("got %+v", objects)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestOwnersAreTheWorkloadsThatPeopleKnow(t *testing.T) {
	t.Parallel()
	owned := func(kind, name string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"X","metadata":{"name":"x","ownerReferences":[{"kind":%q,"name":%q,"controller":true}]}}`, kind, name)
	}
	a := &apiServer{others: map[string]string{
		"/apis/apps/v1/namespaces/shop/replicasets/web-5d4f":  owned("Deployment", "web"),
		"/apis/apps/v1/namespaces/shop/replicasets/alone":     `{"apiVersion":"v1","kind":"X","metadata":{"name":"alone"}}`,
		"/apis/apps/v1/namespaces/shop/replicasets/gone":      `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404}`,
		"/apis/apps/v1/namespaces/shop/replicasets/forbidden": `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","code":403}`,
		"/apis/batch/v1/namespaces/shop/jobs/report-29400":    owned("CronJob", "report"),
	}}
	owners := &check.Owners{Cluster: a.cluster(t)}
	for owner, want := range map[string]string{
		"ReplicaSet/web-5d4f": "Deployment/web", "Job/report-29400": "CronJob/report", "ReplicaSet/alone": "ReplicaSet/alone",
		"ReplicaSet/gone": "ReplicaSet/gone", "ReplicaSet/forbidden": "ReplicaSet/forbidden", "StatefulSet/db": "StatefulSet/db",
	} {
		for range 2 { // the second time from memory
			if got, err := owners.Top(t.Context(), "shop", owner); got != want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", owner, got, err, want)
			}
		}
	}
	if slices.Sort(a.asked); len(a.asked) != 5 {
		t.Errorf("asked %q, want each once", a.asked)
	}
	if _, err := owners.Top(t.Context(), "shop", "ReplicaSet/broken"); err == nil {
		t.Error("an API server in trouble is no error")
	}
}
