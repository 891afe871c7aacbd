package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/hssgate/hssgate/policy/glob"
)

// maxReferenceLength bounds what is parsed: 255 characters of name, 128 of
// tag, and the longest digest, with room to spare.
const maxReferenceLength = 1024

// Docker Hub's host, and the one that it had before.
const (
	hubHost    = "docker.io"
	oldHubHost = "index.docker.io"
)

// Reference is an image reference as a container runtime resolves it.
type Reference struct {
	// Host is the registry's host in lower case, with its port unless that is
	// 443, the default: one registry has one name. Only a host without a dot,
	// such as "registry:443", keeps it, or it would be no host.
	Host string
	// Path is the repository below the host, such as "prod/app".
	Path string
	// Tag is "latest" if the reference named neither tag nor digest, and empty
	// if it named only a digest.
	Tag string
	// Digest is empty if the reference named none.
	Digest string
}

// ErrInvalidReference is what every error of Parse wraps.
var ErrInvalidReference = errors.New("invalid image reference")

// Parse reads a reference as a container runtime would: "nginx" becomes
// docker.io/library/nginx:latest. Its errors wrap ErrInvalidReference and give
// the parser's reason.
func Parse(s string) (Reference, error) {
	if s == "" {
		return Reference{}, fmt.Errorf("%w: it is empty", ErrInvalidReference)
	}
	if len(s) > maxReferenceLength {
		return Reference{}, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrInvalidReference, len(s), maxReferenceLength)
	}
	if isImageID(s) {
		return Reference{}, fmt.Errorf("%w: it names an image on the node by its ID, not one in a registry", ErrInvalidReference)
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, fmt.Errorf("%w: %s", ErrInvalidReference, parserReason(err))
	}
	domain, path := reference.Domain(named), reference.Path(named)
	if domain == "" {
		// One with an underscore is no host to the parser, though a runtime
		// pulls from it.
		domain, path, _ = strings.Cut(path, "/")
	}
	host, err := glob.NormalizeHost(domain)
	if err != nil {
		return Reference{}, fmt.Errorf("%w: %w", ErrInvalidReference, err)
	}
	// The parser knows Docker Hub's old host and its library only by their
	// plain spelling, not in capitals or with a port.
	if (host == hubHost || host == oldHubHost) && domain != hubHost {
		return Parse(hubHost + strings.TrimPrefix(s, domain))
	}
	r := Reference{Host: host, Path: path}
	named = reference.TagNameOnly(named)
	if tagged, ok := named.(reference.Tagged); ok {
		r.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		r.Digest = digested.Digest().String()
	}
	return r, nil
}

// Repository returns host/path, what a policy's globs are matched against.
func (r Reference) Repository() string { return r.Host + "/" + r.Path }

// String returns host/path:tag@digest, leaving out what is empty.
func (r Reference) String() string {
	colon, at := "", ""
	if r.Tag != "" {
		colon = ":"
	}
	if r.Digest != "" {
		at = "@"
	}
	return r.Host + "/" + r.Path + colon + r.Tag + at + r.Digest // one allocation
}

// isImageID reports whether a runtime may take s for the ID of an image that is
// on the node already, whatever registry that came from: "sha256:" and some hex
// digits. The parser reads it as docker.io/library/sha256 with a tag.
func isImageID(s string) bool {
	algorithm, _, found := strings.Cut(s, ":")
	return found && slices.Contains([]string{"sha256", "sha384", "sha512"}, algorithm)
}

func parserReason(err error) string {
	if errors.Is(err, reference.ErrReferenceInvalidFormat) && err.Error() == reference.ErrReferenceInvalidFormat.Error() {
		return "it is not of the form [host[:port]/]path[:tag][@digest]"
	}
	return strings.TrimPrefix(err.Error(), reference.ErrReferenceInvalidFormat.Error()+": ")
}

// CompleteDigest returns a sha256 digest as IsDigest wants it, of which the algorithm may be missing and the digits be
// capitals. It returns anything else as it is.
func CompleteDigest(s string) string {
	if IsDigest(s) {
		return s
	}
	if complete := "sha256:" + strings.TrimPrefix(strings.ToLower(s), "sha256:"); IsDigest(complete) {
		return complete
	}
	return s
}

// IsDigest reports whether s is a whole sha256 digest as the OCI image
// specification writes it: sha256: and 64 hexadecimal digits in lower case. A
// digest that is cut short, or of another algorithm, isn't one.
func IsDigest(s string) bool {
	const hexDigits = 64
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == hexDigits && strings.Trim(hex, "0123456789abcdef") == ""
}
