package whohas

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
)

// Workload is a workload whose pods run an image.
type Workload struct {
	Namespace string `json:"namespace"`
	// Workload is such as Deployment/web.
	Workload string `json:"workload"`
	// Image is the reference as the pods have it, and Digest what they run; empty: not known.
	Image  string `json:"image"`
	Digest string `json:"digest,omitempty"`
	State  State  `json:"state"`
	// Reason is why the state is unknown.
	Reason string `json:"reason,omitempty"`
}

// Facts returns what HSS knows of an image.
type Facts func(ctx context.Context, ref image.Reference) policy.Facts

// lookUps is how many images are looked up side by side.
const lookUps = 32

// Match adds the workloads of running pods that run one of the images, or of which that is not known.
func (a *Answer) Match(ctx context.Context, pods []check.Object, cluster *check.Cluster, facts Facts) {
	verdicts := map[Workload]*Workload{} // by image and digest
	for i := range pods {
		for n, use := range pods[i].Workload.Uses {
			verdicts[Workload{Image: use.Image, Digest: pods[i].Running[n]}] = &Workload{}
		}
	}
	var all errgroup.Group
	all.SetLimit(lookUps)
	for of, v := range verdicts {
		all.Go(func() error {
			v.State, v.Reason = a.stateOf(ctx, of.Image, of.Digest, facts)
			return nil
		})
	}
	_ = all.Wait() // none fails
	a.Workloads = []Workload{}
	for i := range pods {
		pod := &pods[i]
		for n, use := range pod.Workload.Uses {
			v := verdicts[Workload{Image: use.Image, Digest: pod.Running[n]}]
			if v.State == "" {
				continue
			}
			owner, err := cluster.TopOwner(ctx, pod.Namespace, pod.Owner)
			if err != nil {
				owner = pod.Owner // which is a name too
			}
			a.Workloads = append(a.Workloads, Workload{pod.Namespace, cmp.Or(owner.String(), "Pod/"+pod.Name), use.Image, pod.Running[n], v.State, v.Reason})
		}
	}
	slices.SortFunc(a.Workloads, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload, b.Workload),
			cmp.Compare(a.Image, b.Image), cmp.Compare(a.Digest, b.Digest))
	})
	a.Workloads = slices.Compact(a.Workloads)
}

// stateOf returns whether an image that runs with a digest, if that is known, has the vulnerability; "": it does not. If the
// digest is not that of an image that has it, HSS's records of the image decide.
func (a *Answer) stateOf(ctx context.Context, reference, digest string, facts Facts) (State, string) {
	ref, err := image.Parse(reference)
	if err != nil {
		return Unknown, err.Error()
	}
	if image.IsDigest(digest) {
		ref.Digest = digest
	}
	if state := a.stateBy(func(i *Image) bool { return i.Digest != "" && i.Digest == ref.Digest }); state != "" {
		return state, ""
	}
	f := facts(ctx, ref)
	for n := range f.Records {
		if state := a.stateBy(func(i *Image) bool { return i.is(&f.Records[n]) }); state != "" {
			return state, ""
		}
	}
	switch reason := cmp.Or(f.Reason, f.StaleReason); {
	case f.State != policy.StateFound || f.Stale || reason != "":
		return Unknown, reason
	case !f.HasResults():
		return Unknown, "HSS has no completed scan of it"
	}
	return "", ""
}

// stateBy returns the worst state of the images that fit.
func (a *Answer) stateBy(fits func(*Image) bool) (state State) {
	for n := range a.Images {
		if i := &a.Images[n]; state != Affected && fits(i) {
			state = i.State
		}
	}
	return state
}

// is reports whether an image may be that of a record: by a digest, or by its names, since the list of affected images may have
// other digests, or none. Names are compared by their last part, as it is not documented how they are spelled.
func (i *Image) is(r *policy.Record) bool {
	last := func(name string) string { return name[strings.LastIndexAny(name, "/$")+1:] }
	has := func(a policy.Architecture) bool { return a.Digest == i.Digest }
	return i.Digest != "" && (i.Digest == r.Digest || slices.ContainsFunc(r.Architectures, has)) ||
		i.Version == r.Version && last(i.Name) == last(r.Name) && (i.Namespace == "" || i.Namespace == r.Namespace)
}
