// Command demo shows hssgate at work. It starts the HSS simulator with a sample
// inventory, sends the sample manifests to hssgate's webhook as an API server
// does, and compares each verdict with the one that the sample expects. Its test
// TestCluster sends them through a real API server, for which hssgate runs.
//
// A folder of samples holds:
//
//	config.yaml       registries and projects; the projects' HSS is replaced. Optional.
//	inventory.yaml    what HSS knows; see package inventoryfile
//	policies/*.yaml   ImageScanPolicies
//	exceptions/*.yaml exceptions, which end in an hour. Optional.
//	manifests/*.yaml  pods and workloads, and the namespaces that they need
//
// The annotations of a manifest say what to expect:
//
//	demo.hssgate.io/verdict: Admitted, Denied, Denied (its pods) or Warned (required)
//	demo.hssgate.io/says: a part of the message (optional)
//	demo.hssgate.io/scan: "true" has the image scanned in the end (optional)
//
// A second document of the same object in a file is an update of it; one that
// adds ephemeral containers is an update of that subresource.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	samples := flags.String("samples", "config/samples", "folder of samples")
	if err := flags.Parse(args); err != nil {
		return err
	}
	set, err := loadSamples(ctx, *samples)
	if err != nil {
		return err
	}
	results, err := set.results(ctx, set.newWebhook)
	if err != nil {
		return err
	}
	table, unexpected := show(results)
	commands, err := set.commands(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, table+commands)
	return errors.Join(err, unexpected)
}

type answer struct {
	verdict  report.Verdict
	message  string
	warnings []string
}

// newAnswer returns the answer to a sample that is admitted, perhaps with warnings.
func newAnswer(warnings []string) answer {
	if len(warnings) > 0 {
		return answer{verdict: report.Warned, warnings: warnings}
	}
	return answer{verdict: report.Admitted}
}

type sender func(context.Context, *sample) (answer, error)

type result struct {
	*sample
	answer

	// checked is what hssgate check finds about the images that are new.
	checked report.Result
}

// results sends every sample, one after the other: a later one may update what an earlier one made. The sender may use an
// inventory of the samples' HSS.
func (s *sampleSet) results(ctx context.Context, newSender func(*inventory.Inventory) sender) (results []result, err error) {
	hss := hsstest.NewServer(hsstest.WithInventory(s.inventory), hsstest.WithCredentials(hsstest.DefaultCredential())) //nolint:contextcheck // like httptest, hsstest ends with Close
	defer hss.Close()
	if err := s.useHSS(hss.URL); err != nil {
		return nil, err
	}
	known, err := check.NewInventory(s.config, "hssgate-demo", false)
	if err != nil {
		return nil, err
	}
	defer known.Close()
	var checked []report.Result
	for range 2 { // the first time, it depends on the order whether CVEs of advisories are known, and named
		if checked, err = s.check(ctx, known, s.samples...); err != nil {
			return nil, err
		}
	}
	send := newSender(known)
	for i, one := range s.samples {
		a, err := send(ctx, one)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", one.file, one.title(), err)
		}
		if a.verdict == report.Warned && checked[i].Verdict == report.PodsDenied {
			a.verdict = report.PodsDenied // the webhook only warns of a template
		}
		results = append(results, result{one, a, checked[i]})
	}
	return results, nil
}

// useHSS replaces the HSS of all projects.
func (s *sampleSet) useHSS(url string) error {
	keys := hsstest.DefaultCredential()
	if err := errors.Join(os.Setenv("HUAWEICLOUD_SDK_AK", keys.AccessKey), os.Setenv("HUAWEICLOUD_SDK_SK", keys.SecretKey)); err != nil {
		return err
	}
	for i := range s.config.Projects {
		p := &s.config.Projects[i]
		p.Endpoint, p.CAFile, p.Credentials = url, "", config.Credentials{Source: config.SourceEnvironment}
		if p.ProjectID == "" {
			p.ProjectID = hsstest.DefaultProjectID
		}
	}
	return s.config.Validate()
}

// check evaluates samples as hssgate check does.
func (s *sampleSet) check(ctx context.Context, known *inventory.Inventory, samples ...*sample) ([]report.Result, error) {
	var objects []check.Object
	for _, one := range samples {
		objects = append(objects, check.Object{Request: gate.Request{
			Namespace: one.object.GetNamespace(), Name: one.object.GetName(), Workload: one.workload, BeforePinning: true,
		}})
	}
	r := &report.Report{}
	checker, err := check.NewChecker(check.Options{
		Resources: s.resources, MaxLifetime: s.config.MaxExceptionLifetime, NamespaceLabels: s.namespaceLabels, Facts: known, ExemptNamespaces: s.config.ExemptNamespaces,
	})
	if err == nil {
		err = checker.Check(ctx, objects, r)
	}
	return r.Results, err
}

func (r *result) why() []string {
	if len(r.workload.Uses) == 0 {
		return []string{"brings no new image"}
	}
	return r.checked.Why()
}

// problem returns what is not as the sample expects; empty: nothing.
func (r *result) problem() string {
	why := strings.Join(r.why(), "; ")
	said := strings.Join(append(r.why(), append(r.warnings, r.message)...), "\n")
	switch {
	case r.verdict != r.expected:
		return fmt.Sprintf("%s, expected %s: %s", r.verdict, r.expected, why)
	case !strings.Contains(said, r.says):
		return fmt.Sprintf("%s as expected, but without saying %q: %s", r.verdict, r.says, why)
	}
	return ""
}

// show returns the table of all results, and an error that names every sample whose verdict is not as it expects.
func show(results []result) (string, error) {
	all := &report.Report{Tests: &report.Tests{Cases: len(results)}, Width: 132} // for documents
	var problems []string
	for i := range results {
		r := &results[i]
		one := r.checked
		one.Namespace, one.Kind, one.Name, one.Verdict, one.Problem = "", "", r.title(), r.verdict, r.problem()
		if len(r.workload.Uses) == 0 {
			one.Notices = r.why()
		}
		if one.Problem != "" {
			all.Tests.Failed++
			problems = append(problems, fmt.Sprintf("\n- %s: %s: %s", r.file, one.Name, one.Problem))
		}
		all.Add(one)
	}
	var table strings.Builder
	err := all.Write(&table, report.TableOutput)
	if len(problems) > 0 {
		err = fmt.Errorf("%d of %d verdicts are not as the samples expect:%s", all.Tests.Failed, len(results), strings.Join(problems, ""))
	}
	return table.String(), err
}
