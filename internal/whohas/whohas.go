// Package whohas finds the images and the running workloads that have a vulnerability. It reads the lists that HSS keeps over
// all images of registries, which takes few calls however many images there are, and names what it does not know.
package whohas

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
)

// HSS is what is read of HSS; *hss.Client implements it.
type HSS interface {
	ImageVulnerabilities(ctx context.Context, r hss.ImageVulnerabilityRequest) iter.Seq2[hss.ImageVulnerability, error]
	AffectedImages(ctx context.Context, r hss.AffectedImageRequest) iter.Seq2[hss.AffectedImage, error]
	List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error)
}

// Project is a project of HSS.
type Project struct {
	Name, EnterpriseProjectID string
	HSS                       HSS
}

// Projects returns the projects of a configuration with their clients.
func Projects(c *config.Configuration, clients map[string]inventory.Lister) (all []Project) {
	for i := range c.Projects {
		p := &c.Projects[i]
		if client, ok := clients[p.Name].(HSS); ok { // inventory.NewClients returns such clients
			all = append(all, Project{p.Name, p.EnterpriseProjectID, client})
		}
	}
	return all
}

// Answer is who has a vulnerability.
type Answer struct {
	Vulnerability string  `json:"vulnerability"`
	Images        []Image `json:"images"`
	// Workloads are those that run one of the images, or of which that is not known. Nil: no cluster was read.
	Workloads []Workload `json:"workloads"`
	// Unscanned describes the images without a completed scan, and Unknown why a list is not whole.
	Unscanned []string `json:"unscanned"`
	Unknown   []string `json:"unknown"`

	mu sync.Mutex // while lists are read
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
func Find(ctx context.Context, projects []Project, id string) *Answer {
	a := &Answer{Vulnerability: id, Images: []Image{}, Unscanned: []string{}, Unknown: []string{}}
	var all sync.WaitGroup
	for i := range projects {
		p := &projects[i]
		all.Go(func() { a.countUnscanned(ctx, p) })
		for _, t := range []hss.VulnerabilityType{hss.VulnerabilityTypeLinux, hss.VulnerabilityTypeApplication} {
			for _, handled := range []bool{false, true} {
				all.Go(func() {
					a.find(ctx, p, hss.ImageVulnerabilityRequest{Type: t, Handled: handled, EnterpriseProjectID: p.EnterpriseProjectID})
				})
			}
		}
	}
	all.Wait()
	slices.SortFunc(a.Images, func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.String(), b.String()), cmp.Compare(a.Digest, b.Digest), cmp.Compare(a.Advisory, b.Advisory))
	})
	slices.Sort(a.Unknown)
	slices.Sort(a.Unscanned)
	return a
}

// find lists the vulnerabilities of a type, handled or not, by HSS's own ID and by the CVE, and the images that have them. The
// filters only make the answers shorter, as they may match a part of an ID.
func (a *Answer) find(ctx context.Context, p *Project, r hss.ImageVulnerabilityRequest) {
	byID, byCVE, found := r, r, map[string]bool{}
	byID.VulnerabilityID, byCVE.CVE = a.Vulnerability, a.Vulnerability
	requests := []hss.ImageVulnerabilityRequest{byID, byCVE}
	if !policy.IsCVE(a.Vulnerability) {
		requests = requests[:1]
	}
	for _, r := range requests {
		for v, err := range p.HSS.ImageVulnerabilities(ctx, r) {
			if err != nil {
				a.fail(p, "vulnerabilities of all images", err)
				break
			}
			isIt := func(c hss.CVE) bool { return strings.EqualFold(c.ID, a.Vulnerability) }
			if !found[v.ID] && (strings.EqualFold(v.ID, a.Vulnerability) || slices.ContainsFunc(v.CVEs, isIt)) {
				found[v.ID] = true
				a.addImages(ctx, p, &v, hss.AffectedImageRequest{VulnerabilityID: v.ID, Type: r.Type, Handled: r.Handled, EnterpriseProjectID: r.EnterpriseProjectID})
			}
		}
	}
}

// addImages adds the images that have a vulnerability of HSS.
func (a *Answer) addImages(ctx context.Context, p *Project, v *hss.ImageVulnerability, r hss.AffectedImageRequest) {
	list, listed := "images that have "+v.ID, 0
	for row, err := range p.HSS.AffectedImages(ctx, r) {
		if err != nil {
			a.fail(p, list, err)
			return
		}
		listed++
		image := Image{
			Project: p.Name, Registry: cmp.Or(row.RegistryName, string(row.RegistryType)), Namespace: row.Namespace, Name: row.Name, Version: row.Version,
			Digest: row.Digest, ScannedAt: row.ScannedAt, Advisory: v.ID, Severity: v.Severity, Solution: v.Solution, State: Affected,
		}
		if r.Handled || row.Status == hss.VulnerabilityIgnored {
			image.State = Handled
		}
		a.mu.Lock()
		a.Images = append(a.Images, image)
		a.mu.Unlock()
	}
	if v.Images != nil && *v.Images > listed {
		a.fail(p, list, fmt.Errorf("HSS counts %d, and lists %d", *v.Images, listed))
	}
}

// countUnscanned compares how many images HSS lists with how many of them have the result of a scan.
func (a *Answer) countUnscanned(ctx context.Context, p *Project) {
	count := func(status hss.ScanStatus) (int, error) {
		page, err := p.HSS.List(ctx, hss.ListRequest{EnterpriseProjectID: p.EnterpriseProjectID, ScanStatus: status, Limit: 1})
		if err == nil && (page.Total < len(page.Images) || len(page.Images) > 0 && status != "" && page.Images[0].ScanStatus != status) {
			err = errors.New("HSS does not count its images by the status of their scans")
		}
		if err != nil {
			return 0, err
		}
		return page.Total, nil
	}
	scanned, err := count(hss.ScanStatusSuccess)
	all := 0
	if err == nil {
		all, err = count("")
	}
	if err != nil {
		a.fail(p, "number of images", err)
	} else if all > scanned {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.Unscanned = append(a.Unscanned, fmt.Sprintf("project %s: %d of %d images have no completed scan", p.Name, all-scanned, all))
	}
}

// fail notes why a list of a project is not whole, once.
func (a *Answer) fail(p *Project, list string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	prefix := fmt.Sprintf("project %s: %s: ", p.Name, list)
	if !slices.ContainsFunc(a.Unknown, func(u string) bool { return strings.HasPrefix(u, prefix) }) {
		a.Unknown = append(a.Unknown, prefix+err.Error())
	}
}
