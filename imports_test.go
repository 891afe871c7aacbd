package hssgate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hssgate/hssgate"

// direction says what the packages in a folder, and in the folders below it
// that have no direction of their own, may import.
type direction struct {
	// ours are the folders of this module; "*" is all of them.
	ours []string
	// others are the prefixes of import paths outside of the module and of the
	// standard library; "*" is all of them.
	others []string
	// never are prefixes of import paths that are not even imported by a
	// package that they import.
	never []string
	// notDirectly are prefixes of import paths that others may import for them.
	notDirectly []string
}

// directions holds the directions in which packages import each other, by
// folder. What can decide without a cluster and without HSS must not know them.
func directions() map[string]direction {
	const (
		client     = "k8s.io/client-go"
		controller = "sigs.k8s.io/controller-runtime"
		hss        = module + "/hss"
	)
	anything := []string{"*"}
	types := []string{"k8s.io/api", "k8s.io/apimachinery"}
	return map[string]direction{
		"internal/image":            {ours: []string{"policy/glob"}, others: append(types, "github.com/distribution/reference", "github.com/opencontainers/go-digest", "github.com/go-json-experiment/json"), never: []string{client, controller}},
		"hss":                       {others: []string{"github.com/go-json-experiment/json", "golang.org/x/sync/singleflight"}},
		"hss/inventoryfile":         {ours: []string{"hss"}, others: []string{"github.com/go-json-experiment/json", "sigs.k8s.io/yaml"}},
		"hss/hsstest":               {ours: []string{"hss", "hss/inventoryfile"}},
		"policy":                    {ours: []string{"internal/image", "internal/language", "policy/glob", "policy/v1alpha1"}, others: append(types, "github.com/distribution/reference", "github.com/opencontainers/go-digest", "github.com/go-json-experiment/json", "k8s.io/apiserver/pkg/cel", "github.com/google/cel-go", "google.golang.org/protobuf"), never: []string{hss, client, controller}, notDirectly: []string{"net/http"}},
		"internal/language":         {},
		"policy/glob":               {},
		"policy/v1alpha1":           {others: []string{"k8s.io/apimachinery"}, never: []string{client, controller}, notDirectly: []string{"net/http"}},
		"config":                    {ours: []string{"internal/image"}, others: []string{"go.yaml.in/yaml/v3", "sigs.k8s.io/yaml", "k8s.io/apimachinery"}, never: []string{client, controller}},
		"internal/lookup":           {ours: []string{"internal/language", "hss", "policy", "internal/tracing"}, others: anything, never: []string{client, controller}},
		"internal/cve":              {ours: []string{"internal/image", "internal/lookup", "hss", "policy", "policy/v1alpha1"}, others: []string{"golang.org/x/sync/errgroup"}},
		"internal/inventory":        {ours: []string{"internal/cve", "internal/image", "internal/language", "internal/lookup", "hss", "policy", "policy/v1alpha1", "config", "internal/tracing"}, others: anything, never: []string{client, controller}},
		"internal/gate":             {ours: []string{"internal/image", "internal/language", "internal/inventory", "policy", "policy/v1alpha1", "internal/tracing"}, others: anything, notDirectly: []string{"net/http"}},
		"internal/report":           {ours: []string{"internal/gate", "internal/image", "policy", "policy/v1alpha1"}, others: anything, never: []string{client, controller}, notDirectly: []string{"net/http"}},
		"internal/check":            {ours: []string{"charts", "internal/audit", "internal/gate", "policy", "policy/glob", "policy/v1alpha1", "internal/image", "internal/language", "internal/inventory", "config", "config/samples", "config/presets", "hss/inventoryfile", "internal/report"}, others: anything},
		"hss/replay":                {},
		"internal/doctor":           {ours: []string{"config", "hss", "hss/replay", "internal/inventory"}, others: []string{"sigs.k8s.io/yaml"}, never: []string{client, controller}},
		"internal/whohas":           {ours: []string{"config", "hss", "internal/check", "internal/image", "internal/inventory", "policy", "policy/v1alpha1"}, others: []string{"golang.org/x/sync/errgroup"}},
		"internal/scan":             {ours: []string{"internal/image", "internal/language", "internal/inventory", "hss"}, others: anything, never: []string{client, controller}},
		"webhook":                   {ours: []string{"webhook", "internal/gate", "internal/image", "internal/language", "policy", "policy/v1alpha1", "internal/tracing"}, others: anything},
		"internal/grace":            {ours: []string{"internal/gate", "internal/image", "policy", "policy/v1alpha1"}, others: anything, never: []string{hss}},
		"internal/audit":            {ours: []string{"internal/audit", "internal/gate", "internal/grace", "internal/image", "internal/language", "policy", "policy/v1alpha1"}, others: anything, never: []string{hss}},
		"internal/controller":       {ours: []string{"hss", "internal/controller", "internal/certificate", "internal/gate", "internal/inventory", "internal/language", "policy", "policy/glob", "policy/v1alpha1"}, others: anything},
		"internal/tracing":          {ours: []string{"internal/tracing"}, others: []string{"go.opentelemetry.io/otel", "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", "github.com/prometheus/client_golang", "golang.org/x/time", "github.com/go-logr/logr"}, never: []string{client, controller, hss}},
		"internal/server":           {ours: anything, others: anything},
		"charts":                    {},
		"config/presets":            {},
		"config/samples":            {},
		"internal/certificate":      {others: []string{"k8s.io/utils"}},
		"cmd":                       {ours: anything, others: anything},
		"internal/controlplanetest": {others: anything},
		"test":                      {},
		"hack":                      {},
		"hack/demo":                 {ours: anything, others: anything},
	}
}

// listed is what go list says of a package.
type listed struct {
	ImportPath       string
	GoFiles, Imports []string
}

// packages are all that this module is built from, by their paths.
type packages map[string]listed

// deps adds a package, and all that it is built from.
func (all packages) deps(of string, found map[string]bool) {
	if _, known := all[of]; !known || found[of] {
		return
	}
	found[of] = true
	for _, path := range all[of].Imports {
		all.deps(path, found)
	}
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	all := list(t)
	for _, p := range all {
		if !hasPrefix([]string{module}, p.ImportPath) || len(p.GoFiles) == 0 {
			continue
		}
		// The direction is that of the nearest folder that has one.
		folder := strings.TrimPrefix(p.ImportPath, module+"/")
		rule, ok := directions()[folder]
		for !ok && strings.Contains(folder, "/") {
			folder = folder[:strings.LastIndex(folder, "/")]
			rule, ok = directions()[folder]
		}
		if !ok {
			t.Errorf("%s has no direction: say in directions what it may import", p.ImportPath)
			continue
		}
		for _, path := range p.Imports {
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") && !rule.allows(path) { // the standard library has no domain
				t.Errorf("%s must not import %s", p.ImportPath, path)
			}
			if hasPrefix(rule.notDirectly, path) {
				t.Errorf("%s must not import %s itself", p.ImportPath, path)
			}
		}
		deps := map[string]bool{}
		all.deps(p.ImportPath, deps)
		for path := range deps {
			if hasPrefix(rule.never, path) {
				t.Errorf("%s must not depend on %s, not even through another package", p.ImportPath, path)
			}
		}
	}
}

// TestNoTestCodeInTheBinary keeps out of the programs what only tests use.
// envtest's init even creates a folder, and panics where it can't.
func TestNoTestCodeInTheBinary(t *testing.T) {
	t.Parallel()
	// Every typed client imports it for its fakes, which the linker drops:
	// hack/verify-binary.sh looks for what it left.
	const fakes, importsFakes = "k8s.io/client-go/testing", "k8s.io/client-go/gentype"
	testCode := []string{
		"testing", "net/http/httptest", fakes, "sigs.k8s.io/controller-runtime/pkg/envtest",
		module + "/internal/controlplanetest",
	}
	all := list(t)
	for program, unwanted := range map[string][]string{
		module + "/cmd/hssgate":       append(testCode, module+"/hss/hsstest"),
		module + "/cmd/hss-simulator": append(testCode, "k8s.io", "sigs.k8s.io/controller-runtime"),
	} {
		deps := map[string]bool{}
		all.deps(program, deps)
		for of := range deps {
			for _, path := range all[of].Imports {
				if hasPrefix(unwanted, path) && (path != fakes || of != importsFakes) {
					t.Errorf("%s: %s must not import %s", program, of, path)
				}
			}
		}
		if len(deps) < 100 {
			t.Errorf("%s is built from %d packages only", program, len(deps))
		}
	}
}

// allows says whether the direction lets a package import path directly.
func (d direction) allows(path string) bool {
	folder, ours := strings.CutPrefix(path, module+"/")
	if ours {
		return slices.Contains(d.ours, "*") || slices.Contains(d.ours, folder)
	}
	return slices.Contains(d.others, "*") || hasPrefix(d.others, path)
}

// hasPrefix says whether path is one of the prefixes or lies below one.
func hasPrefix(prefixes []string, path string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}

// list lists the packages of this module, and all that they are built from.
func list(t *testing.T) packages {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,GoFiles,Imports", "./...").Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	all := packages{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		all[p.ImportPath] = p
	}
}
