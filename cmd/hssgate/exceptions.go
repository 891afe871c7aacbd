package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// exceptionsOutput is the output of check that holds the exceptions for what fails.
const exceptionsOutput report.Output = "exceptions"

// exceptionFlags are those of check for the exceptions that it makes.
type exceptionFlags struct {
	generate bool
	lifetime time.Duration
	reason   string
}

func (f *exceptionFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.generate, "generate-exceptions", false, "print ImageScanExceptions that admit what violates a policy today, whatever the policy's enforcement; the same as -o exceptions, needs --for and --reason")
	flags.DurationVar(&f.lifetime, "for", 0, "with -o exceptions: how long they last, such as 720h")
	flags.StringVar(&f.reason, "reason", "", "with -o exceptions: why, in one line for readers of an audit log")
}

// validate chooses the output of --generate-exceptions, and refuses flags that it needs
// or that need it.
func (f *exceptionFlags) validate(cmd *cobra.Command, o *outputFlags) error {
	if f.generate && !o.has(exceptionsOutput) {
		if !cmd.Flags().Changed("output") {
			o.values = nil
		}
		o.values = append(o.values, exceptionsOutput)
	}
	wanted := o.has(exceptionsOutput)
	switch {
	case !wanted && (f.lifetime != 0 || f.reason != ""):
		return errors.New("--for and --reason are for --generate-exceptions")
	case wanted && f.lifetime <= 0:
		return fmt.Errorf("exceptions need --for DURATION, such as 720h, not %s", f.lifetime)
	case wanted && strings.TrimSpace(f.reason) == "":
		return errors.New("exceptions need --reason TEXT")
	}
	return nil
}

// exceptionsFor returns exceptions for what would be denied if every policy had
// enforcement Deny, one for each namespace and image. What no exception admits is printed.
func (f *exceptionFlags) exceptionsFor(cmd *cobra.Command, r *report.Report, policies []v1alpha1.ImageScanPolicy) (string, error) {
	forbid := map[string]bool{}
	for i := range policies {
		p, _ := policy.Compile(&policies[i]) // an invalid one fails closed
		forbid[p.Name()] = !p.AllowsExceptions()
	}
	found, notes := map[types.NamespacedName]*v1alpha1.ImageScanException{}, map[string]bool{}
	until := time.Now().Add(f.lifetime)
	for i := range r.Results {
		one := &r.Results[i]
		for _, v := range one.Violations {
			ref, err := image.Parse(v.Reference)
			switch bad, unknown := denies(&v); {
			case v.Effect == gate.EffectExcepted || !bad:
			case err != nil:
				notes[v.Reference+" is not an image reference"] = true
			case unknown:
				notes["no scan result is available from HSS for "+v.Reference] = true
			case forbid[v.Policy]:
				notes[fmt.Sprintf("policy %s permits none (spec.exceptions: Forbid) for %s", v.Policy, v.Reference)] = true
			default:
				key := types.NamespacedName{Namespace: one.Namespace, Name: cmp.Or(ref.Digest, ref.Repository())}
				if found[key] == nil {
					found[key] = newException(one.Namespace, []image.Reference{ref}, nil, f.reason, until)
				}
				if spec := &found[key].Spec; !slices.Contains(spec.Policies, v.Policy) {
					spec.Policies = append(spec.Policies, v.Policy)
				}
			}
		}
	}
	for _, note := range slices.Sorted(maps.Keys(notes)) {
		fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: no exception is made: %s\n", note)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# ImageScanExceptions for what violated a policy at %s: %d\n", r.Time.Format(time.RFC3339), len(found))
	for _, key := range slices.SortedFunc(maps.Keys(found), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }) {
		data, err := yaml.Marshal(found[key])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "---\n%s", data)
	}
	return text.String(), nil
}

// denies reports whether a violation would deny a pod by a policy with enforcement Deny,
// and whether it may do so only because HSS is unreachable.
func denies(v *report.Violation) (denies, unknown bool) {
	for _, f := range v.Findings {
		if f.Action == v1alpha1.ActionDeny {
			denies, unknown = true, unknown || f.Check == policy.CheckUnavailable
		}
	}
	return denies, unknown
}
