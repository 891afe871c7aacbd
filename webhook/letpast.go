package webhook

import "github.com/hssgate/hssgate/gate"

// Recorder hears of objects that were let past policies, but not of requests
// that are only tried (dry run). It must return at once.
type Recorder interface {
	// Excepted says that an exception let an object past a policy.
	Excepted(use gate.ExceptionUse)
}

// recordLetPast records what the object was let past, unless nothing comes of
// the request.
func (h *Handler) recordLetPast(req *request, d *gate.Decision) {
	if d.Outcome != gate.Admitted && !h.DryRun {
		return // something else refuses it
	}
	uses, graces := d.ExceptionUses(), d.GraceUses()
	if len(uses) == 0 && len(graces) == 0 {
		return
	}
	log := h.decisionLog().With("kind", d.Kind, "namespace", d.Namespace, "name", d.Name, "uid", req.UID, "user", req.UserInfo.Username, "dryRunRequest", req.DryRun)
	for _, use := range uses {
		log.Info("exception used", "exception", use.Exception.Name(), "policy", use.Policy, "until", use.Exception.Until(), "reason", use.Exception.Reason())
	}
	for _, use := range graces {
		log.Info("under grace", "policy", use.Policy, "until", use.Until, "image", use.Reference)
	}
	if req.DryRun {
		return
	}
	h.Metrics.excepted(uses)
	h.Metrics.underGrace(graces)
	if h.Recorder == nil {
		return
	}
	for _, use := range uses {
		h.Recorder.Excepted(use)
	}
}

func (m *Metrics) excepted(uses []gate.ExceptionUse) {
	if m == nil {
		return
	}
	for _, use := range uses {
		m.exceptions.WithLabelValues(use.Policy).Inc()
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
