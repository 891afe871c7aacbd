// Command demo shows hssgate at work. It starts the HSS simulator with a sample
// inventory and the real hssgate binary, sends hssgate the sample manifests as
// an API server would, and compares each verdict with the one that the sample
// expects. With -control-plane there is a real API server, and kubectl sends the
// manifests to it.
//
// A folder of samples holds:
//
//	config.yaml       registries and projects; the projects' HSS is replaced. Optional.
//	inventory.yaml    what HSS knows; see package inventoryfile
//	policies/*.yaml   ImageScanPolicies
//	manifests/*.yaml  pods and workloads, and the namespaces that they need
//
// The annotations of a manifest say what to expect:
//
//	demo.hssgate.io/verdict: Admitted, Denied or Warned (required)
//	demo.hssgate.io/says: a part of the message (optional)
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
	"path/filepath"
	"syscall"
	"time"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/report"
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

// demo is one run.
type demo struct {
	samples, binary, controlPlane string
	dir                           string // for temporary files
	stderr                        io.Writer
	set                           *sampleSet
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	d := &demo{stderr: stderr}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&d.samples, "samples", "config/samples", "folder of samples")
	flags.StringVar(&d.binary, "hssgate", "bin/hssgate", "hssgate binary; make build builds it")
	flags.StringVar(&d.controlPlane, "control-plane", "", "folder with etcd, kube-apiserver and kubectl: send the samples through a real API server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if d.set, err = loadSamples(ctx, d.samples); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "hssgate-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	results, err := d.results(ctx)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(stdout, table(results)); err != nil {
		return err
	}
	return unexpected(results)
}

// results sends every sample, one after the other: a later one may update what
// an earlier one made.
func (d *demo) results(ctx context.Context) (results []result, err error) {
	hss := hsstest.NewServer(hsstest.WithInventory(d.set.inventory), hsstest.WithCredentials(hsstest.DefaultCredential())) //nolint:contextcheck // like httptest, hsstest ends with Close
	defer hss.Close()
	var api *cluster // nil: nothing but hssgate itself
	stop := func() error { return nil }
	if d.controlPlane == "" {
		stop, err = d.startFakeAPI(ctx)
	} else if api, err = d.startCluster(ctx); err == nil {
		stop = api.Stop
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	g, err := d.startGate(ctx, hss.URL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	if api != nil {
		if err := api.register(ctx, g.address); err != nil {
			return nil, err
		}
	}
	c, err := config.Load(d.path(configFile))
	if err != nil {
		return nil, err
	}
	known, err := check.NewFileInventory(d.set.inventory, c)
	if err != nil {
		return nil, err
	}
	defer known.Close()
	for _, s := range d.set.samples {
		a, err := g.review(ctx, s)
		if err == nil && api != nil {
			err = api.send(ctx, s, &a)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s.file, s.title(), err)
		}
		results = append(results, newResult(s, a, images(ctx, s, known)))
	}
	return results, nil
}

// images returns what HSS knows of the images of a sample.
func images(ctx context.Context, s *sample, known *inventory.Inventory) []report.Image {
	images := make([]report.Image, len(s.uses))
	for i, use := range s.uses {
		var facts *policy.Facts
		if ref, err := image.Parse(use.Image); err == nil {
			facts = new(known.Facts(ctx, ref))
		}
		images[i] = report.NewImage(use, facts, time.Now())
	}
	return images
}

// path returns the path of a temporary file.
func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }
