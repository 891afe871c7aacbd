package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/inventory"
)

// Options say what is shown. The zero value shows hssgate's own samples
// without a cluster.
type Options struct {
	// Samples is a folder of samples; nil: hssgate's own.
	Samples fs.FS
	// Folder is what errors call Samples; empty: samples.
	Folder string
	// ControlPlane is a folder with etcd, kube-apiserver and kubectl. Empty:
	// the samples go to the webhook without an API server.
	ControlPlane string
	// UserAgent is what HSS is told of who asks.
	UserAgent string
	// Clock is the time that ages count to; nil: the real one. Through a
	// control plane it is always the real one.
	Clock clock.Clock
	// Log hears what hssgate logs meanwhile; nil: nobody.
	Log *slog.Logger
	// Progress hears what takes long, one line each; nil: nobody.
	Progress func(line string)
}

func (o *Options) setDefaults() {
	if o.Samples == nil {
		o.Samples = samples.Files()
	}
	if o.Clock == nil || o.ControlPlane != "" {
		o.Clock = clock.RealClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	o.Folder = cmp.Or(o.Folder, "samples")
	o.UserAgent = cmp.Or(o.UserAgent, "hssgate-demo")
}

// answer is what whoever sent a sample gets to see.
type answer struct {
	verdict     Verdict
	message     string
	warnings    []string
	annotations map[string]string
}

// judge sends samples to the webhook.
type judge interface {
	judge(ctx context.Context, s *sample) (answer, error)
	// close stops and removes whatever was started.
	close() error
}

// Run judges every sample and reports the verdicts. An error means that they
// could not be judged; whether they are as expected is for [Report.Check].
// Whatever Run starts has stopped when it returns, also if ctx ends.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	o.setDefaults()
	set, err := loadSamples(o.Samples)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Folder, err)
	}
	dir, err := os.MkdirTemp("", "hssgate-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	hss, err := startHSS(set.inventory, o.Clock) //nolint:contextcheck // like httptest, hsstest ends with Close
	if err != nil {
		return nil, fmt.Errorf("samples: %s: %w", inventoryFile, err)
	}
	defer hss.Close()
	if err := pointAt(hss.URL, set.config, dir); err != nil {
		return nil, err
	}
	known, err := check.NewInventory(set.config, o.UserAgent, o.Clock)
	if err != nil {
		return nil, err
	}
	defer known.Close()
	bench, err := o.open(ctx, set, known, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bench.close()) }()
	return hear(ctx, set, bench, known, o.Clock)
}

func (o *Options) open(ctx context.Context, set *sampleSet, known *inventory.Inventory, dir string) (judge, error) {
	if o.ControlPlane != "" {
		return startCluster(ctx, o, set, dir)
	}
	return startLoopback(ctx, o, set, known)
}

// hear has every sample judged, one after the other: a later one may update
// what an earlier one made.
func hear(ctx context.Context, set *sampleSet, bench judge, known gate.Facts, clk clock.PassiveClock) (*Report, error) {
	report := &Report{Results: make([]Result, 0, len(set.samples))}
	for _, s := range set.samples {
		a, err := bench.judge(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s.file, s.name(), err)
		}
		report.Results = append(report.Results, newResult(s, a, lookUp(ctx, known, s.uses, clk.Now())))
	}
	return report, nil
}
