// Command bench measures hssgate and what it is compared with, and prints ratios: all figures of a table come from one
// run on one machine.
//
//	go run ./hack/bench [-only abc] [-quick]
//
// It uses only the loopback interface. The goals are in docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// limit bounds a whole run, whatever happens.
const limit = 30 * time.Minute

// measurement is one of the tables. A quick one measures less, and less exactly.
type measurement struct {
	letter, title string
	write         func(ctx context.Context, w io.Writer, quick bool) error
}

func measurements() []measurement {
	return []measurement{
		{"a", "reviews a second over TLS", writeThroughput},
		{"b", "memory against known images", writeMemory},
		{"c", "HSS calls and time of a rollout, cold", writeRollouts},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	ctrl.SetLogger(logr.Discard())
	key := hsstest.DefaultCredential() // where the configuration of newConfiguration looks
	if err := errors.Join(os.Setenv("HUAWEICLOUD_SDK_AK", key.AccessKey), os.Setenv("HUAWEICLOUD_SDK_SK", key.SecretKey)); err != nil {
		return err
	}
	if len(args) == 3 && args[0] == serveArgument {
		return serve(ctx, args[1], args[2])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "letters of the measurements, such as ac; empty: all")
	quick := flags.Bool("quick", false, "measure less, and less exactly")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if unknown := strings.Trim(*only, "abc"); unknown != "" {
		return fmt.Errorf("-only: unknown measurement %q, allowed are a, b and c", unknown)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	fmt.Printf("```\n%s```\n\n", describeMachine())
	for _, m := range measurements() {
		if *only != "" && !strings.Contains(*only, m.letter) {
			continue
		}
		begun := time.Now()
		fmt.Printf("### (%s) %s\n\n", m.letter, m.title)
		if err := m.write(ctx, os.Stdout, *quick); err != nil {
			return fmt.Errorf("(%s) %s: %w", m.letter, m.title, err)
		}
		fmt.Printf("(%s took %s)\n\n", m.letter, duration(time.Since(begun)))
	}
	return nil
}

// describeMachine returns what the figures depend on.
func describeMachine() string {
	revision, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output() //nolint:noctx // takes no time
	if err != nil {
		revision = []byte("unknown\n")
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		load = []byte("unknown\n")
	}
	processor := "unknown processor"
	if content, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(content), "model name")
		processor, _, _ = strings.Cut(strings.TrimLeft(rest, "\t :"), "\n")
	}
	return fmt.Sprintf("machine: %d × %s, %s/%s\nload at the start: %sgo: %s\nhssgate: %s",
		runtime.NumCPU(), processor, runtime.GOOS, runtime.GOARCH, load, runtime.Version(), revision)
}
