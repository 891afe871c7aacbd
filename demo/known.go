package demo

import (
	"context"
	"time"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/report"
)

// lookUp says what HSS knows of the images of a sample.
func lookUp(ctx context.Context, facts gate.Facts, uses []image.Use, now time.Time) []Image {
	images := make([]Image, len(uses))
	for i, use := range uses {
		images[i] = Image{Place: use.Place, Name: use.Name, Reference: use.Image, Known: "not an image's name"}
		ref, err := image.Parse(use.Image)
		if err != nil {
			continue
		}
		known := facts.Facts(ctx, ref)
		images[i].Reference, images[i].Known = ref.String(), report.Describe(&known, now)
	}
	return images
}
