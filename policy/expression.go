package policy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/library"
)

const (
	// maxExpressionCost bounds an expression in CEL's units of cost, estimated
	// when it is compiled and counted when it runs. By Kubernetes' measure,
	// 1,000,000 are about 0.1 s.
	maxExpressionCost = 100_000
	// interruptCheckFrequency is the number of steps of a loop between two
	// looks at the context.
	interruptCheckFrequency = 100
)

// compiler compiles expressions over image and now.
type compiler struct {
	env *cel.Env
}

func newCompiler() (*compiler, error) {
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
		return nil, fmt.Errorf("preparing CEL: %w", err)
	}
	provider := apiservercel.NewDeclTypeProvider(imageType())
	options, err := provider.EnvOptions(base.CELTypeProvider())
	if err != nil {
		return nil, fmt.Errorf("declaring image to CEL: %w", err)
	}
	env, err := base.Extend(options...)
	if err != nil {
		return nil, fmt.Errorf("preparing CEL: %w", err)
	}
	return &compiler{env: env}, nil
}

// compile checks source and returns it ready to run.
func (c *compiler) compile(source string) (*expression, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("must not be empty")
	}
	if len(source) > maxExpressionLength {
		return nil, fmt.Errorf("has %d bytes, allowed %d", len(source), maxExpressionLength)
	}
	checked, issues := c.env.Compile(source)
	if issues.Err() != nil {
		return nil, compileError(issues)
	}
	if !checked.OutputType().IsExactType(types.BoolType) {
		return nil, fmt.Errorf("must be a bool, is %s", checked.OutputType())
	}
	estimator := &library.CostEstimator{SizeEstimator: sizes{}}
	cost, err := c.env.EstimateCost(checked, estimator)
	if err != nil {
		return nil, fmt.Errorf("estimating its cost: %w", err)
	}
	if cost.Max > maxExpressionCost {
		return nil, costError(checked, cost.Max)
	}
	program, err := c.env.Program(checked,
		cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostTracking(estimator),
		cel.CostLimit(maxExpressionCost),
		cel.InterruptCheckFrequency(interruptCheckFrequency),
	)
	if err != nil {
		return nil, fmt.Errorf("planning it: %w", err)
	}
	return &expression{program: program}, nil
}

// costError says how much an expression may cost, and what to do about it.
func costError(checked *cel.Ast, cost uint64) error {
	amount, advice := fmt.Sprintf("may cost %d", cost), "compare and build fewer strings and lists"
	if cost > math.MaxInt32 { // what has no bound is estimated by the largest numbers
		amount = "may cost any amount"
	}
	root := ast.NavigateAST(checked.NativeRep())
	if len(ast.MatchDescendants(root, ast.KindMatcher(ast.ComprehensionKind))) > 0 {
		advice = "use fewer or smaller loops"
	}
	return fmt.Errorf("%s, allowed %d: %s", amount, maxExpressionCost, advice)
}

// compileError says on one line, for each problem, where it is (line:column).
func compileError(issues *cel.Issues) error {
	problems := make([]string, 0, len(issues.Errors()))
	for _, e := range issues.Errors() {
		at := fmt.Sprintf("%d:%d", e.Location.Line(), e.Location.Column()+1)
		problems = append(problems, at+": "+clean(e.Message))
	}
	return errors.New(strings.Join(problems, "; "))
}

// expression is a compiled rule. It is safe for concurrent use.
type expression struct {
	program cel.Program
}

func (e *expression) eval(ctx context.Context, s *subject) (bool, error) {
	out, _, err := e.program.ContextEval(ctx, variables(s))
	if err != nil {
		return false, err
	}
	result, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("must be a bool, is %s", out.Type().TypeName())
	}
	return result, nil
}

// sizes estimates how long the fields of image can be.
type sizes struct{}

// The sizes that costs are estimated with. What is larger is caught as it runs.
const (
	maxFieldLength   = 1024
	maxArchitectures = 64
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
		return &checker.SizeEstimate{Max: maxArchitectures}
	}
	return nil
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
