package policy

import (
	celast "github.com/google/cel-go/common/ast"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// onlyReadResults tells whether all expressions read of image nothing but what a
// scan found, malicious files left out: then an image that fails them has turned
// bad, and isn't another one or named in another way.
func onlyReadResults(expressions []v1alpha1.Expression) bool {
	compiler, err := newCompiler()
	if err != nil {
		return false
	}
	for _, e := range expressions {
		ast, issues := compiler.env.Compile(e.Expression)
		if issues.Err() != nil || !onlyReadsResults(ast.NativeRep().Expr()) {
			return false
		}
	}
	return true
}

// onlyReadsResults counts every mention of image, and those that stand before
// the name of a result: they must be as many.
func onlyReadsResults(expression celast.Expr) bool {
	mentions, results := 0, 0
	celast.PreOrderVisit(expression, celast.NewExprVisitor(func(e celast.Expr) {
		switch {
		case isImage(e):
			mentions++
		case e.Kind() == celast.SelectKind && isImage(e.AsSelect().Operand()) && isResult(e.AsSelect().FieldName()):
			results++
		}
	}))
	return results > 0 && results == mentions
}

func isImage(e celast.Expr) bool { return e.Kind() == celast.IdentKind && e.AsIdent() == "image" }

func isResult(name string) bool {
	switch name {
	case "severityLevel", "vulnerabilities", "unsafeSettings", "scanStatus", "scannedAt":
		return true
	}
	return false
}
