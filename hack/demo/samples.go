package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
)

type sampleSet struct {
	config     *config.Configuration
	inventory  *inventoryfile.File
	resources  check.Resources
	checker    *check.Checker               // of the resources
	namespaces map[string]map[string]string // labels by name
	// setup are the policies, the exceptions and the namespaces.
	setup   []client.Object
	samples []*sample
}

// sample is one request: to create an object, or to update it.
type sample struct {
	file   string
	object *unstructured.Unstructured
	old    *unstructured.Unstructured // nil: create
	// workload has the images that the old object lacks.
	workload image.Workload
	expected report.Verdict
	says     string
}

func (s *sampleSet) namespaceLabels(_ context.Context, name string) (map[string]string, error) {
	return s.namespaces[name], nil
}

func loadSamples(ctx context.Context, dir string) (s *sampleSet, err error) {
	s = &sampleSet{namespaces: map[string]map[string]string{}}
	configFile := filepath.Join(dir, "config.yaml")
	if _, err := os.Stat(configFile); errors.Is(err, os.ErrNotExist) {
		configFile = "config/samples/config.yaml"
	}
	if s.config, err = config.Load(configFile); err != nil {
		return nil, err
	}
	if s.inventory, err = inventoryfile.Load(filepath.Join(dir, "inventory.yaml"), time.Now()); err != nil {
		return nil, err
	}
	if err := s.loadResources(ctx, dir); err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	glob := filepath.Join(dir, "manifests/*.yaml")
	files, err := filepath.Glob(glob)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := s.loadManifest(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(s.samples) == 0 {
		return nil, fmt.Errorf("no manifest in %s has an image", glob)
	}
	return s, nil
}

func (s *sampleSet) loadResources(ctx context.Context, dir string) (err error) {
	paths := []string{filepath.Join(dir, "policies")}
	if exceptions := filepath.Join(dir, "exceptions"); isFolder(exceptions) {
		paths = append(paths, exceptions)
	}
	if s.resources, err = check.LoadPolicies(ctx, check.Files{Paths: paths}); err != nil {
		return err
	}
	for i := range s.resources.Policies {
		s.setup = append(s.setup, &s.resources.Policies[i])
	}
	for i := range s.resources.Exceptions {
		e := &s.resources.Exceptions[i]
		e.Spec.ExpiresAt = metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second))
		s.setup = append(s.setup, e.Object())
	}
	s.checker, err = check.NewChecker(check.Options{Resources: s.resources, MaxLifetime: s.config.MaxExceptionLifetime})
	return err
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// loadManifest reads the samples of a file. A later document of the same object updates an earlier one that is not
// denied.
func (s *sampleSet) loadManifest(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	objects, err := readObjects(data)
	if err != nil {
		return err
	}
	last := map[string]*unstructured.Unstructured{} // by kind and name
	for _, o := range objects {
		if o.GetAPIVersion() == "v1" && o.GetKind() == "Namespace" {
			s.setup = append(s.setup, o)
			s.namespaces[o.GetName()] = o.GetLabels()
			continue
		}
		if o.GetNamespace() == "" {
			o.SetNamespace(metav1.NamespaceDefault)
		}
		key := strings.Join([]string{o.GroupVersionKind().String(), o.GetNamespace(), o.GetName()}, " ")
		one, err := newSample(filepath.Base(file), o, last[key])
		if err != nil {
			return fmt.Errorf("%s %q: %w", o.GetKind(), o.GetName(), err)
		}
		if one.expected != report.Denied {
			last[key] = o
		}
		s.samples = append(s.samples, one)
	}
	return nil
}

// newSample reads what an object expects. It updates old, unless that is nil.
func newSample(file string, object, old *unstructured.Unstructured) (s *sample, err error) {
	const verdictAnnotation, saysAnnotation = "demo.hssgate.io/verdict", "demo.hssgate.io/says"
	s = &sample{
		file: file, object: object, old: old,
		expected: report.Verdict(object.GetAnnotations()[verdictAnnotation]), says: object.GetAnnotations()[saysAnnotation],
	}
	if s.expected == report.Unknown || !slices.Contains(report.Verdicts(), s.expected) {
		return nil, fmt.Errorf("annotation %s must be Admitted, Denied, Denied (its pods) or Warned, not %q", verdictAnnotation, s.expected)
	}
	if s.workload, err = workloadOf(object); err != nil || old == nil {
		return s, err
	}
	before, err := workloadOf(old)
	s.workload.Uses = image.Missing(s.workload.Uses, before.Uses)
	return s, err
}

func workloadOf(object *unstructured.Unstructured) (image.Workload, error) {
	data, err := object.MarshalJSON()
	if err != nil {
		return image.Workload{}, err
	}
	var manifest image.Manifest
	if err := jsonv2.Unmarshal(data, &manifest); err != nil {
		return image.Workload{}, fmt.Errorf("read its images: %w", err)
	}
	workload, ok := manifest.Workload(object.GroupVersionKind().Group, object.GetKind())
	if !ok {
		return image.Workload{}, fmt.Errorf("kind %s has no images", object.GetKind())
	}
	return workload, nil
}

// debugs reports whether the sample does what kubectl debug does.
func (s *sample) debugs() bool {
	added, _, _ := unstructured.NestedSlice(s.object.Object, "spec", "ephemeralContainers")
	return s.old != nil && len(added) > 0
}

// title returns kind/name, and what is done with the object unless it is created.
func (s *sample) title() string {
	title := s.object.GetKind() + "/" + s.object.GetName()
	switch {
	case s.debugs():
		return title + " (debug)"
	case s.old != nil:
		return title + " (update)"
	}
	return title
}

func readObjects(data []byte) (objects []*unstructured.Unstructured, err error) {
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), len(data)); ; {
		o := &unstructured.Unstructured{}
		switch err := decoder.Decode(o); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("document %d: %w", len(objects)+1, err)
		case o.GetName() == "":
			return nil, fmt.Errorf("document %d: metadata.name must be given", len(objects)+1)
		}
		objects = append(objects, o)
	}
}
