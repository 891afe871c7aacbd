package hsstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// Endpoint is one call of the API.
type Endpoint string

// The endpoints.
const (
	// EndpointImages is GET image/registries/images.
	EndpointImages Endpoint = "images"
	// EndpointVulnerabilities is GET image/{image_id}/vulnerabilities.
	EndpointVulnerabilities Endpoint = "vulnerabilities"
	// EndpointCVEs is GET image/vulnerability/{vul_id}/cve.
	EndpointCVEs Endpoint = "cves"
	// EndpointImageVulnerabilities is GET images/vulnerabilities.
	EndpointImageVulnerabilities Endpoint = "image-vulnerabilities"
	// EndpointAffectedImages is GET vulnerability/images.
	EndpointAffectedImages Endpoint = "affected-images"
	// EndpointSecrets is GET image/{image_id}/sensitive.
	EndpointSecrets Endpoint = "secrets"
	// EndpointMaliciousFiles is GET image/{image_id}/malwares.
	EndpointMaliciousFiles Endpoint = "malicious-files"
	// EndpointScanStatistics is GET image/pay-per-scan/statistics.
	EndpointScanStatistics Endpoint = "scan-statistics"
	// EndpointScan is POST image/image-scan/tasks.
	EndpointScan Endpoint = "scan"
	// EndpointSync is POST image/image-sync/tasks.
	EndpointSync Endpoint = "sync"
	// EndpointRegistries is GET image/registries.
	EndpointRegistries Endpoint = "registries"
	// EndpointProjects is IAM's GET /v3/projects.
	EndpointProjects Endpoint = "projects"
	// EndpointToken is IAM's POST /v3.0/OS-AUTH/id-token/tokens.
	EndpointToken Endpoint = "token"
	// EndpointKeys is IAM's POST /v3.0/OS-CREDENTIAL/securitytokens.
	EndpointKeys Endpoint = "keys"
)

// maxBody bounds the body of a request.
const maxBody = 1 << 20

// Handler serves the API. [NewServer] serves one on the loopback interface. All methods are safe for concurrent use.
type Handler struct {
	options  *options
	mux      *http.ServeMux
	writing  sync.Mutex // held to replace images
	images   atomic.Pointer[[]Image]
	coming   coming
	faulty   sync.Mutex // of faults, which are to come
	faults   []Fault
	counters counters
	latency  atomic.Int64
	scanned  atomic.Int64 // successful scans
	requests atomic.Uint64

	// done is closed by close, once. Requests in progress hold active for reading.
	done   chan struct{}
	close  func()
	active sync.RWMutex
}

// NewHandler returns a handler. Close it if faults may hang.
func NewHandler(list ...Option) *Handler {
	o := newOptions(list)
	h := &Handler{options: o, mux: http.NewServeMux(), done: make(chan struct{})}
	for endpoint, route := range map[Endpoint]struct {
		pattern string
		serve   func(c *call) (any, error)
	}{
		EndpointImages:               {"GET /v5/{project}/image/registries/images", h.listImages},
		EndpointVulnerabilities:      {"GET /v5/{project}/image/{image}/vulnerabilities", h.listVulnerabilities},
		EndpointCVEs:                 {"GET /v5/{project}/image/vulnerability/{vulnerability}/cve", h.listCVEs},
		EndpointImageVulnerabilities: {"GET /v5/{project}/images/vulnerabilities", h.listImageVulnerabilities},
		EndpointAffectedImages:       {"GET /v5/{project}/vulnerability/images", h.listAffectedImages},
		EndpointSecrets:              {"GET /v5/{project}/image/{image}/sensitive", h.listSecrets},
		EndpointMaliciousFiles:       {"GET /v5/{project}/image/{image}/malwares", h.listMaliciousFiles},
		EndpointScanStatistics:       {"GET /v5/{project}/image/pay-per-scan/statistics", h.countScans},
		EndpointScan:                 {"POST /v5/{project}/image/image-scan/tasks", h.scan},
		EndpointSync:                 {"POST /v5/{project}/image/image-sync/tasks", h.sync},
		EndpointRegistries:           {"GET /v5/{project}/image/registries", h.listRegistries},
		EndpointProjects:             {"GET /v3/projects", h.listProjects},
		EndpointToken:                {"POST /v3.0/OS-AUTH/id-token/tokens", h.exchangeToken},
		EndpointKeys:                 {"POST /v3.0/OS-CREDENTIAL/securitytokens", h.createKeys},
		"":                           {"/", nil}, // any other
	} {
		h.mux.HandleFunc(route.pattern, func(w http.ResponseWriter, r *http.Request) {
			h.receive(w, r, &call{r, endpoint, route.serve, nil, w.Header()})
		})
	}
	h.close = sync.OnceFunc(func() { close(h.done) })
	h.coming.registries = o.registries
	h.images.Store(&[]Image{})
	h.SetImages(o.images...)
	h.SetLatency(o.latency)
	h.ResetStats()
	return h
}

// SetLatency delays further responses by d.
func (h *Handler) SetLatency(d time.Duration) { h.latency.Store(int64(d)) }

// Close ends hanging, delayed and slow responses, and returns once no request is in progress. Further ones are cut off.
func (h *Handler) Close() {
	h.close()
	h.active.Lock()
	defer h.active.Unlock()
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.active.RLock()
	defer h.active.RUnlock()
	h.mux.ServeHTTP(w, r)
}

type call struct {
	*http.Request

	endpoint Endpoint
	serve    func(c *call) (any, error)
	body     []byte
	answered http.Header // of the answer
}

// exchanges reports whether the request needs no authentication, as its body holds a token.
func (c *call) exchanges() bool { return c.endpoint == EndpointToken || c.endpoint == EndpointKeys }

func (c *call) project() string { return c.PathValue("project") }

// receive counts a request, and answers it unless a fault does.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, c *call) {
	h.counters.count(c.endpoint, func(e *EndpointStats) { e.Requests++ })
	if c.endpoint == EndpointImages {
		h.counters.add(func(s *Stats) { s.Queries[c.URL.Query().Encode()]++ })
	}
	id := fmt.Sprintf("%032x", h.requests.Add(1))
	w.Header().Set("X-Request-Id", id)
	if c.endpoint == EndpointProjects || c.exchanges() {
		w.Header().Set("X-IAM-Trace-Id", id)
	}
	h.pause(r.Context(), time.Duration(h.latency.Load()))
	if fault, ok := h.takeFault(c.endpoint); ok {
		fault.serve(h, w, c)
		return
	}
	h.answer(w, c)
}

// pause waits for d, and aborts the response if the client leaves or the handler closes.
func (h *Handler) pause(ctx context.Context, d time.Duration) {
	select {
	case <-h.done:
	case <-ctx.Done():
	case <-time.After(d):
		select {
		case <-h.done: // too
		default:
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// answer serves a request as HSS would. Without a body the answer is empty.
func (h *Handler) answer(w http.ResponseWriter, c *call) {
	body, err := h.pass(c)
	if err != nil {
		h.counters.count(c.endpoint, func(e *EndpointStats) { e.Failures++ })
		failed, ok := errors.AsType[*apiError](err)
		if !ok { // about a parameter
			failed = serviceError(http.StatusBadRequest, codeInvalidParameter, "Invalid parameter.", err.Error())
		}
		failed.write(w)
		return
	}
	if body != nil {
		status := http.StatusOK
		if c.exchanges() {
			status = http.StatusCreated
		}
		writeJSON(w, status, body)
	}
}

// pass passes a request through the gateway to its endpoint.
func (h *Handler) pass(c *call) (body any, err error) {
	if c.endpoint == "" {
		return nil, gatewayError(http.StatusNotFound, codeNoSuchAPI, "The API does not exist or has not been published in the environment")
	}
	if c.body, err = io.ReadAll(io.LimitReader(c.Body, maxBody+1)); err != nil || len(c.body) > maxBody {
		return nil, gatewayError(http.StatusRequestEntityTooLarge, codeTooLarge, "the body cannot be read or is too large")
	}
	if c.exchanges() {
		return c.serve(c)
	}
	if err := h.options.authenticate(c.Request, c.body); err != nil {
		return nil, err
	}
	if header := c.Header.Get("X-Project-Id"); header != "" && c.endpoint != EndpointProjects && header != c.project() {
		return nil, serviceError(http.StatusBadRequest, codeAccessDenied, "Access denied.",
			fmt.Sprintf("header X-Project-Id is %q, allowed: %q as in the path", header, c.project()))
	}
	h.advance()
	return c.serve(c)
}

// Error codes of HSS and of the API gateway.
const (
	codeInvalidParameter = "HSS.0001"
	codeAccessDenied     = "HSS.0010"
	codeNotFound         = "HSS.0011"
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

func gatewayError(status int, code, message string) *apiError {
	return &apiError{status: status, gateway: true, body: map[string]string{"error_code": code, "error_msg": message}}
}

func serviceError(status int, code, message, description string) *apiError {
	return &apiError{status: status,
		body: map[string]string{"error_code": code, "error_msg": message, "error_description": description}}
}

func notFound(format string, values ...any) *apiError {
	return serviceError(http.StatusBadRequest, codeNotFound, "Not found.", fmt.Sprintf(format, values...))
}

func (e *apiError) write(w http.ResponseWriter) {
	body := maps.Clone(e.body)
	if e.gateway {
		body["request_id"] = w.Header().Get("X-Request-Id")
	}
	if e.retryAfter != "" {
		w.Header().Set("Retry-After", e.retryAfter)
	}
	writeJSON(w, e.status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := inventoryfile.Marshal(body)
	if err != nil {
		panic(err) // the bodies are plain structs and maps
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text) // an error means that the client has left
}
