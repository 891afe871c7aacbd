package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/server"
)

// Bounds of the webhook's start and of its answers.
const (
	startTimeout   = 2 * time.Minute
	reviewTimeout  = 10 * time.Second
	maxAnswerBytes = 4 << 20
	maxAttempts    = 5
)

// loopback is the webhook on a port of this host, without an API server.
type loopback struct {
	url    string
	client *http.Client
	stop   func() error
}

// startLoopback serves the policies as they stand in the samples. No schema
// checks them here, so an invalid one is an error.
func startLoopback(ctx context.Context, o *Options, set *sampleSet, known gate.Knowledge) (judge, error) {
	policies, err := compile(set)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		l, err := tryLoopback(ctx, o, set, policies, known)
		if err == nil {
			return l, nil
		}
		// Between finding a free port and listening on it, another may take it.
		if attempt == maxAttempts || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
}

func tryLoopback(ctx context.Context, o *Options, set *sampleSet, policies inForce, known gate.Knowledge) (*loopback, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	// Its clock is the real one: it is who connects that checks the dates.
	authority, err := certificate.NewAuthority(clock.RealClock{}, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	serving, err := server.NewWebhookServer(address, authority.GetCertificate)
	if err != nil {
		return nil, err
	}
	serving.Register(server.ValidatePath, server.NewHandler(set.config, server.Reviews{
		Decider: &gate.Gate{
			Policies: policies, Facts: known, Vulnerabilities: known, Clock: o.Clock, Namespaces: namespaceLabels(set.labels()),
			ExemptNamespaces: set.config.ExemptNamespaces,
		},
		Log: o.Log,
	}))
	l := &loopback{url: "https://" + address + server.ValidatePath, client: clientTrusting(authority.PEM())}
	var running context.Context
	running, l.stop = inBackground(ctx, serving.Start)
	ready := func(context.Context) (bool, error) { return serving.StartedChecker()(nil) == nil, nil }
	if err := wait.PollUntilContextTimeout(running, 5*time.Millisecond, startTimeout, true, ready); err != nil {
		return nil, fmt.Errorf("start the webhook: %w", firstError(l.stop(), err))
	}
	return l, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// inBackground runs something until the function that it returns is called,
// which waits for its end. The context ends with what runs.
func inBackground(ctx context.Context, run func(context.Context) error) (running context.Context, stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx)
		cancel()
	}()
	return ctx, func() error {
		cancel()
		return <-ended
	}
}

// freeAddress is one that nobody listens on at the moment.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

func clientTrusting(authority []byte) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &http.Client{
		Timeout:   reviewTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
}

// inForce are policies that don't change.
type inForce struct{ index *gate.Index }

// Index returns them.
func (p inForce) Index() *gate.Index { return p.index }

func compile(set *sampleSet) (inForce, error) {
	policies := make([]*policy.Policy, len(set.policies))
	for i, p := range set.policies {
		var err error
		if policies[i], err = policy.Compile(p); err != nil {
			return inForce{}, fmt.Errorf("samples: %w", err)
		}
	}
	return inForce{gate.NewIndex(policies)}, nil
}

// namespaceLabels are those of the samples. Another namespace has none.
type namespaceLabels map[string]map[string]string

// NamespaceLabels returns the labels of a namespace.
func (n namespaceLabels) NamespaceLabels(_ context.Context, name string) (map[string]string, error) {
	return n[name], nil
}

// judge sends a review as an API server does.
func (l *loopback) judge(ctx context.Context, s *sample) (answer, error) {
	review, err := newReview(s)
	if err != nil {
		return answer{}, err
	}
	body, err := json.Marshal(review)
	if err != nil {
		return answer{}, fmt.Errorf("write the review: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"?timeout="+reviewTimeout.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := l.client.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("ask the webhook: %w", err)
	}
	defer response.Body.Close()
	return readAnswer(response, review)
}

func readAnswer(response *http.Response, review *admissionv1.AdmissionReview) (answer, error) {
	var got admissionv1.AdmissionReview
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswerBytes)).Decode(&got); err != nil {
		return answer{}, fmt.Errorf("read the webhook's answer (HTTP status %s): %w", response.Status, err)
	}
	if got.Response == nil || got.Response.UID != review.Request.UID {
		return answer{}, fmt.Errorf("the webhook's answer (HTTP status %s) is to no review or to another one", response.Status)
	}
	a := answer{verdict: Admitted, warnings: got.Response.Warnings, annotations: got.Response.AuditAnnotations}
	switch {
	case !got.Response.Allowed:
		a.verdict = Denied
		if got.Response.Result != nil {
			a.message = got.Response.Result.Message
		}
	case len(a.warnings) > 0:
		a.verdict = Warned
	}
	return a, nil
}

func (l *loopback) close() error {
	l.client.CloseIdleConnections()
	return l.stop()
}
