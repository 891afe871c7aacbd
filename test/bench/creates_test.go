package bench_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// The flags of BenchmarkCreates, besides controller-runtime's -kubeconfig.
var (
	rounds = flag.Int("rounds", 10, "how often each takes its turn")
	others = flag.String("contender", "", "webhooks to measure, too: NAME=WEBHOOK_CONFIGURATION.yaml[,pid=N] …")
)

// BenchmarkCreates compares what it costs to ask a webhook about new pods, and prints a table. A cluster given by
// -kubeconfig needs hssgate's CustomResourceDefinitions, and an API server that reaches this machine's loopback
// interface. Pods are stored, not only tried in a dry run: storing them is part of what users wait for.
func BenchmarkCreates(b *testing.B) {
	kubeconfig := flag.Lookup("kubeconfig").Value.String()
	a := &arena{kubectl: "kubectl", kubeconfig: kubeconfig, rounds: *rounds, pods: 1000, reviews: 4000}
	fmt.Println(a.compare(b, strings.Fields(*others)...))
}

// TestCreates takes its code through a round.
func TestCreates(t *testing.T) {
	t.Parallel()
	peer, file := startServer(t, typedServer), filepath.Join(t.TempDir(), "webhook.yaml")
	must(t, os.WriteFile(file, example(t, peer), 0o600))
	a := &arena{rounds: 1, pods: 20, reviews: 20}
	_, rows, _ := strings.Cut(a.compare(t, fmt.Sprintf("peer=%s,pid=%d", file, peer.Pid)), "--:|\n")
	want := `| no webhook | N | – | – | – | – | – |
| controller-runtime typed no-op | N | N | – | N | – | N |
| ValidatingAdmissionPolicy with a list | N | – | – | – | – | – |
| **hssgate, 10 policies** | N | N | N | N | N s | N |
| peer | N | N | – | N | – | N |
`
	if diff := gocmp.Diff(want, regexp.MustCompile(`\| [0-9.]+`).ReplaceAllString(rows, "| N")); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
}

// arena is the API server that contenders take turns for.
type arena struct {
	kubectl, kubeconfig   string // without a kubeconfig, an API server is started
	rounds, pods, reviews int
	client                kubernetes.Interface
	like                  *corev1.Pod
}

// compare returns a table of medians. Contenders take turns, since what else runs on the machine slows both sides of a
// ratio.
func (a *arena) compare(tb testing.TB, more ...string) string {
	tb.Helper()
	var peers []*contender
	for _, value := range more {
		c, err := readContender(value)
		must(tb, err)
		peers = append(peers, c)
	}
	program := controlplanetest.StartBuild(tb, false)
	a.connect(tb)
	hssgate := startGate(tb, program(tb), a.kubeconfig)
	took := []float64{hssgate.ready.Seconds()}
	for range a.rounds - 1 { // only to see how soon it is ready
		must(tb, hssgate.Kill())
		hssgate = startGate(tb, program(tb), a.kubeconfig)
		took = append(took, hssgate.ready.Seconds())
	}
	gate := newServed(tb, "**hssgate, 10 policies**", hssgate)
	gate.figures[ready] = took
	none, typed := &contender{name: "no webhook"}, newServed(tb, "controller-runtime typed no-op", startServer(tb, typedServer))
	list := &contender{name: "ValidatingAdmissionPolicy with a list", manifest: readTestdata(tb, "list.yaml")}
	all := append([]*contender{none, typed, list, gate}, peers...)
	for range a.rounds {
		for _, c := range all {
			a.turn(tb, c)
			c.add(creates, c.rate/none.rate)
			if c.url != "" {
				c.add(direct, c.reviews/typed.reviews)
			}
		}
	}
	table := "| who is asked | creates ÷ no webhook | webhook CPU s / 1,000 creates | calls to the scanner / 1,000 " +
		"| memory MB | ready after | direct reviews ÷ typed no-op |\n|---|--:|--:|--:|--:|--:|--:|\n"
	for _, c := range all {
		table += c.row()
	}
	return table
}

// connect makes a namespace and the policies.
func (a *arena) connect(tb testing.TB) {
	tb.Helper()
	if a.kubeconfig == "" {
		environment := controlplanetest.Start(tb)
		a.kubectl, a.kubeconfig = environment.Kubectl, filepath.Join(tb.TempDir(), "kubeconfig")
		must(tb, os.WriteFile(a.kubeconfig, environment.KubeConfig, 0o600))
	}
	access, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	must(tb, err)
	access.QPS, access.ContentType = -1, "application/vnd.kubernetes.protobuf" // as controllers create pods
	a.client, err = kubernetes.NewForConfig(access)
	must(tb, err)
	a.like = readPod(tb)
	// No controller and no scheduler is to take it for one of its own.
	a.like.ManagedFields, a.like.OwnerReferences, a.like.Status, a.like.Spec.SchedulerName = nil, nil, corev1.PodStatus{}, namespace
	for _, manifest := range append(policies(numbers), "{apiVersion: v1, kind: Namespace, metadata: {name: "+namespace+"}}") {
		a.run(tb, manifest, "create")
		tb.Cleanup(func() { a.run(tb, manifest, "delete", "--wait=false") })
	}
}

// run runs kubectl on a manifest.
func (a *arena) run(tb testing.TB, manifest string, args ...string) {
	tb.Helper()
	args = append(args, "--kubeconfig", a.kubeconfig, "--cache-dir", filepath.Dir(a.kubeconfig), "-f", "-")
	command := exec.CommandContext(context.WithoutCancel(tb.Context()), a.kubectl, args...)
	command.Stdin = strings.NewReader(manifest)
	if out, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("kubectl %q: %v\n%s%s", args, err, out, manifest)
	}
}

// turn measures a contender while the API server asks it and nobody else.
func (a *arena) turn(tb testing.TB, c *contender) {
	tb.Helper()
	a.await(tb, c, false)
	if c.manifest != "" {
		a.run(tb, c.manifest, "create")
		defer a.run(tb, c.manifest, "delete")
		a.await(tb, c, true)
	}
	a.create(tb, c, knownImages) // it has seen all images then
	if c.scanner != nil && len(c.figures[creates]) == 0 {
		c.scanner.ResetStats()
	}
	before, _ := usage(tb, c.pid)
	c.rate = a.create(tb, c, a.pods)
	if after, resident := usage(tb, c.pid); c.pid != 0 {
		c.add(cpu, (after-before)/float64(a.pods)*1000)
		c.add(memory, resident)
	}
	if c.url != "" {
		c.reviews = review(tb, c, a.reviews)
	}
	if c.scanner != nil { // in all turns so far, and between them
		pods := a.pods * (len(c.figures[creates]) + 1)
		c.figures[calls] = []float64{float64(c.scanner.Stats().Requests) / float64(pods) * 1000}
	}
}

// await waits until pods with the canary are refused, or admitted, and others are admitted.
func (a *arena) await(tb testing.TB, c *contender, refused bool) {
	tb.Helper()
	var plain, marked error
	inForce := func(ctx context.Context) (bool, error) {
		pod, dryRun := newPod(a.like, 0), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		_, plain = a.client.CoreV1().Pods(namespace).Create(ctx, pod, dryRun)
		pod.Labels[canary] = ""
		_, marked = a.client.CoreV1().Pods(namespace).Create(ctx, pod, dryRun)
		return plain == nil && (marked != nil) == refused, nil
	}
	if err := wait.PollUntilContextTimeout(tb.Context(), 50*time.Millisecond, 2*time.Minute, true, inForce); err != nil {
		tb.Fatalf("%s must be asked about pods in namespace %s (%t), and admit those of %s: %v; a pod: %v; one with label %s: %v",
			c.name, namespace, refused, imageName(0), err, plain, canary, marked)
	}
}

// create creates pods, deletes them, and returns how many a second it created.
func (a *arena) create(tb testing.TB, c *contender, n int) (perSecond float64) {
	tb.Helper()
	pods := a.client.CoreV1().Pods(namespace)
	perSecond = each(tb, c, n, func(i int) error {
		_, err := pods.Create(tb.Context(), newPod(a.like, i), metav1.CreateOptions{})
		return err
	})
	must(tb, pods.DeleteCollection(tb.Context(), metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{}))
	return perSecond
}

// review sends reviews without the API server, and returns how many a second were answered.
func review(tb testing.TB, c *contender, n int) (perSecond float64) {
	tb.Helper()
	idle := connect(tb, c.url)
	perSecond = each(tb, c, n, func(int) error {
		one := <-idle
		defer func() { idle <- one }()
		return one.exchange()
	})
	for range connections {
		_ = (<-idle).Close()
	}
	return perSecond
}

// each calls f for 0 … n-1, some at a time, and returns how many calls a second there were.
func each(tb testing.TB, c *contender, n int, f func(i int) error) (perSecond float64) {
	tb.Helper()
	var all errgroup.Group
	all.SetLimit(connections)
	begun := time.Now()
	for i := range n {
		all.Go(func() error { return f(i) })
	}
	if err := all.Wait(); err != nil {
		tb.Fatalf("%s: %v", c.name, err)
	}
	return float64(n) / time.Since(begun).Seconds()
}
