package gate

import (
	"context"
	"slices"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
)

// PinBadReference is the obstacle of an invalid reference.
const PinBadReference policy.PinObstacle = "reference"

// Pinning is the result of pinning a pod's images.
type Pinning struct {
	// Pins are the uses by tag that a policy pins.
	Pins    []Pin
	Notices []string
	// Language is that of the messages.
	Language language.Language
}

// Pin is one use of an image that a policy pins.
type Pin struct {
	Use image.Use
	// Index is the use's place in the request's Workload.Uses.
	Index int
	// Policy is the first policy that pins it.
	Policy string
	// Pinned is the reference with the digest that HSS scanned; empty if there is an Obstacle, and the tag stays.
	Pinned   string
	Obstacle policy.PinObstacle
	// Message describes the obstacle in one line.
	Message string
}

// text returns the pin in one line.
func (p *Pin) text(l language.Language) string {
	if p.Pinned != "" {
		return l.Sprintf("%s: %s", named(l, p.Use), p.Pinned)
	}
	return l.Sprintf("%s: %s is not pinned: %s [policy %s]", named(l, p.Use), quoted(p.Use.Image), p.Message, p.Policy)
}

// Lines returns a line for each image that was pinned, or for each that was not.
func (p *Pinning) Lines(pinned bool) []string {
	var lines []string
	for i := range p.Pins {
		if (p.Pins[i].Pinned != "") == pinned {
			lines = append(lines, p.Pins[i].text(p.Language))
		}
	}
	return bounded(p.Language, lines)
}

// Pin returns the digests that HSS scanned for the images of a pod that policies pin. It returns when all is known or ctx
// ends. What it does not find out stays.
func (g *Gate) Pin(ctx context.Context, r Request) Pinning {
	if r.Workload.Template {
		return Pinning{}
	}
	policies, err := g.selected(ctx, &r)
	policies = slices.DeleteFunc(policies, func(p *policy.Policy) bool { return !p.Pins() })
	if err != nil && slices.ContainsFunc(policies, func(p *policy.Policy) bool { return p.SelectsNamespaces() }) {
		// A decision takes every policy to apply then. A pod is not changed for that.
		return Pinning{Notices: []string{g.Language.Sprintf("no image is pinned: labels of namespace %q cannot be read", r.Namespace)}}
	}
	e := g.newEvaluation(r, policies)
	for i := range e.targets {
		if t := &e.targets[i]; t.ref.Digest != "" {
			t.verdicts = nil // there is nothing to pin
		}
	}
	e.lookUp(ctx)
	pinning := Pinning{Language: g.Language}
	for i, place := range e.ofUse {
		if t := &e.targets[place]; len(t.verdicts) > 0 {
			pin := Pin{Use: r.Workload.Uses[i], Index: i, Policy: t.verdicts[0].policy.Name()}
			pin.settle(g.Language, t)
			pinning.Pins = append(pinning.Pins, pin)
		}
	}
	return pinning
}

// settle sets the pinned reference, or the obstacle.
func (p *Pin) settle(l language.Language, t *target) {
	err := t.err
	if err == nil {
		scanned := policy.ScannedDigest(&t.facts, l)
		if p.Obstacle, p.Message = scanned.Obstacle, scanned.Message; p.Obstacle != "" {
			return
		}
		p.Pinned, err = image.Pin(p.Use.Image, scanned.Digest)
	}
	if err != nil {
		p.Obstacle, p.Message = PinBadReference, l.Error(err)
	}
}
