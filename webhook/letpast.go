package webhook

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/gate"
)

// Recorder hears of objects that were let past policies, but not of requests
// that are only tried (dry run). It must return at once.
type Recorder interface {
	// Excepted says that an exception let an object past a policy.
	Excepted(use gate.ExceptionUse)
	// BrokeGlass says that an object was admitted by break-glass.
	BrokeGlass(object Object, b gate.BreakGlass)
}

// Object names an object of a review. Of one that is being created, the API
// server has chosen the UID by then.
type Object struct {
	schema.GroupVersionKind
	types.NamespacedName
	UID types.UID
}

// recordLetPast records what the object was let past, unless nothing comes of
// the request.
func (h *Handler) recordLetPast(req *request, d *gate.Decision) {
	if d.Outcome != gate.Admitted && !h.DryRun {
		return // something else refuses it
	}
	uses, graces, broken := d.ExceptionUses(), d.GraceUses(), d.BreakGlass != nil && d.BreakGlass.Refused == ""
	if len(uses) == 0 && len(graces) == 0 && !broken {
		return
	}
	log := h.decisionLog().With("kind", d.Kind, "namespace", d.Namespace, "name", d.Name, "uid", req.UID, "user", req.UserInfo.Username, "dryRunRequest", req.DryRun)
	for _, use := range uses {
		log.Info("exception used", "exception", use.Exception.Name(), "policy", use.Policy, "until", use.Exception.Until(), "reason", use.Exception.Reason())
	}
	for _, use := range graces {
		log.Info("under grace", "policy", use.Policy, "until", use.Until, "image", use.Reference)
	}
	if broken {
		log.Warn("break-glass", "policies", d.BreakGlass.Policies, "reason", d.BreakGlass.Reason, "violations", d.Lines())
	}
	if req.DryRun {
		return
	}
	h.Metrics.letPast(uses, d.BreakGlass, broken)
	h.Metrics.underGrace(graces)
	h.tellRecorder(req, d, uses, broken)
}

func (h *Handler) tellRecorder(req *request, d *gate.Decision, uses []gate.ExceptionUse, broken bool) {
	if h.Recorder == nil {
		return
	}
	for _, use := range uses {
		h.Recorder.Excepted(use)
	}
	if broken {
		h.Recorder.BrokeGlass(objectOf(req), *d.BreakGlass)
	}
}

func objectOf(req *request) Object {
	name := req.Object.Metadata.Name
	if name == "" {
		name = req.Name
	}
	return Object{
		GroupVersionKind: schema.GroupVersionKind{Group: req.Kind.Group, Version: req.Kind.Version, Kind: req.Kind.Kind},
		NamespacedName:   types.NamespacedName{Namespace: req.Namespace, Name: name},
		UID:              types.UID(req.Object.Metadata.UID),
	}
}

func (m *Metrics) letPast(uses []gate.ExceptionUse, b *gate.BreakGlass, broken bool) {
	if m == nil {
		return
	}
	for _, use := range uses {
		m.exceptions.WithLabelValues(use.Policy).Inc()
	}
	if !broken {
		return
	}
	for _, policy := range b.Policies {
		m.breakGlass.WithLabelValues(policy).Inc()
	}
}

// underGrace counts an object once for each policy, if it was admitted.
func (m *Metrics) underGrace(graces []gate.GraceUse) {
	if m == nil {
		return
	}
	counted := map[string]bool{}
	for _, use := range graces {
		if !counted[use.Policy] {
			counted[use.Policy] = true
			m.grace.WithLabelValues(use.Policy).Inc()
		}
	}
}

func graceLines(d *gate.Decision) []string {
	var lines []string
	for _, use := range d.GraceUses() {
		lines = append(lines, oneLine(use.String()))
	}
	return lines
}

func exceptionLines(d *gate.Decision) []string {
	var lines []string
	for _, use := range d.ExceptionUses() {
		lines = append(lines, oneLine(use.String()))
	}
	return lines
}
