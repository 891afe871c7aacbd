package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// stage is a stage of a Dockerfile.
type stage struct {
	files  []copied
	config v1.Config
}

// copied is a file from the context or from another stage.
type copied struct {
	source, target string
	otherStage     bool
}

type sources struct{ context, bin string }

func readStage(file, target string) (*stage, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	tree, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	stages, _, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	at := len(stages) - 1
	if target != "" {
		at = slices.IndexFunc(stages, func(s instructions.Stage) bool { return s.Name == target })
	}
	if at < 0 {
		return nil, fmt.Errorf("%s has no stage %q", file, target)
	}
	if base := stages[at].BaseName; base != "scratch" {
		return nil, fmt.Errorf("%s: unknown base image %q (allowed: scratch)", file, base)
	}
	s := &stage{config: v1.Config{Labels: map[string]string{}}}
	for _, command := range stages[at].Commands {
		if err := s.add(command); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return s, nil
}

func (s *stage) add(command instructions.Command) error {
	switch c := command.(type) {
	case *instructions.LabelCommand:
		for _, label := range c.Labels {
			value, _, err := shell.NewLex('\\').ProcessWord(label.Value, shell.EnvsFromSlice(nil))
			if err != nil {
				return err
			}
			s.config.Labels[label.Key] = value
		}
	case *instructions.EnvCommand:
		for _, variable := range c.Env {
			s.config.Env = append(s.config.Env, variable.Key+"="+variable.Value)
		}
	case *instructions.CopyCommand:
		if c.Chmod != "" || c.Chown != "" {
			return fmt.Errorf("%s: --chmod and --chown are not supported", c)
		}
		for _, source := range c.SourcePaths {
			target := c.DestPath
			if strings.HasSuffix(target, "/") {
				target += path.Base(source)
			}
			s.files = append(s.files, copied{source, strings.TrimPrefix(target, "/"), c.From != ""})
		}
	case *instructions.UserCommand:
		s.config.User = c.User
	case *instructions.EntrypointCommand:
		s.config.Entrypoint = c.CmdLine
	case *instructions.CmdCommand:
		s.config.Cmd = c.CmdLine
	default:
		return fmt.Errorf("%s is not supported", command.Name())
	}
	return nil
}

// from returns where the file is on this machine.
func (c copied) from(folder, bin string) string {
	switch {
	case !c.otherStage:
		return filepath.Join(folder, c.source)
	case slices.Contains([]string{"etc", "bin", "usr"}, strings.Split(c.source, "/")[1]):
		return c.source
	}
	return filepath.Join(bin, path.Base(c.source))
}

func (s *stage) image(from sources, platform *v1.Platform) (v1.Image, error) {
	layer, err := s.layer(from.context, strings.NewReplacer("{os}", platform.OS, "{arch}", platform.Architecture).Replace(from.bin))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer)
	if err != nil {
		return nil, err
	}
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Config = s.config
	return mutate.ConfigFile(image, config)
}

// layer holds the files and the folders above them. They have no time and belong to root, so that the same content has the
// same digest.
func (s *stage) layer(folder, bin string) (v1.Layer, error) {
	files := fstest.MapFS{}
	for _, f := range s.files {
		source := f.from(folder, bin)
		info, err := os.Stat(source)
		if err != nil {
			return nil, err
		}
		content, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		files[f.target] = &fstest.MapFile{Data: content, Mode: info.Mode().Perm()}
		for dir := path.Dir(f.target); dir != "."; dir = path.Dir(dir) {
			files[dir] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
		}
	}
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	if err := errors.Join(archive.AddFS(files), archive.Close()); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
}
