package webhook

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// limitedLog bounds how many lines are logged, whatever reviews hold.
type limitedLog struct {
	log     *slog.Logger
	limiter *rate.Limiter
	dropped atomic.Int64
}

// newLimitedLog logs a burst of lines, and then so many per second.
func newLimitedLog(log *slog.Logger, perSecond rate.Limit, burst int) *limitedLog {
	return &limitedLog{log: log, limiter: rate.NewLimiter(perSecond, burst)}
}

// get returns the log for one line, or one that discards it.
func (l *limitedLog) get() *slog.Logger {
	if !l.limiter.Allow() {
		l.dropped.Add(1)
		return slog.New(slog.DiscardHandler)
	}
	if n := l.dropped.Swap(0); n > 0 {
		return l.log.With("notLogged", n)
	}
	return l.log
}

const (
	// repeatEvery is how often the same line is logged: the controller of a pod
	// that is denied tries again and again.
	repeatEvery = time.Minute
	// maxLines bounds the lines that are remembered.
	maxLines = 4096
	// maxListed bounds a list in a line: an object can name a thousand images.
	maxListed = 20
)

// isNew reports whether a line was not logged within repeatEvery, and remembers it.
func (h *Handler) isNew(line ...string) bool {
	key := strings.Join(line, "\x00")
	if _, logged := h.logged.Get(key); logged {
		return false
	}
	h.logged.Add(key, nil, repeatEvery)
	return true
}

// logDenial logs a denial, and the same again only once a minute: that of the
// same owner, or else the same name, for the same images, policies and checks.
// Messages don't count, since those of HSS may name a request.
func (h *Handler) logDenial(req *request, d *gate.Decision) {
	if d.Outcome == gate.Admitted {
		return
	}
	owner := req.Object.Metadata.Controller.String()
	line := []string{d.Namespace, d.Kind, cmp.Or(owner, d.Name), string(d.Outcome)}
	for i := range d.Violations {
		v := &d.Violations[i]
		line = append(line, string(v.Effect), v.Policy, v.Use.String(), v.Reference)
		for _, f := range v.Findings {
			line = append(line, string(f.Check))
		}
	}
	if !h.isNew(line...) {
		return
	}
	h.decisions.get().Info("denied", "outcome", d.Outcome, "kind", d.Kind, "namespace", d.Namespace, "name", d.Name,
		"owner", owner, "uid", req.UID, "user", req.UserInfo.Username, "images", first(deniedImages(d)),
		"policies", d.Policies, "violations", first(d.Lines()), "dryRunRequest", req.DryRun, "dryRun", h.DryRun)
}

// first returns at most maxListed of a list.
func first(list []string) []string {
	if len(list) <= maxListed {
		return list
	}
	return append(slices.Clone(list[:maxListed]), fmt.Sprintf("and %d more", len(list)-maxListed))
}

// deniedImages returns the images for which the object is denied, each once.
func deniedImages(d *gate.Decision) []string {
	var images []string
	for _, v := range d.WithEffect(v1alpha1.EnforcementDeny) {
		if !slices.Contains(images, v.Reference) {
			images = append(images, v.Reference)
		}
	}
	return images
}

// recordExceptions records by which exceptions the object was allowed. The metrics
// and ExceptionUsed leave out dry-run requests.
func (h *Handler) recordExceptions(req *request, d *gate.Decision) {
	if d.Outcome != gate.Admitted && !h.DryRun {
		return // another policy denies it
	}
	for _, use := range d.ExceptionUses() {
		h.decisions.get().Info("exception used", "kind", d.Kind, "namespace", d.Namespace, "name", d.Name, "uid", req.UID,
			"user", req.UserInfo.Username, "dryRunRequest", req.DryRun, "exceptionKind", use.Exception.Kind(), "exception", use.Exception.Name(), "policy", use.Policy,
			"until", use.Exception.Until(), "reason", use.Exception.Reason())
		if req.DryRun {
			continue
		}
		h.Metrics.exceptions.WithLabelValues(use.Policy).Inc()
		if h.ExceptionUsed != nil {
			h.ExceptionUsed(use)
		}
	}
}
