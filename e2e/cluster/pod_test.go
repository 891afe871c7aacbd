package cluster_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// relistPeriod is how late a kubelet may see that a container has ended: so long
// the Service goes on sending connections to where nobody listens.
const relistPeriod = time.Second

// pod is one replica: the program with the arguments, configuration, token,
// credentials and probes of its pod. Only addresses are other ones, since all
// pods share the host, and so are folders.
type pod struct {
	kubelet *kubelet
	object  *corev1.Pod
	// webhook, health and metrics are where it listens.
	webhook, health, metrics string
	dir, logFile             string
	args                     []string

	once    sync.Once
	leaving chan struct{}

	mu      sync.Mutex
	process *os.Process
	// revive ends when a program that was killed may be started again.
	revive <-chan struct{}
	exited <-chan struct{}
	err    error
}

// leave makes the pod go, as it is deleted.
func (p *pod) leave() { p.once.Do(func() { close(p.leaving) }) }

// run is the pod's life.
func (p *pod) run() {
	t := p.kubelet.t
	err := p.prepare()
	if err == nil {
		err = p.start()
	}
	if err != nil {
		t.Errorf("start pod %s: %v", p.object.Name, err)
		return
	}
	p.kubelet.report(p.object, false)
	p.probe()
	if p.kubelet.ctx.Err() == nil {
		p.wait(time.Duration(p.object.Spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second)
	}
	p.end()
}

// end stops the process as a kubelet does, checks that it ended well and told
// no secret, and lets go of the pod.
func (p *pod) end() {
	t := p.kubelet.t
	if err := p.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("SIGTERM: %v", err)
	}
	p.wait(time.Duration(*p.object.Spec.TerminationGracePeriodSeconds) * time.Second)
	select {
	case <-p.exited:
	default:
		t.Errorf("pod %s outlives its terminationGracePeriodSeconds", p.object.Name)
		_ = p.process.Kill() // it may have ended by now
		<-p.exited
	}
	p.inspect()
	if p.kubelet.ctx.Err() != nil {
		return
	}
	var now int64
	err := p.kubelet.client.CoreV1().Pods(p.object.Namespace).Delete(p.kubelet.ctx, p.object.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(p.object.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && p.kubelet.ctx.Err() == nil {
		t.Errorf("delete pod %s: %v", p.object.Name, err)
	}
}

// kill ends the program as a kernel does that runs out of memory. It is started
// again, in the same pod, when the test calls what it gets.
func (p *pod) kill(t *testing.T) (revive func()) {
	t.Helper()
	revived, end := context.WithCancel(p.kubelet.ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revive = revived.Done()
	if err := p.process.Kill(); err != nil {
		t.Errorf("SIGKILL: %v", err)
	}
	return end
}

// comeBack starts a program again that was killed, as a kubelet does, and reports
// whether it did: one that ended by itself stays so.
func (p *pod) comeBack() bool {
	p.mu.Lock()
	revive := p.revive
	p.revive = nil
	p.mu.Unlock()
	if revive == nil {
		return false
	}
	<-revive
	if p.kubelet.ctx.Err() != nil {
		return false
	}
	if err := p.start(); err != nil {
		p.kubelet.t.Errorf("start pod %s again: %v", p.object.Name, err)
		return false
	}
	return true
}

// wait waits for the time, or less if the process ends.
func (p *pod) wait(most time.Duration) {
	select {
	case <-p.exited:
	case <-time.After(most):
	}
}

func (p *pod) inspect() {
	t := p.kubelet.t
	content, err := os.ReadFile(p.logFile)
	if err != nil {
		t.Error(err)
	}
	log := string(content)
	if p.err != nil {
		t.Errorf("pod %s ended with %v", p.object.Name, p.err)
	}
	for _, unwanted := range []string{secretKey, `"panic`, "[running]:"} {
		if strings.Contains(log, unwanted) {
			t.Errorf("%q is in the log of pod %s", unwanted, p.object.Name)
		}
	}
	if t.Failed() {
		t.Logf("the end of the log of pod %s:\n%s", p.object.Name, log[max(0, len(log)-4000):])
	}
}

// probe asks whether the pod is ready as its readiness probe says, until it is
// to leave.
func (p *pod) probe() {
	probe := p.object.Spec.Containers[0].ReadinessProbe
	ready, failures := false, int32(0)
	for ticks := time.Tick(time.Duration(probe.PeriodSeconds) * time.Second); ; {
		select {
		case <-p.kubelet.ctx.Done():
			return
		case <-p.leaving:
			return
		case <-p.exited:
			<-time.After(relistPeriod)
			p.kubelet.report(p.object, false)
			if !p.comeBack() {
				return
			}
			ready, failures = false, 0
			continue
		case <-ticks:
		}
		if p.answers(probe.HTTPGet.Path, time.Duration(probe.TimeoutSeconds)*time.Second) {
			failures = 0
			if !ready {
				ready = true
				p.kubelet.report(p.object, true)
			}
			continue
		}
		if failures++; ready && failures >= probe.FailureThreshold {
			ready = false
			p.kubelet.report(p.object, false)
		}
	}
}

// scrape reads the pod's metrics.
func (p *pod) scrape(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metrics+"/metrics", http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func (p *pod) answers(path string, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(p.kubelet.ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.health+path, http.NoBody)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}
