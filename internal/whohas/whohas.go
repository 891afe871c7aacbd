// Package whohas finds the images and the running workloads that have a vulnerability. It reads the lists that HSS keeps over
// all images of registries, which takes few calls however many images there are, and names what it does not know.
package whohas

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/inventory"
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
