package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// fakeAPI answers what hssgate reads from an API server with objects that never
// change, and accepts every write without storing it.
type fakeAPI struct {
	// kinds are those that hssgate reads, by the path of their collection.
	kinds   map[string]string
	objects map[string]any // lists by kind
}

// startFakeAPI serves the samples' namespaces and policies.
func (d *demo) startFakeAPI(ctx context.Context) (stop func() error, err error) {
	policies := "/apis/" + v1alpha1.GroupVersion.String() + "/"
	webhooks := "/apis/admissionregistration.k8s.io/v1/"
	defaultNamespace := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "default"}}}
	f := &fakeAPI{
		kinds: map[string]string{
			"/api/v1/namespaces": "Namespace", "/api/v1/pods": "Pod",
			policies + "imagescanpolicies": "ImageScanPolicy", policies + "imagescanexceptions": "ImageScanException",
			policies + "imagescanhistories":              "ImageScanHistory",
			webhooks + "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
			webhooks + "mutatingwebhookconfigurations":   "MutatingWebhookConfiguration",
		},
		objects: map[string]any{"Namespace": append(d.set.namespaces, defaultNamespace), "ImageScanPolicy": d.set.policies},
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until stop
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: demo, contexts: [{name: demo, context: {cluster: demo}}],
clusters: [{name: demo, cluster: {server: "http://%s"}}]}`, listener.Addr())
	return server.Close, os.WriteFile(d.path(kubeconfig), []byte(config), 0o600)
}

// ServeHTTP answers a request of hssgate.
func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, query := f.kinds[r.URL.Path], r.URL.Query()
	version := strings.TrimPrefix(strings.TrimPrefix(path.Dir(r.URL.Path), "/apis/"), "/api/")
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method != http.MethodGet:
		_, _ = io.Copy(w, r.Body)
	case kind != "" && query.Has("sendInitialEvents"):
		http.Error(w, "not supported: list first, then watch", http.StatusBadRequest)
	case kind != "" && query.Has("watch"):
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case kind != "":
		write(w, map[string]any{"apiVersion": version, "kind": kind + "List", "metadata": map[string]any{"resourceVersion": "1"}, "items": f.objects[kind]})
	default:
		f.discover(w, r)
	}
}

// discover answers what a client needs to know of the API's groups and resources.
func (f *fakeAPI) discover(w http.ResponseWriter, r *http.Request) {
	groups, resources := map[string]map[string]any{}, []any{}
	for collection, kind := range f.kinds {
		root := path.Dir(collection)
		if group, version, named := strings.Cut(strings.TrimPrefix(root, "/apis/"), "/"); named && group != "" {
			groups[group] = map[string]any{"name": group, "versions": []any{map[string]any{"groupVersion": group + "/" + version, "version": version}}}
		}
		if root == r.URL.Path {
			resources = append(resources, map[string]any{"name": path.Base(collection), "kind": kind, "verbs": []string{"get", "list", "watch"}})
		}
	}
	switch {
	case r.URL.Path == "/api":
		write(w, map[string]any{"versions": []string{"v1"}})
	case r.URL.Path == "/apis":
		write(w, map[string]any{"groups": slices.Collect(maps.Values(groups))})
	case len(resources) > 0:
		write(w, map[string]any{"resources": resources})
	default:
		http.NotFound(w, r)
	}
}

func write(w io.Writer, body any) {
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(http.ErrAbortHandler) // the connection is gone
	}
}
