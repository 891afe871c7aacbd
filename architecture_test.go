package hssgate_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"testing"
)

// maxSteps bounds the walk: a reader must be able to hold it in mind.
const maxSteps = 12

// TestArchitecture checks that the functions of the walk in docs/architecture.md
// exist in the files that it names.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	const page = "docs/architecture.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile("(?m)^\\d+\\. `([^`]+\\.go)` `([^`]+)`").FindAllStringSubmatch(string(text), -1)
	if len(steps) == 0 || len(steps) > maxSteps {
		t.Fatalf("%s: the walk has %d steps of the form \"1. `file.go` `Type.Function`\", want 1 to %d", page, len(steps), maxSteps)
	}
	for _, step := range steps {
		file, want := step[1], step[2]
		functions, err := functionsOf(file)
		if err != nil {
			t.Errorf("%s names a file that can't be read: move the step to where %s is now: %v", page, want, err)
			continue
		}
		if !functions[want] {
			t.Errorf("%s: %s has no function %s: name the one that does this step now", page, file, want)
		}
	}
}

// functionsOf returns the functions of a file, methods as Type.Method.
func functionsOf(file string) (map[string]bool, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	functions := map[string]bool{}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			receiver := f.Recv.List[0].Type
			if pointer, ok := receiver.(*ast.StarExpr); ok {
				receiver = pointer.X
			}
			if of, ok := receiver.(*ast.Ident); ok {
				name = of.Name + "." + name
			}
		}
		functions[name] = true
	}
	return functions, nil
}
