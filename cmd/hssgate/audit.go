package main

import (
	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/report"
)

func newAuditCommand() *cobra.Command {
	f := &checkFlags{audit: true}
	cmd := &cobra.Command{
		Use:   "audit [-n NAMESPACE] [-l SELECTOR]",
		Short: "Tell which running pods violate the policies, as the background audit does",
		Long: `audit judges the running pods of a cluster by the policies in force, and tells what
the background audit of hssgate serve would find. It writes nothing to the
cluster: no status, no Event, no report; with --policies or --preset it tells
what other policies would find.

It goes through the cluster some hundred pods at a time, and leaves out those
that are being deleted and the exemptNamespaces of the configuration.

How it differs from check -A: it counts pods for each policy, whatever the policy
does with them, as the policy's status does (evaluated, violations, unknown,
excepted); it names Deployments and CronJobs in place of their ReplicaSets and
Jobs; its table has only what violates something; and a pod that violates a policy
which only warns or audits counts, too, for the exit code.

Exit codes: 0 no running pod violates a policy, 1 some do, 2 it can't be told (HSS
can't be asked, or something can't be read), 3 wrong usage.`,
		Example: `  hssgate audit --config hssgate.yaml
  hssgate audit --config hssgate.yaml -o html --output-file audit.html
  hssgate audit --config hssgate.yaml --preset strict -n shop
  hssgate audit --config hssgate.yaml -o json | jq .audit`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.allNamespaces = f.namespace == ""
			return f.run(cmd, nil)
		},
	}
	flags := cmd.Flags()
	f.addCluster(flags)
	f.policyFlags.add(flags)
	f.hssFlags.add(flags)
	f.addFor(cmd, report.AuditOutputs())
	// It is what it does anyway.
	_ = flags.MarkHidden("all-namespaces")
	_ = flags.MarkHidden("namespace-labels")
	completeCheckFlags(cmd)
	return cmd
}
