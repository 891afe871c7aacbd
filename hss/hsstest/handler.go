package hsstest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// Handler answers the endpoints, for a server of one's own. [NewServer]
// serves one on the loopback interface. All methods are safe for concurrent use.
type Handler struct {
	options    *options
	parameters map[string]parameter[query]
	auth       *authenticator
	throttle   *throttle
	store      *store
	tasks      *tasks
	faults     faultQueue
	counters   counters
	latency    atomic.Int64
	requests   atomic.Uint64

	mu     sync.Mutex // guards closed, and active against Add after Wait
	closed bool
	done   chan struct{}
	active sync.WaitGroup
}

// NewHandler makes a handler. Close it if faults may hang.
func NewHandler(list ...Option) *Handler {
	o := newOptions(list)
	rows := &store{shuffle: o.shuffle}
	h := &Handler{options: o, parameters: parameters(), done: make(chan struct{}),
		store: rows, tasks: &tasks{times: o.scanTimes, store: rows, known: slices.Clone(o.registries)},
		auth: &authenticator{open: o.withoutAuth, credentials: map[string]*Credential{}, lockout: newLockout(), now: o.now},
	}
	for _, c := range o.credentials {
		h.auth.credentials[c.AccessKey] = &c
	}
	for _, token := range o.tokens {
		h.auth.tokens = append(h.auth.tokens, &token)
	}
	if o.perSecond > 0 {
		h.throttle = &throttle{perSecond: o.perSecond, retryAfter: o.retryAfter, now: o.now}
	}
	h.SetLatency(o.latency)
	h.SetImages(o.images...)
	h.Inject(o.faults...)
	return h
}

// SetImages replaces the inventory. Requests under way still see the old one.
func (h *Handler) SetImages(images ...Image) { h.store.set(images) }

// Update replaces the inventory by what change makes of it. No other change
// happens meanwhile. change gets a copy, and must not call the handler.
func (h *Handler) Update(change func([]Image) []Image) { h.store.update(change) }

// Images is a copy of the inventory, with the IDs that were assigned, as scans
// and synchronisations have changed it by now.
func (h *Handler) Images() []Image {
	h.tasks.advance(h.options.now(), false)
	return cloneImages(h.store.rows.Load().given)
}

// SetLatency delays every further answer by d.
func (h *Handler) SetLatency(d time.Duration) { h.latency.Store(int64(d)) }

// Close ends hanging, delayed and slow answers. Further requests are cut off.
func (h *Handler) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	close(h.done)
}

// enter tells whether the handler is open, and then counts a request that leave ends.
func (h *Handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.active.Add(1)
	return true
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		panic(http.ErrAbortHandler)
	}
	defer h.active.Done()
	h.counters.begin(r)
	defer h.counters.end()
	id := fmt.Sprintf("%032x", h.requests.Add(1))
	w.Header().Set("X-Request-Id", id)
	if endpointOf(r) == EndpointProjects {
		w.Header().Set("X-IAM-Trace-Id", id)
	}
	h.pause(r.Context(), time.Duration(h.latency.Load()))
	if fault, ok := h.faults.take(r); ok {
		h.counters.fault(endpointOf(r))
		fault.serve(h, w, r)
		return
	}
	h.answer(w, r)
}

// pause waits for d, and cuts the answer off if nobody waits for it any more.
func (h *Handler) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	case <-h.done:
		panic(http.ErrAbortHandler)
	}
}

// answer serves the request as HSS would.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request) {
	body, refused := h.serve(r)
	if refused != nil {
		h.counters.refuse(endpointOf(r), refused.status)
		refused.write(w, w.Header().Get("X-Request-Id"))
		return
	}
	h.counters.serve(endpointOf(r), body.rows())
	if _, empty := body.(emptyBody); empty {
		w.WriteHeader(http.StatusOK)
		return
	}
	writeJSON(w, http.StatusOK, body)
}

// answerBody is what an endpoint answers.
type answerBody interface {
	// rows is how many rows of a list there are.
	rows() int
}

// listBody is the answer to a request of a list.
type listBody[W any] struct {
	TotalNum int `json:"total_num"`
	DataList []W `json:"data_list"`
}

func (b *listBody[W]) rows() int { return len(b.DataList) }

// serve takes a request through the stages of the gateway, then of HSS.
func (h *Handler) serve(r *http.Request) (answerBody, *refusal) {
	asked, err := readCall(r)
	if asked.endpoint == "" {
		return nil, fromGateway(http.StatusNotFound, codeNoSuchAPI,
			"The API does not exist or has not been published in the environment")
	}
	if err != nil {
		return nil, fromGateway(http.StatusRequestEntityTooLarge, codeTooLarge, err.Error())
	}
	credential, refused := h.auth.authenticate(r)
	if refused != nil {
		return nil, refused
	}
	if refused := h.throttle.check(); refused != nil {
		return nil, refused
	}
	if asked.endpoint == EndpointProjects {
		return h.iamProjects(asked)
	}
	if refused := h.checkProject(asked.project, r.Header.Get("X-Project-Id"), credential); refused != nil {
		return nil, refused
	}
	h.tasks.advance(h.options.now(), false)
	return h.ask(asked)
}

// ask hands a request that was let in to its endpoint.
func (h *Handler) ask(asked call) (answerBody, *refusal) {
	switch asked.endpoint {
	case EndpointVulnerabilities:
		return h.vulnerabilities(asked)
	case EndpointScan:
		return h.scan(asked)
	case EndpointSync:
		return h.sync(asked)
	case EndpointRegistries:
		return h.registries(asked)
	case EndpointTasks:
		return h.tasks.list(asked, h.options)
	}
	return h.list(asked)
}

// list answers EndpointImages.
func (h *Handler) list(asked call) (answerBody, *refusal) {
	q, err := parseQuery(asked.query, h.parameters, h.options)
	if err != nil {
		return nil, invalidParameter(err)
	}
	rows, total := h.store.rows.Load().page(q, asked.project, h.options.repeatRows)
	body := &listBody[inventoryfile.WireImage]{TotalNum: total, DataList: make([]inventoryfile.WireImage, 0, len(rows))}
	for _, row := range rows {
		body.DataList = append(body.DataList, row.Wire())
	}
	return body, nil
}

func (h *Handler) checkProject(project, header string, credential *Credential) *refusal {
	if len(h.options.projects) > 0 && !slices.Contains(h.options.projects, project) {
		return fromService(codeAccessDenied, "Access denied.", fmt.Sprintf("project %q does not exist", project))
	}
	if header != "" && header != project {
		return fromService(codeAccessDenied, "Access denied.",
			fmt.Sprintf("header X-Project-Id is %q, allowed: %q as in the path", header, project))
	}
	if credential != nil && !mayAsk(credential, project) {
		return fromService(codeNoPermission, "No permission.", fmt.Sprintf("the access key may not use project %q", project))
	}
	return nil
}
