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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Files of a folder, the samples' or the temporary one.
const (
	configFile = "config.yaml"
	kubeconfig = "kubeconfig"
)

// sampleSet is what a folder of samples holds.
type sampleSet struct {
	config     map[string]any
	inventory  *inventoryfile.File
	policies   []v1alpha1.ImageScanPolicy
	namespaces []*unstructured.Unstructured
	samples    []*sample
	last       map[string]*sample // by file, kind and name
}

// sample is one request: to create an object, or to update it.
type sample struct {
	file     string
	object   *unstructured.Unstructured
	old      *unstructured.Unstructured // nil: create
	uses     []image.Use
	newImage bool // has an image that the old object lacks
	expected verdict
	says     string
}

func loadSamples(ctx context.Context, dir string) (*sampleSet, error) {
	s := &sampleSet{last: map[string]*sample{}}
	data, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, os.ErrNotExist) {
		data, err = os.ReadFile(filepath.Join("config/samples", configFile))
	}
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(data, &s.config); err != nil {
		return nil, fmt.Errorf("%s: %w", configFile, err)
	}
	if s.inventory, err = inventoryfile.Load(filepath.Join(dir, "inventory.yaml"), time.Now()); err != nil {
		return nil, err
	}
	loaded, err := check.LoadPolicies(ctx, check.Files{Paths: []string{filepath.Join(dir, "policies")}})
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	s.policies = loaded.Policies
	if _, err := check.Compile(s.policies); err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	return s, s.loadManifests(filepath.Join(dir, "manifests/*.yaml"))
}

func (s *sampleSet) loadManifests(glob string) error {
	files, err := filepath.Glob(glob)
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		objects, err := readObjects(data)
		for i := 0; err == nil && i < len(objects); i++ {
			err = s.addManifest(filepath.Base(file), objects[i])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(s.samples) == 0 {
		return fmt.Errorf("no manifest in %s has an image", glob)
	}
	return nil
}

func (s *sampleSet) addManifest(file string, o *unstructured.Unstructured) error {
	if o.GetAPIVersion() == "v1" && o.GetKind() == "Namespace" {
		s.namespaces = append(s.namespaces, o)
		return nil
	}
	if o.GetNamespace() == "" {
		o.SetNamespace("default")
	}
	key := strings.Join([]string{file, o.GroupVersionKind().String(), o.GetNamespace(), o.GetName()}, " ")
	one, err := newSample(file, o, s.last[key])
	if err != nil {
		return fmt.Errorf("%s %q: %w", o.GetKind(), o.GetName(), err)
	}
	if one.expected != denied {
		s.last[key] = one
	}
	s.samples = append(s.samples, one)
	return nil
}

// newSample reads what an object expects. It updates old, unless that is nil.
func newSample(file string, object *unstructured.Unstructured, old *sample) (*sample, error) {
	const verdictAnnotation, saysAnnotation = "demo.hssgate.io/verdict", "demo.hssgate.io/says"
	s := &sample{
		file: file, object: object,
		expected: verdict(object.GetAnnotations()[verdictAnnotation]), says: object.GetAnnotations()[saysAnnotation],
	}
	if !slices.Contains([]verdict{admitted, warned, denied}, s.expected) {
		return nil, fmt.Errorf("annotation %s must be Admitted, Denied or Warned, not %q", verdictAnnotation, s.expected)
	}
	data, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var manifest image.Manifest
	if err := jsonv2.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("read its images: %w", err)
	}
	workload, ok := manifest.Workload(object.GroupVersionKind().Group, object.GetKind())
	if !ok {
		return nil, fmt.Errorf("kind %s has no images", object.GetKind())
	}
	s.uses, s.newImage = workload.Uses, len(workload.Uses) > 0
	if old != nil {
		s.old, s.newImage = old.object, len(image.Missing(s.uses, old.uses)) > 0
	}
	return s, nil
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

func readObjects(data []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), len(data))
	for number := 1; ; number++ {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		switch {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("document %d: %w", number, err)
		case o.Object == nil: // nothing but comments
		case o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "":
			return nil, fmt.Errorf("document %d: apiVersion, kind and metadata.name must be given", number)
		default:
			objects = append(objects, o)
		}
	}
}
