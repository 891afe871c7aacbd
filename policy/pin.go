package policy

import (
	"slices"
	"strings"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// PinObstacle is why no digest can be pinned, in a word. Empty: nothing is in
// the way.
type PinObstacle string

// The obstacles.
const (
	PinNotFound    PinObstacle = "notFound"
	PinUnavailable PinObstacle = "unavailable"
	// PinNotScanned: no completed scan of the image as it is now is known.
	PinNotScanned PinObstacle = "notScanned"
	// PinNoDigest: HSS tells no whole sha256 digest.
	PinNoDigest PinObstacle = "noDigest"
	// PinAmbiguous: the records that fit have different digests.
	PinAmbiguous PinObstacle = "ambiguous"
	// PinArchitecture: the digest is that of one architecture of several.
	PinArchitecture PinObstacle = "architecture"
)

// ScannedPin is the digest that HSS scanned under a tag, or why there is none.
type ScannedPin struct {
	// Digest is empty if there is an Obstacle.
	Digest   string
	Obstacle PinObstacle
	// Message says in one line what is in the way.
	Message string
}

// ScannedDigest returns the one digest that HSS scanned under a tag. It is never
// guessed: all records that fit must name the same one, and one of them must
// have a completed scan of it, by the rules of a verdict. Of a multi-architecture
// image it is the whole image's and never one architecture's.
func ScannedDigest(f *Facts) ScannedPin {
	switch {
	case f.State == StateNotFound:
		return noPin(PinNotFound, orElse(f.Reason, "HSS has no such image"))
	case f.State != StateFound || len(f.Records) == 0:
		return noPin(PinUnavailable, orElse(f.Reason, noResult))
	}
	digest := f.Records[0].Digest
	for i := range f.Records {
		r := &f.Records[i]
		if !isWholeDigest(r.Digest) {
			return noPin(PinNoDigest, noDigestMessage(r.Digest))
		}
		if r.Digest != digest {
			return noPin(PinAmbiguous, "HSS knows the tag with several digests, "+digest+" and "+r.Digest+" among them")
		}
	}
	return scannedPin(f.Records, digest)
}

// scannedPin is the pin of records that all name the digest.
func scannedPin(records []Record, digest string) ScannedPin {
	why := ""
	scanned := false
	for i := range records {
		r := &records[i]
		if architectureOf(r, digest) != nil {
			return noPin(PinArchitecture, "the digest that HSS tells is that of one architecture: "+digest)
		}
		reason := unscanned(r)
		scanned = scanned || reason == ""
		if why == "" {
			why = reason
		}
	}
	if !scanned {
		return noPin(PinNotScanned, why)
	}
	return ScannedPin{Digest: digest}
}

func noPin(o PinObstacle, message string) ScannedPin {
	return ScannedPin{Obstacle: o, Message: message}
}

func noDigestMessage(digest string) string {
	if clean(digest) == "" {
		return "HSS tells no digest"
	}
	return "what HSS tells for a digest is none: " + clean(digest)
}

// isWholeDigest tells whether s is a sha256 digest in full, as HSS and
// registries write it.
func isWholeDigest(s string) bool {
	const hexDigits = 64
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == hexDigits && strings.Trim(hex, "0123456789abcdef") == ""
}

// unscanned says why no completed scan of the record is known; empty: one is.
func unscanned(r *Record) string {
	if lacksArchitectures(r) {
		return "HSS lists none of its architectures"
	}
	scan := decisiveScan(r)
	if s := stageOf(scan.Status); s != stagePending && s != stageDone {
		return "its scan ended with " + orElse(string(scan.Status), "no status")
	}
	results, why := completedResults(r)
	if why != "" {
		return why
	}
	if slices.ContainsFunc(results, lacksScan) {
		return "not every architecture has been scanned"
	}
	return ""
}

// lacksScan tells whether any architecture lacks a completed scan.
func lacksScan(r *Record) bool {
	return slices.ContainsFunc(r.Architectures, func(a Architecture) bool {
		return a.Scan.Status != v1alpha1.ScanStatusSuccess && len(lastScansOf(r, &a)) == 0
	})
}

// AsPinned returns the facts as they are for the same image once its reference
// names the digest that HSS scanned, or f if there is none.
func (f Facts) AsPinned() Facts {
	if f.Image.Digest != "" {
		return f
	}
	if pin := ScannedDigest(&f); pin.Obstacle == "" {
		f.Image.Digest = pin.Digest
		f.Image.Reference += "@" + pin.Digest
	}
	return f
}
