package inventory

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
)

// registry is a configured registry with the project that scans it.
type registry struct {
	config.Registry
	template template
	project  *project
}

// project is an HSS project and how to ask it.
type project struct {
	name, region      string
	enterpriseProject string
	lookupTimeout     time.Duration
	lister            Lister
	heard             *heard
	registries        []*registry
	turns             *turnstile
	breaker           *breaker
	refresher         *refresher
	scanOnDemand      config.ScanOnDemand
	// syncer is nil unless the project is synchronised.
	syncer *syncer
	// vulnerabilities is nil if HSS isn't to be asked for them, and unlisted says
	// why. tells keeps it from being asked for them while that alone fails.
	vulnerabilities VulnerabilityLister
	unlisted        string
	tells           *breaker
	// untold is set while HSS won't tell them, to this account or for now.
	untold atomic.Pointer[failure]
	// paused is set while HSS has told us to wait.
	paused atomic.Pointer[failure]
	// refused is set while HSS refuses the credentials.
	refused atomic.Bool
	// lastSuccess is when HSS last answered, in nanoseconds since the epoch.
	lastSuccess atomic.Int64
}

// key names what one look-up asks for. The digest is empty unless the
// reference has no tag: with a tag, all digests of the tag share one look-up,
// whose rows tell which digests HSS knows; without one, all versions of the
// name would have to be kept for the sake of one.
type key struct {
	registry  *registry
	namespace string
	name      string
	version   string
	digest    string
}

// clone copies the texts, which may be a part of a whole request.
func (k key) clone() key {
	k.namespace, k.name = strings.Clone(k.namespace), strings.Clone(k.name)
	k.version, k.digest = strings.Clone(k.version), strings.Clone(k.digest)
	return k
}

// String is the image as HSS names it, for messages.
func (k key) String() string {
	s := k.namespace + "/" + k.name
	if k.version != "" {
		s += ":" + k.version
	}
	if k.digest != "" {
		s += "@" + k.digest
	}
	return s
}

// compile makes the projects, and maps hosts to the registries that claim them.
func (i *Inventory) compile(c *config.Configuration, clients map[string]Lister) error {
	byName := map[string]*project{}
	for n := range c.Projects {
		p, err := i.newProject(&c.Projects[n], clients[c.Projects[n].Name])
		if err != nil {
			return err
		}
		byName[p.name] = p
		i.projects = append(i.projects, p)
	}
	for n := range c.Registries {
		r := &registry{Registry: c.Registries[n], template: newTemplate(&c.Registries[n])}
		r.project = byName[c.ProjectOf(&r.Registry).Name]
		r.project.registries = append(r.project.registries, r)
		for _, host := range r.Hosts {
			i.claims[host] = append(i.claims[host], r)
		}
	}
	return nil
}

func (i *Inventory) newProject(c *config.Project, lister Lister) (*project, error) {
	if lister == nil {
		return nil, fmt.Errorf("project %q has no client", c.Name)
	}
	p := &project{
		name: c.Name, region: c.Region, enterpriseProject: c.EnterpriseProjectID,
		lookupTimeout: time.Duration(c.LookupTimeout), lister: lister, heard: i.heard,
		turns:     newTurnstile(c.MaxConcurrent, c.BackgroundPercent, c.MaxWaiting),
		breaker:   &breaker{project: c.Name, random: i.random, changed: i.observer.Breaker, state: BreakerClosed},
		refresher: newRefresher(), scanOnDemand: c.ScanOnDemand,
	}
	if err := checkScanClient(c, lister); err != nil {
		return nil, err
	}
	p.setVulnerabilities(c, i.random)
	if !c.Sync.Enabled {
		return p, nil
	}
	pager, ok := lister.(Pager)
	if !ok {
		return nil, fmt.Errorf("project %q is to be synchronised, and its client %T cannot list pages", c.Name, lister)
	}
	p.syncer = newSyncer(i, p, c.Sync, pager)
	return p, nil
}

func (p *project) setVulnerabilities(c *config.Project, random func() float64) {
	p.tells = &breaker{
		project: c.Name + " (vulnerabilities)", random: random, state: BreakerClosed,
		changed: func(string, BreakerState) {}, // what the project's own says is what an operator must know
	}
	lister, ok := p.lister.(VulnerabilityLister)
	switch {
	case !c.VulnerabilityDetails:
		p.unlisted = fmt.Sprintf("vulnerabilityDetails of project %q is false", c.Name)
	case !ok:
		p.unlisted = fmt.Sprintf("the client of project %q cannot list them", c.Name)
	default:
		p.vulnerabilities = lister
	}
}

// locate finds the registry that claims a reference and what HSS calls the
// image there, or says why there is none.
func (i *Inventory) locate(ref *image.Reference) (key, string) {
	registries := i.claims[ref.Host]
	if len(registries) == 0 {
		return key{}, fmt.Sprintf("no configured registry claims host %q", ref.Host)
	}
	for _, r := range registries {
		namespace, name, fits := r.template.split(ref.Path)
		if !fits || (len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, namespace)) {
			continue
		}
		k := key{registry: r, namespace: namespace, name: name, version: ref.Tag}
		if ref.Tag == "" {
			k.digest = ref.Digest
		}
		return k, unaskable(k, ref)
	}
	return key{}, refusal(registries, ref)
}

// refusal says why none of the registries of a host takes a path.
func refusal(registries []*registry, ref *image.Reference) string {
	reasons := make([]string, 0, len(registries))
	for _, r := range registries {
		if namespace, _, fits := r.template.split(ref.Path); fits {
			reasons = append(reasons, fmt.Sprintf("registry %q does not hold namespace %q", r.Name, namespace))
			continue
		}
		reasons = append(reasons, fmt.Sprintf("path %q does not fit %q of registry %q", ref.Path, r.Path, r.Name))
	}
	return "no configured registry claims " + ref.Repository() + ": " + strings.Join(reasons, "; ")
}

// maxNameLength is the length of the longest namespace or image name that HSS
// can be asked for, in characters.
const maxNameLength = 128

// unaskable says why HSS cannot know an image.
func unaskable(k key, ref *image.Reference) string {
	switch {
	case len(k.namespace) > maxNameLength:
		return fmt.Sprintf("HSS holds namespaces of up to %d characters, and this one has %d", maxNameLength, len(k.namespace))
	case len(k.name) > maxNameLength:
		return fmt.Sprintf("HSS holds image names of up to %d characters, and this one has %d", maxNameLength, len(k.name))
	case ref.Tag == "" && !image.IsDigest(ref.Digest):
		return fmt.Sprintf("HSS holds sha256 digests only, and the image's is %q", ref.Digest)
	default:
		return ""
	}
}

// template is the path of a registry's configuration, without its last
// segment, which is always {name}.
type template struct {
	segments  []string
	namespace string
}

func newTemplate(r *config.Registry) template {
	segments := strings.Split(r.Path, "/")
	t := template{segments: segments[:len(segments)-1]}
	if !slices.Contains(segments, "{namespace}") && len(r.Namespaces) == 1 {
		t.namespace = r.Namespaces[0]
	}
	return t
}

// split takes a path apart. It reports whether the path fits.
func (t template) split(path string) (namespace, name string, fits bool) {
	namespace = t.namespace
	for _, segment := range t.segments {
		head, rest, more := strings.Cut(path, "/")
		if !more || head == "" {
			return "", "", false
		}
		switch segment {
		case "{namespace}":
			namespace = head
		case "*":
		default:
			if head != segment {
				return "", "", false
			}
		}
		path = rest
	}
	return namespace, path, namespace != "" && path != ""
}

// spellings are the names under which HSS may know an image.
func (k key) spellings() []string {
	if !strings.Contains(k.name, "/") {
		return []string{k.name}
	}
	var names []string
	for _, n := range k.registry.NestedNames {
		switch n {
		case config.NestedSlash:
			names = append(names, k.name)
		case config.NestedDollar:
			names = append(names, strings.ReplaceAll(k.name, "/", "$"))
		}
	}
	return names
}

// maxVersionFilter is the longest version that HSS filters by, in characters.
// Tags may have 128.
const maxVersionFilter = 64

// request asks for the image under one spelling of its name. Filters only make
// the answer shorter: every row is compared again.
func (k key) request(name string) hss.ListRequest {
	r := hss.ListRequest{
		EnterpriseProjectID: k.registry.project.enterpriseProject,
		Namespace:           k.namespace,
		ImageName:           name,
		Limit:               hss.MaxLimit,
	}
	if len(k.version) <= maxVersionFilter {
		r.ImageVersion = k.version
	}
	if len(k.registry.ImageTypes) == 1 {
		r.ImageType = hss.ImageType(k.registry.ImageTypes[0])
	}
	return r
}
