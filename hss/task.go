package hss

import (
	"context"
	"encoding/json"
	"fmt"
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
	return allPages(c, taskKey, r.Offset, r.Limit, func(offset, limit int) ([]Task, error) {
		r.Offset, r.Limit = offset, limit
		return send(ctx, c, call[[]Task]{path: "/image/tasks", query: r.Query(), decode: decodeTasks})
	})
}

// taskIdentity tells tasks apart, also if they have no ID.
type taskIdentity struct {
	id, name string
	begin    time.Time
}

func taskKey(t Task) (taskIdentity, error) { return taskIdentity{t.ID, t.Name, t.BeginTime}, nil }

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

// wireTask is ImageScanTaskInfo as it goes over the wire.
type wireTask struct {
	ID               text               `json:"task_id"`
	PolicyID         text               `json:"policy_id"`
	Name             text               `json:"task_name"`
	Origin           text               `json:"task_type"`
	ImageType        text               `json:"image_type"`
	BeginTime        millis             `json:"begin_time"`
	EndTime          millis             `json:"end_time"`
	Status           progress           `json:"task_status"`
	RemainingMinutes count              `json:"remain_min"`
	Total            count              `json:"total_num"`
	Succeeded        count              `json:"success_num"`
	Failed           count              `json:"failed_num"`
	Risky            count              `json:"risky_num"`
	FailedReason     text               `json:"failed_reason"`
	FailedImages     []*wireFailedImage `json:"failed_images"`
}

// wireFailedImage is ImageScanTaskInfoFailedImages as it goes over the wire.
type wireFailedImage struct {
	ID           identifier `json:"id"`
	RegistryID   text       `json:"registry_id"`
	RegistryName text       `json:"registry_name"`
	RegistryType text       `json:"registry_type"`
	Namespace    text       `json:"namespace"`
	Name         text       `json:"image_name"`
	Version      text       `json:"image_version"`
	Reason       text       `json:"failed_reason"`
}

// progress is a percentage or one of the negative statuses; nil: not known.
type progress struct{ n *int }

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (p *progress) UnmarshalJSON(data []byte) error {
	p.n = nil
	s, err := scalar(data)
	if err != nil {
		return nil //nolint:nilerr // what is no number is not known
	}
	if n, ok := wholeNumber(s); ok && n >= math.MinInt32 && n <= math.MaxInt32 {
		p.n = new(int(n))
	}
	return nil
}

// UnmarshalJSON reads a row as tolerantly as that of an [Image] is read.
func (t *Task) UnmarshalJSON(data []byte) error {
	var wire *wireTask
	if err := json.Unmarshal(data, &wire); err != nil {
		return fmt.Errorf("decoding a task: %w", err)
	}
	row, err := wire.task()
	if err != nil {
		return err
	}
	*t = row
	return nil
}

// task converts a row that was read.
func (w *wireTask) task() (Task, error) {
	if w == nil {
		return Task{}, errNullRow
	}
	task := Task{
		ID: string(w.ID), PolicyID: string(w.PolicyID), Name: string(w.Name), Origin: TaskOrigin(w.Origin), ImageType: string(w.ImageType),
		BeginTime: w.BeginTime.at, EndTime: w.EndTime.at, Status: w.Status.n, RemainingMinutes: w.RemainingMinutes.n,
		Total: w.Total.n, Succeeded: w.Succeeded.n, Failed: w.Failed.n, Risky: w.Risky.n, FailedReason: string(w.FailedReason),
	}
	for _, image := range w.FailedImages {
		if image == nil {
			return Task{}, errNullRow
		}
		task.FailedImages = append(task.FailedImages, FailedImage{
			ID: string(image.ID), RegistryID: string(image.RegistryID), RegistryName: string(image.RegistryName),
			RegistryType: RegistryType(image.RegistryType), Namespace: string(image.Namespace), Name: string(image.Name),
			Version: string(image.Version), Reason: string(image.Reason),
		})
	}
	return task, nil
}

// decodeTasks reads a page.
func decodeTasks(data []byte) ([]Task, error) {
	return decodeRows(data, (*wireTask).task)
}
