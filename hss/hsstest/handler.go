package hsstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Endpoint is one call of the API.
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
	// EndpointProjects is IAM's GET /v3/projects.
	EndpointProjects Endpoint = "projects"
)

// Handler serves the API. [NewServer] serves one on the loopback interface. All methods are safe for concurrent use.
type Handler struct {
	options    *options
	parameters parameters[Image]
	store      store
	jobs       jobs
	faults     faultQueue
	counters   counters
	throttle   throttle
	latency    atomic.Int64
	requests   atomic.Uint64

	mu     sync.Mutex // guards closed, and active against Add after Wait
	closed bool
	done   chan struct{}
	active sync.WaitGroup
}

// NewHandler returns a handler. Close it if faults may hang.
func NewHandler(list ...Option) *Handler {
	o := newOptions(list)
	h := &Handler{options: o, parameters: imageParameters(o.substring), done: make(chan struct{}), store: store{shuffle: o.shuffle}}
	h.jobs.registries = slices.Clone(o.Registries)
	h.SetLatency(o.latency)
	h.SetImages(o.Images...)
	h.Inject(o.faults...)
	return h
}

// SetImages replaces the inventory. Requests in progress still see the old one.
func (h *Handler) SetImages(images ...Image) {
	h.Update(func([]Image) []Image { return images })
}

// Update replaces the inventory by the result of change, which gets a copy, excludes other changes and must not call
// the handler.
func (h *Handler) Update(change func([]Image) []Image) { h.store.update(change) }

// Images returns a copy of the inventory, with assigned IDs, as scans and synchronizations have changed it by now.
func (h *Handler) Images() []Image {
	h.advance(false)
	return cloneImages(h.store.rows.Load().given)
}

// SetLatency delays further responses by d.
func (h *Handler) SetLatency(d time.Duration) { h.latency.Store(int64(d)) }

// Close ends hanging, delayed and slow responses. Further requests are cut off.
func (h *Handler) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.done)
	}
}

// enter reports whether the handler is open, and counts a request in progress if so.
func (h *Handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.active.Add(1)
	}
	return !h.closed
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		panic(http.ErrAbortHandler)
	}
	defer h.active.Done()
	h.counters.begin(r)
	defer h.counters.add(func(s *Stats) { s.InFlight-- })
	id := fmt.Sprintf("%032x", h.requests.Add(1))
	w.Header().Set("X-Request-Id", id)
	if route(r).endpoint == EndpointProjects {
		w.Header().Set("X-IAM-Trace-Id", id)
	}
	h.pause(r.Context(), time.Duration(h.latency.Load()))
	if fault, ok := h.faults.take(r); ok {
		h.counters.count(r, func(e *EndpointStats) { e.Faults++ })
		fault.serve(h, w, r)
		return
	}
	h.answer(w, r)
}

// pause waits for d, and aborts the response if the client leaves or the handler closes.
func (h *Handler) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	case <-h.done:
		panic(http.ErrAbortHandler)
	}
}

// call is a request of an endpoint.
type call struct {
	endpoint Endpoint
	project  string
	imageID  string // in the path of EndpointVulnerabilities
	query    string
	header   http.Header
	body     []byte
}

// route returns the call of a request, whose endpoint is empty if there is none.
func route(r *http.Request) *call {
	c := &call{query: r.URL.RawQuery, header: r.Header}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/v3/projects":
		c.endpoint = EndpointProjects
		return c
	case len(path) < 4 || path[0] != "v5" || path[1] == "" || path[2] != "image":
		return c
	}
	c.project = path[1]
	switch r.Method + " " + strings.Join(path[3:], "/") {
	case "GET registries/images":
		c.endpoint = EndpointImages
	case "GET registries":
		c.endpoint = EndpointRegistries
	case "POST image-scan/tasks":
		c.endpoint = EndpointScan
	case "POST image-sync/tasks":
		c.endpoint = EndpointSync
	case "GET " + path[3] + "/vulnerabilities":
		c.endpoint, c.imageID = EndpointVulnerabilities, path[3]
	}
	return c
}

// response is what an endpoint answers. Without a body it is empty.
type response struct {
	body any
	rows int
}

// answer serves a request as HSS would.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request) {
	answer, err := h.serve(r)
	if err != nil {
		h.counters.count(r, func(e *EndpointStats) { e.Failures++ })
		asAPIError(err).write(w)
		return
	}
	h.counters.count(r, func(e *EndpointStats) { e.Rows += answer.rows })
	if answer.body != nil {
		writeJSON(w, http.StatusOK, answer.body)
	}
}

// serve passes a request through the gateway to its endpoint.
func (h *Handler) serve(r *http.Request) (response, error) {
	c := route(r)
	if c.endpoint == "" {
		return response{}, gatewayError(http.StatusNotFound, codeNoSuchAPI,
			"The API does not exist or has not been published in the environment")
	}
	var err error
	if c.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); err != nil || len(c.body) > maxBody {
		return response{}, gatewayError(http.StatusRequestEntityTooLarge, codeTooLarge, "the body cannot be read or is too large")
	}
	credential, err := h.options.authenticate(r, c.body)
	if err != nil {
		return response{}, err
	}
	if !h.throttle.allow(h.options) {
		return response{}, throttled(h.options.retryAfter)
	}
	if c.endpoint == EndpointProjects {
		return h.projects(c)
	}
	if err := h.checkProject(c, credential); err != nil {
		return response{}, err
	}
	h.advance(false)
	switch c.endpoint {
	case EndpointVulnerabilities:
		return h.vulnerabilities(c)
	case EndpointScan:
		return h.scan(c)
	case EndpointSync:
		return h.sync(c)
	case EndpointRegistries:
		return h.listRegistries(c)
	}
	return h.list(c)
}

func (h *Handler) checkProject(c *call, credential *Credential) error {
	header := c.header.Get("X-Project-Id")
	switch {
	case len(h.options.Projects) > 0 && !slices.Contains(h.options.Projects, c.project):
		return serviceError(http.StatusBadRequest, codeAccessDenied, "Access denied.", fmt.Sprintf("project %q does not exist", c.project))
	case header != "" && header != c.project:
		return serviceError(http.StatusBadRequest, codeAccessDenied, "Access denied.",
			fmt.Sprintf("header X-Project-Id is %q, allowed: %q as in the path", header, c.project))
	case credential != nil && len(credential.Projects) > 0 && !slices.Contains(credential.Projects, c.project):
		return serviceError(http.StatusBadRequest, codeNoPermission, "No permission.",
			fmt.Sprintf("the access key may not use project %q", c.project))
	}
	return nil
}

// decodePost checks the query and reads the body of a POST, in which unknown fields are errors.
func (c *call) decodePost(into any, known parameters[Image]) (*request[Image], error) {
	known[fieldEnterpriseProject] = parameter[Image]{check: length(1, 256)}
	q, err := known.parse(c.query)
	if err != nil {
		return nil, err
	}
	if kind := c.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return nil, fmt.Errorf("the content type is %q, allowed: application/json", kind)
	}
	decoder := json.NewDecoder(bytes.NewReader(c.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return nil, fmt.Errorf("cannot read the body: %w", err)
	}
	return q, nil
}

// throttle counts the requests of the present second.
type throttle struct {
	mu    sync.Mutex
	start time.Time
	count int
}

func (t *throttle) allow(o *options) bool {
	if o.perSecond <= 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := o.now()
	if since := now.Sub(t.start); since >= time.Second || since < 0 {
		t.start, t.count = now, 0
	}
	t.count++
	return t.count <= o.perSecond
}

func throttled(retryAfter time.Duration) *apiError {
	err := gatewayError(http.StatusTooManyRequests, codeThrottled, "The throttling threshold has been reached")
	if retryAfter > 0 {
		err.retryAfter = strconv.FormatInt(int64((retryAfter+time.Second-1)/time.Second), 10)
	}
	return err
}

// Error codes of HSS and of the API gateway.
const (
	codeInvalidParameter = "HSS.0001"
	codeAccessDenied     = "HSS.0010"
	codeNotFound         = "HSS.0011"
	codeNoPermission     = "HSS.0013"
	codeNoSuchAPI        = "APIGW.0101"
	codeTooLarge         = "APIGW.0201"
	codeUnauthorized     = "APIGW.0301"
	codeClockSkew        = "APIGW.0303"
	codeThrottled        = "APIGW.0308"
)

// apiError is an error response in one of the two documented shapes.
type apiError struct {
	status     int
	retryAfter string
	gateway    bool
	body       map[string]string
}

func (e *apiError) Error() string { return fmt.Sprint(e.status, e.body) }

// gatewayError is an error of the API gateway.
func gatewayError(status int, code, message string) *apiError {
	return &apiError{status: status, gateway: true, body: map[string]string{"error_code": code, "error_msg": message}}
}

// serviceError is an error of HSS.
func serviceError(status int, code, message, description string) *apiError {
	return &apiError{status: status,
		body: map[string]string{"error_code": code, "error_msg": message, "error_description": description}}
}

func invalidParameter(format string, values ...any) *apiError {
	return serviceError(http.StatusBadRequest, codeInvalidParameter, "Invalid parameter.", fmt.Sprintf(format, values...))
}

func notFound(format string, values ...any) *apiError {
	return serviceError(http.StatusBadRequest, codeNotFound, "Not found.", fmt.Sprintf(format, values...))
}

// asAPIError turns any other error into one about a parameter.
func asAPIError(err error) *apiError {
	if known, ok := errors.AsType[*apiError](err); ok {
		return known
	}
	return invalidParameter("%v", err)
}

func (e *apiError) write(w http.ResponseWriter) {
	if e.gateway {
		e.body["request_id"] = w.Header().Get("X-Request-Id")
	}
	if e.retryAfter != "" {
		w.Header().Set("Retry-After", e.retryAfter)
	}
	writeJSON(w, e.status, e.body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // the bodies are plain structs and maps
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // an error means that the client has left
}
