package demo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The files of a folder of samples.
const (
	configFile    = "config.yaml"
	inventoryFile = "inventory.yaml"
	policyGlob    = "policies/*.yaml"
	manifestGlob  = "manifests/*.yaml"
)

// sampleSet is all that a folder of samples holds, read and checked.
type sampleSet struct {
	config     *config.Configuration
	inventory  []byte
	policies   []*v1alpha1.ImageScanPolicy
	namespaces []*unstructured.Unstructured
	samples    []*sample
}

// loadSamples reads a folder of samples.
func loadSamples(files fs.FS) (*sampleSet, error) {
	s := &sampleSet{}
	for _, load := range []func(fs.FS) error{s.loadConfig, s.loadInventory, s.loadPolicies, s.loadManifests} {
		if err := load(files); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// loadConfig takes what the demonstration uses of a configuration; without one
// it is that of hssgate's own samples.
func (s *sampleSet) loadConfig(files fs.FS) error {
	data, err := fs.ReadFile(files, configFile)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = samples.Files().ReadFile(configFile)
	}
	if err != nil {
		return err
	}
	given, err := config.Parse(configFile, data)
	if err != nil {
		return err
	}
	// Addresses, certificates and logs are the demonstration's own.
	s.config = config.Default()
	s.config.Projects, s.config.Registries, s.config.Cache = given.Projects, given.Registries, given.Cache
	s.config.ExemptNamespaces, s.config.DryRun = given.ExemptNamespaces, given.DryRun
	return nil
}

func (s *sampleSet) loadInventory(files fs.FS) error {
	var err error
	s.inventory, err = fs.ReadFile(files, inventoryFile)
	return err
}

func (s *sampleSet) loadPolicies(files fs.FS) error {
	return eachDocument(files, policyGlob, func(_ string, document []byte) error {
		p := &v1alpha1.ImageScanPolicy{}
		if err := yaml.UnmarshalStrict(document, p); err != nil {
			return fmt.Errorf("read the policy: %w", err)
		}
		if want := v1alpha1.GroupVersion.WithKind("ImageScanPolicy"); p.GroupVersionKind() != want || p.Name == "" {
			return fmt.Errorf("it must be a %s %s with metadata.name, not %q, %q", want.GroupVersion(), want.Kind, p.APIVersion, p.Kind)
		}
		s.policies = append(s.policies, p)
		return nil
	})
}

func (s *sampleSet) loadManifests(files fs.FS) error {
	last := map[string]*unstructured.Unstructured{}
	err := eachDocument(files, manifestGlob, func(file string, document []byte) error {
		object, err := newObject(document)
		if err != nil {
			return err
		}
		if object.GroupVersionKind().GroupKind().String() == "Namespace" {
			s.namespaces = append(s.namespaces, object)
			return nil
		}
		if object.GetNamespace() == "" {
			object.SetNamespace("default")
		}
		key := strings.Join([]string{file, object.GroupVersionKind().String(), object.GetNamespace(), object.GetName()}, " ")
		one, err := newSample(file, object, last[key])
		if err != nil {
			return fmt.Errorf("%s %q: %w", object.GetKind(), object.GetName(), err)
		}
		if one.expected != Denied {
			last[key] = object
		}
		s.samples = append(s.samples, one)
		return nil
	})
	if err == nil && len(s.samples) == 0 {
		return fmt.Errorf("%s name no image", manifestGlob)
	}
	return err
}

// eachDocument gives every YAML document of the files that fit a glob, as JSON.
// There must be one document at least: nothing would be shown by none.
func eachDocument(files fs.FS, glob string, give func(file string, document []byte) error) error {
	names, err := fs.Glob(files, glob)
	if err != nil {
		return fmt.Errorf("find %s: %w", glob, err)
	}
	if len(names) == 0 {
		return fmt.Errorf("there is no %s: %w", glob, fs.ErrNotExist)
	}
	documents := 0
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		file := path.Base(name)
		if err := splitDocuments(data, func(document []byte) error { documents++; return give(file, document) }); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if documents == 0 {
		return fmt.Errorf("there is nothing in %s", glob)
	}
	return nil
}

func splitDocuments(data []byte, give func(document []byte) error) error {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for number := 1; ; number++ {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", number, err)
		}
		document, err := yaml.YAMLToJSONStrict(text)
		if err == nil && string(document) != "null" {
			err = give(document)
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", number, err)
		}
	}
}

// labels returns the labels of the namespaces by their names.
func (s *sampleSet) labels() map[string]map[string]string {
	labels := map[string]map[string]string{}
	for _, namespace := range s.namespaces {
		labels[namespace.GetName()] = namespace.GetLabels()
	}
	return labels
}
