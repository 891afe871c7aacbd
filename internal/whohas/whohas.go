// Package whohas finds the images and the running workloads that have a vulnerability. It reads the lists that HSS keeps over
// all images of registries, which takes few calls however many images there are, and names what it does not know.
package whohas

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
)

// Answer is who has a vulnerability.
type Answer struct {
	Vulnerability string  `json:"vulnerability"`
	Images        []Image `json:"images"`
	// Workloads are those that run one of the images, or of which that is not known. Nil: no cluster was read.
	Workloads []Workload `json:"workloads"`
	// Unscanned describes the images without a completed scan, and Unknown why a list is not whole.
	Unscanned []string `json:"unscanned"`
	Unknown   []string `json:"unknown"`
}

// Image is an image that has the vulnerability by one advisory.
type Image struct {
	Project   string    `json:"project"`
	Registry  string    `json:"registry"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Digest    string    `json:"digest,omitempty"`
	ScannedAt time.Time `json:"scannedAt,omitzero"`
	// Advisory is the vulnerability of HSS that is the one in question, or of which that is a part.
	Advisory string       `json:"advisory"`
	Severity hss.Severity `json:"severity,omitempty"`
	Solution string       `json:"solution,omitempty"`
	State    State        `json:"state"`
}

// State is whether an image or a workload has the vulnerability.
type State string

// The states. The image of a handled one has the vulnerability, too, and somebody handled that in HSS, such as by ignoring it.
const (
	Affected State = "Affected"
	Handled  State = "Handled"
	Unknown  State = "Unknown"
)

// String returns the image as HSS names it.
func (i *Image) String() string { return i.Namespace + "/" + i.Name + ":" + i.Version }

// Find returns the images that have a vulnerability, which may be a CVE or an ID of HSS.
func Find(ctx context.Context, known *inventory.Inventory, id string) *Answer {
	a := &Answer{Vulnerability: id, Images: []Image{}, Unscanned: []string{}, Unknown: []string{}}
	all, unscanned, unknown := known.WhoHas(ctx, id)
	a.Unscanned, a.Unknown = append(a.Unscanned, unscanned...), append(a.Unknown, unknown...)
	for _, by := range all {
		v := &by.Vulnerability
		for _, row := range by.Images {
			image := Image{
				Project: by.Project, Registry: cmp.Or(row.RegistryName, string(row.RegistryType)), Namespace: row.Namespace, Name: row.Name, Version: row.Version,
				Digest: row.Digest, ScannedAt: row.ScannedAt, Advisory: v.ID, Severity: v.Severity, Solution: v.Solution, State: Affected,
			}
			if row.Handled || row.Status == hss.VulnerabilityIgnored {
				image.State = Handled
			}
			a.Images = append(a.Images, image)
		}
	}
	slices.SortFunc(a.Images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.String(), b.String()), cmp.Compare(a.Digest, b.Digest),
			cmp.Compare(a.Advisory, b.Advisory), cmp.Compare(a.State, b.State), a.ScannedAt.Compare(b.ScannedAt))
	})
	slices.Sort(a.Unscanned)
	slices.Sort(a.Unknown)
	a.Images, a.Unknown = slices.Compact(a.Images), slices.Compact(a.Unknown)
	return a
}

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

// lookUps is how many images are looked up side by side.
const lookUps = 32

// Match adds the workloads of running pods that run one of the images, or of which that is not known.
func (a *Answer) Match(ctx context.Context, pods []check.Object, cluster *check.Cluster, known *inventory.Inventory) {
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
			v.State, v.Reason = a.stateOf(ctx, of.Image, of.Digest, known)
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
func (a *Answer) stateOf(ctx context.Context, reference, digest string, known *inventory.Inventory) (State, string) {
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
	f := known.Facts(ctx, ref)
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
	has := func(a policy.Architecture) bool { return a.Digest == i.Digest }
	return i.Digest != "" && (i.Digest == r.Digest || slices.ContainsFunc(r.Architectures, has)) ||
		i.Version == r.Version && policy.LastSegment(i.Name) == policy.LastSegment(r.Name) && (i.Namespace == "" || i.Namespace == r.Namespace)
}
