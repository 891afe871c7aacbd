package image

import (
	"fmt"
	"strings"
)

// Pin adds a digest to a reference that names a tag only, and leaves the rest as
// it is written: "app:1.4" becomes "app:1.4@sha256:…". A tag that is left out is
// written: "app" becomes "app:latest@sha256:…", since without it the reference
// would name no tag any more. The result is read as the same image with that
// digest, or there's an error.
func Pin(written, digest string) (string, error) {
	before, err := Parse(written)
	if err != nil {
		return "", err
	}
	if before.Digest != "" {
		return "", fmt.Errorf("pin %q: it names a digest already", written)
	}
	pinned := written
	if name := written[strings.LastIndexByte(written, '/')+1:]; !strings.Contains(name, ":") {
		pinned += ":" + before.Tag
	}
	pinned += "@" + digest
	want := before
	want.Digest = digest
	if after, err := Parse(pinned); err != nil || after != want {
		return "", fmt.Errorf("pin %q to %q: a reference with the digest would not be read as the same image", written, digest)
	}
	return pinned, nil
}
