package webhook

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// repeatEvery is how often the same denial is logged: a controller whose
	// pods are denied tries again and again.
	repeatEvery = time.Minute
	// maxDenials bounds the denials that are remembered.
	maxDenials = 4096
)

// denials remembers what was denied lately. The zero value is ready for use.
type denials struct {
	mu   sync.Mutex
	seed maphash.Seed
	last map[uint64]*denial
}

type denial struct {
	logged  time.Time
	repeats int
}

// note notes a denial, and tells whether it is to be logged and how often it was
// not since the last time.
func (d *denials) note(now time.Time, what ...string) (repeats int, log bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		d.seed, d.last = maphash.MakeSeed(), map[uint64]*denial{}
	}
	key := maphash.String(d.seed, strings.Join(what, "\x00"))
	one, ok := d.last[key]
	if ok && now.Sub(one.logged) < repeatEvery {
		one.repeats++
		return 0, false
	}
	if !ok {
		d.makeRoom(now)
		one = &denial{}
		d.last[key] = one
	}
	repeats, one.repeats, one.logged = one.repeats, 0, now
	return repeats, true
}

// makeRoom forgets what is old, or everything if that is not enough.
func (d *denials) makeRoom(now time.Time) {
	if len(d.last) < maxDenials {
		return
	}
	for key, one := range d.last {
		if now.Sub(one.logged) >= repeatEvery {
			delete(d.last, key)
		}
	}
	if len(d.last) >= maxDenials {
		clear(d.last)
	}
}

// logDenial logs a denial in one line, and the same again only once a minute.
// What is the same is what has the same owner, or else the same name, and the
// same violations, whatever their words: those of HSS may name the request. New
// names have their bound, too.
func (h *Handler) logDenial(req *request, d *gate.Decision) {
	if d.Outcome == gate.Admitted {
		return
	}
	owner := ownerOf(req)
	who := []string{d.Namespace, d.Kind, cmp.Or(owner, d.Name), string(d.Outcome)}
	repeats, log := h.denials.note(time.Now(), append(who, traitsOf(d.Violations)...)...)
	if !log {
		return
	}
	h.decisionLog().Info("denied", "outcome", d.Outcome, "kind", d.Kind, "namespace", d.Namespace, "name", d.Name, "owner", owner, "uid", req.UID,
		"user", req.UserInfo.Username, "images", firstOf(deniedImages(d)), "policies", d.Policies, "violations", firstOf(d.Lines()),
		"dryRunRequest", req.DryRun, "dryRun", h.DryRun, "repeats", repeats)
}

// traitsOf tells violations apart without their words.
func traitsOf(violations []gate.Violation) []string {
	var traits []string
	for i := range violations {
		v := &violations[i]
		traits = append(traits, string(v.Effect), v.Policy, v.Use.String(), v.Reference)
		for _, f := range v.Findings {
			traits = append(traits, string(f.Check))
		}
	}
	return traits
}

// firstOf keeps a line of the log within bounds: an object can name a thousand
// images.
func firstOf(list []string) []string {
	const most = 20
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most]), fmt.Sprintf("and %d more", len(list)-most))
}

// ownerOf is the object's controller, as KIND/NAME, as far as it says.
func ownerOf(req *request) string {
	c := req.Object.Metadata.Controller
	if c.Name == "" {
		return ""
	}
	return c.Kind + "/" + c.Name
}

// deniedImages are the images for which the object is denied, each once.
func deniedImages(d *gate.Decision) []string {
	var images []string
	seen := map[string]bool{}
	for _, v := range d.WithEffect(v1alpha1.EnforcementDeny) {
		if !seen[v.Reference] {
			seen[v.Reference] = true
			images = append(images, v.Reference)
		}
	}
	return images
}
