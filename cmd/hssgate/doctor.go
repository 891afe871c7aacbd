package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/hss/replay"
	"github.com/hssgate/hssgate/internal/doctor"
	"github.com/hssgate/hssgate/internal/report"
)

type doctorFlags struct {
	configFlags

	cluster clusterFlags
	output  string
	record  string
	// For doctor on another machine: the examination is printed as JSON, and progress is shown without a terminal.
	bundled, progress bool
}

// examination is all that doctor finds.
type examination struct {
	Report *doctor.Report `json:"report"`
	Record *replay.Record `json:"record,omitempty"`
}

func newDoctorCommand() *cobra.Command {
	f := &doctorFlags{}
	cmd := &cobra.Command{
		Use:   "doctor [--config FILE | -n NAMESPACE]",
		Short: "Examine HSS: whether hssgate can use it, and how it behaves",
		Long: `doctor makes at most 100 calls to HSS, which only read, in less than a minute. It
checks credentials, clock, project ID, permissions, registries, synchronisation
and scans, and finds out how HSS behaves where its documentation leaves that
open: such as what filters match, which CVSS scores are High, and what is listed
of images of several architectures. Each finding has a verdict (OK, Warning,
Failed, or Unknown if there is no evidence) and what to do.

Without a configuration file, or with --namespace, it runs in a pod of hssgate in
the cluster, by kubectl exec.

--record writes the conversation with HSS into a file that can be attached to an
issue. Names, IDs, hosts, digests and times in it are replaced, descriptions left
out. hss-simulator --replay serves it.`,
		Example: `  hssgate doctor --config hssgate.yaml
  hssgate doctor -n hssgate-system
  hssgate doctor --config hssgate.yaml -o json --record hss-record.json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.configFile, "config", "", "the configuration file; "+configDefaults)
	f.cluster.add(flags, "run in hssgate's pod in this namespace")
	flags.StringVarP(&f.output, "output", "o", report.TableOutput, "table or json")
	flags.StringVar(&f.record, "record", "", "write an anonymised record into this new file")
	flags.BoolVar(&f.bundled, "bundle", false, "print report and record as one JSON")
	flags.BoolVar(&f.progress, "progress", false, "show progress on any standard error")
	_, _ = flags.MarkHidden("bundle"), flags.MarkHidden("progress") // they fail only if there is no such flag
	complete(cmd, "output", report.TableOutput, report.JSON)
	return cmd
}

func (f *doctorFlags) run(cmd *cobra.Command) error {
	f.find(cmd)
	if err := checkTableOrJSON(f.output); err != nil {
		return usagef(cmd, err)
	}
	inCluster := f.configFile == "" || f.cluster.namespace() != ""
	if inCluster && cmd.Flags().Changed("config") {
		return usagef(cmd, errors.New("--config and --namespace exclude each other: give a file, or run in hssgate's pod"))
	}
	var file *os.File
	if f.record != "" {
		var err error
		if file, err = os.OpenFile(f.record, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return usageError(fmt.Errorf("--record: %w", err))
		}
		defer func() { _ = file.Close() }()
	}
	examine := f.examine
	if inCluster {
		examine = f.examineInCluster
	}
	e, err := examine(cmd)
	if file != nil && (err != nil || e.Record == nil) {
		_ = os.Remove(f.record) // it is empty
	}
	if err != nil {
		return err
	}
	if err := f.print(cmd, e, file); err != nil {
		return err
	}
	if e.Report.Count(doctor.Failed) > 0 {
		return errors.New(e.Report.Headline())
	}
	return nil
}

// examine examines the projects of a configuration file.
func (f *doctorFlags) examine(cmd *cobra.Command) (e examination, err error) {
	if err := discardLogs(); err != nil {
		return e, err
	}
	c, err := f.load(cmd)
	if err != nil {
		return e, err
	}
	o := doctor.Options{Config: c, Version: version, Record: f.record != "" || f.bundled}
	if w := cmd.ErrOrStderr(); f.progress || isTerminal(w) {
		o.Progress = func(made int, doing string) { fmt.Fprintf(w, "\r\x1b[Kcall %d, %s …", made, doing) }
		defer fmt.Fprint(w, "\r\x1b[K")
	}
	e.Report, e.Record, err = doctor.Run(cmd.Context(), o)
	if err != nil {
		return e, usageError(err)
	}
	return e, nil
}

// print prints the report, and writes the record into a file if there is one.
func (f *doctorFlags) print(cmd *cobra.Command, e examination, file *os.File) error {
	if file != nil && e.Record != nil {
		if err := writeJSON(file, e.Record); err != nil {
			return fmt.Errorf("--record: %w", err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: the record is in %s: look at it before you attach it\n", f.record)
	}
	switch {
	case f.bundled:
		return writeJSON(cmd.OutOrStdout(), e)
	case f.output == report.JSON:
		return writeJSON(cmd.OutOrStdout(), e.Report)
	}
	_, err := io.WriteString(cmd.OutOrStdout(), report.Printable(e.Report.Table()))
	return err
}
