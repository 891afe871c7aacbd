package policy

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
Expressions in CEL must be true, for what has no field of its own.

	forbids:  an expression that is false, that can't be evaluated (it reads a
	          field that isn't there), or that costs too much
	allows:   what the expressions allow, over image and now
	judges:   each record of an image that HSS knows, once it was scanned
*/

func checkExpressions() check {
	return check{id: CheckExpression, scope: ofRecord, compile: compileExpressions}
}

// The bounds of expressions are those of the schema.
const (
	maxExpressions      = 16
	maxExpressionLength = 1024
	maxMessageRunes     = 256
)

func compileExpressions(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	if len(r.Expressions) == 0 {
		return nil, nil
	}
	path = path.Child("expressions")
	var errs field.ErrorList
	if n := len(r.Expressions); n > maxExpressions {
		errs = append(errs, field.TooMany(path, n, maxExpressions))
	}
	compiler, err := newCompiler()
	if err != nil {
		errs = append(errs, field.InternalError(path, err))
		return []judge{notCompiled(r.Expressions[0].Expression)}, errs
	}
	var judges []judge
	for i, e := range r.Expressions {
		if e.Message != clip(e.Message, maxMessageRunes) {
			errs = append(errs, field.Invalid(path.Index(i).Child("message"), e.Message,
				fmt.Sprintf("must be one printable line of at most %d characters", maxMessageRunes)))
		}
		compiled, err := compiler.compile(e.Expression)
		if err != nil {
			errs = append(errs, field.Invalid(path.Index(i).Child("expression"), e.Expression, err.Error()))
			judges = append(judges, notCompiled(e.Expression))
			continue
		}
		judges = append(judges, judgeExpression(compiled, e))
	}
	return judges, errs
}

// notCompiled fails every image: a rule that can't be read must not be skipped.
func notCompiled(source string) judge {
	message := fmt.Sprintf("expression `%s` could not be compiled", clean(source))
	return func(context.Context, *subject) string { return message }
}

func judgeExpression(compiled *expression, e v1alpha1.Expression) judge {
	source := clean(e.Expression)
	message := clip(e.Message, maxMessageRunes)
	if message == "" {
		message = fmt.Sprintf("expression `%s` is not true", source)
	}
	return func(ctx context.Context, s *subject) string {
		// Short loops never look at the context, and there may be many images.
		if ctx.Err() != nil {
			return fmt.Sprintf("expression `%s` could not be evaluated: interrupted, as the time for the review is up", source)
		}
		ok, err := compiled.eval(ctx, s)
		switch {
		case err != nil:
			return fmt.Sprintf("expression `%s` could not be evaluated: %s", source, clean(err.Error()))
		case !ok:
			return message
		}
		return ""
	}
}
