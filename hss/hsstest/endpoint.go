package hsstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Endpoint is one call of the API that the server answers.
type Endpoint string

// The endpoints.
const (
	// EndpointImages is GET image/registries/images.
	EndpointImages Endpoint = "images"
	// EndpointVulnerabilities is GET image/{image_id}/vulnerabilities.
	EndpointVulnerabilities Endpoint = "vulnerabilities"
	// EndpointScan is POST image/image-scan/tasks.
	EndpointScan Endpoint = "scan"
	// EndpointSync is POST image/image-sync/tasks.
	EndpointSync Endpoint = "sync"
	// EndpointRegistries is GET image/registries.
	EndpointRegistries Endpoint = "registries"
	// EndpointTasks is GET image/tasks.
	EndpointTasks Endpoint = "tasks"
	// EndpointProjects is IAM's GET /v3/projects.
	EndpointProjects Endpoint = "projects"
)

// call is a request that found its endpoint.
type call struct {
	endpoint Endpoint
	project  string
	// imageID is that of the path, if it has one.
	imageID string
	query   string
	header  http.Header
	body    []byte
}

// endpointOf finds the endpoint of a request; the empty one if there is none.
func endpointOf(r *http.Request) Endpoint { return route(r).endpoint }

// route finds the endpoint, and the project, of a request.
func route(r *http.Request) call {
	if r.Method == http.MethodGet && r.URL.Path == "/v3/projects" {
		return call{endpoint: EndpointProjects, query: r.URL.RawQuery, header: r.Header}
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v5/")
	project, path, _ := strings.Cut(rest, "/")
	if !ok || project == "" {
		return call{}
	}
	found := call{project: project, query: r.URL.RawQuery, header: r.Header}
	found.endpoint = map[string]Endpoint{
		"GET image/registries/images": EndpointImages,
		"POST image/image-scan/tasks": EndpointScan,
		"POST image/image-sync/tasks": EndpointSync,
		"GET image/registries":        EndpointRegistries,
		"GET image/tasks":             EndpointTasks,
	}[r.Method+" "+path]
	parts := strings.Split(path, "/")
	if r.Method == http.MethodGet && len(parts) == 3 && parts[0] == "image" && parts[1] != "" && parts[2] == "vulnerabilities" {
		found.endpoint, found.imageID = EndpointVulnerabilities, parts[1]
	}
	return found
}

// readCall finds the endpoint of a request and reads its body, which stays
// there to be verified.
func readCall(r *http.Request) (call, error) {
	found := route(r)
	if r.Method != http.MethodPost || found.endpoint == "" {
		return found, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSignedBody+1))
	if err != nil {
		return found, fmt.Errorf("read body: %w", err)
	}
	if len(body) > maxSignedBody {
		return found, errors.New("the body is too large")
	}
	found.body = body
	r.Body = io.NopCloser(bytes.NewReader(body))
	return found, nil
}

// ForEndpoint makes the fault happen only to requests of one endpoint.
func (f Fault) ForEndpoint(endpoint Endpoint) Fault {
	return f.For(func(r *http.Request) bool { return endpointOf(r) == endpoint })
}
