package policy_test

import (
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func BenchmarkEvaluate(b *testing.B) {
	one := v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium}}
	ten := strict()
	ten.Expressions = expressions("image.registryType != 'Other'", "image.namespace == 'prod'", "image.tag != 'latest'").Expressions
	bad := with(func(r *policy.Record) {
		r.Severity, r.Scan, r.ScannedAt, r.UpdatedAt = v1alpha1.SeverityHigh, scan(111, 40, 2), ago(60*day), ago(90*day)
	})
	for _, c := range []struct {
		name    string
		require v1alpha1.Requirements
		record  policy.Record
	}{
		{"1 requirement/clean", one, cleanRecord()},
		{"1 requirement/bad", one, bad},
		{"6 requirements/clean", strict(), cleanRecord()},
		{"6 requirements/bad", strict(), bad},
		{"10 requirements/clean", ten, cleanRecord()},
		{"10 requirements/bad", ten, bad},
		{"10 architectures/clean", strict(), manyArchitectures(10)},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := mustCompile(b, policyOf(c.require))
			f, at, ctx := found(c.record), now(), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				p.Evaluate(ctx, f, at)
			}
		})
	}
}

func manyArchitectures(n int) policy.Record {
	return with(func(r *policy.Record) {
		r.MultiArch = true
		for range n {
			r.Architectures = append(r.Architectures, policy.Architecture{Digest: amd64Digest, Scan: scan(0, 0, 0)})
		}
	})
}

func BenchmarkExpression(b *testing.B) {
	for _, source := range []string{
		"image.registryType != 'Other'",
		"image.repository.matches('^swr[.][a-z0-9-]+[.]myhuaweicloud[.]com/prod/')",
		"image.architectures.all(a, a.vulnerabilities == 0)",
	} {
		b.Run(source, func(b *testing.B) {
			p := mustCompile(b, policyOf(expressions(source)))
			f, at, ctx := found(manyArchitectures(10)), now(), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				p.Evaluate(ctx, f, at)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for name, require := range map[string]v1alpha1.Requirements{
		"without expressions": strict(), "with one expression": expressions("image.registryType != 'Other'"),
	} {
		b.Run(name, func(b *testing.B) {
			p := policyOf(require)
			b.ReportAllocs()
			for b.Loop() {
				mustCompile(b, p)
			}
		})
	}
}

func BenchmarkMatchesImage(b *testing.B) {
	p := including("swr.*.myhuaweicloud.com/**")
	p.Spec.Match.ExcludeImages = []string{"swr.*.myhuaweicloud.com/hwofficial/**"}
	compiled := mustCompile(b, p)
	b.ReportAllocs()
	for b.Loop() {
		compiled.MatchesImage("swr.cn-north-4.myhuaweicloud.com/prod/app")
	}
}
