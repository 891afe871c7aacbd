package policy

import (
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
)

// PinObstacle is in one word why no digest can be pinned; empty: it can.
type PinObstacle string

// The obstacles.
const (
	PinNotFound    PinObstacle = "notFound"
	PinUnavailable PinObstacle = "unavailable"
	// PinNotScanned: no completed scan of the image as it is now is known.
	PinNotScanned PinObstacle = "notScanned"
	// PinNoDigest: HSS reports no complete sha256 digest.
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
	// Message describes the obstacle in one line.
	Message string
}

// ScannedDigest returns the one digest that HSS scanned under a tag. It is never
// guessed: all records that fit must name the same one, and one of them must have
// a completed scan of it. Its message is in a language. Of a multi-architecture image it is that of the whole
// image, never that of one architecture.
func ScannedDigest(f *Facts, l language.Language) ScannedPin {
	switch {
	case f.State == StateNotFound:
		return noPin(PinNotFound, orElse(f.Reason, l.Text("HSS has no such image")))
	case f.State != StateFound || len(f.Records) == 0:
		return noPin(PinUnavailable, orElse(f.Reason, l.Text(noScanResult)))
	}
	digest := f.Records[0].Digest
	for i := range f.Records {
		switch d := f.Records[i].Digest; {
		case clean(d) == "":
			return noPin(PinNoDigest, l.Text("HSS reports no digest"))
		case !image.IsDigest(d):
			return noPin(PinNoDigest, l.Sprintf("HSS reports an invalid digest: %s", clean(d)))
		case d != digest:
			return noPin(PinAmbiguous, l.Sprintf("HSS reports several digests for the tag, %s and %s among them", digest, d))
		}
	}
	why, scanned := "", false
	for i := range f.Records {
		r := &f.Records[i]
		if architectureOf(r, digest) != nil {
			return noPin(PinArchitecture, l.Sprintf("HSS reports the digest of one architecture: %s", digest))
		}
		reason := unscanned(l, r)
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

// AsPinned returns the facts for the same image once its reference names the
// digest that HSS scanned, or f if there is none.
func (f *Facts) AsPinned() *Facts {
	if f.Image.Digest != "" {
		return f
	}
	pin := ScannedDigest(f, language.English)
	if pin.Obstacle != "" {
		return f
	}
	pinned := *f
	pinned.Image.Digest = pin.Digest
	return &pinned
}
