package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
)

// testUninstall looks through every kind of object that the API server has.
func testUninstall(t *testing.T, c *cluster) {
	c.enforce(t)
	c.helm(t, helm4, "uninstall", release, "--namespace", namespace, "--wait", "--timeout", patience.String())
	want := []string{
		"configmaps hss-ca", // of the test itself, with the next one
		"customresourcedefinitions.apiextensions.k8s.io imagescanexceptions.hssgate.io",
		"customresourcedefinitions.apiextensions.k8s.io imagescanhistories.hssgate.io",
		"customresourcedefinitions.apiextensions.k8s.io imagescanpolicies.hssgate.io",
		"secrets hss-keys",
	}
	eventually(t, func() error {
		if diff := cmp.Diff(want, c.leftOvers(t)); diff != "" {
			return fmt.Errorf("what is left behind (-want +got):\n%s", diff)
		}
		return nil
	})
	c.startPod(t, shop, "after-uninstall", badImage)
}

// leftOvers returns the objects in the release's namespace, and those named after
// hssgate elsewhere, but for what every namespace has.
func (c *cluster) leftOvers(t *testing.T) []string {
	t.Helper()
	client, err := metadata.NewForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := c.client.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists) {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			found = append(found, leftOversOf(t, client, group.WithResource(resource.Name))...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func leftOversOf(t *testing.T, client metadata.Interface, resource schema.GroupVersionResource) []string {
	t.Helper()
	// Events expire, and an APIService comes and goes with its definitions.
	if resource.Resource == "events" || resource.Resource == "apiservices" {
		return nil
	}
	objects, err := client.Resource(resource).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("list %s: %v", resource.GroupResource(), err)
	}
	var found []string
	for _, object := range objects.Items {
		ofNamespace := object.Name == namespace || object.Name == "default" || object.Name == "kube-root-ca.crt"
		if !ofNamespace && (object.Namespace == namespace || strings.Contains(object.Name, "hssgate")) {
			found = append(found, resource.GroupResource().String()+" "+object.Name)
		}
	}
	return found
}
