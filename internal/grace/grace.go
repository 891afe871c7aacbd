// Package grace gives an image that runs and passed some time when it turns bad:
// an ImageScanException by its digest, in each namespace where it runs, until the
// period of the policy's spec.grace is over. The audit of running pods calls it.
//
// It does not decide about pods: the gate reads these exceptions like any others.
// What passed is kept in memory only, so that an image which turned bad while no
// leader watched gets no grace.
package grace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/gate"
	imagepkg "github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// maxRemembered bounds the images that are remembered: some 20 MB.
const maxRemembered = 50000

// Graces grants and ends graces. It is not safe for concurrent use.
type Graces struct {
	Client client.Client
	// Policies returns those in force.
	Policies func() []*policy.Policy
	Log      *slog.Logger

	// passed holds when images that have no exception last passed.
	passed map[image]time.Time
}

// image is the image of one digest in one namespace, by one policy.
type image struct{ namespace, policy, digest string }

// Settle grants a grace to what passed before and no longer does, and deletes the
// exceptions of graces that are over. seen is all that runs. It returns the graces
// under way, by policy.
func (g *Graces) Settle(ctx context.Context, seen *Sightings, now time.Time) (map[string]*v1alpha1.AuditGrace, error) {
	policies := map[string]*policy.Policy{}
	for _, p := range g.Policies() {
		if p.GracePeriod() > 0 {
			policies[p.Name()] = p
		}
	}
	var exceptions v1alpha1.ImageScanExceptionList
	if err := g.Client.List(ctx, &exceptions, client.HasLabels{v1alpha1.GraceLabel}); err != nil {
		return nil, fmt.Errorf("list graces: %w", err)
	}
	granted := map[image]*v1alpha1.ImageScanException{}
	for i := range exceptions.Items {
		granted[imageOf(&exceptions.Items[i])] = &exceptions.Items[i]
	}
	g.remember(seen, policies, now)
	failures := g.grant(ctx, seen, granted, policies, now)
	underWay := map[string]*v1alpha1.AuditGrace{}
	for name := range policies {
		underWay[name] = &v1alpha1.AuditGrace{}
	}
	for one, e := range granted {
		admits, bad := seen.bad[one]
		end := endOf(e, policies[one.policy])
		ended := !now.Before(end)
		switch {
		// One that has ended stays as long as its image runs, to say so.
		case policies[one.policy] == nil, !bad && (ended || seen.passed[one]):
			failures = append(failures, g.revoke(ctx, e))
		case admits && !ended:
			all := underWay[one.policy]
			all.Images++
			if all.NextEnd.IsZero() || end.Before(all.NextEnd.Time) {
				all.NextEnd = metav1.NewTime(end)
			}
		}
	}
	return underWay, errors.Join(failures...)
}

// remember notes what passes, and forgets what has not passed for the period of a grace.
func (g *Graces) remember(seen *Sightings, policies map[string]*policy.Policy, now time.Time) {
	if g.passed == nil {
		g.passed = map[image]time.Time{}
	}
	maps.DeleteFunc(g.passed, func(one image, at time.Time) bool {
		giving := policies[one.policy]
		return giving == nil || !now.Before(at.Add(giving.GracePeriod()))
	})
	dropped := 0
	for one := range seen.passed {
		_, known := g.passed[one]
		_, bad := seen.bad[one]
		switch {
		case bad, policies[one.policy] == nil:
		case !known && len(g.passed) >= maxRemembered:
			dropped++
		default:
			g.passed[one] = now
		}
	}
	if dropped > 0 {
		g.Log.Warn("too many running images: some have no grace", "remembered", maxRemembered, "others", dropped)
	}
}

// grant creates an exception for each image that passed before and that a grace
// would admit. What cannot be written is tried again in the next audit.
func (g *Graces) grant(
	ctx context.Context, seen *Sightings, granted map[image]*v1alpha1.ImageScanException, policies map[string]*policy.Policy, now time.Time,
) (failures []error) {
	for one := range g.passed {
		if !seen.bad[one] {
			continue
		}
		if granted[one] == nil {
			e := newException(one, now, policies[one.policy].GracePeriod())
			err := g.Client.Create(ctx, e)
			switch {
			case err == nil:
				g.Log.Info("grace granted", "namespace", one.namespace, "policy", one.policy, "digest", one.digest, "until", e.Spec.ExpiresAt.UTC())
				granted[one] = e
			case apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			default:
				failures = append(failures, fmt.Errorf("grant grace in namespace %q: %w", one.namespace, err))
				continue
			}
		}
		delete(g.passed, one) // it has had its grace
	}
	return failures
}

func (g *Graces) revoke(ctx context.Context, e *v1alpha1.ImageScanException) error {
	err := g.Client.Delete(ctx, e, client.Preconditions{UID: &e.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete grace %s/%s: %w", e.Namespace, e.Name, err)
	}
	return nil
}

// newException returns the exception of a grace. Its name makes it the only one of
// its namespace, policy and digest.
func newException(one image, now time.Time, period time.Duration) *v1alpha1.ImageScanException {
	_, hex, _ := strings.Cut(one.digest, ":")
	return &v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: one.namespace, Name: fmt.Sprintf("grace-%s-%.32s", one.policy, hex),
			Labels: map[string]string{v1alpha1.GraceLabel: one.policy},
		},
		Spec: v1alpha1.ImageScanExceptionSpec{
			Images: []string{one.digest}, Policies: []string{one.policy}, ExpiresAt: metav1.NewTime(now.Add(period).Truncate(time.Second)),
			Reason: fmt.Sprintf("grace of policy %s: the image ran here and passed, and no longer does since %s", one.policy, now.UTC().Format(time.RFC3339)),
		},
	}
}

func imageOf(e *v1alpha1.ImageScanException) image {
	one := image{namespace: e.Namespace}
	if len(e.Spec.Policies) == 1 && len(e.Spec.Images) == 1 {
		one.policy, one.digest = e.Spec.Policies[0], e.Spec.Images[0]
	}
	return one
}

// endOf returns when a grace ends; p is nil if its policy gives none.
func endOf(e *v1alpha1.ImageScanException, p *policy.Policy) time.Time {
	if p == nil {
		return time.Time{}
	}
	compiled, _ := policy.CompileException(e, 0) // one that is invalid admits nothing until its end
	return p.GraceEnd(compiled)
}

// Sightings are the images that one audit saw, for policies that give grace. The
// zero value is ready for use, also concurrently.
type Sightings struct {
	mu     sync.Mutex
	passed map[image]bool
	// bad holds for each bad image whether a grace would admit it.
	bad map[image]bool
}

// Add adds the decision about one pod. A bad record is bad wherever it was seen.
// An image passed only if the node reports its digest: the kubelet writes a pod's
// status, and the pod's author does not.
func (s *Sightings) Add(pod *corev1.Pod, d *gate.Decision) {
	if len(d.Sightings) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passed == nil {
		s.passed, s.bad = map[image]bool{}, map[image]bool{}
	}
	for i := range d.Sightings {
		one := &d.Sightings[i]
		for _, digests := range one.Digests {
			key := image{pod.Namespace, one.Policy, digests.Image}
			switch {
			case one.Bad:
				s.markBad(key, one.Covered)
				if digests.Whole != "" {
					s.markBad(image{pod.Namespace, one.Policy, digests.Whole}, one.Covered)
				}
			case one.Passed && digests.Has(imagepkg.Running(pod, one.Use).Digest):
				s.passed[key] = true
			}
		}
	}
}

// markBad notes a bad image. Findings that a grace does not cover count if any pod
// has them.
func (s *Sightings) markBad(one image, covered bool) {
	before, known := s.bad[one]
	s.bad[one] = covered && (before || !known)
}
