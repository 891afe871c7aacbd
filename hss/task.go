package hss

import (
	"cmp"
	"context"
	"iter"
	"math"
	"net/url"
	"time"
)

// TaskType is what a task does.
type TaskType string

// The documented types of tasks.
const (
	TaskTypeScan TaskType = "image_scan"
	TaskTypeSync TaskType = "image_sync"
)

// TaskOrigin is who began a task. Unknown values are kept.
type TaskOrigin string

// The documented origins.
const (
	TaskOriginCycle      TaskOrigin = "cycle"
	TaskOriginManual     TaskOrigin = "manual"
	TaskOriginAutoSync   TaskOrigin = "autoSync"
	TaskOriginManualSync TaskOrigin = "manualSync"
)

// TaskState is whether a task goes on.
type TaskState string

// The documented states.
const (
	TaskStateScanning TaskState = "scanning"
	TaskStateFinished TaskState = "finished"
)

// The values of Task.Status that are not a percentage.
const (
	TaskStopped  = -1
	TaskTimedOut = -2
	TaskFailed   = -3
)

// TaskRequest holds the query of the tasks. Type is required; other zero
// values are not sent.
type TaskRequest struct {
	// EnterpriseProjectID: 1–256 characters; AllGrantedEnterpriseProjects
	// for every one. Empty means the default enterprise project only.
	EnterpriseProjectID string
	Type                TaskType
	Origin              TaskOrigin
	State               TaskState
	// ID has 1–256 characters.
	ID string
	// Offset is 0–2,000,000 rows.
	Offset int
	// Limit is 10–200 rows a page; 0: 200.
	Limit int
}

// Task is a scan or a synchronisation, under way or past: ImageScanTaskInfo of
// the API. A number is nil if it was not sent.
type Task struct {
	ID       string
	PolicyID string
	Name     string
	Origin   TaskOrigin
	// ImageType is local or registry.
	ImageType string
	BeginTime time.Time
	EndTime   time.Time
	// Status is the percentage that is done, 100 at the end, or TaskStopped,
	// TaskTimedOut or TaskFailed.
	Status *int
	// RemainingMinutes is HSS's guess.
	RemainingMinutes *int
	Total            *int
	Succeeded        *int
	Failed           *int
	Risky            *int
	FailedReason     string
	FailedImages     []FailedImage
}

// FailedImage is an image whose scan failed within a [Task].
type FailedImage struct {
	ID           string
	RegistryID   string
	RegistryName string
	RegistryType RegistryType
	Namespace    string
	Name         string
	Version      string
	Reason       string
}

// Tasks returns the scans or synchronisations that HSS remembers, those of all
// pages from r.Offset on, each once. It ends as [Client.All] does: never early
// without an error.
func (c *Client) Tasks(ctx context.Context, r TaskRequest) iter.Seq2[Task, error] {
	if err := r.Validate(); err != nil {
		return func(yield func(Task, error) bool) { yield(Task{}, err) }
	}
	return allPages(c, taskKey, nil, r.Offset, r.Limit, func(offset, limit int) (page[Task], error) {
		r.Offset, r.Limit = offset, limit
		return send(ctx, c, call[page[Task]]{path: "/image/tasks", query: r.Query(), decode: decodeTasks})
	})
}

// taskIdentity tells tasks apart, also if they have no ID.
type taskIdentity struct {
	id, name string
	begin    time.Time
}

func taskKey(t Task) taskIdentity { return taskIdentity{t.ID, t.Name, t.BeginTime} }

// Query returns the request's parameters, without those that are not set.
func (r TaskRequest) Query() url.Values {
	q := url.Values{paramType: {string(r.Type)}}
	setText(q, paramEnterpriseProjectID, r.EnterpriseProjectID)
	setText(q, paramTaskType, string(r.Origin))
	setText(q, paramTaskStatus, string(r.State))
	setText(q, paramTaskID, r.ID)
	setPage(q, r.Offset, r.Limit)
	return q
}

// Validate checks the request against the bounds that the API documents and
// names every field that breaks one.
func (r TaskRequest) Validate() error {
	var p problems
	if r.Type == "" {
		p.addf("%s is missing", paramType)
	}
	oneOf(&p, paramType, r.Type, TaskTypeScan, TaskTypeSync)
	oneOf(&p, paramTaskType, r.Origin, TaskOriginCycle, TaskOriginManual, TaskOriginAutoSync, TaskOriginManualSync)
	oneOf(&p, paramTaskStatus, r.State, TaskStateScanning, TaskStateFinished)
	p.lengths([]textField{{paramEnterpriseProjectID, r.EnterpriseProjectID, 256}, {paramTaskID, r.ID, 256}})
	p.page(r.Offset, r.Limit)
	return p.err("task")
}

// UnmarshalJSON reads a row as tolerantly as that of an [Image] is read.
func (t *Task) UnmarshalJSON(data []byte) error { return unmarshal(data, t) }

func (t *Task) field(name string) value { //nolint:gocyclo // one case a field
	switch name {
	case paramTaskID:
		return (*text)(&t.ID)
	case "policy_id":
		return (*text)(&t.PolicyID)
	case "task_name":
		return (*text)(&t.Name)
	case paramTaskType:
		return (*text)(&t.Origin)
	case paramImageType:
		return (*text)(&t.ImageType)
	case "begin_time":
		return (*millis)(&t.BeginTime)
	case "end_time":
		return (*millis)(&t.EndTime)
	case paramTaskStatus:
		return progress{&t.Status}
	case "remain_min":
		return count{&t.RemainingMinutes}
	case "total_num":
		return count{&t.Total}
	case "success_num":
		return count{&t.Succeeded}
	case "failed_num":
		return count{&t.Failed}
	case "risky_num":
		return count{&t.Risky}
	case "failed_reason":
		return (*prose)(&t.FailedReason)
	case "failed_images":
		return (*failedImages)(&t.FailedImages)
	}
	return nil
}

func (i *FailedImage) field(name string) value {
	switch name {
	case "id":
		return (*text)(&i.ID)
	case paramRegistryID:
		return (*text)(&i.RegistryID)
	case paramRegistryName:
		return (*text)(&i.RegistryName)
	case paramRegistryType:
		return (*text)(&i.RegistryType)
	case paramNamespace:
		return (*text)(&i.Namespace)
	case paramImageName:
		return (*text)(&i.Name)
	case paramImageVersion:
		return (*text)(&i.Version)
	case "failed_reason":
		return (*prose)(&i.Reason)
	}
	return nil
}

// maxFailedImages bounds how many of a task's failed images are kept.
const maxFailedImages = 1000

// failedImages reads failed_images.
type failedImages []FailedImage

func (f *failedImages) read(d *decoder) error {
	var first *problem
	err := d.array(func(n int) error {
		if n >= maxFailedImages {
			return d.json.SkipValue()
		}
		var one FailedImage
		problems, err := d.object(&one)
		if len(problems) > 0 {
			first = cmp.Or(first, problems[0].within(n))
		}
		*f = append(*f, one)
		return err
	})
	if err == nil && first != nil {
		return first
	}
	return err
}

// progress is a percentage or one of the negative statuses; nil: not known.
type progress struct{ n **int }

func (p progress) read(d *decoder) error {
	n, ok, err := d.number()
	if ok && n >= math.MinInt32 && n <= math.MaxInt32 {
		*p.n = new(int(n))
	}
	return err
}

// decodeTasks reads a page.
func decodeTasks(d *decoder) (page[Task], error) { return decodeRows[Task](d) }
