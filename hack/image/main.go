// Command image builds a container image from a Dockerfile without Docker: it
// takes the final stage or that of -target, whose programs are built already, and
// writes an OCI layout or pushes to a registry.
//
//	image [-f Dockerfile] [-target STAGE] [-bin bin/{os}-{arch}] [-platform linux/amd64,linux/arm64] [-o DIR] [-push REFERENCE] [FOLDER]
//
// It knows what the images of this repository need: FROM scratch, COPY of single
// files, LABEL, ENV, USER, ENTRYPOINT and CMD. Of files from another stage, those
// in /etc, /bin and /usr come from this machine, and the others, which that stage
// builds, from the folder -bin. The same files give the same digest. It prints the digest.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ExitOnError)
	file := flags.String("f", "Dockerfile", "Dockerfile")
	target := flags.String("target", "", "`stage` to build in place of the final one")
	bin := flags.String("bin", "bin/{os}-{arch}", "`folder` with the programs that other stages build; {os} and {arch} stand for the platform")
	platforms := flags.String("platform", "linux/amd64", "platforms, separated by commas; several make an index")
	output := flags.String("o", "", "`folder` for an OCI layout; what it holds is replaced")
	push := flags.String("push", "", "`reference` to push to, with the credentials of ~/.docker/config.json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *output == "" && *push == "" || flags.NArg() > 1 {
		return errors.New("give -o, -push or both, and one folder at most")
	}
	stage, err := readStage(*file, *target)
	if err != nil {
		return err
	}
	index, built, err := build(stage, sources{context: cmp.Or(flags.Arg(0), "."), bin: *bin}, strings.Split(*platforms, ","))
	if err != nil {
		return err
	}
	if *output != "" {
		if err := os.RemoveAll(*output); err != nil {
			return err
		}
		if _, err := layout.Write(*output, index); err != nil {
			return err
		}
	}
	if *push != "" {
		if err := pushTo(*push, built); err != nil {
			return err
		}
	}
	digest, err := built.Digest()
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}

// artifact is an image of one platform or an index of several.
type artifact interface {
	remote.Taggable
	Digest() (v1.Hash, error)
}

// build builds one image for each platform. It returns the index of them, which a layout holds, and what is pushed.
func build(stage *stage, from sources, platforms []string) (index v1.ImageIndex, built artifact, err error) {
	index = empty.Index
	for _, s := range platforms {
		platform, err := v1.ParsePlatform(s)
		if err != nil {
			return nil, nil, fmt.Errorf("platform %q: %w", s, err)
		}
		image, err := stage.image(from, platform)
		if err != nil {
			return nil, nil, fmt.Errorf("platform %q: %w", s, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
		built = image
	}
	if len(platforms) > 1 {
		built = index
	}
	return index, built, nil
}

func pushTo(where string, built artifact) error {
	reference, err := name.ParseReference(where)
	if err != nil {
		return err
	}
	return remote.Push(reference, built, remote.WithAuthFromKeychain(authn.DefaultKeychain))
}
