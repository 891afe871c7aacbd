package hsstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// maxTasks bounds the tasks that are remembered, which is what the API lists.
const maxTasks = 1000

// tasks holds what was started, and the registries.
type tasks struct {
	times scanTimes
	store *store

	// underWay is the length of active, for a look without the lock.
	underWay atomic.Int32

	mu     sync.Mutex
	number int
	active []*task
	all    []*task // the oldest first
	known  []Registry
}

// task is a scan or a synchronisation.
type task struct {
	id      int
	sync    bool
	project string
	begun   time.Time
	ended   time.Time // zero: under way
	// A scan has images, and the stage that their rows show.
	images    []int64
	scope     int64
	rate      int64
	stage     string
	succeeded int
	failed    []wireFailedImage
	// A synchronisation has registries.
	all        bool
	registries []registryKey
}

// begin remembers a task and starts it.
func (t *tasks) begin(begun *task) {
	t.mu.Lock()
	t.number++
	begun.id = t.number
	t.active = append(t.active, begun)
	t.underWay.Store(int32(min(len(t.active), math.MaxInt32)))
	t.all = append(t.all, begun)
	t.all = slices.Delete(t.all, 0, max(len(t.all)-maxTasks, 0))
	t.mu.Unlock()
	t.advance(begun.begun, false)
}

// synced notes when registries were read. The caller holds the lock.
func (t *tasks) synced(task *task, now time.Time) {
	for i := range t.known {
		if r := &t.known[i]; task.all || slices.Contains(task.registries, registryKey{r.ID, r.Type}) {
			r.LatestSyncTime = now
		}
	}
}

// emptyBody is the answer to a request that started something.
type emptyBody struct{}

func (emptyBody) rows() int { return 0 }

// postQuery is the query of a request that starts something.
type postQuery struct{ enterpriseProject string }

// decodePost checks the query of a POST and reads its body, in which unknown
// fields are errors.
func (h *Handler) decodePost(asked call, into any, known map[string]parameter[postQuery]) (*postQuery, *refusal) {
	known[fieldEnterpriseProject] = length(1, 256, func(q *postQuery, v string) { q.enterpriseProject = v })
	q := &postQuery{enterpriseProject: defaultEnterpriseProject}
	if err := readQuery(asked.query, known, h.options, q); err != nil {
		return nil, invalidParameter(err)
	}
	if !strings.HasPrefix(asked.header.Get("Content-Type"), "application/json") {
		return nil, invalidParameter(fmt.Errorf("the content type is %q, allowed: application/json", asked.header.Get("Content-Type")))
	}
	decoder := json.NewDecoder(bytes.NewReader(asked.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return nil, invalidParameter(fmt.Errorf("the body can't be read: %w", err))
	}
	return q, nil
}

// scanRequest is the body of EndpointScan.
type scanRequest struct {
	ScanScope *int64      `json:"scan_scope"`
	RateLimit *int64      `json:"rate_limit"`
	IsAll     bool        `json:"is_all"`
	ImageInfo []scanImage `json:"image_info"`
}

// scanImage names an image to scan.
type scanImage struct {
	ID           int64  `json:"id"`
	ImageID      string `json:"image_id"`
	ImageDigest  string `json:"image_digest"`
	RegistryID   string `json:"registry_id"`
	RegistryName string `json:"registry_name"`
	ImageName    string `json:"image_name"`
	ImageVersion string `json:"image_version"`
	Namespace    string `json:"namespace"`
	InstanceID   string `json:"instance_id"`
	InstanceURL  string `json:"instance_url"`
	RegistryType string `json:"registry_type"`
}

// names tells whether the request may mean the row: all that it says is true.
func (s *scanImage) names(row *Image) bool {
	if s.ID != 0 && s.ID != row.ID || s.ID == 0 && s.ImageName == "" {
		return false
	}
	for said, is := range map[*string]string{
		&s.ImageID: row.ImageID, &s.ImageDigest: row.ImageDigest, &s.RegistryID: row.RegistryID, &s.RegistryName: row.RegistryName,
		&s.ImageName: row.ImageName, &s.ImageVersion: row.ImageVersion, &s.Namespace: row.Namespace,
		&s.InstanceID: row.InstanceID, &s.InstanceURL: row.InstanceURL, &s.RegistryType: row.RegistryType,
	} {
		if *said != "" && *said != is {
			return false
		}
	}
	return true
}

// check says what is wrong with the body.
func (r *scanRequest) check() error {
	const everything, fastest = 0x7fffffff, 1000
	switch {
	case r.ScanScope != nil && (*r.ScanScope < 0 || *r.ScanScope > everything):
		return fmt.Errorf("scan_scope is %d, allowed: a mask up to 0x7fffffff", *r.ScanScope)
	case r.RateLimit != nil && (*r.RateLimit < 0 || *r.RateLimit > fastest):
		return fmt.Errorf("rate_limit is %d, allowed: 0 to 1000", *r.RateLimit)
	case !r.IsAll && len(r.ImageInfo) == 0:
		return errors.New("neither is_all nor image_info names an image")
	}
	return nil
}

// scan answers EndpointScan.
func (h *Handler) scan(asked call) (answerBody, *refusal) {
	var body scanRequest
	q, refused := h.decodePost(asked, &body, map[string]parameter[postQuery]{
		"global_image_type": oneOf(func(*postQuery, string) {}, "local", "registry"),
	})
	if refused != nil {
		return nil, refused
	}
	if err := body.check(); err != nil {
		return nil, invalidParameter(err)
	}
	images, refused := h.imagesToScan(asked.project, q.enterpriseProject, &body)
	if refused != nil {
		return nil, refused
	}
	h.counters.started(func(s *Stats) { s.Scans += len(images) })
	begun := &task{project: asked.project, begun: h.options.now(), images: images, scope: 0x7fffffff}
	if body.ScanScope != nil {
		begun.scope = *body.ScanScope
	}
	if body.RateLimit != nil {
		begun.rate = *body.RateLimit
	}
	h.tasks.begin(begun)
	return emptyBody{}, nil
}

// imagesToScan finds the rows that a request names, which all must be there.
func (h *Handler) imagesToScan(project, enterpriseProject string, body *scanRequest) (ids []int64, refused *refusal) {
	rows := h.store.rows.Load().images
	if body.IsAll {
		for i := range rows {
			if rows[i].VisibleTo(project, enterpriseProject) {
				ids = append(ids, rows[i].ID)
			}
		}
		return ids, nil
	}
	for n := range body.ImageInfo {
		asked := &body.ImageInfo[n]
		at := slices.IndexFunc(rows, func(row Image) bool {
			return row.VisibleTo(project, enterpriseProject) && asked.names(&row)
		})
		if at < 0 {
			return nil, fromService(codeNotFound, "Not found.", fmt.Sprintf("there is no image as image_info row %d says", n+1))
		}
		ids = append(ids, rows[at].ID)
	}
	return ids, nil
}

// taskQuery is a checked request for the tasks.
type taskQuery struct {
	offset, limit int
	filters       []func(*wireTask) bool
	sync          bool
}

// taskParameters are the 12 of the request.
func taskParameters() map[string]parameter[taskQuery] {
	type asked = taskQuery
	const latest = 4_070_880_000_000
	filter := func(get func(*wireTask) bool) func(*asked) {
		return func(q *asked) { q.filters = append(q.filters, get) }
	}
	return map[string]parameter[asked]{
		fieldEnterpriseProject: length(1, 256, func(*asked, string) {}), // tasks here are of no enterprise project
		"global_image_type": oneOf(func(q *asked, v string) {
			filter(func(t *wireTask) bool { return t.ImageType == v })(q)
		}, "local", "registry"),
		"offset": number(0, 2_000_000, func(q *asked, n int64) { q.offset = int(n) }),
		"limit":  number(10, 200, func(q *asked, n int64) { q.limit = int(n) }),
		"type":   oneOf(func(q *asked, v string) { q.sync = v == "image_sync" }, "image_sync", "image_scan"),
		"task_type": oneOf(func(q *asked, v string) {
			filter(func(t *wireTask) bool { return t.TaskType == v })(q)
		}, "cycle", "manual", "autoSync", "manualSync"),
		"task_name": length(1, 256, func(q *asked, v string) {
			filter(func(t *wireTask) bool { return strings.Contains(t.TaskName, v) })(q)
		}),
		"task_id": length(1, 256, func(q *asked, v string) {
			filter(func(t *wireTask) bool { return t.TaskID == v })(q)
		}),
		"create_time": number(0, latest, func(q *asked, n int64) {
			filter(func(t *wireTask) bool { return t.BeginTime >= n })(q)
		}),
		"end_time": number(0, latest, func(q *asked, n int64) {
			filter(func(t *wireTask) bool { return t.BeginTime <= n })(q)
		}),
		"task_status": oneOf(func(q *asked, v string) {
			filter(func(t *wireTask) bool { return (v == "finished") == (t.EndTime != 0) })(q)
		}, "scanning", "finished"),
		"scan_scope": number(0, 0x7fffffff, func(q *asked, n int64) {
			filter(func(t *wireTask) bool { return t.ScanScope == n })(q)
		}),
	}
}

// wireTask is ImageScanTaskInfo as the API sends it.
type wireTask struct {
	TaskID       string            `json:"task_id"`
	TaskName     string            `json:"task_name"`
	BeginTime    int64             `json:"begin_time"`
	EndTime      int64             `json:"end_time,omitempty"`
	TaskType     string            `json:"task_type"`
	ImageType    string            `json:"image_type"`
	TaskStatus   int               `json:"task_status"`
	ScanScope    int64             `json:"scan_scope,omitempty"`
	RateLimit    int64             `json:"rate_limit,omitempty"`
	IsAll        bool              `json:"is_all"`
	FailedNum    int               `json:"failed_num"`
	SuccessNum   int               `json:"success_num"`
	TotalNum     int               `json:"total_num"`
	FailedImages []wireFailedImage `json:"failed_images,omitempty"`
}

// wireFailedImage is ImageScanTaskInfoFailedImages as the API sends it.
type wireFailedImage struct {
	ID           int64  `json:"id"`
	RegistryID   string `json:"registry_id,omitempty"`
	RegistryName string `json:"registry_name,omitempty"`
	ImageName    string `json:"image_name"`
	ImageVersion string `json:"image_version"`
	Namespace    string `json:"namespace"`
	RegistryType string `json:"registry_type,omitempty"`
	FailedReason string `json:"failed_reason,omitempty"`
}

// wire is the task as it is sent.
func (t *task) wire() wireTask {
	const complete, half, begun = 100, 50, 0
	wire := wireTask{
		TaskID: fmt.Sprintf("task-%d", t.id), TaskName: fmt.Sprintf("scan-%d", t.id), BeginTime: inventoryfile.Milliseconds(t.begun), EndTime: inventoryfile.Milliseconds(t.ended),
		TaskType: "manual", ImageType: "registry", ScanScope: t.scope, RateLimit: t.rate, IsAll: t.all,
		FailedNum: len(t.failed), SuccessNum: t.succeeded, TotalNum: len(t.images), FailedImages: slices.Clone(t.failed),
	}
	if t.sync {
		wire.TaskType, wire.TaskName = "manualSync", fmt.Sprintf("sync-%d", t.id)
	}
	switch {
	case !t.ended.IsZero():
		wire.TaskStatus = complete
	case t.stage == statusScanning:
		wire.TaskStatus = half
	default:
		wire.TaskStatus = begun
	}
	return wire
}

// list answers EndpointTasks, the newest task first.
func (t *tasks) list(asked call, o *options) (answerBody, *refusal) {
	q := &taskQuery{limit: defaultLimit}
	if err := readQuery(asked.query, taskParameters(), o, q, "type"); err != nil {
		return nil, invalidParameter(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	body := &listBody[wireTask]{DataList: []wireTask{}}
	for _, task := range slices.Backward(t.all) {
		wire := task.wire()
		if task.sync != q.sync || task.project != asked.project || !q.matches(&wire) {
			continue
		}
		if body.TotalNum >= q.offset && len(body.DataList) < q.limit {
			body.DataList = append(body.DataList, wire)
		}
		body.TotalNum++
	}
	return body, nil
}

func (q *taskQuery) matches(t *wireTask) bool {
	return !slices.ContainsFunc(q.filters, func(filter func(*wireTask) bool) bool { return !filter(t) })
}
