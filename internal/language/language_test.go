package language_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/internal/language"
)

// literals returns the texts of the Go files that messages come from: every one, and those that are translated.
func literals(t *testing.T) (all string, translated []string) {
	t.Helper()
	var texts strings.Builder
	for _, pattern := range []string{"../../policy/*.go", "../../policy/v1alpha1/*.go", "../../webhook/*.go", "../../internal/*/*.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: no files: %v", pattern, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "/language/chinese.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if text, ok := textOf(n); ok {
					texts.WriteString(text + "\n")
				}
				if call, ok := n.(*ast.CallExpr); ok {
					if text, ok := translates(call); ok {
						translated = append(translated, text)
					}
				}
				return true
			})
		}
	}
	return texts.String(), translated
}

// translates returns the text that a call translates.
func translates(call *ast.CallExpr) (text string, ok bool) {
	name, at := "", 0
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		if of, ok := f.X.(*ast.Ident); !ok || of.Name != "fmt" {
			name = f.Sel.Name
		}
	case *ast.Ident:
		name, at = f.Name, 1 // failuref
	}
	if slices.Contains([]string{"Sprintf", "Text", "failuref", "BadRowsf"}, name) && len(call.Args) > at {
		return textOf(call.Args[at])
	}
	return "", false
}

// textOf returns what a literal, or a sum of them, says.
func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(n.Value)
		return text, err == nil && n.Kind == token.STRING
	case *ast.BinaryExpr:
		x, xIs := textOf(n.X)
		y, yIs := textOf(n.Y)
		return x + y, xIs && yIs
	}
	return "", false
}

func TestEveryMessageIsInTheCatalogue(t *testing.T) {
	t.Parallel()
	all, translated := literals(t)
	if len(translated) < 100 {
		t.Errorf("only %d messages were found", len(translated))
	}
	for _, english := range translated {
		if language.Chinese.Text(english) == english {
			t.Errorf("chinese.go lacks %q", english)
		}
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), "chinese.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if pair, ok := n.(*ast.KeyValueExpr); ok {
			english, _ := textOf(pair.Key)
			if !strings.Contains(all, english) {
				t.Errorf("chinese.go has %q, which no message is", english)
			}
			checkPlaceholders(t, english)
		}
		return true
	})
}

// checkPlaceholders fills the placeholders of a message in, each with another value, which all must be in the Chinese.
func checkPlaceholders(t *testing.T, english string) {
	t.Helper()
	var args []any
	for n, verb := range regexp.MustCompile(`%[a-z]`).FindAllString(english, -1) {
		if verb == "%d" {
			args = append(args, 7000+n)
			continue
		}
		args = append(args, fmt.Sprintf("value%d", n))
	}
	chinese := language.Chinese.Sprintf(english, args...)
	for _, arg := range args {
		if strings.Count(chinese, fmt.Sprint(arg)) != 1 || strings.Contains(chinese, "%!") {
			t.Errorf("%q is %q in Chinese, which lacks %v or has it wrong", english, chinese, arg)
		}
	}
}

func TestLanguages(t *testing.T) {
	t.Parallel()
	wrapped := fmt.Errorf("invalid image reference: %w", errors.New("of our own"))
	for name, tt := range map[string]struct{ want, got string }{
		"none is English":                          {"1 day", language.Language("").Text("1 day")},
		"English is as written":                    {"3 days", language.English.Sprintf("%d days", 3)},
		"Chinese":                                  {"3 天", language.Chinese.Sprintf("%d days", 3)},
		"a text from outside stays":                {"only ours", language.Chinese.Text("only ours")},
		"the parts of an error that are known":     {"镜像引用无效：of our own", language.Chinese.Error(wrapped)},
		"an error in English says what it says":    {wrapped.Error(), language.English.Error(wrapped)},
		"a placeholder in another place is filled": {"路径 \"a\" 不符合镜像仓库 \"c\" 的 \"b\"", language.Chinese.Sprintf("path %q does not fit %q of registry %q", "a", "b", "c")},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", name, tt.got, tt.want)
		}
	}
}
