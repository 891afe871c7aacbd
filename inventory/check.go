package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

// ProjectCheck is the result of one signed call to the HSS of a project.
type ProjectCheck struct {
	// Project and Region are the configuration's; Region may be empty.
	Project, Region string
	// ProjectID is the configured one, that of the credentials, or the one that
	// IAM has for the region; empty if none was found.
	ProjectID string
	// Images is how many images HSS lists; -1: it does not say.
	Images int
	// Err is why HSS could not be used, or nil, and Fault whose trouble that is.
	Err   error
	Fault policy.Cause
	// Cause is Err in plain words: what is wrong and what to do, in one line and
	// without secrets. Empty without Err.
	Cause string
	// Temporary reports whether the same call may succeed a little later without
	// anyone changing anything: no complete answer came, or HSS was overloaded.
	Temporary bool
}

// Check makes one signed call for every project, side by side, and returns a
// result for each, in the order of the configuration. It is bound by the same
// limits as look-ups, and by each project's lookupTimeout.
func (i *Inventory) Check(ctx context.Context) []ProjectCheck {
	checks := make([]ProjectCheck, len(i.projects))
	var all sync.WaitGroup
	for n, p := range i.projects {
		all.Go(func() { checks[n] = i.check(ctx, p) })
	}
	all.Wait()
	return checks
}

// check makes the call for one project.
func (i *Inventory) check(ctx context.Context, p *project) ProjectCheck {
	c := ProjectCheck{Project: p.name, Region: p.region, Images: hss.UnknownTotal}
	c.Err = i.call(ctx, question{project: p, urgency: newUrgency(forAdmission), calls: 1}, func(ctx context.Context, _ int) (err error) {
		if client, ok := p.lister.(interface {
			ProjectID(ctx context.Context) (string, error)
		}); ok {
			if c.ProjectID, err = client.ProjectID(ctx); err != nil {
				return err
			}
		}
		c.Images, err = countImages(ctx, p)
		return err
	})
	if c.Err != nil {
		c.Cause = strings.Join(strings.Fields(causeOf(c.Err, c.ProjectID)), " ")
		c.Fault = p.classify(c.Err, i.clock.Now())
		c.Temporary = isTemporary(c.Err)
	}
	return c
}

// countImages asks HSS for one row of its list.
func countImages(ctx context.Context, p *project) (int, error) {
	request := hss.ListRequest{EnterpriseProjectID: p.enterpriseProject, Limit: 1}
	if pager, ok := p.lister.(Pager); ok {
		page, err := pager.List(ctx, request)
		if err != nil {
			return hss.UnknownTotal, err
		}
		return page.Total, nil
	}
	for _, err := range p.lister.All(ctx, request) {
		return hss.UnknownTotal, err
	}
	return 0, ctx.Err()
}

// isTemporary reports whether a call may succeed a little later by itself.
func isTemporary(err error) bool {
	if open, ok := errors.AsType[*openError](err); ok {
		err = open.last
	}
	_, timeout := errors.AsType[*timeoutError](err)
	return timeout || hss.Temporary(err)
}

// causeOf describes why the HSS of a project could not be used, and what to do.
func causeOf(err error, projectID string) string {
	if open, ok := errors.AsType[*openError](err); ok {
		err = open.last
	}
	if refused, ok := errors.AsType[*hss.RefusedError](err); ok {
		return causeOfRefusal(refused)
	}
	answer, answered := errors.AsType[*hss.Error](err)
	if _, searched := errors.AsType[*hss.ProjectError](err); searched {
		return causeOfNoProject(err, answer)
	}
	switch {
	case answered && answer.StatusCode == http.StatusNotFound || answered && strings.HasSuffix(answer.Code, ".0101"):
		return fmt.Sprintf("this API does not exist here (%s): check region and endpoint; not every region has it", answer)
	case answered && answer.Forbidden():
		return fmt.Sprintf("no permission (%s): grant HSS ReadOnlyAccess in project %s, or correct projectID", answer, projectID)
	case hss.Temporary(err) && !answered:
		return "cannot reach HSS: " + withoutQuery(err)
	}
	if _, none := errors.AsType[*hss.NoCredentialsError](err); !none && errors.Is(err, hss.ErrNotConfigured) {
		return "no credentials found: " + strings.TrimPrefix(err.Error(), "getting credentials: ")
	}
	return strings.TrimPrefix(reasonOf(err), "HSS could not be asked: ")
}

// causeOfNoProject describes why IAM gave no project ID; answer is nil if IAM did
// not answer.
func causeOfNoProject(err error, answer *hss.Error) string {
	switch {
	case answer != nil && answer.Forbidden():
		return fmt.Sprintf("%s: allow the action iam:projects:listProjects, or set projectID", err)
	case answer == nil && hss.Temporary(err):
		return fmt.Sprintf("cannot reach IAM, which has the project ID: %s: open the way to it, or set projectID", withoutQuery(err))
	}
	return err.Error()
}

// causeOfRefusal says which key is refused, by whom and what to do.
func causeOfRefusal(r *hss.RefusedError) string {
	service, key, advice := "HSS", "the access key "+r.AccessKey, "check that the secret key belongs to it and that it is enabled"
	if r.Err.Service != "" {
		service = r.Err.Service
	}
	if r.AccessKey == "" {
		key, advice = "the token", "renew it"
	}
	if r.Err.ClockSkew != 0 || strings.HasSuffix(r.Err.Code, ".0303") {
		advice = "set the clock of the node"
	}
	return fmt.Sprintf("%s refuses %s (%s): %s", service, key, r.Err, advice)
}
