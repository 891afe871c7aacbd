package gate

import (
	"context"
	"fmt"
	"slices"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// PinBadReference is the obstacle of a reference that can't be read.
const PinBadReference policy.PinObstacle = "reference"

// Pinning is what becomes of a pod's images that are to be pinned.
type Pinning struct {
	// Pins are the uses that name a tag only and that a policy has pinned.
	Pins []Pin
	// Notices should be known besides.
	Notices []string
}

// Pin is what becomes of one use of an image.
type Pin struct {
	Use image.Use
	// Index is the use's place in the request's Workload.Uses.
	Index int
	// Policy is the first policy that asks for it.
	Policy string
	// Pinned is the reference with the digest that HSS scanned; empty if the tag
	// is left as it is, for the Obstacle.
	Pinned   string
	Obstacle policy.PinObstacle
	// Message says in one line what is in the way.
	Message string
}

// String returns the pin in one line.
func (p *Pin) String() string {
	if p.Pinned != "" {
		return fmt.Sprintf("%s: %s", p.Use, p.Pinned)
	}
	return fmt.Sprintf("%s: %s is not pinned: %s [policy %s]", p.Use, displayed(p.Use.Image), p.Message, p.Policy)
}

// Lines tell of the images that were pinned, or of those that were left: one
// line each.
func (p *Pinning) Lines(pinned bool) []string {
	var lines []string
	for i := range p.Pins {
		if (p.Pins[i].Pinned != "") == pinned {
			lines = append(lines, p.Pins[i].String())
		}
	}
	return boundedLines(lines)
}

func boundedLines(lines []string) []string {
	if more := len(lines) - maxLines; more > 0 {
		return append(lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	return lines
}

// Pin finds the digests that HSS scanned for the images of a pod that policies
// have pinned, from the facts that a verdict would be by. It returns when all is
// known or ctx ends. Whatever it doesn't find out, it leaves.
func (g *Gate) Pin(ctx context.Context, r Request) Pinning {
	if r.Workload.Template || len(r.Workload.Uses) == 0 || g.Exempts(r.Namespace) || !g.Policies.Index().pins {
		return Pinning{}
	}
	judged, err := g.scope(ctx, r.Namespace)
	if err != nil {
		// A verdict takes every policy to apply then. To change a pod, that
		// wouldn't be enough to go by.
		return Pinning{Notices: []string{fmt.Sprintf("no image is pinned: labels of namespace %q cannot be read", r.Namespace)}}
	}
	subjects := g.parse(r.Workload.Uses)
	policies := pinning(judged.candidates(r.Workload.Labels, subjects), r.Workload)
	return g.pinAll(ctx, r, subjects, policies)
}

// pinning returns the policies that have pods like this one pinned.
func pinning(candidates []*policy.Policy, w image.Workload) []*policy.Policy {
	var some []*policy.Policy
	for _, p := range candidates {
		if p.Pins() && p.MatchesPod(w.Labels) {
			some = append(some, p)
		}
	}
	return some
}

func (g *Gate) pinAll(ctx context.Context, r Request, subjects []subject, policies []*policy.Policy) Pinning {
	var (
		tagged []subject
		pins   []Pin
	)
	for i := range subjects {
		s := &subjects[i]
		first := slices.IndexFunc(policies, s.matches)
		if first < 0 || s.ref.Digest != "" {
			continue
		}
		tagged = append(tagged, *s)
		pins = append(pins, Pin{Use: s.use, Index: i, Policy: policies[first].Name()})
	}
	if len(tagged) == 0 {
		return Pinning{}
	}
	g.lookUp(ctx, r, tagged, policies)
	for i := range pins {
		pins[i].settle(&tagged[i])
	}
	return Pinning{Pins: pins}
}

// settle pins the subject's reference, or says why not.
func (p *Pin) settle(s *subject) {
	if s.err != nil {
		p.Obstacle, p.Message = PinBadReference, s.err.Error()
		return
	}
	scanned := policy.ScannedDigest(&s.facts)
	if scanned.Obstacle != "" {
		p.Obstacle, p.Message = scanned.Obstacle, scanned.Message
		return
	}
	pinned, err := image.Pin(p.Use.Image, scanned.Digest)
	if err != nil {
		p.Obstacle, p.Message = PinBadReference, err.Error()
		return
	}
	p.Pinned = pinned
}
