package gate

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Index holds the policies in force so that those which may judge an object are
// found without a look at the others. It is immutable and safe for concurrent use.
type Index struct {
	policies []*policy.Policy
	denies   bool
	// pins tells whether any policy has images pinned.
	pins bool
	// selects tells whether any policy asks for a namespace's labels.
	selects bool
	seed    maphash.Seed
	// scopes remembers what was found for the labels of namespaces, of which a
	// cluster has few different ones. The map is replaced, never changed.
	scopes atomic.Pointer[map[uint64]*scope]
}

// maxScopes bounds what is remembered; past it, remembering begins anew.
const maxScopes = 1024

// NewIndex returns an index of the policies, in the order of their names.
func NewIndex(policies []*policy.Policy) *Index {
	ix := &Index{policies: slices.Clone(policies), seed: maphash.MakeSeed()}
	slices.SortFunc(ix.policies, func(a, b *policy.Policy) int { return strings.Compare(a.Name(), b.Name()) })
	for _, p := range ix.policies {
		ix.denies = ix.denies || p.Enforcement() == v1alpha1.EnforcementDeny
		ix.pins = ix.pins || p.Pins()
		ix.selects = ix.selects || p.SelectsNamespaces()
	}
	ix.scopes.Store(&map[uint64]*scope{})
	return ix
}

// scope holds the policies that judge namespaces with the same labels.
type scope struct {
	labels   map[string]string
	policies []*policy.Policy
	// Places in policies, by what they can be found by.
	anything []int
	byLabel  map[policy.Label][]int
	byImage  map[string][]int
}

// inNamespace returns the policies for namespaces with these labels.
func (ix *Index) inNamespace(labels map[string]string) *scope {
	hash := ix.hash(labels)
	known := *ix.scopes.Load()
	if s, ok := known[hash]; ok && maps.Equal(s.labels, labels) {
		return s
	}
	s := ix.newScope(labels, func(p *policy.Policy) bool { return p.MatchesNamespace(labels) })
	larger := map[uint64]*scope{}
	if len(known) < maxScopes {
		larger = maps.Clone(known)
	}
	larger[hash] = s
	ix.scopes.Store(&larger) // losing another's entry costs no more than finding it again
	return s
}

// hash is the same for the same labels in any order.
func (ix *Index) hash(labels map[string]string) uint64 {
	var hash uint64
	for k, v := range labels {
		hash += maphash.Comparable(ix.seed, policy.Label{Key: k, Value: v})
	}
	return hash
}

// everywhere is the scope of a namespace whose labels can't be read.
func (ix *Index) everywhere() *scope {
	return ix.newScope(nil, func(*policy.Policy) bool { return true })
}

func (ix *Index) newScope(labels map[string]string, matches func(*policy.Policy) bool) *scope {
	s := &scope{labels: maps.Clone(labels), byLabel: map[policy.Label][]int{}, byImage: map[string][]int{}}
	for _, p := range ix.policies {
		if matches(p) {
			s.add(p)
		}
	}
	return s
}

func (s *scope) add(p *policy.Policy) {
	place := len(s.policies)
	s.policies = append(s.policies, p)
	anchors := p.Anchors()
	switch {
	case anchors.Label.Key != "":
		s.byLabel[anchors.Label] = append(s.byLabel[anchors.Label], place)
	case len(anchors.Images) > 0:
		for _, anchor := range anchors.Images {
			s.byImage[anchor] = append(s.byImage[anchor], place)
		}
	default:
		s.anything = append(s.anything, place)
	}
}

// candidates returns the policies that may judge a pod with these labels and
// images, in order: all that do, and perhaps others. An image that can't be
// read may be any.
func (s *scope) candidates(labels map[string]string, subjects []subject) []*policy.Policy {
	if len(s.anything) == len(s.policies) {
		return s.policies
	}
	places := append(make([]int, 0, 16), s.anything...)
	if len(s.byLabel) > 0 {
		for k, v := range labels {
			places = append(places, s.byLabel[policy.Label{Key: k, Value: v}]...)
		}
	}
	for i := range subjects {
		if subjects[i].err != nil {
			return s.policies
		}
		host, segment := policy.ImageAnchors(subjects[i].repository)
		places = append(places, s.byImage[host]...)
		if segment != host {
			places = append(places, s.byImage[segment]...)
		}
	}
	slices.Sort(places)
	places = slices.Compact(places)
	found := make([]*policy.Policy, len(places))
	for i, place := range places {
		found[i] = s.policies[place]
	}
	return found
}
