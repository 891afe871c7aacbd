package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/library"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The limits of an expression are those of the schema.
const (
	maxExpressionLength = 1024
	maxMessageRunes     = 256
)

/*
Expressions in CEL must be true, for what has no field of its own.

	forbids:   an expression that is false, that cannot be evaluated (it reads a
	           field that is absent), or that costs too much
	allows:    what the expressions allow, over image and now
	evaluates: each record of an image, once it was scanned
*/
func compileExpressions(r *v1alpha1.Requirements, path *field.Path) (rules []rule, errs field.ErrorList) {
	for i, e := range r.Expressions {
		name := clean(e.Expression)
		program, err := compileExpression(e.Expression)
		if err != nil { // an invalid rule must not be skipped
			errs = append(errs, field.Invalid(path.Child("expressions").Index(i).Child("expression"), e.Expression, err.Error()))
			rules = append(rules, rule{e.Expression, func(_ context.Context, s subject) string {
				return s.Sprintf("expression `%s` could not be compiled", name)
			}})
			continue
		}
		rules = append(rules, rule{e.Expression, evaluateExpression(program, name, clip(e.Message, maxMessageRunes))})
	}
	return rules, errs
}

func evaluateExpression(program cel.Program, name, message string) func(context.Context, subject) string {
	return func(ctx context.Context, s subject) string {
		// CEL does not look at the context outside of long loops.
		if ctx.Err() != nil {
			return s.Sprintf("expression `%s` could not be evaluated: interrupted, as the time for the review is up", name)
		}
		result, _, err := program.ContextEval(ctx, s.variables)
		switch {
		case err != nil:
			return s.Sprintf("expression `%s` could not be evaluated: %s", name, clean(err.Error()))
		case result != types.True:
			return cmp.Or(message, s.Sprintf("expression `%s` is not true", name))
		}
		return ""
	}
}

const (
	// maxExpressionCost bounds an expression in CEL's units of cost, estimated
	// when it is compiled and counted when it runs. By Kubernetes' measure,
	// 1,000,000 are about 0.1 s.
	maxExpressionCost = 100_000
	// interruptCheckFrequency is how many steps of a loop run between two checks of
	// the context.
	interruptCheckFrequency = 100
)

// environment returns the CEL environment of all expressions, over image and now.
var environment = sync.OnceValues(newEnvironment) //nolint:gochecknoglobals // it never changes, and is slow to make

func newEnvironment() (*cel.Env, error) {
	base, err := cel.NewEnv(
		cel.Variable("image", imageType().CelType()),
		cel.Variable("now", cel.TimestampType),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.OptionalTypes(),
		cel.ParserExpressionSizeLimit(maxExpressionLength),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
		),
		ext.Strings(ext.StringsVersion(2)),
		ext.Sets(),
		library.Lists(),
		library.Regex(),
		library.URLs(),
		library.SemverLib(library.SemverVersion(1)),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare CEL: %w", err)
	}
	options, err := apiservercel.NewDeclTypeProvider(imageType()).EnvOptions(base.CELTypeProvider())
	if err != nil {
		return nil, fmt.Errorf("declare image to CEL: %w", err)
	}
	return base.Extend(options...)
}

// compileExpression checks source and returns it ready to run.
func compileExpression(source string) (cel.Program, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("must not be empty")
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, compileError(issues)
	}
	if !checked.OutputType().IsExactType(types.BoolType) {
		return nil, fmt.Errorf("must be a bool, is %s", checked.OutputType())
	}
	estimator := &library.CostEstimator{SizeEstimator: sizes{}}
	cost, err := env.EstimateCost(checked, estimator)
	if err != nil {
		return nil, fmt.Errorf("estimate its cost: %w", err)
	}
	if cost.Max > maxExpressionCost {
		amount := strconv.FormatUint(cost.Max, 10)
		if cost.Max > math.MaxInt32 { // what has no bound is estimated by the largest numbers
			amount = "any amount"
		}
		return nil, fmt.Errorf("may cost %s, allowed %d: use fewer or smaller loops, and build and compare fewer strings and lists", amount, maxExpressionCost)
	}
	program, err := env.Program(checked,
		cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostTracking(estimator),
		cel.CostLimit(maxExpressionCost),
		cel.InterruptCheckFrequency(interruptCheckFrequency),
	)
	if err != nil {
		return nil, fmt.Errorf("plan it: %w", err)
	}
	return program, nil
}

// compileError returns every problem with its place (line:column) in one line.
func compileError(issues *cel.Issues) error {
	problems := make([]string, 0, len(issues.Errors()))
	for _, e := range issues.Errors() {
		at := fmt.Sprintf("%d:%d", e.Location.Line(), e.Location.Column()+1)
		problems = append(problems, at+": "+clean(e.Message))
	}
	return errors.New(strings.Join(problems, "; "))
}

// sizes estimates how long the fields of image can be. What is longer is caught at
// run time.
type sizes struct{}

const (
	maxFieldLength   = 1024
	maxArchitectures = 64
	// maxFindings and maxCVEs are what most images have at most. The cost of more is
	// counted when an expression runs.
	maxFindings = 200
	maxCVEs     = 16
)

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(element checker.AstNode) *checker.SizeEstimate {
	if len(element.Path()) == 0 {
		return nil
	}
	switch element.Type().Kind() {
	case types.StringKind:
		return &checker.SizeEstimate{Max: maxFieldLength}
	case types.ListKind:
		switch path := element.Path(); path[len(path)-1] {
		case fieldFindings:
			return &checker.SizeEstimate{Max: maxFindings}
		case fieldCVEs:
			return &checker.SizeEstimate{Max: maxCVEs}
		}
		return &checker.SizeEstimate{Max: maxArchitectures}
	}
	return nil
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// imageType declares image to CEL. Numbers, the severity level and times are
// absent, not 0, if HSS does not report them or the scan has no result. Then an
// expression fails that does not check has() first.
func imageType() *apiservercel.DeclType {
	text, number, truth, instant := apiservercel.StringType, apiservercel.IntType, apiservercel.BoolType, apiservercel.TimestampType
	architecture := objectType("hssgate.Architecture", map[string]*apiservercel.DeclType{
		"digest": text, "scanStatus": text,
		"vulnerabilities": number, "unsafeSettings": number, "maliciousFiles": number, fieldFindings: findingsType(),
	})
	return objectType("hssgate.Image", map[string]*apiservercel.DeclType{
		"reference": text, "host": text, "path": text, "repository": text, "tag": text, "digest": text,
		"namespace": text, "name": text, "version": text, "scannedDigest": text,
		"imageType": text, "registryType": text, "registryName": text,
		"instanceID": text, "instanceName": text,
		"scanStatus": text, "severityLevel": text, "scannedAt": instant, "updatedAt": instant,
		"vulnerabilities": number, "unsafeSettings": number, "maliciousFiles": number,
		fieldFindings:   findingsType(),
		"multiArch":     truth,
		"architectures": apiservercel.NewListType(architecture, maxArchitectures),
	})
}

func objectType(name string, fields map[string]*apiservercel.DeclType) *apiservercel.DeclType {
	declared := make(map[string]*apiservercel.DeclField, len(fields))
	for field, fieldType := range fields {
		declared[field] = apiservercel.NewDeclField(field, fieldType, false, nil, nil)
	}
	return apiservercel.NewObjectType(name, declared)
}

// imageValue returns the fields that imageType declares.
func imageValue(s *subject) map[string]any {
	image, record := s.image, s.record
	architectures := make([]map[string]any, 0, len(record.Architectures))
	for i := range record.Architectures {
		a := &record.Architectures[i]
		value := map[string]any{"digest": a.Digest}
		setScan(value, &a.Scan, s.readsFindings)
		architectures = append(architectures, value)
	}
	value := map[string]any{
		"reference": image.String(), "host": image.Host, "path": image.Path, "repository": image.Repository(),
		"tag": image.Tag, "digest": image.Digest,
		"namespace": record.Namespace, "name": record.Name, "version": record.Version, "scannedDigest": record.Digest,
		"imageType": record.ImageType, "registryType": record.RegistryType, "registryName": record.RegistryName,
		"instanceID": record.InstanceID, "instanceName": record.InstanceName,
		"multiArch": record.MultiArch, "architectures": architectures,
	}
	setScan(value, s.scan, s.readsFindings)
	setTime(value, "scannedAt", record.ScannedAt)
	setTime(value, "updatedAt", record.UpdatedAt)
	if record.Severity != "" && stageOf(s.scan.Status) == stageDone {
		value["severityLevel"] = string(record.Severity)
	}
	return value
}

func setScan(value map[string]any, scan *Scan, withFindings bool) {
	value["scanStatus"] = string(scan.Status)
	if stageOf(scan.Status) != stageDone {
		return
	}
	setNumber(value, "vulnerabilities", scan.Vulnerabilities)
	setNumber(value, "unsafeSettings", scan.UnsafeSettings)
	setNumber(value, "maliciousFiles", scan.MaliciousFiles)
	if withFindings {
		setFindings(value, scan)
	}
}

func setNumber(value map[string]any, field string, n *int) {
	if n != nil && *n >= 0 {
		value[field] = *n
	}
}

func setTime(value map[string]any, field string, t time.Time) {
	if !t.IsZero() {
		value[field] = t
	}
}
