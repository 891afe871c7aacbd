package inventory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/lookup"
)

// registry is a configured registry with the project that scans it.
type registry struct {
	config.Registry
	project *project
}

// key is what one look-up is for. The digest is empty unless the reference has no tag: all digests of a tag share one
// look-up; without a tag, all versions of the name would have to be cached for the sake of one.
type key struct {
	registry  *registry
	namespace string
	name      string
	version   string
	digest    string
}

// clone copies the texts, which may be a part of a whole request, for a key that is kept.
func (k key) clone() key {
	k.namespace, k.name, k.version, k.digest = shared(k.namespace), strings.Clone(k.name), strings.Clone(k.version), strings.Clone(k.digest)
	return k
}

// String returns the image as HSS names it, for messages.
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

func (k key) project() *project { return k.registry.project }

// Endpoint returns the part of HSS's API that the look-up needs.
func (k key) Endpoint() *lookup.Endpoint { return k.project().calls.Images }

// compile makes the projects, and maps hosts to the registries that claim them.
func (i *Inventory) compile(o *Options) error {
	c, byName := o.Config, map[string]*project{}
	for n := range c.Projects {
		p, err := i.newProject(&c.Projects[n], o.Clients[c.Projects[n].Name], o)
		if err != nil {
			return err
		}
		byName[p.Name] = p
		i.projects = append(i.projects, p)
	}
	for n := range c.Registries {
		r := &registry{Registry: c.Registries[n]}
		r.project = byName[r.Project]
		r.project.registries = append(r.project.registries, r)
		for _, host := range r.Hosts {
			i.claims[host] = append(i.claims[host], r)
		}
	}
	return nil
}

// locate finds the registry that claims a reference and what HSS calls the image there, or returns why there is none.
func (i *Inventory) locate(ref *image.Reference) (key, string) {
	registries := i.claims[ref.Host]
	if len(registries) == 0 {
		return key{}, i.language.Sprintf("no configured registry claims host %q", ref.Host)
	}
	var refusals []string
	for _, r := range registries {
		namespace, name, fits := r.split(ref.Path)
		switch {
		case !fits:
			refusals = append(refusals, i.language.Sprintf("path %q does not fit %q of registry %q", ref.Path, r.Path, r.Name))
		case !r.holds(namespace):
			refusals = append(refusals, i.language.Sprintf("registry %q does not hold namespace %q", r.Name, namespace))
		default:
			k := key{registry: r, namespace: namespace, name: name, version: ref.Tag}
			if ref.Tag == "" {
				k.digest = ref.Digest
			}
			return k, invalidForHSS(i.language, k, ref)
		}
	}
	return key{}, i.language.Sprintf("no configured registry claims %s: %s", ref.Repository(), strings.Join(refusals, i.language.Text("; ")))
}

// holds reports whether a namespace of HSS is one of the registry's.
func (r *registry) holds(namespace string) bool {
	return len(r.Namespaces) == 0 || slices.Contains(r.Namespaces, namespace)
}

// maxNameLength is the length of the longest namespace or image name that HSS takes, in characters.
const maxNameLength = 128

// invalidForHSS returns why HSS cannot know an image; empty: it can.
func invalidForHSS(l language.Language, k key, ref *image.Reference) string {
	switch {
	case len(k.namespace) > maxNameLength:
		return l.Sprintf("HSS holds namespaces of up to %d characters, and this one has %d", maxNameLength, len(k.namespace))
	case len(k.name) > maxNameLength:
		return l.Sprintf("HSS holds image names of up to %d characters, and this one has %d", maxNameLength, len(k.name))
	case ref.Tag == "" && !image.IsDigest(ref.Digest):
		return l.Sprintf("HSS holds sha256 digests only, and the image's is %q", ref.Digest)
	}
	return ""
}

// split splits a path by that of the registry's configuration, whose last segment is always {name}. It reports whether the path fits.
func (r *registry) split(path string) (namespace, name string, fits bool) {
	if len(r.Namespaces) == 1 {
		namespace = r.Namespaces[0] // unless the path has one
	}
	for segment, pattern, follows := strings.Cut(r.Path, "/"); follows; segment, pattern, follows = strings.Cut(pattern, "/") {
		head, rest, more := strings.Cut(path, "/")
		switch {
		case !more || head == "":
			return "", "", false
		case segment == "{namespace}":
			namespace = head
		case segment != "*" && head != segment:
			return "", "", false
		}
		path = rest
	}
	return namespace, path, namespace != "" && path != ""
}

// spellings returns the names under which HSS may know an image.
func (k key) spellings() (names []string) {
	if !strings.Contains(k.name, "/") {
		return []string{k.name}
	}
	for _, n := range k.registry.NestedNames {
		separator := map[string]string{config.NestedSlash: "/", config.NestedDollar: "$"}[n]
		names = append(names, strings.ReplaceAll(k.name, "/", separator))
	}
	return names
}

// maxVersionFilter is the longest version that HSS filters by, in characters. Tags may have 128.
const maxVersionFilter = 64

// request is for the rows of one spelling of the name. Filters only make the answer shorter: every row is compared again.
func (k key) request(name string) hss.ListRequest {
	r := hss.ListRequest{EnterpriseProjectID: k.project().EnterpriseProjectID, Namespace: k.namespace, ImageName: name, Limit: hss.MaxLimit}
	if len(k.version) <= maxVersionFilter {
		r.ImageVersion = k.version
	}
	if len(k.registry.ImageTypes) == 1 {
		r.ImageType = hss.ImageType(k.registry.ImageTypes[0])
	}
	return r
}

// fits compares a row with a key, exactly and in every part that is known. HSS's filters are not trusted: they may match
// by substring, and other registries hold the same names. A row that cannot be read fits if it may be one that does:
// then there is no answer, as none may be given without it.
func (k key) fits(row *hss.Image, name string) bool {
	if row.Unreadable != "" && row.MultiArch && len(row.Architectures) == 0 {
		k.digest = "" // the digests of its architectures are not known
	}
	return row.Anonymous() || k.misfit(row, name) == ""
}

// misfit returns the first part in which a row is another than the key's; empty: it fits.
func (k key) misfit(row *hss.Image, name string) string {
	switch {
	case row.Namespace != k.namespace:
		return differs("namespace", row.Namespace, k.namespace)
	case row.Name != name:
		return differs("image name", row.Name, name)
	case k.version != "" && row.Version != k.version:
		return differs("version", row.Version, k.version)
	}
	if why := k.registry.misfit(row); why != "" {
		return why
	}
	if k.digest != "" && !hasDigest(row, k.digest) {
		return differs("digest", row.Digest, k.digest)
	}
	return ""
}

// misfit returns the first part that shows a row to be of another registry; empty: it is of this one.
func (r *registry) misfit(row *hss.Image) string {
	switch {
	case !slices.Contains(r.ImageTypes, string(row.Type)):
		return differs("image type", string(row.Type), strings.Join(r.ImageTypes, " or "))
	case !same(r.RegistryType, string(row.RegistryType)):
		return differs("registry type", string(row.RegistryType), r.RegistryType)
	case !same(r.RegistryName, row.RegistryName):
		return differs("registry name", row.RegistryName, r.RegistryName)
	case !same(r.RegistryID, row.RegistryID):
		return differs("registry id", row.RegistryID, r.RegistryID)
	case !same(r.InstanceID, row.InstanceID):
		return differs("instance id", row.InstanceID, r.InstanceID)
	}
	return ""
}

func differs(part, sent, wanted string) string {
	return fmt.Sprintf("its %s is %q, not %q", part, sent, wanted)
}

// same compares what is configured; what is not may be anything.
func same(configured, sent string) bool { return configured == "" || configured == sent }

// hasDigest reports whether a digest is that of a row or of an architecture of it.
func hasDigest(row *hss.Image, digest string) bool {
	return image.IsDigest(digest) && (image.CompleteDigest(row.Digest) == digest ||
		slices.ContainsFunc(row.Architectures, func(a hss.AssociatedImage) bool { return image.CompleteDigest(a.Digest) == digest }))
}
