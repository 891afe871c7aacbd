// Command bench measures hssgate beside what it is compared with, and prints
// ratios: all figures of a table come from one run on one machine.
//
//	go run ./hack/bench [-only abcdefg] [-quick]
//
// It speaks only to the loopback interface. It judges nothing and times out
// nothing: what the figures should be stands in docs/performance.md.
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
	"strings"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// limit bounds a whole run, whatever happens.
const limit = 30 * time.Minute

// bench is one run.
type bench struct {
	out   io.Writer
	quick bool
	// self is this program, root hssgate's source, and dir a folder for what
	// is written.
	self, root, dir string
}

func (b *bench) printf(format string, args ...any) { fmt.Fprintf(b.out, format, args...) }

// newDir makes a folder that goes when the run ends.
func (b *bench) newDir(name string) (string, error) { return os.MkdirTemp(b.dir, name) }

// measurement is one of the tables.
type measurement struct {
	letter, title string
	run           func(context.Context, *bench) error
}

func measurements() []measurement {
	return []measurement{
		{"a", "reviews a second over TLS", measureThroughput},
		{"b", "pod creates a second through an API server", measureCreates},
		{"c", "the decision alone", measureDecision},
		{"d", "memory against known images", measureMemory},
		{"e", "HSS calls and time of a rollout, cold", measureRollout},
		{"f", "from the start until ready", measureStartup},
		{"g", "the handler while HSS is slow or dead", measureOutage},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be stopped
	}
}

func run(ctx context.Context, args []string) error {
	ctrl.SetLogger(logr.Discard())
	switch {
	case len(args) == 5 && args[0] == childServe:
		return serveUntilEOF(ctx, args[1], args[2], args[3], args[4])
	case len(args) == 1 && args[0] == childLoad:
		return serveLoads(ctx, os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == childRemember:
		return rememberImages(ctx, args[1], args[2], os.Stdout)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "letters of what to measure, such as ac; empty: all")
	quick := flags.Bool("quick", false, "measure less, and less exactly")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return measureAll(ctx, chosen, *quick)
}

// choose returns the measurements with these letters, or all of them.
func choose(letters string) ([]measurement, error) {
	if letters == "" {
		return measurements(), nil
	}
	var chosen []measurement
	for _, m := range measurements() {
		if strings.Contains(letters, m.letter) {
			chosen = append(chosen, m)
			letters = strings.ReplaceAll(letters, m.letter, "")
		}
	}
	if letters != "" {
		return nil, fmt.Errorf("-only: there is no measurement %q", letters)
	}
	return chosen, nil
}

func measureAll(ctx context.Context, chosen []measurement, quick bool) (err error) {
	b := &bench{out: os.Stdout, quick: quick}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.root, err = moduleRoot(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "hssgate-bench"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	b.printf("```\n%s\n```\n\n", strings.Join(append(describeMachine(), "API server: "+b.apiServer()), "\n"))
	for _, m := range chosen {
		begun := time.Now()
		b.printf("### (%s) %s\n\n", m.letter, m.title)
		if err := m.run(ctx, b); err != nil {
			return fmt.Errorf("(%s) %s: %w", m.letter, m.title, err)
		}
		b.printf("(%s took %s)\n\n", m.letter, duration(time.Since(begun)))
	}
	return nil
}

// moduleRoot returns the folder of hssgate's go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), "module github.com/hssgate/hssgate\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run it in hssgate's source")
		}
	}
}
