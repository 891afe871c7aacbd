package check

import (
	"context"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/report"
)

// Explainer tells how it comes to a verdict, step by step.
type Explainer struct{}

func (e *Explainer) explain(context.Context, *Checker, *Object, *gate.Request, *report.Result) []string {
	return nil
}
