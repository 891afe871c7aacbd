package hss

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	iamService    = "IAM"
	headerTraceID = "X-IAM-Trace-Id"
	// lookUpTimeout bounds a look-up with its retries. A caller that is cancelled
	// does not end it, as others may wait for it.
	lookUpTimeout = 30 * time.Second
	// lookUpPause is how long an answer without a usable project is kept.
	lookUpPause = time.Minute
)

// ProjectError reports that the ID of a region's project could not be found
// through IAM.
type ProjectError struct {
	Region string
	// IDs are those of several projects of the region; with one or none and no
	// Err, the account has no project there.
	IDs []string
	// Err is why IAM could not be asked, or nil.
	Err error
}

// Error says what is wrong and what to do.
func (e *ProjectError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("cannot find the project ID of region %s through IAM: %s", e.Region, e.Err)
	case len(e.IDs) > 1:
		return fmt.Sprintf("the account has %d projects named %s (%s): set projectID to one of them",
			len(e.IDs), e.Region, strings.Join(e.IDs, ", "))
	}
	return fmt.Sprintf("region %s is not enabled for the account of these credentials, since IAM has no project of that name: "+
		"enable the region, or set projectID", e.Region)
}

// Unwrap returns why IAM could not be asked.
func (e *ProjectError) Unwrap() error { return e.Err }

// final reports whether another look-up would end in the same way until someone
// changes the account.
func (e *ProjectError) final() bool {
	answer, answered := errors.AsType[*Error](e.Err)
	return e.Err == nil || (answered && !answer.Retryable && !answer.Unauthenticated())
}

// projectFinder finds the ID of a region's project through IAM, once for each
// account: it never changes.
type projectFinder struct {
	iam    *Client
	region string

	mu      sync.Mutex
	account string  // of last
	last    *lookUp // nil: none yet
}

// lookUp is a request to IAM, which many may wait for.
type lookUp struct {
	done chan struct{}
	id   string
	err  *ProjectError
	// until is when an err without a usable project is out of date; zero: at once.
	until time.Time
}

// newProjectFinder returns nil if no project has to be found, or none can be.
func newProjectFinder(config Config) (*projectFinder, error) {
	if config.ProjectID != "" || config.Region == "" {
		return nil, nil
	}
	address := config.IAMEndpoint
	if address == "" {
		var err error
		if address, err = IAMEndpoint(config.Region, func(string) string { return "" }); err != nil {
			return nil, err
		}
	}
	iam, err := newServiceClient(config, address)
	if err != nil {
		return nil, fmt.Errorf("IAM: %w", err)
	}
	iam.service = iamService
	return &projectFinder{iam: iam, region: config.Region}, nil
}

// find returns the project's ID. However many callers need it, IAM is asked once.
func (f *projectFinder) find(ctx context.Context, c Credentials) (string, error) {
	current := f.current(ctx, accountOf(c))
	select {
	case <-current.done:
	case <-ctx.Done():
		return "", &ProjectError{Region: f.region, Err: context.Cause(ctx)}
	}
	if current.err != nil {
		return "", current.err
	}
	return current.id, nil
}

// accountOf tells accounts apart as far as credentials show them: temporary
// keys and tokens change all the time, and their account does not.
func accountOf(c Credentials) string {
	if c.Token.Empty() && c.SecurityToken.Empty() {
		return c.AccessKey
	}
	return ""
}

// current returns the account's last look-up if it still counts, or begins one.
func (f *projectFinder) current(ctx context.Context, account string) *lookUp {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil && f.account == account && f.last.counts(f.iam.config.Now()) {
		return f.last
	}
	begun := &lookUp{done: make(chan struct{})}
	f.account, f.last = account, begun
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeFor(ctx))
		defer cancel()
		f.run(ctx, begun)
	}()
	return begun
}

// timeFor bounds a look-up by the time that its first caller has, so that this
// one learns what went wrong.
func timeFor(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(time.Until(deadline), lookUpTimeout)
	}
	return lookUpTimeout
}

// counts reports whether a look-up is under way or has a result of use.
func (l *lookUp) counts(now time.Time) bool {
	select {
	case <-l.done:
		return l.err == nil || now.Before(l.until)
	default:
		return true
	}
}

// run sends the request.
func (f *projectFinder) run(ctx context.Context, l *lookUp) {
	defer close(l.done)
	ids, err := send(ctx, f.iam, call[[]string]{
		path: "/v3/projects", query: url.Values{"name": {f.region}}, expected: "no list of projects", decode: decodeProjects,
	})
	if err == nil && len(ids) == 1 {
		l.id = ids[0]
		return
	}
	l.err = &ProjectError{Region: f.region, IDs: ids, Err: err}
	if l.err.final() {
		l.until = f.iam.config.Now().Add(lookUpPause)
	}
}

// projectID is a project as IAM lists it.
type projectID struct{ id string }

func (p *projectID) field(name string) value {
	if name == "id" {
		return (*text)(&p.id)
	}
	return nil
}

// decodeProjects reads the IDs of IAM's list, KeystoneListProjects.
func decodeProjects(d *decoder) ([]string, error) {
	_, ids, err := decodePage(d, "projects", func(d *decoder) (string, error) {
		var p projectID
		problems, err := d.object(&p)
		if len(problems) > 0 {
			return "", problems[0]
		}
		return p.id, err
	})
	return ids, err
}
