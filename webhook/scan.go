package webhook

import (
	"context"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
)

// Scanner asks HSS to scan images, and to learn of those that it doesn't know.
type Scanner interface {
	// Want says that a pod was refused, or warned of, since HSS has no scan of
	// these images. It returns soon, without waiting for a scan, a note on each
	// image; an empty one if there is nothing to tell.
	Want(ctx context.Context, images []image.Reference) []string
}

// maxScansWanted bounds the images of one pod that scans are asked for.
const maxScansWanted = 20

// askForScans asks for scans of what the pod lacks them for, unless nothing
// comes of the request. A template's pods ask by themselves.
func (h *Handler) askForScans(ctx context.Context, req *request, template bool, d *gate.Decision) {
	if h.Scanner == nil || h.DryRun || req.DryRun || template || len(d.Violations) == 0 {
		return
	}
	images := d.Unscanned()
	if len(images) == 0 {
		return
	}
	images = images[:min(len(images), maxScansWanted)]
	for n, note := range h.Scanner.Want(ctx, images) {
		if note != "" {
			d.Scans = append(d.Scans, oneLine(images[n].String()+": "+note))
		}
	}
}
